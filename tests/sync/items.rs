//! What is stored here: pins, eviction, sparse files, suspended folders, and how items are told.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests touch the disk")]

mod harness;

use std::collections::BTreeMap;
use std::fs;

use harness::{Options, Pairing, Side};
use homeport_sync::pins::{ALL, USER, USER_POLICY};
use homeport_sync::state::SyncState;
use homeport_sync::{Evicted, Fill, Item, Limits};

fn ls(it: &Pairing, below: &str) -> Vec<Item> {
    let listed = homeport_sync::ls(&it.pair, &mut it.journal(), below, &it.options).unwrap();
    assert_eq!(listed.notes, []);
    listed.items
}

fn states(it: &Pairing) -> BTreeMap<String, SyncState> {
    ls(it, "").into_iter().map(|item| (item.path, item.state)).collect()
}

fn evict(it: &Pairing, limits: Limits) -> Evicted {
    let now = it.now();
    homeport_sync::evict(&it.pair, &mut it.journal(), &it.options, limits, now).unwrap()
}

const NOTHING: Limits = Limits { total: Some(0), unpinned: None, floor: None };

#[test]
fn what_nobody_pinned_gives_way_the_oldest_first() {
    let it = Pairing::in_step(&[("a/old", "12345"), ("a/new", "12345"), ("pinned/f", "12345")]);
    it.journal().pin("pinned", USER).unwrap();
    let limits = Limits { total: Some(10), ..Limits::default() };
    let evicted = evict(&it, limits);
    assert_eq!(evicted, Evicted { items: 1, bytes: 5, still_over: 0 });
    assert_eq!(it.read(Side::Local, "a/old"), None);
    assert_eq!(it.read(Side::Local, "a/new").as_deref(), Some("12345"));
    let evicted = evict(&it, NOTHING);
    assert_eq!(evicted, Evicted { items: 1, bytes: 5, still_over: 5 });
    assert_eq!(it.read(Side::Local, "pinned/f").as_deref(), Some("12345"));
    it.assert_idle();
    assert_eq!(it.read(Side::Remote, "a/old").as_deref(), Some("12345"));
}

#[test]
fn what_is_only_here_never_gives_way() {
    let it = Pairing::in_step(&[("edited", "12345"), ("gone there", "12345"), ("rest", "1")]);
    it.write(Side::Local, "edited", "54321");
    it.write(Side::Local, "new", "12345");
    it.remove(Side::Remote, "gone there");
    let evicted = evict(&it, NOTHING);
    assert_eq!((evicted.items, evicted.bytes), (1, 1));
    assert_eq!(it.read(Side::Local, "edited").as_deref(), Some("54321"));
    assert_eq!(it.read(Side::Local, "new").as_deref(), Some("12345"));
    assert_eq!(it.read(Side::Local, "gone there").as_deref(), Some("12345"));
}

#[test]
fn what_gave_way_comes_back_when_it_is_pinned_or_asked_for() {
    let mut it = Pairing::in_step(&[("d/f", "f"), ("g", "g")]);
    evict(&it, NOTHING);
    it.run();
    assert_eq!((it.read(Side::Local, "d/f"), it.read(Side::Local, "g")), (None, None));
    it.journal().pin("d", USER).unwrap();
    it.run();
    assert_eq!(it.read(Side::Local, "d/f").as_deref(), Some("f"));
    assert_eq!(it.read(Side::Local, "g"), None);
    it.options.fill = Fill::All;
    it.run();
    it.assert_equal();
    it.assert_idle();
}

#[test]
fn changes_of_what_gave_way_are_no_deletes_and_no_surprises() {
    let it = Pairing::in_step(&[("edited", "1"), ("deleted", "1"), ("taken", "1"), ("rest", "1")]);
    it.journal().pin("rest", USER).unwrap();
    evict(&it, NOTHING);
    it.write(Side::Remote, "edited", "22");
    it.remove(Side::Remote, "deleted");
    it.write(Side::Local, "taken", "mine");
    let report = it.run();
    assert_eq!(report.counts.deleted_remote, 0);
    assert_eq!(it.conflicts().len(), 1, "the name was taken for something new");
    assert_eq!(it.read(Side::Remote, "taken").as_deref(), Some("1"));
    it.journal().pin("edited", ALL).unwrap();
    it.run();
    assert_eq!(it.read(Side::Local, "edited").as_deref(), Some("22"));
    assert!(ls(&it, "deleted").is_empty());
}

#[test]
fn a_copy_that_should_have_gone_but_stands_there_still_is_stored_again() {
    // The journal is written before the copy goes; power may fail in between.
    let it = Pairing::in_step(&[("f", "f"), ("rest", "1")]);
    let saved = fs::read(it.at(Side::Local, "f")).unwrap();
    evict(&it, NOTHING);
    fs::write(it.at(Side::Local, "f"), saved).unwrap();
    it.run();
    let items = ls(&it, "f");
    assert!(!items[0].sparse && items[0].state == SyncState::Stable, "{items:?}");
    assert_eq!(it.conflicts(), []);
}

#[test]
fn suspended_folders_are_left_alone_unless_somebody_asks() {
    let mut it = Pairing::in_step(&[("d/f", "old"), ("g", "old")]);
    it.journal().suspend("d", true).unwrap();
    it.write(Side::Remote, "d/f", "new");
    it.write(Side::Remote, "g", "new");
    it.options.skip_suspended = true;
    it.run();
    assert_eq!(it.read(Side::Local, "g").as_deref(), Some("new"));
    assert_eq!(it.read(Side::Local, "d/f").as_deref(), Some("old"));
    assert!(ls(&it, "d/f")[0].suspended);
    it.options.skip_suspended = false;
    it.run();
    it.assert_equal();
}

