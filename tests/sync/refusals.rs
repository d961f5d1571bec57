//! What a run refuses or leaves alone: wrong roots, too many deletes, exclusions, screens, links
//! that lead out of the tree, and journals that are not its own.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests touch the disk")]

mod harness;

use std::fs;
use std::path::Path;
use std::time::Duration;

use harness::{Journal, MARKER, Node, Options, Pairing, Side, SyncError, Verdict, verdict};
use homeport_sync::{Held, JournalError, RootWord};

fn two_files() -> Pairing {
    Pairing::in_step(&[("d/f", "f"), ("g", "g")])
}

#[test]
fn a_missing_share_changes_nothing() {
    let it = two_files();
    let before = it.tree(Side::Local);
    fs::rename(&it.pair.remote, it.outside().join("moved")).unwrap();
    let error = it.try_run(&it.options).unwrap_err();
    assert!(matches!(error, SyncError::RootUnavailable { side: Side::Remote, .. }));
    assert_eq!(it.tree(Side::Local), before);
}

#[test]
fn an_emptied_root_is_no_deletion() {
    for side in [Side::Local, Side::Remote] {
        let it = two_files();
        let other = if side == Side::Local { Side::Remote } else { Side::Local };
        let before = it.tree(other);
        fs::remove_dir_all(it.at(side, "")).unwrap();
        fs::create_dir(it.at(side, "")).unwrap();
        let error = it.try_run(&it.options).unwrap_err();
        assert!(matches!(error, SyncError::RootChanged { side: s, .. } if s == side), "{side}");
        assert_eq!(it.tree(other), before, "{side}");
    }
}

/// As `rm -rf *` leaves a root.
fn empty_but_for_its_mark(it: &Pairing, side: Side) {
    for path in it.tree(side).into_keys().filter(|path| !path.contains('/')) {
        it.remove(side, &path);
    }
    assert!(fs::exists(it.at(side, MARKER)).unwrap());
}

#[test]
fn an_emptied_root_is_no_deletion_even_with_its_mark() {
    for side in [Side::Local, Side::Remote] {
        let other = if side == Side::Local { Side::Remote } else { Side::Local };
        let it = two_files();
        let before = it.tree(other);
        empty_but_for_its_mark(&it, side);
        let error = it.try_run(&it.options).unwrap_err();
        assert!(matches!(error, SyncError::RootChanged { side: s, .. } if s == side), "{side}");
        assert_eq!(it.tree(other), before, "{side}");
        let adopt = Options { root: RootWord::Merge, release_deletes: true, ..it.options.clone() };
        it.try_run(&adopt).unwrap();
        assert_eq!((it.tree(side), it.tree(other)), (before.clone(), before), "{side}");
        empty_but_for_its_mark(&it, side);
        let release = Options { release_deletes: true, ..it.options.clone() };
        it.try_run(&release).unwrap_err();
        let believe = Options { root: RootWord::Believe, ..release };
        it.try_run(&believe).unwrap();
        assert_eq!(it.tree(other).len(), 0, "{side}");
    }
}

/// Twelve files, edited since the backup to which one side went back; one is younger than that.
fn restored(side: Side) -> Pairing {
    let it = Pairing::new();
    for n in 0..12 {
        it.write(Side::Local, &format!("d{}/f{n}", n % 4), "old");
    }
    it.run();
    let backup = it.outside().join("backup");
    copy(&it.at(side, ""), &backup);
    for n in 0..12 {
        it.write(Side::Local, &format!("d{}/f{n}", n % 4), "new");
    }
    it.write(Side::Local, "young", "young");
    it.run();
    it.assert_equal();
    fs::remove_dir_all(it.at(side, "")).unwrap();
    fs::rename(backup, it.at(side, "")).unwrap();
    it
}

/// As a backup does: with times.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (meta, to) = (entry.metadata().unwrap(), to.join(entry.file_name()));
        if meta.is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).unwrap();
            harness::set_mtime(&to, meta.modified().unwrap());
        }
    }
}

