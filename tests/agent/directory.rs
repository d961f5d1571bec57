//! The directory client's pure half: names, filters, entries, order of servers, pauses, cache.
#![allow(clippy::disallowed_methods, reason = "tests touch the disk")]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use homeport_agent::directory::account::{Account, AccountError, Domain};
use homeport_agent::directory::backoff::{PAUSE_FIRST, PAUSE_MAX, pause};
use homeport_agent::directory::cache::{
    CacheError, Dated, FILE, KEY_FILE, Memory, REFUSED, Store, USERS_MAX, Why,
};
use homeport_agent::directory::discover::{Srv, order, queries};
use homeport_agent::directory::entry::{DomainName, Entry, EntryError, UserRecord};
use homeport_agent::directory::filter::{self, NAME_BYTES_MAX};
use homeport_agent::directory::query::clock_skew;
use homeport_agent::directory::secret;
use homeport_agent::directory::sid;
use homeport_agent::settings::SecretSource;
use proptest::prelude::*;

#[test]
fn names_as_people_write_them() {
    let plain = Account::parse("alice").unwrap();
    assert_eq!((plain.name.as_str(), plain.domain), ("alice", None));
    let corp = Account::parse(r"CORP\alice").unwrap();
    assert_eq!(corp.domain, Some(Domain::NetBios("CORP".to_owned())));
    let suffix = Account::parse("alice@Corp.Test").unwrap();
    assert_eq!(suffix.principal().as_deref(), Some("alice@corp.test"));
    assert!(Account::parse("Zoë Müller").is_ok());
}

#[test]
fn hostile_names_are_refused_before_anybody_is_asked() {
    let long = "a".repeat(64 << 10);
    for (name, why) in [
        ("", AccountError::Empty),
        ("  ", AccountError::Empty),
        (r"CORP\", AccountError::Empty),
        ("@corp.test", AccountError::Empty),
        (long.as_str(), AccountError::TooLong),
        ("*)(uid=*", AccountError::Character),
        ("alice\0", AccountError::Character),
        ("alice\n", AccountError::Character),
        ("*", AccountError::Character),
        (r"CORP\al\ice", AccountError::Character),
        ("a=b,dc=x", AccountError::Character),
    ] {
        assert_eq!(Account::parse(name).unwrap_err(), why, "{:?}", name.get(..20));
    }
    assert!(Account::parse(&"a".repeat(NAME_BYTES_MAX)).is_ok());
}

#[test]
fn filters_are_what_they_look_like() {
    for (filter, text) in [
        (filter::equals("uid", b"*)(uid=*"), r"(uid=\2a\29\28uid\3d\2a)"),
        (filter::equals("cn", b"a\0b"), r"(cn=a\00b)"),
        (filter::equals("cn", "Zoë".as_bytes()), r"(cn=Zo\c3\ab)"),
        (filter::any_sid([&[1, 0, 255][..]]), r"(|(objectSid=\01\00\ff))"),
        (filter::not(&filter::present("cn")), "(!(cn=*))"),
        (filter::groups_with([], Some("al*")), r"(|(memberUid=al\2a))"),
    ] {
        assert_eq!(filter.as_str(), text);
        assert!(ldap3::parse_filter(filter.as_str()).is_ok(), "{text}");
    }
    let user = filter::ad_user("alice");
    assert!(user.as_str().contains("(!(objectClass=computer))"));
    assert!(filter::ad_computer("LT-7").as_str().contains("(sAMAccountName=LT-7$)"));
}

proptest! {
    /// Whatever the value is, the filter has one comparison of one attribute with exactly that value.
    #[test]
    fn no_value_changes_what_is_asked(value in prop::collection::vec(any::<u8>(), 0..300)) {
        let filter = filter::equals("cn", &value);
        let body = filter.as_str().strip_prefix("(cn=").unwrap().strip_suffix(')').unwrap();
        prop_assert!(!body.contains(['(', ')', '*', '\0', '&', '|', '!', '=']));
        prop_assert_eq!(ldap3::ldap_unescape(body).map(|t| t.into_owned().into_bytes()).ok(),
            String::from_utf8(value.clone()).ok().map(String::into_bytes));
        prop_assert!(ldap3::parse_filter(filter.as_str()).is_ok());
    }

    #[test]
    fn any_name_is_refused_or_well_formed(name in "\\PC{0,40}|.{0,40}") {
        if let Ok(account) = Account::parse(&name) {
            let name = &account.name;
            let all = filter::any([filter::ad_user(name), filter::posix_user(name)]);
            prop_assert!(ldap3::parse_filter(all.as_str()).is_ok());
        }
    }

    #[test]
    fn no_entry_is_too_strange_to_be_read(
        dn in ".{0,40}",
        attributes in prop::collection::vec(
            (
                "sAMAccountName|objectSid|objectGUID|uid|member;range=0-9|msDS-PrimaryComputer|.{0,9}",
                prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4),
            ),
            0..8,
        ),
    ) {
        let entry = Entry::new(&dn, attributes);
        if let Ok(user) = UserRecord::read(&entry, &[]) {
            let facts = user.facts();
            prop_assert!(!facts.name.is_empty());
            prop_assert!(!facts.name.contains('\0'));
        }
        let _ = (entry.token_groups(), entry.part("member"), entry.last_part("member"));
    }

    #[test]
    fn every_server_is_tried_once_and_by_priority(
        records in prop::collection::vec((0_u16..3, any::<u16>()), 0..12),
        seed: u64,
    ) {
        let records: Vec<Srv> = records
            .into_iter()
            .enumerate()
            .map(|(at, (priority, weight))| Srv { priority, weight, host: format!("dc{at}") })
            .collect();
        let ordered = order(records.clone(), seed);
        prop_assert!(ordered.windows(2).all(|pair| pair[0].priority <= pair[1].priority));
        let names = |all: &[Srv]| {
            let mut names: Vec<String> = all.iter().map(|srv| srv.host.clone()).collect();
            names.sort();
            names
        };
        prop_assert_eq!(names(&ordered), names(&records));
        prop_assert_eq!(&ordered, &order(records, seed), "the same seed, the same order");
    }

    #[test]
    fn pauses_grow_to_a_cap_and_differ_at_it(failures: u32, seed: u64) {
        let this = pause(failures, seed);
        let full = PAUSE_FIRST.saturating_mul(1 << failures.min(20)).min(PAUSE_MAX);
        prop_assert!(this >= full / 2 && this <= full, "{this:?} of {full:?}");
    }
}

