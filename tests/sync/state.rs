//! The states of Offline Files: one way to reach each, and a state for every combination.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use homeport_sync::state::{
    Here, RESOLUTIONS, Resolution, STATES, Shape, SyncState, There, allows, classify, is_conflict,
};
use homeport_sync::{Kind, Resolve};

use Shape::{Dir, File};
use There::{Changed as Differs, Deleted, Unchanged as Stands};

const SHAPES: [Shape; 2] = [File, Dir];

/// For each state, by number: what was agreed on, what is here, what is there.
#[rustfmt::skip] // one row, one state
const WAYS: [(Option<Shape>, Here, There); 54] = [
    (Some(File), Here::Unchanged(File), Stands(File)),
    (Some(File), Here::Unchanged(File), Differs(Dir)),
    (Some(File), Here::Unchanged(File), There::Absent),
    (Some(Dir), Here::Unchanged(Dir), Stands(File)),
    (Some(Dir), Here::Unchanged(Dir), Differs(File)),
    (Some(Dir), Here::Unchanged(Dir), There::Absent),
    (None, Here::Created(File), There::Absent),
    (None, Here::Created(File), Differs(File)),
    (None, Here::Created(File), Differs(Dir)),
    (None, Here::Created(File), Stands(File)),
    (None, Here::Created(File), Stands(Dir)),
    (None, Here::Created(File), Deleted),
    (Some(File), Here::Changed(File), Differs(File)),
    (Some(File), Here::Changed(File), Stands(Dir)),
    (Some(File), Here::Changed(File), Differs(Dir)),
    (Some(File), Here::Changed(File), Deleted),
    (Some(File), Here::Sparse(File), Differs(File)),
    (Some(File), Here::Sparse(File), Deleted),
    (Some(File), Here::Sparse(File), Stands(Dir)),
    (Some(File), Here::Sparse(File), Differs(Dir)),
    (None, Here::Created(Dir), There::Absent),
    (None, Here::Created(Dir), Stands(Dir)),
    (None, Here::Created(Dir), Stands(File)),
    (None, Here::Created(Dir), Differs(File)),
    (None, Here::Created(Dir), Differs(Dir)),
    (None, Here::Created(Dir), Deleted),
    (Some(Dir), Here::Changed(Dir), Stands(File)),
    (Some(Dir), Here::Changed(Dir), Differs(File)),
    (Some(Dir), Here::Changed(Dir), Differs(Dir)),
    (Some(Dir), Here::Changed(Dir), Deleted),
    (None, Here::Absent, Stands(File)),
    (None, Here::Absent, Stands(Dir)),
    (None, Here::Absent, Differs(File)),
    (None, Here::Absent, Differs(Dir)),
    (Some(File), Here::Absent, Stands(File)),
    (Some(Dir), Here::Absent, Stands(Dir)),
    (Some(File), Here::Absent, Differs(File)),
    (Some(Dir), Here::Absent, Differs(Dir)),
    (Some(File), Here::Sparse(File), Stands(File)),
    (Some(File), Here::Changed(File), Stands(File)),
    (Some(File), Here::Renamed(File), Stands(File)),
    (Some(Dir), Here::Sparse(Dir), Stands(Dir)),
    (Some(Dir), Here::Changed(Dir), Stands(Dir)),
    (Some(Dir), Here::Renamed(Dir), Stands(Dir)),
    (Some(File), Here::Unchanged(File), Differs(File)),
    (Some(File), Here::Unchanged(File), There::Renamed(File)),
    (Some(File), Here::Unchanged(File), Deleted),
    (Some(Dir), Here::Unchanged(Dir), Differs(Dir)),
    (Some(Dir), Here::Unchanged(Dir), There::Renamed(Dir)),
    (Some(Dir), Here::Unchanged(Dir), Deleted),
    (Some(File), Here::Replaced(File), Stands(File)),
    (Some(File), Here::Replaced(Dir), Differs(File)),
    (Some(File), Here::Replaced(File), Stands(Dir)),
    (Some(File), Here::Replaced(Dir), Differs(Dir)),
];

