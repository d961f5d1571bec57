//! KB 2512089 against a real file server: the root of the share lacks two rights, and the folder
//! below it works. Neither Homeport nor the folder is stranded, and `doctor` names what is missing.
#![allow(clippy::disallowed_methods, reason = "tests touch the disk, the clock and processes")]
#![allow(clippy::disallowed_types, reason = "tests speak over loopback")]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod office;
mod support;
#[path = "../support/mod.rs"]
mod world;

use std::fs;
use std::os::unix::fs::chown;
use std::process::Command;
use std::time::Instant;

use office::Office;
use serde_json::Value as Json;
use support::fileserver::{FileServer, PASSWORD, write};
use support::run;

/// Alice may pass through the root of the share, and neither list it nor read its attributes.
fn guarded() -> FileServer {
    let server = FileServer::start();
    let sub = server.folder("guarded", "sub");
    write(&sub.join("one.txt"), "one");
    let sibling = server.folder("guarded", "sibling");
    write(&sibling.join("not cached.txt"), "theirs");
    let share = server.share("guarded");
    chown(&share, Some(0), Some(0)).unwrap();
    let system = "ACL:S-1-5-18:ALLOWED/OI|CI/FULL";
    for folder in ["sub", "sibling"] {
        let acl = format!("REVISION:1,ACL:alice:ALLOWED/OI|CI/FULL,{system}");
        server.set_acl_as("bob", "guarded", folder, &acl);
    }
    let root = format!(
        "REVISION:1,ACL:alice:ALLOWED/0x0/0x00100020,ACL:S-1-3-0:ALLOWED/OI|CI|IO/FULL,{system}"
    );
    server.set_acl_as("bob", "guarded", "/", &root);
    server
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn a_folder_below_a_root_that_refuses_works_comes_back_and_doctor_names_what_is_missing() {
    let mut server = guarded();
    let share = server.share("guarded");
    let office = Office::new(&server, "guarded", "sub", "");
    office.world.ok(&["logon", "alice"]);
    let said = office.world.ok(&["sync", "alice"]);
    assert_eq!(office.read("one.txt").as_deref(), Some("one"), "{said}");
    assert_eq!(office.mode(), "online");
    office.write("two.txt", "two");
    office.world.ok(&["sync", "alice"]);
    assert_eq!(fs::read_to_string(share.join("sub/two.txt")).unwrap(), "two");

    // Away: the work goes on here.
    server.stop();
    office.write("three.txt", "three");
    office.write("one.txt", "one, changed here");
    let ran = office.world.homeport(&["sync", "alice"]);
    let told = office.told();
    assert_eq!(told["mode"], "error", "{}{}", ran.out, ran.err);
    assert!(told["next-probe-unix-ms"].is_i64(), "{told}");
    for (name, text) in
        [("one.txt", "one, changed here"), ("two.txt", "two"), ("three.txt", "three")]
    {
        assert_eq!(office.read(name).as_deref(), Some(text));
    }

    // Back: by the next turn that anything causes, without a switch being touched.
    server.restart();
    let begun = Instant::now();
    let said = office.world.ok(&["sync", "alice"]);
    println!("back online {:.1?} after the server", begun.elapsed());
    assert_eq!(office.mode(), "online", "{said}");
    for (name, text) in
        [("one.txt", "one, changed here"), ("two.txt", "two"), ("three.txt", "three")]
    {
        assert_eq!(fs::read_to_string(share.join("sub").join(name)).unwrap(), text);
        assert_eq!(office.read(name).as_deref(), Some(text));
    }
    let theirs = fs::read_to_string(share.join("sibling/not cached.txt")).unwrap();
    assert_eq!(theirs, "theirs");

    doctor_names_it_and_what_it_prints_mends_it(&office, &server);
}

/// Samba refuses nobody the attributes (`smbd_check_access_rights`), so that it is the listing that
/// fails; the entry grants both.
fn doctor_names_it_and_what_it_prints_mends_it(office: &Office, server: &FileServer) {
    let ask = ["doctor", &office.unc, "--user", "alice"];
    let ran = office.world.homeport(&ask);
    assert_eq!(ran.code, 5, "{}{}", ran.out, ran.err);
    let alice = server.sid("alice");
    for part in [
        "signed in as alice",
        r"FAIL  list      \\files.corp.test\guarded: STATUS_ACCESS_DENIED (0xC0000022)",
        r"ok    open      \\files.corp.test\guarded\sub: may be opened",
        r"ok    list      \\files.corp.test\guarded\sub: may be listed",
        r"the first part that fails: \\files.corp.test\guarded (list, STATUS_ACCESS_DENIED",
        "missing: List Folder/Read Data",
        &format!(r"add at \\files.corp.test\guarded: (A;;0x120089;;;{alice})"),
    ] {
        assert!(ran.out.contains(part), "{part}\n{}", ran.out);
    }

    let ran = office.world.homeport(&["--json", ask[0], ask[1], ask[2], ask[3]]);
    let report: Json = serde_json::from_str(&ran.out).unwrap();
    let changes = report["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 1, "{report:#}");
    let printed = changes[0]["samba"].as_str().unwrap();
    let mut mend = Command::new("sh");
    mend.args(["-c", printed]).env_clear().env("PATH", "/usr/bin:/bin");
    run(mend.env("USER", "bob").env("PASSWD", PASSWORD).env("SMB_CONF_PATH", "/dev/null"));
    let said = office.world.ok(&ask);
    assert!(said.contains("0 failed"), "{said}");
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn root_opens_nobodys_share_and_says_who_may() {
    let server = guarded();
    let office = Office::new(&server, "guarded", "sub", "");
    let ran = office.world.homeport(&["doctor", &office.unc]);
    assert_eq!(ran.code, 2, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("root opens nobody's share") && ran.err.contains("--user"));
    let ran = office.world.homeport(&["doctor", &office.unc, "--user", "root"]);
    assert_ne!(ran.code, 0, "{}{}", ran.out, ran.err);
}
