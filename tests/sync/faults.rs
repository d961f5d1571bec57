//! Crashes at every operation that changes something, and disks and shares that fail.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests touch the disk")]

mod harness;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};

use harness::{
    Did, FailureKind, Pairing, Resolve, Side, SyncError, Tree, Verdict, always, verdict,
};
use homeport_sync::fs::{Gate, Op};
use rustix::io::Errno;

/// How a run is disturbed; operations that change something are counted from 0.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// From this operation on nothing works: the process is as good as dead.
    From(u64),
    /// This operation fails, once.
    Only(u64),
}

struct Disturbed {
    fault: Fault,
    count: AtomicU64,
    struck: AtomicBool,
}

impl Disturbed {
    fn new(fault: Fault) -> Self {
        Self { fault, count: AtomicU64::new(0), struck: AtomicBool::new(false) }
    }
}

impl Gate for Disturbed {
    fn pass(&self, op: Op, _: &str) -> io::Result<()> {
        let changes = !matches!(op, Op::List | Op::Read);
        let at = self.count.fetch_add(u64::from(changes), SeqCst);
        let strikes = match self.fault {
            Fault::From(first) => at > first || (changes && at == first),
            Fault::Only(one) => changes && at == one,
        };
        if strikes {
            self.struck.store(true, SeqCst);
            return Err(io::Error::from(Errno::IO));
        }
        Ok(())
    }
}

/// Both sides hold things that the other has never seen, some of them equal, one a conflict.
fn never_in_step(resolve: Resolve) -> Pairing {
    let mut it = Pairing::new();
    it.options.resolve = always(resolve);
    for (side, name) in [(Side::Local, "mine"), (Side::Remote, "theirs")] {
        it.write(side, name, name);
        it.write(side, &format!("{name} too/deep/f"), name);
        it.write(side, "same/f", "same");
        it.write(side, "clash", name);
        it.link(side, &format!("same/{name}"), "f");
    }
    it
}

/// Both sides agreed on everything, and since then all kinds of changes were made on both.
fn changed_since(resolve: Resolve) -> Pairing {
    let mut it = Pairing::new();
    let names = ["keep", "edit", "delete", "rename", "clash", "beats", "to folder", "to link"];
    for side in ["a", "b"] {
        for name in names {
            it.write(Side::Local, &format!("{side} {name}"), format!("base {name}"));
        }
        it.write(Side::Local, &format!("{side} folder/x/y"), "base y");
        it.write(Side::Local, &format!("{side} to file/x/y"), "base y");
        it.write(Side::Local, &format!("{side} kept/x/y"), "base y");
    }
    it.options.resolve = always(resolve);
    it.run();
    change(&it, "a", Side::Local, Side::Remote);
    change(&it, "b", Side::Remote, Side::Local);
    it
}

fn change(it: &Pairing, prefix: &str, one: Side, two: Side) {
    let name = |name: &str| format!("{prefix} {name}");
    it.write(one, &name("new"), "new");
    it.write(one, &name("edit"), "edited");
    it.remove(one, &name("delete"));
    std::fs::rename(it.at(one, &name("rename")), it.at(one, &name("renamed"))).unwrap();
    it.write(one, &name("clash"), "one");
    it.write(two, &name("clash"), "another");
    it.write(one, &name("beats"), "edited");
    it.remove(two, &name("beats"));
    it.remove(one, &name("to folder"));
    it.write(one, &name("to folder/f"), "inside");
    it.remove(one, &name("to link"));
    it.link(one, &name("to link"), "away");
    it.remove(one, &name("folder"));
    it.remove(one, &name("to file"));
    it.write(one, &name("to file"), "file");
    it.remove(one, &name("kept"));
    it.write(two, &name("kept/x/new"), "new");
}

/// What both trees come to in the end, and the paths that are in conflict.
fn outcome(it: &Pairing) -> (Tree, Tree, Vec<String>) {
    let conflicts = it.conflicts().into_iter().map(|conflict| conflict.path).collect();
    (it.tree(Side::Local), it.tree(Side::Remote), conflicts)
}

/// Disturbs a run at every operation in turn; two runs later all is as if nothing had happened.
fn heals(scene: impl Fn() -> Pairing, fault: impl Fn(u64) -> Fault) {
    let calm = scene();
    calm.run();
    calm.run();
    let expected = outcome(&calm);
    for at in 0.. {
        let it = scene();
        let gate = Disturbed::new(fault(at));
        let result = it.run_through(&gate);
        if !gate.struck.load(SeqCst) {
            assert!(at > 10 && result.is_ok(), "the scene is not long enough");
            return;
        }
        it.run();
        it.run();
        assert_eq!(outcome(&it), expected, "disturbed at operation {at}");
        it.assert_idle();
    }
}

#[test]
fn a_first_run_heals_from_a_crash_at_any_point() {
    heals(|| never_in_step(Resolve::Ask), Fault::From);
}

