//! What an administrator meets at the command line of offline folders: names that are no users, items
//! that fail, halted folders and the words that settle them, exit codes and result codes.
#![allow(clippy::disallowed_methods, reason = "tests touch the disk")]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use homeport_sync::codes::ResultCode;
use homeport_sync::lines::{Event, Reason};
use serde_json::Value;
use support::World;
use support::offline::{self, HERE, PATIENCE, ROOT, THERE, events, here, there};

/// Four documents.
fn signed_in(more: &str) -> World {
    offline::signed_in(
        &["a/one.txt", "b/two.txt", "c.txt", "d.txt"].map(|name| (name, "old")),
        more,
    )
}

fn status(world: &World) -> Value {
    serde_json::from_str(&world.read("state/status.json").unwrap()).unwrap()
}

fn cache(world: &World) -> Value {
    status(world)["users"]["alice"]["caches"][0].clone()
}

fn end(world: &World, args: &[&str]) -> (i32, ResultCode) {
    let ran = world.homeport(&[args, &["--progress", "text"]].concat());
    let code = events(&ran).last().unwrap_or_else(|| panic!("{args:?}: {}", ran.err)).code;
    (ran.code, code)
}

/// A second person with documents of her own, whom no directory knows.
fn with_bob(world: &World) {
    std::fs::create_dir_all(world.path("homes/bob/Documents")).unwrap();
    world.ok(&["logon", "bob"]);
}

fn forbid(world: &World, below: &str) -> PathBuf {
    let path = world.path(below);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    path
}

fn allow(path: &PathBuf) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_word_that_is_no_user_is_refused_and_leaves_nothing() {
    let world = signed_in("");
    for args in [
        &["sync", ""][..],
        &["sync", "nosuchfile"],
        &["sync", "bob"],
        &["dirty", "nosuch"],
        &["dirty", ""],
        &["ls", "--user", "bob"],
        &["release", "nosuch"],
        &["release", ""],
        &["apply", "nosuch"],
        &["logoff", "nosuch"],
        &["sync", r"\files\home"],
        &["sync", "../x"],
        &["pin", ROOT, "--user", "bob"],
        &["work-offline", ROOT, "--user", "bob"],
    ] {
        let ran = world.homeport(args);
        assert_eq!(ran.code, 2, "{args:?}: {}{}", ran.out, ran.err);
    }
    for args in [&["sync", "P/a"][..], &["sync", "./P/a"], &["release", r"\\files\nope"]] {
        let ran = world.homeport(args);
        assert_eq!(ran.code, 5, "{args:?}: {}{}", ran.out, ran.err);
        let said = format!("{}{}", ran.out, ran.err);
        assert!(said.contains("it lies in no offline folder of alice"), "{args:?}: {said}");
    }
    let names: Vec<String> = status(&world)["users"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["alice"]);
    let users: Value = serde_json::from_str(&world.read("state/users.json").unwrap()).unwrap();
    assert_eq!(users["users"].as_object().unwrap().len(), 1, "{users}");
    assert_eq!(world.ok(&["dirty"]), "nothing\n");
    world.ok(&["sync", r"CORP\alice"]);
}

#[test]
fn a_name_that_was_kept_by_mistake_is_dropped_and_hides_nobody() {
    let world = signed_in("");
    for file in ["users.json", "status.json"] {
        let path = format!("state/{file}");
        let mut kept: Value = serde_json::from_str(&world.read(&path).unwrap()).unwrap();
        let users = kept["users"].as_object_mut().unwrap();
        let mut nobody = users["alice"].clone();
        nobody["caches"] = Value::Array(Vec::new());
        if file == "users.json" {
            nobody = serde_json::json!({
                "signed-in": false, "last-sync-unix-ms": null, "connections": {},
            });
        }
        users.insert(String::new(), nobody.clone());
        users.insert("nosuchfile".to_owned(), nobody);
        world.write(&path, &kept.to_string());
    }
    here(&world, "a/new.txt", "12345");
    assert!(world.ok(&["ls", ROOT]).contains("a/new.txt"));
    assert_eq!(status(&world)["users"].as_object().unwrap().len(), 1);
    assert!(world.ok(&["dirty"]).contains("1 item with 5 bytes is only on this computer"));
    world.ok(&["sync", "alice"]);
    assert!(!world.ok(&["status"]).contains("nosuchfile"));
}