#[test]
fn a_restored_root_halts_until_somebody_says_what_it_is() {
    for side in [Side::Local, Side::Remote] {
        let it = restored(side);
        let trees = || (it.tree(Side::Local), it.tree(Side::Remote));
        let before = trees();
        let release = Options { release_deletes: true, ..it.options.clone() };
        let some = Options { only: vec!["d1".to_owned()], ..it.options.clone() };
        for options in [&it.options, &release, &some] {
            let error = it.try_run(options).unwrap_err();
            assert!(
                matches!(error, SyncError::RootChanged { side: s, .. } if s == side),
                "{error}"
            );
            assert_eq!(trees(), before, "{side}");
        }
        // One edit more, and fewer files are back than make a restored root: it still halts.
        for n in 0..4 {
            it.write(side, &format!("d{n}/f{n}"), "newer");
        }
        it.try_run(&it.options).unwrap_err();
    }
}

#[test]
fn a_restored_root_is_merged_without_a_loss() {
    for side in [Side::Local, Side::Remote] {
        let it = restored(side);
        let merge = Options { root: RootWord::Merge, ..it.options.clone() };
        let counts = it.try_run(&merge).unwrap().counts;
        assert_eq!((counts.deleted_local, counts.deleted_remote), (0, 0), "{side}");
        assert_eq!(it.conflicts().len(), 12, "{side}: old and new are a person's to choose");
        for side in [Side::Local, Side::Remote] {
            assert_eq!(it.read(side, "young").as_deref(), Some("young"), "{side}");
        }
        it.run();
    }
}

#[test]
fn a_restored_root_is_believed_when_somebody_says_so() {
    let it = restored(Side::Remote);
    it.try_run(&it.options).unwrap_err();
    let believe = Options { root: RootWord::Believe, ..it.options.clone() };
    it.try_run(&believe).unwrap();
    it.assert_equal();
    assert_eq!(it.read(Side::Local, "d1/f1").as_deref(), Some("old"));
    assert_eq!(it.read(Side::Local, "young"), None);
    assert_eq!(it.recycle().len(), 13, "what went is kept");
    it.run();
}

#[test]
fn a_part_of_a_tree_waits_for_the_whole_where_files_went_back() {
    let it = restored(Side::Remote);
    it.write(Side::Local, "d1/more", "more");
    let some = Options { only: vec!["d1".to_owned()], ..it.options.clone() };
    let report = it.try_run(&some).unwrap();
    assert!(matches!(verdict(&report, "d1/f1"), Some(Verdict::Skipped { .. })));
    assert_eq!(it.read(Side::Local, "d1/f1").as_deref(), Some("new"));
    assert_eq!(it.read(Side::Remote, "d1/more").as_deref(), Some("more"));
    it.try_run(&it.options).unwrap_err();
}

#[test]
fn the_last_file_may_be_deleted() {
    for side in [Side::Local, Side::Remote] {
        let it = Pairing::in_step(&[("f", "f")]);
        it.remove(side, "f");
        it.run();
        it.assert_equal();
        it.assert_idle();
    }
}

#[test]
fn two_emptied_roots_are_at_rest() {
    let it = two_files();
    empty_but_for_its_mark(&it, Side::Local);
    empty_but_for_its_mark(&it, Side::Remote);
    it.run();
    it.assert_idle();
    assert_eq!(it.journal().item_count().unwrap(), 0);
}

#[test]
fn a_tree_that_is_excluded_as_a_whole_is_not_taken_for_emptied() {
    let mut it = two_files();
    it.options.exclude = vec!["**".to_owned()];
    it.run();
    assert_eq!(it.journal().item_count().unwrap(), 3);
}

#[test]
fn a_share_without_a_mark_still_cannot_vanish() {
    let it = Pairing::new();
    it.write(Side::Remote, "f", "f");
    let only_in = Options { sync_out: false, ..it.options.clone() };
    it.try_run(&only_in).unwrap();
    assert!(!fs::exists(it.at(Side::Remote, MARKER)).unwrap());
    it.remove(Side::Remote, "f");
    let error = it.try_run(&only_in).unwrap_err();
    assert!(matches!(error, SyncError::RootChanged { side: Side::Remote, .. }));
    assert_eq!(it.read(Side::Local, "f").as_deref(), Some("f"));
}

#[test]
fn a_swapped_root_is_refused() {
    let it = two_files();
    let before = it.tree(Side::Local);
    let stranger = Pairing::in_step(&[("strange", "x")]);
    fs::rename(&it.pair.remote, it.outside().join("old")).unwrap();
    fs::rename(&stranger.pair.remote, &it.pair.remote).unwrap();
    let error = it.try_run(&it.options).unwrap_err();
    assert!(matches!(error, SyncError::RootChanged { side: Side::Remote, .. }));
    assert_eq!(it.tree(Side::Local), before);
}

