//! What a file server does to an offline folder of a real agent, with nothing mounted: in every case
//! nothing is deleted here, and the folder comes back by itself.
#![allow(clippy::disallowed_methods, reason = "tests touch the disk, the clock and processes")]
#![allow(clippy::disallowed_types, reason = "tests speak over loopback")]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod office;
mod support;
#[path = "../support/mod.rs"]
mod world;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use office::Office;
use support::dc::Dc;
use support::fileserver::{ADDRESS, DomainShare, FileServer, PORT, give, helper, tickets, write};
use support::krb;
use support::proxy::{Fault, Proxy};
use support::{PATIENCE, program, root, run, until};
use world::World;

/// A server with alice's folder in the share `home`, and her computer, in step.
fn in_step(files: &[(&str, &str)]) -> (FileServer, PathBuf, Office) {
    let server = FileServer::start();
    let there = server.folder("home", "sub");
    for (name, text) in files {
        write(&there.join(name), text);
    }
    let office = Office::new(&server, "home", "sub", "");
    office.world.ok(&["logon", "alice"]);
    office.world.ok(&["sync", "alice"]);
    for (name, text) in files {
        assert_eq!(office.read(name).as_deref(), Some(*text));
    }
    (server, there, office)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    give(to);
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        let time = entry.metadata().unwrap().modified().unwrap();
        let file = fs::File::options().write(true).open(to.join(entry.file_name())).unwrap();
        file.set_modified(time).unwrap();
        give(&to.join(entry.file_name()));
    }
}

