//! Parsing: every defect has its own code and place, and nothing that is written can crash it.
#![allow(clippy::disallowed_methods, reason = "tests read fixtures")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use homeport_policy::diagnostic::{CODES, Code, Diagnostic, Severity, render};
use homeport_policy::layer::{LinkTo, Loopback, PolicySet};
use homeport_policy::parse::{DOMAIN_FILE, FILE_SIZE_MAX, Parsed, SourceFile, parse};
use homeport_policy::reference::json_schema;
use homeport_policy::settings::{Half, Slot};
use proptest::prelude::*;

const HEAD: &str = "schema = 1\n[policy]\nid = \"sample\"\nversion = 1\n";

fn parse_one(text: &str) -> Parsed {
    parse(&[SourceFile::new("sample.toml", text)], &BTreeMap::new())
}

fn codes(parsed: &Parsed) -> Vec<Code> {
    parsed.diagnostics.iter().map(|found| found.code).collect()
}

/// The set of a file that has no defect.
fn good(text: &str) -> PolicySet {
    let parsed = parse_one(text);
    assert_eq!(parsed.diagnostics, [], "{text}");
    parsed.set.expect("a set without diagnostics")
}

fn fixtures() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/policy/invalid");
    let entries = std::fs::read_dir(folder).expect("the folder of fixtures");
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.expect("an entry").path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
        found.push((stem, std::fs::read_to_string(&path).expect("a text")));
    }
    found.sort();
    found
}

/// What a file of the folder `invalid` is found to have, beside a twin and an older version.
fn check_fixture(stem: &str, text: &str) -> Diagnostic {
    let twin = SourceFile::new("a.toml", "schema = 1\n[policy]\nid = \"twin\"\nversion = 1\n");
    let files = [twin, SourceFile::new(format!("{stem}.toml"), text)];
    let parsed = parse(&files, &BTreeMap::from([("aged".to_owned(), 5)]));
    assert!(parsed.set.is_none(), "{stem}: a set in spite of {:#?}", parsed.diagnostics);
    let [only] = &parsed.diagnostics[..] else { panic!("{stem}: {:#?}", parsed.diagnostics) };
    only.clone()
}

#[test]
fn each_fixture_has_the_defect_of_its_name() {
    for (stem, text) in fixtures() {
        let found = check_fixture(&stem, &text);
        let code = stem.split("--").next().unwrap_or_default();
        assert_eq!((found.code.name(), found.severity), (code, Severity::Error), "{found}");
    }
}

#[test]
fn each_fixture_is_told_where_and_what_to_do() {
    for (stem, text) in fixtures() {
        let found = check_fixture(&stem, &text);
        assert_eq!(found.file, format!("{stem}.toml"));
        assert!(!found.hint.trim().is_empty() && !found.message.trim().is_empty(), "{found}");
        // The defects of the fixtures stand at the end; only what is missing has no own place.
        let lines = text.lines().count();
        let line = text.lines().nth(found.line as usize - 1).unwrap_or_default();
        let missing = found.code == Code::MissingKey;
        assert!(missing || !line.trim().is_empty(), "{found}");
        assert!(missing || lines - found.line as usize <= 6, "{found}");
        assert!(found.column as usize <= line.chars().count() + 1, "{found}");
    }
}

#[test]
fn every_code_has_a_fixture_or_a_test() {
    let stems: Vec<String> = fixtures().into_iter().map(|(stem, _)| stem).collect();
    let of = |stem: &String| stem.split("--").next().unwrap_or_default().to_owned();
    let mut covered: BTreeSet<String> = stems.iter().map(of).collect();
    covered.extend(["too-large", "unreadable"].map(str::to_owned)); // made in code below
    let all: BTreeSet<String> = CODES.iter().map(|code| code.name().to_owned()).collect();
    assert_eq!(covered, all);
}

