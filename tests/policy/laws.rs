//! Laws of filtering, merging, deciding and expanding, on random policy sets and random facts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use homeport_policy::decide::{Decision, FolderAction, ProfileAction, decide};
use homeport_policy::dn::Dn;
use homeport_policy::expand::expand;
use homeport_policy::facts::{Computer, Cost, Directory, Facts, Names, Network, Os, User};
use homeport_policy::filter::{Applicable, Verdict, applicable, verdicts};
use homeport_policy::layer::{PolicyObject, PolicySet};
use homeport_policy::merge::{Memo, ResultantSet, merge};
use homeport_policy::parse::{DOMAIN_FILE, SourceFile, parse};
use homeport_policy::primary::Primary;
use homeport_policy::settings::{Half, Halves, Id, Slot};
use homeport_policy::value::Template;
use proptest::prelude::*;
use proptest::sample::select;

const STAFF: &str = "OU=Staff,DC=corp,DC=test";
const BERLIN: &str = "OU=Berlin,OU=Staff,DC=corp,DC=test";
const KIOSKS: &str = "OU=Kiosks,DC=corp,DC=test";
const UNITS: [&str; 3] = [STAFF, BERLIN, KIOSKS];
const LINKS: [&str; 7] = [
    "local",
    "site:S1",
    "site:S2",
    "domain",
    "ou:OU=Staff,DC=corp,DC=test",
    "ou:OU=Berlin,OU=Staff,DC=corp,DC=test",
    "ou:OU=Kiosks,DC=corp,DC=test",
];
const FILTERS: [&str; 6] = [
    "",
    "",
    "filter.groups = ['CORP\\Staff', 'CORP\\Laptops']\n",
    "filter.not-groups = ['Guests']\n",
    "filter.computers = [\"LT-*\"]\n",
    "filter.operating-systems = [\"windows\"]\nfilter.users = [\"ali*\"]\n",
];

/// Each row is one choice; two rows of one group never stand in one object.
const SETTINGS: [[&str; 2]; 16] = [
    ["computer.offline-files.enabled = true", "computer.offline-files.enabled = false"],
    [
        r"computer.offline-files.assigned = ['\\srv\a', '\\srv\b\c']",
        r"computer.offline-files.assigned = ['\\srv\b', '\\srv\a']",
    ],
    [
        r"user.offline-files.assigned = ['\\srv\u\x']",
        r"user.offline-files.assigned = ['\\srv\a\sub', '\\srv\u']",
    ],
    [
        r#"computer.offline-files.slow-link.rule = [{ path = '\\srv\a\*', latency = "1ms" }]"#,
        r#"computer.offline-files.slow-link.rule = [{ path = "*", throughput = "1Mbit/s" }]"#,
    ],
    [
        "computer.folder-redirection.primary-computers-only = true",
        "computer.folder-redirection.primary-computers-only = false",
    ],
    [
        "user.folder-redirection.primary-computers-only = true",
        "user.folder-redirection.primary-computers-only = false",
    ],
    [
        "computer.offline-files.allow-pinning = true\nuser.offline-files.allow-pinning = false",
        "user.offline-files.allow-pinning = true",
    ],
    [
        "computer.primary-computers.source = \"either\"",
        "computer.primary-computers.source = \"both\"",
    ],
    [
        "computer.primary-computers.assign = [{ user = \"alice\", computers = [\"LT-*\"] }]",
        r"computer.primary-computers.assign = [{ group = 'Staff', computers = ['PC-?'] }]",
    ],
    [
        r"computer.roaming-profiles.path = '\\srv\profiles\%USERNAME%'",
        r"computer.roaming-profiles.path = '\\srv\%AD:department%\%USERNAME%'",
    ],
    [
        "computer.roaming-profiles.primary-computers-only = true",
        "computer.roaming-profiles.only-local = true",
    ],
    [
        "computer.offline-files.metered.daily-limit = \"1GiB\"",
        "computer.offline-files.metered.daily-limit = \"off\"",
    ],
    [
        "user.roaming-profiles.exclude = [\".cache\"]",
        "user.roaming-profiles.exclude = [\"Downloads\", \".cache\"]",
    ],
    [
        "user.folder-redirection.documents.setting = \"basic\"\n\
         user.folder-redirection.documents.target = { kind = \"create-per-user\", \
         root = '\\\\srv\\home' }",
        "user.folder-redirection.documents.setting = \"advanced\"\n\
         user.folder-redirection.documents.group = [{ group = 'Staff', \
         target = { kind = \"path\", path = '\\\\srv\\%AD:department%\\docs' } }]",
    ],
    [
        "user.folder-redirection.pictures.setting = \"follow-documents\"",
        "user.folder-redirection.pictures.setting = \"basic\"\n\
         user.folder-redirection.pictures.target = { kind = \"local-profile\" }",
    ],
    [
        "user.folder-redirection.documents.move-contents = false",
        "user.folder-redirection.documents.on-removal = \"restore\"",
    ],
];

