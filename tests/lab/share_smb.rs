//! Shares over SMB without a mount: the engine, the helper and a real Samba file server.
#![allow(clippy::disallowed_methods, reason = "tests touch the disk, the clock and processes")]
#![allow(clippy::disallowed_types, reason = "tests speak over loopback")]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use homeport_agent::share::helper::{Limits, SmbVolume, Start};
use homeport_sync::fs::{Gate, How, Look, Op, Open, Volume as _};
use homeport_sync::{
    Control, Flow, Journal, Options, Pair, Report, Resolve, Share, SyncError, settle, sync_with,
};
use support::dc::Dc;
use support::fileserver::{DomainShare, FileServer, give, tickets, write};
use support::root;
use tempfile::TempDir;

/// One computer of alice's with an offline folder on the share.
struct Desk {
    temp: TempDir,
    start: Start,
    options: Options,
}

impl Desk {
    fn new(start: &Start) -> Self {
        let temp = tempfile::tempdir_in(root()).unwrap();
        fs::create_dir(temp.path().join("local")).unwrap();
        let options = Options { host: "DESK-1".to_owned(), ..Options::default() };
        Self { temp, start: start.clone(), options }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.temp.path().join("local").join(below)
    }

    fn pair(&self) -> Pair {
        let volume = SmbVolume::new(self.start.clone()).unwrap();
        let share = Some(Share(Arc::new(volume)));
        Pair { local: self.path(""), remote: "//files/home".into(), share }
    }

    fn journal(&self) -> Journal {
        Journal::open(&self.temp.path().join("journal.db")).unwrap()
    }

    fn try_sync(&self, gate: &dyn Gate) -> Result<Report, SyncError> {
        let mut tell = |_: homeport_sync::Tell<'_>| Flow::Continue;
        let (control, now) = (Control::default(), SystemTime::now());
        let (pair, mut journal) = (self.pair(), self.journal());
        sync_with(&pair, &mut journal, &self.options, now, &mut tell, &control, gate)
    }

    /// Exchanges, and expects nothing to fail.
    fn sync(&self) -> Report {
        let report = self.try_sync(&Open).unwrap();
        assert_eq!(report.counts.failed, 0, "{:#?}", report.items);
        report
    }

    /// Exchanges, and expects that there is nothing left to do.
    fn is_idle(&self) {
        let counts = self.sync().counts;
        let moved = counts.uploaded + counts.downloaded + counts.deleted_local;
        assert_eq!(moved + counts.deleted_remote, 0, "{}", counts.line());
    }
}

fn volume(start: &Start) -> SmbVolume {
    SmbVolume::new(start.clone()).unwrap()
}