#[test]
fn a_first_run_heals_from_any_single_fault() {
    heals(|| never_in_step(Resolve::Ask), Fault::Only);
}

#[test]
fn a_run_heals_from_a_crash_at_any_point() {
    heals(|| changed_since(Resolve::Ask), Fault::From);
}

#[test]
fn a_run_heals_from_any_single_fault() {
    heals(|| changed_since(Resolve::Ask), Fault::Only);
}

#[test]
fn keeping_both_heals_from_a_crash_at_any_point() {
    heals(|| changed_since(Resolve::KeepBoth), Fault::From);
}

#[test]
fn keeping_the_later_heals_from_a_crash_at_any_point() {
    heals(|| changed_since(Resolve::KeepLatest), Fault::From);
}

/// Fails one kind of operation on one path.
struct Broken {
    op: Op,
    path: &'static str,
    errno: Errno,
}

impl Gate for Broken {
    fn pass(&self, op: Op, path: &str) -> io::Result<()> {
        match op == self.op && path == self.path {
            true => Err(io::Error::from(self.errno)),
            false => Ok(()),
        }
    }
}

fn kind(verdict: Option<&Verdict>) -> Option<FailureKind> {
    match verdict {
        Some(Verdict::Failed { kind, .. }) => Some(*kind),
        _ => None,
    }
}

/// A folder `d` that cannot be listed on one side, as the other does each of these.
fn unlistable(change: impl Fn(&Pairing, Side), side: Side) {
    let other = if side == Side::Local { Side::Remote } else { Side::Local };
    let it = Pairing::in_step(&[("d/x/f", "f"), ("d/g", "g"), ("e/f", "f")]);
    change(&it, other);
    it.write(other, "e/f", "edited");
    let below = |tree: Tree| -> Tree {
        tree.into_iter().filter(|(path, _)| path.starts_with("d")).collect()
    };
    let before = (below(it.tree(side)), below(it.tree(other)));
    // The two lists are told apart by nothing but their order: the side here is listed first.
    let first = side == Side::Local || !it.at(other, "d").exists();
    let gate = OneSide { first, seen: AtomicU32::new(0) };
    let report = it.run_through(&gate).unwrap();
    assert_eq!(kind(verdict(&report, "d")), Some(FailureKind::Io), "{side}");
    assert_eq!((below(it.tree(side)), below(it.tree(other))), before, "{side}");
    assert_eq!(it.read(side, "e/f").as_deref(), Some("edited"), "{side}");
    it.run();
    it.assert_equal();
}

/// Fails the list of `d` on one side.
struct OneSide {
    first: bool,
    seen: AtomicU32,
}

impl Gate for OneSide {
    fn pass(&self, op: Op, path: &str) -> io::Result<()> {
        if op != Op::List || path != "d" {
            return Ok(());
        }
        match (self.seen.fetch_add(1, SeqCst) == 0) == self.first {
            true => Err(io::Error::from(Errno::IO)),
            false => Ok(()),
        }
    }
}

#[test]
fn what_cannot_be_listed_is_not_deleted_on_the_other_side() {
    for side in [Side::Local, Side::Remote] {
        unlistable(|_, _| {}, side);
    }
}

#[test]
fn what_cannot_be_listed_is_not_copied_into() {
    for side in [Side::Local, Side::Remote] {
        unlistable(|it, other| it.write(other, "d/new/f", "new"), side);
        unlistable(|it, other| it.write(other, "d/g", "edited"), side);
    }
}

#[test]
fn what_cannot_be_listed_is_not_deleted_itself() {
    for side in [Side::Local, Side::Remote] {
        unlistable(|it, other| it.remove(other, "d/x"), side);
        unlistable(|it, other| it.remove(other, "d"), side);
    }
}

#[test]
fn a_root_that_cannot_be_listed_ends_the_run() {
    let it = Pairing::in_step(&[("f", "f")]);
    it.write(Side::Local, "g", "g");
    let gate = Broken { op: Op::List, path: "", errno: Errno::IO };
    let error = it.run_through(&gate).unwrap_err();
    assert!(matches!(error, SyncError::RootUnavailable { .. }));
    assert_eq!(it.read(Side::Remote, "g"), None);
}