#[test]
fn weights_spread_a_fleet_over_its_controllers() {
    let record = |host: &str, weight| Srv { priority: 0, weight, host: host.to_owned() };
    let first = |seed| order(vec![record("small", 10), record("large", 90)], seed)[0].host.clone();
    let small = (0..10_000).filter(|seed| first(*seed) == "small").count();
    assert!((800..1_300).contains(&small), "{small} of 10,000");
    let half = (0..1_000).map(|seed| pause(30, seed)).filter(|p| *p < PAUSE_MAX * 3 / 4).count();
    assert!((400..600).contains(&half), "{half} of 1,000 pauses are in the lower half");
}

#[test]
fn the_own_site_is_asked_first() {
    let site = queries("corp.test", Some("Berlin"));
    assert_eq!(site[0], "_ldap._tcp.Berlin._sites.dc._msdcs.corp.test.");
    assert_eq!(site[1], "_ldap._tcp.dc._msdcs.corp.test.");
    assert_eq!(queries("corp.test", Some("not a host")).len(), 1);
}

const SID: &str = "S-1-5-21-1-2-3-1104";

fn user_entry() -> Vec<(String, Vec<Vec<u8>>)> {
    let text = |name: &str, value: &str| (name.to_owned(), vec![value.as_bytes().to_vec()]);
    vec![
        text("sAMAccountName", "alice"),
        text("userPrincipalName", "Alice@corp.test"),
        text("homeDirectory", r"\\files\home\alice"),
        text("userPassword", "{SSHA}abc"),
        ("objectSid".to_owned(), vec![sid::bytes(SID).unwrap()]),
        ("objectGUID".to_owned(), vec![(0..16).collect()]),
        text("msDS-PrimaryComputer", "CN=LT-7,DC=corp,DC=test"),
    ]
}