/// The lines of one object, without its id.
fn object() -> impl Strategy<Value = String> {
    let choices = prop::collection::vec(0_usize..5, SETTINGS.len());
    let parts = (select(&LINKS), 1_u32..4, prop::bool::weighted(0.3), select(&FILTERS), choices);
    parts.prop_map(|(link, order, enforced, filter, choices)| {
        let mut text = format!("link = {{ to = \"{link}\", order = {order}, ");
        text.push_str(&format!("enforced = {enforced} }}\n{filter}"));
        for (row, choice) in SETTINGS.iter().zip(choices) {
            if let Some(line) = row.get(choice) {
                text.push_str(line);
                text.push('\n');
            }
        }
        text
    })
}

fn domain() -> impl Strategy<Value = String> {
    let blocks = prop::collection::vec(select(&UNITS), 0..3);
    let loopback = (select(&UNITS), select(&["off", "merge", "replace"]));
    (blocks, prop::option::of(loopback)).prop_map(|(blocks, loopback)| {
        let mut text = format!("schema = 1\nblock-inheritance = {blocks:?}\n");
        if let Some((unit, mode)) = loopback {
            text.push_str(&format!("ou.\"{unit}\".loopback.mode = \"{mode}\"\n"));
        }
        text
    })
}

/// The files of a set; the first is `_domain.toml`.
fn files() -> impl Strategy<Value = Vec<SourceFile>> {
    (domain(), prop::collection::vec(object(), 0..9)).prop_map(|(domain, objects)| {
        let mut files = vec![SourceFile::new(DOMAIN_FILE, domain)];
        for (n, body) in objects.into_iter().enumerate() {
            let head = format!("schema = 1\npolicy = {{ id = \"p{n}\", version = 1 }}\n");
            files.push(SourceFile::new(format!("{n}.toml"), head + &body));
        }
        files
    })
}

fn set_of(files: &[SourceFile]) -> PolicySet {
    let parsed = parse(files, &BTreeMap::new());
    assert_eq!(parsed.diagnostics, [], "the generator writes good files");
    parsed.set.expect("no diagnostics")
}

fn dn(text: &str) -> Dn {
    Dn::parse(text).expect("a good name")
}

fn user() -> impl Strategy<Value = User> {
    let groups = prop::sample::subsequence(vec![r"CORP\Staff", r"CORP\Guests"], 0..=2);
    (select(&UNITS), groups, any::<bool>(), any::<bool>()).prop_map(
        |(unit, groups, listed, dep)| {
            let department = dep.then(|| ("department".to_owned(), "Sales".to_owned()));
            User {
                name: "alice".to_owned(),
                domain: "CORP".to_owned(),
                dn: Some(dn(&format!("CN=alice,{unit}"))),
                groups: Names::new(groups),
                primary_computers: UNITS
                    .iter()
                    .filter(|_| listed)
                    .map(|unit| dn(&format!("CN=LT-1,{unit}")))
                    .collect(),
                attributes: department.into_iter().collect(),
                ..User::default()
            }
        },
    )
}

fn computer() -> impl Strategy<Value = Computer> {
    let site = select(&[None, Some("S1"), Some("S2")]);
    let os = select(&[Os::Windows, Os::Linux]);
    (select(&UNITS), select(&["LT-1", "PC-1"]), site, os).prop_map(|(unit, name, site, os)| {
        Computer {
            name: name.to_owned(),
            dn: Some(dn(&format!("CN={name},{unit}"))),
            groups: Names::new([r"CORP\Laptops"].into_iter().filter(|_| name == "LT-1")),
            os,
            site: site.map(str::to_owned),
            logon_server: None,
        }
    })
}

