//! What is said about a decision: object, file, line, fact and losers; and what a change is.

use std::collections::BTreeMap;
use std::sync::Arc;

use homeport_policy::decide::{Decision, decide};
use homeport_policy::diff::changes;
use homeport_policy::dn::Dn;
use homeport_policy::explain::explain;
use homeport_policy::facts::{Computer, Directory, Facts, Names, Network, Os, User};
use homeport_policy::filter::applicable;
use homeport_policy::layer::PolicySet;
use homeport_policy::merge::merge;
use homeport_policy::parse::{SourceFile, parse};
use serde_json::Value as Json;

const ALL: &str = r#"schema = 1
policy = { id = "all", version = 1 }
[user.folder-redirection.documents]
setting = "basic"
target = { kind = "create-per-user", root = '\\old\home' }
"#;

const STAFF: &str = r#"schema = 1
policy = { id = "staff", version = 1 }
link = { to = "ou:OU=Staff,DC=corp,DC=test" }
[user.folder-redirection.documents]
target = { kind = "create-per-user", root = '\\srv\home' }
setting = "basic"
[computer.roaming-profiles]
path = '\\srv\profiles\%USERNAME%'
"#;

const ONLY: &str = r#"schema = 1
policy = { id = "only", version = 1 }

[computer.folder-redirection]
primary-computers-only = true
"#;

fn facts() -> Facts {
    let dn = |text: &str| Dn::parse(text).ok();
    let user = User {
        name: "alice".to_owned(),
        dn: dn("CN=alice,OU=Staff,DC=corp,DC=test"),
        primary_computers: dn("CN=PC-9,DC=corp,DC=test").into_iter().collect(),
        ..User::default()
    };
    let computer = Computer {
        name: "LT-1".to_owned(),
        dn: dn("CN=LT-1,OU=Staff,DC=corp,DC=test"),
        groups: Names::default(),
        os: Os::Linux,
        site: None,
        logon_server: None,
    };
    Facts {
        user: Some(Arc::new(user)),
        computer: Arc::new(computer),
        directory: Directory::Answered,
        schema_has_primary_computer: true,
        network: Network::default(),
        profile_link: None,
    }
}

fn set_of(files: &[(&str, &str)]) -> PolicySet {
    let files: Vec<SourceFile> =
        files.iter().map(|(name, text)| SourceFile::new(*name, *text)).collect();
    let parsed = parse(&files, &BTreeMap::new());
    assert_eq!(parsed.diagnostics, []);
    parsed.set.expect("no diagnostics")
}

fn decided(set: &PolicySet) -> Decision {
    let facts = facts();
    decide(&merge(set, &applicable(set, &facts)), &facts)
}

/// The explanation of a set for Alice on LT-1, as text and as JSON.
fn explained(files: &[(&str, &str)]) -> (String, Json) {
    let (set, facts) = (set_of(files), facts());
    let rsop = merge(&set, &applicable(&set, &facts));
    let decision = decide(&rsop, &facts);
    let explanation = explain(&set, &facts, &rsop, &decision);
    let json = serde_json::to_value(&explanation).expect("JSON");
    (explanation.to_string(), json)
}

/// The lines must stand in the text in this order, each after the one before.
fn check_lines(text: &str, wanted: &[&str]) {
    let mut lines = text.lines().map(str::trim);
    for line in wanted {
        assert!(
            lines.any(|other| other == *line),
            "{line:?} is missing or out of place in\n{text}"
        );
    }
}

fn because<'a>(decided: &'a Json, code: &str) -> &'a Json {
    let reasons = decided["because"].as_array().expect("reasons");
    reasons.iter().find(|one| one["reason"] == code).expect(code)
}

fn check_origin(json: &Json, object: &str, file: &str, line: u32) {
    let origin = &json["origin"];
    let found = (origin["object"].as_str(), origin["file"].as_str(), origin["line"].as_u64());
    assert_eq!(found, (Some(object), Some(file), Some(u64::from(line))), "{json}");
}