#[test]
fn a_file_of_one_mebibyte_is_read_and_one_byte_more_is_not() {
    let fill = |size: usize| format!("{HEAD}#{}", "x".repeat(size - HEAD.len() - 1));
    assert_eq!(codes(&parse_one(&fill(FILE_SIZE_MAX))), []);
    assert_eq!(codes(&parse_one(&fill(FILE_SIZE_MAX + 1))), [Code::TooLarge]);
}

#[test]
fn a_list_may_not_grow_without_end() {
    let list = |count: usize| {
        let items = "\"a\", ".repeat(count);
        format!("{HEAD}[computer.offline-files]\nfile-screens = [{items}]\n")
    };
    assert_eq!(codes(&parse_one(&list(10_000))), []);
    assert_eq!(codes(&parse_one(&list(10_001))), [Code::TooLarge]);
}

#[test]
fn a_set_may_not_grow_without_end() {
    let file = |n: usize| {
        let text = format!("schema = 1\n[policy]\nid = \"o-{n}\"\nversion = 1\n");
        SourceFile::new(format!("{n}.toml"), text)
    };
    let set = |count| (0..count).map(file).collect::<Vec<_>>();
    assert_eq!(codes(&parse(&set(2_000), &BTreeMap::new())), []);
    assert_eq!(codes(&parse(&set(2_001), &BTreeMap::new())), [Code::TooLarge]);
}

#[test]
fn a_file_that_cannot_be_read_rejects_the_set() {
    let lost = SourceFile { name: "b.toml".into(), content: Err("permission denied".into()) };
    let parsed = parse(&[SourceFile::new("a.toml", HEAD), lost], &BTreeMap::new());
    assert!(parsed.set.is_none());
    let [only] = &parsed.diagnostics[..] else { panic!("{:#?}", parsed.diagnostics) };
    assert_eq!((only.code, only.file.as_str()), (Code::Unreadable, "b.toml"));
    assert!(only.message.contains("permission denied"), "{only}");
}

#[test]
fn bytes_that_are_no_text_reject_the_set() {
    let bytes = SourceFile { name: "a.toml".into(), content: Ok(vec![b'#', 0xff, 0xfe]) };
    assert_eq!(codes(&parse(&[bytes], &BTreeMap::new())), [Code::TomlSyntax]);
}

const FIVE: &str = "schema = 1
colour = \"red\"
[policy]
id = \"sample\"
version = 1
[link]
to = \"ou:Staff\"
[computer.offline-files]
enabled = 1
assigned = ['\\\\srv']
[user.offline-files.background-sync]
interval = \"2h\"
";

#[test]
fn five_defects_are_named_in_one_run() {
    let parsed = parse_one(FIVE);
    let found: Vec<_> = parsed.diagnostics.iter().map(|found| (found.line, found.code)).collect();
    let wanted = [
        (2, Code::UnknownKey),
        (7, Code::BadDn),
        (9, Code::WrongType),
        (10, Code::BadUnc),
        (12, Code::WrongHalf),
    ];
    assert_eq!(found, wanted, "{:#?}", parsed.diagnostics);
}

#[test]
fn defects_of_all_files_are_named_in_one_run() {
    let files = [
        SourceFile::new("b.toml", "schema = 1\n[policy]\nid = \"b\"\nversion = \"1\"\n"),
        SourceFile::new("a.toml", "schema = 1\n[policy]\nid = \"a\"\nversion = true\n"),
        SourceFile::new(DOMAIN_FILE, "schema = 1\nblock-inheritance = [\"Staff\"]\n"),
    ];
    let parsed = parse(&files, &BTreeMap::new());
    let names: Vec<&str> = parsed.diagnostics.iter().map(|found| found.file.as_str()).collect();
    assert_eq!(names, [DOMAIN_FILE, "a.toml", "b.toml"]);
    assert!(parsed.set.is_none());
}

