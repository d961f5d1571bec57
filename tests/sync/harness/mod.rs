//! Two trees and a journal in a temporary directory, and short ways to change and compare them.
#![allow(dead_code, unused_imports, reason = "each test program uses a part of it")]

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use homeport_sync::fs::{Gate, OsVolume};
use homeport_sync::{Conflict, Moment, Sides};
pub use homeport_sync::{
    Counts, Did, FailureKind, Flow, ItemResult, Journal, Options, Pair, Report, Resolve, Side,
    SyncError, Tell, Verdict,
};

/// The file that marks a root.
pub const MARKER: &str = ".homeport-root";
/// A disk in memory, on most systems.
const IN_MEMORY: &str = "/dev/shm";
/// When the first run takes place, in seconds; every file is older than that.
const FIRST_RUN: u64 = 1_900_000_000;
/// The time of the first file that is written.
const FIRST_FILE: u64 = 1_600_000_000;

/// What stands under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A folder.
    Dir,
    /// A file and its bytes.
    File(Vec<u8>),
    /// A link and its text.
    Link(PathBuf),
    /// A pipe.
    Other,
}

/// A tree, by relative path.
pub type Tree = BTreeMap<String, Node>;

/// A pair of trees with its journal.
pub struct Pairing {
    temp: tempfile::TempDir,
    /// The directory of the journal.
    pub state: PathBuf,
    /// The two roots.
    pub pair: Pair,
    /// What the runs are asked for.
    pub options: Options,
    /// The share's stamps are not to be relied on.
    pub doubted: bool,
    ticks: AtomicU64,
    runs: AtomicU64,
}

impl Pairing {
    /// Two empty roots and no journal.
    pub fn new() -> Self {
        // Where there is a disk in memory, a thousand flushes cost nothing.
        let memory = tempfile::tempdir_in(IN_MEMORY);
        let temp = memory.or_else(|_| tempfile::tempdir()).unwrap();
        let (local, remote) = (temp.path().join("local"), temp.path().join("remote"));
        let pair = Pair { local, remote, share: None };
        for folder in ["local", "remote", "state", "outside"] {
            fs::create_dir(temp.path().join(folder)).unwrap();
        }
        // One thing after the other, so that a fault at the n-th operation is always the same.
        let options = Options { host: "LT-7".to_owned(), threads: 1, ..Options::default() };
        let state = temp.path().join("state");
        let doubted = false;
        Self {
            temp,
            state,
            pair,
            options,
            doubted,
            ticks: AtomicU64::new(0),
            runs: AtomicU64::new(0),
        }
    }

    /// Both sides hold these files and agree on them.
    pub fn in_step(files: &[(&str, &str)]) -> Self {
        let it = Self::new();
        for (path, text) in files {
            it.write(Side::Local, path, text);
        }
        it.run();
        it.assert_equal();
        it
    }

    /// A path on a side.
    pub fn at(&self, side: Side, path: &str) -> PathBuf {
        match side {
            Side::Local => self.pair.local.join(path),
            Side::Remote => self.pair.remote.join(path),
        }
    }

    /// A directory that belongs to neither side.
    pub fn outside(&self) -> PathBuf {
        self.temp.path().join("outside")
    }

    /// Where the journal is.
    pub fn journal_path(&self) -> PathBuf {
        self.state.join("journal.db")
    }

    /// Opens the journal.
    pub fn journal(&self) -> Journal {
        Journal::open(&self.journal_path()).unwrap()
    }

    /// The moment of the next run; each is a minute after the last.
    pub fn now(&self) -> SystemTime {
        let run = self.runs.fetch_add(1, Ordering::SeqCst) + 1;
        UNIX_EPOCH + Duration::from_secs(FIRST_RUN + 60 * run)
    }

