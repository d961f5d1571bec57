//! Somebody else changes a tree while a run is at work on it.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests touch the disk")]

mod harness;

use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use harness::{Node, Pairing, Report, Side, Verdict, verdict};
use homeport_sync::fs::{Gate, Op};

/// Does something once, right before an operation on a path.
struct Meddler<F: Fn() + Sync> {
    op: Op,
    path: &'static str,
    deed: F,
    done: AtomicBool,
}

impl<F: Fn() + Sync> Gate for Meddler<F> {
    fn pass(&self, op: Op, path: &str) -> io::Result<()> {
        if op == self.op && path == self.path && !self.done.swap(true, SeqCst) {
            (self.deed)();
        }
        Ok(())
    }
}

#[track_caller]
fn run_with(it: &Pairing, op: Op, path: &'static str, deed: impl Fn() + Sync) -> Report {
    let gate = Meddler { op, path, deed, done: AtomicBool::new(false) };
    let report = it.run_through(&gate).unwrap();
    assert!(gate.done.load(SeqCst), "the moment never came");
    report
}

fn is_skipped(report: &Report, path: &str) -> bool {
    matches!(verdict(report, path), Some(Verdict::Skipped { .. }))
}

fn other(side: Side) -> Side {
    if side == Side::Local { Side::Remote } else { Side::Local }
}

const BOTH: [Side; 2] = [Side::Local, Side::Remote];

#[test]
fn a_target_that_is_edited_meanwhile_is_not_replaced() {
    for side in BOTH {
        let it = Pairing::in_step(&[("f", "base")]);
        it.write(side, "f", "new");
        let report = run_with(&it, Op::Stage, "f", || it.write(other(side), "f", "newer"));
        assert!(is_skipped(&report, "f"), "{side}");
        assert_eq!(it.read(other(side), "f").as_deref(), Some("newer"), "{side}");
        assert_eq!(it.tree(other(side)).len(), 1, "{side}");
        it.run();
        assert_eq!(it.conflicts().len(), 1, "{side}");
    }
}

#[test]
fn a_target_that_appears_meanwhile_is_not_replaced() {
    for side in BOTH {
        for op in [Op::Stage, Op::Rename] {
            let it = Pairing::in_step(&[("rest", "x")]);
            it.write(side, "f", "new");
            let report = run_with(&it, op, "f", || it.write(other(side), "f", "newer"));
            assert!(is_skipped(&report, "f"), "{side} {op:?}");
            assert_eq!(it.read(other(side), "f").as_deref(), Some("newer"), "{side} {op:?}");
            assert_eq!(it.tree(other(side)).len(), 2, "{side} {op:?}");
        }
    }
}

#[test]
fn a_target_that_is_deleted_meanwhile_does_not_come_back_unseen() {
    for side in BOTH {
        let it = Pairing::in_step(&[("f", "base")]);
        it.write(side, "f", "new");
        let report = run_with(&it, Op::Stage, "f", || it.remove(other(side), "f"));
        assert!(is_skipped(&report, "f"), "{side}");
        it.run();
        it.assert_equal();
        assert_eq!(it.read(other(side), "f").as_deref(), Some("new"), "{side}");
    }
}

#[test]
fn a_source_that_is_edited_meanwhile_waits_for_the_next_run() {
    for side in BOTH {
        let it = Pairing::in_step(&[("f", "base")]);
        it.write(side, "f", "new");
        let report = run_with(&it, Op::Stage, "f", || it.write(side, "f", "wen"));
        assert!(is_skipped(&report, "f"), "{side}");
        assert_eq!(it.read(other(side), "f").as_deref(), Some("base"), "{side}");
        assert_eq!(it.tree(other(side)).len(), 1, "{side}");
        it.run();
        it.assert_equal();
        assert_eq!(it.read(other(side), "f").as_deref(), Some("wen"), "{side}");
    }
}