#[test]
fn values_at_the_edge_of_sense() {
    let offline = "computer.offline-files";
    let documents = "user.folder-redirection.documents";
    let desktop = "user.folder-redirection.desktop";
    let blockout = |duration: &str| {
        let key = format!("{offline}.background-sync.blockout");
        format!("{key} = {{ start = '08:00', duration = '{duration}' }}\n")
    };
    let rule = |latency: &str| {
        format!("{offline}.slow-link.rule = [{{ path = '*', latency = '{latency}' }}]\n")
    };
    let home = |folder: &str| {
        format!("{folder}.setting = 'basic'\n{folder}.target = {{ kind = 'home-directory' }}\n")
    };
    let row = "[{ group = 'Staff', target = { kind = 'home-directory' } }]";
    for (text, wanted) in [
        (format!("{offline}.bandwidth = '0bit/s'\n"), vec![Code::OutOfRange]),
        (format!("{offline}.bandwidth = '1bit/s'\n"), vec![]),
        (blockout("10ms"), vec![Code::OutOfRange]),
        (blockout("1m"), vec![]),
        (blockout("24h"), vec![]),
        (blockout("25h"), vec![Code::OutOfRange]),
        (rule("0s"), vec![Code::OutOfRange]),
        (rule("1ms"), vec![]),
        ("computer.offline-files = 5\n".to_owned(), vec![Code::WrongType]),
        ("user.folder-redirection.documents = true\n".to_owned(), vec![Code::WrongType]),
        (home(documents), vec![]),
        (home(desktop), vec![Code::UnknownValue]),
        (
            format!("{desktop}.setting = 'advanced'\n{desktop}.group = {row}\n"),
            vec![Code::UnknownValue],
        ),
        (
            format!("{offline}.assigned = ['\\\\srv\\a. ', '\\\\srv\\b.\\c']\n"),
            vec![Code::BadUnc, Code::BadUnc],
        ),
    ] {
        let head = "schema = 1\npolicy = { id = \"a\", version = 1 }\n";
        assert_eq!(codes(&parse_one(&format!("{head}{text}"))), wanted, "{text}");
    }
}

#[test]
fn a_bad_head_hides_no_other_defect() {
    let rest = "[computer.offline-files]\nenabled = 1\n";
    let unnamed = "schema = 1\n";
    for (head, code) in [
        (HEAD.replace("sample", "A B"), Code::UnknownValue),
        (HEAD.replace("\"sample\"", "7"), Code::WrongType),
        (HEAD.replace("schema = 1", "schema = '1'"), Code::WrongType),
        (HEAD.replace("schema = 1", "schema = 0"), Code::OutOfRange),
        (unnamed.to_owned(), Code::MissingKey),
        ("schema = 1\npolicy = 7\n".to_owned(), Code::WrongType),
    ] {
        let parsed = parse_one(&format!("{head}{rest}"));
        assert_eq!(codes(&parsed), [code, Code::WrongType], "{head}");
    }
}

#[test]
fn two_files_without_a_good_id_are_no_duplicates() {
    let text = HEAD.replace("sample", "A B");
    let files = ["a.toml", "b.toml"].map(|name| SourceFile::new(name, text.as_str()));
    let parsed = parse(&files, &BTreeMap::new());
    assert_eq!(codes(&parsed), [Code::UnknownValue, Code::UnknownValue]);
}

#[test]
fn an_unknown_key_in_a_row_of_a_newer_schema_is_a_warning() {
    let head = HEAD.replace("schema = 1", "schema = 2\nmin-schema = 1");
    let row = "{ path = '*', latency = '2ms', jitter = '1ms' }";
    let text = format!("{head}[computer.offline-files]\nslow-link.rule = [{row}]\n");
    let parsed = parse_one(&text);
    let [only] = &parsed.diagnostics[..] else { panic!("{:#?}", parsed.diagnostics) };
    assert_eq!((only.code, only.severity), (Code::UnknownKey, Severity::Warning));
    let set = parsed.set.expect("warnings do not reject");
    assert_eq!(set.objects[0].computer[0].values.len(), 1);
}

