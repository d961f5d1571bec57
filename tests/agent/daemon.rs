//! The running agent: commands over its socket, hot reload, metrics, and bad policy that stops nothing.
#![allow(clippy::disallowed_methods, reason = "tests touch the disk and start the agent")]
#![allow(clippy::disallowed_types, reason = "tests scrape the agent")]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use support::{STAFF, World};

/// Longest a test waits for something that is due at once; only a broken agent uses it up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running agent; it is stopped by its own pid when the test ends.
struct Running<'w> {
    world: &'w World,
    child: Child,
    port: u16,
}

impl<'w> Running<'w> {
    fn start(world: &'w World) -> Self {
        let port = free_port();
        let settings =
            world.settings("DESK-1").replace("127.0.0.1:0", &format!("127.0.0.1:{port}"));
        world.write("agent.toml", &settings.replace("log.level = 'error'", "log.level = 'info'"));
        let mut child = world.command(&["run"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("Agent started.") {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "the agent ended before it started");
        }
        // The rest of the log is read to its end, so that the agent never waits for a full pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { world, child, port }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Asks again until the answer holds, because the agent is woken by the file system.
    fn until(&self, what: &str, holds: impl Fn(&str) -> bool) {
        let start = Instant::now();
        loop {
            let metrics = self.get("/metrics");
            if holds(&metrics) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{what} never came; at last:\n{metrics}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn commands_reach_the_running_agent() {
    let world = World::with_staff();
    world.write("homes/alice/Documents/Thesis.odt", "one");
    let running = Running::start(&world);
    let said = running.world.ok(&["logon", "alice"]);
    assert!(said.contains("redirect documents"), "{said}");
    running.until("the session", |metrics| metrics.contains("homeport_sessions 1"));
    assert!(world.ok(&["status"]).contains("alice, signed in"));
    world.ok(&["logoff", "alice"]);
    running.until("the end of the session", |metrics| metrics.contains("homeport_sessions 0"));
}

#[test]
fn a_policy_that_changes_is_in_force_at_once_and_a_bad_one_never() {
    let world = World::with_staff();
    let running = Running::start(&world);
    running.world.ok(&["logon", "alice"]);
    world.write("policy.d/staff.toml", "schema = 1\n[policy]\nid = 'staff'\nversion = \n");
    running.until("the rejection", |metrics| {
        metrics.contains("homeport_policy_last_load_successful 0")
            && metrics.contains("\nhomeport_policy_using_last_good 1\n")
    });
    assert!(running.get("/healthz").starts_with("HTTP/1.1 503"));
    let home = world.path("homes/alice/Documents");
    assert!(std::fs::symlink_metadata(&home).unwrap().is_symlink(), "the good policy holds");
    world.write("policy.d/staff.toml", "schema = 1\n[policy]\nid = 'staff'\nversion = 2\n");
    running.until("the new policy", |metrics| {
        metrics.contains("\nhomeport_policy_last_load_successful 1\n")
            && metrics.contains("homeport_steps_total{result=\"done\",step=\"restore\"} 1")
    });
    assert!(std::fs::symlink_metadata(&home).unwrap().is_dir(), "the folder is home");
}

#[test]
fn a_bad_policy_at_the_start_leaves_the_agent_running_idle_and_complaining() {
    let world = World::new();
    world.write("policy.d/bad.toml", "schema = 1\nid = \n");
    let running = Running::start(&world);
    running.until("the complaint", |metrics| {
        metrics.contains("homeport_policy_last_load_successful 0")
            && !metrics.contains("homeport_policy_problems 0")
    });
    let said = running.world.ok(&["logon", "alice"]);
    assert!(said.contains("no policy is in force"), "{said}");
    assert!(world.ok(&["status"]).contains("toml-syntax"));
    world.write("policy.d/bad.toml", STAFF);
    running.until("the mended policy", |metrics| {
        metrics.contains("\nhomeport_policy_last_load_successful 1\n")
    });
}

/// The regular exchange comes every half minute and may be faster than one of the files; that is as
/// it should be, and no proof. So another file is tried then.
#[test]
fn what_changes_here_is_on_the_share_soon_without_any_command() {
    let world = World::with_staff();
    world.write("homes/alice/Documents/Thesis/one.odt", "one");
    let running = Running::start(&world);
    running.world.ok(&["logon", "alice"]);
    running.until("a watcher that noticed its probe", |metrics| {
        metrics.contains("\nhomeport_caches{mode=\"online\"} 1\n")
            && metrics.contains("\nhomeport_sync_watcher_healthy 1\n")
    });
    let noticed = |number: usize| {
        // A look at `Thesis` alone does not find this.
        world.write(&format!("server/home/alice/Documents/Other/{number}.odt"), "there");
        let name = format!("Thesis/{number}.odt");
        world.write(&format!("homes/alice/Documents/{name}"), "here");
        let started = Instant::now();
        let there = format!("/{name}");
        while !support::tree(&world.path("server")).iter().any(|(path, _)| path.ends_with(&there)) {
            assert!(started.elapsed() < PATIENCE, "{name} never came to the share");
            std::thread::yield_now();
        }
        // The status is written once the turn is over.
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(5) {
            let status = world.ok(&["status"]);
            if status.contains("last cycle: exchange (something changed here)") {
                return status.contains("in both directions: done: 1 out\n");
            }
        }
        false
    };
    assert!((0..3).any(noticed), "it was always the regular exchange");
    let left = support::tree(&world.path("homes/alice")).into_iter();
    let probes: Vec<String> =
        left.map(|(path, _)| path).filter(|path| path.contains("-probe-")).collect();
    assert_eq!(probes, [""; 0]);
}

#[test]
fn a_halted_folder_is_a_metric() {
    let world = World::with_staff();
    world.write("homes/alice/Documents/Thesis.odt", "one");
    let running = Running::start(&world);
    running.world.ok(&["logon", "alice"]);
    running.until("a folder in step", |metrics| metrics.contains("\nhomeport_sync_halted 0\n"));
    let there = world.path("server/home/alice/Documents");
    std::fs::rename(&there, world.path("server/old")).unwrap();
    std::fs::create_dir(&there).unwrap();
    assert_eq!(world.homeport(&["sync", "alice"]).code, 5);
    running.until("the halt", |metrics| metrics.contains("\nhomeport_sync_halted 1\n"));
}

#[test]
fn a_scrape_has_every_metric_of_the_list() {
    let world = World::with_staff();
    let running = Running::start(&world);
    running.world.ok(&["logon", "alice"]);
    running.world.ok(&["logoff", "alice"]);
    running.until("the sign-out", |metrics| metrics.contains("occasion=\"logoff\""));
    let metrics = running.get("/metrics");
    for name in homeport_agent::report::names::NAMES {
        let kind = format!("# TYPE {} {}", name.name, format!("{:?}", name.kind).to_lowercase());
        assert!(metrics.contains(&kind), "{kind} is missing in\n{metrics}");
    }
    for secret in ["alice", "Documents", r"\\files"] {
        assert!(!metrics.contains(secret), "{secret} must not be in a metric\n{metrics}");
    }
}

#[test]
#[ignore = "needs promtool, from the Debian package prometheus; tests/run runs it"]
fn promtool_finds_nothing_to_say_about_a_scrape() {
    let world = World::with_staff();
    let running = Running::start(&world);
    let answer = running.get("/metrics");
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    let tool = std::process::Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut tool = tool.expect("promtool");
    tool.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let ran = support::ran(tool.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""));
}

#[test]
fn a_second_agent_on_the_same_state_is_refused() {
    let world = World::with_staff();
    let _running = Running::start(&world);
    let ran = world.homeport(&["run"]);
    assert_eq!(ran.code, 4, "{}", ran.err);
    assert!(ran.err.contains("another Homeport uses the state directory"), "{}", ran.err);
}

#[test]
fn a_sign_in_does_not_wait_for_somebody_elses_sync() {
    let world = World::with_staff();
    let policy = format!("{STAFF}\n[computer.offline-files]\nbandwidth = '8kbit/s'\n");
    world.write("policy.d/staff.toml", &policy);
    std::fs::create_dir_all(world.path("homes/bob")).unwrap();
    let running = Running::start(&world);
    running.world.ok(&["logon", "alice"]);
    // At this rate the file takes ten minutes.
    world.write("homes/alice/Documents/large.bin", &"x".repeat(600_000));
    let mut sync = world.command(&["sync", "alice"]).stdout(Stdio::piped()).spawn().unwrap();
    let temp = |name: &str| name.starts_with(".homeport-tmp-");
    let started = Instant::now();
    while !support::tree(&world.path("server"))
        .iter()
        .any(|(name, _)| temp(name.rsplit('/').next().unwrap()))
    {
        assert!(started.elapsed() < PATIENCE, "the sync never began");
        std::thread::yield_now();
    }
    world.ok(&["logon", "bob"]);
    let mut said = String::new();
    sync.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("cut short by somebody who signs in"), "{said}");
    sync.wait().unwrap();
}

#[test]
fn an_emptied_policy_directory_is_no_policy_and_the_last_good_one_stays() {
    let world = World::with_staff();
    let running = Running::start(&world);
    running.world.ok(&["logon", "alice"]);
    std::fs::rename(world.path("policy.d/staff.toml"), world.path("staff.toml")).unwrap();
    running.until("the complaint", |metrics| {
        metrics.contains("\nhomeport_policy_using_last_good 1\n")
    });
    let home = world.path("homes/alice/Documents");
    assert!(std::fs::symlink_metadata(&home).unwrap().is_symlink());
    let status = world.ok(&["status"]);
    assert!(status.contains("holds no policy file any more"), "{status}");
}
