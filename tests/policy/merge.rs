//! The order of policy objects, security filtering, loopback, and what a merge makes of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use homeport_policy::dn::Dn;
use homeport_policy::facts::{Computer, Directory, Facts, Names, Network, Os, User};
use homeport_policy::filter::{Applicable, Verdict, applicable, verdicts};
use homeport_policy::layer::PolicySet;
use homeport_policy::merge::{ResultantSet, merge};
use homeport_policy::parse::{DOMAIN_FILE, SourceFile, parse};
use homeport_policy::settings::{Half, Id, Kind, Slot};

const STAFF: &str = "ou:OU=Staff,DC=corp,DC=test";
const BERLIN: &str = "ou:OU=Berlin,OU=Staff,DC=corp,DC=test";
const KIOSKS: &str = "ou:OU=Kiosks,DC=corp,DC=test";

fn dn(text: &str) -> Option<Dn> {
    Some(Dn::parse(text).expect("a good name"))
}

/// Alice of Berlin on the laptop LT-1 among the kiosks, at site S1.
fn facts() -> Facts {
    let user = User {
        name: "alice".to_owned(),
        domain: "CORP".to_owned(),
        dn: dn("CN=alice,OU=Berlin,OU=Staff,DC=corp,DC=test"),
        groups: Names::new([r"CORP\Staff", r"CORP\All Employees"]),
        ..User::default()
    };
    let computer = Computer {
        name: "LT-1".to_owned(),
        dn: dn("CN=LT-1,OU=Kiosks,DC=corp,DC=test"),
        groups: Names::new([r"CORP\Laptops"]),
        os: Os::Linux,
        site: Some("S1".to_owned()),
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

/// A set of objects, each given as its id and its lines; `_domain.toml` among them by that name.
fn set_of(files: &[(&str, &str)]) -> PolicySet {
    let file = |(id, lines): &(&str, &str)| {
        if *id == DOMAIN_FILE {
            return SourceFile::new(*id, format!("schema = 1\n{lines}"));
        }
        let head = format!("schema = 1\npolicy = {{ id = \"{id}\", version = 1 }}\n");
        SourceFile::new(format!("{id}.toml"), head + lines)
    };
    let files: Vec<SourceFile> = files.iter().map(file).collect();
    let parsed = parse(&files, &BTreeMap::new());
    assert_eq!(parsed.diagnostics, []);
    parsed.set.expect("no diagnostics")
}

fn ids(set: &PolicySet, indices: &[u16]) -> String {
    let ids: Vec<&str> = indices.iter().map(|n| &*set.objects[usize::from(*n)].id).collect();
    ids.join(" ")
}

/// Objects given as `id place order !`, the mark for enforced, and the order they are applied in.
fn check_order(half: Half, domain: &str, objects: &[&str], wanted: &str) {
    let mut texts = vec![(DOMAIN_FILE, domain.to_owned())];
    for object in objects {
        let words: Vec<&str> = object.split_whitespace().collect();
        let place = match words[1] {
            "staff" => STAFF,
            "berlin" => BERLIN,
            "kiosks" => KIOSKS,
            other => other,
        };
        let (order, enforced) = (words[2], words.len() > 3);
        let text = format!(
            "link = {{ to = \"{place}\", order = {order}, enforced = {enforced} }}\n\
             computer.offline-files.enabled = true\nuser.roaming-profiles.size-limit = \"1GiB\"\n"
        );
        texts.push((words[0], text));
    }
    let files: Vec<(&str, &str)> = texts.iter().map(|(id, text)| (*id, text.as_str())).collect();
    let set = set_of(&files);
    let found = applicable(&set, &facts());
    let indices = if half == Half::User { &found.user } else { &found.computer };
    assert_eq!(ids(&set, indices), wanted, "{objects:?} {domain}");
}

#[test]
fn places_are_applied_from_the_outermost_inwards() {
    let all = ["b berlin 1", "s staff 1", "d domain 1", "i site:s1 1", "l local 1", "k kiosks 1"];
    check_order(Half::User, "", &all, "l i d s b");
    check_order(Half::Computer, "", &all, "l i d k");
}

#[test]
fn objects_linked_elsewhere_do_not_count() {
    check_order(Half::User, "", &["i site:S2 1", "k kiosks 1"], "");
    check_order(Half::Computer, "", &["s staff 1", "b berlin 1"], "");
}

#[test]
fn the_lowest_order_of_a_place_is_applied_last() {
    check_order(Half::User, "", &["a domain 1", "b domain 2", "c domain 10"], "c b a");
    check_order(Half::User, "", &["a domain 2", "b domain 1", "c staff 9"], "a b c");
    check_order(Half::User, "", &["a domain 1", "b domain 1"], "b a");
}

#[test]
fn enforced_objects_are_applied_after_all_others_the_outermost_last() {
    check_order(Half::User, "", &["d domain 1 !", "s staff 1", "b berlin 1"], "s b d");
    check_order(Half::User, "", &["d domain 1 !", "s staff 1 !", "b berlin 1 !"], "b s d");
    check_order(Half::User, "", &["l local 1 !", "i site:S1 1 !", "d domain 1 !"], "d i l");
    check_order(Half::User, "", &["a domain 1 !", "b domain 2 !", "c domain 1"], "c b a");
}

#[test]
fn a_blocking_unit_drops_what_is_not_enforced_from_above() {
    let all = ["l local 1", "i site:S1 1", "d domain 1", "s staff 1", "b berlin 1"];
    let berlin = "block-inheritance = [\"OU=Berlin,OU=Staff,DC=corp,DC=test\"]\n";
    let staff = "block-inheritance = [\"ou=staff, dc=corp, dc=test\"]\n";
    let kiosks = "block-inheritance = [\"OU=Kiosks,DC=corp,DC=test\"]\n";
    check_order(Half::User, berlin, &all, "l b");
    check_order(Half::User, staff, &all, "l s b");
    check_order(Half::User, kiosks, &all, "l i d s b");
    check_order(Half::Computer, kiosks, &["d domain 1", "k kiosks 1"], "k");
    check_order(Half::User, berlin, &["d domain 1 !", "s staff 1", "b berlin 1"], "b d");
}

fn loopback(mode: &str) -> String {
    format!("ou.\"OU=Kiosks,DC=corp,DC=test\".loopback.mode = \"{mode}\"\n")
}

#[test]
fn loopback_chooses_whose_place_counts_for_the_user_half() {
    let all = ["d domain 1", "s staff 1", "k kiosks 1"];
    check_order(Half::User, &loopback("off"), &all, "d s");
    check_order(Half::User, &loopback("merge"), &all, "s d k");
    check_order(Half::User, &loopback("replace"), &all, "d k");
    check_order(Half::Computer, &loopback("replace"), &all, "d k");
}

#[test]
fn with_loopback_merge_the_verdict_that_got_furthest_is_told() {
    let size = "user.roaming-profiles.size-limit = \"1GiB\"\n";
    let block = "block-inheritance = [\"OU=Kiosks,DC=corp,DC=test\"]\n";
    let domain = format!("{block}{}", loopback("merge"));
    for (link, filter, wanted) in [
        (KIOSKS, "not-groups = ['CORP\\Staff']", Verdict::InExcludedGroup),
        (STAFF, "not-groups = ['CORP\\Staff']", Verdict::InExcludedGroup),
        ("ou:DC=corp,DC=test", "users = ['bob']", Verdict::OtherUser),
        ("site:S2", "", Verdict::LinkedElsewhere),
        (STAFF, "", Verdict::Applies),
    ] {
        let text = format!("link.to = \"{link}\"\nfilter = {{ {filter} }}\n{size}");
        let set = set_of(&[(DOMAIN_FILE, &domain), ("p", &text)]);
        assert_eq!(verdicts(&set, &facts(), Half::User), [wanted], "{link} {filter}");
    }
    let blocked = format!(
        "block-inheritance = [\"OU=Berlin,OU=Staff,DC=corp,DC=test\"]\n{}",
        loopback("merge")
    );
    let text = format!("link.to = \"{STAFF}\"\n{size}");
    let set = set_of(&[(DOMAIN_FILE, &blocked), ("p", &text)]);
    assert_eq!(verdicts(&set, &facts(), Half::User), [Verdict::InheritanceBlocked]);
}

#[test]
fn the_innermost_unit_with_a_loopback_mode_decides() {
    let outer = "ou.\"DC=corp,DC=test\".loopback.mode = \"replace\"\n";
    let all = ["s staff 1", "k kiosks 1"];
    check_order(Half::User, outer, &all, "k");
    check_order(Half::User, &(outer.to_owned() + &loopback("off")), &all, "s");
}

/// Whether an object with this filter counts for the user half.
fn check_filter(filter: &str, wanted: Verdict) {
    let text = format!("filter = {{ {filter} }}\nuser.roaming-profiles.size-limit = \"1GiB\"\n");
    let set = set_of(&[("p", &text)]);
    assert_eq!(verdicts(&set, &facts(), Half::User), [wanted], "{filter}");
    let counts = !applicable(&set, &facts()).user.is_empty();
    assert_eq!(counts, wanted == Verdict::Applies, "{filter}");
}

#[test]
fn security_filtering() {
    for (filter, wanted) in [
        ("", Verdict::Applies),
        (r"groups = ['CORP\Staff']", Verdict::Applies),
        (r"groups = ['corp\STAFF']", Verdict::Applies),
        ("groups = ['all employees']", Verdict::Applies),
        (r"groups = ['Guests', 'CORP\Laptops']", Verdict::Applies),
        (r"groups = ['OTHER\Staff']", Verdict::NotInGroup),
        ("groups = []", Verdict::NotInGroup),
        ("not-groups = []", Verdict::Applies),
        ("not-groups = ['Guests']", Verdict::Applies),
        ("not-groups = ['Staff']", Verdict::InExcludedGroup),
        ("not-groups = ['Laptops']", Verdict::InExcludedGroup),
        ("groups = ['Staff'], not-groups = ['Laptops']", Verdict::InExcludedGroup),
        ("users = ['AL*', 'bob']", Verdict::Applies),
        ("users = ['bob']", Verdict::OtherUser),
        ("computers = ['lt-?']", Verdict::Applies),
        ("computers = ['lt']", Verdict::OtherComputer),
        ("computers = ['LT-[2-9]']", Verdict::OtherComputer),
        ("operating-systems = ['windows', 'linux']", Verdict::Applies),
        ("operating-systems = ['windows']", Verdict::OtherOperatingSystem),
        ("operating-systems = []", Verdict::OtherOperatingSystem),
    ] {
        check_filter(filter, wanted);
    }
}

#[test]
fn an_object_without_a_setting_in_a_half_is_empty_there() {
    let set = set_of(&[("p", "user.roaming-profiles.size-limit = \"1GiB\"\n")]);
    assert_eq!(verdicts(&set, &facts(), Half::Computer), [Verdict::Empty]);
}

#[test]
fn without_a_user_only_the_computer_half_counts() {
    let set = set_of(&[("p", "user.offline-files.allow-pinning = false\n")]);
    let nobody = Facts { user: None, ..facts() };
    assert_eq!(applicable(&set, &nobody), Applicable::default());
}

/// The RSoP of a low (domain) and a high (Staff or Kiosks) object.
fn two(low: &str, high: &str, enforce_low: bool) -> ResultantSet {
    let low = format!("link.enforced = {enforce_low}\n{low}\n");
    let place = if high.starts_with("user") { STAFF } else { KIOSKS };
    let high = format!("link.to = \"{place}\"\n{high}\n");
    let set = set_of(&[("low", &low), ("high", &high)]);
    merge(&set, &applicable(&set, &facts()))
}

/// What a setting came to, as `value@object, …`, and what it overruled after a bar.
fn shown(rsop: &ResultantSet, slot: impl Into<Slot>) -> String {
    let got = rsop.get(slot);
    let list = |values: &[homeport_policy::layer::Sourced]| {
        let texts: Vec<String> =
            values.iter().map(|one| format!("{}@{}", one.value, one.origin.object)).collect();
        texts.join(", ")
    };
    let losers: Vec<String> = got.losers.iter().map(|loser| list(&loser.values)).collect();
    format!("{} | {}", list(&got.values), losers.join(" | ")).trim_end().to_owned()
}

#[test]
fn the_later_object_wins_and_the_loser_is_kept() {
    let key = "computer.offline-files.background-sync.interval";
    let (low, high) = (format!("{key} = \"1h\""), format!("{key} = \"3h\""));
    let text = shown(&two(&low, &high, false), Id::BackgroundSyncInterval);
    assert_eq!(text, "3h@high | 1h@low");
    let text = shown(&two(&low, &high, true), Id::BackgroundSyncInterval);
    assert_eq!(text, "1h@low | 3h@high");
}

#[test]
fn off_takes_a_lower_value_back() {
    let key = "computer.offline-files.bandwidth";
    let rsop = two(&format!("{key} = \"1Mbit/s\""), &format!("{key} = \"off\""), false);
    assert_eq!(shown(&rsop, Id::Bandwidth), "off@high | 1Mbit/s@low");
    assert_eq!(rsop.number(Id::Bandwidth), None);
}

#[test]
fn lists_marked_union_add_up_with_their_origins() {
    let (low, high) = (
        r"computer.offline-files.file-screens = ['*.pst', '*.iso']",
        r"computer.offline-files.file-screens = ['*.pst']",
    );
    let text = shown(&two(low, high, false), Id::FileScreens);
    assert_eq!(text, "*.pst@low, *.iso@low, *.pst@high |");
}

#[test]
fn an_empty_list_takes_nothing_from_a_union() {
    let (low, high) = (
        r"computer.offline-files.file-screens = ['*.pst']",
        r"computer.offline-files.file-screens = []",
    );
    assert_eq!(shown(&two(low, high, false), Id::FileScreens), "*.pst@low |");
}

#[test]
fn other_lists_are_replaced_whole() {
    let rule = |path: &str| {
        format!(
            "computer.offline-files.conflict = [{{ path = '{path}', resolve = \"ask\" }}, \
             {{ path = '{path}\\x', resolve = \"keep-both\" }}]"
        )
    };
    let rsop = two(&rule(r"\\srv\a"), &rule(r"\\srv\b"), false);
    let wanted = [
        r"\\srv\b: ask@high, \\srv\b\x: keep-both@high",
        r"\\srv\a: ask@low, \\srv\a\x: keep-both@low",
    ];
    assert_eq!(shown(&rsop, Id::Conflict), wanted.join(" | "));
}

#[test]
fn union_lists_of_both_halves_add_up() {
    let low = r"computer.offline-files.assigned = ['\\srv\c']";
    let high = r"user.offline-files.assigned = ['\\srv\u']";
    assert_eq!(shown(&two(low, high, false), Id::Assigned), r"\\srv\u@high, \\srv\c@low |");
}

#[test]
fn the_computer_half_wins_over_a_later_and_over_an_enforced_user_half() {
    let of = |half: &str, value: bool| format!("{half}.offline-files.allow-pinning = {value}");
    let text = shown(&two(&of("computer", true), &of("user", false), false), Id::AllowPinning);
    assert_eq!(text, "true@low | false@high");
    let text = shown(&two(&of("user", true), &of("computer", false), true), Id::AllowPinning);
    assert_eq!(text, "false@high | true@low");
}

#[test]
fn a_winner_knows_its_file_and_line() {
    let rsop = two("computer.offline-files.enabled = false", "", false);
    let origin = &rsop.get(Id::OfflineFilesEnabled).values[0].origin;
    assert_eq!(origin.to_string(), "low (low.toml:4)");
}

/// A value that a setting of this kind takes.
fn example(kind: Kind) -> String {
    let local = "{ kind = \"local-profile\" }";
    match kind {
        Kind::Bool => "true".to_owned(),
        Kind::Count { min, .. } => min.to_string(),
        Kind::Duration { max, .. } => format!("\"{max}ms\""),
        Kind::Size | Kind::SizeOrPercent => "\"10GiB\"".to_owned(),
        Kind::Percent => "\"50%\"".to_owned(),
        Kind::Rate { .. } => "\"500kbit/s\"".to_owned(),
        Kind::Words(words) => format!("\"{}\"", words[0]),
        Kind::Cron => "\"0 */2 * * 1-5\"".to_owned(),
        Kind::Blockout => "{ start = \"08:30\", duration = \"2h\" }".to_owned(),
        Kind::Template => r"'\\srv\home\%USERNAME%'".to_owned(),
        Kind::Target => local.to_owned(),
        Kind::Uncs => r"['\\srv\share']".to_owned(),
        Kind::Globs => "[\"*.pst\"]".to_owned(),
        Kind::Patterns => "[\".cache\"]".to_owned(),
        Kind::Principals => r"['CORP\Staff']".to_owned(),
        Kind::SlowLinkRules => "[{ path = \"*\", latency = \"35ms\" }]".to_owned(),
        Kind::ConflictRules => "[{ path = \"*\", resolve = \"ask\" }]".to_owned(),
        Kind::Assigns => "[{ user = \"alice\", computers = [\"LT-*\"] }]".to_owned(),
        Kind::GroupTargets => format!(r"[{{ group = 'CORP\Staff', target = {local} }}]"),
    }
}

fn check_in_rsop(slot: Slot, half: Half, value: &str) {
    let key = slot.key();
    let mut text = format!("{}.{key} = {value}\n", half.name());
    if let Some(folder) = key.strip_suffix(".setting") {
        text.push_str(&format!("user.{folder}.target = {}\n", example(Kind::Target)));
    }
    let set = set_of(&[("p", &text)]);
    let rsop = merge(&set, &applicable(&set, &facts()));
    let got = rsop.get(slot);
    assert_eq!((got.half, got.values.len()), (Some(half), 1), "{key}");
    assert_eq!(got.values[0].origin.line, 3, "{key}");
}

#[test]
fn every_setting_can_be_written_and_shows_up_in_the_rsop() {
    for slot in Slot::all() {
        for half in [Half::Computer, Half::User] {
            if slot.setting().halves.allows(half) {
                check_in_rsop(slot, half, &example(slot.setting().kind));
            }
        }
    }
}

#[test]
fn every_setting_that_can_be_taken_back_takes_off_and_false() {
    for slot in Slot::all().filter(|slot| slot.setting().off) {
        let computer = slot.setting().halves.allows(Half::Computer);
        let half = if computer { Half::Computer } else { Half::User };
        check_in_rsop(slot, half, "\"off\"");
        check_in_rsop(slot, half, "false");
    }
}
