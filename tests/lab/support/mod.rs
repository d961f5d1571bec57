//! The lab: real directory servers on loopback, inside the namespaces that `tests/lab/enter` makes.
//!
//! `Dc` is Samba as an Active Directory domain controller, `Slapd` is OpenLDAP, whose schema knows
//! no primary computers, `Proxy` stands in front of either and misbehaves on demand. Nothing here
//! is a client: what it asks the servers, it asks with the distribution's own tools.
#![allow(dead_code, reason = "each test target uses its own part")]
#![allow(clippy::disallowed_methods, reason = "tests touch the disk, the clock and processes")]
#![allow(clippy::disallowed_types, reason = "tests speak over loopback")]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

pub mod ca;
pub mod content;
pub mod dc;
pub mod dns;
pub mod fileserver;
pub mod krb;
pub mod ldif;
pub mod provision;
pub mod proxy;
pub mod sales;
pub mod server;
pub mod slapd;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything a healthy server needs on a busy machine with two processors.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The lab's own directory: in memory, gone with the namespace.
pub fn root() -> PathBuf {
    let lab = std::env::var_os("HOMEPORT_LAB");
    PathBuf::from(
        lab.expect("these tests run in tests/lab/enter, never on the machine's own ports"),
    )
}

/// Where provisioned domains are kept between runs.
pub fn cache() -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("lab");
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// A program of the lab, which finds `samba` and `slapd` wherever Debian puts them.
pub fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null()).current_dir(root());
    command
}

/// Runs a program that must end well; gives what it printed.
pub fn run(command: &mut Command) -> String {
    let output = output(command);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{text}{complaint}", output.status);
    text
}

/// Runs a program to its end, whatever that is.
pub fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Asks again until it holds; fails after `limit`.
pub fn until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Gives names of the lab other addresses, for every process in the namespace.
pub fn rename_hosts(names: &[(&str, &str)]) {
    let path = root().join("etc/hosts");
    let mut text = String::from("127.0.0.1 localhost\n");
    for (name, address) in names {
        text.push_str(&format!("{address} {name}\n"));
    }
    // Written in place: it is bind-mounted, and a file renamed over it would not be seen.
    std::fs::write(path, text).unwrap();
}

/// The names `tests/lab/enter` begins with.
pub const HOSTS: [(&str, &str); 4] = [
    ("dc1.corp.test", "127.0.0.1"),
    ("dc2.corp.test", "127.0.0.2"),
    ("ldap.corp.test", "127.0.0.3"),
    ("stranger.corp.test", "127.0.0.4"),
];