fn domains() -> Vec<DomainName> {
    let owned = |text: &str| text.to_owned();
    let (dn, dns, netbios) = (owned("DC=corp,DC=test"), owned("corp.test"), owned("CORP"));
    vec![DomainName { dn, dns, netbios }]
}

fn read(attributes: Vec<(String, Vec<Vec<u8>>)>) -> Result<UserRecord, EntryError> {
    UserRecord::read(&Entry::new("CN=Alice,OU=Staff,DC=corp,DC=test", attributes), &domains())
}

#[test]
fn an_entry_becomes_facts() {
    let user = read(user_entry()).unwrap();
    assert_eq!((user.domain.as_str(), user.sid.as_deref()), ("CORP", Some(SID)));
    let facts = user.facts();
    assert_eq!(facts.attribute("HomeDirectory"), Some(r"\\files\home\alice"));
    assert_eq!(facts.attribute("userPassword"), None, "no secret is kept");
    assert_eq!(facts.primary_computers.len(), 1);
}

#[test]
fn an_entry_that_contradicts_itself_is_an_error() {
    let with = |name: &str, values: &[&str]| {
        let mut attributes = user_entry();
        attributes.retain(|(known, _)| known != name);
        // No text of Rust can be bytes that are no text.
        let bytes = |value: &&str| value.as_bytes().to_vec();
        let mut values: Vec<Vec<u8>> = values.iter().map(bytes).collect();
        if let [value] = values.as_mut_slice()
            && value == b"binary"
        {
            *value = b"\xff".to_vec();
        }
        attributes.push((name.to_owned(), values));
        read(attributes)
    };
    for (name, values, why) in [
        ("sAMAccountName", &[][..], EntryError::Missing("sAMAccountName")),
        ("sAMAccountName", &["a", "b"], EntryError::Doubled("sAMAccountName")),
        ("sAMAccountName", &["binary"], EntryError::NoText("sAMAccountName")),
        ("sAMAccountName", &["a\0b"], EntryError::NoText("sAMAccountName")),
        ("sAMAccountName", &[""], EntryError::Malformed("sAMAccountName")),
        ("objectSid", &["S-1-1-0"], EntryError::Malformed("objectSid")),
        ("objectSid", &["a", "b"], EntryError::Doubled("objectSid")),
        ("objectGUID", &["short"], EntryError::Malformed("objectGUID")),
    ] {
        assert_eq!(with(name, values).unwrap_err(), why);
    }
    let broken = Entry::new("nonsense", user_entry());
    let error = UserRecord::read(&broken, &[]).unwrap_err();
    assert_eq!(error, EntryError::Malformed("distinguishedName"));
}

#[test]
fn a_hundred_thousand_values_are_a_list_and_not_a_disaster() {
    let mut attributes = user_entry();
    let many = (0..100_000).map(|at| format!("CN=PC-{at},DC=corp,DC=test").into_bytes()).collect();
    attributes.push(("msDS-PrimaryComputer".to_owned(), many));
    let many = (0..100_000).map(|at| format!("value {at}").into_bytes()).collect();
    attributes.push(("description".to_owned(), many));
    let facts = read(attributes).unwrap().facts();
    assert_eq!(facts.primary_computers.len(), 100_001);
    assert_eq!(facts.attribute("description"), Some("value 0"));
    let groups = vec![sid::bytes(SID).unwrap(); 200_001];
    let entry = Entry::new("CN=a", [("tokenGroups".to_owned(), groups)]);
    assert_eq!(entry.token_groups().unwrap_err(), EntryError::TooMany("tokenGroups"));
}

#[test]
fn a_part_of_a_list_is_known_for_a_part() {
    let values = vec![b"a".to_vec()];
    let entry = Entry::new("CN=a", [("Member;range=0-1499".to_owned(), values.clone())]);
    assert_eq!(entry.part("member"), Some((values.as_slice(), 1500)));
    let entry = Entry::new("CN=a", [("member;range=1500-*".to_owned(), values.clone())]);
    assert_eq!((entry.part("member"), entry.last_part("member")), (None, Some(values.as_slice())));
    for strange in ["member;range=0-4294967295", "member;range=", "member;range=x-y"] {
        let entry = Entry::new("CN=a", [(strange.to_owned(), values.clone())]);
        assert_eq!(entry.part("member"), None, "{strange}");
    }
}