#[test]
fn an_unknown_key_of_a_newer_schema_is_a_warning() {
    let text = "schema = 2\nmin-schema = 1\ncolour = 1\n[policy]\nid = \"sample\"\nversion = 1\n";
    let parsed = parse_one(text);
    let [only] = &parsed.diagnostics[..] else { panic!("{:#?}", parsed.diagnostics) };
    assert_eq!((only.code, only.severity), (Code::UnknownKey, Severity::Warning));
    assert_eq!(parsed.set.expect("warnings do not reject").objects.len(), 1);
}

#[test]
fn an_unknown_setting_of_a_newer_schema_is_a_warning() {
    for below in ["[computer.offline-files]\ncolour = 1\n", "[user.printing]\nduplex = true\n"] {
        let head = HEAD.replace("schema = 1", "schema = 2\nmin-schema = 1");
        let parsed = parse_one(&format!("{head}{below}"));
        assert_eq!(codes(&parsed), [Code::UnknownKey]);
        assert!(parsed.set.is_some(), "{:#?}", parsed.diagnostics);
    }
}

#[test]
fn a_newer_schema_that_needs_a_newer_agent_is_an_error() {
    for head in ["schema = 2\n", "schema = 3\nmin-schema = 2\n"] {
        let parsed = parse_one(&HEAD.replace("schema = 1\n", head));
        assert_eq!((codes(&parsed), parsed.set.is_none()), (vec![Code::NewerSchema], true));
    }
}

#[test]
fn a_flood_of_warnings_hides_no_error() {
    let keys: String = (0..300).map(|n| format!("new-{n} = 1\n")).collect();
    let head = HEAD.replace("schema = 1\n", &format!("schema = 2\nmin-schema = 1\n{keys}"));
    let parsed = parse_one(&format!("{head}[link]\norder = 0\n"));
    assert!(parsed.set.is_none());
    assert!(codes(&parsed).contains(&Code::OutOfRange), "{}", parsed.diagnostics.len());
}

#[test]
fn a_flood_of_warnings_in_one_file_hides_no_error_of_another() {
    let keys: String = (0..300).map(|n| format!("new-{n} = 1\n")).collect();
    let head = HEAD.replace("schema = 1\n", &format!("schema = 2\nmin-schema = 1\n{keys}"));
    let other = "schema = 1\n[policy]\nid = \"z\"\nversion = 1\n[link]\norder = 0\n";
    let files = [SourceFile::new("a.toml", head), SourceFile::new("z.toml", other)];
    let parsed = parse(&files, &BTreeMap::new());
    assert!(parsed.set.is_none());
    assert!(codes(&parsed).contains(&Code::OutOfRange), "{}", parsed.diagnostics.len());
}

#[test]
fn versions_may_stay_or_rise() {
    for (version, code) in [(4, vec![Code::LowerVersion]), (5, vec![]), (6, vec![])] {
        let text = HEAD.replace("version = 1", &format!("version = {version}"));
        let applied = BTreeMap::from([("sample".to_owned(), 5)]);
        let parsed = parse(&[SourceFile::new("sample.toml", text)], &applied);
        assert_eq!(codes(&parsed), code, "{version}");
    }
}

#[test]
fn the_place_of_a_lower_version_is_its_key() {
    let text =
        "schema = 1\n[policy]\ndescription = \"version of the idle\"\nid = \"a\"\nversion = 1\n";
    let applied = BTreeMap::from([("a".to_owned(), 5)]);
    let parsed = parse(&[SourceFile::new("a.toml", text)], &applied);
    assert_eq!((codes(&parsed), parsed.diagnostics[0].line), (vec![Code::LowerVersion], 5));
}

