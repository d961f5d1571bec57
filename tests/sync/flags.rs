//! The control word: names, numbers, what implies what, and every way to get it wrong.
#![allow(clippy::unwrap_used, reason = "tests")]

use homeport_sync::Resolve;
use homeport_sync::flags::{FLAGS, FlagError, Flags, KeepRule, Note, bits};
use proptest::prelude::*;

fn read(text: &str) -> Result<Flags, FlagError> {
    text.parse()
}

fn error(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

#[test]
fn the_table_is_in_order_and_complete() {
    assert!(FLAGS.windows(2).all(|pair| pair[0].value < pair[1].value));
    for flag in &FLAGS {
        assert!(flag.meaning.ends_with('.') && flag.effect.ends_with('.'), "{}", flag.name);
        assert_eq!(read(flag.name).unwrap().bits(), flag.value, "{}", flag.name);
        assert_eq!(Flags::from_bits(flag.value).unwrap().to_string(), flag.name);
    }
}

#[test]
fn the_documented_numbers() {
    for (name, value) in [
        ("FillSparse", 0x1),
        ("SyncIn", 0x2),
        ("SyncOut", 0x4),
        ("PinNewFiles", 0x8),
        ("PinLinkTargets", 0x10),
        ("PinForUser", 0x20),
        ("PinForUser_Policy", 0x40),
        ("PinForAll", 0x80),
        ("PinForRedir", 0x100),
        ("LowPriority", 0x200),
        ("AsyncProgress", 0x400),
        ("Interactive", 0x800),
        ("Console", 0x1000),
        ("SkipSuspendedDirs", 0x2000),
        ("Background", 0x1_0000),
        ("NoNewFilesOut", 0x2_0000),
        ("KeepLocal", 0x1000_0000),
        ("KeepRemote", 0x2000_0000),
        ("KeepLatest", 0x3000_0000),
    ] {
        assert_eq!(read(name).unwrap().bits(), value, "{name}");
    }
}

#[test]
fn names_and_numbers_in_every_form() {
    for (text, number) in [
        ("6", 6),
        ("0x6", 6),
        ("0X2000F", 0x2_000F),
        ("SyncIn", 2),
        ("sync-in", 2),
        ("sync_in", 2),
        ("SYNCIN", 2),
        ("OfflineFilesSyncControlFlagSyncIn", 2),
        ("OFFLINEFILES_SYNC_CONTROL_FLAG_SYNCIN", 2),
        ("OFFLINEFILES_SYNC_CONTROL_PINLINKTARGETS", 0x10),
        ("OfflineFilesSyncControlFlagPinForUser_Policy", 0x40),
        ("OfflineFilesSyncControlCrKeepLatest", 0x3000_0000),
        ("pin-for-user-policy", 0x40),
        ("SyncIn,SyncOut", 6),
        (" sync-in | sync-out + keep-remote ", 0x2000_0006),
        ("SyncIn,0x4,8", 0xE),
        ("KeepLocal,KeepLocal,SyncIn,2", 0x1000_0002),
        ("0x0", 0),
    ] {
        assert_eq!(read(text).map(Flags::bits), Ok(number), "{text}");
    }
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    for (text, says) in [
        ("", "a flag is missing at character 1; write a name such as SyncIn, or a number"),
        ("SyncIn,,SyncOut", "a flag is missing at character 8"),
        ("SyncIn|", "a flag is missing at character 8"),
        ("SyncIn, SynkOut", "SynkOut at character 9 is no flag; did you mean SyncOut?"),
        ("pin-new-file", "did you mean PinNewFiles?"),
        ("keeplates", "did you mean KeepLatest?"),
        ("keep-both", "has no rule that keeps both"),
        ("nonsense", "there are FillSparse, SyncIn, SyncOut"),
        ("é|è", "é at character 1 is no flag"),
        ("0x", "0x at character 1 is no number"),
        ("0x+4", "0x at character 1 is no number"),
        ("6x", "6x at character 1 is no number"),
        ("SyncIn,4294967296", "4294967296 at character 8 is no number of 32 bits"),
        ("-6", "-6 at character 1 is no flag"),
        (
            "0x4006",
            "no flag has the bits 0x4000; without them 0x6 is left, which is SyncIn+SyncOut",
        ),
        ("0x4CC000", "no flag has the bits 0x4CC000; without them 0x0 is left"),
        ("0x40000002", "4 in the top four bits is no rule; 1 KeepLocal, 2 KeepRemote"),
        ("0xF0000002", "15 in the top four bits is no rule"),
        ("KeepLocal+KeepRemote", "KeepLocal and KeepRemote exclude each other"),
        ("KeepLocal+KeepLatest", "KeepLocal and KeepLatest exclude each other"),
        ("0x20000002,KeepLocal", "KeepRemote and KeepLocal exclude each other"),
    ] {
        let message = error(text);
        assert!(message.contains(says), "{text}: {message}");
    }
}

#[test]
fn two_rules_do_not_become_a_third() {
    let [local, remote] = ["KeepLocal", "KeepRemote"].map(|name| read(name).unwrap());
    let latest = Flags::from_bits(local.bits() | remote.bits()).unwrap();
    assert_eq!(latest.conflicts(), Some(KeepRule::KeepLatest), "the number means this");
    assert!(matches!(local.and(remote), Err(FlagError::TwoRules { .. })));
    assert_eq!(local.and(local), Ok(local));
}

#[test]
fn rules_for_conflicts() {
    for (text, rule) in [
        ("SyncIn", None),
        ("KeepLocal", Some((KeepRule::KeepLocal, Resolve::KeepLocal))),
        ("KeepRemote", Some((KeepRule::KeepRemote, Resolve::KeepRemote))),
        ("KeepLatest", Some((KeepRule::KeepLatest, Resolve::KeepLatest))),
    ] {
        let found = read(text).unwrap().conflicts();
        assert_eq!(found.map(|rule| (rule, rule.resolve())), rule, "{text}");
    }
}

#[test]
fn what_applies_in_the_end_and_why() {
    for (asked, applies, notes) in [
        ("SyncOut", "SyncOut", vec![]),
        ("FillSparse", "FillSparse", vec![]),
        ("SyncIn", "FillSparse+SyncIn", vec!["FillSparse is set, because SyncIn implies it"]),
        ("3+PinNewFiles+PinForAll", "3+PinNewFiles+PinForAll", vec![]),
        (
            "3+PinNewFiles+PinLinkTargets",
            "3+PinNewFiles+PinLinkTargets+PinForUser",
            vec!["PinForUser is set, because PinNewFiles does not say for whom"],
        ),
        (
            "SyncOut+PinNewFiles+PinLinkTargets+PinForRedir",
            "SyncOut",
            vec![
                "PinNewFiles is ignored without SyncIn",
                "PinLinkTargets is ignored without PinNewFiles",
                "PinForRedir is ignored without PinNewFiles",
            ],
        ),
        (
            "3+PinForUser+PinForUser_Policy+PinForAll",
            "3",
            vec![
                "PinForUser is ignored without PinNewFiles",
                "PinForUser_Policy is ignored without PinNewFiles",
                "PinForAll is ignored without PinNewFiles",
            ],
        ),
        ("SyncOut+Console", "SyncOut", vec!["Console is ignored without Interactive"]),
        ("SyncOut+Console+Interactive", "SyncOut+Console+Interactive", vec![]),
        ("FillSparse+NoNewFilesOut", "1", vec!["NoNewFilesOut is ignored without SyncOut"]),
        ("SyncOut+LowPriority", "4", vec!["LowPriority is reserved and has no effect"]),
        ("4+Background+SkipSuspendedDirs+KeepLatest", "0x30012004", vec![]),
    ] {
        let found = read(asked).unwrap().normalised().unwrap();
        assert_eq!(found.flags, read(applies).unwrap(), "{asked}");
        let said: Vec<String> = found.notes.iter().map(Note::to_string).collect();
        assert_eq!(said, notes, "{asked}");
    }
}

#[test]
fn a_run_needs_a_direction() {
    for text in ["0", "PinNewFiles", "KeepLocal+Background"] {
        let error = read(text).unwrap().normalised().unwrap_err();
        assert!(matches!(error, FlagError::NoDirection { .. }), "{text}");
        assert!(error.to_string().ends_with("add SyncIn, SyncOut or FillSparse"), "{error}");
    }
}

#[test]
fn every_flag_answers_its_own_question_only() {
    let questions: [fn(Flags) -> bool; 16] = [
        Flags::fill_sparse,
        Flags::sync_in,
        Flags::sync_out,
        Flags::pin_new_files,
        Flags::pin_link_targets,
        Flags::pin_for_user,
        Flags::pin_for_user_policy,
        Flags::pin_for_all,
        Flags::pin_for_redir,
        Flags::low_priority,
        Flags::async_progress,
        Flags::interactive,
        Flags::console,
        Flags::skip_suspended_dirs,
        Flags::background,
        Flags::no_new_files_out,
    ];
    for (index, flag) in FLAGS.iter().enumerate() {
        let word = Flags::from_bits(flag.value).unwrap();
        for (question, ask) in questions.iter().enumerate() {
            assert_eq!(ask(word), question == index, "{} asked {question}", flag.name);
        }
    }
}

#[test]
fn it_is_shown_and_travels() {
    let flags = read("SyncIn+SyncOut+KeepLatest").unwrap();
    assert_eq!(flags.to_string(), "SyncIn+SyncOut+KeepLatest");
    assert_eq!(format!("{flags:#}"), "SyncIn+SyncOut+KeepLatest (0x30000006)");
    assert_eq!(format!("{flags:#X}"), "0x30000006");
    assert_eq!(Flags::default().to_string(), "0x0");
    assert_eq!(serde_json::to_string(&flags).unwrap(), "805306374");
    assert_eq!(serde_json::from_str::<Flags>("805306374").unwrap(), flags);
    let error = serde_json::from_str::<Flags>("16384").unwrap_err().to_string();
    assert!(error.contains("no flag has the bits 0x4000"), "{error}");
}

/// Every control word there can be.
fn words() -> impl Strategy<Value = Flags> {
    let flags = FLAGS.iter().fold(0, |all, flag| all | flag.value) & !bits::CONFLICT_MASK;
    (any::<u32>(), 0..4_u32)
        .prop_map(move |(word, rule)| Flags::from_bits((word & flags) | (rule << 28)).unwrap())
}

proptest! {
    #[test]
    fn names_and_numbers_lead_back(word in words()) {
        prop_assert_eq!(read(&word.to_string()), Ok(word));
        prop_assert_eq!(read(&format!("{word:#X}")), Ok(word));
        prop_assert_eq!(read(&word.bits().to_string()), Ok(word));
    }

    #[test]
    fn normalising_twice_is_normalising_once(word in words()) {
        if let Ok(once) = word.normalised() {
            let twice = once.flags.normalised().unwrap();
            prop_assert_eq!(twice.flags, once.flags);
            prop_assert!(twice.notes.is_empty());
            prop_assert_eq!(once.notes.is_empty(), once.flags == word);
            prop_assert_eq!(once.flags.conflicts(), word.conflicts());
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
        if let Err(error) = read(&text) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn any_number_is_read_or_refused(number: u32) {
        if let Ok(word) = Flags::from_bits(number) {
            prop_assert_eq!(word.bits(), number);
        }
    }
}