#[test]
fn a_local_root_that_is_gone_is_refused_and_not_made_again() {
    for files in [&[("f", "f")][..], &[]] {
        let it = Pairing::in_step(files);
        it.run();
        let before = it.tree(Side::Remote);
        fs::remove_dir_all(&it.pair.local).unwrap();
        let error = it.try_run(&it.options).unwrap_err();
        assert!(matches!(error, SyncError::RootChanged { side: Side::Local, .. }), "{files:?}");
        assert_eq!(it.tree(Side::Remote), before);
        assert!(!fs::exists(&it.pair.local).unwrap(), "{files:?}");
    }
}

#[test]
fn the_local_root_is_made_on_first_use() {
    let it = Pairing::new();
    fs::remove_dir(&it.pair.local).unwrap();
    it.write(Side::Remote, "f", "f");
    it.run();
    it.assert_equal();
}

#[test]
fn adopting_a_root_merges_and_deletes_nothing() {
    let it = two_files();
    it.remove(Side::Remote, "g");
    fs::remove_file(it.at(Side::Remote, MARKER)).unwrap();
    it.write(Side::Remote, "new", "new");
    let adopt = Options { root: RootWord::Merge, ..it.options.clone() };
    let counts = it.try_run(&adopt).unwrap().counts;
    assert_eq!((counts.deleted_local, counts.deleted_remote), (0, 0));
    it.assert_equal();
    assert_eq!(it.tree(Side::Local).len(), 4);
    it.assert_idle();
}

#[test]
fn adopting_the_known_roots_changes_nothing() {
    let it = two_files();
    it.remove(Side::Local, "g");
    let adopt = Options { root: RootWord::Merge, ..it.options.clone() };
    it.try_run(&adopt).unwrap();
    assert_eq!(it.read(Side::Local, "g"), None);
    it.assert_equal();
}

#[test]
fn adopting_a_local_root_that_is_gone_fills_it_again() {
    let it = two_files();
    let before = it.tree(Side::Remote);
    fs::remove_dir_all(&it.pair.local).unwrap();
    let adopt = Options { root: RootWord::Merge, ..it.options.clone() };
    it.try_run(&adopt).unwrap();
    assert_eq!((it.tree(Side::Local), it.tree(Side::Remote)), (before.clone(), before));
    it.assert_idle();
}

#[test]
fn a_local_root_that_is_not_the_known_one_has_nothing_pending() {
    let spoil: [fn(&Pairing); 4] = [
        |it| empty_but_for_its_mark(it, Side::Local),
        |it| fs::remove_file(it.at(Side::Local, MARKER)).unwrap(),
        |it| fs::write(it.at(Side::Local, MARKER), "another").unwrap(),
        |it| fs::remove_dir_all(&it.pair.local).unwrap(),
    ];
    for (n, spoil) in spoil.iter().enumerate() {
        let it = two_files();
        spoil(&it);
        let pending = homeport_sync::pending(&it.pair, &mut it.journal(), &it.options);
        let changed = matches!(pending, Err(SyncError::RootChanged { side: Side::Local, .. }));
        assert!(changed, "{n}");
    }
}

#[test]
fn roots_that_overlap_are_refused() {
    for way in ["equal", "local inside", "remote inside", "not there yet", "link", "dots"] {
        let mut it = Pairing::new();
        it.write(Side::Remote, "f", "f");
        it.mkdir(Side::Remote, "in");
        let remote = it.pair.remote.clone();
        match way {
            "equal" => it.pair.local = remote,
            "local inside" => it.pair.local = remote.join("in"),
            "remote inside" => {
                (it.pair.local, it.pair.remote) = (remote.clone(), remote.join("in"))
            }
            "not there yet" => it.pair.local = remote.join("new/deep"),
            "dots" => it.pair.local = it.pair.local.join("../remote/in"),
            _ => {
                it.pair.local = it.outside().join("link");
                std::os::unix::fs::symlink(&remote, &it.pair.local).unwrap();
            }
        }
        let error = it.try_run(&it.options).unwrap_err();
        assert!(matches!(error, SyncError::Overlap { .. }), "{way}: {error}");
        let left: Vec<_> = Pairing::list(&it.at(Side::Remote, ""));
        assert!(left.iter().all(|name| ["f", "in"].contains(&name.as_str())), "{way}: {left:?}");
        assert_eq!(Pairing::list(&it.outside()).len(), usize::from(way == "link"), "{way}");
    }
}