#[test]
fn somebody_who_cannot_be_told_of_hides_nobody() {
    let world = signed_in("");
    with_bob(&world);
    here(&world, "a/new.txt", "12345");
    // A journal of what is retained that nobody can read.
    world.write("homes/bob/.local/share/homeport/redirections.json", "{");
    let ran = world.homeport(&["dirty"]);
    assert_eq!(ran.code, 6, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("bob: failed: ") && ran.out.contains(r"a\new.txt"), "{}", ran.out);
}

#[test]
fn what_failed_is_named_with_the_reason_everywhere() {
    let world = signed_in("");
    here(&world, "a/locked.txt", "secret");
    here(&world, "a/fine.txt", "fine");
    let pipe = world.path(&format!("{HERE}/b/pipe"));
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, fifo, 0o600.into(), 0).unwrap();
    let locked = forbid(&world, &format!("{HERE}/a/locked.txt"));
    let ran = world.homeport(&["sync", "alice"]);
    assert_eq!(ran.code, 6, "{}{}", ran.out, ran.err);
    let denied = format!(r"left undone: {ROOT}\a\locked.txt: cannot ");
    let odd = format!(r"left undone: {ROOT}\b\pipe: it is a pipe, socket or device");
    for said in [ran.out, world.ok(&["status"])] {
        assert!(said.contains(&denied) && said.contains("Permission denied"), "{said}");
        assert!(said.contains(&odd), "{said}");
    }
    let settings = world.settings("DESK-1").replace("log.level = 'error'", "log.level = 'info'");
    world.write("agent.toml", &settings);
    here(&world, "a/locked too.txt", "secret");
    let more = forbid(&world, &format!("{HERE}/a/locked too.txt"));
    let ran = world.homeport(&["sync", "alice", "--progress", "json"]);
    assert!(ran.err.contains("WARN") && ran.err.contains("Item left undone."), "{}", ran.err);
    assert!(!ran.err.contains("INFO"), "a command says itself what it did: {}", ran.err);
    let logged = ran.err.lines().filter(|line| line.contains("Item left undone.")).count();
    assert_eq!(logged, 1, "what was known is not logged again: {}", ran.err);
    let told: Vec<Event> =
        ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let result = |name: &str| {
        let of_it = |event: &&Event| {
            let path = event.path.as_deref().unwrap_or_default();
            event.reason == Reason::ItemResult && path.ends_with(name)
        };
        told.iter().find(of_it).unwrap_or_else(|| panic!("{name}: {}", ran.out)).clone()
    };
    let event = result("locked.txt");
    assert_eq!((event.code, event.hresult), (ResultCode::AccessDenied, 0x8007_0005));
    assert!(event.message.unwrap().contains("Permission denied"));
    let event = result("pipe");
    assert_eq!((event.code, event.hresult), (ResultCode::NotSupported, 0x8007_0032));
    for path in [locked, more] {
        allow(&path);
    }
    std::fs::remove_file(pipe).unwrap();
    world.ok(&["sync", "alice"]);
    assert!(!world.ok(&["status"]).contains("left undone"));
}

#[test]
fn result_codes_say_what_happened() {
    let world = signed_in("");
    assert_eq!(end(&world, &["sync", r"\\nosuch\x"]), (5, ResultCode::NotCached));
    let ran = world.homeport(&["sync", ROOT, "--progress", "text"]);
    let said = "0:0x00000000:The operation completed successfully.:[]\n";
    assert!(ran.out.starts_with(said), "{}", ran.out);
    let share = forbid(&world, "server/home/alice");
    let ran = world.homeport(&["ls", ROOT]);
    assert!(ran.out.contains("0x80070005 Permission denied"), "{}", ran.out);
    assert_eq!(end(&world, &["sync", ROOT]), (6, ResultCode::AccessDenied));
    allow(&share);
    std::fs::rename(world.path(THERE), world.path("server/old")).unwrap();
    there(&world, "other.txt", "other");
    assert_eq!(end(&world, &["sync", ROOT]), (5, ResultCode::Held), "a halted folder");
}

