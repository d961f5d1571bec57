//! Whose hands touch people's files: the agent is root here, and alice and bob have accounts.
#![allow(clippy::disallowed_methods, reason = "tests touch the disk and start the agent")]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[path = "support/office.rs"]
mod office;
#[path = "../support/mod.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process::Command;

use office::{ALICE, BOB, Office, Service, home, until, watcher};

/// Every owner of what lies below a directory, itself included; links are not followed.
fn owners(root: &Path) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(path) = waiting.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        found.insert(meta.uid());
        if meta.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found
}

/// The calls on files that were made by processes that had not become alice or bob, and that name
/// something in these places.
fn calls_as_root(trace: &str, places: &[&Path]) -> Vec<String> {
    let mut people: BTreeMap<&str, bool> = BTreeMap::new();
    let mut calls = Vec::new();
    for line in trace.lines() {
        let (pid, call) = line.split_once(' ').unwrap();
        let call = call.trim_start();
        if call.starts_with("setresuid(1100") && call.ends_with("= 0") {
            people.insert(pid, true);
        }
        // A thread or a child is who started it.
        if call.starts_with("clone") || call.starts_with("fork") || call.starts_with("vfork") {
            let child = call.rsplit_once("= ").map(|(_, child)| child.trim());
            let is_person = people.get(pid).copied().unwrap_or_default();
            people.extend(child.map(|child| (child, is_person)));
        }
        let names = |place: &&Path| call.contains(place.to_str().unwrap());
        if !people.get(pid).copied().unwrap_or_default() && places.iter().any(names) {
            calls.push(line.to_owned());
        }
    }
    calls
}

#[test]
#[ignore = "needs the lab: tests/lab/enter"]
fn the_agent_opens_nothing_of_alices_and_what_is_made_is_hers() {
    let office = Office::new();
    let trace = office.world.path("trace");
    let command = office.world.command(&["logon", "alice"]);
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-s", "4096", "-e", "trace=%file,%process,setresuid", "-o"]);
    traced.arg(&trace).arg(command.get_program()).args(command.get_args());
    traced.env_clear().current_dir(office.world.root.path());
    let ran = world::ran(traced.output().unwrap());
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);

    let documents = home("alice").join("Documents");
    assert!(documents.is_symlink(), "redirected: {}", ran.out);
    assert_eq!(fs::read_to_string(documents.join("thesis.txt")).unwrap(), "alice");
    assert_eq!(owners(&home("alice")), BTreeSet::from([ALICE]));
    assert_eq!(owners(&office.share().join("alice")), BTreeSet::from([ALICE]));

    let trace = fs::read_to_string(trace).unwrap();
    let calls = calls_as_root(&trace, &[&home("alice"), &office.share()]);
    // Whose home it is must be known before anybody can be that person.
    let is_look = |call: &&String| call.contains("stat") && call.contains("/home/alice\"");
    // The settings and the worker's environment name places, and open nothing.
    let opens: Vec<&String> =
        calls.iter().filter(|call| !is_look(call) && !call.contains("execve(")).collect();
    assert!(opens.is_empty(), "root reached into a home or share:\n{opens:#?}");
    assert!(trace.contains(&format!("setresuid({ALICE}")), "nobody became alice");
}

#[test]
#[ignore = "needs the lab: tests/lab/enter"]
fn a_hostile_person_gets_nothing_through_the_agent() {
    let office = Office::new();
    let secret = office.world.path("secret");
    fs::create_dir(&secret).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o755)).unwrap();
    let key = secret.join("key");
    fs::write(&key, "root's").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    // Where the worker keeps its data is root's directory; the documents hold alice's home, what
    // only root may read, and a pipe that nobody writes to.
    fs::create_dir(home("bob").join(".local")).unwrap();
    symlink(&secret, home("bob").join(".local/share")).unwrap();
    let documents = home("bob").join("Documents");
    symlink(home("alice"), documents.join("alice")).unwrap();
    symlink(&key, documents.join("key")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        documents.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    for name in [".local", ".local/share", "Documents/alice", "Documents/key", "Documents/pipe"] {
        std::os::unix::fs::lchown(home("bob").join(name), Some(BOB), Some(BOB)).unwrap();
    }

    let bob = office.world.homeport(&["logon", "bob"]);
    assert_ne!(bob.code, 0, "{}{}", bob.out, bob.err);
    let names: Vec<_> = fs::read_dir(&secret).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["key"], "bob made something in root's directory");
    // He mends his home, and signs in.
    fs::remove_file(home("bob").join(".local/share")).unwrap();
    office.world.homeport(&["logon", "bob"]);
    assert_eq!(owners(&home("alice")), BTreeSet::from([ALICE]), "alice's home is alice's");
    let mut waiting = vec![office.share()];
    while let Some(path) = waiting.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if meta.is_file() {
            assert_ne!(fs::read_to_string(&path).unwrap(), "root's", "{}", path.display());
        }
    }
    office.world.ok(&["logon", "alice"]);
}

#[test]
#[ignore = "needs the lab: tests/lab/enter"]
fn root_itself_and_a_home_of_somebody_else_are_left_alone() {
    let office = Office::new();
    let root = office.world.homeport(&["logon", "root"]);
    assert!(root.code != 0 && root.err.contains("administrator"), "{}{}", root.out, root.err);
    chown(home("bob"), Some(ALICE), Some(ALICE)).unwrap();
    let bob = office.world.homeport(&["logon", "bob"]);
    assert!(bob.code != 0 && bob.err.contains("11001"), "{}{}", bob.out, bob.err);
    assert!(!home("bob").join("Documents").is_symlink());
}

#[test]
#[ignore = "needs the lab: tests/lab/enter"]
fn a_worker_has_the_persons_rights_and_nothing_of_the_agents() {
    let office = Office::new();
    let _service = Service::start(&office);
    office.world.ok(&["logon", "alice"]);
    let worker = until("the watching worker", watcher);
    let status = fs::read_to_string(worker.join("status")).unwrap();
    for line in ["NoNewPrivs:\t1", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000"] {
        assert!(status.contains(line), "{line} is not in\n{status}");
    }
    let groups = status.lines().find_map(|line| line.strip_prefix("Groups:\t")).unwrap();
    assert_eq!(groups.trim(), "11001 11100");
    let environment = fs::read(worker.join("environ")).unwrap();
    let environment = String::from_utf8(environment).unwrap();
    let names: BTreeSet<&str> =
        environment.split('\0').filter_map(|one| Some(one.split_once('=')?.0)).collect();
    let expected = ["HOME", "LANG", "LOGNAME", "PATH", "USER", "XDG_RUNTIME_DIR"];
    assert_eq!(names, BTreeSet::from(expected));

    // What she writes is on the share by itself.
    fs::write(home("alice").join("Documents/new.txt"), "new").unwrap();
    chown(home("alice").join("Documents/new.txt"), Some(ALICE), Some(ALICE)).unwrap();
    let there = office.share().join("alice/Documents/new.txt");
    until("the new file on the share", || there.is_file().then_some(()));
    assert_eq!(fs::metadata(&there).unwrap().uid(), ALICE);
}

#[test]
#[ignore = "needs the lab: tests/lab/enter"]
fn a_watching_worker_that_is_killed_comes_back() {
    let office = Office::new();
    let _service = Service::start(&office);
    office.world.ok(&["logon", "alice"]);
    let first = until("the watching worker", watcher);
    let pid = first.file_name().unwrap().to_str().unwrap().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    until("another one", || watcher().filter(|other| *other != first));
}
