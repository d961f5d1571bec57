//! The two lists of primary computers compared, and proposals from sign-ins, by the real binary.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "../support/mod.rs"]
mod support;

use homeport_agent::directory::{file, ldif, ldif_write};
use proptest::prelude::*;
use support::World;

/// Ticks of 100 ns since 1601 for a day of 2026, as Active Directory writes them.
const JANUARY: &str = "134118720000000000";

const POLICY: &str = r#"schema = 1
[policy]
id = "desks"
version = 1
[link]
to = "domain"
[[computer.primary-computers.assign]]
user = "alice"
computers = ["DESK-1", "LT-7"]
[[computer.primary-computers.assign]]
group = "Writers"
computers = ["CONF-*"]
[[computer.primary-computers.assign]]
user = "nobody"
computers = ["GONE-*"]
"#;

fn world() -> World {
    let world = World::new();
    let dn = |name: &str| format!("CN={name},OU=Rooms,DC=corp,DC=test");
    let more = format!(
        "\ndn: {bob}\nobjectClass: user\nsAMAccountName: bob\n\
         msDS-PrimaryComputer: {conf}\n\
         msDS-PrimaryComputer: CN=OLD-3,OU=Rooms,DC=corp,DC=test\n\
         \ndn: {attic}\nobjectClass: computer\nsAMAccountName: ATTIC-1$\n\
         lastLogonTimestamp: {JANUARY}\n\
         \ndn: CN=Carol,OU=Staff,DC=corp,DC=test\nobjectClass: user\nsAMAccountName: carol\n\
         msDS-PrimaryComputer: {attic}\n",
        bob = dn("Bob"),
        conf = dn("CONF-2"),
        attic = dn("ATTIC-1"),
    );
    world.write("corp.ldif", &format!("{}{more}", support::LDIF));
    world.write("policy.d/desks.toml", POLICY);
    world
}

#[test]
fn every_difference_is_one_row() {
    let world = world();
    let out = world.ok(&["primary-computers", "report"]);
    let rows: Vec<String> =
        out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let expected = [
        "finding user computer detail",
        "missing-in-directory alice CONF-2 assigned by desks (desks.toml:10)",
        "missing-in-policy bob CONF-2 listed in msDS-PrimaryComputer of bob",
        "missing-in-policy carol ATTIC-1 listed in msDS-PrimaryComputer of carol",
        "unknown-computer bob CN=OLD-3,OU=Rooms,DC=corp,DC=test listed in msDS-PrimaryComputer of bob",
        "unknown-computer nobody GONE-* assigned by desks (desks.toml:13)",
        "unknown-user nobody GONE-* assigned by desks (desks.toml:13)",
        "stale-computer carol ATTIC-1 last signed in to the domain about 2026-01-03",
        "3 users, 4 computers: 1 missing-in-directory, 2 missing-in-policy, 1 stale-computer, \
         2 unknown-computer, 1 unknown-user",
    ];
    assert_eq!(rows, expected);
}

#[test]
fn an_assignment_counts_only_where_its_object_applies() {
    let world = world();
    let only = POLICY.replace("[link]", "[filter]\ncomputers = [\"LT-*\"]\n[link]");
    world.write("policy.d/desks.toml", &only);
    let out = world.ok(&["primary-computers", "report"]);
    // DESK-1 and CONF-2 are out of the object's reach, LT-7 is in it and listed.
    assert!(!out.contains("missing-in-directory"), "{out}");
    let alice: Vec<&str> = out.lines().filter(|line| line.contains("  alice  ")).collect();
    assert_eq!(alice.len(), 1, "{out}");
    assert!(alice[0].starts_with("missing-in-policy") && alice[0].contains("DESK-1"), "{out}");
}

#[test]
fn the_report_is_csv_json_and_metrics_too() {
    let world = world();
    let csv = world.ok(&["primary-computers", "report", "--format", "csv"]);
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("finding,user,computer,detail"));
    assert_eq!(
        lines.next(),
        Some("missing-in-directory,alice,CONF-2,assigned by desks (desks.toml:10)")
    );
    assert!(csv.contains("\"CN=OLD-3,OU=Rooms,DC=corp,DC=test\""), "{csv}");
    let json = world.ok(&["--json", "primary-computers", "report"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["counts"]["missing-in-policy"], 2);
    assert_eq!(json["rows"].as_array().unwrap().len(), 7);
    let metrics = world.ok(&["primary-computers", "report", "--format", "prometheus"]);
    let line = "homeport_primary_computer_differences{finding=\"stale-computer\"} 1\n";
    assert!(metrics.contains(line), "{metrics}");
}

