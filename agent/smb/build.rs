//! Finds libsmbclient and the Kerberos library it uses, and makes the calls of `listen.rs` visible to them.

fn main() {
    for library in ["smbclient", "krb5"] {
        if let Err(error) = pkg_config::Config::new().probe(library) {
            println!("cargo::warning={error}");
            println!(
                "cargo::error=homeport-smb needs libsmbclient-dev and libkrb5-dev (Debian's names)"
            );
        }
    }
    // The library must find our functions before its own.
    println!("cargo::rustc-link-arg-bins=-Wl,--export-dynamic");
    println!("cargo::rerun-if-changed=build.rs");
}
