//! What a run does to two trees: fills, edits, deletes, changes of type, odd names and modes.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests touch the disk")]

mod harness;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use harness::{Flow, Node, Options, Pairing, Side, go_on, verdict};
use homeport_sync::fs::{Gate, Op};
use homeport_sync::{PendingChange, Verdict};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

const BOTH: [Side; 2] = [Side::Local, Side::Remote];

fn other(side: Side) -> Side {
    if side == Side::Local { Side::Remote } else { Side::Local }
}

#[test]
fn the_first_run_fills_both_sides() {
    let it = Pairing::new();
    it.write(Side::Local, "here/a.txt", "a");
    it.write(Side::Remote, "there/b.txt", "bb");
    let report = it.run();
    it.assert_equal();
    assert_eq!((report.counts.uploaded, report.counts.downloaded), (2, 2));
    assert_eq!((report.bytes_out, report.bytes_in), (1, 2));
    it.assert_idle();
}

#[test]
fn an_edit_travels_from_either_side() {
    for side in BOTH {
        let it = Pairing::in_step(&[("f", "old"), ("g", "rest")]);
        it.write(side, "f", "new");
        it.run();
        assert_eq!(it.read(other(side), "f").as_deref(), Some("new"), "{side}");
        it.assert_idle();
    }
}

#[test]
fn a_replaced_version_here_goes_to_the_recycle_area() {
    let it = Pairing::in_step(&[("f", "old")]);
    it.write(Side::Remote, "f", "new");
    it.run();
    assert_eq!(it.recycle(), [b"old"]);
}

#[test]
fn the_recycle_area_may_be_on_another_disk() {
    let disk = tempfile::tempdir().unwrap();
    let mut it = Pairing::new();
    it.state = disk.path().to_owned();
    it.write(Side::Local, "f", "gone");
    it.link(Side::Local, "link", "f");
    it.write(Side::Local, "rest", "stays");
    it.run();
    it.remove(Side::Remote, "f");
    it.remove(Side::Remote, "link");
    assert_eq!(it.run().counts.deleted_local, 2);
    assert_eq!(it.recycle(), [&b"f"[..], b"gone"]);
}

#[test]
fn a_delete_travels_from_either_side() {
    for side in BOTH {
        let it = Pairing::in_step(&[("d/f", "gone"), ("g", "stays")]);
        it.remove(side, "d");
        it.run();
        it.assert_equal();
        assert_eq!(it.read(other(side), "d/f"), None, "{side}");
        assert_eq!(it.read(other(side), "g").as_deref(), Some("stays"), "{side}");
        it.assert_idle();
    }
}

#[test]
fn what_was_deleted_may_be_made_again_as_it_was() {
    for side in BOTH {
        let it = Pairing::in_step(&[("f", "same"), ("g", "g")]);
        it.remove(side, "f");
        it.run();
        it.write(other(side), "f", "same");
        it.run();
        assert_eq!(it.read(side, "f").as_deref(), Some("same"), "{side}");
        it.assert_equal();
    }
}

#[test]
fn a_version_deleted_here_goes_to_the_recycle_area() {
    let it = Pairing::in_step(&[("f", "gone")]);
    it.remove(Side::Remote, "f");
    it.run();
    assert_eq!(it.recycle(), [b"gone"]);
}

#[test]
fn an_edit_beats_a_delete() {
    for side in BOTH {
        let it = Pairing::in_step(&[("d/f", "old"), ("d/g", "g"), ("h", "h")]);
        it.write(side, "d/f", "edited");
        it.remove(other(side), "d");
        it.run();
        it.assert_equal();
        assert_eq!(it.read(side, "d/f").as_deref(), Some("edited"), "{side}");
        assert_eq!(it.read(side, "d/g"), None, "{side}");
        it.assert_idle();
    }
}

#[test]
fn a_new_file_keeps_the_folder_that_the_other_side_deleted() {
    for side in BOTH {
        let it = Pairing::in_step(&[("a/b/c/old", "old"), ("rest", "x")]);
        it.write(side, "a/b/new", "new");
        it.remove(other(side), "a");
        it.run();
        it.assert_equal();
        assert_eq!(it.read(other(side), "a/b/new").as_deref(), Some("new"), "{side}");
        assert!(!it.tree(side).contains_key("a/b/c"), "{side}");
        it.assert_idle();
    }
}