#[test]
fn what_is_nowhere_is_no_success() {
    let world = signed_in("");
    let nothing = format!(r"{ROOT}\nosuch");
    for command in ["sync", "ls", "pin", "suspend", "resume"] {
        let ran = world.homeport(&[command, &nothing]);
        assert_eq!(ran.code, 5, "{command}: {}{}", ran.out, ran.err);
        assert!(ran.out.contains("there is no such item"), "{command}: {}", ran.out);
    }
    assert_eq!(end(&world, &["sync", &nothing]), (5, ResultCode::FileNotFound));
    // What is only here, or only on the share, is something; so is what was just deleted.
    here(&world, "new/x", "x");
    there(&world, "b/there.txt", "x");
    std::fs::remove_file(world.path(&format!("{HERE}/c.txt"))).unwrap();
    for name in ["new", r"b\there.txt", "c.txt"] {
        let said = world.ok(&["sync", &format!(r"{ROOT}\{name}")]);
        assert!(said.contains(&format!(r"synchronise {ROOT}\{name} in both")), "{said}");
    }
    assert_eq!(world.read(&format!("{THERE}/c.txt")), None);
}

#[test]
fn a_folder_above_means_the_folders_below_it() {
    let world = signed_in("");
    here(&world, "a/new.txt", "12345");
    let home = world.path("homes/alice").display().to_string();
    for place in [r"\\files\home\alice", r"\\files\home", &home] {
        assert!(world.ok(&["ls", place, "--dirty"]).contains("a/new.txt"), "{place}");
        assert!(world.ok(&["dirty", place]).contains(r"a\new.txt"), "{place}");
        assert_eq!(world.homeport(&["pin", place]).code, 5, "{place}");
    }
    assert_eq!(world.ok(&["dirty", &format!(r"{ROOT}\b")]), "nothing\n");
    world.ok(&["sync", r"\\files\home\alice"]);
    assert!(world.read(&format!("{THERE}/a/new.txt")).is_some());
    let ran = world.homeport(&["work-offline", &format!(r"{ROOT}\a")]);
    assert_eq!(ran.code, 5, "{}", ran.out);
    assert!(ran.out.contains(&format!("a part of the offline folder {ROOT}")), "{}", ran.out);
}

#[test]
fn one_mistake_has_one_code_however_many_users_there_are() {
    let world = signed_in("");
    let nope = format!(r"{ROOT}\nope");
    for round in ["one user", "two users"] {
        for args in [
            &["conflicts", "show", &nope][..],
            &["conflicts", "resolve", &nope, "--keep", "local"],
            &["conflicts", "resolve", &nope, "--keep", "local", "--user", "alice"],
            &["conflicts", "show", &nope, "--user", "alice"],
        ] {
            let ran = world.homeport(args);
            assert_eq!(ran.code, 2, "{round}, {args:?}: {}{}", ran.out, ran.err);
            assert!(ran.err.contains("is no open conflict of alice"), "{args:?}: {}", ran.err);
        }
        for command in ["ls", "sync", "pin", "dirty"] {
            let ran = world.homeport(&[command, r"\\files\nope\x"]);
            let said = format!("{}{}", ran.out, ran.err);
            assert_eq!(ran.code, 5, "{round}, {command}: {said}");
            assert!(said.contains("it lies in no offline folder of alice"), "{said}");
            assert!(said.contains(ROOT), "{said}");
        }
        if round == "one user" {
            with_bob(&world);
        }
    }
    assert_eq!(World::new().ok(&["conflicts", "list"]), "no open conflicts\n");
}

#[test]
fn a_halted_folder_shows_until_it_is_settled() {
    let world = signed_in("");
    std::fs::rename(world.path(THERE), world.path("server/old")).unwrap();
    there(&world, "other.txt", "other");
    here(&world, "a/new.txt", "new");
    assert_eq!(world.homeport(&["sync", "alice"]).code, 5);
    let halted = "halted: the folder on the share is not the one that was synchronised before";
    let is_halted = |when: &str| {
        let said = world.ok(&["status"]);
        let shown = said.lines().any(|line| line.trim_start().starts_with("halted: "));
        assert!(shown && said.contains("homeport release --merge-root"), "{when}: {said}");
        assert!(!said.contains("Goes offline when"), "{when}: {said}");
    };
    assert!(cache(&world)["halted"].is_string(), "{halted}");
    is_halted("after an exchange");
    let said = world.ok(&["dirty"]);
    assert!(
        said.contains("the share is not proved; everything here may be the only copy"),
        "{said}"
    );
    let _ = world.homeport(&["apply", "alice"]);
    is_halted("after a turn without an exchange");
    let _ = world.homeport(&["sync", &format!(r"{ROOT}\a")]);
    is_halted("after an exchange of a part");
    assert_eq!(world.homeport(&["release", "alice", "--believe-root"]).code, 5, "another mark");
    is_halted("after a word that does not count");
    let listed = world.ok(&["release", "--dry-run"]);
    assert!(listed.contains(&format!("{ROOT}\n    alice; halted: ")), "{listed}");
    world.ok(&["release", "alice", "--merge-root"]);
    assert!(!world.ok(&["status"]).contains("halted"));
    assert_eq!(world.ok(&["release", "--dry-run"]), "nothing is held\n");
}