    /// Writes a file and the folders above it; each write has a later time than the one before.
    pub fn write(&self, side: Side, path: &str, text: impl AsRef<[u8]>) {
        let path = self.at(side, path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let tick = self.ticks.fetch_add(1, Ordering::SeqCst) + 1;
        let time = UNIX_EPOCH + Duration::from_secs(FIRST_FILE + tick);
        set_mtime(&path, time);
    }

    /// Makes a folder.
    pub fn mkdir(&self, side: Side, path: &str) {
        fs::create_dir_all(self.at(side, path)).unwrap();
    }

    /// Makes a link.
    pub fn link(&self, side: Side, path: &str, text: impl AsRef<Path>) {
        symlink(text, self.at(side, path)).unwrap();
    }

    /// Removes whatever stands under a name.
    pub fn remove(&self, side: Side, path: &str) {
        let path = self.at(side, path);
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }

    /// The text of a file, if it is there.
    pub fn read(&self, side: Side, path: &str) -> Option<String> {
        fs::read_to_string(self.at(side, path)).ok()
    }

    /// Everything on a side but its mark.
    pub fn tree(&self, side: Side) -> Tree {
        let mut tree = Tree::new();
        collect(&self.at(side, ""), "", &mut tree);
        tree.remove(MARKER);
        tree
    }

    /// The names in a directory.
    pub fn list(path: &Path) -> Vec<String> {
        let list = fs::read_dir(path).unwrap();
        list.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    /// The versions in the recycle area.
    pub fn recycle(&self) -> Vec<Vec<u8>> {
        let mut tree = Tree::new();
        let area = self.state.join("recycle");
        if area.is_dir() {
            collect(&area, "", &mut tree);
        }
        let mut found: Vec<_> = tree
            .into_values()
            .filter_map(|node| match node {
                Node::File(bytes) => Some(bytes),
                Node::Link(text) => Some(text.into_os_string().into_encoded_bytes()),
                _ => None,
            })
            .collect();
        found.sort();
        found
    }

    /// One run.
    pub fn try_run(&self, options: &Options) -> Result<Report, SyncError> {
        let (now, mut journal) = (self.now(), self.journal());
        if !self.doubted {
            return homeport_sync::sync(&self.pair, &mut journal, options, now, &mut go_on);
        }
        let area = journal.recycle_area();
        fs::create_dir_all(&area).unwrap();
        let open = |path: &Path| OsVolume::open(path).unwrap();
        let sides = Sides {
            local: Arc::new(open(&self.pair.local)),
            remote: Arc::new(open(&self.pair.remote).doubted()),
            area: Arc::new(open(&area)),
        };
        let moment = Moment { now, chance: 1 };
        let gate = &homeport_sync::fs::Open;
        homeport_sync::sync_volumes(&sides, &mut journal, options, moment, &mut go_on, gate)
    }

    /// One run with the usual options; it takes place.
    pub fn run(&self) -> Report {
        self.try_run(&self.options).unwrap()
    }

    /// One run through a gate.
    pub fn run_through(&self, gate: &dyn Gate) -> Result<Report, SyncError> {
        let (now, mut journal) = (self.now(), self.journal());
        let (pair, options) = (&self.pair, &self.options);
        let control = homeport_sync::Control::default();
        homeport_sync::sync_with(pair, &mut journal, options, now, &mut go_on, &control, gate)
    }

    /// Settles a conflict.
    pub fn settle(&self, path: &str, how: Resolve) -> Result<ItemResult, SyncError> {
        let now = self.now();
        homeport_sync::settle(&self.pair, &mut self.journal(), path, how, "LT-7", now)
    }

    /// The open conflicts.
    pub fn conflicts(&self) -> Vec<Conflict> {
        self.journal().conflicts().unwrap()
    }

    /// Both trees are the same.
    #[track_caller]
    pub fn assert_equal(&self) {
        assert_eq!(self.tree(Side::Local), self.tree(Side::Remote), "local, remote");
    }

    /// A further run finds nothing to do.
    #[track_caller]
    pub fn assert_idle(&self) {
        let before = (self.tree(Side::Local), self.tree(Side::Remote));
        let report = self.run();
        let conflicts_open = report.counts.conflicts_open;
        let unchanged = report.counts.unchanged;
        let idle = Counts { unchanged, conflicts_open, ..Counts::default() };
        assert_eq!((report.counts, report.items), (idle, Vec::new()));
        assert_eq!((self.tree(Side::Local), self.tree(Side::Remote)), before);
    }
}

/// Sets the time of a file.
pub fn set_mtime(path: &Path, time: SystemTime) {
    File::open(path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
}

/// Lets a run go on.
pub fn go_on(_: Tell<'_>) -> Flow {
    Flow::Continue
}

/// What became of a path.
pub fn verdict<'a>(report: &'a Report, path: &str) -> Option<&'a Verdict> {
    report.items.iter().find(|item| item.path == path).map(|item| &item.result)
}

/// A rule for every path.
pub fn always(resolve: Resolve) -> Vec<homeport_sync::ResolveRule> {
    vec![homeport_sync::ResolveRule { path: "**".to_owned(), resolve }]
}

fn collect(root: &Path, folder: &str, tree: &mut Tree) {
    for entry in fs::read_dir(root.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        let kind = entry.file_type().unwrap();
        let node = if kind.is_dir() {
            collect(root, &path, tree);
            Node::Dir
        } else if kind.is_symlink() {
            Node::Link(fs::read_link(entry.path()).unwrap())
        } else if kind.is_file() {
            Node::File(fs::read(entry.path()).unwrap())
        } else {
            Node::Other
        };
        tree.insert(path, node);
    }
}
