//! The agent's end of `homeport-smb`, against programs that misbehave: nothing they say leads out
//! of the root, and no failure of theirs is an absence.
#![allow(clippy::disallowed_methods, reason = "tests touch the disk, the clock and processes")]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use homeport_agent::plan::SmbShare;
use homeport_agent::share::helper::wire::{self, Connect, Finish, Frame, Reply, Request, Stat};
use homeport_agent::share::helper::{Limits, SmbVolume, Start};
use homeport_sync::fs::Volume as _;
use proptest::prelude::*;
use tempfile::TempDir;

/// A program that answers whatever it is asked with these bytes, and then waits.
struct Fake {
    dir: TempDir,
}

impl Fake {
    fn new(answers: &[Vec<u8>], ends: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("answers"), answers.concat()).unwrap();
        let end = if ends { "exit 1" } else { "exec sleep 600" };
        let text = format!("#!/bin/sh\ncat '{}'\n{end}\n", dir.path().join("answers").display());
        // Not written here: a process that another test starts meanwhile would have it open for
        // writing, and it could not be run.
        fs::write(dir.path().join("text"), text).unwrap();
        let mut copy = Command::new("install");
        copy.args(["-m", "755"]).args(["text", "helper"].map(|name| dir.path().join(name)));
        assert!(copy.status().unwrap().success());
        Self { dir }
    }

    fn volume(&self) -> SmbVolume {
        open(self.dir.path().join("helper"))
    }
}

fn open(program: PathBuf) -> SmbVolume {
    let share = SmbShare {
        server: "server".to_owned(),
        name: "share".to_owned(),
        below: vec!["alice".to_owned()],
        port: 445,
        program,
        processes: 2,
        user: None,
        realm: None,
        ntlm: false,
        password_file: None,
        must_encrypt: false,
    };
    let short = Duration::from_millis(1_500);
    let limits = Limits { connect: short, answer: short, call: short, list: short };
    SmbVolume::new(Start { share, limits, environment: Vec::new() }).unwrap()
}

fn frame(reply: &Reply<'_>) -> Vec<u8> {
    let mut frame = Frame::default();
    frame.reply(reply);
    frame.finish().unwrap().to_vec()
}

fn listing(names: &[&[u8]]) -> Vec<u8> {
    let list = names.iter().map(|name| (*name, Stat::default())).collect();
    frame(&Reply::Entries { more: false, list })
}

fn list(answers: &[Vec<u8>]) -> Result<usize, ErrorKind> {
    let fake = Fake::new(answers, false);
    let listed = fake.volume().folder("").unwrap().list();
    listed.map(|list| list.len()).map_err(|error| error.kind())
}

#[test]
fn a_listing_with_a_name_that_leads_elsewhere_is_no_listing() {
    let done = frame(&Reply::Done);
    assert_eq!(list(&[done.clone(), listing(&[b"a", b"\xFF", "ü".as_bytes()])]), Ok(3));
    let bad: [&[u8]; 9] =
        [b"..", b".", b"", b"a/b", b"/etc/passwd", b"a\\b", b"..\\..\\x", b"a\0b", b"a:b"];
    for name in bad {
        let listed = list(&[done.clone(), listing(&[b"good", name])]);
        assert_eq!(listed, Err(ErrorKind::InvalidFilename), "{name:?}");
    }
    assert_eq!(list(&[done, listing(&[b"twice", b"twice"])]), Err(ErrorKind::InvalidData));
}

#[test]
fn names_that_lead_elsewhere_are_never_sent() {
    let volume = open("/nonexistent/homeport-smb".into());
    let folder = volume.folder("").unwrap();
    for name in ["..", "", "a/b", "a\\b", "a\0", "stream:name", "*", "a?"] {
        let kind = folder.look(name).unwrap_err().kind();
        assert_eq!(kind, ErrorKind::InvalidFilename, "{name:?}");
        assert_eq!(folder.remove(name).unwrap_err().kind(), ErrorKind::InvalidFilename);
    }
    for path in ["..", "a/../b", "a//b", "/a", "a\\b"] {
        let kind = volume.folder(path).err().map(|error| error.kind());
        assert_eq!(kind, Some(ErrorKind::InvalidFilename), "{path:?}");
    }
    for name in ["aux.txt", "nul", "ends in a dot.", "a<b", "tab\t"] {
        let kind = folder.create(name).err().map(|error| error.kind());
        assert_eq!(kind, Some(ErrorKind::InvalidFilename), "{name:?}");
    }
}