#[test]
fn groups_that_are_no_sids_are_not_fewer_groups() {
    let groups = vec![sid::bytes(SID).unwrap(), b"x".to_vec()];
    let entry = Entry::new("CN=a", [("tokenGroups".to_owned(), groups)]);
    assert_eq!(entry.token_groups().unwrap_err(), EntryError::Malformed("tokenGroups"));
}

fn store(dir: &tempfile::TempDir) -> Store {
    Store::new(dir.path(), "lt-7\ncorp.test\n".to_owned())
}

fn memory() -> Memory {
    let mut memory = Memory { identity: Some(SID.to_owned()), ..Memory::default() };
    memory.remember(read(user_entry()).unwrap(), 1_000);
    memory
}

#[test]
fn what_is_kept_is_read_back_and_is_nobody_elses() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(store(&dir).load().unwrap(), Memory::default());
    store(&dir).keep(&memory()).unwrap();
    assert_eq!(store(&dir).load().unwrap(), memory());
    for file in [FILE, KEY_FILE] {
        let mode = fs::metadata(dir.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let found = memory();
    for name in ["alice", "ALICE", r"corp\Alice", "alice@corp.test"] {
        assert!(found.user(&Account::parse(name).unwrap()).is_some(), "{name}");
    }
    for name in ["bob", r"OTHER\alice", "alice@other.test"] {
        assert!(found.user(&Account::parse(name).unwrap()).is_none(), "{name}");
    }
}

#[test]
fn a_cache_that_somebody_changed_is_set_aside() {
    type Change = fn(&tempfile::TempDir);
    let edit: Change = |dir| {
        let path = dir.path().join(FILE);
        let text = fs::read_to_string(&path).unwrap().replace("LT-7", "LT-8");
        fs::write(path, text).unwrap();
    };
    let truncate: Change = |dir| fs::write(dir.path().join(FILE), "homeport-directory-1 ").unwrap();
    let open: Change = |dir| {
        fs::set_permissions(dir.path().join(FILE), fs::Permissions::from_mode(0o644)).unwrap();
    };
    let link: Change = |dir| {
        fs::rename(dir.path().join(FILE), dir.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("elsewhere", dir.path().join(FILE)).unwrap();
    };
    let no_key: Change = |dir| fs::remove_file(dir.path().join(KEY_FILE)).unwrap();
    for (change, wanted) in [
        (edit, Why::Hash),
        (truncate, Why::Form),
        (open, Why::Mode(0o100_644 & 0o7777)),
        (link, Why::Form),
        (no_key, Why::Hash),
    ] {
        let dir = tempfile::tempdir().unwrap();
        store(&dir).keep(&memory()).unwrap();
        change(&dir);
        let error = store(&dir).load().unwrap_err();
        assert!(matches!(error, CacheError::Refused { why, .. } if why == wanted), "{error}");
        assert!(dir.path().join(REFUSED).symlink_metadata().is_ok(), "{wanted}");
        assert_eq!(store(&dir).load().unwrap(), Memory::default(), "{wanted}");
        store(&dir).keep(&memory()).unwrap();
        assert_eq!(store(&dir).load().unwrap(), memory(), "{wanted}");
    }
}

/// Two domains of a forest, with an alice in each.
fn two_domains() -> Memory {
    let mut memory = memory();
    memory.home = Some("corp.test".to_owned());
    let mut other = read(user_entry()).unwrap();
    (other.domain, other.dns_domain) = ("SALES".to_owned(), "sales.test".to_owned());
    (other.guid, other.principal) = (Some("other".to_owned()), None);
    memory.remember(other, 2_000);
    memory
}

#[test]
fn people_of_one_name_in_two_domains_are_two() {
    let mut memory = two_domains();
    let found = |memory: &Memory, name: &str| {
        let user = memory.user(&Account::parse(name).unwrap())?;
        Some((user.value.domain.clone(), memory.account_name(&user.value)))
    };
    let both = |domain: &str, name: &str| Some((domain.to_owned(), name.to_owned()));
    for (name, wanted) in [
        ("alice", both("CORP", "alice")),
        (r"corp\alice", both("CORP", "alice")),
        ("ALICE@corp.test", both("CORP", "alice")),
        (r"sales\Alice", both("SALES", r"SALES\alice")),
        ("alice@sales.test", both("SALES", r"SALES\alice")),
    ] {
        assert_eq!(found(&memory, name), wanted, "{name}");
    }
    // That one is gone says nothing of the other.
    memory.forget(&Account::parse("alice").unwrap());
    assert_eq!(found(&memory, "alice"), None);
    assert!(found(&memory, r"SALES\alice").is_some());
    let mut memory = two_domains();
    memory.forget(&Account::parse(r"SALES\alice").unwrap());
    assert!(found(&memory, "alice").is_some() && found(&memory, r"SALES\alice").is_none());
    // Who is meant is not guessed while it is not known which domain is the own.
    let mut memory = two_domains();
    memory.home = None;
    assert_eq!(found(&memory, "alice"), None);
    assert!(found(&memory, r"SALES\alice").is_some());
}

#[test]
fn answers_that_are_kept_at_one_time_are_kept_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    store(&dir).keep(&memory()).unwrap();
                }
            });
        }
    });
    // The first ones drew the key: a content under another key would not be believed.
    assert_eq!(store(&dir).load().unwrap(), memory());
    assert!(dir.path().join(REFUSED).symlink_metadata().is_err());
}