#[test]
fn equal_content_is_adopted() {
    let it = Pairing::new();
    for side in BOTH {
        it.write(side, "d/f", "same");
    }
    let report = it.run();
    assert_eq!(report.items, []);
    it.assert_idle();
    it.remove(Side::Local, "d/f");
    it.run();
    assert_eq!(it.read(Side::Remote, "d/f"), None);
}

#[test]
fn equal_files_in_place_of_a_folder_are_adopted() {
    let it = Pairing::in_step(&[("d/f", "f")]);
    for side in BOTH {
        it.remove(side, "d");
        it.write(side, "d", "same");
    }
    it.run();
    it.write(Side::Local, "d", "edited here alone");
    assert_eq!(it.run().counts.conflicts_new, 0);
    it.assert_equal();
}

#[test]
fn a_file_gives_way_to_a_folder() {
    for side in BOTH {
        let it = Pairing::in_step(&[("x", "file")]);
        it.remove(side, "x");
        it.write(side, "x/inside", "new");
        it.run();
        it.assert_equal();
        assert_eq!(it.read(other(side), "x/inside").as_deref(), Some("new"), "{side}");
        it.assert_idle();
    }
}

#[test]
fn a_folder_gives_way_to_a_file() {
    for side in BOTH {
        let it = Pairing::in_step(&[("x/y/inside", "old")]);
        it.remove(side, "x");
        it.write(side, "x", "file");
        it.run();
        it.assert_equal();
        assert_eq!(it.read(other(side), "x").as_deref(), Some("file"), "{side}");
        it.assert_idle();
    }
}

#[test]
fn a_file_and_a_link_give_way_to_each_other() {
    for side in BOTH {
        let it = Pairing::in_step(&[("x", "file")]);
        it.remove(side, "x");
        it.link(side, "x", "elsewhere");
        it.run();
        it.assert_equal();
        it.remove(other(side), "x");
        it.write(other(side), "x", "file again");
        it.run();
        it.assert_equal();
        assert_eq!(it.read(side, "x").as_deref(), Some("file again"), "{side}");
        it.assert_idle();
    }
}

#[test]
fn links_travel_as_text() {
    let it = Pairing::new();
    it.link(Side::Local, "dangling", "/no/such/place");
    it.link(Side::Remote, "up", "../../..");
    it.run();
    it.assert_equal();
    let tree = it.tree(Side::Local);
    assert_eq!(tree["up"], Node::Link("../../..".into()));
    assert_eq!(it.tree(Side::Remote)["dangling"], Node::Link("/no/such/place".into()));
    it.assert_idle();
}

#[test]
fn odd_names_and_empty_files_travel() {
    let it = Pairing::new();
    let deep = vec!["deep"; 60].join("/");
    let names = [" lead and trail ", "Grüße 日本 🏠", "it's \"quoted\"", "a\nb\tc", "back\\slash"];
    for (n, name) in names.iter().enumerate() {
        it.write(BOTH[n % 2], name, "");
        it.write(BOTH[n % 2], &format!("{deep}/{name}/{name}"), "x");
    }
    it.write(Side::Remote, &"long ".repeat(51), "name of 255 bytes");
    it.run();
    it.assert_equal();
    assert_eq!(it.read(Side::Remote, names[0]).as_deref(), Some(""));
    it.assert_idle();
}

#[test]
fn a_long_name_of_wide_characters_is_replaced() {
    let name = "あ".repeat(85);
    let it = Pairing::in_step(&[(&name, "old")]);
    it.write(Side::Remote, &name, "new");
    it.run();
    assert_eq!(it.read(Side::Local, &name).as_deref(), Some("new"));
}

#[test]
fn read_only_files_are_copied_replaced_and_deleted() {
    for side in BOTH {
        let it = Pairing::new();
        let lock = |path: &str, text: &str| {
            it.write(side, path, text);
            let read_only = fs::Permissions::from_mode(0o400);
            fs::set_permissions(it.at(side, path), read_only).unwrap();
        };
        lock("f", "old");
        lock("g", "g");
        it.run();
        let mode = fs::metadata(it.at(other(side), "f")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o400, "{side}");
        it.remove(side, "f");
        it.remove(side, "g");
        lock("f", "newer");
        it.run();
        it.assert_equal();
        assert_eq!(it.read(other(side), "f").as_deref(), Some("newer"), "{side}");
    }
}

#[test]
fn a_copy_keeps_the_time_of_its_source() {
    let it = Pairing::in_step(&[("f", "x")]);
    let time = |side| fs::metadata(it.at(side, "f")).unwrap().modified().unwrap();
    assert_eq!(time(Side::Local), time(Side::Remote));
}

