//! Two changes of one name: kept, listed, and settled the way that was chosen.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests touch the disk")]

mod harness;

use harness::{Pairing, Resolve, Side, SyncError, Verdict, always, verdict};
use homeport_sync::{ConflictKind, ResolveRule};

/// The name that a version from here gets on the day of the runs.
const SECOND: &str = "f (LT-7 2030-03-17).txt";

/// `f.txt` was in step and has been edited on both sides, later here.
fn edited_twice() -> Pairing {
    let it = Pairing::in_step(&[("f.txt", "base")]);
    it.write(Side::Remote, "f.txt", "theirs");
    it.write(Side::Local, "f.txt", "mine");
    it
}

/// As [`edited_twice`], and a run has listed the conflict.
fn listed() -> Pairing {
    let it = edited_twice();
    it.run();
    it
}

#[track_caller]
fn assert_holds(it: &Pairing, text: &str) {
    it.assert_equal();
    assert_eq!(it.read(Side::Local, "f.txt").as_deref(), Some(text));
    assert_eq!(it.conflicts(), []);
    it.assert_idle();
}

#[test]
fn both_versions_stay_and_are_listed() {
    let it = edited_twice();
    let report = it.run();
    assert_eq!(it.read(Side::Local, "f.txt").as_deref(), Some("mine"));
    assert_eq!(it.read(Side::Remote, "f.txt").as_deref(), Some("theirs"));
    assert_eq!(verdict(&report, "f.txt"), Some(&Verdict::Conflict));
    let conflicts = it.conflicts();
    assert_eq!(conflicts.len(), 1);
    assert_eq!(conflicts[0].kind, ConflictKind::BothChanged);
    assert_eq!((conflicts[0].local.size, conflicts[0].remote.size), (4, 6));
}

#[test]
fn a_conflict_is_new_only_once() {
    let it = edited_twice();
    let first = it.run().counts;
    let second = it.run().counts;
    assert_eq!((first.conflicts_new, first.conflicts_open), (1, 1));
    assert_eq!((second.conflicts_new, second.conflicts_open), (0, 1));
}

#[test]
fn a_conflict_keeps_the_time_at_which_it_was_found() {
    let it = listed();
    let since = it.conflicts()[0].since_unix;
    it.write(Side::Local, "f.txt", "mine again");
    it.run();
    assert_eq!(it.conflicts()[0].since_unix, since);
}

#[test]
fn two_new_files_of_one_name_conflict() {
    let it = Pairing::new();
    it.write(Side::Local, "f.txt", "mine");
    it.write(Side::Remote, "f.txt", "five5");
    it.run();
    assert_eq!(it.conflicts()[0].kind, ConflictKind::BothCreated);
}

#[test]
fn a_conflict_clears_when_the_versions_become_equal() {
    let it = listed();
    it.write(Side::Local, "f.txt", "theirs");
    it.run();
    assert_holds(&it, "theirs");
}

#[test]
fn a_conflict_clears_when_one_side_goes_back_to_the_base() {
    let it = listed();
    it.write(Side::Remote, "f.txt", "base");
    it.run();
    assert_holds(&it, "mine");
}

#[test]
fn a_conflict_clears_when_both_sides_go_back_to_the_base() {
    let it = listed();
    it.write(Side::Remote, "f.txt", "base");
    it.write(Side::Local, "f.txt", "base");
    it.run();
    assert_holds(&it, "base");
}

#[test]
fn a_conflict_clears_when_one_version_is_deleted() {
    let it = listed();
    it.remove(Side::Local, "f.txt");
    it.run();
    assert_holds(&it, "theirs");
}

#[test]
fn settling_for_the_version_here() {
    let it = listed();
    let item = it.settle("f.txt", Resolve::KeepLocal).unwrap();
    assert_eq!(item.result, Verdict::Done);
    assert_eq!(it.recycle(), [b"theirs"]);
    assert_holds(&it, "mine");
}

#[test]
fn settling_for_the_version_on_the_share() {
    let it = listed();
    let item = it.settle("f.txt", Resolve::KeepRemote).unwrap();
    assert_eq!(item.result, Verdict::Done);
    assert_eq!(it.recycle(), [b"mine"]);
    assert_holds(&it, "theirs");
}

#[test]
fn settling_for_the_later_version() {
    let it = listed();
    it.settle("f.txt", Resolve::KeepLatest).unwrap();
    assert_eq!(it.recycle(), [b"theirs"]);
    assert_holds(&it, "mine");
}

#[test]
fn at_equal_times_no_version_is_the_later_one() {
    let it = listed();
    let time = std::time::UNIX_EPOCH;
    for side in [Side::Local, Side::Remote] {
        harness::set_mtime(&it.at(side, "f.txt"), time);
    }
    let item = it.settle("f.txt", Resolve::KeepLatest).unwrap();
    assert_eq!(item.result, Verdict::Conflict);
    assert_eq!(it.conflicts().len(), 1);
}

