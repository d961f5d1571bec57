//! What the directory answers: every way in, users of every shape, and what each question costs.
#![allow(clippy::disallowed_methods, reason = "tests touch the disk, the clock and processes")]
#![allow(clippy::disallowed_types, reason = "tests speak over loopback")]
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod client;
mod support;

use client::{Client, SLACK, openldap, tls};
use homeport_agent::directory::connect::Connector;
use homeport_agent::directory::error::Kind;
use homeport_agent::directory::tally::Tally;
use homeport_agent::limits::DIRECTORY_TIMEOUT;
use homeport_agent::settings::{DirectorySettings, Settings};
use homeport_policy::decide::FolderAction;
use homeport_policy::dn::Dn;
use homeport_policy::facts::Directory;
use support::content::{ALICE, BOB, DESK_1, DESK_2, MANY, PICTURE_BYTES, WALTER, WORKSTATIONS};
use support::dc::{self, Dc};
use support::dns;
use support::slapd::{self, Slapd};

const LDAPS: &str = "ldaps";

fn dn(text: &str) -> Dn {
    Dn::parse(text).unwrap()
}

/// A client that has asked about its computer, as the daemon does, over a connection that stays.
fn warm(directory: &str) -> Client {
    let mut client = Client::new(directory);
    let asked = client.ask_computer();
    assert_eq!(asked.facts.directory, Directory::Answered, "{:?}", client.trouble());
    client
}

/// Everything about alice on DESK-1 over one way in, and the searches of each sign-in.
fn everything_over(directory: &str) {
    let mut client = Client::new(directory);
    let first = client.ask_computer();
    assert_eq!(first.facts.directory, Directory::Answered, "{:?}", client.trouble());
    assert_eq!(first.counts.connections, 1);
    let new = client.ask("alice");
    assert!(new.counts.searches <= 3, "{} searches for a new user", new.counts.searches);
    for name in ["alice", r"CORP\Alice", "ALICE@corp.test", r"corp\ALICE"] {
        let known = client.ask(name);
        assert_eq!((known.counts.searches, known.counts.connections), (1, 0), "{name}");
        assert_eq!(known.facts.directory, Directory::Answered, "{name}");
        let user = known.user();
        assert_eq!((user.name.as_str(), user.domain.as_str()), ("alice", "CORP"));
        assert_eq!(user.dns_domain, "corp.test");
        assert!(user.sid.as_deref().is_some_and(|sid| sid.starts_with("S-1-5-21-")));
        assert_eq!(user.primary_computers, [dn(DESK_1)]);
        assert_eq!(user.attribute("homeDirectory"), Some(r"\\files.corp.test\home\alice"));
        assert_eq!(user.attribute("homeDrive"), Some("H:"));
        assert_eq!(user.attribute("profilePath"), Some(r"\\files.corp.test\profiles\alice"));
        for group in ["Designers", "Makers", r"CORP\Everybody", r"CORP\Domain Users"] {
            assert!(known.is_in(group), "{group}: {:?}", user.groups);
        }
        let computer = &known.facts.computer;
        assert_eq!(computer.dn, Some(dn(DESK_1)));
        for group in ["Primary PCs", "Domain Computers"] {
            assert!(computer.groups.contains(&homeport_policy::value::Principal::new(group)));
        }
        assert!(known.facts.schema_has_primary_computer);
        assert!(known.is_redirected() && known.codes().contains(&"primary-listed"));
    }
    let (cold, warm) = (first.counts.searches, new.counts.searches);
    println!("{}: {cold} to begin, {warm} new, 1 known", client.live().connector().who());
}