#[test]
fn an_emptied_share_is_believed_by_name_alone() {
    let world = signed_in("");
    for name in ["a/one.txt", "b/two.txt", "c.txt", "d.txt"] {
        std::fs::remove_file(world.path(&format!("{THERE}/{name}"))).unwrap();
    }
    for name in ["a", "b"] {
        std::fs::remove_dir(world.path(&format!("{THERE}/{name}"))).unwrap();
    }
    for args in [&["sync", "alice"][..], &["release", "alice"]] {
        let ran = world.homeport(args);
        assert_eq!(ran.code, 5, "{args:?}: {}{}", ran.out, ran.err);
        assert!(ran.out.contains("homeport release --believe-root"), "{}", ran.out);
        assert!(world.read(&format!("{HERE}/c.txt")).is_some());
    }
    let both = ["release", "alice", "--believe-root", "--merge-root"];
    assert_eq!(world.homeport(&both).code, 2);
    world.ok(&["release", "alice", "--believe-root"]);
    assert_eq!(world.read(&format!("{HERE}/c.txt")), None);
    let recycle = PathBuf::from(cache(&world)["recycle"].as_str().unwrap());
    let said = world.ok(&["recycled", &format!(r"{ROOT}\c.txt")]);
    assert!(said.contains("c.txt\n    the one here, 3 bytes, kept since "), "{said}");
    assert!(said.contains(&recycle.display().to_string()) && !said.contains("d.txt"), "{said}");
    assert!(world.ok(&["recycled", "alice"]).contains("d.txt"));
    assert_eq!(world.ok(&["recycled", &format!(r"{ROOT}\nope")]), "no old versions\n");
    let kept = support::tree(&recycle);
    assert_eq!(kept.iter().filter(|(name, _)| name.ends_with("c.txt")).count(), 1, "{kept:?}");
}

#[test]
fn what_is_held_is_listed_first_and_released_by_folder() {
    let world = signed_in("brake = { max-deletes = 1 }");
    for name in ["a/1", "a/2", "b/1", "b/2"] {
        here(&world, name, name);
    }
    world.ok(&["sync", "alice"]);
    for name in ["a/1", "a/2", "b/1", "b/2"] {
        std::fs::remove_file(world.path(&format!("{HERE}/{name}"))).unwrap();
    }
    assert_eq!(end(&world, &["sync", &format!(r"{ROOT}\a")]), (5, ResultCode::Held));
    assert_eq!(cache(&world)["held-deletes"], 2, "an exchange of a part tells it");
    assert_eq!(end(&world, &["sync", "alice"]), (5, ResultCode::Held));
    let dry = world.ok(&["release", "--dry-run"]);
    assert!(dry.contains("alice; 4 deletes held") && dry.contains(r"Documents\a\1"), "{dry}");
    assert_eq!(
        world.ok(&["release", r"\\files\home\bob", "--user", "alice", "--dry-run"]),
        "nothing is held\n"
    );
    // An exchange of a part, and a turn without one, forget nothing of the rest.
    here(&world, "c.txt", "changed");
    world.ok(&["sync", &format!(r"{ROOT}\c.txt")]);
    world.ok(&["apply", "alice"]);
    assert_eq!(cache(&world)["held-deletes"], 4);
    world.ok(&["release", &format!(r"{ROOT}\a")]);
    assert_eq!(world.read(&format!("{THERE}/a/1")), None);
    assert!(world.read(&format!("{THERE}/b/1")).is_some());
    assert_eq!(cache(&world)["held-deletes"], 2);
    let dry = world.ok(&["release", "--dry-run"]);
    assert!(!dry.contains(r"Documents\a\1") && dry.contains(r"Documents\b\1"), "{dry}");
    let local = world.path(HERE).display().to_string();
    world.ok(&["release", &local]);
    assert_eq!(world.read(&format!("{THERE}/b/1")), None);
}