#[test]
fn a_failure_is_of_the_right_kind_and_the_rest_goes_on() {
    let kinds = [
        (Errno::NOSPC, FailureKind::Full),
        (Errno::DQUOT, FailureKind::Quota),
        (Errno::ACCESS, FailureKind::Denied),
        (Errno::ROFS, FailureKind::Denied),
        (Errno::IO, FailureKind::Io),
        (Errno::NAMETOOLONG, FailureKind::Name),
    ];
    for (errno, expected) in kinds {
        for (op, path) in [(Op::Stage, "f"), (Op::Rename, "f"), (Op::Unlink, "gone")] {
            let it = Pairing::in_step(&[("f", "old"), ("gone", "x"), ("rest", "old")]);
            it.write(Side::Local, "f", "new");
            it.write(Side::Local, "rest", "new");
            it.remove(Side::Local, "gone");
            let report = it.run_through(&Broken { op, path, errno }).unwrap();
            assert_eq!(kind(verdict(&report, path)), Some(expected), "{op:?} {errno}");
            let counts = report.counts;
            assert_eq!(counts.failed, 1, "{op:?} {errno}");
            assert_eq!(counts.uploaded + counts.deleted_remote, 2, "{op:?} {errno}");
            it.run();
            it.assert_equal();
            it.assert_idle();
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_is_neither_replaced_nor_deleted() {
    let it = Pairing::in_step(&[("f", "base"), ("rest", "old")]);
    it.write(Side::Local, "f", "mine");
    it.write(Side::Local, "rest", "new");
    it.write(Side::Remote, "f", "edit");
    let gate = Broken { op: Op::Read, path: "f", errno: Errno::ACCESS };
    let report = it.run_through(&gate).unwrap();
    assert_eq!(kind(verdict(&report, "f")), Some(FailureKind::Denied));
    assert_eq!(it.read(Side::Local, "f").as_deref(), Some("mine"));
    assert_eq!(it.read(Side::Remote, "f").as_deref(), Some("edit"));
    assert_eq!(it.read(Side::Remote, "rest").as_deref(), Some("new"));
}

#[test]
fn a_version_that_cannot_be_recycled_is_not_deleted() {
    let it = Pairing::in_step(&[("f", "base")]);
    it.remove(Side::Remote, "f");
    let gate = Broken { op: Op::Unlink, path: "f", errno: Errno::NOSPC };
    let report = it.run_through(&gate).unwrap();
    assert_eq!(report.items[0].action, Did::DeleteLocal);
    assert_eq!(it.read(Side::Local, "f").as_deref(), Some("base"));
}

#[test]
fn a_conflict_that_cannot_be_read_stays_open() {
    let it = Pairing::in_step(&[("f", "base")]);
    it.write(Side::Local, "f", "mine");
    it.write(Side::Remote, "f", "edit");
    it.run();
    let before = it.conflicts();
    assert_eq!(before.len(), 1);
    let report = it.run_through(&Broken { op: Op::Read, path: "f", errno: Errno::ACCESS }).unwrap();
    assert_eq!((it.conflicts(), report.counts.conflicts_open), (before, 1));
    assert_eq!(it.run().counts.conflicts_new, 0);
}

#[test]
fn a_conflict_of_files_that_went_away_is_closed() {
    let it = Pairing::in_step(&[("rest", "x")]);
    for (side, text) in [(Side::Local, "mine"), (Side::Remote, "theirs")] {
        it.write(side, "f", text);
    }
    it.run();
    assert_eq!(it.conflicts().len(), 1);
    it.remove(Side::Local, "f");
    it.remove(Side::Remote, "f");
    it.run();
    assert_eq!(it.conflicts(), []);
}

/// Fails the second list of a root, which is the one of the share.
struct ShareFails(AtomicU32);

impl Gate for ShareFails {
    fn pass(&self, op: Op, path: &str) -> io::Result<()> {
        let step = u32::from(op == Op::List && path.is_empty());
        let count = self.0.fetch_add(step, SeqCst) + step;
        if count == 2 { Err(Errno::IO.into()) } else { Ok(()) }
    }
}

#[test]
fn adopting_forgets_nothing_when_the_run_cannot_take_place() {
    let mut it = Pairing::in_step(&[("f", "f"), ("g", "g")]);
    it.options.root = homeport_sync::RootWord::Merge;
    std::fs::remove_file(it.at(Side::Remote, harness::MARKER)).unwrap();
    it.run_through(&ShareFails(AtomicU32::new(0))).unwrap_err();
    assert_eq!(it.journal().item_count().unwrap(), 2);
    std::fs::rename(&it.pair.local, it.outside().join("away")).unwrap();
    std::fs::write(&it.pair.local, "a file where the root was").unwrap();
    it.try_run(&it.options).unwrap_err();
    assert_eq!(it.journal().item_count().unwrap(), 2);
}

#[test]
fn a_conflict_that_cannot_be_settled_stays_listed() {
    for how in [Resolve::KeepLocal, Resolve::KeepRemote, Resolve::KeepBoth] {
        let mut it = Pairing::in_step(&[("f", "base")]);
        it.write(Side::Local, "f", "mine");
        it.write(Side::Remote, "f", "theirs");
        it.run();
        it.options.resolve = always(how);
        it.run_through(&Broken { op: Op::Rename, path: "f", errno: Errno::ACCESS }).unwrap();
        assert_eq!(it.conflicts().len(), 1, "{how:?}");
        it.run();
        it.assert_equal();
        assert_eq!(it.conflicts(), [], "{how:?}");
    }
}