#[test]
fn excluded_paths_stay_and_keep_their_folder() {
    let mut it = two_files();
    it.options.exclude = vec!["**/*.tmp".to_owned(), "cache".to_owned()];
    it.write(Side::Local, "d/a.tmp", "here");
    it.write(Side::Remote, "d/b.tmp", "there");
    it.write(Side::Remote, "cache/deep/x", "there");
    it.remove(Side::Local, "d/f");
    it.run();
    it.remove(Side::Remote, "d");
    it.run();
    let local: Vec<_> = it.tree(Side::Local).into_keys().collect();
    let remote: Vec<_> = it.tree(Side::Remote).into_keys().collect();
    assert_eq!(local, ["d", "d/a.tmp", "g"]);
    assert_eq!(remote, ["cache", "cache/deep", "cache/deep/x", "g"]);
}

#[test]
fn what_is_excluded_later_is_not_deleted() {
    let mut it = two_files();
    it.options.exclude = vec!["d".to_owned()];
    it.remove(Side::Remote, "d");
    it.run();
    assert_eq!(it.read(Side::Local, "d/f").as_deref(), Some("f"));
}

#[test]
fn screened_files_are_reported_and_never_copied() {
    let mut it = two_files();
    it.options.screens = vec!["*.MP3".to_owned()];
    it.write(Side::Local, "d/song.mp3", "la");
    it.write(Side::Remote, "Tune.Mp3", "la");
    let report = it.run();
    assert_eq!(report.counts.screened, 2);
    assert_eq!(verdict(&report, "d/song.mp3"), Some(&Verdict::Screened));
    assert_eq!(it.read(Side::Remote, "d/song.mp3"), None);
    assert_eq!(it.read(Side::Local, "Tune.Mp3"), None);
}

fn thirty_files() -> Pairing {
    let it = Pairing::new();
    for n in 0..30 {
        it.write(Side::Local, &format!("f{n}"), "x");
    }
    it.run();
    it
}

fn remove_some(it: &Pairing, side: Side, count: u64) {
    for n in 0..count {
        it.remove(side, &format!("f{n}"));
    }
}

#[test]
fn the_brake_holds_deletes_and_nothing_else() {
    let it = thirty_files();
    remove_some(&it, Side::Remote, 20);
    it.write(Side::Remote, "new", "new");
    let report = it.run();
    assert_eq!(report.held, Some(Held { deletes_local: 20, ..Held::default() }));
    assert_eq!(it.tree(Side::Local).len(), 31);
    let release = Options { release_deletes: true, ..it.options.clone() };
    assert_eq!(it.try_run(&release).unwrap().counts.deleted_local, 20);
    it.assert_equal();
}

#[test]
fn the_brake_has_an_absolute_limit() {
    let mut it = thirty_files();
    it.options.max_deletes = 3;
    remove_some(&it, Side::Local, 4);
    let report = it.run();
    assert_eq!(report.held, Some(Held { deletes_remote: 4, ..Held::default() }));
    it.options.max_deletes = 4;
    assert_eq!(it.run().counts.deleted_remote, 4);
}

#[test]
fn deletes_that_may_not_travel_do_not_pull_the_brake() {
    let it = thirty_files();
    remove_some(&it, Side::Local, 20);
    it.remove(Side::Remote, "f25");
    let only_in = Options { sync_out: false, ..it.options.clone() };
    let report = it.try_run(&only_in).unwrap();
    assert_eq!((report.held, report.counts.deleted_local), (None, 1));
}

#[test]
fn a_folder_swapped_for_a_link_is_never_written_through() {
    for side in [Side::Local, Side::Remote] {
        let it = two_files();
        let other = if side == Side::Local { Side::Remote } else { Side::Local };
        it.remove(side, "d");
        it.link(side, "d", it.outside());
        it.write(other, "d/f", "edited");
        it.write(other, "d/new", "new");
        it.run();
        it.run();
        assert_eq!(fs::read_dir(it.outside()).unwrap().count(), 0, "{side}");
        assert_eq!(it.tree(side)["d"], Node::Link(it.outside()), "{side}");
        assert_eq!(it.read(other, "d/f").as_deref(), Some("edited"), "{side}");
    }
}

#[test]
fn a_link_to_outside_is_deleted_and_its_target_stays() {
    let it = two_files();
    fs::write(it.outside().join("precious"), "x").unwrap();
    it.link(Side::Local, "out", it.outside());
    it.run();
    it.remove(Side::Local, "out");
    it.run();
    it.assert_equal();
    assert_eq!(fs::read_dir(it.outside()).unwrap().count(), 1);
}

