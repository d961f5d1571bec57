//! Random trees, changed at random on both sides: they converge, and nothing new is lost.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests touch the disk")]

mod harness;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use harness::{Node, Pairing, Resolve, Side, Tree, always};
use homeport_sync::fs::{Gate, Op};
use homeport_sync::{ItemResult, Skip, Verdict};
use proptest::prelude::*;

/// A change of one side, at a path of a few short names.
#[derive(Clone, Debug)]
enum Change {
    /// Write a file; a low number is content that other changes may write as well.
    Write(Vec<usize>, u8),
    /// Make a folder.
    Folder(Vec<usize>),
    /// Make a link.
    Link(Vec<usize>, u8),
    /// Remove whatever is there, with everything below.
    Remove(Vec<usize>),
    /// Give what is there another place.
    Move(Vec<usize>, Vec<usize>),
}

/// Sorted before and after a slash, so that a folder's neighbours come between it and its content.
const NAMES: [&str; 4] = ["a", "a b", "a.c", "d"];
/// Contents below this number are shared by all changes, the others are each the only one.
const SHARED: u8 = 3;

fn path() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..NAMES.len(), 1..4)
}

fn changes(count: usize) -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        5 => (path(), 0..SHARED * 3).prop_map(|(path, content)| Change::Write(path, content)),
        1 => path().prop_map(Change::Folder),
        1 => (path(), 0..SHARED).prop_map(|(path, text)| Change::Link(path, text)),
        3 => path().prop_map(Change::Remove),
        1 => (path(), path()).prop_map(|(from, to)| Change::Move(from, to)),
    ];
    prop::collection::vec(change, 0..count)
}

fn resolves() -> impl Strategy<Value = Resolve> {
    prop_oneof![
        4 => Just(Resolve::Ask),
        1 => Just(Resolve::KeepLocal),
        1 => Just(Resolve::KeepRemote),
        1 => Just(Resolve::KeepLatest),
        2 => Just(Resolve::KeepBoth),
    ]
}

fn joined(path: &[usize]) -> String {
    let names: Vec<_> = path.iter().map(|name| NAMES[*name]).collect();
    names.join("/")
}