fn facts() -> impl Strategy<Value = Facts> {
    let age = |days: u64| Directory::Cached { age: Duration::from_secs(days * 86_400) };
    let directory = select(vec![Directory::Answered, age(1), age(31), Directory::Away]);
    let cost = select(&[Cost::Unrestricted, Cost::Metered, Cost::Roaming]);
    let user = prop::option::weighted(0.95, user());
    let parts = (user, computer(), directory, prop::bool::weighted(0.8), cost, 0_u64..1 << 31);
    parts.prop_map(|(user, computer, directory, schema, cost, bytes)| Facts {
        user: user.map(Arc::new),
        computer: Arc::new(computer),
        directory,
        schema_has_primary_computer: schema,
        network: Network { cost, metered_bytes_today: bytes },
        profile_link: None,
    })
}

fn outcome(set: &PolicySet, facts: &Facts) -> (ResultantSet, Decision) {
    let rsop = merge(set, &applicable(set, facts));
    let decision = decide(&rsop, facts);
    (rsop, decision)
}

/// The objects that configure a slot in a half, in order of application.
fn contributors<'a>(
    set: &'a PolicySet,
    order: &Applicable,
    half: Half,
    slot: Slot,
) -> Vec<&'a PolicyObject> {
    let indices = if half == Half::Computer { &order.computer } else { &order.user };
    let objects = indices.iter().map(|index| &set.objects[usize::from(*index)]);
    objects.filter(|object| object.half(half).iter().any(|cell| cell.slot == slot)).collect()
}

fn enforced(set: &PolicySet, indices: &[u16]) -> Vec<u16> {
    let is_enforced = |index: &&u16| set.objects[usize::from(**index)].link.enforced;
    indices.iter().filter(is_enforced).copied().collect()
}

fn wins_something(rsop: &ResultantSet, id: &str) -> bool {
    rsop.configured().any(|(_, got)| got.values.iter().any(|one| &*one.origin.object == id))
}