#[test]
fn a_change_of_mode_alone_is_no_edit() {
    let it = Pairing::in_step(&[("f", "x")]);
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(it.at(Side::Local, "f"), mode).unwrap();
    it.assert_idle();
}

#[test]
fn an_edit_that_keeps_time_and_size_is_seen_here() {
    let it = Pairing::in_step(&[("f", "old")]);
    let path = it.at(Side::Local, "f");
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, "new").unwrap();
    harness::set_mtime(&path, time);
    it.run();
    assert_eq!(it.read(Side::Remote, "f").as_deref(), Some("new"));
}

#[test]
fn an_edit_within_the_grain_of_the_clock_is_seen() {
    let it = Pairing::new();
    it.write(Side::Remote, "f", "old");
    let path = it.at(Side::Remote, "f");
    let soon = it.now() + std::time::Duration::from_secs(60);
    harness::set_mtime(&path, soon);
    it.run();
    fs::write(&path, "new").unwrap();
    harness::set_mtime(&path, soon);
    it.run();
    assert_eq!(it.read(Side::Local, "f").as_deref(), Some("new"));
}

/// Counts how often the file `f` is read.
struct Reads(AtomicU32);

impl Gate for Reads {
    fn pass(&self, op: Op, path: &str) -> std::io::Result<()> {
        self.0.fetch_add(u32::from(op == Op::Read && path == "f"), SeqCst);
        Ok(())
    }
}

#[test]
fn a_file_that_was_new_is_not_read_for_ever() {
    let it = Pairing::new();
    it.write(Side::Local, "f", "x");
    let now = it.now() + std::time::Duration::from_secs(60);
    harness::set_mtime(&it.at(Side::Local, "f"), now);
    it.run();
    it.run();
    let reads = Reads(AtomicU32::new(0));
    it.run_through(&reads).unwrap();
    assert_eq!(reads.0.load(SeqCst), 0);
}

#[test]
fn the_mark_of_a_share_can_be_read_by_all_its_users() {
    let it = Pairing::in_step(&[]);
    let mark = fs::metadata(it.at(Side::Remote, harness::MARKER)).unwrap();
    assert_eq!(mark.permissions().mode() & 0o777, 0o644);
}

#[test]
fn one_way_in_leaves_changes_here_pending() {
    let it = Pairing::in_step(&[("f", "f"), ("g", "g")]);
    it.write(Side::Local, "mine", "mine");
    it.remove(Side::Local, "g");
    it.write(Side::Remote, "theirs", "theirs");
    let before = it.tree(Side::Remote);
    let only_in = Options { sync_out: false, ..it.options.clone() };
    it.try_run(&only_in).unwrap();
    assert_eq!(it.read(Side::Local, "theirs").as_deref(), Some("theirs"));
    assert_eq!(it.tree(Side::Remote), before);
    it.run();
    it.assert_equal();
    assert_eq!(it.read(Side::Remote, "g"), None);
}

#[test]
fn one_way_out_leaves_changes_there_waiting() {
    let it = Pairing::in_step(&[("f", "f"), ("g", "g")]);
    it.write(Side::Local, "mine", "mine");
    it.write(Side::Remote, "theirs", "theirs");
    it.remove(Side::Remote, "g");
    let only_out = Options { sync_in: false, ..it.options.clone() };
    it.try_run(&only_out).unwrap();
    assert_eq!(it.read(Side::Remote, "mine").as_deref(), Some("mine"));
    assert_eq!(it.read(Side::Local, "theirs"), None);
    assert_eq!(it.read(Side::Local, "g").as_deref(), Some("g"));
    it.run();
    it.assert_equal();
    assert_eq!(it.read(Side::Local, "g"), None);
}

#[test]
fn pending_counts_what_is_only_here() {
    let it = Pairing::in_step(&[("changed", "old"), ("removed", "x"), ("same", "x")]);
    it.write(Side::Local, "changed", "12345");
    it.write(Side::Local, "created", "123");
    it.remove(Side::Local, "removed");
    it.write(Side::Remote, "theirs", "not counted");
    let pending = homeport_sync::pending(&it.pair, &mut it.journal(), &it.options).unwrap();
    let items: Vec<_> =
        pending.items.iter().map(|i| (i.path.as_str(), i.change, i.bytes)).collect();
    let expected = [
        ("changed", PendingChange::Changed, 5),
        ("created", PendingChange::Created, 3),
        ("removed", PendingChange::Removed, 0),
    ];
    assert_eq!(items, expected);
    assert_eq!((pending.total_items, pending.total_bytes), (3, 8));
}