#[test]
fn nonsense_is_an_error_and_never_an_absence() {
    let done = frame(&Reply::Done);
    let cases: [(&str, Vec<u8>, ErrorKind); 6] = [
        ("a frame without end", vec![0xFF; 4], ErrorKind::InvalidData),
        ("an empty frame", vec![0; 4], ErrorKind::InvalidData),
        ("an unknown kind", vec![1, 0, 0, 0, 77], ErrorKind::InvalidData),
        ("a kind that does not belong here", frame(&Reply::Number(7)), ErrorKind::InvalidData),
        (
            "a field longer than its frame",
            vec![5, 0, 0, 0, 9, 255, 0, 0, 0],
            ErrorKind::InvalidData,
        ),
        ("half a frame", vec![9, 0, 0, 0, 4], ErrorKind::TimedOut),
    ];
    for (name, bytes, expected) in cases {
        let fake = Fake::new(&[done.clone(), bytes], false);
        let looked = fake.volume().folder("").unwrap().look("file");
        assert_eq!(looked.map(|_| ()).unwrap_err().kind(), expected, "{name}");
    }
    let ended = Fake::new(&[done], true);
    let looked = ended.volume().folder("").unwrap().look("file");
    assert_eq!(looked.map(|_| ()).unwrap_err().kind(), ErrorKind::ConnectionAborted);
    let missing = open("/nonexistent/homeport-smb".into()).look_at_root().unwrap_err();
    assert!(missing.to_string().contains("cannot start /nonexistent/homeport-smb"), "{missing}");
    assert_ne!(missing.kind(), ErrorKind::NotFound, "a missing program is no missing folder");
}

#[test]
fn whoever_does_not_answer_is_killed_and_after_some_of_them_the_server_is_given_up() {
    let fake = Fake::new(&[frame(&Reply::Done)], false);
    let volume = fake.volume();
    let folder = volume.folder("").unwrap();
    let begun = Instant::now();
    for _ in 0..50 {
        let error = folder.look("file").map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[test]
fn what_the_server_says_keeps_its_number() {
    let failed = |errno| frame(&Reply::Failed { errno, status: 0xC000_0022, what: "look" });
    let done = frame(&Reply::Done);
    for (errno, expected) in [
        (13, Err(ErrorKind::PermissionDenied)),
        (2, Ok(false)),
        (20, Ok(false)),
        (116, Err(ErrorKind::StaleNetworkFileHandle)),
        (110, Err(ErrorKind::TimedOut)),
        (104, Err(ErrorKind::ConnectionReset)),
    ] {
        let fake = Fake::new(&[done.clone(), failed(errno)], false);
        let looked = fake.volume().folder("").unwrap().look("file");
        let looked = looked.map(|look| look.is_some()).map_err(|error| error.kind());
        assert_eq!(looked, expected, "{errno}");
    }
}

fn stat() -> impl Strategy<Value = Stat> {
    (any::<u64>(), any::<i64>(), any::<u64>(), any::<u16>())
        .prop_map(|(size, mtime_ns, inode, attributes)| Stat { size, mtime_ns, inode, attributes })
}

proptest! {
    #[test]
    fn requests_and_replies_travel_unchanged(
        path in ".{0,40}", data in prop::collection::vec(any::<u8>(), 0..300),
        number in any::<u64>(), handle in any::<u32>(), time in any::<Option<i64>>(),
        flag in any::<bool>(), stat in stat(),
    ) {
        let (path, data) = (path.as_str(), data.as_slice());
        let port = 7;
        let connect = Connect { server: path, user: path, ntlm: flag, port, ..Connect::default() };
        let finish =
            Finish { handle, path, offset: number, data, mtime_ns: time, look: flag };
        let requests = [
            Request::Connect(connect),
            Request::Get { path, most: handle },
            Request::Read { handle, offset: number, count: handle },
            Request::Write { handle, offset: number, data },
            Request::Finish(finish),
            Request::Copy { handle, from: path, size: number },
            Request::Rename { path, new: path, replace: flag },
            Request::Notify { path, timeout_ms: handle },
        ];
        for request in requests {
            let mut frame = Frame::default();
            frame.request(&request);
            let bytes = frame.finish().unwrap();
            prop_assert_eq!(wire::request(&bytes[4..]).unwrap(), request);
        }
        let replies = [
            Reply::Failed { errno: 5, status: handle, what: path },
            Reply::Entries { more: flag, list: vec![(data, stat), (path.as_bytes(), stat)] },
            Reply::Opened { handle, stat },
            Reply::Got { before: stat, after: stat, data },
            Reply::Changes(vec![(handle, path)]),
        ];
        for reply in replies {
            let mut frame = Frame::default();
            frame.reply(&reply);
            let bytes = frame.finish().unwrap();
            prop_assert_eq!(wire::reply(&bytes[4..]).unwrap(), reply);
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = wire::request(&bytes);
        let _ = wire::reply(&bytes);
    }
}
