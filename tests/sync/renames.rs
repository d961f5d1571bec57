//! What was renamed on one side is renamed on the other, and nothing is copied or deleted for it.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests touch the disk")]

mod harness;

use std::fs;

use harness::{Pairing, Report, Side};

const BOTH: [Side; 2] = [Side::Local, Side::Remote];

fn other(side: Side) -> Side {
    if side == Side::Local { Side::Remote } else { Side::Local }
}

fn rename(it: &Pairing, side: Side, from: &str, to: &str) {
    let to = it.at(side, to);
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::rename(it.at(side, from), to).unwrap();
}

/// Nothing but renames took place.
#[track_caller]
fn assert_only_renamed(report: &Report, count: u64) {
    let counts = report.counts;
    let copied = counts.uploaded + counts.downloaded;
    let deleted = counts.deleted_local + counts.deleted_remote;
    assert_eq!((counts.renamed, copied, deleted), (count, 0, 0), "{:?}", report.items);
    assert_eq!((report.bytes_in, report.bytes_out), (0, 0));
}

/// A folder with things in it, and a neighbour.
fn scene() -> Pairing {
    Pairing::in_step(&[("a/x/f", "f"), ("a/x/g", "g"), ("a/h", "h"), ("b/i", "i"), ("j", "j")])
}

#[test]
fn a_renamed_folder_is_renamed_on_the_other_side() {
    for side in BOTH {
        let it = scene();
        rename(&it, side, "a", "c");
        assert_only_renamed(&it.run(), 1);
        it.assert_equal();
        assert_eq!(it.read(other(side), "c/x/f").as_deref(), Some("f"));
        it.assert_idle();
    }
}

#[test]
fn a_folder_moved_into_another_is_moved_on_the_other_side() {
    for side in BOTH {
        let it = scene();
        rename(&it, side, "a/x", "b/deep/x");
        let report = it.run();
        assert_eq!((report.counts.renamed, report.bytes_in, report.bytes_out), (1, 0, 0));
        it.assert_equal();
        it.assert_idle();
    }
}

#[test]
fn a_folder_moved_out_of_one_that_was_deleted_is_moved_on_the_other_side() {
    for side in BOTH {
        let it = scene();
        rename(&it, side, "a/x", "x");
        it.remove(side, "a");
        let report = it.run();
        assert_eq!((report.counts.renamed, report.bytes_in, report.bytes_out), (1, 0, 0));
        it.assert_equal();
        it.assert_idle();
    }
}

#[test]
fn a_renamed_file_is_renamed_on_the_other_side() {
    for side in BOTH {
        let it = scene();
        rename(&it, side, "a/x/f", "b/renamed");
        assert_only_renamed(&it.run(), 1);
        it.assert_equal();
        it.assert_idle();
    }
}

#[test]
fn a_change_of_nothing_but_case_is_a_rename() {
    for side in BOTH {
        let it = scene();
        rename(&it, side, "a", "A");
        rename(&it, side, "j", "J");
        assert_only_renamed(&it.run(), 2);
        it.assert_equal();
        it.assert_idle();
    }
}

#[test]
fn an_edit_inside_a_renamed_folder_travels_with_it() {
    for side in BOTH {
        let it = scene();
        rename(&it, side, "a", "c");
        it.write(side, "c/x/f", "edited");
        it.write(other(side), "a/x/g", "edited too");
        it.write(other(side), "a/new", "new");
        it.remove(side, "c/h");
        it.run();
        it.assert_equal();
        assert_eq!(it.read(side, "c/x/f").as_deref(), Some("edited"));
        assert_eq!(it.read(side, "c/x/g").as_deref(), Some("edited too"));
        assert_eq!(it.read(side, "c/new").as_deref(), Some("new"));
        assert_eq!(it.read(side, "c/h"), None);
        it.assert_idle();
    }
}

#[test]
fn a_file_that_was_renamed_here_and_edited_there_is_both() {
    for side in BOTH {
        let it = scene();
        rename(&it, side, "j", "k");
        it.write(other(side), "j", "edited");
        it.run();
        it.run();
        it.assert_equal();
        let texts = [it.read(side, "j"), it.read(side, "k")];
        assert!(texts.contains(&Some("edited".to_owned())), "{texts:?}");
        it.assert_idle();
    }
}

