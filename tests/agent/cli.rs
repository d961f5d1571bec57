//! What an administrator meets at the command line: answers, exit codes, errors with a hint.
#![allow(clippy::disallowed_methods, reason = "tests touch the disk")]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

use support::{STAFF, World};

#[test]
fn every_kind_of_failure_has_its_exit_code() {
    let world = World::with_staff();
    world.write("bad/a.toml", "schema = 1\n[policy]\nid = 'a'\nversion = 'x'\n");
    for (args, code, words) in [
        (&["status"][..], 4, "there is no status"),
        (&["frobnicate"], 2, "unrecognized subcommand"),
        (&["policy", "check", "bad"], 3, "wrong-type"),
        (&["policy", "check", "nowhere"], 4, "cannot list the policy directory"),
        (&["policy", "explain", "--user", "nobody"], 4, "the directory has no user nobody"),
        (&["policy", "explain", "--user", "alice", "--cost", "gold"], 2, "no network cost"),
        (&["conflicts", "resolve", "x", "--keep", "local"], 4, "there is no status"),
        (&["work-offline", r"\\files\home"], 4, "there is no status"),
        (&["work-offline", "not-a-path"], 2, "is no network folder"),
    ] {
        let ran = world.homeport(args);
        let said = format!("{}{}", ran.out, ran.err);
        assert_eq!(ran.code, code, "homeport {args:?}\n{said}");
        assert!(said.contains(words), "homeport {args:?}\n{said}");
    }
}

