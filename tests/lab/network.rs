//! NetworkManager and ModemManager, played on a private bus: what the agent makes of them.
//!
//! Needs `dbus-daemon` and `python3-dbusmock`; `tests/run` says so where they are missing.
#![allow(clippy::disallowed_methods, reason = "tests touch the disk, the clock and processes")]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use support::offline::{HERE, THERE, here, signed_in};
use support::{World, tree};

/// Longest a test waits for something that is due at once, or within a quarter of a minute on a busy
/// machine; only a broken agent uses it up.
const PATIENCE: Duration = Duration::from_secs(90);
/// The system's Python: that is where Debian's packages are.
const PYTHON: &str = "/usr/bin/python3";

/// A private bus and the two services on it. What was started ends with it.
struct Bus {
    address: String,
    daemon: Child,
    player: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Bus {
    fn start() -> Self {
        let mut daemon = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--print-address=1"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let address = address.trim().to_owned();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/lab/support/network.py");
        let mut player = Command::new(PYTHON)
            .arg(script)
            .env("DBUS_SYSTEM_BUS_ADDRESS", &address)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let to = player.stdin.take();
        let from = BufReader::new(player.stdout.take().unwrap());
        Self { address, daemon, player, to, from }
    }

    fn play(&mut self, words: &str) {
        writeln!(self.to.as_mut().unwrap(), "{words}").unwrap();
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        assert_eq!(line, "ok\n", "{words}");
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        drop(self.to.take()); // it ends its own, and then itself
        let _ = self.player.wait();
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// A running agent that asks on this bus; it is stopped by its own pid when the test ends.
struct Running<'w> {
    world: &'w World,
    child: Child,
}

impl<'w> Running<'w> {
    fn start(world: &'w World, bus: &str) -> Self {
        asking(world);
        let mut command = world.command(&["run"]);
        command.env("DBUS_SYSTEM_BUS_ADDRESS", bus).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("Agent started.") {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "the agent ended before it started");
        }
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { world, child }
    }