#[test]
fn a_folder_that_becomes_a_link_meanwhile_is_not_written_through() {
    for side in BOTH {
        for op in [Op::Stage, Op::Rename] {
            let it = Pairing::in_step(&[("d/f", "base")]);
            it.write(side, "d/f", "new");
            run_with(&it, op, "d/f", || {
                it.remove(other(side), "d");
                it.link(other(side), "d", it.outside());
            });
            assert_eq!(fs::read_dir(it.outside()).unwrap().count(), 0, "{side} {op:?}");
            assert_eq!(it.tree(other(side))["d"], Node::Link(it.outside()), "{side} {op:?}");
        }
    }
}

#[test]
fn a_folder_that_becomes_a_link_meanwhile_is_not_deleted_through() {
    for side in BOTH {
        let it = Pairing::in_step(&[("d/f", "base"), ("rest", "x")]);
        fs::write(it.outside().join("f"), "precious").unwrap();
        it.remove(side, "d");
        run_with(&it, Op::Unlink, "d/f", || {
            it.remove(other(side), "d");
            it.link(other(side), "d", it.outside());
        });
        assert_eq!(fs::read_to_string(it.outside().join("f")).unwrap(), "precious", "{side}");
    }
}

#[test]
fn a_folder_that_is_filled_meanwhile_is_not_deleted() {
    for side in BOTH {
        let it = Pairing::in_step(&[("d/f", "base"), ("rest", "x")]);
        it.remove(side, "d");
        let report = run_with(&it, Op::Folder, "d", || it.write(other(side), "d/new", "new"));
        assert!(is_skipped(&report, "d"), "{side}");
        it.run();
        it.assert_equal();
        assert_eq!(it.read(side, "d/new").as_deref(), Some("new"), "{side}");
        it.assert_idle();
    }
}

/// Writes a file the way editors do: beside it, and then over it.
fn save(it: &Pairing, side: Side, path: &str, text: &str) {
    it.write(side, "being saved", text);
    fs::rename(it.at(side, "being saved"), it.at(side, path)).unwrap();
}

#[test]
fn a_file_that_is_written_to_as_it_is_removed_stays() {
    for atomic in [true, false] {
        let it = Pairing::in_step(&[("f", "base"), ("rest", "x")]);
        it.remove(Side::Remote, "f");
        let report = run_with(&it, Op::Unlink, "f", || match atomic {
            true => save(&it, Side::Local, "f", "edited"),
            false => it.write(Side::Local, "f", "edited"),
        });
        assert!(is_skipped(&report, "f"), "{atomic}");
        assert_eq!(it.read(Side::Local, "f").as_deref(), Some("edited"), "{atomic}");
        it.run();
        assert_eq!(it.read(Side::Remote, "f").as_deref(), Some("edited"), "{atomic}");
        it.assert_idle();
    }
}

#[test]
fn a_file_that_is_written_to_as_it_is_replaced_stays() {
    for atomic in [true, false] {
        let it = Pairing::in_step(&[("f", "base")]);
        it.write(Side::Remote, "f", "new");
        let report = run_with(&it, Op::Rename, "f", || match atomic {
            true => save(&it, Side::Local, "f", "edited"),
            false => it.write(Side::Local, "f", "edited"),
        });
        assert!(is_skipped(&report, "f"), "{atomic}");
        assert_eq!(it.read(Side::Local, "f").as_deref(), Some("edited"), "{atomic}");
        assert_eq!(it.tree(Side::Local).len(), 1, "{atomic}");
        assert_eq!(it.recycle().len(), 0, "{atomic}");
        it.run();
        assert_eq!(it.conflicts().len(), 1, "{atomic}");
    }
}

#[test]
fn a_file_that_goes_away_as_it_is_replaced_does_not_come_back_unseen() {
    let it = Pairing::in_step(&[("f", "base"), ("rest", "x")]);
    it.write(Side::Remote, "f", "new");
    let report = run_with(&it, Op::Rename, "f", || it.remove(Side::Local, "f"));
    assert!(is_skipped(&report, "f"));
    assert_eq!(it.tree(Side::Local).len(), 1);
    it.run();
    it.assert_equal();
}

