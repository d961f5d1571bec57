//! What programs have open or mapped. (A program of its own, because it starts others.)
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests touch the disk")]

mod harness;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use harness::{Pairing, Side};
use homeport_sync::fs::{InUse, OsVolume, Volume as _};
use homeport_sync::{Evicted, Limits};
use rustix::fs::{CWD, Mode, OFlags};

/// Longest that a look may take; only one that hangs uses it up.
const PATIENCE: Duration = Duration::from_secs(20);

/// A process that starts another one shares its locks and open files with it for a moment.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Another program, until it is dropped.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

/// Starts a program that says one line; gives the line as well.
fn start(command: &mut Command) -> (Program, String) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (Program(child), line)
}

/// A program that has a file open, in a way of the shell.
fn holding(path: &Path, how: &str) -> Program {
    let script = format!("exec 3{how}\"$1\"; echo ready; read end");
    let (program, line) = start(Command::new("sh").args(["-c", &script, "sh"]).arg(path));
    assert_eq!(line, "ready\n");
    program
}

fn in_use(root: &Path) -> InUse {
    OsVolume::open(root).unwrap().in_use()
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

#[test]
fn a_file_is_open_for_what_it_was_opened_for() {
    let _alone = alone();
    // One root in memory, one on a disk, if there are two.
    let on_disk = tempfile::tempdir().unwrap();
    let in_memory = Pairing::new();
    for root in [&*in_memory.outside(), on_disk.path()] {
        let files = ["read", "written", "idle"].map(|name| root.join(name));
        for file in &files {
            fs::write(file, "text").unwrap();
        }
        let [read, written, idle] = &files;
        let programs = [holding(read, "<"), holding(written, "<>")];
        let found = in_use(root);
        let is_open = |path| (found.is_open(inode(path), false), found.is_open(inode(path), true));
        assert_eq!(is_open(read), (true, false));
        assert_eq!(is_open(written), (true, true));
        assert_eq!(is_open(idle), (false, false));
        drop(programs);
        assert!(!in_use(root).is_open(inode(written), false));
    }
}

#[test]
fn a_file_that_is_only_mapped_is_in_use() {
    let _alone = alone();
    // The program itself is mapped, and nobody has it open.
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("program");
    fs::copy(fs::canonicalize("/bin/sh").unwrap(), &program).unwrap();
    let running = start(Command::new(&program).args(["-c", "echo ready; read end"]));
    assert_eq!(running.1, "ready\n");
    let found = in_use(folder.path());
    assert!(found.is_open(inode(&program), false));
    assert!(!found.is_open(inode(&program), true), "nothing written there reaches the file");
}

#[test]
#[ignore = "needs root, who may mount: tests/run runs it"]
fn a_dead_share_that_a_program_has_open_holds_nobody_up() {
    let _alone = alone();
    // A file system in a namespace of its own, whose server never answers.
    let folder = tempfile::tempdir().unwrap();
    let script = "exec 3<>/dev/fuse && mount -i -t fuse -o \
                  fd=3,rootmode=40000,user_id=0,group_id=0 dead \"$1\" && echo ready; read end";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script, "sh"]).arg(folder.path()).stderr(Stdio::null());
    let (server, line) = start(&mut command);
    assert_eq!(line, "ready\n", "no FUSE, or no right to mount it");
    let inside = format!("/proc/{}/root{}", server.0.id(), folder.path().display());
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root: OwnedFd = rustix::fs::openat(CWD, inside.as_str(), flags, Mode::empty()).unwrap();
    let mut holder = Command::new("sh");
    holder.args(["-c", "echo ready; read end"]).stderr(Stdio::from(root));
    let holder = start(&mut holder);
    let ours = tempfile::tempdir().unwrap();
    let path = ours.path().to_owned();
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(in_use(&path).is_open(0, false)));
    let answer = is_done.recv_timeout(PATIENCE);
    drop((server, holder)); // wakes whoever waits
    assert_eq!(answer, Ok(false));
}

#[test]
fn what_a_program_has_open_does_not_give_way() {
    let _alone = alone();
    for how in ["<", "<>"] {
        let it = Pairing::in_step(&[("d/open", "12345"), ("idle", "123")]);
        let evict = || {
            let limits = Limits { total: Some(0), ..Limits::default() };
            let now = it.now();
            homeport_sync::evict(&it.pair, &mut it.journal(), &it.options, limits, now).unwrap()
        };
        let program = holding(&it.at(Side::Local, "d/open"), how);
        assert_eq!(evict(), Evicted { items: 1, bytes: 3, still_over: 5 }, "{how}");
        assert_eq!(it.read(Side::Local, "d/open").as_deref(), Some("12345"));
        drop(program);
        assert_eq!(evict().items, 1);
        it.assert_idle();
    }
}