/// Every combination of what can be handed in.
fn combinations() -> Vec<(Option<Shape>, Here, There)> {
    let here = |shape| {
        [
            Here::Sparse(shape),
            Here::Unchanged(shape),
            Here::Changed(shape),
            Here::Created(shape),
            Here::Replaced(shape),
            Here::Renamed(shape),
        ]
    };
    let there = |shape| [There::Unchanged(shape), There::Changed(shape), There::Renamed(shape)];
    let bases = [None, Some(File), Some(Dir)];
    let heres: Vec<Here> = SHAPES.into_iter().flat_map(here).chain([Here::Absent]).collect();
    let theres: Vec<There> =
        SHAPES.into_iter().flat_map(there).chain([There::Absent, There::Deleted]).collect();
    let mut all = Vec::new();
    for base in bases {
        for &here in &heres {
            all.extend(theres.iter().map(|&there| (base, here, there)));
        }
    }
    all
}

#[test]
fn every_state_can_be_reached() {
    for (number, (base, here, there)) in (0..).zip(WAYS) {
        let state = classify(base, here, there);
        assert_eq!(state.number(), number, "{state} from {base:?}, {here:?}, {there:?}");
    }
}

#[test]
fn every_combination_has_one_state_and_all_states_occur() {
    let all = combinations();
    assert_eq!(all.len(), 3 * 13 * 8);
    let found: BTreeSet<_> = all.iter().map(|&(b, h, t)| classify(b, h, t).number()).collect();
    let again: BTreeSet<_> = all.iter().map(|&(b, h, t)| classify(b, h, t).number()).collect();
    assert_eq!(found, (0..54).collect());
    assert_eq!(found, again);
}

/// What a name says of the sides must be true of them.
#[test]
fn no_state_says_what_is_not_so() {
    for (base, here, there) in combinations() {
        let state = classify(base, here, there);
        let name = state.name();
        let context = format!("{state} from {base:?}, {here:?}, {there:?}");
        let gone = matches!(there, There::Absent | There::Deleted | There::Renamed(_));
        if name.ends_with("NoServerCopy") || name.contains("DeletedOnServer") {
            assert!(gone, "{context}");
        }
        if name.ends_with("_FileOnServer") || name.ends_with("_FileChangedOnServer") {
            assert!(matches!(there, Stands(File) | Differs(File)), "{context}");
        }
        if name.ends_with("_DirOnServer") || name.ends_with("_DirChangedOnServer") {
            assert!(matches!(there, Stands(Dir) | Differs(Dir)), "{context}");
        }
        if name.starts_with("NoClientCopy") || name.starts_with("DeletedOnClient") {
            assert!(matches!(here, Here::Absent | Here::Renamed(_)), "{context}");
        }
        if name.contains("SparseOnClient") {
            assert!(matches!(here, Here::Sparse(_)), "{context}");
        }
        if name.contains("RenamedOnClient") {
            assert!(base.is_some() && matches!(here, Here::Renamed(_)), "{context}");
        }
        if name.contains("RenamedOnServer") {
            assert!(matches!(there, There::Renamed(_)), "{context}");
        }
        if name.contains("CreatedOnClient") {
            let is_new = base.is_none() || base == Some(Dir) || gone;
            assert!(is_new && !matches!(here, Here::Absent | Here::Renamed(_)), "{context}");
        }
    }
}

#[test]
fn in_step_means_that_nothing_can_be_lost() {
    for (base, here, there) in combinations() {
        if classify(base, here, there) != SyncState::Stable {
            continue;
        }
        let same = base.is_some_and(|shape| {
            (here, there) == (Here::Unchanged(shape), There::Unchanged(shape))
        });
        let gone = matches!(here, Here::Absent | Here::Renamed(_))
            && matches!(there, There::Absent | There::Deleted | There::Renamed(_));
        assert!(same || gone, "{base:?}, {here:?}, {there:?}");
    }
}

