//! Volumes that do what disks seldom do: files that are opened at a bad moment, copies that are not
//! what was copied, folders that cannot be read, mounts that are dead.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests touch the disk")]

mod harness;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use harness::{Pairing, Report, Side, go_on};
use homeport_sync::fs::{Folder, How, InUse, Look, OsVolume, Reader, Traits, Volume, Writer};
use homeport_sync::{Evicted, Limits, Moment, Sides, Stamp};
use rustix::fs::{FileType, Mode};
use rustix::io::Errno;

const LARGE: usize = 16 << 20;
const BLOCK: usize = 256 << 10;

/// What is odd about a volume.
#[derive(Clone, Default)]
struct Odd {
    /// A copy holds another byte at this place.
    flips: Option<u64>,
    /// A copy says that it is whole after so many bytes.
    stops: Option<u64>,
    /// This folder cannot be listed.
    unreadable: Option<String>,
    /// A file that is open from so many looks on.
    opened: Option<(u64, usize)>,
    looks: Arc<AtomicUsize>,
}

struct OddVolume(OsVolume, Odd);

struct OddFolder(Arc<dyn Folder>, Odd, String);

struct OddWriter(Box<dyn Writer>, Odd);

impl Volume for OddVolume {
    fn traits(&self) -> Traits {
        self.0.traits()
    }

    fn folder(&self, path: &str) -> io::Result<Arc<dyn Folder>> {
        let folder = self.0.folder(path)?;
        Ok(Arc::new(OddFolder(folder, self.1.clone(), path.to_owned())))
    }

    fn flush(&self) -> io::Result<()> {
        self.0.flush()
    }

    fn free_bytes(&self) -> Option<u64> {
        self.0.free_bytes()
    }

    fn in_use(&self) -> InUse {
        let look = self.1.looks.fetch_add(1, Ordering::SeqCst);
        let mut found = InUse::default();
        if let Some((inode, _)) = self.1.opened.filter(|(_, from)| look >= *from) {
            found.add(inode, false);
        }
        found
    }
}

impl Folder for OddFolder {
    fn list(&self) -> io::Result<Vec<(OsString, Look)>> {
        if self.1.unreadable.as_ref() == Some(&self.2) {
            return Err(Errno::ACCESS.into());
        }
        self.0.list()
    }