fn all_reasons_are_given(decision: &Decision) -> bool {
    !decision.primary_computer.because.is_empty()
        && decision.folders.iter().all(|folder| !folder.decided.because.is_empty())
        && !decision.profile.because.is_empty()
        && decision.caches.iter().all(|cache| !cache.because.is_empty())
        && !decision.background_sync.because.is_empty()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_order_of_the_files_makes_no_difference(
        (files, shuffled) in files().prop_flat_map(|f| (Just(f.clone()), Just(f).prop_shuffle())),
        facts in facts(),
    ) {
        let (rsop, decision) = outcome(&set_of(&files), &facts);
        let (again, decided_again) = outcome(&set_of(&shuffled), &facts);
        prop_assert_eq!(rsop, again);
        prop_assert_eq!(decision, decided_again);
    }

    #[test]
    fn what_applies_is_what_the_verdicts_say(files in files(), facts in facts()) {
        let set = set_of(&files);
        let order = applicable(&set, &facts);
        for (half, found) in [(Half::Computer, &order.computer), (Half::User, &order.user)] {
            let verdicts = verdicts(&set, &facts, half);
            let wanted: Vec<usize> =
                (0..verdicts.len()).filter(|at| verdicts[*at] == Verdict::Applies).collect();
            let mut found: Vec<usize> = found.iter().copied().map(usize::from).collect();
            found.sort_unstable();
            prop_assert_eq!(found, wanted);
        }
    }

    #[test]
    fn a_remembered_merge_is_a_merge(files in files(), facts in facts()) {
        let set = set_of(&files);
        let order = applicable(&set, &facts);
        let mut memo = Memo::default();
        for _ in 0..2 {
            prop_assert_eq!(&*memo.merge(&set, order.clone()), &merge(&set, &order));
        }
    }

    #[test]
    fn applying_everything_twice_is_applying_it_once(files in files(), facts in facts()) {
        let set = set_of(&files);
        let once = applicable(&set, &facts);
        let twice = Applicable { computer: once.computer.repeat(2), user: once.user.repeat(2) };
        let (once, twice) = (merge(&set, &once), merge(&set, &twice));
        for slot in Slot::all().filter(|slot| !slot.setting().union) {
            let (a, b) = (once.get(slot), twice.get(slot));
            prop_assert_eq!((&a.values, a.half), (&b.values, b.half), "{}", slot.key());
        }
    }

    #[test]
    fn the_last_in_order_wins(files in files(), facts in facts()) {
        let set = set_of(&files);
        let order = applicable(&set, &facts);
        let rsop = merge(&set, &order);
        for (slot, got) in rsop.configured().filter(|(slot, _)| !slot.setting().union) {
            let last = got.half.and_then(|half| {
                contributors(&set, &order, half, slot).last().map(|object| object.id.clone())
            });
            prop_assert_eq!(Some(got.values[0].origin.object.clone()), last);
        }
    }

    #[test]
    fn every_contributor_is_the_winner_or_a_loser(files in files(), facts in facts()) {
        let set = set_of(&files);
        let order = applicable(&set, &facts);
        let rsop = merge(&set, &order);
        for (slot, got) in rsop.configured().filter(|(slot, _)| !slot.setting().union) {
            let count = [Half::Computer, Half::User]
                .map(|half| contributors(&set, &order, half, slot).len());
            prop_assert_eq!(got.losers.len() + 1, count[0] + count[1], "{}", slot.key());
        }
    }

    #[test]
    fn a_union_has_the_elements_of_every_contributor(files in files(), facts in facts()) {
        let set = set_of(&files);
        let order = applicable(&set, &facts);
        let rsop = merge(&set, &order);
        for slot in Slot::all().filter(|slot| slot.setting().union) {
            let from = |half| contributors(&set, &order, half, slot);
            for object in from(Half::User).into_iter().chain(from(Half::Computer)) {
                let id = &object.id;
                let found = rsop.get(slot).values.iter().any(|one| one.origin.object == *id);
                prop_assert!(found, "{} of {id}", slot.key());
            }
        }
    }

    #[test]
    fn an_enforced_value_is_overruled_by_none_that_is_not(files in files(), facts in facts()) {
        let set = set_of(&files);
        let order = applicable(&set, &facts);
        let rsop = merge(&set, &order);
        for (slot, got) in rsop.configured().filter(|(slot, _)| !slot.setting().union) {
            let Some(half) = got.half else { continue };
            let from = contributors(&set, &order, half, slot);
            prop_assert_eq!(got.enforced, from.iter().any(|object| object.link.enforced));
        }
    }

    #[test]
    fn the_computer_half_beats_the_user_half(files in files(), facts in facts()) {
        let set = set_of(&files);
        let order = applicable(&set, &facts);
        let rsop = merge(&set, &order);
        for slot in Slot::all() {
            let setting = slot.setting();
            let both = setting.halves == Halves::Both && !setting.union;
            if both && !contributors(&set, &order, Half::Computer, slot).is_empty() {
                prop_assert_eq!(rsop.get(slot).half, Some(Half::Computer), "{}", slot.key());
            }
        }
    }

    #[test]
    fn blocking_inheritance_drops_nothing_enforced(files in files(), facts in facts()) {
        let blocked = set_of(&files);
        let mut open = blocked.clone();
        open.domain.block_inheritance.clear();
        let (a, b) = (applicable(&blocked, &facts), applicable(&open, &facts));
        prop_assert_eq!(enforced(&blocked, &a.user), enforced(&open, &b.user));
        prop_assert_eq!(enforced(&blocked, &a.computer), enforced(&open, &b.computer));
    }

    #[test]
    fn blocking_inheritance_adds_nothing(files in files(), facts in facts()) {
        let blocked = set_of(&files);
        let mut open = blocked.clone();
        open.domain.block_inheritance.clear();
        let (a, b) = (applicable(&blocked, &facts), applicable(&open, &facts));
        prop_assert!(a.user.iter().all(|index| b.user.contains(index)));
        prop_assert!(a.computer.iter().all(|index| b.computer.contains(index)));
    }

    #[test]
    fn what_won_nothing_can_be_removed(files in files(), facts in facts()) {
        let set = set_of(&files);
        let (rsop, decision) = outcome(&set, &facts);
        for object in set.objects.iter().filter(|object| !wins_something(&rsop, &object.id)) {
            let mut less = set.clone();
            less.objects.retain(|other| other.id != object.id);
            let (without, decided) = outcome(&less, &facts);
            for slot in Slot::all() {
                prop_assert_eq!(&rsop.get(slot).values, &without.get(slot).values);
            }
            prop_assert_eq!(&decision, &decided, "{}", object.id);
        }
    }

    #[test]
    fn every_decision_has_a_reason(files in files(), facts in facts()) {
        let (_, decision) = outcome(&set_of(&files), &facts);
        prop_assert!(all_reasons_are_given(&decision), "{decision:#?}");
    }

    #[test]
    fn only_primary_computers_redirect_where_policy_asks_for_one(
        files in files(),
        facts in facts(),
    ) {
        let (rsop, decision) = outcome(&set_of(&files), &facts);
        let only = |id| rsop.flag(id, false).value;
        let primary = decision.primary_computer.action == Primary::Yes;
        let redirects =
            |action: &FolderAction| matches!(action, FolderAction::Redirect(_));
        let any = decision.folders.iter().any(|folder| redirects(&folder.decided.action));
        prop_assert!(primary || !only(Id::RedirectionPrimaryOnly) || !any);
        let roams = matches!(decision.profile.action, ProfileAction::Roam(_));
        prop_assert!(primary || !only(Id::ProfilePrimaryOnly) || !roams);
    }
}

