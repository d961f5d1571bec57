//! Which names a side can hold, and which it cannot tell apart.
#![allow(clippy::unwrap_used, reason = "tests")]

use homeport_sync::names::{NameFault, Rules, Twins, collisions, fold, judge, judge_path};
use proptest::prelude::*;

/// A file system that knows neither case nor how an accent is stored.
const BLIND: Rules = Rules { ignores_case: true, normalises: true, ..Rules::POSIX };
/// A file system that tells cases apart, and not how an accent is stored.
const NORMALISING: Rules = Rules { normalises: true, ..Rules::POSIX };

const ALL: [Rules; 4] = [Rules::POSIX, Rules::WINDOWS, NORMALISING, BLIND];

fn fault(name: &str, rules: &Rules) -> String {
    judge(name, rules).unwrap_err().to_string()
}

#[test]
fn names_that_both_hold() {
    for name in [
        "a",
        "plan.txt",
        ".profile",
        "..a",
        "a b",
        " a",
        "Ünï",
        "文书",
        "COM",
        "COM0",
        "COM10",
        "LPTX",
        "CONSOLE",
        "CON1",
        "AUX-1",
        "NULL.txt",
        "a.CON",
        "CONIN",
        "COM⁴",
        "~$plan.docx",
        "\u{7F}",
        "\u{85}",
        "{}[]()!@#%&'+,;=^`~-_$",
    ] {
        for rules in ALL {
            assert_eq!(judge(name, &rules), Ok(()), "{name}");
        }
    }
}

#[test]
fn names_that_windows_cannot_hold() {
    for (name, says) in [
        ("CON", "Windows keeps CON for a device"),
        ("con", "keeps CON for"),
        ("Prn.txt", "keeps PRN for"),
        ("AUX.tar.gz", "keeps AUX for"),
        ("nul ", "keeps NUL for"),
        ("NUL .txt", "keeps NUL for"),
        ("NUL.", "keeps NUL for"),
        ("COM1", "keeps COM1 for"),
        ("com9.log", "keeps COM9 for"),
        ("LPT¹", "keeps LPT¹ for"),
        ("com².x", "keeps COM² for"),
        ("COM³", "keeps COM³ for"),
        ("CONIN$", "keeps CONIN$ for"),
        ("conout$.x", "keeps CONOUT$ for"),
        ("a<", "< at character 2 cannot stand in a name"),
        ("a>b", "> at character 2"),
        ("é:b", ": at character 2"),
        ("\"b\"", "\" at character 1"),
        ("a|", "| at character 2"),
        ("a?", "? at character 2"),
        ("*", "* at character 1"),
        ("a\\b", "\\ at character 2"),
        ("a\u{1}", "the control character U+0001 at character 2"),
        ("a\n", "the control character U+000A at character 2"),
        ("\u{1F}", "the control character U+001F at character 1"),
        ("a.", "the name ends with a dot, which Windows drops"),
        ("a ", "the name ends with a space, which Windows drops"),
        ("...", "the name ends with a dot"),
        (" ", "the name ends with a space"),
    ] {
        let message = fault(name, &Rules::WINDOWS);
        assert!(message.contains(says), "{name:?}: {message}");
        assert_eq!(judge(name, &Rules::POSIX), Ok(()), "{name:?}");
    }
}

#[test]
fn names_that_nobody_can_hold() {
    for (name, says) in [
        ("", "the name is empty"),
        (".", ". means a folder and is no name"),
        ("..", ".. means a folder and is no name"),
        ("a/b", "/ at character 2 cannot stand in a name"),
        ("a\0", "the control character U+0000 at character 2 cannot stand in a name"),
    ] {
        for rules in ALL {
            assert_eq!(fault(name, &rules), says, "{name:?}");
        }
    }
}

#[test]
fn lengths() {
    let (ascii, umlauts, wide) = ("a".repeat(256), "ü".repeat(128), "😀".repeat(128));
    for (name, rules, says) in [
        (&ascii, Rules::POSIX, Some("the name has 256 bytes, and 255 is the most")),
        (&ascii, Rules::WINDOWS, Some("the name has 256 UTF-16 units, and 255 is the most")),
        (&umlauts, Rules::POSIX, Some("the name has 256 bytes, and 255 is the most")),
        (&umlauts, Rules::WINDOWS, None),
        (&wide, Rules::WINDOWS, Some("the name has 256 UTF-16 units, and 255 is the most")),
    ] {
        assert_eq!(judge(name, &rules).err().map(|fault| fault.to_string()).as_deref(), says);
    }
    assert_eq!(judge(&ascii[1..], &Rules::POSIX), Ok(()));
    assert_eq!(judge(&ascii[1..], &Rules::WINDOWS), Ok(()));
}

