//! What gives way is kept, or proven to be what both sides had: nothing anybody wrote is lost.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests touch the disk")]

mod harness;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use harness::{Pairing, Resolve, Side, Verdict, always, verdict};
use homeport_sync::fs::{Gate, Op};
use rustix::io::Errno;

/// A file `f` and another one; since then somebody wrote `f` on the share, and neither its size nor
/// its time shows it, nor is there a change time to rely on.
fn edited_in_hiding() -> Pairing {
    let mut it = Pairing::new();
    it.doubted = true;
    it.write(Side::Local, "f", "old");
    it.write(Side::Local, "rest", "x");
    it.run();
    let path = it.at(Side::Remote, "f");
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, "OLD").unwrap();
    harness::set_mtime(&path, time);
    it
}

#[test]
fn an_edit_that_no_stamp_shows_is_not_replaced() {
    let it = edited_in_hiding();
    it.write(Side::Local, "f", "mine");
    let report = it.run();
    assert!(matches!(verdict(&report, "f"), Some(Verdict::Skipped { .. })));
    assert_eq!(it.read(Side::Remote, "f").as_deref(), Some("OLD"));
    it.run();
    assert_eq!(it.conflicts().len(), 1);
    assert_eq!(it.read(Side::Remote, "f").as_deref(), Some("OLD"));
    assert_eq!(it.read(Side::Local, "f").as_deref(), Some("mine"));
    assert_eq!(it.recycle().len(), 0);
}

#[test]
fn an_edit_that_only_the_change_time_shows_is_seen_at_once() {
    let mut it = edited_in_hiding();
    it.doubted = false;
    it.run();
    assert_eq!(it.read(Side::Local, "f").as_deref(), Some("OLD"));
}

#[test]
fn an_edit_that_no_stamp_shows_beats_a_delete() {
    let it = edited_in_hiding();
    it.remove(Side::Local, "f");
    it.run();
    assert_eq!(it.read(Side::Remote, "f").as_deref(), Some("OLD"));
    it.run();
    assert_eq!(it.read(Side::Local, "f").as_deref(), Some("OLD"));
    it.assert_idle();
}

#[test]
fn an_edit_that_no_stamp_shows_is_not_replaced_by_a_folder() {
    let it = edited_in_hiding();
    it.remove(Side::Local, "f");
    it.write(Side::Local, "f/inside", "new");
    it.run();
    it.run();
    assert_eq!(it.read(Side::Remote, "f").as_deref(), Some("OLD"));
    assert_eq!(it.read(Side::Local, "f/inside").as_deref(), Some("new"));
    assert_eq!(it.conflicts().len(), 1);
}

#[test]
fn what_was_written_anew_on_the_share_is_kept_even_if_it_is_as_it_was() {
    for delete in [true, false] {
        let it = Pairing::in_step(&[("f", "same"), ("rest", "x")]);
        it.write(Side::Remote, "f", "same");
        match delete {
            true => it.remove(Side::Local, "f"),
            false => it.write(Side::Local, "f", "mine"),
        }
        it.run();
        it.assert_equal();
        assert_eq!(it.recycle(), [b"same"], "{delete}");
    }
}

/// Lets nothing be recorded, as a crash right before it would.
struct NoJournal;

impl Gate for NoJournal {
    fn pass(&self, op: Op, _: &str) -> io::Result<()> {
        if op == Op::Journal { Err(Errno::IO.into()) } else { Ok(()) }
    }
}

#[test]
fn what_is_made_again_after_a_crash_is_kept() {
    let it = Pairing::in_step(&[("f", "same"), ("rest", "x")]);
    it.remove(Side::Local, "f");
    it.run_through(&NoJournal).unwrap_err();
    assert_eq!(it.read(Side::Remote, "f"), None);
    it.write(Side::Remote, "f", "same");
    it.run();
    let kept = it.read(Side::Remote, "f").is_some() || it.recycle() == [b"same"];
    assert!(kept);
}

#[test]
fn what_both_sides_had_on_the_share_is_not_kept() {
    let it = Pairing::in_step(&[("f", "old"), ("g", "gone"), ("rest", "x")]);
    it.write(Side::Local, "f", "new");
    it.remove(Side::Local, "g");
    it.run();
    it.assert_equal();
    assert_eq!(it.recycle().len(), 0);
}

/// Whether there are two disks to test with.
fn on_two_disks(it: &Pairing) -> bool {
    let disk = |path| fs::metadata(path).unwrap().dev();
    disk(&it.pair.local) != disk(&it.state)
}

/// Fails when the copy of an old version is written.
struct FullDisk;

impl Gate for FullDisk {
    fn pass(&self, op: Op, _: &str) -> io::Result<()> {
        if op == Op::Keep { Err(Errno::NOSPC.into()) } else { Ok(()) }
    }
}

#[test]
fn half_a_version_is_removed_and_nothing_replaced() {
    let disk = tempfile::tempdir().unwrap();
    let mut it = Pairing::new();
    it.state = disk.path().to_owned();
    if !on_two_disks(&it) {
        return;
    }
    for name in ["edited", "gone", "clash", "rest"] {
        it.write(Side::Local, name, "old");
    }
    it.run();
    it.options.resolve = always(Resolve::KeepLocal);
    it.write(Side::Remote, "edited", "new");
    it.remove(Side::Remote, "gone");
    it.write(Side::Remote, "clash", "theirs");
    it.write(Side::Local, "clash", "mine");
    let report = it.run_through(&FullDisk).unwrap();
    assert_eq!(report.counts.failed, 3);
    assert_eq!(it.read(Side::Local, "edited").as_deref(), Some("old"));
    assert_eq!(it.read(Side::Local, "gone").as_deref(), Some("old"));
    assert_eq!(it.read(Side::Remote, "clash").as_deref(), Some("theirs"));
    assert_eq!(it.recycle().len(), 0);
    it.run();
    it.assert_equal();
    assert_eq!(it.recycle(), [&b"old"[..], b"old", b"theirs"]);
}

