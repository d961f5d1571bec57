//! Real small disks that fill. They are images mounted through a loop device, which only root may
//! do.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests touch the disk")]

mod harness;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{FailureKind, Pairing, Report, Side, Verdict, verdict};

/// A disk of its own, until it is dropped.
struct Disk {
    image: PathBuf,
    at: PathBuf,
}

impl Disk {
    fn mount(image: PathBuf, at: &Path, megabytes: u64, make: &[&str], options: &str) -> Self {
        let file = fs::File::create(&image).unwrap();
        file.set_len(megabytes << 20).unwrap();
        run(Command::new(make[0]).args(&make[1..]).arg(&image));
        run(Command::new("mount").args(["-o", options]).arg(&image).arg(at));
        Self { image, at: at.to_owned() }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run(Command::new("umount").arg(&self.at));
        let _ = fs::remove_file(&self.image);
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// A pair of which one side is a disk of its own; the disk comes last, so that it is dropped first.
fn pair_with(side: Side, megabytes: u64, make: &[&str], options: &str) -> (Pairing, Disk) {
    let it = Pairing::new();
    let image = it.outside().join("image");
    let disk = Disk::mount(image, &it.at(side, ""), megabytes, make, options);
    let _ = fs::remove_dir(it.at(side, "lost+found"));
    (it, disk)
}

const EXT4: &[&str] = &["mkfs.ext4", "-q", "-m", "0"];

/// Items that failed because the disk is full.
fn full(report: &Report) -> usize {
    let is_full =
        |verdict: &Verdict| matches!(verdict, Verdict::Failed { kind: FailureKind::Full, .. });
    report.items.iter().filter(|item| is_full(&item.result)).count()
}

#[test]
#[ignore = "needs root and loop devices"]
fn a_disk_that_fills_stops_what_does_not_fit_and_the_rest_comes_when_there_is_room() {
    for side in [Side::Local, Side::Remote] {
        let (mut it, _disk) = pair_with(side, 8, EXT4, "loop");
        it.options.release_deletes = true;
        let other = if side == Side::Local { Side::Remote } else { Side::Local };
        for number in 0..40 {
            it.write(other, &format!("f{number:02}"), vec![number; 300_000]);
        }
        let report = it.run();
        assert!(full(&report) > 10, "{side}: {:?}", report.counts);
        let there = it.tree(side);
        assert!(!there.is_empty(), "{side}: nothing at all fitted");
        for (path, node) in there {
            assert_eq!(Some(&node), it.tree(other).get(&path), "{side}: half of {path}");
        }
        // Nothing was deleted for want of room, and what goes elsewhere makes room.
        assert_eq!(it.tree(other).len(), 40);
        for number in 10..40 {
            it.remove(other, &format!("f{number:02}"));
        }
        it.run();
        it.run();
        it.assert_equal();
        assert_eq!(it.tree(side).len(), 10, "{side}");
    }
}

#[test]
#[ignore = "needs root and loop devices"]
fn replacing_on_a_full_disk_keeps_the_old_version() {
    for side in [Side::Local, Side::Remote] {
        let (it, _disk) = pair_with(side, 8, EXT4, "loop");
        let other = if side == Side::Local { Side::Remote } else { Side::Local };
        it.write(other, "f", vec![1; 2_000_000]);
        it.run();
        it.assert_equal();
        fs::write(it.at(side, "ballast"), vec![0; 3_500_000]).unwrap();
        it.write(other, "f", vec![2; 2_500_000]);
        let report = it.run();
        let kind = match verdict(&report, "f") {
            Some(Verdict::Failed { kind, .. }) => Some(*kind),
            _ => None,
        };
        assert_eq!(kind, Some(FailureKind::Full), "{side}");
        assert_eq!(fs::read(it.at(side, "f")).unwrap(), vec![1; 2_000_000], "{side}");
        it.remove(side, "ballast");
        it.run();
        it.run();
        it.assert_equal();
        assert_eq!(fs::read(it.at(side, "f")).unwrap(), vec![2; 2_500_000], "{side}");
    }
}

#[test]
#[ignore = "needs root and loop devices"]
fn what_is_mounted_in_a_tree_is_not_part_of_it() {
    for side in [Side::Local, Side::Remote] {
        let it = Pairing::in_step(&[("f", "f"), ("proj/old", "old")]);
        let image = it.outside().join("image");
        let mounted = Disk::mount(image, &it.at(side, "proj"), 8, EXT4, "loop");
        it.write(side, "proj/more", "more");
        let report = it.run();
        let skipped = verdict(&report, "proj");
        assert!(matches!(skipped, Some(Verdict::Skipped { .. })), "{side}: {skipped:?}");
        let other = if side == Side::Local { Side::Remote } else { Side::Local };
        assert_eq!(it.read(other, "proj/old").as_deref(), Some("old"), "{side}");
        assert_eq!(it.read(other, "proj/more"), None, "{side}");
        drop(mounted);
        it.run();
        it.assert_equal();
        assert_eq!(it.read(side, "proj/old").as_deref(), Some("old"), "{side}");
    }
}

#[test]
#[ignore = "needs root and loop devices"]
fn a_file_that_has_no_room_is_told_without_trying() {
    let (it, disk) = pair_with(Side::Local, 32, EXT4, "loop");
    let huge = it.at(Side::Remote, "huge");
    fs::File::create(&huge).unwrap().set_len(1 << 40).unwrap();
    it.write(Side::Remote, "small", "small");
    let report = it.run();
    assert_eq!((full(&report), report.bytes_in), (1, 5));
    assert_eq!(it.read(Side::Local, "small").as_deref(), Some("small"));
    drop(disk);
}