#[test]
fn paths() {
    let short = Rules { path_max_utf16: Some(10), ..Rules::WINDOWS };
    assert_eq!(judge_path("ab/cd", 4, &short), Ok(()));
    let fault = judge_path("ab/cd", 5, &short).unwrap_err();
    assert_eq!(fault.to_string(), "the path has 11 UTF-16 units, and 10 is the most");
    assert_eq!(judge_path("ab/cd", usize::MAX, &Rules::POSIX), Ok(()));
    assert_eq!(judge_path("ab//cd", 0, &short), Err(NameFault::Empty));
    assert_eq!(judge_path("ab/../cd", 0, &short), judge("..", &short));
    assert_eq!(judge_path("ab/nul/cd", 0, &short), judge("nul", &short));
    assert!(judge_path("ab/cd", usize::MAX, &short).is_err());
}

#[test]
fn every_fault_has_a_hint() {
    for name in ["", ".", "a:", "CON", "a.", &"a".repeat(300)] {
        assert!(!judge(name, &Rules::WINDOWS).unwrap_err().hint().is_empty());
    }
}

/// What is found among names, as text.
fn found(names: &[&str], rules: &Rules) -> Vec<String> {
    let show = |twins: &Twins<'_>| format!("{} <- {}", twins.winner, twins.others.join(", "));
    collisions(names.iter().copied(), rules).iter().map(show).collect()
}

#[test]
fn twins_of_one_folder() {
    let none: &[&str] = &[];
    for (names, posix, windows, normalising, blind) in [
        (&["a", "A", "b"][..], none, &["A <- a"][..], none, &["A <- a"][..]),
        (&["a", "a"], none, none, none, none),
        (&["é", "e\u{301}"], none, none, &["e\u{301} <- é"], &["e\u{301} <- é"]),
        (&["É", "e\u{301}"], none, none, none, &["e\u{301} <- É"]),
        (&["É", "é"], none, &["É <- é"], none, &["É <- é"]),
        (&["ß", "SS", "ẞ"], none, none, none, none),
        (&["ǆ", "Ǆ", "ǅ"], none, &["Ǆ <- ǅ, ǆ"], none, &["Ǆ <- ǅ, ǆ"]),
        (&["ᾳ", "ᾼ"], none, &["ᾳ <- ᾼ"], none, &["ᾳ <- ᾼ"]),
        (&["σ", "ς", "Σ"], none, &["Σ <- ς, σ"], none, &["Σ <- ς, σ"]),
        (&["ı", "I", "ſ", "S", "İ"], none, none, none, none),
        (&["𐐨", "𐐀"], none, none, none, none),
        (&["x", "b", "X", "B", "xx"], none, &["B <- b", "X <- x"], none, &["B <- b", "X <- x"]),
    ] {
        assert_eq!(found(names, &Rules::POSIX), posix, "{names:?}");
        assert_eq!(found(names, &Rules::WINDOWS), windows, "{names:?}");
        assert_eq!(found(names, &NORMALISING), normalising, "{names:?}");
        assert_eq!(found(names, &BLIND), blind, "{names:?}");
    }
}

#[test]
fn every_character_is_folded_for_good() {
    for character in '\0'..='\u{1FFFF}' {
        let name = character.to_string();
        for rules in ALL {
            let once = fold(&name, &rules);
            assert_eq!(fold(&once, &rules), once, "{character:?}");
        }
        let folded = fold(&name, &Rules::WINDOWS);
        assert_eq!(folded.encode_utf16().count(), name.encode_utf16().count(), "{character:?}");
    }
}

#[test]
fn the_others_are_told_why() {
    for (names, says) in [
        (["Plan", "plan"], "Plan in the same folder differs only in capital and small letters"),
        (
            ["\u{e9}", "e\u{301}"],
            "e\u{301} in the same folder differs only in how its accents are stored",
        ),
        (
            ["\u{c9}", "e\u{301}"],
            "e\u{301} in the same folder differs only in capital and small letters and in stored \
             accents",
        ),
    ] {
        let twins = collisions(names.into_iter(), &BLIND).remove(0);
        let (other, fault) = twins.faults().next().unwrap();
        assert_eq!(fault.to_string(), says);
        assert_ne!(other, twins.winner);
        assert!(fault.hint().starts_with("rename one of the two"));
    }
}

/// Names of a few letters that are often twins.
fn names() -> impl Strategy<Value = Vec<String>> {
    let letter = prop::sample::select(vec!["a", "A", "é", "É", "e", "\u{301}", "ß", "ǆ", "ᾳ", "ᾼ"]);
    let name = prop::collection::vec(letter, 1..4).prop_map(|letters| letters.concat());
    prop::collection::vec(name, 0..12)
}

fn rules() -> impl Strategy<Value = Rules> {
    prop::sample::select(ALL.to_vec())
}

fn strs(names: &[String]) -> impl Iterator<Item = &str> {
    names.iter().map(String::as_str)
}

