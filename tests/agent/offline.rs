//! What a person does with offline folders at the command line: sync by path and flag, progress,
//! Ctrl-C, release, ls, pins, suspension, conflicts, and what is only here.
#![allow(clippy::disallowed_methods, reason = "tests touch the disk")]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

use std::process::{Child, Stdio};
use std::time::Instant;

use homeport_sync::codes::ResultCode;
use homeport_sync::lines::{Event, Reason};
use serde_json::Value;
use support::offline::{self, HERE, PATIENCE, ROOT, THERE, events, here, there};
use support::{Ran, World};

const LARGE: usize = 6_000_000;
/// Two documents, which are on the share.
fn signed_in(more: &str) -> World {
    let world = offline::signed_in(&[("a/one.txt", "one"), ("b/two.txt", "two")], more);
    assert_eq!(sent(&world, "a/one.txt").as_deref(), Some("one"));
    world
}

fn sent(world: &World, name: &str) -> Option<String> {
    world.read(&format!("{THERE}/{name}"))
}

fn json(world: &World, args: &[&str]) -> Value {
    let args = [&["--json"], args].concat();
    serde_json::from_str(&world.ok(&args)).unwrap()
}

#[test]
fn a_path_is_synchronised_and_nothing_else() {
    let world = signed_in("");
    for name in ["a/new.txt", "b/new.txt", "c/new.txt", "d.txt"] {
        here(&world, name, "new");
    }
    world.ok(&["sync", &format!(r"{ROOT}\a")]);
    assert!(sent(&world, "a/new.txt").is_some() && sent(&world, "b/new.txt").is_none());
    let local = world.path(&format!("{HERE}/b")).display().to_string();
    world.ok(&["sync", &local]);
    assert!(sent(&world, "b/new.txt").is_some() && sent(&world, "c/new.txt").is_none());
    world.ok(&["sync", "smb://files/home/alice/Documents/c"]);
    assert!(sent(&world, "c/new.txt").is_some() && sent(&world, "d.txt").is_none());
    world.ok(&["sync", ROOT, "--user", "alice"]);
    assert!(sent(&world, "d.txt").is_some());
}

#[test]
fn a_path_outside_names_the_offline_folders() {
    let world = signed_in("");
    for path in [r"\\files\home\bob", "/etc", "smb://other/share/x"] {
        let ran = world.homeport(&["sync", path, "--progress", "text"]);
        assert_eq!(ran.code, 5, "{path}: {}{}", ran.out, ran.err);
        assert!(ran.err.contains("it lies in no offline folder of alice"), "{}", ran.err);
        assert!(ran.err.contains(ROOT), "{}", ran.err);
        assert_eq!(events(&ran).last().unwrap().code, ResultCode::NotCached);
    }
    for path in [r"\\files", "/etc/../x"] {
        assert_eq!(world.homeport(&["sync", path]).code, 2, "{path}");
    }
}

#[test]
fn a_share_that_is_away_fails_whoever_names_it() {
    let world = signed_in("");
    std::fs::rename(world.path("server/home"), world.path("server/away")).unwrap();
    world.ok(&["sync", "alice"]);
    let ran = world.homeport(&["sync", ROOT, "--progress", "text"]);
    assert_eq!(ran.code, 6, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("1:0x800704EE:"), "{}", ran.out);
    let ran = world.homeport(&["ls", ROOT]);
    assert_eq!(ran.code, 6, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("0x800704EE"), "{}", ran.out);
}

#[test]
fn flags_say_which_way_and_who_wins() {
    let world = signed_in("");
    here(&world, "out.txt", "out");
    there(&world, "in.txt", "in");
    world.ok(&["sync", "--out"]);
    let brought = || world.read(&format!("{HERE}/in.txt"));
    assert!(sent(&world, "out.txt").is_some() && brought().is_none());
    let ran = world.homeport(&["sync", "alice", "--flags", "0x2"]);
    assert_eq!((ran.code, brought().as_deref()), (0, Some("in")), "{}{}", ran.out, ran.err);
    assert!(!ran.err.contains("note:"), "{}", ran.err);
    for (number, flags) in [(1, &["--keep", "remote"][..]), (2, &["--flags", "SyncIn,KeepRemote"])]
    {
        here(&world, "a/one.txt", &format!("here {number}"));
        there(&world, "a/one.txt", &format!("on the share {number}"));
        world.ok(&[&["sync"], flags].concat());
        let settled = world.read(&format!("{HERE}/a/one.txt")).unwrap();
        assert_eq!(settled, format!("on the share {number}"));
    }
}

