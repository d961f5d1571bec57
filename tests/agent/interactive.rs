//! What a person is asked after an exchange with Interactive and Console, and what becomes of it.
#![allow(clippy::disallowed_methods, reason = "tests touch the disk")]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::time::Instant;

use support::offline::{HERE, PATIENCE, ROOT, THERE};
use support::{Ran, World};

const PROMPT: &str = "keep [l]ocal, [r]emote, [b]oth, or [s]kip?";

/// A world in which some of alice's documents are changed here and on the share.
fn clashing(names: &[&str]) -> World {
    let world = World::with_staff();
    for name in names {
        world.write(&format!("{HERE}/{name}"), "old");
    }
    world.ok(&["logon", "alice"]);
    for name in names {
        world.write(&format!("{HERE}/{name}"), "from here");
        world.write(&format!("{THERE}/{name}"), "from the share");
    }
    world
}

/// Runs a command with these answers on its standard input.
fn answered(world: &World, args: &[&str], answers: &str) -> Ran {
    let mut command = world.command(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // One that asks nothing may be gone before it is answered.
    let _ = child.stdin.take().unwrap().write_all(answers.as_bytes());
    support::ran(child.wait_with_output().unwrap())
}

fn both(world: &World, name: &str) -> [String; 2] {
    [HERE, THERE].map(|side| world.read(&format!("{side}/{name}")).unwrap())
}

fn asked(ran: &Ran) -> usize {
    ran.err.matches(PROMPT).count()
}

#[test]
fn each_conflict_is_shown_and_settled_as_it_is_answered() {
    let world = clashing(&["a/local", "b/remote", "c/both", "d/skipped"]);
    let args = ["sync", "alice", "--interactive", "--console"];
    let ran = answered(&world, &args, "l\nREMOTE\n both \ns\n");
    assert_eq!((ran.code, asked(&ran)), (0, 4), "{}{}", ran.out, ran.err);
    for part in [r"Documents\a\local", "9 bytes", "14 bytes", "changed here and on the share"] {
        assert!(ran.err.contains(part), "{part} is missing in\n{}", ran.err);
    }
    assert!(ran.out.contains("4 open conflicts"), "{}", ran.out);
    assert!(ran.out.ends_with("conflicts: 3 settled, 1 left open\n"), "{}", ran.out);
    assert_eq!(both(&world, "a/local"), ["from here"; 2]);
    assert_eq!(both(&world, "b/remote"), ["from the share"; 2]);
    assert_eq!(both(&world, "c/both"), ["from the share"; 2]);
    assert_eq!(both(&world, "d/skipped"), ["from here", "from the share"]);
    let copies = support::tree(&world.path(&format!("{THERE}/c")));
    assert_eq!(copies.len(), 2, "{copies:?}");
    let left = world.ok(&["conflicts", "list"]);
    assert!(left.contains(r"d\skipped") && !left.contains(r"a\local"), "{left}");
}

#[test]
fn only_what_was_synchronised_is_asked_about() {
    let world = clashing(&["a/one", "b/two"]);
    world.ok(&["sync", "alice"]);
    let flags = ["--flags", "0x1806"];
    for place in [format!(r"{ROOT}\a"), world.path(HERE).join("a").display().to_string()] {
        let ran = answered(&world, &[&["sync", &place], &flags[..]].concat(), "s\nl\n");
        assert_eq!((ran.code, asked(&ran)), (0, 1), "{place}: {}{}", ran.out, ran.err);
        assert!(ran.err.contains(r"a\one") && !ran.err.contains(r"b\two"), "{}", ran.err);
    }
}

#[test]
fn who_does_not_answer_skips() {
    let world = clashing(&["a/one", "b/two"]);
    let args = ["sync", "alice", "--flags", "SyncIn+SyncOut+Interactive+Console"];
    let ran = answered(&world, &args, "");
    assert_eq!((ran.code, asked(&ran)), (0, 1), "{}{}", ran.out, ran.err);
    assert!(ran.out.ends_with("conflicts: 0 settled, 2 left open\n"), "{}", ran.out);
    // Asked again three times, then the next one is asked about.
    let ran = answered(&world, &args, "yes\n\nx\nlocale\nr\n");
    assert_eq!((ran.code, asked(&ran)), (0, 5), "{}{}", ran.out, ran.err);
    assert_eq!(both(&world, "a/one"), ["from here", "from the share"]);
    assert_eq!(both(&world, "b/two"), ["from the share"; 2]);
}

#[test]
fn ctrl_c_at_a_question_skips_the_rest() {
    let world = clashing(&["a/one", "b/two"]);
    let mut command = world.command(&["sync", "alice", "--interactive", "--console"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut said, mut byte) = (Vec::new(), [0]);
    while !said.ends_with(PROMPT.as_bytes()) {
        child.stderr.as_mut().unwrap().read_exact(&mut byte).unwrap();
        said.push(byte[0]);
    }
    let id = rustix::process::Pid::from_child(&child);
    let open = child.stdin.take(); // there could be an answer still
    // The signal may come before it is listened for, and is then sent again.
    while child.try_wait().unwrap().is_none() {
        let _ = rustix::process::kill_process(id, rustix::process::Signal::INT);
        std::thread::yield_now();
    }
    drop(open);
    let ran = support::ran(child.wait_with_output().unwrap());
    assert_eq!((ran.code, asked(&ran)), (0, 0), "{}{}", ran.out, ran.err);
    assert!(ran.out.ends_with("conflicts: 0 settled, 2 left open\n"), "{}", ran.out);
}

#[test]
fn nothing_is_asked_without_console_nor_without_conflicts() {
    let world = clashing(&["a/one"]);
    for args in [
        &["sync", "alice", "--interactive"][..],
        &["sync", "alice", "--console"],
        &["sync", "alice"],
    ] {
        let ran = answered(&world, args, "l\n");
        assert_eq!((ran.code, asked(&ran)), (0, 0), "{args:?}: {}{}", ran.out, ran.err);
    }
    world.ok(&["conflicts", "resolve", &format!(r"{ROOT}\a\one"), "--keep", "local"]);
    let ran = answered(&world, &["sync", "alice", "--interactive", "--console"], "l\n");
    assert_eq!((ran.code, asked(&ran)), (0, 0), "{}{}", ran.out, ran.err);
    assert!(ran.out.starts_with("alice, manual:"), "{}", ran.out);
}

#[test]
fn standard_output_stays_data() {
    let world = clashing(&["a/one", "b/two"]);
    let args = ["sync", "alice", "--interactive", "--console"];
    let ran = answered(&world, &[&["--json"], &args[..]].concat(), "l\n");
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(json[0]["user"], "alice");
    assert!(ran.err.ends_with("conflicts: 1 settled, 1 left open\n"), "{}", ran.err);
    let ran = answered(&world, &[&args[..], &["--progress", "text"]].concat(), "l\n");
    for line in ran.out.lines() {
        line.parse::<homeport_sync::lines::Event>().unwrap_or_else(|e| panic!("{line}: {e}"));
    }
    assert!(ran.err.ends_with("conflicts: 1 settled, 0 left open\n"), "{}", ran.err);
}

#[test]
fn a_folder_that_clashes_with_a_file_says_what_it_takes() {
    let world = clashing(&["a"]);
    std::fs::remove_file(world.path(&format!("{THERE}/a"))).unwrap();
    world.write(&format!("{THERE}/a/inside"), "inside");
    let ran = answered(&world, &["sync", "alice", "--interactive", "--console"], "l\n");
    assert_eq!((ran.code, asked(&ran)), (5, 1), "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("settle it with --keep both"), "{}", ran.err);
    assert!(ran.out.ends_with("conflicts: 0 settled, 1 left open\n"), "{}", ran.out);
}

#[test]
fn a_running_agent_carries_the_answers_out() {
    let world = clashing(&["a/one"]);
    let mut agent = world.command(&["run"]).stderr(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    while !world.path("state/control.sock").exists() {
        assert!(started.elapsed() < PATIENCE, "the agent never listened");
        std::thread::yield_now();
    }
    let ran = answered(&world, &["sync", "alice", "--interactive", "--console"], "r\n");
    assert_eq!((ran.code, asked(&ran)), (0, 1), "{}{}", ran.out, ran.err);
    assert_eq!(both(&world, "a/one"), ["from the share"; 2]);
    assert!(ran.out.ends_with("conflicts: 1 settled, 0 left open\n"), "{}", ran.out);
    agent.kill().unwrap();
    agent.wait().unwrap();
}