#[test]
fn a_delete_is_plain_only_against_what_was_deleted() {
    for (base, there) in [(File, Dir), (Dir, File)] {
        for there in [Stands(there), Differs(there)] {
            let state = classify(Some(base), Here::Absent, there);
            assert!(is_conflict(state), "{state} from {base:?}, {there:?}");
        }
    }
}

#[test]
fn numbers_names_and_sentences() {
    let mut names = BTreeSet::new();
    let mut texts = BTreeSet::new();
    for (number, &state) in (0..).zip(STATES) {
        assert_eq!(state.number(), number);
        assert_eq!(SyncState::from_number(number), Some(state));
        assert_eq!(state.to_string(), format!("{number} {}", state.name()));
        assert!(state.text().ends_with('.'), "{state}");
        assert!(names.insert(state.name()) && texts.insert(state.text()), "{state}");
        let line = serde_json::to_string(&state).unwrap();
        assert_eq!(line, format!("\"{}\"", state.name()));
        assert_eq!(serde_json::from_str::<SyncState>(&line).unwrap(), state);
    }
    assert_eq!(STATES.len(), 54);
    assert_eq!(SyncState::from_number(54), None);
}

#[test]
fn the_documented_names() {
    for (number, name) in [
        (0, "Stable"),
        (12, "FileChangedOnClient_ChangedOnServer"),
        (15, "FileChangedOnClient_DeletedOnServer"),
        (27, "DirChangedOnClient_FileChangedOnServer"),
        (36, "DeletedOnClient_FileChangedOnServer"),
        (38, "FileSparseOnClient"),
        (45, "FileRenamedOnServer"),
        (53, "FileReplacedAndDeletedOnClient_DirChangedOnServer"),
    ] {
        assert_eq!(SyncState::from_number(number).unwrap().name(), name);
    }
}

#[test]
fn both_copies_are_kept_in_the_documented_states_only() {
    let documented = [1, 3, 4, 7, 8, 9, 10, 12, 13, 14, 22, 23, 26, 27];
    for &state in STATES {
        for &resolution in RESOLUTIONS {
            let expected =
                resolution != Resolution::KeepAllChanges || documented.contains(&state.number());
            assert_eq!(allows(state, resolution), expected, "{state}, {resolution:?}");
        }
    }
}

#[test]
fn conflicts() {
    let more = [15, 29, 36, 37, 51, 52, 53];
    for &state in STATES {
        let keeps_both = allows(state, Resolution::KeepAllChanges);
        assert_eq!(is_conflict(state), keeps_both || more.contains(&state.number()), "{state}");
    }
}

#[test]
fn resolutions() {
    for (number, name) in (0..).zip([
        "RESOLVE_NONE",
        "RESOLVE_KEEPLOCAL",
        "RESOLVE_KEEPREMOTE",
        "RESOLVE_KEEPALLCHANGES",
        "RESOLVE_KEEPLATEST",
        "RESOLVE_LOG",
        "RESOLVE_SKIP",
        "ABORT",
    ]) {
        let resolution = RESOLUTIONS[usize::from(number)];
        assert_eq!((resolution.number(), resolution.name()), (number, name));
        assert!(resolution.text().ends_with('.'), "{name}");
    }
    for (resolve, resolution) in [
        (Resolve::Ask, Resolution::Log),
        (Resolve::KeepLocal, Resolution::KeepLocal),
        (Resolve::KeepRemote, Resolution::KeepRemote),
        (Resolve::KeepLatest, Resolution::KeepLatest),
        (Resolve::KeepBoth, Resolution::KeepAllChanges),
    ] {
        assert_eq!(Resolution::from(resolve), resolution);
    }
}

#[test]
fn a_link_counts_as_a_file() {
    for (kind, shape) in [(Kind::File, File), (Kind::Link, File), (Kind::Dir, Dir)] {
        assert_eq!(Shape::from(kind), shape);
    }
}
