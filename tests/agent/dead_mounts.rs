//! Shares whose server is gone: a mount that hangs holds nobody up, loses nothing, and comes back.
#![allow(clippy::disallowed_methods, reason = "tests touch the disk and start programs")]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::{STAFF, World};

/// The budgets of `agent.toml`, and what starting and ending programs takes on a busy computer.
const LOGON: Duration = Duration::from_secs(30 + 10);
/// Longest a test waits for something that is due soon; only a broken agent uses it up.
const PATIENCE: Duration = Duration::from_secs(60);

const PLANS: &str = r"\\files\plans\all";
const DOCUMENTS: &str = "homes/alice/Documents";
const SENT: &str = "server/home/alice/Documents";

/// A mount of `server/home`, as a file server's would be: everything goes through another process.
struct Mount<'w> {
    world: &'w World,
    server: Child,
}

impl<'w> Mount<'w> {
    fn new(world: &'w World) -> Self {
        std::fs::create_dir_all(world.path("mnt/home")).unwrap();
        let mut command = Command::new("bindfs");
        command.args(["-f", "-o", "attr_timeout=0,entry_timeout=0"]);
        command.arg(world.path("server/home")).arg(world.path("mnt/home"));
        let server = command.stdin(Stdio::null()).spawn().expect("bindfs");
        let mount = Self { world, server };
        let start = Instant::now();
        while std::fs::metadata(mount.at()).unwrap().dev() == mount.device_above() {
            assert!(start.elapsed() < PATIENCE, "bindfs did not mount");
            std::thread::yield_now();
        }
        mount
    }

    fn at(&self) -> PathBuf {
        self.world.path("mnt/home")
    }

    fn device_above(&self) -> u64 {
        std::fs::metadata(self.world.path("mnt")).unwrap().dev()
    }

    /// The server is gone, and says so to nobody.
    fn hang(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
    }