#[test]
fn wrong_flags_are_errors_of_usage() {
    let world = signed_in("");
    for (args, words) in [
        (&["--flags", "0x10006", "--in"][..], "cannot be used with"),
        (&["--flags", "SyncSideways"], "is no flag"),
        (&["--flags", "0x4000"], "no flag has the bits"),
        (&["--flags", "0x8"], "says no direction"),
        (&["--flags", "KeepLocal+KeepRemote+SyncIn"], "exclude each other"),
        (&["--keep", "both"], "invalid value 'both'"),
        (&["--progress", "loud"], "invalid value 'loud'"),
        (&["bob", "--user", "alice"], "names somebody else"),
    ] {
        let ran = world.homeport(&[&["sync"], args].concat());
        assert_eq!(ran.code, 2, "{args:?}: {}{}", ran.out, ran.err);
        assert!(ran.err.contains(words), "{args:?}: {}", ran.err);
    }
}

#[test]
fn progress_is_told_as_documented_and_as_json() {
    let world = signed_in("");
    here(&world, "a/new [1]:x.txt", "12345");
    let ran = world.homeport(&["sync", "alice", "--progress", "text"]);
    let told = events(&ran);
    let reasons: Vec<Reason> = told.iter().map(|event| event.reason).collect();
    let (begin, end) = (Reason::ItemBegin, Reason::ItemResult);
    assert_eq!(reasons, [Reason::Begin, begin, end, Reason::End], "{}", ran.out);
    assert_eq!(told[1].path, told[2].path);
    assert_eq!(told[2].path.as_deref(), Some(&*format!(r"{ROOT}\a\new [1]:x.txt")));
    assert!(ran.err.contains("1 out"), "the summary is talk: {}", ran.err);
    here(&world, "a/more.txt", "1234567");
    let ran = world.homeport(&["sync", "alice", "--progress", "json"]);
    let told = ran.out.lines().map(|line| serde_json::from_str::<Event>(line).unwrap());
    let told: Vec<Event> = told.collect();
    assert_eq!((told.len(), told[3].reason, told[3].bytes), (4, Reason::End, 7), "{}", ran.out);
    for form in ["none", "bar"] {
        // Without a terminal there is no bar either.
        assert_eq!(world.homeport(&["sync", "alice", "--progress", form]).err, "");
    }
}

/// Starts a sync of a file that takes a minute, and waits until it is under way.
fn slow_sync(world: &World, args: &[&str]) -> Child {
    here(world, "small.txt", "small");
    here(world, "zz-large.bin", &"x".repeat(LARGE));
    let mut command = world.command(args);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    let is_temp = |name: &str| name.rsplit('/').next().unwrap().starts_with(".homeport-tmp-");
    while !support::tree(&world.path("server")).iter().any(|(name, _)| is_temp(name)) {
        assert!(started.elapsed() < PATIENCE, "the sync never began");
        std::thread::yield_now();
    }
    child
}

fn interrupt(child: &Child) {
    let id = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
}

fn is_cancelled(ran: &Ran) {
    assert_eq!(ran.code, 6, "{}{}", ran.out, ran.err);
    assert!(ran.out.ends_with(":[]\n") && ran.out.contains("\n1:0x800704C7:"), "{}", ran.out);
    assert!(ran.err.contains("what is in step stays in step"), "{}", ran.err);
}

#[test]
fn ctrl_c_ends_a_sync_and_what_is_synced_stays_synced() {
    let world = signed_in("bandwidth = '800kbit/s'");
    let args = ["sync", "alice", "--progress", "text"];
    let child = slow_sync(&world, &args);
    interrupt(&child);
    is_cancelled(&support::ran(child.wait_with_output().unwrap()));
    assert_eq!(sent(&world, "zz-large.bin"), None);
    let policy = world.read("policy.d/staff.toml").unwrap().replace("800kbit/s", "8Gbit/s");
    world.write("policy.d/staff.toml", &policy);
    world.ok(&["sync", "alice"]);
    assert_eq!(sent(&world, "zz-large.bin").unwrap().len(), LARGE);
    assert_eq!(world.ok(&["conflicts", "list"]), "no open conflicts\n");
    let left = support::tree(&world.path("server"));
    assert!(!left.iter().any(|(name, _)| name.contains(".homeport-tmp-")), "{left:?}");
}