proptest! {
    #[test]
    fn judging_takes_any_text_and_counts_places_right(name in ".{0,12}", rules in rules()) {
        match judge(&name, &rules) {
            Err(NameFault::Character { character, at }) => {
                prop_assert_eq!(name.chars().nth(at - 1), Some(character));
            }
            Err(fault) => prop_assert!(!fault.to_string().is_empty()),
            Ok(()) => prop_assert!(!name.is_empty()),
        }
    }

    #[test]
    fn case_never_makes_a_name_good_or_bad(name in "[a-zA-Z1-9.$ :]{1,8}") {
        let verdict = judge(&name, &Rules::WINDOWS);
        prop_assert_eq!(judge(&name.to_ascii_lowercase(), &Rules::WINDOWS), verdict.clone());
        prop_assert_eq!(judge(&name.to_ascii_uppercase(), &Rules::WINDOWS), verdict);
    }

    #[test]
    fn what_windows_holds_linux_holds_as_well(name in ".{1,12}") {
        if judge(&name, &Rules::WINDOWS).is_ok() {
            prop_assert_eq!(judge(&name, &Rules::POSIX), Ok(()));
        }
    }

    #[test]
    fn a_harmless_letter_in_front_does_not_harm(name in "[a-zA-Z0-9.:<é ]{1,8}") {
        let before = judge(&name, &Rules::WINDOWS);
        let after = judge(&format!("_{name}"), &Rules::WINDOWS);
        let was_device = matches!(before, Err(NameFault::Device { .. } | NameFault::Dots { .. }));
        prop_assert!(was_device || before.is_ok() == after.is_ok());
        let is_device = matches!(after, Err(NameFault::Device { .. }));
        prop_assert!(!is_device);
    }

    #[test]
    fn a_path_is_as_good_as_its_names(names in prop::collection::vec("[a-c.: ]{1,4}", 1..4)) {
        let path = names.join("/");
        let first = names.iter().find_map(|name| judge(name, &Rules::WINDOWS).err());
        prop_assert_eq!(judge_path(&path, 0, &Rules::WINDOWS).err(), first);
    }

    #[test]
    fn nobody_is_a_twin_under_the_rules_of_linux(names in names()) {
        prop_assert!(collisions(strs(&names), &Rules::POSIX).is_empty());
    }

    #[test]
    fn order_does_not_matter(names in names(), rules in rules()) {
        let forward = collisions(strs(&names), &rules);
        let mut reversed = names.clone();
        reversed.reverse();
        prop_assert_eq!(&collisions(strs(&reversed), &rules), &forward);
        let mut sorted = names.clone();
        sorted.sort();
        sorted.dedup();
        prop_assert_eq!(&collisions(strs(&sorted), &rules), &forward);
    }

    #[test]
    fn being_twins_is_mutual_and_the_first_wins(names in names(), rules in rules()) {
        let groups = collisions(strs(&names), &rules);
        let in_one_group = |a: &str, b: &str| groups.iter().any(|twins| {
            let holds = |name| twins.winner == name || twins.others.contains(&name);
            holds(a) && holds(b)
        });
        for a in &names {
            for b in &names {
                let together = in_one_group(a, b);
                prop_assert_eq!(together, in_one_group(b, a));
                if a != b {
                    prop_assert_eq!(together, fold(a, &rules) == fold(b, &rules));
                    let pair = collisions([a.as_str(), b.as_str()].into_iter(), &rules);
                    prop_assert_eq!(!pair.is_empty(), together, "two are judged as among many");
                }
            }
        }
        for twins in &groups {
            prop_assert!(twins.others.iter().all(|other| *other > twins.winner));
            prop_assert_eq!(twins.faults().count(), twins.others.len());
        }
    }

    #[test]
    fn folding_twice_is_folding_once(name in "\\PC{0,8}", rules in rules()) {
        let once = fold(&name, &rules);
        prop_assert_eq!(fold(&once, &rules), once);
    }
}

/// The names here and there, those both agreed on, which side ignores case, and what is left alone.
#[test]
fn twins_that_a_side_cannot_hold_are_left_alone() {
    let share = [false, true];
    type Case = (&'static [&'static str], &'static [&'static str], &'static [&'static str]);
    let cases: &[(Case, [bool; 2], &[&str])] = &[
        ((&["a", "A"], &[], &[]), [false, false], &[]),
        ((&["a", "A"], &[], &[]), share, &["a"]),
        ((&["a", "A"], &["a"], &["a"]), share, &["A"]),
        ((&["aB", "Ab"], &["AB"], &[]), share, &["Ab", "aB"]),
        ((&["a"], &["A"], &[]), share, &["a"]),
        // A change of case, of either side.
        ((&["a"], &["A"], &["A"]), share, &[]),
        ((&["a"], &["A"], &["a"]), share, &[]),
        ((&["a"], &["a"], &[]), share, &[]),
        ((&["a"], &["b"], &[]), share, &[]),
        ((&[], &["x", "X"], &["x"]), [true, false], &["x"]),
    ];
    for ((here, there, known), ignores, expected) in cases {
        let list = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
        let known = known.iter().map(|name| name.to_string()).collect();
        let found = homeport_sync::names::twins(&[list(here), list(there)], &known, *ignores);
        assert_eq!(found.iter().collect::<Vec<_>>(), *expected, "{here:?} {there:?} {known:?}");
    }
}