/// Every file below a directory with its content, but for Homeport's own mark.
fn tree(root: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                waiting.push(path);
            } else if name != ".homeport-root" {
                found.push((name, fs::read(path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn bytes(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|at| (at * 31 / 7) as u8 ^ (at >> 12) as u8 ^ seed).collect()
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn everything_travels_both_ways_and_then_there_is_nothing_to_do() {
    let server = FileServer::start();
    let there = server.folder("home", "alice");
    let desk = Desk::new(&server.at("home", &["alice"]));
    let names = ["empty", "short.txt", "Ümläut ñ 漢字 🏠.txt", "a%20b #1 'x' [y] {z}.txt"];
    for (at, name) in names.iter().enumerate() {
        fs::write(desk.path(name), bytes(at * 40, 1)).unwrap();
    }
    fs::create_dir_all(desk.path("deep/er/folder")).unwrap();
    fs::write(desk.path("deep/er/folder/large"), bytes(5_000_001, 2)).unwrap();
    fs::write(desk.path("deep/exactly"), bytes(1 << 20, 3)).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_234_567_890, 123_456_000);
    let file = fs::File::options().write(true).open(desk.path("short.txt")).unwrap();
    file.set_modified(time).unwrap();
    desk.sync();
    assert_eq!(tree(&there), tree(&desk.path("")));
    let on_server = fs::metadata(there.join("short.txt")).unwrap().modified().unwrap();
    assert_eq!(on_server, time, "times travel to the microsecond");
    desk.is_idle();

    write(&there.join("short.txt"), "changed elsewhere");
    write(&there.join("deep/new from there"), bytes(3_000_000, 4));
    fs::remove_file(there.join("empty")).unwrap();
    fs::write(desk.path("deep/exactly"), "changed here").unwrap();
    fs::rename(desk.path("deep/er"), desk.path("renamed")).unwrap();
    desk.sync();
    assert_eq!(tree(&there), tree(&desk.path("")));
    assert_eq!(fs::read(desk.path("short.txt")).unwrap(), b"changed elsewhere");
    assert!(!desk.path("empty").exists());
    desk.is_idle();
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn a_conflict_keeps_both_until_somebody_settles_it() {
    let server = FileServer::start();
    let there = server.folder("home", "alice");
    let desk = Desk::new(&server.at("home", &["alice"]));
    fs::write(desk.path("plan.txt"), "first").unwrap();
    desk.sync();
    fs::write(desk.path("plan.txt"), "mine, longer").unwrap();
    write(&there.join("plan.txt"), "theirs");
    let report = desk.sync();
    assert_eq!(report.counts.conflicts_open, 1);
    assert_eq!(fs::read(desk.path("plan.txt")).unwrap(), b"mine, longer");
    assert_eq!(fs::read(there.join("plan.txt")).unwrap(), b"theirs");
    let now = SystemTime::now();
    let (pair, mut journal) = (desk.pair(), desk.journal());
    settle(&pair, &mut journal, "plan.txt", Resolve::KeepLocal, "DESK-1", now).unwrap();
    assert_eq!(fs::read(there.join("plan.txt")).unwrap(), b"mine, longer");
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn a_rename_takes_no_name_that_is_taken_and_replaces_without_a_gap() {
    let server = FileServer::start();
    let there = server.folder("home", "alice");
    let volume = volume(&server.at("home", &["alice"]));
    let folder = volume.folder("").unwrap();
    write(&there.join("new"), "new");
    write(&there.join("taken"), "somebody's");
    fs::create_dir(there.join("full")).unwrap();
    give(&there.join("full"));
    let kind = |result: io::Result<()>| result.map_err(|error| error.kind());
    let renamed = folder.rename("new", &*folder, "taken", How::New);
    assert_eq!(kind(renamed), Err(ErrorKind::AlreadyExists));
    assert_eq!(fs::read(there.join("taken")).unwrap(), b"somebody's");
    let renamed = folder.rename("new", &*folder, "full", How::New);
    assert_eq!(kind(renamed), Err(ErrorKind::AlreadyExists));
    assert!(there.join("full").is_dir(), "an empty folder is something too");
    folder.rename("new", &*folder, "moved", How::New).unwrap();
    assert_eq!(fs::read(there.join("moved")).unwrap(), b"new");

    // Somebody on the server looks all the time: the name is never without a file.
    let (stop, looks, gaps) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                looks.fetch_add(1, Ordering::SeqCst);
                if fs::read(there.join("taken")).is_err() {
                    gaps.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        for at in 0..200_u32 {
            write(&there.join("next"), at.to_string());
            folder.rename("next", &*folder, "taken", How::Replace).unwrap();
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert_eq!(fs::read(there.join("taken")).unwrap(), b"199");
    assert_eq!(gaps.into_inner(), 0, "of {} looks", looks.into_inner());
}

/// The root of the share may be neither listed nor looked at; the folder of the user below may.
#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn a_root_that_may_not_be_listed_does_not_keep_its_subfolder_offline() {
    let server = FileServer::start();
    let there = server.folder("guarded", "alice");
    write(&there.join("file"), "content");
    // Without Authenticated Users' List and Read Attributes on the root: KB 2512089.
    server.set_acl("guarded", "alice", "REVISION:1,ACL:alice:ALLOWED/OI|CI/FULL");
    server.set_acl("guarded", "/", "REVISION:1,ACL:alice:ALLOWED/0x0/0x00100020");
    let root = volume(&server.at("guarded", &[]));
    let listed = root.folder("").unwrap().list().map(|_| ()).unwrap_err();
    assert_eq!(listed.kind(), ErrorKind::PermissionDenied);
    let desk = Desk::new(&server.at("guarded", &["alice"]));
    desk.sync();
    assert_eq!(fs::read(desk.path("file")).unwrap(), b"content");
    fs::write(desk.path("mine"), "mine").unwrap();
    desk.sync();
    assert_eq!(fs::read(there.join("mine")).unwrap(), b"mine");
    let acl = volume(&server.at("guarded", &["alice"])).security("").unwrap();
    assert!(acl.contains("OWNER:") && acl.contains("ACL:"), "{acl}");
}

/// Stops the server at the n-th operation of a kind.
struct StopAt<'s> {
    op: Op,
    left: AtomicU32,
    server: &'s std::sync::Mutex<FileServer>,
    how: fn(&mut FileServer),
}

impl Gate for StopAt<'_> {
    fn pass(&self, op: Op, _: &str) -> io::Result<()> {
        if op == self.op && self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            (self.how)(&mut self.server.lock().unwrap());
        }
        Ok(())
    }
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn a_server_that_is_killed_in_mid_transfer_leaves_old_or_final_bytes() {
    let mut server = FileServer::start();
    let there = server.folder("home", "alice");
    let mut desk = Desk::new(&server.at("home", &["alice"]));
    desk.options.threads = 1;
    for at in 0..6 {
        fs::write(desk.path(&format!("old {at}")), bytes(300_000, at)).unwrap();
    }
    desk.sync();
    let old = tree(&there);
    for at in 0..6 {
        fs::write(desk.path(&format!("old {at}")), bytes(2_500_000, 100 + at)).unwrap();
        fs::write(desk.path(&format!("new {at}")), bytes(900_000, 50 + at)).unwrap();
    }
    let new = tree(&desk.path(""));
    for (op, left) in [(Op::Stage, 3), (Op::Rename, 2), (Op::List, 1)] {
        let shared = std::sync::Mutex::new(server);
        let gate = StopAt { op, left: left.into(), server: &shared, how: FileServer::stop };
        let report = desk.try_sync(&gate);
        assert!(report.is_err() || report.unwrap().counts.failed > 0, "{op:?}");
        server = shared.into_inner().unwrap();
        for (name, content) in tree(&there) {
            let is = |tree: &[(String, Vec<u8>)]| tree.contains(&(name.clone(), content.clone()));
            let unfinished = name.starts_with(".homeport-tmp-");
            assert!(is(&old) || is(&new) || unfinished, "{op:?}: {name} is neither old nor final");
        }
        assert!(old.iter().all(|(name, _)| there.join(name).exists()), "{op:?}: one is gone");
        assert_eq!(tree(&desk.path("")), new, "{op:?}: nothing here was touched");
        server.restart();
    }
    desk.sync();
    assert_eq!(tree(&there), new);
    desk.is_idle();
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn a_server_that_hangs_is_given_up_in_time_and_nothing_is_deleted() {
    let server = FileServer::start();
    let there = server.folder("home", "alice");
    let desk = Desk::new(&server.at("home", &["alice"]));
    for at in 0..40 {
        write(&there.join(format!("file {at}")), at.to_string());
    }
    desk.sync();
    let before = tree(&desk.path(""));
    fs::write(desk.path("waits"), "to be sent").unwrap();
    let shared = std::sync::Mutex::new(server);
    let how = |server: &mut FileServer| server.pause();
    let gate = StopAt { op: Op::List, left: 1.into(), server: &shared, how };
    let begun = Instant::now();
    let result = desk.try_sync(&gate);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(60), "{took:?}");
    assert!(result.is_err() || result.unwrap().counts.failed > 0);
    let now = tree(&desk.path(""));
    assert!(before.iter().all(|item| now.contains(item)), "something is gone");
    let server = shared.into_inner().unwrap();
    server.resume();
    desk.sync();
    assert_eq!(fs::read(there.join("waits")).unwrap(), b"to be sent");
    assert_eq!(tree(&there), tree(&desk.path("")));
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn a_share_that_is_gone_is_no_empty_share() {
    let mut server = FileServer::start();
    let there = server.folder("home", "alice");
    write(&there.join("file"), "content");
    let desk = Desk::new(&server.at("home", &["alice"]));
    desk.sync();
    let open = volume(&server.at("home", &["alice"]));
    assert_eq!(open.folder("").unwrap().list().unwrap().len(), 2);

    server.hide("home", true);
    // The old connection ended; the library would connect anew and find no such share.
    let looked = open.folder("").unwrap().look("file").map(|_| ()).unwrap_err();
    assert!(!matches!(looked.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory), "{looked}");
    let listed = open.folder("sub").unwrap().list().map(|_| ()).unwrap_err();
    assert!(!matches!(listed.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory), "{listed}");
    let error = desk.try_sync(&Open).unwrap_err();
    assert!(
        matches!(&error, SyncError::RootUnavailable { .. } | SyncError::Marker { .. }),
        "{error}"
    );
    assert!(desk.path("file").exists());

    server.hide("home", false);
    desk.is_idle();
    // Emptied, or restored without its mark, it is another share.
    fs::remove_file(there.join("file")).unwrap();
    fs::remove_file(there.join(".homeport-root")).unwrap();
    assert!(matches!(desk.try_sync(&Open).unwrap_err(), SyncError::RootChanged { .. }));
    assert!(desk.path("file").exists());
    // A folder that is gone is an error of the root, and no deletion.
    fs::remove_dir_all(&there).unwrap();
    desk.try_sync(&Open).unwrap_err();
    assert!(desk.path("file").exists());
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn rights_that_are_withdrawn_delete_nothing() {
    let server = FileServer::start();
    let there = server.folder("home", "alice");
    let inner = there.join("inner");
    fs::create_dir(&inner).unwrap();
    give(&inner);
    for at in 0..5 {
        write(&inner.join(format!("file {at}")), "content");
    }
    let desk = Desk::new(&server.at("home", &["alice"]));
    desk.sync();
    std::os::unix::fs::chown(&inner, Some(0), Some(0)).unwrap();
    fs::set_permissions(&inner, fs::Permissions::from_mode(0o700)).unwrap();
    let report = desk.try_sync(&Open).unwrap();
    assert_eq!(report.counts.deleted_local, 0);
    assert_eq!(fs::read_dir(desk.path("inner")).unwrap().count(), 5);
    give(&inner);
    desk.is_idle();
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn names_that_a_share_cannot_hold_stay_here_and_the_others_go() {
    let server = FileServer::start();
    let there = server.folder("home", "alice");
    let desk = Desk::new(&server.at("home", &["alice"]));
    let bad = ["con", "aux.txt", "what?", "a:b", "dot.", "space ", "back\\slash", "tab\there"];
    for name in bad {
        fs::write(desk.path(name), "stays").unwrap();
    }
    for name in ["good", "con.d", "é", "e\u{301}x"] {
        fs::write(desk.path(name), "goes").unwrap();
    }
    let report = desk.try_sync(&Open).unwrap();
    let sent: Vec<String> = tree(&there).into_iter().map(|(name, _)| name).collect();
    for name in ["good", "é", "e\u{301}x"] {
        assert!(sent.iter().any(|sent| sent == name), "{name} is not among {sent:?}");
    }
    for name in bad {
        assert!(desk.path(name).exists(), "{name}");
        assert!(!sent.iter().any(|sent| sent == name), "{name}");
        assert!(report.items.iter().any(|item| item.path == name), "{name} is not told");
    }
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn a_folder_of_a_hundred_thousand_files_is_listed_whole() {
    const COUNT: usize = 100_000;
    let server = FileServer::start();
    let there = server.folder("home", "alice");
    for at in 0..COUNT {
        fs::File::create(there.join(format!("a file with a usual name {at:06}.txt"))).unwrap();
    }
    let patient = Start { limits: Limits::default(), ..server.at("home", &["alice"]) };
    let volume = volume(&patient);
    let begun = Instant::now();
    let list = volume.folder("").unwrap().list().unwrap();
    println!("{COUNT} entries in {:.1?}", begun.elapsed());
    assert_eq!(list.len(), COUNT);
    assert!(list.is_sorted_by(|a, b| a.0 < b.0));
    let whole =
        list.iter().all(|(_, look)| matches!(look, Look::Entry(entry) if entry.stamp.inode != 0));
    assert!(whole, "each has its number");
}

/// With Kerberos: libsmbclient forgets a password on the way to another share.
#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn a_dfs_link_is_not_walked_into_but_can_be_a_root_and_a_dead_one_is_no_absence() {
    let dc = Dc::shared();
    let _server = DomainShare::start(&dc);
    let alice = tickets("alice");
    let at = |share: &str, below: &[&str]| {
        let mut start = DomainShare::at(alice.clone(), below);
        share.clone_into(&mut start.share.name);
        start
    };
    volume(&at("people", &["linked"])).make_root().unwrap();
    fs::write(root().join("people/linked/file"), "content").unwrap();
    let links = root().join("links");
    for (name, target) in [("there", "people"), ("dead", "nowhere")] {
        let _of_a_test_before = fs::remove_file(links.join(name));
        let target = format!("msdfs:dc1.corp.test\\{target}");
        std::os::unix::fs::symlink(target, links.join(name)).unwrap();
    }
    fs::write(links.join("plain"), "content").unwrap();
    let list = volume(&at("links", &[])).folder("").unwrap().list().unwrap();
    let found: Vec<_> = list.iter().map(|(name, look)| (name.to_str().unwrap(), look)).collect();
    let expected = matches!(
        found[..],
        [("dead", Look::Mount), ("plain", Look::Entry(_)), ("there", Look::Mount)]
    );
    assert!(expected, "{found:?}");
    let desk = Desk::new(&at("links", &["there", "linked"]));
    desk.sync();
    assert_eq!(fs::read(desk.path("file")).unwrap(), b"content");
    fs::write(desk.path("mine"), "mine").unwrap();
    desk.sync();
    assert_eq!(fs::read(root().join("people/linked/mine")).unwrap(), b"mine");
    desk.is_idle();
    let dead = volume(&at("links", &["dead"]));
    for error in [
        dead.look_at_root().unwrap_err(),
        dead.folder("").unwrap().list().map(|_| ()).unwrap_err(),
        dead.folder("").unwrap().look("file").map(|_| ()).unwrap_err(),
    ] {
        assert!(!matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory), "{error}");
    }
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn passwords_are_used_only_where_the_settings_allow_it() {
    let mut server = FileServer::start();
    server.folder("home", "alice");
    let allowed = server.at("home", &["alice"]);
    volume(&allowed).look_at_root().unwrap();

    let mut forbidden = allowed.clone();
    forbidden.share.ntlm = false;
    let error = volume(&forbidden).look_at_root().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    let password = allowed.share.password_file.clone().unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o644)).unwrap();
    let error = volume(&allowed).look_at_root().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&password, "wrong\n").unwrap();
    let error = volume(&allowed).look_at_root().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");

    // A server without encryption is refused where it is demanded; one that has it takes it.
    let mut encrypted = server.at("home", &["alice"]);
    encrypted.share.must_encrypt = true;
    server.set_global("server smb encrypt = off");
    assert!(volume(&encrypted).look_at_root().is_err());
    volume(&server.at("home", &["alice"])).look_at_root().unwrap();
    server.set_global("server smb encrypt = required");
    volume(&encrypted).look_at_root().unwrap();
    volume(&server.at("home", &["alice"])).look_at_root().unwrap();
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn changes_are_told_and_free_space_is_known() {
    let server = FileServer::start();
    let there = server.folder("home", "alice");
    write(&there.join(".homeport-root"), "mark");
    let volume = volume(&server.at("home", &["alice"]));
    let free = volume.free_bytes().unwrap();
    let real = rustix::fs::statvfs(&there).unwrap();
    let real = real.f_bavail * real.f_frsize;
    assert!(free.abs_diff(real) < real / 4, "{free} of {real}");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| volume.changes(Duration::from_secs(20)));
        // The watch may not be there yet: another file until it tells.
        let mut at = 0;
        while !waiting.is_finished() {
            write(&there.join(format!("new {at}")), "new");
            at += 1;
            std::thread::sleep(Duration::from_millis(50));
        }
        let told = waiting.join().unwrap().unwrap();
        assert!(told.iter().any(|name| name.starts_with("new ")), "{told:?}");
    });
    assert!(volume.changes(Duration::from_millis(100)).unwrap().is_empty());
}

#[test]
#[ignore = "needs Samba: tests/run runs it in tests/lab/enter"]
fn the_tickets_of_a_user_are_enough_and_nobody_elses_are_used() {
    let dc = Dc::shared();
    let _server = DomainShare::start(&dc);
    let (alice, bob) = (tickets("alice"), tickets("bob"));
    let folder = DomainShare::at(alice.clone(), &["alice's"]);
    volume(&folder).make_root().unwrap();
    let desk = Desk::new(&folder);
    fs::write(desk.path("letter"), "hers").unwrap();
    desk.sync();
    desk.is_idle();
    let other = Desk::new(&DomainShare::at(alice, &["alice's"]));
    other.sync();
    assert_eq!(fs::read(other.path("letter")).unwrap(), b"hers");
    // The folder is hers: bob, who is let in to the share, may not put anything there.
    let bobs = volume(&DomainShare::at(bob, &["alice's"]));
    let refused = bobs.folder("").unwrap().create("intruder").map(|_| ()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{refused}");
    let nobody = DomainShare::at(root().join("no-such-cache"), &["alice's"]);
    let refused = volume(&nobody).look_at_root().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{refused}");
}
