//! The control socket: a line that is taken for a command is written so that it is read again.
#![no_main]

use std::cell::RefCell;
use std::io::Write as _;

use homeport_agent::control::{Command, receive};
use libfuzzer_sys::fuzz_target;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

thread_local! {
    static RUNTIME: RefCell<Runtime> =
        RefCell::new(Builder::new_current_thread().enable_io().build().unwrap());
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(command) = serde_json::from_slice::<Command>(bytes) {
        round(&command);
    }
    let Some(command) = heard(bytes) else { return };
    round(&command);
    let first = bytes.split_inclusive(|byte| *byte == b'\n').next().unwrap();
    assert_eq!(heard(first), Some(command), "what follows the line changed it");
});

fn round(command: &Command) {
    let mut line = br#"{"follow":true,"command":"#.to_vec();
    serde_json::to_writer(&mut line, command).unwrap();
    assert!(!line.contains(&b'\n'));
    line.extend_from_slice(b"}\n");
    assert_eq!(heard(&line).as_ref(), Some(command));
}

/// What the agent takes bytes for, up to what a socket holds.
fn heard(bytes: &[u8]) -> Option<Command> {
    if bytes.len() > 64 << 10 {
        return None;
    }
    RUNTIME.with_borrow(|runtime| {
        let (here, mut there) = std::os::unix::net::UnixStream::pair().unwrap();
        there.write_all(bytes).unwrap();
        drop(there);
        here.set_nonblocking(true).unwrap();
        runtime.block_on(async {
            let received = receive(UnixStream::from_std(here).unwrap()).await;
            received.ok().map(|(_, command)| command)
        })
    })
}