/// Server alone, devices, and what no name may hold: at every command that takes a network path.
#[test]
fn a_malformed_network_path_is_an_error_of_usage_with_a_hint() {
    let world = World::with_staff();
    world.ok(&["logon", "alice"]);
    let paths = [
        (r"\\server", "a server and a share"),
        (r"\\server\", "a server and a share"),
        (r"\\", ""),
        (r"\\srv\share\..\x", "`.` or `..`"),
        (r"\\srv\share\a\\b", "is empty"),
        (r"\\?\C:\Users", "cannot be part of a name"),
        (r"\\?\UNC\srv\share", "cannot be part of a name"),
        (r"\\.\pipe\spoolss", "`.` or `..`"),
        (r"\\srv\share\con:x", "cannot be part of a name"),
        (r"\srv\share", "two backslashes"),
        ("//srv", "a server and a share"),
        ("smb://srv", "a server and a share"),
    ];
    let commands: &[&[&str]] = &[
        &["work-offline"],
        &["work-online"],
        &["sync"],
        &["ls"],
        &["pin"],
        &["unpin"],
        &["suspend"],
        &["resume"],
        &["dirty"],
        &["release"],
        &["recycled"],
        &["conflicts", "show"],
    ];
    for (path, words) in paths {
        for command in commands {
            let ran = world.homeport(&[*command, &[path]].concat());
            let said = format!("{}{}", ran.out, ran.err);
            assert_eq!(ran.code, 2, "{command:?} {path}\n{said}");
            assert!(said.contains(words) && said.contains("help:"), "{command:?} {path}\n{said}");
        }
    }
}

#[test]
fn settings_that_are_not_there_or_wrong_are_named() {
    let world = World::new();
    world.write("agent.toml", "[directory]\nkind = 'file'\npath = 'x'\ncolour = 1\n");
    let ran = world.homeport(&["plan", "alice"]);
    assert_eq!(ran.code, 4);
    assert!(ran.err.contains("agent.toml:4:1: unknown field `colour`"), "{}", ran.err);
    std::fs::remove_file(world.path("agent.toml")).unwrap();
    let ran = world.homeport(&["plan", "alice"]);
    assert_eq!(ran.code, 4);
    assert!(ran.err.contains("cannot read the settings"), "{}", ran.err);
}

#[test]
fn five_defects_in_one_file_are_five_diagnostics_in_one_run() {
    let world = World::new();
    world.write(
        "policy.d/bad.toml",
        "schema = 1\ncolour = 'red'\n[policy]\nid = 'bad'\nversion = 1\n[link]\nto = 'nowhere'\n\
         [computer.offline-files]\nenabled = 'yes'\n[computer.offline-files.background-sync]\n\
         interval = '2d'\nschedule = '61 * * * *'\n",
    );
    let ran = world.homeport(&["policy", "check"]);
    assert_eq!(ran.code, 3);
    for code in ["unknown-key", "unknown-value", "wrong-type", "out-of-range", "bad-cron"] {
        assert!(ran.out.contains(code), "{code} is missing in\n{}", ran.out);
    }
    assert!(ran.out.contains("5 errors"), "{}", ran.out);
}

#[test]
fn check_prints_json_for_programs() {
    let world = World::with_staff();
    let json: serde_json::Value =
        serde_json::from_str(&world.ok(&["--json", "policy", "check"])).unwrap();
    assert_eq!(json["good"], true);
    assert_eq!(json["objects"], 1);
}

#[test]
fn a_broken_directory_names_its_line() {
    let world = World::with_staff();
    world.write("corp.ldif", "dn: CN=alice,DC=corp\nobjectClass: user\nno colon here\n");
    let ran = world.homeport(&["policy", "explain", "--user", "alice", "--computer", "X"]);
    assert_eq!(ran.code, 4);
    assert!(ran.err.contains("line 3: no colon in"), "{}", ran.err);
}

#[test]
fn explain_answers_for_windows_from_files_alone() {
    let world = World::with_staff();
    let said = world.ok(&[
        "policy",
        "explain",
        "--policy",
        "policy.d",
        "--directory",
        "corp.ldif",
        "--user",
        "alice",
        "--computer",
        "LT-7",
        "--os",
        "windows",
    ]);
    for part in [
        r"documents: redirect to \\files\home\alice\Documents",
        "staff (staff.toml:23)",
        "msDS-PrimaryComputer of alice has CN=LT-7",
        r"profile: roam with \\files\profiles\alice.V6",
    ] {
        assert!(said.contains(part), "{part} is missing in\n{said}");
    }
}

#[test]
fn diff_says_for_whom_what_changes() {
    let world = World::with_staff();
    world.write("new/staff.toml", &STAFF.replace("primary-computers-only = true", ""));
    let said = world.ok(&["policy", "diff", "policy.d", "new", "--directory", "corp.ldif"]);
    for part in [
        "1 users, 1 of 3 pairs change",
        r"1 × documents: do not redirect on this computer → redirect to \\files\home\%USERNAME%\Documents",
        "alice on CONF-2",
    ] {
        assert!(said.contains(part), "{part} is missing in\n{said}");
    }
    let same = world.ok(&["policy", "diff", "policy.d", "policy.d", "--directory", "corp.ldif"]);
    assert!(same.contains("no decision changes"), "{same}");
}

#[test]
fn a_plan_changes_nothing() {
    let world = World::with_staff();
    world.write("homes/alice/Documents/Thesis.odt", "one");
    let before = support::tree(&world.path("homes"));
    let said = world.ok(&["plan", "alice"]);
    assert!(said.contains("1. bring the profile down") && said.contains("because"), "{said}");
    assert_eq!(support::tree(&world.path("homes")), before);
}

#[test]
fn a_bad_first_policy_leaves_everything_alone_and_says_so() {
    let world = World::new();
    world.write("policy.d/bad.toml", "schema = 1\n[policy]\n");
    world.write("homes/alice/Documents/Thesis.odt", "one");
    let said = world.ok(&["logon", "alice"]);
    assert!(said.contains("no policy is in force") && said.contains("missing-key"), "{said}");
    assert!(world.ok(&["status"]).contains("policy: none; nothing is done"));
}

#[test]
fn a_bad_policy_after_a_good_one_leaves_the_good_one_in_force() {
    let world = World::with_staff();
    world.ok(&["logon", "alice"]);
    world.write("policy.d/staff.toml", "schema = 1\n[policy\n");
    let ran = world.homeport(&["apply", "alice"]);
    assert_eq!(ran.code, 3, "{}", ran.out);
    assert!(ran.out.contains("REJECTED") && !ran.out.contains("home from"), "{}", ran.out);
    let status = world.ok(&["status"]);
    assert!(status.contains("REJECTED") && status.contains("toml-syntax"), "{status}");
}

#[test]
fn a_lower_version_is_refused() {
    let world = World::with_staff();
    world.write("policy.d/staff.toml", &STAFF.replace("version = 1", "version = 3"));
    world.ok(&["logon", "alice"]);
    world.write("policy.d/staff.toml", STAFF);
    assert_eq!(world.homeport(&["apply", "alice"]).code, 3);
    let status = world.ok(&["status"]);
    assert!(status.contains("lower-version"), "{status}");
}

#[test]
fn a_missing_directory_moves_nobody() {
    let world = World::with_staff();
    world.ok(&["logon", "alice"]);
    std::fs::remove_file(world.path("corp.ldif")).unwrap();
    let said = world.ok(&["apply", "alice"]);
    assert!(said.contains("it stays redirected until it can be decided"), "{said}");
    assert!(world.ok(&["status"]).contains("directory: out of reach"));
}

#[test]
fn a_stranger_signs_in_with_nothing_done() {
    let world = World::with_staff();
    std::fs::create_dir_all(world.path("homes/mallory")).unwrap();
    let said = world.ok(&["logon", "mallory"]);
    assert!(said.contains("nothing to do"), "{said}");
}

#[test]
fn completions_manuals_and_reference_are_generated() {
    let world = World::new();
    assert!(world.ok(&["completions", "bash"]).contains("work-offline"));
    world.ok(&["man", "man"]);
    assert!(world.path("man/homeport-policy-explain.1").exists());
    assert!(world.ok(&["policy", "schema"]).contains("\"folder-redirection\""));
    assert!(
        world.ok(&["policy", "schema", "--format", "text", "blockout"]).contains("BackgroundSync")
    );
    assert!(
        world
            .ok(&["policy", "schema", "--format", "markdown"])
            .contains("| `homeport_steps_total`")
    );
}

#[test]
fn the_help_names_every_command() {
    let said = World::new().ok(&["--help"]);
    for command in [
        "demo",
        "run",
        "policy",
        "plan",
        "apply",
        "logon",
        "logoff",
        "sync",
        "release",
        "ls",
        "pin",
        "unpin",
        "suspend",
        "resume",
        "dirty",
        "status",
        "conflicts",
    ] {
        assert!(said.contains(&format!("\n  {command}")), "{command} is missing in\n{said}");
    }
}

#[test]
fn one_account_has_one_name_and_no_name_leaves_the_homes() {
    let world = World::with_staff();
    world.ok(&["logon", "ALICE"]);
    world.ok(&["logon", r"CORP\alice"]);
    let status = world.ok(&["status"]);
    assert_eq!(status.matches("signed in;").count(), 1, "{status}");
    for name in ["../x", "a/b", ".."] {
        let ran = world.homeport(&["logon", name]);
        assert_eq!(ran.code, 2, "{name}: {}", ran.out);
        assert!(ran.err.contains("there is no user"), "{}", ran.err);
    }
}

#[test]
fn relative_settings_make_absolute_links() {
    let world = World::with_staff();
    world.write("homes/alice/Documents/Thesis.odt", "one");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_homeport"));
    command.env_clear().current_dir(world.path("homes"));
    let ran = support::ran(
        command.args(["--settings", "../agent.toml", "logon", "alice"]).output().unwrap(),
    );
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert_eq!(world.read("homes/alice/Documents/Thesis.odt").as_deref(), Some("one"));
}

#[test]
fn a_plan_does_not_bring_a_policy_into_force() {
    let world = World::with_staff();
    world.write("policy.d/staff.toml", &STAFF.replace("version = 1", "version = 99"));
    world.ok(&["plan", "alice"]);
    world.write("policy.d/staff.toml", STAFF);
    world.ok(&["apply", "alice"]);
}

#[test]
fn screens_hold_while_the_directory_is_away() {
    let world = World::with_staff();
    let policy = format!("{STAFF}\n[computer.offline-files]\nfile-screens = ['*.pst']\n");
    world.write("policy.d/staff.toml", &policy);
    world.ok(&["logon", "alice"]);
    std::fs::remove_file(world.path("corp.ldif")).unwrap();
    world.write("homes/alice/Documents/mail.pst", "mail");
    world.ok(&["sync", "alice"]);
    assert_eq!(world.read("server/home/alice/Documents/mail.pst"), None);
}

#[test]
fn working_offline_is_refused_where_policy_or_path_say_no() {
    let world = World::with_staff();
    world.ok(&["logon", "alice"]);
    let ran = world.homeport(&["work-offline", r"\\nope\share"]);
    assert_eq!(ran.code, 5, "{}", ran.out);
    let policy = format!("{STAFF}\n[computer.offline-files]\nallow-work-offline = false\n");
    world.write("policy.d/staff.toml", &policy);
    world.ok(&["apply", "alice"]);
    let ran = world.homeport(&["work-offline", r"\\files\home"]);
    assert_eq!(ran.code, 5, "{}", ran.out);
    assert!(ran.out.contains("allow-work-offline"), "{}", ran.out);
}

#[test]
fn names_cannot_steer_the_terminal_of_whoever_looks() {
    let world = World::with_staff();
    let name = "homes/alice/Documents/\u{1b}]0;PWNED\u{7}\u{1b}[2J.txt";
    world.write(name, "here");
    world.write(&name.replace("homes/alice", "server/home/alice"), "there");
    world.ok(&["logon", "alice"]);
    for args in [&["status"][..], &["conflicts", "list"], &["sync", "alice"]] {
        let said = world.ok(args);
        assert!(!said.contains('\u{1b}'), "{said:?}");
    }
    assert!(world.ok(&["conflicts", "list"]).contains(r"\u{1b}]0;PWNED"));
}

#[test]
fn a_pipe_among_the_policy_files_rejects_the_set_and_hangs_nobody() {
    let world = World::with_staff();
    world.ok(&["logon", "alice"]);
    let pipe = world.path("policy.d/zz.toml");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let ran = world.homeport(&["apply", "alice"]);
    assert_eq!(ran.code, 3, "{}", ran.out);
    assert!(world.ok(&["status"]).contains("it is no regular file"));
}

#[test]
fn files_that_could_not_be_exchanged_are_no_success() {
    let world = World::with_staff();
    world.ok(&["logon", "alice"]);
    use std::os::unix::ffi::OsStrExt as _;
    let name = std::ffi::OsStr::from_bytes(b"bad\xff.txt");
    std::fs::write(world.path("homes/alice/Documents").join(name), "x").unwrap();
    assert_eq!(world.homeport(&["sync", "alice"]).code, 6);
}

#[test]
fn two_accounts_of_one_name_make_a_directory_unusable() {
    let world = World::with_staff();
    let twin =
        "\ndn: CN=Other,OU=Staff,DC=corp,DC=test\nobjectClass: user\nsAMAccountName: Alice\n";
    world.write("corp.ldif", &format!("{}{twin}", support::LDIF));
    let ran = world.homeport(&["policy", "explain", "--user", "alice", "--computer", "X"]);
    assert_eq!(ran.code, 4);
    assert!(ran.err.contains("has the account name of another entry"), "{}", ran.err);
}

#[test]
fn programs_get_json_for_errors_and_for_the_demo_too() {
    let world = World::with_staff();
    let ran = world.homeport(&["--json", "status"]);
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &json["exit"]), (4, &serde_json::json!(4)));
    let ran = world.homeport(&["--json", "demo", "--dir", "play"]);
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert!(json["directory"].as_str().unwrap().ends_with("play"), "{}", ran.err);
}

