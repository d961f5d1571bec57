//! `homeport doctor` of a network folder, through a directory that holds it here.
#![allow(clippy::disallowed_methods, reason = "tests touch the disk and start the binary")]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use support::{Ran, World};

const SID: &str = "S-1-5-21-1-2-3-1200";

fn doctor(world: &World, path: &str) -> Ran {
    world.homeport(&["doctor", path, "--sid", SID])
}

#[test]
fn a_folder_that_opens_is_well() {
    let world = World::new();
    fs::create_dir_all(world.path("server/home/alice/Documents")).unwrap();
    let ran = doctor(&world, r"\\files\home\alice\Documents");
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains(r"\\files\home\alice\Documents: may be listed"), "{}", ran.out);
    assert!(ran.out.contains("0 failed"), "{}", ran.out);
}

#[test]
fn the_part_that_refuses_is_named_and_what_lies_below_is_looked_at_all_the_same() {
    let world = World::new();
    fs::create_dir_all(world.path("server/home/alice/Documents")).unwrap();
    // Through, and no look: the way of KB 2512089.
    let root = world.path("server/home");
    fs::set_permissions(&root, fs::Permissions::from_mode(0o311)).unwrap();
    let ran = doctor(&world, r"\\files\home\alice\Documents");
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(ran.code, 5, "{}{}", ran.out, ran.err);
    for part in [
        r"FAIL  list      \\files\home: STATUS_ACCESS_DENIED (0xC0000022)",
        r"ok    list      \\files\home\alice\Documents: may be listed",
        r"the first part that fails: \\files\home (list, STATUS_ACCESS_DENIED (0xC0000022), missing: List Folder/Read Data)",
        r"add at \\files\home: (A;;0x120089;;;S-1-5-21-1-2-3-1200)",
        r#"icacls "\\files\home" /grant "*S-1-5-21-1-2-3-1200:(R)""#,
        r"smbcacls '//files/home' '\' --add",
    ] {
        assert!(ran.out.contains(part), "{part}\n{}", ran.out);
    }
    assert_eq!(doctor(&world, r"\\files\home\alice\Documents").code, 0, "and then it is well");
}

#[test]
fn a_folder_that_is_not_there_and_a_share_that_nothing_holds() {
    let world = World::new();
    let ran = doctor(&world, r"\\files\home\alice\Documents");
    assert_eq!(ran.code, 4, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("STATUS_OBJECT_NAME_NOT_FOUND (0xC0000034)"), "{}", ran.out);
    let ran = doctor(&world, r"\\no-such-server.invalid\share\x");
    assert_eq!(ran.code, 6, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("STATUS_BAD_NETWORK_PATH"), "{}", ran.out);
    assert!(ran.out.contains("no directory on this computer holds"), "{}", ran.out);
    let json = world.homeport(&["--json", "doctor", r"\\no-such-server.invalid\share\x"]);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["verdict"], "away");
    assert_eq!(json["first-failure"]["stage"], "name");
}

#[test]
fn what_is_no_network_folder_is_an_error_of_usage() {
    let world = World::new();
    for path in
        [r"\\server", r"\\", r"\\.\pipe\x", r"\\?\C:\x", r"\\srv\share\..\x", "/tmp", "Documents"]
    {
        let ran = doctor(&world, path);
        assert_eq!(ran.code, 2, "{path}: {}{}", ran.out, ran.err);
    }
    let ran = world.homeport(&["doctor", r"\\srv\share", "--sid", "alice"]);
    assert!(ran.code == 2 && ran.err.contains("'alice' is no SID"), "{}", ran.err);
    assert_eq!(world.homeport(&["doctor"]).code, 2);
}

#[test]
fn the_directory_says_who_the_user_is() {
    let world = World::new();
    fs::create_dir_all(world.path("server/home/alice/Documents")).unwrap();
    let path = r"\\files\home\alice\Documents";
    let ran = world.homeport(&["doctor", path, "--user", "alice"]);
    assert_eq!(ran.code, 4, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("the directory names no SID of 'alice'"), "{}", ran.err);
    assert_eq!(world.homeport(&["doctor", path, "--user", "alice", "--sid", SID]).code, 0);
    let named = "sAMAccountName: alice\n";
    let sid = "objectSid:: AQUAAAAAAAUVAAAAAQAAAAIAAAADAAAA6QMAAA==\n";
    world.write("corp.ldif", &support::LDIF.replace(named, &format!("{named}{sid}")));
    let root = world.path("server/home");
    fs::set_permissions(&root, fs::Permissions::from_mode(0o311)).unwrap();
    let ran = world.homeport(&["doctor", path, "--user", "alice"]);
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(ran.code, 5, "{}{}", ran.out, ran.err);
    let entry = r"add at \\files\home: (A;;0x120089;;;S-1-5-21-1-2-3-1001)";
    assert!(ran.out.contains(entry), "{}", ran.out);
}