    fn come_back(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.server)
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        self.come_back();
        let _ = Command::new("umount").arg("-l").arg(self.at()).status();
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Alice's documents on a share that is mounted, and plans on another one that is a directory.
fn world() -> World {
    let world = World::new();
    let settings = world
        .settings("DESK-1")
        .replace("path = 'server/home'\nmounted = false", "path = 'mnt/home'\nmounted = true");
    let plans = "[[mount]]\nunc = '\\\\files\\plans'\npath = 'server/plans'\nmounted = false\n";
    world.write("agent.toml", &format!("{settings}{plans}"));
    let policy = format!(
        "{STAFF}\n[computer.offline-files]\nassigned = ['{PLANS}']\neconomical-assignment = false\n"
    );
    world.write("policy.d/staff.toml", &policy);
    world.write("server/plans/all/one.txt", "one");
    world.write("homes/alice/Documents/Thesis.odt", "one");
    world
}

fn plans_here(world: &World, name: &str) -> Option<String> {
    world.read(&format!("homes/alice/.local/share/homeport/cache/files/plans/all/{name}"))
}

/// How many workers of this world there are, given up or not.
fn workers(world: &World) -> usize {
    let is_worker = |pid: &std::path::Path| {
        let said = std::fs::read(pid.join("cmdline")).unwrap_or_default();
        let is_ours = std::fs::read_link(pid.join("cwd")).is_ok_and(|at| at == world.root.path());
        is_ours && said.ends_with(b"\0worker\0")
    };
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter(|entry| is_worker(&entry.path())).count()
}

#[test]
#[ignore = "needs bindfs, and root, who may mount: tests/run runs it"]
fn a_dead_mount_holds_nobody_up_and_loses_nothing() {
    let world = world();
    let mount = Mount::new(&world);
    world.ok(&["logon", "alice"]);
    world.ok(&["sync", "alice"]);
    assert_eq!(world.read(&format!("{SENT}/Thesis.odt")).as_deref(), Some("one"));
    let before = support::tree(&world.path("server"));

    mount.hang();
    world.write(&format!("{DOCUMENTS}/Thesis.odt"), "two, written offline");
    for (turn, command) in ["logoff", "logon"].into_iter().enumerate() {
        let plan = format!("{turn}.txt");
        world.write(&format!("server/plans/all/{plan}"), "new");
        let start = Instant::now();
        let ran = world.homeport(&[command, "alice"]);
        assert!(start.elapsed() < LOGON, "{command} took {:?}", start.elapsed());
        assert!(ran.out.contains("offline:"), "{command}\n{}{}", ran.out, ran.err);
        if command == "logon" {
            assert_eq!(plans_here(&world, &plan).as_deref(), Some("new"), "{}", ran.out);
        }
    }
    let status = world.ok(&["status"]);
    for part in ["[error]", "does not answer", "tried again:", "1 change (20 bytes) not on the"] {
        assert!(status.contains(part), "{part} is missing in\n{status}");
    }
    // Further attempts come to an end too, and leave nothing behind.
    for _ in 0..3 {
        let start = Instant::now();
        world.homeport(&["sync", "alice"]);
        assert!(start.elapsed() < LOGON, "{:?}", start.elapsed());
    }
    assert!(workers(&world) <= 1, "{} workers hang", workers(&world));
    assert_eq!(world.read(&format!("{DOCUMENTS}/Thesis.odt")).unwrap(), "two, written offline");

    mount.come_back();
    let start = Instant::now();
    while workers(&world) > 0 {
        assert!(start.elapsed() < PATIENCE, "the worker that was given up never ended");
        std::thread::yield_now();
    }
    for (path, text) in before {
        let now = world.read(&format!("server/{path}"));
        assert_eq!(now.as_deref(), Some(text.as_str()), "{path} was touched");
    }
    let said = world.ok(&["sync", "alice"]);
    assert_eq!(
        world.read(&format!("{SENT}/Thesis.odt")).unwrap(),
        "two, written offline",
        "{said}"
    );
    assert!(!world.ok(&["status"]).contains("[error]"));
}

#[test]
#[ignore = "needs bindfs, and root, who may mount: tests/run runs it"]
fn a_mount_that_dies_in_mid_exchange_is_given_up_and_goes_on_later() {
    let world = world();
    let mount = Mount::new(&world);
    world.ok(&["logon", "alice"]);
    for number in 0..2_000 {
        world.write(&format!("{DOCUMENTS}/{number}.txt"), &format!("text {number}"));
    }
    let sync = world.command(&["sync", "alice"]).stdout(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while !world.path(&format!("{SENT}/5.txt")).exists() {
        assert!(start.elapsed() < PATIENCE, "nothing came");
        std::thread::yield_now();
    }
    mount.hang();
    let start = Instant::now();
    let ran = support::ran(sync.wait_with_output().unwrap());
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    assert!(ran.out.contains("does not answer for"), "{}", ran.out);
    mount.come_back();
    world.ok(&["sync", "alice"]);
    for number in 0..2_000 {
        let sent = world.read(&format!("{SENT}/{number}.txt"));
        assert_eq!(sent, Some(format!("text {number}")), "{number}");
    }
    assert!(world.ok(&["sync", "alice"]).contains("nothing to do"));
}

/// A running agent in a network of its own, whose changes the test makes.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until(world: &World, words: &str) -> Duration {
    let start = Instant::now();
    while !world.homeport(&["status"]).out.contains(words) {
        assert!(start.elapsed() < PATIENCE, "{words}\n{}", world.homeport(&["status"]).out);
        std::thread::sleep(Duration::from_millis(50));
    }
    start.elapsed()
}

#[test]
#[ignore = "needs bindfs, and root, who may mount: tests/run runs it"]
fn a_share_comes_back_by_itself_when_the_network_does() {
    let world = world();
    let mount = Mount::new(&world);
    world.ok(&["logon", "alice"]);
    let agent = world.command(&["run"]);
    let mut command = Command::new("unshare");
    command.arg("-n").arg(agent.get_program()).args(agent.get_args());
    command.env_clear().current_dir(world.root.path());
    let running = Running(command.stderr(Stdio::null()).spawn().unwrap());
    world.ok(&["status"]);
    let socket = world.path("state/control.sock");
    let start = Instant::now();
    while std::os::unix::net::UnixStream::connect(&socket).is_err() {
        assert!(start.elapsed() < PATIENCE, "the agent did not start");
        std::thread::yield_now();
    }
    mount.hang();
    world.homeport(&["sync", "alice"]);
    until(&world, "[error]");
    world.write(&format!("{DOCUMENTS}/Thesis.odt"), "two");
    mount.come_back();
    let pid = running.0.id().to_string();
    let mut up = Command::new("nsenter");
    up.args(["-t", &pid, "-n", "ip", "link", "set", "lo", "up"]);
    assert!(up.status().unwrap().success());
    let back = until(&world, r"\\files\home\alice\Documents [online]");
    assert_eq!(world.read(&format!("{SENT}/Thesis.odt")).as_deref(), Some("two"));
    // Without the event it is tried every two minutes.
    assert!(back < Duration::from_secs(30), "{back:?}");
}