#[test]
fn where_both_sides_renamed_it_the_name_on_the_share_stays() {
    let it = scene();
    rename(&it, Side::Local, "a", "mine");
    rename(&it, Side::Remote, "a", "theirs");
    rename(&it, Side::Local, "j", "my j");
    rename(&it, Side::Remote, "j", "their j");
    assert_only_renamed(&it.run(), 2);
    it.assert_equal();
    assert_eq!(it.read(Side::Local, "theirs/x/f").as_deref(), Some("f"));
    assert_eq!(it.read(Side::Local, "their j").as_deref(), Some("j"));
    it.assert_idle();
}

#[test]
fn a_folder_that_both_sides_gave_the_same_name_is_the_one_it_was() {
    let it = scene();
    rename(&it, Side::Local, "a", "same");
    rename(&it, Side::Remote, "a", "same");
    it.remove(Side::Local, "same/x/f");
    let report = it.run();
    assert_eq!(report.counts.deleted_remote, 1, "what was deleted does not come back: {report:?}");
    assert_eq!((report.counts.downloaded, report.counts.uploaded), (0, 0), "{report:?}");
    it.assert_equal();
    assert_eq!(it.read(Side::Remote, "same/x/f"), None);
    it.assert_idle();
}

#[test]
fn folders_that_were_moved_into_each_other_lose_nothing() {
    let it = scene();
    rename(&it, Side::Local, "a", "b/a");
    rename(&it, Side::Remote, "b", "a/b");
    it.run();
    it.run();
    it.assert_equal();
    let tree = it.tree(Side::Local);
    for text in ["f", "g", "h", "i"] {
        let bytes = harness::Node::File(text.as_bytes().to_vec());
        assert!(tree.values().any(|node| *node == bytes), "{text} is lost");
    }
    it.assert_idle();
}

#[test]
fn folders_that_swapped_their_names_do_so_on_the_other_side() {
    for side in BOTH {
        let it = scene();
        rename(&it, side, "a", "t");
        rename(&it, side, "b", "a");
        rename(&it, side, "t", "b");
        it.run();
        it.assert_equal();
        assert_eq!(it.read(other(side), "b/x/f").as_deref(), Some("f"));
        it.assert_idle();
    }
}

#[test]
fn a_rename_onto_a_name_that_the_other_side_took_loses_neither() {
    for side in BOTH {
        let it = scene();
        rename(&it, side, "a", "c");
        it.write(other(side), "c/own", "own");
        it.run();
        it.run();
        it.assert_equal();
        assert_eq!(it.read(side, "c/own").as_deref(), Some("own"));
        assert_eq!(it.read(side, "c/x/f").as_deref(), Some("f"));
        it.assert_idle();
    }
}

#[test]
fn a_rename_is_no_delete_to_the_brake() {
    let mut it = scene();
    it.options.max_deletes = 0;
    rename(&it, Side::Local, "a", "c");
    rename(&it, Side::Local, "j", "k");
    let report = it.run();
    assert_eq!(report.held, None);
    assert_only_renamed(&report, 2);
    it.assert_equal();
}

#[test]
fn one_way_runs_do_not_rename_against_their_direction() {
    let mut it = scene();
    it.options.sync_out = false;
    rename(&it, Side::Local, "a", "c");
    let before = it.tree(Side::Remote);
    it.run();
    assert_eq!(it.tree(Side::Remote), before);
    assert_eq!(it.read(Side::Local, "c/x/f").as_deref(), Some("f"));
}

#[test]
fn pins_and_suspended_folders_keep_to_what_was_renamed() {
    let it = scene();
    it.journal().pin("a/x", homeport_sync::pins::USER).unwrap();
    it.journal().suspend("a/x", true).unwrap();
    rename(&it, Side::Local, "a", "c");
    it.run();
    assert_eq!(it.journal().pins().unwrap(), [("c/x".to_owned(), homeport_sync::pins::USER)]);
    assert_eq!(it.journal().suspended().unwrap(), ["c/x"]);
}

#[test]
fn a_folder_with_many_files_costs_one_rename() {
    let it = Pairing::new();
    for number in 0..500 {
        it.write(Side::Local, &format!("many/{}/{number}", number % 7), "x");
    }
    it.run();
    rename(&it, Side::Local, "many", "more");
    let reads = it.run();
    assert_only_renamed(&reads, 1);
    it.assert_idle();
}