#[test]
fn a_kept_version_lies_under_its_old_path_for_as_long_as_it_is_kept() {
    let it = Pairing::in_step(&[("a/b\tc/f", "one"), ("d/f", "two"), ("rest", "x")]);
    it.remove(Side::Remote, "a/b\tc/f");
    it.write(Side::Remote, "d/f", "new");
    it.run();
    let runs = Pairing::list(&it.state.join("recycle"));
    assert_eq!(runs.len(), 1);
    let shelf = it.state.join("recycle").join(&runs[0]);
    assert_eq!(fs::read_to_string(shelf.join("a/b\tc/f")).unwrap(), "one");
    assert_eq!(fs::read_to_string(shelf.join("d/f")).unwrap(), "two");
    let hour = Duration::from_secs(3_600);
    let now = it.now();
    assert_eq!(it.journal().recycle_sweep(now, hour).unwrap(), 0);
    assert_eq!(it.journal().recycle_sweep(now + 2 * hour, hour).unwrap(), 1);
    assert_eq!(it.recycle().len(), 0);
}

const DAY: Duration = Duration::from_secs(24 * 3_600);
const KEEP: Duration = Duration::from_secs(30 * 24 * 3_600);

/// A version was kept by a run at this time, as the clock said.
fn kept_at(now: SystemTime) -> Pairing {
    let it = Pairing::in_step(&[("f", "one"), ("rest", "x")]);
    it.remove(Side::Remote, "f");
    let (pair, options) = (&it.pair, &it.options);
    homeport_sync::sync(pair, &mut it.journal(), options, now, &mut harness::go_on).unwrap();
    assert_eq!(it.recycle(), [b"one"]);
    it
}

#[test]
fn a_version_that_was_kept_while_the_clock_was_wrong_stays_as_long_as_any() {
    let now = it_is();
    for wrong in [UNIX_EPOCH, UNIX_EPOCH + DAY, now - 400 * DAY, now + 400 * DAY] {
        let it = kept_at(wrong);
        let journal = it.journal();
        assert_eq!(journal.recycle_sweep(wrong, KEEP).unwrap(), 0);
        for day in 0..=29 {
            assert_eq!(journal.recycle_sweep(now + day * DAY, KEEP).unwrap(), 0, "{day}");
        }
        assert_eq!(it.recycle(), [b"one"]);
        let later = (30..=32).map(|day| journal.recycle_sweep(now + day * DAY, KEEP).unwrap());
        assert_eq!(later.sum::<u64>(), 1);
        assert!(it.recycle().is_empty());
    }
}

#[test]
fn a_clock_that_is_wrong_while_it_is_swept_costs_nothing() {
    let now = it_is();
    let it = kept_at(now);
    let journal = it.journal();
    let minute = Duration::from_secs(60);
    // Exchanges go on while it is wrong, and it is set right in between.
    for _ in 0..5 {
        for wrong in [now + 400 * DAY, now, UNIX_EPOCH, now + minute] {
            assert_eq!(journal.recycle_sweep(wrong, KEEP).unwrap(), 0);
            assert_eq!(journal.recycle_sweep(wrong + minute, KEEP).unwrap(), 0);
        }
    }
    assert_eq!(it.recycle(), [b"one"]);
}

#[test]
fn what_lies_in_the_recycle_area_outlives_its_journal() {
    let it = kept_at(it_is());
    for day in 0..20 {
        it.journal().recycle_sweep(it_is() + day * DAY, KEEP).unwrap();
    }
    let shelf = || Pairing::list(&it.state.join("recycle"));
    assert!(shelf()[0].ends_with("-here@0"), "{:?}", shelf());
    for name in Pairing::list(&it.state) {
        if name.starts_with("journal.db") {
            fs::remove_file(it.state.join(name)).unwrap();
        }
    }
    // A folder that an older journal has seen for longer than this one knows is new to this one.
    let old = it.state.join("recycle").join("1900000000-abcdef00-here@900000000");
    fs::create_dir(old).unwrap();
    for day in 20..49 {
        assert_eq!(it.journal().recycle_sweep(it_is() + day * DAY, KEEP).unwrap(), 0);
    }
    assert_eq!(shelf().len(), 2);
    for day in 49..53 {
        it.journal().recycle_sweep(it_is() + day * DAY, KEEP).unwrap();
    }
    assert_eq!(shelf(), Vec::<String>::new());
}

/// The time of a run.
fn it_is() -> SystemTime {
    Pairing::new().now()
}

#[test]
fn a_version_that_an_exchange_left_behind_is_recycled() {
    let it = Pairing::in_step(&[("d/f", "old"), ("rest", "x")]);
    it.write(Side::Remote, "d/f", "new");
    it.run_through(&NoUnlink).unwrap();
    let left = it.tree(Side::Local).into_keys().find(|path| path.ends_with("-old")).unwrap();
    fs::write(it.at(Side::Local, &left), "precious").unwrap();
    it.run();
    it.assert_equal();
    assert!(it.recycle().contains(&b"precious".to_vec()));
}

/// Lets nothing be removed.
struct NoUnlink;

impl Gate for NoUnlink {
    fn pass(&self, op: Op, _: &str) -> io::Result<()> {
        if op == Op::Unlink { Err(Errno::IO.into()) } else { Ok(()) }
    }
}