#[test]
fn a_file_on_the_share_that_is_written_to_while_it_is_kept_stays() {
    for delete in [true, false] {
        let it = Pairing::in_step(&[("d/f", "same"), ("rest", "x")]);
        it.write(Side::Remote, "d/f", "same");
        match delete {
            true => it.remove(Side::Local, "d/f"),
            false => {
                it.remove(Side::Local, "d/f");
                it.write(Side::Local, "d/f/inside", "new");
            }
        }
        run_with(&it, Op::Stage, "d/f", || save(&it, Side::Remote, "d/f", "edited"));
        assert_eq!(it.read(Side::Remote, "d/f").as_deref(), Some("edited"), "{delete}");
        assert_eq!(it.recycle().len(), 0, "{delete}");
    }
}

#[test]
fn a_file_that_is_written_to_as_soon_as_it_is_in_place_is_not_recorded() {
    let it = Pairing::in_step(&[("f", "base")]);
    it.write(Side::Remote, "f", "new");
    let report = run_with(&it, Op::Unlink, "f", || save(&it, Side::Local, "f", "edited"));
    assert!(is_skipped(&report, "f"));
    it.run();
    assert_eq!(it.read(Side::Local, "f").as_deref(), Some("edited"));
    assert_eq!(it.read(Side::Remote, "f").as_deref(), Some("new"));
    assert_eq!(it.conflicts().len(), 1);
}

#[test]
fn what_is_there_again_is_not_deleted() {
    for side in BOTH {
        let it = Pairing::in_step(&[("x", "x"), ("rest/y", "y")]);
        let (x, aside) = (it.at(side, "x"), it.outside().join("x"));
        fs::rename(&x, &aside).unwrap();
        // The root was read before the folder.
        let report = run_with(&it, Op::List, "rest", || fs::rename(&aside, &x).unwrap());
        assert!(is_skipped(&report, "x"), "{side}: {:?}", verdict(&report, "x"));
        it.run();
        it.assert_equal();
        assert_eq!(it.read(Side::Remote, "x").as_deref(), Some("x"), "{side}");
    }
}

/// Keeps one path of the share from being written.
struct Denied(&'static str);

impl Gate for Denied {
    fn pass(&self, op: Op, path: &str) -> io::Result<()> {
        match op {
            Op::Stage | Op::Rename if path.starts_with(self.0) => {
                Err(io::ErrorKind::PermissionDenied.into())
            }
            _ => Ok(()),
        }
    }
}

#[test]
fn a_move_that_the_share_refuses_deletes_nothing_there() {
    for edited in [false, true] {
        let it = Pairing::in_step(&[("a/x", "x"), ("b/y", "y")]);
        fs::rename(it.at(Side::Local, "a/x"), it.at(Side::Local, "b/x")).unwrap();
        if edited {
            // The same file, which a program wrote to in its new place.
            fs::write(it.at(Side::Local, "b/x"), "edited").unwrap();
        }
        for _ in 0..2 {
            // Renames pass under the old path, copies under the new one.
            let denied = [Denied("a/x"), Denied("b/x")];
            let report = it.run_through(&Either(&denied)).unwrap();
            assert!(is_skipped(&report, "a/x"), "{edited}: {:?}", verdict(&report, "a/x"));
            assert_eq!(it.read(Side::Remote, "a/x").as_deref(), Some("x"), "{edited}");
        }
        it.run();
        it.assert_equal();
        assert_eq!(it.read(Side::Remote, "a/x"), None, "{edited}");
        it.assert_idle();
    }
}

struct Either<'g>(&'g [Denied]);

impl Gate for Either<'_> {
    fn pass(&self, op: Op, path: &str) -> io::Result<()> {
        self.0.iter().try_for_each(|gate| gate.pass(op, path))
    }
}