    fn look(&self, name: &str) -> io::Result<Option<Look>> {
        self.0.look(name)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Reader>> {
        self.0.open(name)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Writer>> {
        Ok(Box::new(OddWriter(self.0.create(name)?, self.1.clone())))
    }

    fn make_link(&self, name: &str, text: &str) -> io::Result<()> {
        self.0.make_link(name, text)
    }

    fn make_folder(&self, name: &str, mode: u32) -> io::Result<()> {
        self.0.make_folder(name, mode)
    }

    fn remove_folder(&self, name: &str) -> io::Result<()> {
        self.0.remove_folder(name)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn rename(&self, name: &str, to: &dyn Folder, new: &str, how: How) -> io::Result<()> {
        let inner = to.as_any().downcast_ref::<Self>().map_or(to, |to| &*to.0);
        self.0.rename(name, inner, new, how)
    }

    fn add_name(&self, name: &str, to: &dyn Folder, new: &str) -> io::Result<()> {
        let inner = to.as_any().downcast_ref::<Self>().map_or(to, |to| &*to.0);
        self.0.add_name(name, inner, new)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

impl Writer for OddWriter {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }

    fn copy_whole(&mut self, from: &dyn Reader, may_copy: bool) -> io::Result<()> {
        if let Some(stops) = self.1.stops {
            let mut part = vec![0; stops as usize];
            let filled = from.read_at(&mut part, 0)?;
            return self.0.write_at(&part[..filled], 0);
        }
        self.0.copy_whole(from, may_copy)?;
        match self.1.flips {
            Some(at) => self.0.write_at(b"?", at),
            None => Ok(()),
        }
    }

    fn reader(&self) -> io::Result<Box<dyn Reader>> {
        self.0.reader()
    }

    fn dress(&mut self, mode: u32, mtime_ns: Option<i64>) -> io::Result<()> {
        self.0.dress(mode, mtime_ns)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync()
    }

    fn stamp(&self) -> io::Result<Stamp> {
        self.0.stamp()
    }
}

fn sides(it: &Pairing, here: Odd, there: Odd) -> Sides {
    let area = it.journal().recycle_area();
    fs::create_dir_all(&area).unwrap();
    let open = |path: &Path| OsVolume::open(path).unwrap();
    Sides {
        local: Arc::new(OddVolume(open(&it.pair.local), here)),
        remote: Arc::new(OddVolume(open(&it.pair.remote), there)),
        area: Arc::new(OddVolume(open(&area), Odd::default())),
    }
}

fn run(it: &Pairing, here: Odd, there: Odd) -> Report {
    let (sides, mut journal) = (sides(it, here, there), it.journal());
    let moment = Moment { now: it.now(), chance: 1 };
    let gate = &homeport_sync::fs::Open;
    let options = &it.options;
    homeport_sync::sync_volumes(&sides, &mut journal, options, moment, &mut go_on, gate).unwrap()
}

/// Bytes in which no two blocks are alike.
fn bytes(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

#[test]
fn what_the_older_version_hid_does_not_get_into_the_new_one() {
    let it = Pairing::new();
    let mut content = bytes(LARGE + 77);
    it.write(Side::Remote, "big", &content);
    it.run();
    content[3 * BLOCK] ^= 1;
    it.write(Side::Remote, "big", &content);
    // As if a program here had written to the version here through its memory before its stamp was
    // recorded, and again afterwards.
    let odd = Odd { flips: Some(9 * BLOCK as u64 + 5), ..Odd::default() };
    let report = run(&it, odd, Odd::default());
    assert_eq!(report.items.len(), 1, "{report:?}");
    for side in [Side::Local, Side::Remote] {
        assert!(fs::read(it.at(side, "big")).unwrap() == content, "{side} is something else");
    }
    assert_eq!(report.bytes_in, 2 * BLOCK as u64);
    it.assert_idle();
}

#[test]
fn half_a_copy_never_passes_for_the_whole() {
    let it = Pairing::new();
    let mut content = bytes(LARGE);
    it.write(Side::Local, "big", &content);
    it.run();
    let old = content.clone();
    content[3 * BLOCK] ^= 1;
    it.write(Side::Local, "big", &content);
    let odd = Odd { stops: Some(5 * BLOCK as u64), ..Odd::default() };
    let report = run(&it, Odd::default(), odd);
    assert_eq!(report.counts.skipped, 1, "{report:?}");
    assert!(fs::read(it.at(Side::Remote, "big")).unwrap() == old);
    it.run();
    it.assert_equal();
    it.assert_idle();
}

#[test]
fn a_size_that_nobody_could_read_fails_that_file_alone() {
    for known in [false, true] {
        let it = Pairing::in_step(&[("f", "f"), ("sparse", "1"), ("there", "1")]);
        let huge = |side, path| {
            let file = fs::File::create(it.at(side, path)).unwrap();
            file.set_len(7 << 60).is_ok()
        };
        let name = if known { "sparse" } else { "new" };
        if !huge(Side::Local, name) || (known && !huge(Side::Remote, name)) {
            return; // this disk has no such files
        }
        it.write(Side::Local, "f", "more");
        let report = it.run();
        let told = harness::verdict(&report, name);
        let Some(harness::Verdict::Failed { message, .. }) = told else { panic!("{report:?}") };
        // One that is new there has no room; of one that is known, all would have to be read.
        let words = if known { "too large" } else { "make room" };
        assert!(message.contains(words), "{message}");
        assert_eq!(it.read(Side::Remote, "f").as_deref(), Some("more"));
    }
}

fn evict(it: &Pairing, here: Odd) -> Evicted {
    let limits = Limits { total: Some(0), ..Limits::default() };
    let (sides, mut journal) = (sides(it, here, Odd::default()), it.journal());
    let moment = Moment { now: it.now(), chance: 1 };
    homeport_sync::evict_volumes(&sides, &mut journal, &it.options, limits, moment).unwrap()
}

#[test]
fn what_is_opened_just_before_it_gives_way_stays_where_it_is() {
    use std::os::unix::fs::MetadataExt as _;
    for from in [0, 1] {
        let it = Pairing::in_step(&[("d/open", "12345"), ("idle", "123")]);
        let inode = fs::metadata(it.at(Side::Local, "d/open")).unwrap().ino();
        let evicted = evict(&it, Odd { opened: Some((inode, from)), ..Odd::default() });
        assert_eq!(evicted, Evicted { items: 1, bytes: 3, still_over: 5 });
        assert_eq!(it.read(Side::Local, "d/open").as_deref(), Some("12345"), "{from}");
        assert_eq!(it.read(Side::Local, "idle"), None);
        // What the program writes is a change like any other.
        it.write(Side::Local, "d/open", "67890");
        it.run();
        assert_eq!(it.read(Side::Remote, "d/open").as_deref(), Some("67890"));
        it.assert_idle();
    }
}

#[test]
fn a_folder_that_cannot_be_read_is_told_and_nothing_in_it() {
    let files = [("shut/f", "f"), ("shut/in/g", "g"), ("open/f", "f")];
    for here in [true, false] {
        let it = Pairing::in_step(&files);
        let shut = Odd { unreadable: Some("shut".to_owned()), ..Odd::default() };
        let (a, b) = if here { (shut, Odd::default()) } else { (Odd::default(), shut) };
        let sides = sides(&it, a, b);
        let listed = |below: &str| {
            let listed =
                homeport_sync::ls_volumes(&sides, &mut it.journal(), below, &it.options).unwrap();
            let items = listed.items.into_iter().map(|item| item.path).collect::<Vec<_>>();
            (items, listed.notes.into_iter().map(|note| note.path).collect::<Vec<_>>())
        };
        let shut = vec!["shut".to_owned()];
        assert_eq!(listed(""), (vec!["open".to_owned(), "open/f".to_owned()], shut.clone()));
        assert_eq!(listed("shut/in"), (Vec::new(), shut));
        assert_eq!(listed("open/f"), (vec!["open/f".to_owned()], Vec::new()));
    }
}

#[test]
fn what_takes_no_part_is_told_by_ls_and_by_pending() {
    use std::os::unix::ffi::OsStrExt as _;
    let mut it = Pairing::in_step(&[("d/f", "f"), ("taken", "f"), ("rest", "x")]);
    it.options.screens = vec!["*.mp3".to_owned()];
    let odd = std::ffi::OsStr::from_bytes(b"d/\xff");
    fs::write(it.at(Side::Local, "").join(odd), "odd").unwrap();
    it.write(Side::Local, "song.MP3", "screened");
    it.remove(Side::Local, "taken");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        it.at(Side::Local, "taken"),
        FileType::Fifo,
        Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    it.mkdir(Side::Local, "new");
    let told = |items: &[harness::ItemResult]| {
        items.iter().map(|item| item.path.clone()).collect::<Vec<_>>()
    };
    let expected = ["d/\u{fffd}", "song.MP3", "taken"];
    let pending = homeport_sync::pending(&it.pair, &mut it.journal(), &it.options).unwrap();
    assert_eq!(
        (told(&pending.unsent), pending.total_unsent),
        (expected.map(str::to_owned).to_vec(), 3)
    );
    assert_eq!((pending.total_items, pending.total_bytes), (1, 0), "a folder has no bytes");
    let text = serde_json::to_string(&pending).unwrap();
    assert!(text.contains(r#""why":"special""#), "{text}");
    let old = r#"{"items":[],"total-items":0,"total-bytes":0}"#;
    assert_eq!(serde_json::from_str::<homeport_sync::Pending>(old).unwrap().total_unsent, 0);
    let listed = homeport_sync::ls(&it.pair, &mut it.journal(), "", &it.options).unwrap();
    assert_eq!(told(&listed.notes), expected);
    assert!(!listed.items.iter().any(|item| item.path == "taken"), "{:?}", listed.items);
}