    /// Asks again until the status holds, because signals take their way.
    fn until(&self, expected: &str) -> String {
        let start = Instant::now();
        loop {
            let status = self.world.ok(&["status"]);
            if status.contains(expected) {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "{expected:?} never came; at last:\n{status}");
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

/// The settings of the world, with NetworkManager asked.
fn asking(world: &World) {
    let settings = world.settings("DESK-1").replace("ask-manager = false", "ask-manager = true");
    world.write("agent.toml", &settings.replace("log.level = 'error'", "log.level = 'info'"));
}

fn until_there(world: &World, name: &str) {
    let (start, there) = (Instant::now(), format!("{THERE}/{name}"));
    while world.read(&there).is_none() {
        assert!(start.elapsed() < PATIENCE, "{name} never came to the share");
        std::thread::yield_now();
    }
}

#[test]
#[ignore = "needs dbus-daemon and python3-dbusmock; tests/run runs it"]
fn each_word_of_networkmanager_is_told_as_soon_as_it_changes() {
    let (world, mut bus) = (signed_in(&[("one", "1")], ""), Bus::start());
    bus.play("manager up 1");
    let agent = Running::start(&world, &bus.address);
    agent.until("network: metered (NetworkManager says that it is metered)");
    for (word, told) in [
        ("metered 4", "network: unrestricted (NetworkManager guesses that it is not metered)"),
        ("metered 3", "network: metered (NetworkManager guesses that it is metered)"),
        ("metered 2", "network: unrestricted (NetworkManager says that it is not metered)"),
        ("metered 1", "network: metered (NetworkManager says that it is metered)"),
        ("metered 0", "network: unrestricted (the settings say so; NetworkManager does not know)"),
    ] {
        bus.play(word);
        agent.until(told);
    }
    agent.until("(the network's cost changed from metered to unrestricted)");
    bus.play("primary /org/freedesktop/NetworkManager/ActiveConnection/2");
    agent.until("last cycle: exchange (the network changed)");
}

#[test]
#[ignore = "needs dbus-daemon and python3-dbusmock; tests/run runs it"]
fn roaming_stops_what_nobody_asked_for_and_coming_home_catches_up_at_once() {
    let (world, mut bus) = (signed_in(&[("one", "1")], ""), Bus::start());
    bus.play("manager up 3");
    bus.play("modem up 11 1");
    let agent = Running::start(&world, &bus.address);
    agent.until("network: metered");
    bus.play("registration 5");
    let status = agent.until("(the network's cost changed from metered to roaming)");
    assert!(
        status.contains("network: roaming (ModemManager says that the modem is roaming)"),
        "{status}"
    );
    agent.until("[costed]");
    here(&world, "two", "2");
    world.ok(&["sync", "alice"]);
    assert_eq!(world.read(&format!("{THERE}/two")).as_deref(), Some("2"), "a person may");
    here(&world, "three", "3");
    world.ok(&["logon", "alice"]);
    assert_eq!(world.read(&format!("{THERE}/three")), None, "nobody asked for it");
    bus.play("registration 1");
    until_there(&world, "three");
    agent.until("network: metered");
    assert_eq!(world.read(&format!("{HERE}/three")).as_deref(), Some("3"));
}

#[test]
#[ignore = "needs dbus-daemon and python3-dbusmock; tests/run runs it"]
fn an_exchange_under_way_stops_when_it_gets_dearer_and_what_it_sent_counts() {
    // A quarter of a minute for the whole file.
    let (world, mut bus) = (signed_in(&[("one", "1")], "bandwidth = '800kbit/s'"), Bus::start());
    bus.play("manager up 1");
    bus.play("modem up 11 1");
    let agent = Running::start(&world, &bus.address);
    agent.until("network: metered");
    here(&world, "large", &"x".repeat(1_500_000));
    let (start, unfinished) = (Instant::now(), |(name, text): &(String, String)| {
        name.contains(".homeport-tmp-") && !text.is_empty()
    });
    while !tree(&world.path(THERE)).iter().any(unfinished) {
        assert!(start.elapsed() < PATIENCE, "it never began");
        std::thread::yield_now();
    }
    bus.play("registration 5");
    agent.until("[costed]");
    assert_eq!(world.read(&format!("{THERE}/large")), None, "it was cut short");
    let status: serde_json::Value = serde_json::from_str(&world.ok(&["--json", "status"])).unwrap();
    let counted = status["metered-bytes-today"].as_u64().unwrap();
    assert!((1..1_500_000).contains(&counted), "{counted}");
    bus.play("registration 1");
    until_there(&world, "large");
}

#[test]
#[ignore = "needs dbus-daemon and python3-dbusmock; tests/run runs it"]
fn networkmanager_goes_hangs_and_comes_back_and_the_agent_stays() {
    let (world, mut bus) = (signed_in(&[("one", "1")], ""), Bus::start());
    let agent = Running::start(&world, &bus.address);
    let gone = "network: unrestricted (the settings say so; NetworkManager is not on the bus)";
    agent.until(gone);
    bus.play("manager up 1");
    agent.until("network: metered");
    bus.play("manager down");
    agent.until(gone);
    bus.play("manager up 1");
    agent.until("network: metered");
    // It hangs: the agent answers as ever, and its last word holds.
    bus.play("manager freeze");
    let asked = Instant::now();
    let said = world.ok(&["logon", "alice"]);
    assert!(asked.elapsed() < Duration::from_secs(20), "{said}");
    agent.until("network: metered");
    bus.play("manager thaw");
    bus.play("metered 2");
    agent.until("network: unrestricted (NetworkManager says");
}

#[test]
#[ignore = "needs dbus-daemon and python3-dbusmock; tests/run runs it"]
fn a_bus_that_dies_or_never_was_stops_nobody() {
    let world = signed_in(&[("one", "1")], "");
    let told = "network: unrestricted (the settings say so; there is no system bus to ask on)";
    let mut bus = Bus::start();
    bus.play("manager up 1");
    let address = bus.address.clone();
    let agent = Running::start(&world, &address);
    agent.until("network: metered");
    drop(bus);
    agent.until(told);
    world.ok(&["logon", "alice"]);
    drop(agent);
    let agent = Running::start(&world, &address);
    agent.until(told);
}

#[test]
#[ignore = "needs dbus-daemon and python3-dbusmock; tests/run runs it"]
fn a_command_without_a_running_agent_asks_by_itself() {
    let (world, mut bus) = (signed_in(&[("one", "1")], ""), Bus::start());
    asking(&world);
    bus.play("manager up 0");
    bus.play("modem up 11 5");
    let mut command = world.command(&["logon", "alice"]);
    let said = support::ran(command.env("DBUS_SYSTEM_BUS_ADDRESS", &bus.address).output().unwrap());
    assert!(said.out.contains("the network is roaming"), "{}{}", said.out, said.err);
    assert!(world.ok(&["status"]).contains("network: roaming (ModemManager says"));
}