#[cfg(feature = "kerberos")]
#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn the_computer_account_reads_everything_with_its_keytab() {
    let _dc = Dc::shared();
    everything_over(&client::kerberos(&[dc::HOST]));
    everything_over(&client::kerberos(&[]));
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn the_service_account_reads_everything_over_tls() {
    let _dc = Dc::shared();
    everything_over(&tls(LDAPS, &[dc::HOST]));
    everything_over(&tls("starttls", &[dc::HOST]));
    everything_over(&tls(LDAPS, &[]));
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn names_that_nobody_has_are_an_answer() {
    let _dc = Dc::shared();
    let mut client = warm(&tls(LDAPS, &[dc::HOST]));
    for name in ["nobody", r"OTHER\alice", "alice@other.test", "DESK-1$", "alic", "alice "] {
        let asked = client.ask(name);
        assert!(asked.facts.user.is_none(), "{name}: {:?}", asked.facts.user);
        assert_eq!(asked.facts.directory, Directory::Answered, "{name}");
        assert!(asked.counts.searches <= 1, "{name}");
        assert!(asked.codes().contains(&"user-unknown"), "{name}: {:?}", asked.codes());
    }
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn hostile_names_cost_no_search() {
    let _dc = Dc::shared();
    let mut client = warm(&tls(LDAPS, &[dc::HOST]));
    let long = "a".repeat(64 << 10);
    let hostile = [
        "*)(uid=*",
        "*",
        "alice\0",
        "ali\0ce",
        "alice)(cn=*",
        "a|b",
        &long,
        "",
        "CORP\\",
        "@",
        "a\nb",
        r"o'brien(x)*@corp.test",
        "CN=Alice Archer,OU=Staff,DC=corp,DC=test",
    ];
    for name in hostile {
        let asked = client.ask(name);
        let start: String = name.chars().take(20).collect();
        assert_eq!(asked.counts.searches, 0, "{start:?}");
        assert!(asked.facts.user.is_none(), "{start:?}");
        assert!(asked.took < SLACK, "{start:?}: {:?}", asked.took);
    }
    assert_eq!(client.ask("alice").user().name, "alice", "the connection is as good as before");
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn lists_of_primary_computers_of_every_shape() {
    let _dc = Dc::shared();
    let mut client = warm(&tls(LDAPS, &[dc::HOST]));
    let mut list = |user: &str| {
        let mut computers = client.ask(user).user().primary_computers.clone();
        computers.sort_by_key(ToString::to_string);
        computers
    };
    assert!(list("bob").is_empty());
    let sales = dn(r"CN=SALES-1,OU=Sales\, EMEA,OU=Staff,DC=corp,DC=test");
    let laptop = dn(&format!("CN=LAPTOP-7,{WORKSTATIONS}"));
    assert_eq!(list("carol"), [dn(DESK_1), laptop, sales.clone()]);
    // The deleted one is gone, the renamed one has its new name.
    assert_eq!(list("dave"), [dn(DESK_2), dn(&format!("CN=DESK-4,{WORKSTATIONS}"))]);
    let bob = client.ask("bob");
    assert!(!bob.is_redirected() && bob.codes().contains(&"primary-not-listed"));
    // What is a part of a name here is a separator elsewhere: the comma of `Sales, EMEA`.
    for (computer, user, is_theirs) in
        [("SALES-1", "carol", true), ("sales-1", "dave", false), ("DESK-4", "dave", true)]
    {
        let mut there = Client::on(computer, &tls(LDAPS, &[dc::HOST]), 7);
        let asked = there.ask(user);
        assert_eq!(asked.is_redirected(), is_theirs, "{user} on {computer}: {:?}", asked.codes());
        assert!(computer != "SALES-1" || asked.facts.computer.dn == Some(sales.clone()));
    }
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn a_list_follows_what_the_administrator_writes() {
    let mut dc = Dc::shared();
    let mut client = warm(&tls(LDAPS, &[dc::HOST]));
    assert!(!client.ask("bob").is_redirected());
    // The same computer, spelled as differently as a DN allows.
    for spelled in [
        DESK_1,
        "cn=desk-1, ou=WORKSTATIONS, dc=Corp, dc=TEST",
        r"CN=\44ESK-1,OU=Workstations,DC=corp,DC=test",
    ] {
        dc.set_primary(BOB, &[spelled]);
        let asked = client.ask("bob");
        assert!(asked.is_redirected(), "{spelled}: {:?}", asked.user().primary_computers);
        assert_eq!(asked.counts.searches, 1);
        dc.set_primary(BOB, &[]);
        assert!(!client.ask("bob").is_redirected(), "{spelled}");
    }
    dc.set_primary(BOB, &[DESK_2]);
    dc.rename_computer(DESK_2, "DESK-22");
    let renamed = dn(&format!("CN=DESK-22,{WORKSTATIONS}"));
    assert_eq!(client.ask("bob").user().primary_computers, [renamed]);
    dc.delete_computer(&format!("CN=DESK-22,{WORKSTATIONS}"));
    assert!(client.ask("bob").user().primary_computers.is_empty());
    dc.reset();
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn a_base_may_be_spelled_in_any_way() {
    let _dc = Dc::shared();
    for base in ["dc=CORP, dc=TEST", "OU=staff,DC=corp,DC=test", r"ou=st\61ff, dc=corp,dc=test"] {
        let directory = format!("{}base = '{base}'\n", tls(LDAPS, &[dc::HOST]));
        let mut client = Client::new(&directory);
        let asked = client.ask("alice");
        assert_eq!(asked.user().primary_computers, [dn(DESK_1)], "{base}");
        assert!(asked.is_in(r"CORP\Makers"), "groups are outside of the base");
        // Computers are elsewhere than the staff.
        let is_everything = base.starts_with("dc=");
        assert_eq!(asked.facts.computer.dn.is_some(), is_everything, "{base}");
    }
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn groups_nest_loop_and_come_by_the_primary_group() {
    let _dc = Dc::shared();
    let mut client = warm(&tls(LDAPS, &[dc::HOST]));
    let alice = client.ask("alice");
    for group in ["Designers", "Makers", "Everybody", "Domain Users"] {
        assert!(alice.is_in(group), "{group}");
    }
    assert!(!alice.is_in("Contractors"));
    let erin = client.ask("erin");
    assert!(erin.is_in(r"CORP\Contractors"), "by the primary group alone");
    assert!(!erin.is_in("Designers"));
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn a_user_of_1600_groups_arrives_complete() {
    let _dc = Dc::shared();
    let mut client = warm(&tls(LDAPS, &[dc::HOST]));
    let new = client.ask("grace");
    let missing: Vec<String> =
        (1..=MANY).map(|at| format!(r"CORP\G{at:04}")).filter(|group| !new.is_in(group)).collect();
    assert!(missing.is_empty(), "{} missing: {:?}", missing.len(), missing.first());
    assert!(new.is_in("Big") && new.is_in("Domain Users"), "groups of groups too");
    assert!(new.took < DIRECTORY_TIMEOUT, "{:?}", new.took);
    let known = client.ask("grace");
    assert_eq!(known.counts.searches, 1, "names of groups are remembered");
    assert!(known.is_in("G0001") && known.is_in("G1600") && known.is_in("Big"));
    println!(
        "1,600 groups: {} searches in {:?} new, 1 in {:?} known",
        new.counts.searches, new.took, known.took
    );
    // An agent that starts again has them from its own disk.
    client.restart(&tls(LDAPS, &[dc::HOST]));
    let again = client.ask("grace");
    assert!(again.counts.searches <= 3 && again.is_in("G0777"), "{}", again.counts.searches);
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn odd_names_and_values_are_what_they_are() {
    let _dc = Dc::shared();
    let mut client = warm(&tls(LDAPS, &[dc::HOST]));
    for name in ["o'brien (x)", r"CORP\O'Brien (X)"] {
        let asked = client.ask(name);
        assert_eq!(asked.user().name, "o'brien (x)");
        let lies = r"CN=o'brien (x)*,OU=Sales\, EMEA,OU=Staff,DC=corp,DC=test";
        assert_eq!(asked.user().dn, Some(dn(lies)));
        assert!(asked.is_redirected());
    }
    for name in ["zoë", "ZOË", "zoë@corp.test", r"CORP\Zoë"] {
        let asked = client.ask(name);
        assert_eq!(asked.user().name, "zoë", "{name}");
        let home = r"\\files.corp.test\home\zoë";
        assert_eq!(asked.user().attribute("homeDirectory"), Some(home), "{name}");
    }
    let frank = client.ask("frank");
    assert_eq!(frank.user().name, "frank");
    for picture in ["thumbnailPhoto", "jpegPhoto"] {
        assert_eq!(frank.user().attribute(picture), None, "no text of {PICTURE_BYTES} bytes");
    }
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn a_list_that_may_not_be_read_brings_nothing_in() {
    let dc = Dc::shared();
    assert_eq!(dc.entry(WALTER, &["msDS-PrimaryComputer"]).text("msDS-PrimaryComputer"), DESK_1);
    let mut service = warm(&tls(LDAPS, &[dc::HOST]));
    // Nothing in the answer says that there is a list: the user's access list does.
    for searches in [3, 2, 2] {
        let denied = service.ask("walter");
        assert!(denied.user().primary_computers.is_empty() && denied.user().list_is_hidden);
        assert_eq!(*denied.documents(), FolderAction::Hold, "{:?}", denied.codes());
        assert!(denied.codes().contains(&"primary-hidden"), "{:?}", denied.codes());
        assert!(denied.counts.searches <= searches, "{}", denied.counts.searches);
    }
    // An empty list that may be read is an answer, also for who is seen for the first time.
    let empty = service.ask("bob");
    assert!(!empty.user().list_is_hidden && empty.codes().contains(&"primary-not-listed"));
    assert!(empty.counts.searches <= 3, "{}", empty.counts.searches);
    assert_eq!(service.ask("bob").counts.searches, 1);
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn a_list_that_was_there_is_empty_only_if_it_could_be_seen() {
    let mut dc = Dc::shared();
    let mut client = warm(&tls(LDAPS, &[dc::HOST]));
    assert!(client.ask("alice").is_redirected());
    // Taken back by the administrator: not primary any more.
    dc.set_primary(ALICE, &[]);
    let emptied = client.ask("alice");
    assert_eq!(*emptied.documents(), FolderAction::NotHere, "{:?}", emptied.codes());
    assert!(emptied.counts.searches <= 2, "{}", emptied.counts.searches);
    assert_eq!(client.ask("alice").counts.searches, 1, "what is known to be empty is not asked");
    dc.set_primary(ALICE, &[DESK_1]);
    assert!(client.ask("alice").is_redirected());
    // The same answer, because the right is gone.
    dc.deny_primary(ALICE, &dc.sid("svc-homeport"));
    let hidden = client.ask("alice");
    assert_eq!(hidden.facts.directory, Directory::Answered);
    assert_eq!(*hidden.documents(), FolderAction::Hold, "{:?}", hidden.codes());
    assert!(hidden.codes().contains(&"primary-hidden"), "{:?}", hidden.codes());
    assert!(hidden.counts.searches <= 2, "{}", hidden.counts.searches);
    assert_eq!(hidden.user().primary_computers, [dn(DESK_1)], "as it was seen last");
    // Whether the administrator now empties it cannot be seen either.
    dc.set_primary(ALICE, &[]);
    client.restart(&tls(LDAPS, &[dc::HOST]));
    assert_eq!(*client.ask("alice").documents(), FolderAction::Hold);
    dc.reset();
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn dns_names_the_controllers_of_the_site_and_of_the_domain() {
    let _dc = Dc::shared();
    assert_eq!(dns::srv("_ldap._tcp.dc._msdcs.corp.test").len(), 1);
    let text = format!("[directory]\nkind = 'ldap'\n{}", tls(LDAPS, &[]));
    let settings = Settings::parse("/agent.toml".as_ref(), &text).unwrap();
    let DirectorySettings::Ldap(ldap) = settings.directory else { panic!("not ldap") };
    let client = Client::new(&tls(LDAPS, &[]));
    let deadline = || tokio::time::Instant::now() + DIRECTORY_TIMEOUT;
    for site in [Some(dc::SITE), Some("Nowhere"), Some("not a site"), None] {
        let site = site.map(str::to_owned);
        let connector = Connector::new((*ldap).clone(), "D", None, site, 7, Tally::default());
        let found = client.block_on(async { connector.servers(deadline()).await }).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].host.as_str(), found[0].port), (dc::HOST, None));
    }
    let connector = Connector::new(*ldap, "D", None, None, 7, Tally::default());
    let nowhere = connector.for_domain("nowhere.corp.test");
    let error = client.block_on(async { nowhere.servers(deadline()).await }).unwrap_err();
    assert_eq!(error.kind(), Kind::Discovery);
    assert_eq!(error.hint(), "check directory.domain, or name directory.servers");
}

#[test]
#[ignore = "needs OpenLDAP: tests/run runs it in tests/lab/enter"]
fn openldap_says_that_its_schema_lacks_the_attribute() {
    let _slapd = Slapd::start();
    let mut client = Client::new(&openldap(&[slapd::HOST]));
    let asked = client.ask_computer();
    assert_eq!(asked.facts.directory, Directory::Answered, "{:?}", client.trouble());
    for name in ["alice", "alice@corp.test", r"CORP\alice"] {
        let asked = client.ask(name);
        assert!(!asked.facts.schema_has_primary_computer);
        assert_eq!(
            (asked.user().name.as_str(), asked.user().dns_domain.as_str()),
            ("alice", "corp.test")
        );
        assert!(asked.is_in("staff") && asked.is_in(r"CORP\staff"), "{:?}", asked.user().groups);
        assert_eq!(asked.user().attribute("homeDirectory"), Some("/home/alice"));
        assert_eq!(asked.facts.computer.dn, Some(dn("cn=DESK-1,ou=computers,dc=corp,dc=test")));
        assert!(asked.counts.searches <= 3, "by name, and each level of groups");
        // Without the attribute the check is skipped, and that is said.
        assert!(asked.is_redirected());
        for code in ["schema-lacks-attribute", "schema-lacks-apply"] {
            assert!(asked.codes().contains(&code), "{:?}", asked.codes());
        }
    }
    assert!(client.ask("nobody").facts.user.is_none());
    assert_eq!(client.ask("*)(uid=*").counts.searches, 0);
}