#[test]
fn the_demo_plays_to_its_end() {
    let world = World::new();
    let said = world.ok(&["demo", "--dir", "play"]);
    for part in ["7. The administrator withdraws", "a plain folder again", "Look around:"] {
        assert!(said.contains(part), "{part} is missing in\n{said}");
    }
    assert_eq!(world.homeport(&["demo", "--dir", "play"]).code, 4, "the directory is not empty");
}

#[test]
fn doctor_and_snapshot_say_what_an_export_is_good_for() {
    let world = World::with_staff();
    let ran = world.homeport(&["doctor", "directory"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.starts_with("ok    settings  the export "), "{}", ran.out);
    assert!(ran.out.ends_with("1 ok, 0 to look at, 0 failed\n"), "{}", ran.out);
    let ran = world.homeport(&["directory", "snapshot", "--out", "new.ldif"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("set directory.kind = \"ldap\""), "{}", ran.err);
    // The export of the settings serves where none is named.
    world.ok(&["policy", "diff", "policy.d", "policy.d"]);
    world.write("corp.ldif", "dn: x\n");
    let ran = world.homeport(&["--json", "doctor", "directory"]);
    assert_eq!(ran.code, 4);
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(json["findings"][0]["level"], "fail");
    assert!(json["findings"][0]["mend"].as_str().unwrap().contains("directory snapshot"));
    std::fs::remove_file(world.path("agent.toml")).unwrap();
    let ran = world.homeport(&["doctor", "directory"]);
    assert_eq!(ran.code, 4);
    assert!(ran.out.contains("FAIL  settings  cannot read the settings"), "{}", ran.out);
}
