//! Files that applications have open are left alone. (A program of its own, because a process that
//! starts another one shares its locks with it for a moment.)
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests touch the disk")]

mod harness;

use std::sync::{Mutex, PoisonError};

use harness::{Pairing, Side, verdict};
use homeport_sync::Verdict;

/// One test at a time, for the same reason.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn a_file_that_an_application_writes_to_is_not_pulled_from_under_it() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for background in [false, true] {
        for delete in [false, true] {
            let mut it = Pairing::in_step(&[("f", "old"), ("rest", "x")]);
            it.options.background = background;
            match delete {
                true => it.remove(Side::Remote, "f"),
                false => it.write(Side::Remote, "f", "new"),
            }
            let path = it.at(Side::Local, "f");
            let application = hold_open(&path);
            let report = it.run();
            assert_eq!(verdict(&report, "f"), Some(&Verdict::Busy), "{background} {delete}");
            assert_eq!(it.read(Side::Local, "f").as_deref(), Some("old"));
            drop(application);
            it.run();
            it.assert_equal();
            it.assert_idle();
        }
    }
}

/// Opens a file for an application right before it is put in place or removed.
struct Opener {
    path: std::path::PathBuf,
    held: Mutex<Option<Application>>,
}

impl homeport_sync::fs::Gate for Opener {
    fn pass(&self, op: homeport_sync::fs::Op, path: &str) -> std::io::Result<()> {
        if path == "f" && op == homeport_sync::fs::Op::Stage {
            let mut held = self.held.lock().unwrap();
            held.get_or_insert_with(|| hold_open(&self.path));
        }
        Ok(())
    }
}

#[test]
fn a_file_that_is_opened_while_it_is_fetched_is_left_alone() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let it = Pairing::in_step(&[("f", "old"), ("rest", "x")]);
    it.write(Side::Remote, "f", "new");
    let opener = Opener { path: it.at(Side::Local, "f"), held: Mutex::default() };
    let report = it.run_through(&opener).unwrap();
    assert_eq!(verdict(&report, "f"), Some(&Verdict::Busy));
    assert_eq!(it.read(Side::Local, "f").as_deref(), Some("old"));
    drop(opener);
    it.run();
    it.assert_equal();
    it.assert_idle();
}

/// Another process that has a file open for writing, until it is dropped.
struct Application(std::process::Child);

impl Drop for Application {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

fn hold_open(path: &std::path::Path) -> Application {
    use std::io::{BufRead as _, BufReader};
    let script = "exec 3<>\"$1\"; echo ready; read end";
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script, "sh"]).arg(path);
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    Application(child)
}
