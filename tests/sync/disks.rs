//! Real small disks: one that fills, and one that ignores case, knows few characters and coarse
//! times. They are images mounted through a loop device, which only root may do.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests touch the disk")]

mod harness;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{Did, FailureKind, Pairing, Report, Side, Verdict, verdict};

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
#[ignore = "needs root, loop devices and mkfs.ext4"]
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
#[ignore = "needs root, loop devices and mkfs.ext4"]
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
#[ignore = "needs root, loop devices and mkfs.vfat"]
fn names_that_a_disk_cannot_hold_get_a_verdict_each_and_the_rest_goes_on() {
    let options = "loop,iocharset=utf8,shortname=mixed";
    let (it, _disk) = pair_with(Side::Remote, 16, &["mkfs.vfat"], options);
    for name in ["plain", "Twin", "twin", "col:on", "quest?ion", "Ünï", "d/inside", "D2/Inside"] {
        it.write(Side::Local, name, name);
    }
    let first = it.run();
    let second = it.run();
    for name in ["col:on", "quest?ion"] {
        let told = verdict(&first, name);
        let Some(Verdict::Failed { kind: FailureKind::Name, message }) = told else {
            panic!("{name}: {told:?}");
        };
        assert!(message.contains(name), "{message}");
    }
    // Of two twins one is there, and the other is told of; both stay here.
    let told = second.items.iter().find(|item| item.path.eq_ignore_ascii_case("twin")).unwrap();
    let Verdict::Failed { kind: FailureKind::Name, message } = &told.result else {
        panic!("{told:?}");
    };
    assert!(message.contains("only in case"), "{message}");
    assert_eq!(told.action, Did::Upload);
    for name in ["Twin", "twin", "col:on"] {
        assert_eq!(it.read(Side::Local, name).as_deref(), Some(name));
    }
    for name in ["plain", "Ünï", "d/inside", "D2/Inside"] {
        assert_eq!(it.read(Side::Remote, name).as_deref(), Some(name));
    }
    assert_eq!(second.counts.failed, 3, "{:?}", second.items);
    assert_eq!(it.conflicts(), []);
}

#[test]
#[ignore = "needs root, loop devices and mkfs.vfat"]
fn a_change_of_case_travels_to_a_disk_that_ignores_it() {
    let options = "loop,iocharset=utf8,shortname=mixed";
    let (it, _disk) = pair_with(Side::Remote, 16, &["mkfs.vfat"], options);
    it.write(Side::Local, "report.txt", "x");
    it.write(Side::Local, "folder/f", "y");
    it.run();
    fs::rename(it.at(Side::Local, "report.txt"), it.at(Side::Local, "Report.txt")).unwrap();
    fs::rename(it.at(Side::Local, "folder"), it.at(Side::Local, "Folder")).unwrap();
    it.run();
    it.run();
    let names: Vec<_> = it.tree(Side::Remote).into_keys().collect();
    assert_eq!(names, ["Folder", "Folder/f", "Report.txt"]);
    assert_eq!(it.tree(Side::Local).len(), 3);
    assert_eq!(it.conflicts(), []);
}