#[test]
fn pins_add_up_and_are_taken_away_one_by_one() {
    let it = Pairing::in_step(&[("d/f", "f")]);
    let mut journal = it.journal();
    assert_eq!(journal.pin("d", USER).unwrap(), USER);
    assert_eq!(journal.pin("d", USER_POLICY).unwrap(), USER | USER_POLICY);
    assert_eq!(journal.unpin("d", USER).unwrap(), USER_POLICY);
    assert_eq!(journal.pins().unwrap(), [("d".to_owned(), USER_POLICY)]);
    assert_eq!(journal.unpin("d", USER_POLICY).unwrap(), 0);
    assert_eq!(journal.pins().unwrap(), []);
}

#[test]
fn new_files_in_pinned_folders_are_pinned_and_so_is_what_their_links_lead_to() {
    let mut it = Pairing::in_step(&[("d/f", "f"), ("other/target", "t"), ("other/dir/x", "x")]);
    it.journal().pin("d", USER).unwrap();
    it.options.pin_new = USER;
    it.options.pin_link_targets = true;
    it.write(Side::Remote, "d/new", "new");
    it.write(Side::Remote, "other/new", "new");
    it.link(Side::Remote, "d/link", "../other/target");
    it.link(Side::Remote, "d/folder", "../other/dir");
    it.link(Side::Remote, "d/outside", "/etc/passwd");
    it.run();
    let pins = it.journal().pins().unwrap();
    let pinned: Vec<_> = pins.iter().map(|(path, _)| path.as_str()).collect();
    let expected = ["d", "d/folder", "d/link", "d/new", "d/outside", "other/target"];
    assert_eq!(pinned, expected);
}

#[test]
fn a_part_of_the_tree_is_synchronised_by_itself() {
    let it = Pairing::in_step(&[("d/f", "old"), ("g", "old"), ("d/sub/x", "old")]);
    for path in ["d/f", "g", "d/sub/x"] {
        it.write(Side::Local, path, "new");
    }
    let only = Options { only: vec!["d/sub".to_owned()], ..it.options.clone() };
    it.try_run(&only).unwrap();
    assert_eq!(it.read(Side::Remote, "d/sub/x").as_deref(), Some("new"));
    assert_eq!(it.read(Side::Remote, "d/f").as_deref(), Some("old"));
    it.run();
    it.assert_equal();
}

#[test]
fn files_that_the_share_has_never_seen_can_be_kept_from_it() {
    let mut it = Pairing::in_step(&[("f", "old")]);
    it.options.no_new_files_out = true;
    it.write(Side::Local, "f", "new");
    it.write(Side::Local, "mine", "mine");
    it.run();
    assert_eq!(it.read(Side::Remote, "f").as_deref(), Some("new"));
    assert_eq!(it.read(Side::Remote, "mine"), None);
}

#[test]
fn every_item_is_told_in_the_words_of_offline_files() {
    use SyncState as S;
    let names = ["stable", "edited", "edited there", "clash", "gone", "gone there", "beats"];
    let files: Vec<_> = names.iter().map(|name| (*name, "12345")).collect();
    let it = Pairing::in_step(&files);
    evict_one(&it, "stable");
    it.write(Side::Local, "edited", "new");
    it.write(Side::Remote, "edited there", "new");
    it.write(Side::Local, "clash", "one");
    it.write(Side::Remote, "clash", "another");
    it.remove(Side::Local, "gone");
    it.remove(Side::Remote, "gone there");
    it.remove(Side::Local, "beats");
    it.write(Side::Remote, "beats", "edited");
    it.write(Side::Local, "new", "new");
    it.mkdir(Side::Local, "new folder");
    it.write(Side::Remote, "theirs", "theirs");
    it.mkdir(Side::Remote, "their folder");
    let expected = [
        ("beats", S::DeletedOnClient_FileChangedOnServer),
        ("clash", S::FileChangedOnClient_ChangedOnServer),
        ("edited", S::FileChangedOnClient),
        ("edited there", S::FileChangedOnServer),
        ("gone", S::DeletedOnClient_FileOnServer),
        ("gone there", S::FileDeletedOnServer),
        ("new", S::FileCreatedOnClient_NoServerCopy),
        ("new folder", S::DirCreatedOnClient_NoServerCopy),
        ("stable", S::FileSparseOnClient),
        ("their folder", S::NoClientCopy_DirOnServer),
        ("theirs", S::NoClientCopy_FileOnServer),
    ];
    let expected = expected.map(|(name, state)| (name.to_owned(), state));
    assert_eq!(states(&it), BTreeMap::from(expected));
    let dirty: Vec<_> =
        ls(&it, "").into_iter().filter(|item| item.dirty).map(|item| item.path).collect();
    assert_eq!(dirty, ["beats", "clash", "edited", "gone", "new", "new folder"]);
}

/// Evicts one file, by pinning the rest.
fn evict_one(it: &Pairing, path: &str) {
    let all: Vec<_> = it.tree(Side::Local).into_keys().filter(|name| name != path).collect();
    for name in &all {
        it.journal().pin(name, USER).unwrap();
    }
    assert_eq!(evict(it, NOTHING).items, 1);
    for name in &all {
        it.journal().unpin(name, USER).unwrap();
    }
}

#[test]
fn a_listing_can_be_of_a_part() {
    let it = Pairing::in_step(&[("d/f", "f"), ("d/sub/g", "g"), ("e", "e")]);
    let paths = |below| ls(&it, below).into_iter().map(|item| item.path).collect::<Vec<_>>();
    assert_eq!(paths("d"), ["d", "d/f", "d/sub", "d/sub/g"]);
    assert_eq!(paths("d/sub/g"), ["d/sub/g"]);
    assert_eq!(paths("nothing"), Vec::<String>::new());
}