#[test]
fn ctrl_c_reaches_the_running_agent_and_progress_comes_back() {
    let world = signed_in("bandwidth = '800kbit/s'");
    let mut agent = world.command(&["run"]).stderr(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    while !world.path("state/control.sock").exists() {
        assert!(started.elapsed() < PATIENCE, "the agent never listened");
        std::thread::yield_now();
    }
    let child = slow_sync(&world, &["sync", "alice", "--progress", "text"]);
    interrupt(&child);
    is_cancelled(&support::ran(child.wait_with_output().unwrap()));
    let ran = world.homeport(&["sync", &format!(r"{ROOT}\small.txt"), "--progress", "text"]);
    assert_eq!(events(&ran).last().unwrap().code, ResultCode::Ok, "{}{}", ran.out, ran.err);
    agent.kill().unwrap();
    agent.wait().unwrap();
}

#[test]
fn held_deletes_go_through_by_release_and_by_nothing_else() {
    let world = signed_in("brake = { max-deletes = 1 }");
    for name in ["1", "2", "3", "4", "5", "6"] {
        here(&world, name, name);
    }
    world.ok(&["sync", "alice"]);
    for name in ["1", "2", "3"] {
        std::fs::remove_file(world.path(&format!("{HERE}/{name}"))).unwrap();
    }
    let ran = world.homeport(&["sync", "alice", "--progress", "text"]);
    assert_eq!(ran.code, 5, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("3 deletes held (`homeport release`"), "{}", ran.err);
    assert_eq!(events(&ran).last().unwrap().code, ResultCode::Held);
    assert!(world.ok(&["status"]).contains("3 deletes are held; `homeport release --dry-run`"));
    assert_eq!(world.homeport(&["release", "alice", "--merge-root"]).code, 5);
    assert!(sent(&world, "1").is_some());
    world.ok(&["release", "alice"]);
    assert_eq!(sent(&world, "1"), None);
}

#[test]
fn a_replaced_folder_is_merged_only_by_name() {
    let world = signed_in("");
    std::fs::rename(world.path(THERE), world.path("server/old")).unwrap();
    there(&world, "other.txt", "other");
    for args in [&["sync", "alice"][..], &["release", "alice"]] {
        let ran = world.homeport(args);
        assert_eq!(ran.code, 5, "{args:?}: {}{}", ran.out, ran.err);
        assert!(ran.out.contains("homeport release --merge-root"), "{}", ran.out);
    }
    world.ok(&["release", "alice", "--merge-root"]);
    assert_eq!(sent(&world, "a/one.txt").as_deref(), Some("one"));
    assert_eq!(world.read(&format!("{HERE}/other.txt")).as_deref(), Some("other"));
}

#[test]
fn ls_tells_how_each_item_stands() {
    let world = signed_in("");
    here(&world, "b/new.txt", "12345");
    let said = world.ok(&["ls"]);
    assert!(said.contains(ROOT) && said.contains("a/one.txt"), "{said}");
    assert!(said.contains("b/new.txt (pinned for a redirected folder; not on the share"), "{said}");
    let dirty = world.ok(&["ls", "--dirty"]);
    assert!(dirty.contains("b/new.txt") && !dirty.contains("one.txt"), "{dirty}");
    let below = world.ok(&["ls", &format!(r"{ROOT}\a")]);
    assert!(below.contains("a/one.txt") && !below.contains("b/new.txt"), "{below}");
    assert_eq!(world.ok(&["ls", "--conflicts"]), "no items\n");
    let list = json(&world, &["ls", "--dirty", "--pinned", ROOT]);
    let items = list[0]["items"].as_array().unwrap();
    let new = items.iter().find(|item| item["path"] == "b/new.txt").unwrap();
    assert_eq!((new["bytes"].as_u64(), new["dirty"].as_bool()), (Some(5), Some(true)));
    assert_eq!(new["network-path"], format!(r"{ROOT}\b\new.txt"));
    let keys: Vec<&str> = new.as_object().unwrap().keys().map(String::as_str).collect();
    let words =
        "bytes conflict dirty kind network-path path pinned pinned-for sparse state suspended";
    assert_eq!((keys.join(" "), &new["kind"]), (words.to_owned(), &"file".into()));
    assert_eq!(world.homeport(&["ls", r"\\files\nope"]).code, 5);
}

#[test]
fn a_pin_is_the_users_own_and_is_taken_back() {
    let world = signed_in("no-pin = ['\\\\files\\home\\alice\\Documents\\b']");
    let one = format!(r"{ROOT}\a\one.txt");
    assert!(world.ok(&["pin", &one]).contains("pinned for the user, a redirected folder"));
    assert!(world.ok(&["pin", &one, "--for", "all"]).contains("the user, everybody"));
    let unpinned = json(&world, &["unpin", &one]);
    assert_eq!(unpinned[0]["pinned"], serde_json::json!(["everybody", "a redirected folder"]));
    for (path, code, words) in [
        (format!(r"{ROOT}\nope.txt"), 5, "there is no such item"),
        (format!(r"{ROOT}\b\two.txt"), 5, "offline-files.no-pin in staff (staff.toml:"),
        (r"\\files\nope\x".to_owned(), 5, "it lies in no offline folder"),
        ("smb://x".to_owned(), 2, "smb://x"),
    ] {
        let ran = world.homeport(&["pin", &path]);
        let said = format!("{}{}", ran.out, ran.err);
        assert_eq!(ran.code, code, "{path}: {said}");
        assert!(said.contains(words), "{path}: {said}");
    }
}

#[test]
fn nobody_pins_where_policy_forbids_it() {
    let world = signed_in("allow-pinning = false");
    let ran = world.homeport(&["pin", ROOT]);
    assert_eq!(ran.code, 5, "{}", ran.out);
    assert!(ran.out.contains("offline-files.allow-pinning = false in staff"), "{}", ran.out);
    world.ok(&["unpin", ROOT]);
}

#[test]
fn a_suspended_folder_waits_for_somebody_who_asks() {
    let world = signed_in("");
    let folder = world.path(&format!("{HERE}/a")).display().to_string();
    assert!(world.ok(&["suspend", &folder]).contains(r"Documents\a: suspended"));
    assert_eq!(world.homeport(&["suspend", &format!("{folder}/one.txt")]).code, 5);
    here(&world, "a/new.txt", "new");
    here(&world, "b/new.txt", "new");
    assert!(world.ok(&["ls", &folder]).contains("suspended"));
    world.ok(&["logoff", "alice"]);
    assert!(sent(&world, "a/new.txt").is_none() && sent(&world, "b/new.txt").is_some());
    world.ok(&["sync", "alice", "--skip-suspended"]);
    assert_eq!(sent(&world, "a/new.txt"), None);
    world.ok(&["sync", "alice"]);
    assert!(sent(&world, "a/new.txt").is_some());
    assert_eq!(json(&world, &["resume", &folder])[0]["suspended"], false);
    here(&world, "a/later.txt", "later");
    world.ok(&["logoff", "alice"]);
    assert!(sent(&world, "a/later.txt").is_some());
}

#[test]
fn dirty_says_what_would_be_lost() {
    let world = signed_in("");
    assert_eq!(world.ok(&["dirty"]), "nothing\n");
    here(&world, "a/new.txt", "12345");
    std::fs::remove_file(world.path(&format!("{HERE}/b/two.txt"))).unwrap();
    let said = world.ok(&["dirty", "alice"]);
    assert!(said.contains(r"a\new.txt (created, 5 bytes)"), "{said}");
    assert!(said.contains(r"b\two.txt (removed, 0 bytes)"), "{said}");
    assert!(said.contains("alice: 1 item with 5 bytes is only on this computer"), "{said}");
    let told = json(&world, &["dirty"]);
    let number = |key: &str| told[0][key].as_u64().unwrap();
    assert_eq!((number("items"), number("bytes"), number("deletes")), (1, 5, 1));
    std::fs::rename(world.path("server/home"), world.path("server/away")).unwrap();
    assert!(world.ok(&["dirty"]).contains("1 item with"), "the share is not needed for it");
}

#[test]
fn a_conflict_is_shown_with_both_versions_and_the_way_out() {
    let world = signed_in("");
    here(&world, "a/one.txt", "from here");
    there(&world, "a/one.txt", "from the share");
    world.ok(&["sync", "alice"]);
    let path = format!(r"{ROOT}\a\one.txt");
    let said = world.ok(&["conflicts", "show", &path]);
    for part in ["9 bytes", "14 bytes", "changed here and on the share", "--keep local"] {
        assert!(said.contains(part), "{part} is missing in\n{said}");
    }
    let told = json(&world, &["conflicts", "show", &path, "--user", "alice"]);
    assert_eq!(told["conflict"]["kind"], "both-changed");
    assert!(world.ok(&["ls", "--conflicts"]).contains("a/one.txt"));
    assert_eq!(world.homeport(&["conflicts", "show", &format!(r"{ROOT}\x")]).code, 2);
    let local = told["local"].as_str().unwrap();
    assert!(world.ok(&["conflicts", "show", local]).contains(&path));
    world.ok(&["conflicts", "resolve", local, "--keep", "local"]);
    assert_eq!(sent(&world, "a/one.txt").as_deref(), Some("from here"));
    assert_eq!(world.ok(&["conflicts", "list"]), "no open conflicts\n");
}

#[test]
fn a_cache_over_its_limit_says_so() {
    let world = signed_in("cache = { limit = '1KiB' }");
    here(&world, "large.bin", &"x".repeat(10_000));
    let said = world.ok(&["sync", "alice"]);
    assert!(said.contains("bytes over the cache's limit are pinned or only here"), "{said}");
    assert_eq!(world.read(&format!("{HERE}/large.bin")).unwrap().len(), 10_000);
}