/// Removes what stands under a path, if anything does; nothing is followed.
fn clear(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

/// Makes room for a new entry: folders above it, in place of files and links, and nothing at it.
fn make_room(it: &Pairing, side: Side, path: &[usize]) -> PathBuf {
    for end in 1..path.len() {
        let folder = it.at(side, &joined(&path[..end]));
        if fs::symlink_metadata(&folder).is_ok_and(|found| !found.is_dir()) {
            clear(&folder);
        }
    }
    let path = it.at(side, &joined(path));
    clear(&path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    path
}

/// Whether a path leads to an entry of this side without passing a link.
fn stands(it: &Pairing, side: Side, path: &[usize]) -> bool {
    it.tree(side).contains_key(&joined(path))
}

fn apply(it: &Pairing, side: Side, changes: &[Change], salt: &str) {
    for (n, change) in changes.iter().enumerate() {
        match change {
            Change::Write(path, content) => {
                make_room(it, side, path);
                let text = match *content {
                    shared if shared < SHARED => format!("shared {shared}"),
                    _ => format!("{salt} {n}"),
                };
                it.write(side, &joined(path), text);
            }
            Change::Folder(path) => fs::create_dir(make_room(it, side, path)).unwrap(),
            Change::Link(path, text) => {
                make_room(it, side, path);
                it.link(side, &joined(path), format!("text {text}"));
            }
            Change::Remove(path) if stands(it, side, path) => clear(&it.at(side, &joined(path))),
            Change::Move(from, to)
                if stands(it, side, from) && !to.starts_with(from) && !from.starts_with(to) =>
            {
                let to = make_room(it, side, to);
                if stands(it, side, from) {
                    fs::rename(it.at(side, &joined(from)), to).unwrap();
                }
            }
            Change::Remove(_) | Change::Move(..) => {}
        }
    }
}

/// Every path is the same on both sides, or is in or below an open conflict. What was moved to where
/// a conflict is waits under its old name, with its folders, until that is settled.
fn check_converged(it: &Pairing) {
    let waits = |item: &ItemResult| matches!(item.result, Verdict::Skipped { why: Skip::Moved });
    let waiting: Vec<String> =
        it.run().items.into_iter().filter(waits).map(|item| item.path).collect();
    let (local, remote) = (it.tree(Side::Local), it.tree(Side::Remote));
    let open: Vec<String> = it.conflicts().into_iter().map(|conflict| conflict.path).collect();
    for path in local.keys().chain(remote.keys()) {
        let leads = |waiting: &String| !open.is_empty() && Path::new(waiting).starts_with(path);
        let excused = open.iter().any(|conflict| Path::new(path).starts_with(conflict))
            || waiting.iter().any(leads);
        let same = local.get(path) == remote.get(path);
        assert!(same || excused, "{path:?}: {:?}, {:?}", local.get(path), remote.get(path));
    }
}

/// Every file that was changed on a side is still somewhere. Where both versions are to stay, the
/// recycle area does not count.
fn check_kept(it: &Pairing, base: &Tree, before: &[Tree; 2], resolve: Resolve) {
    let trees = [it.tree(Side::Local), it.tree(Side::Remote)];
    let stands = |node: &Node| trees.iter().any(|tree| tree.values().any(|found| found == node));
    let recycle = match resolve {
        Resolve::Ask | Resolve::KeepBoth => Vec::new(),
        _ => it.recycle(),
    };
    for (path, node) in before.iter().flatten() {
        let Node::File(bytes) = node else { continue };
        // Every content is written once; one side may have moved it, and the other deleted it.
        let known = base.values().any(|old| old == node);
        assert!(known || stands(node) || recycle.contains(bytes), "{path:?} {node:?} is lost");
    }
}

/// Lets some operations that change something pass, and then nothing any more.
struct Crash(AtomicU32);

impl Gate for Crash {
    fn pass(&self, op: Op, _: &str) -> std::io::Result<()> {
        let left = self.0.load(SeqCst);
        if left == 0 {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        self.0.store(left - u32::from(!matches!(op, Op::List | Op::Read)), SeqCst);
        Ok(())
    }
}

/// A pair in step that was then changed on both sides; what it was, and what it is.
fn changed([first, here, there]: [&[Change]; 3], resolve: Resolve) -> (Pairing, Tree, [Tree; 2]) {
    let mut it = Pairing::new();
    it.options.resolve = always(resolve);
    it.options.max_delete_percent = 100;
    it.options.release_deletes = true; // some of these trees lose everything
    it.options.root = homeport_sync::RootWord::Believe;
    apply(&it, Side::Local, first, "base");
    it.run();
    it.assert_equal();
    let base = it.tree(Side::Local);
    apply(&it, Side::Local, here, "here");
    apply(&it, Side::Remote, there, "there");
    let before = [it.tree(Side::Local), it.tree(Side::Remote)];
    (it, base, before)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn two_changed_trees_converge_and_nothing_new_is_lost(
        first in changes(20), here in changes(12), there in changes(12), resolve in resolves(),
    ) {
        let (it, base, before) = changed([&first, &here, &there], resolve);
        it.run();
        it.run();
        check_converged(&it);
        check_kept(&it, &base, &before, resolve);
        it.assert_idle();
    }

    #[test]
    fn a_crash_in_between_loses_nothing_new_either(
        first in changes(20), here in changes(12), there in changes(12), resolve in resolves(),
        crash in 1..60_u32,
    ) {
        let (it, base, before) = changed([&first, &here, &there], resolve);
        let _ = it.run_through(&Crash(AtomicU32::new(crash)));
        check_kept(&it, &base, &before, resolve);
        it.run();
        it.run();
        check_converged(&it);
        check_kept(&it, &base, &before, resolve);
        it.assert_idle();
    }

    #[test]
    fn the_order_of_work_inside_a_run_makes_no_difference(
        first in changes(20), here in changes(12), there in changes(12), resolve in resolves(),
    ) {
        // With many hands the items of a batch are done in any order.
        let outcomes = [1, 0].map(|threads| {
            let (mut it, ..) = changed([&first, &here, &there], resolve);
            it.options.threads = threads;
            let counts = it.run().counts;
            it.run();
            let conflicts: Vec<_> = it.conflicts().into_iter().map(|c| (c.path, c.kind)).collect();
            (counts, it.tree(Side::Local), it.tree(Side::Remote), conflicts)
        });
        prop_assert_eq!(&outcomes[0], &outcomes[1]);
    }
}
