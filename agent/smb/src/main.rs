//! `homeport-smb`: one connection to one share for the agent, on libsmbclient.
//!
//! ```text
//! worker ─► pool of processes ══ stdin, stdout: frames (`wire`) ══ serve ─► share ─► libsmbclient
//!                                                                      listen ◄── what it would hide
//! ```
//! A program of its own because libsmbclient is GPL-3.0-or-later, does one thing at a time in a
//! whole process, and may hang: whoever misses a deadline is killed, which hurts nobody else.

mod errno;
mod ffi;
mod listen;
mod process;
mod serve;
mod share;
mod signon;
mod ticket;
#[allow(dead_code, reason = "the agent has the other half")]
#[path = "../../src/share/helper/wire.rs"]
mod wire;

fn main() -> std::process::ExitCode {
    if std::env::args_os().len() > 1 {
        process::say("homeport-smb is started by Homeport's worker, and takes no arguments");
        return std::process::ExitCode::from(2);
    }
    match process::pipes().and_then(|(from, to)| serve::serve(from, to)) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            process::say(&format!("homeport-smb: {error}"));
            std::process::ExitCode::FAILURE
        }
    }
}