/// `count` sign-ins of a user on a computer, one a day.
fn sign_ins(user: &str, computer: &str, count: i64) -> String {
    let days = (0..count).map(|day| chrono::Utc::now() - chrono::TimeDelta::days(day));
    days.map(|day| format!("{user},{computer},{}\n", day.to_rfc3339())).collect()
}

#[test]
fn what_is_used_often_is_proposed_as_ldif() {
    let world = world();
    let list = [
        "user,computer,time\n".to_owned(),
        sign_ins(r"CORP\alice", "conf-2", 6),
        sign_ins("alice", "DESK-1", 20), // listed already
        sign_ins("alice", "ATTIC-1", 2), // too seldom
        sign_ins("carol", "nowhere", 9),
        sign_ins("zoe", "DESK-1", 9),
    ];
    world.write("sign-ins.csv", &list.concat());
    let out = world.ok(&["primary-computers", "suggest", "--from", "sign-ins.csv"]);
    let record = "# CONF-2: 6 sign-ins on 6 days\n\
        dn: CN=Alice Example,OU=Staff,DC=corp,DC=test\nchangetype: modify\n\
        add: msDS-PrimaryComputer\n\
        msDS-PrimaryComputer: CN=CONF-2,OU=Rooms,DC=corp,DC=test\n-\n";
    assert!(out.contains(record), "{out}");
    assert_eq!(out.matches("\ndn:").count(), 1, "{out}");
    for unknown in ["nowhere", "zoe"] {
        assert!(out.contains(&format!("# the directory does not have {unknown}\n")), "{out}");
    }
}

#[test]
fn the_agents_own_log_is_a_list_of_sign_ins() {
    let world = world();
    let line = |day: i64| {
        let time = (chrono::Utc::now() - chrono::TimeDelta::days(day)).to_rfc3339();
        format!(
            "{{\"timestamp\":\"{time}\",\"level\":\"INFO\",\"message\":\"Signed in.\",\
             \"user\":\"carol\",\"computer\":\"LT-7\"}}\n{{\"message\":\"Policy loaded.\"}}\n"
        )
    };
    let log: String = (0..5).map(line).collect();
    world.write("agent.log", &log);
    let out = world.ok(&["primary-computers", "suggest", "--from", "agent.log"]);
    assert!(out.contains("# LT-7: 5 sign-ins on 5 days"), "{out}");
}

#[test]
fn a_bad_list_is_told_with_its_place() {
    let world = world();
    for (text, words) in [
        ("user,computer\nalice,DESK-1\n", "missing field `time`"),
        ("user,computer,time\nalice,DESK-1,yesterday\n", "\"yesterday\" is no time"),
        ("{\"message\":\n", "line 1 of the log is no JSON object"),
    ] {
        world.write("list", text);
        let ran = world.homeport(&["primary-computers", "suggest", "--from", "list"]);
        assert!(ran.err.contains(words), "{}", ran.err);
        assert!(ran.err.contains("help: "), "{}", ran.err);
    }
}

proptest! {
    #[test]
    fn what_is_written_as_ldif_is_read_back(value in ".{0,200}", bytes in prop::collection::vec(any::<u8>(), 1..100)) {
        let mut text = String::from(ldif_write::VERSION);
        text.push('\n');
        ldif_write::attribute(&mut text, "dn", b"CN=x,DC=corp,DC=test");
        ldif_write::attribute(&mut text, "description", value.as_bytes());
        ldif_write::attribute(&mut text, "info", &bytes);
        let entries: Vec<_> = ldif::read(text.as_bytes()).collect::<Result<_, _>>().unwrap();
        let found = |at: usize| match &entries[0].attributes[at].1 {
            ldif::Value::Text(text) => text.clone().into_bytes(),
            ldif::Value::Binary(bytes) => bytes.clone(),
        };
        prop_assert_eq!(found(0), value.into_bytes());
        prop_assert_eq!(found(1), bytes);
    }
}

#[test]
fn the_world_is_a_directory() {
    let world = world();
    let snapshot = file::load(&world.path("corp.ldif")).unwrap();
    assert_eq!(snapshot.user_names(), ["alice", "bob", "carol"]);
}