#[test]
fn nothing_is_pending_after_a_run() {
    let it = Pairing::in_step(&[("d/f", "f"), ("g", "g")]);
    let pending = homeport_sync::pending(&it.pair, &mut it.journal(), &it.options).unwrap();
    assert_eq!(pending, homeport_sync::Pending::default());
}

#[test]
fn cancelling_keeps_what_is_done() {
    let it = Pairing::new();
    let count = 2_500;
    for number in 0..count {
        it.write(Side::Local, &format!("{number}"), "x");
    }
    let now = it.now();
    let mut stop = |tell: homeport_sync::Tell<'_>| match tell {
        homeport_sync::Tell::Begin { .. } => Flow::Continue,
        homeport_sync::Tell::Item(_) => Flow::Cancel,
    };
    let mut journal = it.journal();
    let report = homeport_sync::sync(&it.pair, &mut journal, &it.options, now, &mut stop).unwrap();
    assert!(report.cancelled);
    let (done, recorded) = (report.counts.uploaded, journal.item_count().unwrap());
    assert!(done < count, "{done}");
    assert_eq!((done, recorded), (it.tree(Side::Remote).len() as u64, done));
    let now = it.now();
    homeport_sync::sync(&it.pair, &mut journal, &it.options, now, &mut go_on).unwrap();
    it.assert_equal();
}

#[test]
fn a_name_that_is_not_utf_8_is_reported_and_the_rest_goes_on() {
    use std::os::unix::ffi::OsStrExt as _;
    let it = Pairing::new();
    let odd = std::ffi::OsStr::from_bytes(b"odd\xff");
    fs::write(it.pair.local.join(odd), "x").unwrap();
    std::os::unix::fs::symlink(odd, it.pair.local.join("odd link")).unwrap();
    it.write(Side::Local, "good", "good");
    let report = it.run();
    assert_eq!(report.counts.failed, 2);
    assert!(matches!(verdict(&report, "odd\u{fffd}"), Some(Verdict::Failed { .. })));
    assert_eq!(it.tree(Side::Remote).into_keys().collect::<Vec<_>>(), ["good"]);
}

#[test]
fn a_pipe_is_skipped_and_keeps_its_folder() {
    let it = Pairing::in_step(&[("d/f", "f"), ("g", "g")]);
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, it.at(Side::Local, "d/pipe"), kind, mode, 0).unwrap();
    it.remove(Side::Remote, "d");
    let report = it.run();
    assert!(matches!(verdict(&report, "d/pipe"), Some(Verdict::Skipped { .. })));
    assert_eq!(it.tree(Side::Local)["d/pipe"], Node::Other);
    assert_eq!(it.read(Side::Local, "d/f"), None);
}

#[test]
fn each_item_is_taken_up_once_before_it_is_done_with() {
    use homeport_sync::Tell;
    let it = Pairing::new();
    for name in ["changed", "gone", "moved", "clash", "d/in"] {
        it.write(Side::Local, name, name);
    }
    it.run();
    it.write(Side::Remote, "changed", "anew");
    it.remove(Side::Local, "gone");
    it.remove(Side::Local, "d");
    fs::rename(it.at(Side::Local, "moved"), it.at(Side::Local, "moved on")).unwrap();
    for side in [Side::Local, Side::Remote] {
        it.write(side, "clash", format!("of the {side}"));
    }
    it.write(Side::Local, "new/file", "new");
    std::os::unix::net::UnixListener::bind(it.at(Side::Local, "socket")).unwrap();
    let (mut begun, mut done) = (Vec::new(), Vec::new());
    let mut tell = |tell: Tell<'_>| {
        match tell {
            Tell::Begin { path, .. } => begun.push(path.to_owned()),
            Tell::Item(item) => {
                assert!(begun.contains(&item.path), "{}", item.path);
                done.push(item.path.clone());
            }
        }
        Flow::Continue
    };
    let now = it.now();
    homeport_sync::sync(&it.pair, &mut it.journal(), &it.options, now, &mut tell).unwrap();
    begun.sort();
    done.sort();
    assert_eq!(begun, done);
    let names = ["changed", "clash", "d", "d/in", "gone", "moved on", "new", "new/file", "socket"];
    assert_eq!(done, names);
}
