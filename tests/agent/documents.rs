//! The documents and examples say what the code does: generated parts are compared, examples decided.
#![allow(clippy::disallowed_methods, reason = "tests read the repository")]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use homeport_agent::cli;
use homeport_agent::settings::Settings;
use homeport_policy::parse::parse;
use homeport_policy::settings::CATALOGUE;
use support::{STAFF, World};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Replaces what stands between `<!-- generated: NAME -->` and `<!-- end -->`.
fn with_generated(text: &str, name: &str, body: &str) -> String {
    let start = format!("<!-- generated: {name} -->\n");
    let (before, rest) = text.split_once(&start).unwrap_or_else(|| panic!("no {name} in README"));
    let (_, after) = rest.split_once("<!-- end -->").unwrap();
    format!("{before}{start}{}\n<!-- end -->{after}", body.trim_end())
}

#[test]
fn the_readme_shows_what_the_commands_print() {
    let world = World::with_staff();
    let explain = world.ok(&["policy", "explain", "--user", "alice", "--computer", "CONF-2"]);
    let shown = "$ homeport policy explain --policy policy.d --directory corp.ldif --user alice \
                 --computer CONF-2";
    let path = repository().join("README.md");
    let text = fs::read_to_string(&path).unwrap();
    let mut fresh = text.clone();
    for (name, body) in [
        ("policy", format!("```toml\n{}\n```", STAFF.trim_end())),
        ("explain", format!("```text\n{shown}\n{}\n```", explain.trim_end())),
        ("commands", cli::commands_markdown()),
        ("exit codes", cli::exit::markdown()),
    ] {
        fresh = with_generated(&fresh, name, &body);
    }
    if std::env::var_os("HOMEPORT_UPDATE").is_some() {
        fs::write(&path, &fresh).unwrap();
    }
    assert!(
        fresh == text || std::env::var_os("HOMEPORT_UPDATE").is_some(),
        "README.md is out of step; run the test with HOMEPORT_UPDATE=1"
    );
}

#[test]
fn the_example_settings_are_complete_and_good() {
    let path = repository().join("deploy/agent.toml");
    let text = fs::read_to_string(&path).unwrap();
    let settings = Settings::parse(Path::new("/etc/homeport/agent.toml"), &text).unwrap();
    assert_eq!(settings.mounts.len(), 3);
    for key in [
        "state-dir",
        "sessions-dir",
        "policy-dir",
        "listen",
        "format",
        "level",
        "name",
        "site",
        "kind",
        "domain",
        "servers",
        "base",
        "security",
        "keytab",
        "principal",
        "ca-file",
        "bind-dn",
        "secret-file",
        "secret-credential",
        "cost",
        "cost-file",
        "ask-manager",
        "root",
        "logon",
        "logoff",
        "unc",
        "path",
        "mounted",
    ] {
        assert!(text.contains(key), "{key} is missing in deploy/agent.toml");
    }
}

#[test]
fn the_example_policy_is_good_and_shows_every_setting() {
    let directory = repository().join("deploy/policy");
    let files = homeport_agent::source::read(&directory).unwrap();
    let parsed = parse(&files, &BTreeMap::new());
    assert!(parsed.diagnostics.is_empty(), "{:?}", parsed.diagnostics);
    let all: String = files.iter().filter_map(|file| file.text()).collect();
    for setting in &CATALOGUE {
        let leaf = setting.key.rsplit('.').next().unwrap();
        assert!(all.contains(leaf), "{} is missing in deploy/policy", setting.key);
    }
}

#[test]
fn the_example_policy_decides_as_its_comments_say() {
    let world = World::new();
    let directory = repository().join("deploy/policy");
    let directory = directory.to_str().unwrap();
    let explain = |computer: &str| {
        let args = ["policy", "explain", "--policy", directory, "--user", "alice", "--computer"];
        world.ok(&[&args[..], &[computer, "--os", "windows"]].concat())
    };
    let desk = explain("DESK-1");
    assert!(
        desk.contains(r"documents: redirect to \\files.corp.test\home\alice\Documents"),
        "{desk}"
    );
    assert!(desk.contains("background sync: every 2h + 0–1h, not from 08:30 for 1h"), "{desk}");
    let laptop = explain("LT-7");
    assert!(laptop.contains("slow: always offline"), "{laptop}");
    assert!(laptop.contains("background sync: at */30 7-19 * * 1-5"), "{laptop}");
}