#[test]
fn another_computers_cache_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    store(&dir).keep(&memory()).unwrap();
    let other = Store::new(dir.path(), "lt-8\ncorp.test\n".to_owned());
    assert!(matches!(other.load().unwrap_err(), CacheError::Refused { why: Why::Hash, .. }));
}

#[test]
fn an_answer_from_the_future_counts_as_old() {
    let answer = Dated::new((), 1_000_000_000);
    assert_eq!(answer.age(1_000_060_000), Duration::from_secs(60));
    assert_eq!(answer.age(999_999_000), Duration::ZERO, "a clock that was set by a second");
    assert_eq!(answer.age(0), Duration::MAX);
}

#[test]
fn the_memory_is_bounded_and_an_account_that_was_renamed_is_one() {
    let mut memory = Memory::default();
    for at in 0..USERS_MAX + 10 {
        let mut user = read(user_entry()).unwrap();
        (user.name, user.guid) = (format!("user{at}"), Some(format!("guid{at}")));
        memory.remember(user, i64::try_from(at).unwrap());
    }
    assert_eq!(memory.users.len(), USERS_MAX);
    assert!(memory.user(&Account::parse("user9").unwrap()).is_none(), "the oldest went first");
    let mut renamed = read(user_entry()).unwrap();
    (renamed.name, renamed.guid) = ("new".to_owned(), Some("guid100".to_owned()));
    memory.remember(renamed, 0);
    assert!(memory.user(&Account::parse("user100").unwrap()).is_none());
}

#[test]
fn a_secret_is_read_only_if_it_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    let read = |content: &[u8], mode| {
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        secret::read(&SecretSource::File(path.clone()))
    };
    assert_eq!(format!("{:?}", read(b"Passw0rd!\n", 0o600).unwrap()), "***");
    for (content, mode, why) in [
        (&b"Passw0rd!\n"[..], 0o640, "its mode 640 lets others read it"),
        (b"\n", 0o600, "it is empty"),
        (b"a\nb\n", 0o600, "it is no text"),
        (b"\xff", 0o600, "it is no text"),
        (&[b'a'; 5000], 0o600, "it is no text"),
    ] {
        let error = read(content, mode).unwrap_err();
        let error = homeport_agent::outcome::chain(&error);
        assert!(error.contains(why), "{error}");
        assert!(!error.contains("Passw0rd"), "{error}");
    }
}

#[test]
fn clocks_are_compared() {
    assert_eq!(clock_skew("19700101000010.0Z", 0), Some(Duration::from_secs(10)));
    assert_eq!(clock_skew("tomorrow", 0), None);
}