#[test]
fn a_conflict_is_told_in_words_with_both_places() {
    let world = signed_in("");
    here(&world, "c.txt", "from here");
    there(&world, "c.txt", "from the share");
    std::fs::remove_file(world.path(&format!("{HERE}/d.txt"))).unwrap();
    here(&world, "d.txt/inside", "x");
    there(&world, "d.txt", "from the share");
    let said = world.ok(&["sync", "alice"]);
    assert!(said.contains("2 open conflicts, see `homeport conflicts list`"), "{said}");
    let said = world.ok(&["status"]);
    let in_words = format!(r"conflict: {ROOT}\c.txt: it was changed here and on the share since");
    assert!(said.contains(&in_words) && !said.contains("TypeDiffers"), "{said}");
    let list = world.ok(&["conflicts", "list"]);
    assert!(list.contains("--keep local|remote|latest|both"), "{list}");
    assert!(list.contains("here: a folder, ") && !list.contains("4096"), "{list}");
    let show = world.ok(&["conflicts", "show", &format!(r"{ROOT}\c.txt")]);
    let recycle = cache(&world)["recycle"].as_str().unwrap().to_owned();
    assert!(show.contains(&recycle) && show.matches(r"Documents\c.txt").count() >= 3, "{show}");
    let said = world.ok(&["ls"]);
    assert!(said.contains("conflict; the file was changed on both sides)"), "{said}");
    let mut clashes = said.lines().filter(|line| line.contains("conflict"));
    assert!(!clashes.any(|line| line.contains("not on the share yet")), "{said}");
}

/// Starts a sync of a file that takes a minute, and waits until it is under way.
fn slow_sync(world: &World) -> std::process::Child {
    here(world, "large.bin", &"x".repeat(6_000_000));
    let mut command = world.command(&["sync", "alice"]);
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let child = command.spawn().unwrap();
    let started = std::time::Instant::now();
    let is_temp = |name: &str| name.rsplit('/').next().unwrap().starts_with(".homeport-tmp-");
    while !support::tree(&world.path("server")).iter().any(|(name, _)| is_temp(name)) {
        assert!(started.elapsed() < PATIENCE, "the sync never began");
        std::thread::yield_now();
    }
    child
}

#[test]
fn a_sync_that_is_ended_keeps_nobody_waiting() {
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::KILL] {
        let world = signed_in("bandwidth = '800kbit/s'");
        let mut child = slow_sync(&world);
        let id = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(id, signal).unwrap();
        child.wait().unwrap();
        let started = std::time::Instant::now();
        loop {
            let ran = world.homeport(&["sync", &format!(r"{ROOT}\a")]);
            if ran.code == 0 {
                break;
            }
            assert!(ran.out.contains("the worker of another command"), "{}{}", ran.out, ran.err);
            assert!(started.elapsed() < PATIENCE, "the worker never ended");
        }
    }
}

#[test]
fn new_and_changed_items_are_told_once() {
    let world = signed_in("");
    here(&world, "new.txt", "1");
    here(&world, "c.txt", "changed");
    std::fs::remove_file(world.path(&format!("{HERE}/d.txt"))).unwrap();
    let said = world.ok(&["ls"]);
    assert!(
        said.contains("new.txt (pinned for a redirected folder; not on the share yet)"),
        "{said}"
    );
    assert!(said.contains("; the file was changed here)"), "{said}");
    let said = world.ok(&["dirty"]);
    assert!(said.contains("alice: 2 items with 8 bytes are only on this computer\n"), "{said}");
    let deletes = "alice: 1 delete not on the share yet; nothing of it would be lost\n";
    assert!(said.ends_with(deletes), "{said}");
    let ran = world.homeport(&["sync", "--flags", "2", "--in"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.lines().count() <= 2, "{}", ran.err);
    let said = world.ok(&["unpin", &format!(r"{ROOT}\a")]);
    assert!(said.contains("it was not pinned for the user; pinned for a redirected"), "{said}");
    world.ok(&["pin", &format!(r"{ROOT}\a")]);
    let said = world.ok(&["unpin", &format!(r"{ROOT}\a")]);
    assert!(said.contains("no longer pinned for the user, but still for a redirected"), "{said}");
}