#[test]
fn the_place_of_a_duplicate_id_is_its_key() {
    let text = "schema = 1\n# what we did\n[policy]\nid = \"a\"\nversion = 1\n";
    let files = [SourceFile::new("a.toml", text), SourceFile::new("b.toml", text)];
    let parsed = parse(&files, &BTreeMap::new());
    assert_eq!((codes(&parsed), parsed.diagnostics[0].line), (vec![Code::DuplicateId], 4));
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_change_nothing() {
    let plain = format!("{HEAD}[link]\nto = \"local\"\n");
    let dos = format!("\u{feff}{}", plain.replace('\n', "\r\n"));
    assert_eq!(good(&dos), good(&plain));
}

#[test]
fn places_are_right_after_a_byte_order_mark_and_windows_line_ends() {
    let parsed = parse_one(&format!("\u{feff}{}", FIVE.replace('\n', "\r\n")));
    let lines: Vec<u32> = parsed.diagnostics.iter().map(|found| found.line).collect();
    assert_eq!(lines, [2, 7, 9, 10, 12]);
}

#[test]
fn rendering_marks_the_source_after_a_byte_order_mark() {
    let file = SourceFile::new("a.toml", format!("\u{feff}{}", FIVE.replace("red", "röd")));
    let parsed = parse(std::slice::from_ref(&file), &BTreeMap::new());
    let shown = render(&parsed.diagnostics, |_| file.text(), false);
    let line = shown.lines().position(|line| line.contains("colour =")).expect("the line");
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[line + 1].find('^'), lines[line].find("colour"), "{shown}");
}

#[test]
fn rendering_shows_each_line_with_its_code_and_hint() {
    let parsed = parse_one(FIVE);
    let shown = render(&parsed.diagnostics, |_| Some(FIVE), false);
    for found in &parsed.diagnostics {
        let line = FIVE.lines().nth(found.line as usize - 1).unwrap_or_default();
        for part in [line, found.code.name(), &found.hint, &found.message] {
            assert!(shown.contains(part), "{part:?} is missing in {shown}");
        }
    }
}

#[test]
fn what_is_absent_has_the_defaults_of_the_format() {
    let set = good(HEAD);
    let object = &set.objects[0];
    assert_eq!((&object.link.to, object.link.order), (&LinkTo::Domain, 1));
    assert!(!object.link.enforced && object.filter.groups.is_none());
}

#[test]
fn the_domain_file_names_blocking_and_loopback() {
    let text = "schema = 1\nblock-inheritance = [\"OU=K,DC=corp\"]\n\
        [ou.\"OU=K,DC=corp\"]\nloopback = { mode = \"replace\" }\n";
    let parsed = parse(&[SourceFile::new(DOMAIN_FILE, text)], &BTreeMap::new());
    let domain = parsed.set.expect("a good file").domain;
    assert_eq!(domain.block_inheritance.len(), 1);
    assert_eq!(domain.loopback[0].1, Loopback::Replace);
}

#[test]
fn the_domain_file_has_its_defects_named() {
    for (body, code) in [
        ("block-inheritance = \"OU=K\"\n", Code::WrongType),
        ("block-inheritance = [\"Kiosks\"]\n", Code::BadDn),
        ("inheritance = []\n", Code::UnknownKey),
        ("[ou.\"OU=K\".loopback]\nmode = \"on\"\n", Code::UnknownValue),
        ("[ou.Kiosks.loopback]\nmode = \"merge\"\n", Code::BadDn),
        ("[ou.\"OU=K\".loopback]\n", Code::MissingKey),
    ] {
        let file = SourceFile::new(DOMAIN_FILE, format!("schema = 1\n{body}"));
        let parsed = parse(&[file], &BTreeMap::new());
        assert_eq!((codes(&parsed), parsed.set.is_none()), (vec![code], true), "{body}");
    }
}

#[test]
fn every_setting_is_refused_in_the_other_half() {
    for slot in Slot::all() {
        for half in [Half::Computer, Half::User] {
            if !slot.setting().halves.allows(half) {
                let text = format!(
                    "schema = 1\npolicy = {{ id = \"a\", version = 1 }}\n{}.{} = true\n",
                    half.name(),
                    slot.key()
                );
                assert_eq!(codes(&parse_one(&text)), [Code::WrongHalf], "{}", slot.key());
            }
        }
    }
}