const FILES: [(&str, &str); 2] = [("one.txt", "one"), ("two.txt", "two")];

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn a_share_that_comes_back_empty_halts_and_deletes_nothing() {
    let (mut server, there, office) = in_step(&FILES);
    server.stop();
    let before = server.share("before");
    fs::rename(&there, &before).unwrap();
    fs::create_dir(&there).unwrap();
    give(&there);
    server.restart();
    office.write("three.txt", "three");
    for _ in 0..2 {
        let ran = office.world.homeport(&["sync", "alice"]);
        assert_ne!(ran.code, 0, "{}{}", ran.out, ran.err);
        let told = office.told();
        assert!(told["failure"].is_string() || told["halted"].is_string(), "{told:#}");
    }
    assert_eq!(fs::read_dir(&there).unwrap().count(), 0, "it is somebody else's folder");
    for (name, text) in FILES.iter().chain(&[("three.txt", "three")]) {
        assert_eq!(office.read(name).as_deref(), Some(*text));
    }
    // The right one is back, and nobody has to say so.
    fs::remove_dir(&there).unwrap();
    fs::rename(&before, &there).unwrap();
    let begun = Instant::now();
    let said = office.world.ok(&["sync", "alice"]);
    println!("back {:.1?} after its folder", begun.elapsed());
    assert_eq!(fs::read_to_string(there.join("three.txt")).unwrap(), "three", "{said}");
    assert_eq!(office.mode(), "online");
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn a_share_restored_to_an_earlier_state_takes_nothing_back() {
    let names: Vec<String> = (0..20).map(|at| format!("{at}.txt")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "old")).collect();
    let (_server, there, office) = in_step(&files);
    let backup = there.with_file_name("backup");
    copy(&there, &backup);
    for name in &names {
        office.write(name, "a week later");
    }
    office.write("new.txt", "new since the backup");
    office.world.ok(&["sync", "alice"]);
    assert_eq!(fs::read_to_string(there.join("new.txt")).unwrap(), "new since the backup");
    fs::remove_dir_all(&there).unwrap();
    fs::rename(&backup, &there).unwrap();
    let ran = office.world.homeport(&["sync", "alice"]);
    assert_ne!(ran.code, 0, "{}{}", ran.out, ran.err);
    let halted = office.told()["halted"].to_string();
    assert!(halted.contains("restored from a backup"), "{halted}");
    for name in &names {
        assert_eq!(office.read(name).as_deref(), Some("a week later"));
        let theirs = fs::read_to_string(there.join(name)).unwrap();
        assert_eq!(theirs, "old", "a person decides");
    }
    assert_eq!(office.read("new.txt").as_deref(), Some("new since the backup"));
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn a_share_that_is_renamed_is_away_and_comes_back_with_its_name() {
    let (mut server, there, office) = in_step(&FILES);
    server.hide("home", true);
    office.write("three.txt", "three");
    let ran = office.world.homeport(&["sync", "alice"]);
    assert_eq!(office.mode(), "error", "{}{}", ran.out, ran.err);
    let ran = office.world.homeport(&["doctor", &office.unc, "--user", "alice"]);
    assert_eq!(ran.code, 4, "{}{}", ran.out, ran.err);
    let words = r"FAIL  share     \\files.corp.test\home: STATUS_BAD_NETWORK_NAME (0xC00000CC)";
    assert!(ran.out.contains(words), "{}", ran.out);
    server.hide("home", false);
    let begun = Instant::now();
    office.world.ok(&["sync", "alice"]);
    println!("back {:.1?} after the share", begun.elapsed());
    assert_eq!(office.mode(), "online");
    assert_eq!(fs::read_to_string(there.join("three.txt")).unwrap(), "three");
    for (name, text) in FILES {
        assert_eq!(office.read(name).as_deref(), Some(text));
    }
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn rights_that_are_withdrawn_are_no_deletion_and_doctor_says_where() {
    let (_server, there, office) = in_step(&FILES);
    chown(&there, Some(0), Some(0)).unwrap();
    fs::set_permissions(&there, fs::Permissions::from_mode(0o700)).unwrap();
    office.write("three.txt", "three");
    let ran = office.world.homeport(&["sync", "alice"]);
    assert_ne!(ran.code, 0, "{}{}", ran.out, ran.err);
    let told = office.told();
    assert!(told["failure"].is_string(), "{told:#}");
    let ran = office.world.homeport(&["doctor", &office.unc, "--user", "alice"]);
    assert_eq!(ran.code, 5, "{}{}", ran.out, ran.err);
    let words = r"FAIL  list      \\files.corp.test\home\sub: STATUS_ACCESS_DENIED (0xC0000022)";
    assert!(ran.out.contains(words), "{}", ran.out);
    for (name, text) in FILES {
        assert_eq!(office.read(name).as_deref(), Some(text));
    }
    give(&there);
    office.world.ok(&["sync", "alice"]);
    assert_eq!(fs::read_to_string(there.join("three.txt")).unwrap(), "three");
    assert_eq!(office.mode(), "online");
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn rights_that_are_withdrawn_in_mid_exchange_cost_nothing_here() {
    const COUNT: usize = 60;
    let server = FileServer::start();
    let there = server.folder("home", "sub");
    write(&there.join("theirs.txt"), "theirs");
    let proxy = Proxy::start("127.0.0.5:0", &format!("{ADDRESS}:{PORT}"));
    let office = Office::through(&server, "home", "sub", "", proxy.port());
    office.world.ok(&["logon", "alice"]);
    office.world.ok(&["sync", "alice"]);
    let name = |at: usize| format!("{at}.txt");
    for at in 0..COUNT {
        office.write(&name(at), "mine");
    }
    proxy.set(Fault::Delay(Duration::from_millis(15)));
    let there_now = || fs::read_dir(&there).unwrap().count();
    let begun = there_now();
    let ran = std::thread::scope(|scope| {
        let sync = scope.spawn(|| office.world.homeport(&["sync", "alice"]));
        until("some files arrived", PATIENCE, || there_now() > begun + 5);
        fs::set_permissions(&there, fs::Permissions::from_mode(0o700)).unwrap();
        chown(&there, Some(0), Some(0)).unwrap();
        sync.join().unwrap()
    });
    assert_ne!(ran.code, 0, "it was over before: {}", ran.out);
    proxy.set(Fault::Pass);
    assert_eq!(office.read("theirs.txt").as_deref(), Some("theirs"));
    assert!((0..COUNT).all(|at| office.read(&name(at)).as_deref() == Some("mine")));
    give(&there);
    let begun = Instant::now();
    office.world.ok(&["sync", "alice"]);
    println!("back {:.1?} after the rights", begun.elapsed());
    for at in 0..COUNT {
        assert_eq!(fs::read_to_string(there.join(name(at))).unwrap(), "mine");
    }
}

/// The agent as a service, until the test ends.
struct Service(Child);

impl Service {
    fn start(office: &Office) -> Self {
        let settings = office.world.read("agent.toml").unwrap();
        let settings = settings.replace("log.level = 'error'", "log.level = 'info'");
        office.world.write("agent.toml", &settings);
        let mut child = office.world.command(&["run"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("Agent started.") {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "the agent ended before it started");
        }
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self(child)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Nobody asks for anything; sooner or later a probe is due, and a change of the network is one.
#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn the_service_brings_a_folder_back_by_itself() {
    let (mut server, there, office) = in_step(&FILES);
    let _service = Service::start(&office);
    office.world.ok(&["logon", "alice"]);
    server.stop();
    office.write("three.txt", "three");
    office.world.homeport(&["sync", "alice"]);
    assert_eq!(office.mode(), "error");
    server.restart();
    let begun = Instant::now();
    run(program("ip").args(["address", "add", "127.0.0.99/8", "dev", "lo"]));
    until("the folder is back", PATIENCE, || office.mode() == "online");
    println!("back {:.1?} after the server and a change of the network", begun.elapsed());
    until("its changes are there", PATIENCE, || there.join("three.txt").exists());
    println!("everything there after {:.1?}", begun.elapsed());
    run(program("ip").args(["address", "delete", "127.0.0.99/8", "dev", "lo"]));
}

/// A password that the server does not know is the sign-in's failure, not the share's.
#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn a_sign_in_that_fails_is_told_from_a_share_that_refuses() {
    let (_server, _there, office) = in_step(&FILES);
    let password = office.world.path("password");
    fs::write(&password, "wrong\n").unwrap();
    let ran = office.world.homeport(&["doctor", &office.unc, "--user", "alice"]);
    let words = r"FAIL  session   \\files.corp.test: STATUS_LOGON_FAILURE (0xC000006D)";
    assert!(ran.out.contains(words), "{}", ran.out);
    assert_eq!(ran.code, 4, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("there is no connection to the share"), "{}", ran.out);
}

/// Exchanges until the folder is in a mode: a single measurement changes nothing. Gives how often.
fn until_mode(office: &Office, mode: &str) -> u32 {
    for turns in 1..8 {
        office.world.ok(&["sync", "alice"]);
        if office.mode() == mode {
            return turns;
        }
    }
    panic!("never {mode}: {:#}", office.told());
}

/// With Kerberos, and a share that the settings do not name.
#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn doctor_goes_along_a_dfs_link_with_the_persons_tickets() {
    let dc = Dc::shared();
    let _server = DomainShare::start(&dc);
    let target = root().join("people/target");
    fs::create_dir_all(target.join("sub")).unwrap();
    for (name, share) in [("there", "people"), ("dead", "nowhere")] {
        let link = root().join("links").join(name);
        let _of_a_test_before = fs::remove_file(&link);
        symlink(format!("msdfs:dc1.corp.test\\{share}"), link).unwrap();
    }
    let world = World::new();
    let helper = helper().display().to_string();
    let settings = format!("{}[smb]\nhelper = '{helper}'\n", world.settings("DESK-1"));
    world.write("agent.toml", &settings);
    let tickets = format!("FILE:{}", tickets("alice").display());
    let doctor = |path: &str, tickets: &str| {
        let mut command = world.command(&["doctor", path]);
        command.env("KRB5CCNAME", tickets).env("KRB5_CONFIG", krb::config());
        world::ran(command.output().unwrap())
    };
    let ran = doctor(r"\\dc1.corp.test\links\there\target\sub", &tickets);
    for part in [
        "signed in with this account's tickets",
        r"\\dc1.corp.test\links\there is a link to another place",
        r"\\dc1.corp.test\links\there\target\sub: may be listed",
    ] {
        assert!(ran.out.contains(part), "{part}\n{}{}", ran.out, ran.err);
    }
    let ran = doctor(r"\\dc1.corp.test\links\dead", &tickets);
    assert_eq!(ran.code, 4, "{}", ran.out);
    let words = "STATUS_BAD_NETWORK_NAME (0xC00000CC)";
    assert!(ran.out.contains(words) && ran.out.contains("mend its target"), "{}", ran.out);
    assert!(!ran.out.contains("OBJECT_NAME_NOT_FOUND"), "no absence: {}", ran.out);
    let ran = doctor(r"\\dc1.corp.test\links\there", "FILE:/nonexistent");
    let words = r"FAIL  session   \\dc1.corp.test: STATUS_LOGON_FAILURE (0xC000006D)";
    assert!(ran.out.contains(words), "{}", ran.out);
}

/// Across 35 ms and back: the threshold of the format's own default.
#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn a_link_that_becomes_slow_and_quick_again_is_followed() {
    let server = FileServer::start();
    let there = server.folder("home", "sub");
    write(&there.join("one.txt"), "one");
    let proxy = Proxy::start("127.0.0.5:0", &format!("{ADDRESS}:{PORT}"));
    let office = Office::through(&server, "home", "sub", "", proxy.port());
    office.world.ok(&["logon", "alice"]);
    office.world.ok(&["sync", "alice"]);
    assert_eq!(office.mode(), "online", "{:#}", office.told());
    proxy.set(Fault::Delay(Duration::from_millis(40)));
    office.write("two.txt", "two");
    let turns = until_mode(&office, "slow");
    println!("slow after {turns} exchanges: {}", office.told()["why"]);
    let told = office.told();
    let why = told["why"].as_str().unwrap();
    let latency = why.split("latency ").nth(1).and_then(|rest| rest.split(' ').next());
    let latency: f64 = latency.unwrap_or_else(|| panic!("{why}")).parse().unwrap();
    assert!((78.0..130.0).contains(&latency), "one round trip takes 80 ms: {why}");
    assert_eq!(fs::read_to_string(there.join("two.txt")).unwrap(), "two", "asked for by hand");
    proxy.set(Fault::Pass);
    let turns = until_mode(&office, "online");
    println!("online again after {turns} exchanges: {}", office.told()["why"]);
    assert_eq!(office.read("one.txt").as_deref(), Some("one"));
}
