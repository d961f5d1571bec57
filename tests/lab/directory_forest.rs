//! Two domains of one forest, with an alice in each: who is who, and what one domain's death does.
#![allow(clippy::disallowed_methods, reason = "tests touch the disk, the clock and processes")]
#![allow(clippy::disallowed_types, reason = "tests speak over loopback")]
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod client;
mod home;
mod support;
#[path = "../support/mod.rs"]
mod world;

use std::time::{Duration, Instant};

use client::{BACK_MAX, Client, SLACK, tls};
use home::Home;
use homeport_agent::limits::DIRECTORY_TIMEOUT;
use homeport_policy::facts::Directory;
use serde_json::Value;
use support::dc::{self, Dc};
use support::sales::Sales;

const OTHER: &str = r"SALES\alice";

/// Documents of the people of SALES, who have no primary computers.
const SALES_POLICY: &str = r#"
schema = 1
[policy]
id = "sales"
version = 1
[filter]
groups = ['SALES\Domain Users']
[user.folder-redirection.documents]
setting = "basic"
target = { kind = "path", path = '\\files\home\%USERDOMAIN%\%USERNAME%' }
on-removal = "restore"
"#;

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn two_people_of_one_name_are_two() {
    let mut dc = Dc::shared();
    let _sales = Sales::start(&dc);
    let mut client = Client::new(&tls("ldaps", &[dc::HOST]));
    for (name, domain, kept) in [
        ("alice", "CORP", "alice"),
        (OTHER, "SALES", OTHER),
        ("alice@sales.corp.test", "SALES", OTHER),
        ("alice@corp.test", "CORP", "alice"),
        (r"corp\ALICE", "CORP", "alice"),
        (r"sales\ALICE", "SALES", OTHER),
        ("alice", "CORP", "alice"),
    ] {
        let asked = client.ask(name);
        assert_eq!(asked.facts.directory, Directory::Answered, "{name}: {:?}", client.trouble());
        assert_eq!((asked.user().domain.as_str(), asked.user().name.as_str()), (domain, "alice"));
        assert_eq!(asked.is_in(r"SALES\Domain Users"), domain == "SALES", "{name}");
        assert_eq!(client.live().remembered_name(name).as_deref(), Some(kept), "{name}");
    }
    let [here, there] = ["alice", OTHER].map(|name| client.ask(name).user().sid.clone().unwrap());
    assert_ne!(here, there);
    dc.reset();
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn their_homes_and_what_is_kept_about_them_are_two() {
    let mut dc = Dc::shared();
    let _sales = Sales::start(&dc);
    let home = Home::new(&tls("ldaps", &[dc::HOST]));
    home.world.write("policy.d/sales.toml", SALES_POLICY);
    home.world.write("homes/SALES/alice/Documents/theirs.txt", "other");
    for user in ["alice", "alice@sales.corp.test", "alice", OTHER] {
        let signed_in = home.sign_in(user);
        assert_eq!(signed_in.ran.code, 0, "{user}: {}{}", signed_in.ran.out, signed_in.ran.err);
        assert_eq!(signed_in.action(), "redirect", "{user}");
    }
    for (path, text) in [
        ("server/home/alice/Documents/a/thesis.txt", "alice"),
        ("homes/alice/Documents/a/thesis.txt", "alice"),
        ("server/home/SALES/alice/theirs.txt", "other"),
        ("homes/SALES/alice/Documents/theirs.txt", "other"),
    ] {
        assert_eq!(home.world.read(path).as_deref(), Some(text), "{path}: {:?}", home.files());
    }
    for path in ["homes/alice/Documents/theirs.txt", "homes/SALES/alice/Documents/a/thesis.txt"] {
        assert_eq!(home.world.read(path), None, "{path}");
    }
    let state: Value = serde_json::from_str(&home.world.read("state/users.json").unwrap()).unwrap();
    let users = state["users"].as_object().unwrap();
    assert_eq!(users.keys().map(String::as_str).collect::<Vec<_>>(), [OTHER, "alice"]);
    assert_ne!(users[OTHER]["sid"], users["alice"]["sid"]);
    // Another account under the same name is refused, and nothing is touched.
    let before = home.files();
    let mixed = state
        .to_string()
        .replace(users["alice"]["sid"].as_str().unwrap(), users[OTHER]["sid"].as_str().unwrap());
    home.world.write("state/users.json", &mixed);
    let refused = home.sign_in("alice").ran;
    assert_ne!(refused.code, 0);
    assert!(refused.err.contains("is of another account"), "{}{}", refused.out, refused.err);
    assert_eq!(home.files(), before);
    dc.reset();
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn a_domain_that_is_dead_is_waited_for_once() {
    let mut dc = Dc::shared();
    let sales = Sales::start(&dc);
    let mut client = Client::new(&tls("ldaps", &[dc::HOST]));
    assert_eq!(client.ask(OTHER).facts.directory, Directory::Answered, "{:?}", client.trouble());
    sales.pause();
    let first = client.ask(OTHER);
    assert!(first.is_cached() && first.user().domain == "SALES", "{:?}", first.facts.directory);
    assert!(first.took <= DIRECTORY_TIMEOUT + SLACK, "{:?}", first.took);
    assert_eq!(first.counts.errors.values().sum::<u64>(), 1, "{:?}", first.counts.errors);
    for _ in 0..3 {
        let next = client.ask(OTHER);
        assert!(next.is_cached() && next.took <= SLACK, "nobody waits twice: {:?}", next.took);
        assert!(next.counts.errors.is_empty(), "{:?}", next.counts.errors);
        let own = client.ask("alice");
        assert_eq!(
            (own.facts.directory, own.user().domain.as_str()),
            (Directory::Answered, "CORP")
        );
        assert!(own.took <= SLACK, "{:?}", own.took);
        // One whom nobody has seen is not taken for the one of the own domain.
        let newcomer = client.ask(r"SALES\bob");
        assert_eq!(
            (newcomer.facts.directory, newcomer.facts.user.is_none()),
            (Directory::Away, true)
        );
    }
    sales.resume();
    let resumed = Instant::now();
    while client.ask(OTHER).facts.directory != Directory::Answered {
        assert!(resumed.elapsed() < BACK_MAX, "{:?}", client.trouble());
        client.block_on(async { tokio::time::sleep(Duration::from_millis(20)).await });
    }
    println!("dead domain: {:?} once; back after {:?}", first.took, resumed.elapsed());
    dc.reset();
}
