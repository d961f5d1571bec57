//! What stands in an offline folder and cannot be sent, or cannot be read, is told.
#![allow(clippy::disallowed_methods, reason = "tests touch the disk")]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use support::World;
use support::offline::{self, HERE, ROOT};

/// Three documents.
fn signed_in() -> World {
    let names = ["a/one.txt", "shut/two.txt", "shut/in/three.txt"];
    offline::signed_in(&names.map(|name| (name, "text")), "")
}

fn pipe(world: &World, name: &str) {
    let path = world.path(&format!("{HERE}/{name}"));
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600));
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).unwrap();
}

#[test]
fn dirty_names_what_cannot_be_sent() {
    let world = signed_in();
    pipe(&world, "a/pipe");
    fs::write(world.path(HERE).join(OsStr::from_bytes(b"odd\xff.txt")), "odd").unwrap();
    fs::create_dir(world.path(&format!("{HERE}/new"))).unwrap();
    let said = world.ok(&["dirty"]);
    let pipe = format!("{ROOT}\\a\\pipe: cannot be sent: it is a pipe, socket or device\n");
    assert!(said.contains(&pipe), "{said}");
    assert!(said.contains("odd\u{fffd}.txt: cannot be sent: its name is not UTF-8\n"), "{said}");
    assert!(said.contains("new (created, 0 bytes)\n"), "{said}");
    assert!(said.contains("alice: 1 item with 0 bytes is only on this computer"), "{said}");
    let told: Value = serde_json::from_str(&world.ok(&["--json", "dirty"])).unwrap();
    let pending = &told[0]["caches"][0]["pending"];
    assert_eq!(pending["total-unsent"], 2, "{told}");
    assert_eq!(pending["unsent"][0]["path"], "a/pipe", "{told}");
}

#[test]
fn ls_says_what_takes_no_part() {
    let world = signed_in();
    pipe(&world, "a/pipe");
    let said = world.ok(&["ls", &format!(r"{ROOT}\a")]);
    let expected = format!("{ROOT}\\a\\pipe: cannot be sent: it is a pipe, socket or device\n");
    assert!(said.ends_with(&expected) && said.contains("a/one.txt"), "{said}");
    let path = format!(r"{ROOT}\a");
    let told: Value = serde_json::from_str(&world.ok(&["--json", "ls", &path])).unwrap();
    assert_eq!(told[0]["notes"][0]["path"], "a/pipe", "{told}");
}

#[test]
fn a_folder_that_cannot_be_read_is_not_told_as_clean() {
    let world = signed_in();
    let shut = world.path(&format!("{HERE}/shut"));
    fs::set_permissions(&shut, fs::Permissions::from_mode(0o000)).unwrap();
    let ran = world.homeport(&["ls", ROOT]);
    assert_eq!(ran.code, 6, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains(&format!("{ROOT}\\shut: could not be read: ")), "{}", ran.out);
    assert!(ran.out.contains("a/one.txt") && !ran.out.contains("three.txt"), "{}", ran.out);
    let said = world.ok(&["dirty"]);
    assert!(said.contains(&format!("{ROOT}\\shut: cannot be sent: ")), "{said}");
    assert!(!said.contains("removed"), "{said}");
    fs::set_permissions(&shut, fs::Permissions::from_mode(0o700)).unwrap();
}