#[test]
fn a_journal_is_used_by_one_at_a_time() {
    let it = two_files();
    let _first = it.journal();
    let second = Journal::open(&it.journal_path());
    assert!(matches!(second, Err(JournalError::Busy { .. })));
}

#[test]
fn journals_in_one_directory_do_not_wait_for_each_other() {
    let it = two_files();
    let _first = it.journal();
    assert!(Journal::open(&it.state.join("another.db")).is_ok());
}

#[test]
fn a_journal_of_a_newer_version_is_refused() {
    let it = two_files();
    let database = rusqlite::Connection::open(it.journal_path()).unwrap();
    database.pragma_update(None, "user_version", 1_000).unwrap();
    drop(database);
    let error = Journal::open(&it.journal_path()).unwrap_err();
    assert!(matches!(error, JournalError::Newer { found: 1_000, .. }));
}

#[test]
fn a_damaged_journal_is_refused() {
    let it = two_files();
    let path = it.journal_path();
    for tail in ["-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{tail}", path.display()));
    }
    fs::write(&path, "no database at all, but long enough to have a header").unwrap();
    assert!(matches!(Journal::open(&path), Err(JournalError::Database { .. })));
}

#[test]
fn the_journal_says_when_both_directions_last_ran() {
    let it = two_files();
    let last = it.journal().last_sync().unwrap();
    let next = it.now() + Duration::from_secs(60);
    it.run();
    assert!(last < Some(next));
    assert_eq!(it.journal().last_sync().unwrap(), Some(next));
}

#[test]
fn the_recycle_area_is_swept_by_age() {
    let it = two_files();
    it.remove(Side::Remote, "g");
    it.run();
    let (journal, now) = (it.journal(), it.now());
    assert_eq!(journal.recycle_sweep(now, Duration::from_secs(3_600)).unwrap(), 0);
    assert_eq!(it.recycle().len(), 1);
    let later = now + Duration::from_secs(7_200);
    assert_eq!(journal.recycle_sweep(later, Duration::from_secs(3_600)).unwrap(), 1);
    assert_eq!(it.recycle().len(), 0);
}

#[test]
fn a_malformed_pattern_is_named() {
    let mut it = two_files();
    it.options.exclude = vec!["a[".to_owned()];
    let error = it.try_run(&it.options).unwrap_err();
    assert!(matches!(error, SyncError::Pattern(_)));
    assert!(error.to_string().contains("a["));
}

#[test]
fn the_brake_counts_the_whole_tree_when_a_part_is_looked_at() {
    let it = Pairing::new();
    for number in 0..100 {
        it.write(Side::Local, &format!("{}/{number}", number % 4), "x");
    }
    it.run();
    it.remove(Side::Local, "1");
    let only = Options { only: vec!["1".to_owned()], ..it.options.clone() };
    let report = it.try_run(&only).unwrap();
    assert_eq!((report.held, report.counts.deleted_remote), (None, 26));
}

#[test]
fn a_damaged_journal_ends_a_run_with_an_error_and_not_never() {
    let damage = [
        "UPDATE item SET folder = 0 WHERE name = 'd'",
        "UPDATE item SET parent = (SELECT folder FROM item WHERE name = 'e') WHERE name = 'd'",
        "UPDATE item SET kind = 9 WHERE name = 'f'",
        "UPDATE item SET hash = x'00' WHERE name = 'f'",
        "UPDATE meta SET value = '9999999999999999999' WHERE key = 'last-sync'",
    ];
    for sql in damage {
        let it = Pairing::in_step(&[("d/e/f", "f"), ("g", "g")]);
        rusqlite::Connection::open(it.journal_path()).unwrap().execute(sql, []).unwrap();
        std::fs::rename(it.at(Side::Local, "d"), it.at(Side::Local, "h")).unwrap();
        let _ = it.journal().last_sync();
        let _ = homeport_sync::ls(&it.pair, &mut it.journal(), "", &it.options);
        let _ = homeport_sync::pending(&it.pair, &mut it.journal(), &it.options);
        let _ = it.try_run(&it.options);
        let texts: Vec<_> = it.tree(Side::Local).into_values().collect();
        assert!(texts.contains(&harness::Node::File(b"f".to_vec())), "{sql}");
    }
}