/// Values that somebody might write into an attribute of their own account.
fn hostile() -> impl Strategy<Value = String> {
    let evil = select(vec![
        "",
        ".",
        "..",
        "...",
        " ",
        "\\",
        "/",
        "a\\b",
        "a/b",
        "..\\..\\etc",
        "../x",
        "a\\..\\b",
        "\\\\evil\\share",
        "C:",
        "a:b",
        "*",
        "?",
        "\0",
        "\n",
        "%USERNAME%",
        "a\\",
        "\\a",
        "．．",
        "∕",
        "＼",
        "Müller",
        "a b",
    ]);
    prop_oneof![evil.prop_map(str::to_owned), "\\PC{0,8}", "[.\\\\/ a%:]{0,6}"]
}

fn person(name: &str, attribute: &str) -> Facts {
    let names = ["a", "homedirectory"].map(str::to_owned);
    let user = User {
        name: name.to_owned(),
        attributes: names.into_iter().map(|key| (key, attribute.to_owned())).collect(),
        ..User::default()
    };
    Facts {
        user: Some(Arc::new(user)),
        computer: Arc::new(Computer {
            name: "LT-1".to_owned(),
            dn: None,
            groups: Names::default(),
            os: Os::Windows,
            site: None,
            logon_server: None,
        }),
        directory: Directory::Answered,
        schema_has_primary_computer: true,
        network: Network::default(),
        profile_link: None,
    }
}

const TEMPLATES: [(&str, usize); 7] = [
    (r"\\srv\home\%AD:a%\%USERNAME%", 4),
    (r"\\%AD:a%\share", 2),
    (r"\\srv\%AD:a%", 2),
    (r"\\srv\x%AD:a%y\z", 3),
    (r"\\srv\s\%AD:a%%USERNAME%\z", 4),
    (r"\\srv\s\.%AD:a%", 3),
    (r"\\srv\s\%USERNAME%", 3),
];

fn is_plain(part: &str) -> bool {
    !part.is_empty() && part != "." && part != ".." && !part.contains(['\\', '/', ':', '\0', '*'])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_value_never_adds_or_removes_a_part_of_a_path(
        (template, count) in select(&TEMPLATES),
        name in hostile(),
        attribute in hostile(),
    ) {
        let facts = person(&name, &attribute);
        let template = Template::parse(template).expect("a good template");
        let user = facts.user.clone().expect("there is one");
        if let Ok(path) = expand(&template, &user, &facts) {
            prop_assert_eq!(path.parts().count(), count, "{}", path);
            prop_assert!(path.parts().all(is_plain), "{}", path);
        }
    }

    #[test]
    fn a_user_name_is_one_part_of_the_path_created_for_it(name in hostile()) {
        let head = "schema = 1\npolicy = { id = \"p\", version = 1 }\n";
        let set = set_of(&[SourceFile::new("p.toml", head.to_owned() + SETTINGS[13][0])]);
        let (_, decision) = outcome(&set, &person(&name, ""));
        if let FolderAction::Redirect(to) = &decision.folders[3].decided.action {
            prop_assert_eq!(to.target.parts().count(), 4, "{}", to.target);
            prop_assert!(to.target.parts().all(is_plain), "{}", to.target);
        }
    }

    #[test]
    fn a_home_directory_stays_a_plain_path(home in hostile(), below in any::<bool>()) {
        let facts = person("alice", &(if below { r"\\srv\home\" } else { "" }.to_owned() + &home));
        let template = Template::parse(r"%HOMESHARE%\Documents").expect("a good template");
        let user = facts.user.clone().expect("there is one");
        if let Ok(path) = expand(&template, &user, &facts) {
            prop_assert!(path.parts().count() >= 3 && path.parts().all(is_plain), "{}", path);
        }
    }
}