#[test]
fn the_json_schema_has_every_setting_at_its_place() {
    let schema = json_schema();
    for slot in Slot::all() {
        for half in [Half::Computer, Half::User] {
            let key = format!("{}.{}", half.name(), slot.key());
            let pointer = format!("/properties/{}", key.replace('.', "/properties/"));
            let found = schema.pointer(&pointer).is_some();
            assert_eq!(found, slot.setting().halves.allows(half), "{key}");
        }
    }
}

#[test]
fn the_json_schema_is_json_and_names_its_dialect() {
    let text = json_schema().to_string();
    let again: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert!(again["$schema"].as_str().is_some_and(|name| name.contains("2020-12")));
}

#[test]
fn a_path_in_double_quotes_is_told_to_take_single_ones() {
    let text = format!("{HEAD}[computer.offline-files]\nassigned = [\"\\srv\\share\"]\n");
    let parsed = parse_one(&text);
    assert_eq!(codes(&parsed), [Code::TomlSyntax, Code::TomlSyntax]); // one for each backslash
    assert!(parsed.diagnostics[0].hint.contains("single quotes"), "{:#?}", parsed.diagnostics);
}

#[test]
fn numbers_may_be_written_in_every_way_of_toml() {
    for (number, value) in [("1_000", 1_000), ("0x10", 16), ("0b11", 3), ("+5", 5)] {
        let text = HEAD.replace("version = 1", &format!("version = {number}"));
        assert_eq!(good(&text).objects[0].version, value, "{number}");
    }
}

/// A good file with many kinds of values, to damage.
const RICH: &str = r#"schema = 1
policy = { id = "rich", version = 1, description = "möbel" }
link = { to = "ou:OU=Staff,DC=corp", order = 3, enforced = true }
filter = { groups = ['CORP\Staff'], computers = ["LT-*"], operating-systems = ["linux"] }
[computer.offline-files]
assigned = ['\\srv\share']
cache.limit = "25%"
brake = { max-deletes = 1_000, max-delete-percent = "50%" }
background-sync.schedule = "0 */2 * * 1-5"
background-sync.blockout = { start = "08:30", duration = "2h" }
slow-link.rule = [{ path = '\\srv\*', latency = "35ms", throughput = "1Mbit/s" }]
[[computer.primary-computers.assign]]
user = "alice"
computers = ["LT-*", "PC-[0-9]"]
[user.folder-redirection.documents]
setting = "advanced"
group = [{ group = 'Staff', target = { kind = "path", path = '\\srv\%AD:department%\x' } }]
"#;

#[test]
fn the_file_to_damage_is_good() {
    assert_eq!(good(RICH).objects.len(), 1);
}

fn check_any(name: &str, bytes: Vec<u8>) {
    let file = SourceFile { name: name.to_owned(), content: Ok(bytes) };
    let parsed = parse(std::slice::from_ref(&file), &BTreeMap::new());
    let rejected = parsed.diagnostics.iter().any(|found| found.severity == Severity::Error);
    assert_eq!(parsed.set.is_none(), rejected);
    let _ = render(&parsed.diagnostics, |_| file.text(), false);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_text_is_read_without_a_crash(text in "\\PC{0,200}", domain in any::<bool>()) {
        check_any(if domain { DOMAIN_FILE } else { "a.toml" }, text.into_bytes());
    }

    #[test]
    fn any_bytes_are_read_without_a_crash(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check_any("a.toml", bytes);
    }

    #[test]
    fn a_damaged_file_is_read_without_a_crash(
        at in any::<prop::sample::Index>(),
        cut in 0_usize..20,
        put in "[\\[\\]{}='\"\\\\,.%*\u{feff}é0-9a-z\n ]{0,6}",
    ) {
        let chars: Vec<char> = RICH.chars().collect();
        let at = at.index(chars.len());
        let damaged: String = chars[..at]
            .iter()
            .copied()
            .chain(put.chars())
            .chain(chars[(at + cut).min(chars.len())..].iter().copied())
            .collect();
        check_any("a.toml", damaged.into_bytes());
    }
}