#[test]
fn a_redirect_names_its_line_and_whom_it_overruled() {
    let (text, json) = explained(&[("a.toml", ALL), ("s.toml", STAFF)]);
    check_lines(
        &text,
        &[
            "alice on LT-1 (linux)",
            "DECISIONS",
            r"documents: redirect to \\srv\home\alice\Documents",
            "because policy gives everybody this target — staff (s.toml:5)",
            "RESULTANT SET OF POLICY",
            r"folder-redirection.documents.target = create-per-user below \\srv\home — staff (s.toml:5)",
            r"overruled: create-per-user below \\old\home — all (a.toml:5)",
            "POLICY OBJECTS",
            "all (a.toml, domain): applies (user)",
        ],
    );
    let documents = &json["decision"]["folders"][3];
    assert_eq!(documents["folder"], "documents");
    check_origin(because(documents, "basic-target"), "staff", "s.toml", 5);
    let rsop = json["rsop"].as_array().expect("lines");
    let line = rsop.iter().find(|line| line["key"] == "folder-redirection.documents.target");
    let line = line.expect("the target");
    check_origin(&line["values"][0], "staff", "s.toml", 5);
    check_origin(&line["overruled"][0], "all", "a.toml", 5);
    assert_eq!(line["overruled"][0]["value"], r"create-per-user below \\old\home");
}

#[test]
fn a_computer_that_is_not_primary_names_the_line_and_the_fact() {
    let (text, json) = explained(&[("a.toml", ALL), ("o.toml", ONLY)]);
    let fact = "msDS-PrimaryComputer of alice is CN=PC-9,DC=corp,DC=test, \
                not CN=LT-1,OU=Staff,DC=corp,DC=test";
    check_lines(
        &text,
        &[
            "documents: do not redirect on this computer",
            "because policy allows it on primary computers only — only (o.toml:5)",
            &format!("because this is not one of the user's primary computers: {fact}"),
            "primary computer: no",
        ],
    );
    let documents = &json["decision"]["folders"][3];
    check_origin(because(documents, "primary-required"), "only", "o.toml", 5);
    assert_eq!(because(documents, "primary-not-listed")["fact"], fact);
    let primary = &json["decision"]["primary_computer"];
    assert_eq!(because(primary, "primary-not-listed")["fact"], fact);
}

#[test]
fn a_profile_names_the_line_of_its_path() {
    let (text, json) = explained(&[("s.toml", STAFF)]);
    check_lines(
        &text,
        &[
            r"profile: roam with \\srv\profiles\alice.Linux",
            "because policy names the profile's path — staff (s.toml:8)",
        ],
    );
    let profile = &json["decision"]["profile"];
    check_origin(because(profile, "profile-path-policy"), "staff", "s.toml", 8);
}

/// What changes for Alice on LT-1 when lines are added to one file.
fn changed(lines: &str) -> Vec<(String, String)> {
    let base = format!("{STAFF}[computer.offline-files]\nassigned = ['\\\\srv\\pool']\n");
    let old = set_of(&[("s.toml", &base)]);
    let head = "schema = 1\npolicy = { id = \"more\", version = 1 }\n";
    let new = set_of(&[("s.toml", &base), ("z.toml", &format!("{head}{lines}\n"))]);
    let found = changes(&decided(&old), &decided(&new));
    found.into_iter().map(|change| (change.what, change.to)).collect()
}

#[test]
fn every_option_that_changes_is_a_change() {
    let profiles = "computer.roaming-profiles";
    for (lines, what, part) in [
        (
            r"user.roaming-profiles.sync-at-logon-logoff-only = ['\\srv\pool']".to_owned(),
            r"\\srv\pool",
            "suspended while signed in",
        ),
        (
            "user.roaming-profiles.exclude = ['x', 'y']".to_owned(),
            "profile options",
            "exclude [x, y]",
        ),
        (
            "user.roaming-profiles.size-limit = '1GiB'".to_owned(),
            "profile options",
            "size limit 1.0 GiB",
        ),
        (format!("{profiles}.skip-owner-check = true"), "profile options", "check owner no"),
        (
            format!("{profiles}.delete-cached-copies = true"),
            "profile options",
            "delete cached copies yes",
        ),
        (
            format!("{profiles}.no-temporary-profiles = true"),
            "profile options",
            "no temporary profiles yes",
        ),
        (format!("{profiles}.wait-for-network = '5s'"), "profile options", "wait 5s"),
        (format!("{profiles}.write-back = '10m'"), "profile options", "write back 10m"),
        (format!("{profiles}.prevent-upload = true"), "profile", "download from"),
    ] {
        let [(found, to)] = &changed(&lines)[..] else { panic!("{lines}: {:?}", changed(&lines)) };
        assert!(found == what && to.contains(part), "{lines}: {found}: {to}");
    }
}

#[test]
fn a_new_line_with_the_old_value_is_no_change() {
    assert_eq!(changed("computer.roaming-profiles.wait-for-network = '30s'"), []);
}