#[test]
fn settling_by_keeping_both() {
    let it = listed();
    let item = it.settle("f.txt", Resolve::KeepBoth).unwrap();
    assert_eq!(item.result, Verdict::Done);
    assert_eq!(it.read(Side::Remote, SECOND).as_deref(), Some("mine"));
    assert_holds(&it, "theirs");
}

#[test]
fn keeping_both_takes_a_free_name() {
    let it = listed();
    it.write(Side::Remote, SECOND, "taken");
    it.settle("f.txt", Resolve::KeepBoth).unwrap();
    it.run();
    assert_eq!(it.read(Side::Local, SECOND).as_deref(), Some("taken"));
    let third = "f (LT-7 2030-03-17 2).txt";
    assert_eq!(it.read(Side::Remote, third).as_deref(), Some("mine"));
    assert_holds(&it, "theirs");
}

#[test]
fn keeping_both_shortens_a_name_that_would_be_too_long() {
    let name = "é".repeat(127);
    let it = Pairing::new();
    it.write(Side::Local, &name, "mine");
    it.write(Side::Remote, &name, "theirs");
    it.run();
    let item = it.settle(&name, Resolve::KeepBoth).unwrap();
    assert_eq!(item.result, Verdict::Done);
    it.assert_equal();
    assert_eq!(it.tree(Side::Local).len(), 2);
}

#[test]
fn settling_touches_nothing_else() {
    let it = listed();
    it.write(Side::Local, "new", "new");
    it.settle("f.txt", Resolve::KeepBoth).unwrap();
    assert_eq!(it.read(Side::Remote, "new"), None);
}

#[test]
fn only_an_open_conflict_can_be_settled() {
    let it = listed();
    let error = it.settle("g.txt", Resolve::KeepLocal).unwrap_err();
    assert!(matches!(error, SyncError::NoConflict { path } if path == "g.txt"));
}

#[test]
fn the_first_rule_that_matches_decides() {
    let rule = |path: &str, resolve| ResolveRule { path: path.to_owned(), resolve };
    let mut it = Pairing::in_step(&[("a/x", "base"), ("b/x", "base"), ("c", "base")]);
    it.options.resolve = vec![rule("a/**", Resolve::KeepLocal), rule("*/**", Resolve::KeepRemote)];
    for path in ["a/x", "b/x", "c"] {
        it.write(Side::Local, path, "mine");
        it.write(Side::Remote, path, "theirs");
    }
    it.run();
    assert_eq!(it.read(Side::Remote, "a/x").as_deref(), Some("mine"));
    assert_eq!(it.read(Side::Local, "b/x").as_deref(), Some("theirs"));
    assert_eq!(it.read(Side::Local, "c").as_deref(), Some("mine"));
    assert_eq!(it.conflicts().len(), 1);
}

#[test]
fn a_rule_that_keeps_both_does_so_within_one_run() {
    let mut it = edited_twice();
    it.options.resolve = always(Resolve::KeepBoth);
    it.run();
    assert_eq!(it.read(Side::Remote, SECOND).as_deref(), Some("mine"));
    assert_holds(&it, "theirs");
}

#[test]
fn an_edit_inside_a_folder_that_became_a_file_is_a_conflict() {
    for side in [Side::Local, Side::Remote] {
        let there = if side == Side::Local { Side::Remote } else { Side::Local };
        let it = Pairing::in_step(&[("x/y", "base")]);
        it.remove(side, "x");
        it.write(side, "x", "file");
        it.write(there, "x/y", "edited");
        let report = it.run();
        assert_eq!(verdict(&report, "x"), Some(&Verdict::Conflict), "{side}");
        assert_eq!(it.conflicts()[0].kind, ConflictKind::TypeDiffers, "{side}");
        assert_eq!(it.read(side, "x").as_deref(), Some("file"), "{side}");
        assert_eq!(it.read(there, "x/y").as_deref(), Some("edited"), "{side}");
        it.assert_idle();
    }
}

#[test]
fn a_clash_of_types_is_settled_by_keeping_both() {
    for side in [Side::Local, Side::Remote] {
        let there = if side == Side::Local { Side::Remote } else { Side::Local };
        let it = Pairing::new();
        it.write(side, "x", "file");
        it.write(there, "x/y", "inside");
        it.run();
        let item = it.settle("x", Resolve::KeepBoth).unwrap();
        assert_eq!(item.result, Verdict::Done, "{side}");
        it.assert_equal();
        assert_eq!(it.tree(side).len(), 3, "{side}");
        it.assert_idle();
    }
}

#[test]
fn a_clash_of_types_is_not_said_to_be_settled_when_it_is_not() {
    let it = Pairing::new();
    it.write(Side::Local, "x", "file");
    it.write(Side::Remote, "x/y", "inside");
    it.run();
    let item = it.settle("x", Resolve::KeepLocal).unwrap();
    assert_eq!(item.result, Verdict::Conflict);
    assert_eq!(it.conflicts().len(), 1);
}
