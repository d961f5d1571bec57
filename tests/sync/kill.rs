//! The engine in a process of its own, on a real disk, killed at 200 moments that chance picks.
//!
//! This computer's user works below `mine`, the share's below `theirs`, so what both sides must
//! come to is known exactly.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests touch the disk, start programs and measure time"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often the engine is killed.
const KILLS: u32 = 200;
/// Changes of each user between two runs.
const CHANGES: u32 = 6;
/// Files that each user begins with.
const FILES: u32 = 60;

/// Numbers that look random and are the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % limit
    }
}

/// What a user has, by path below the root.
type Files = BTreeMap<String, Vec<u8>>;

struct User {
    root: PathBuf,
    home: &'static str,
    files: Files,
    /// Every version that was ever finished.
    versions: BTreeSet<Vec<u8>>,
    written: u64,
}

impl User {
    fn write(&mut self, chance: &mut Chance) {
        self.written += 1;
        let folder = ["", "a/", "a/b/", "c/"][chance.below(4) as usize];
        let name = format!("{}/{folder}f{}", self.home, chance.below(u64::from(FILES)));
        let length = [10, 5_000, 300_000][chance.below(3) as usize];
        let mut bytes = format!("{} {} ", self.home, self.written).into_bytes();
        bytes.resize(length, b'x');
        let path = self.root.join(&name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &bytes).unwrap();
        self.versions.insert(bytes.clone());
        self.files.insert(name, bytes);
    }

    fn change(&mut self, chance: &mut Chance) {
        let at = chance.below(self.files.len().max(1) as u64) as usize;
        let name = self.files.keys().nth(at).cloned();
        match (chance.below(6), name) {
            (0, Some(name)) => {
                fs::remove_file(self.root.join(&name)).unwrap();
                self.files.remove(&name);
            }
            (1, Some(name)) => {
                let to = format!("{}/renamed {}", self.home, self.written);
                self.written += 1;
                fs::rename(self.root.join(&name), self.root.join(&to)).unwrap();
                let bytes = self.files.remove(&name).unwrap();
                self.files.insert(to, bytes);
            }
            (2, _) => self.rename_folder(),
            _ => self.write(chance),
        }
    }

    /// `a` becomes `d`, or the other way round.
    fn rename_folder(&mut self) {
        let folder = |name: &str| format!("{}/{name}", self.home);
        let (from, to) = match self.root.join(folder("a")).exists() {
            true => (folder("a"), folder("d")),
            false => (folder("d"), folder("a")),
        };
        if !self.root.join(&from).exists() || self.root.join(&to).exists() {
            return;
        }
        fs::rename(self.root.join(&from), self.root.join(&to)).unwrap();
        let inside = |path: &str| path.strip_prefix(&from).map(|rest| format!("{to}{rest}"));
        let files = std::mem::take(&mut self.files);
        let renamed = files.into_iter().map(|(path, bytes)| (inside(&path).unwrap_or(path), bytes));
        self.files = renamed.collect();
    }
}

fn files(root: &Path, folder: &str, found: &mut Files) {
    for entry in fs::read_dir(root.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        if entry.file_type().unwrap().is_dir() {
            files(root, &path, found);
        } else if !path.ends_with(".homeport-root") {
            found.insert(path, fs::read(entry.path()).unwrap());
        }
    }
}

fn all_files(root: &Path) -> Files {
    let mut found = Files::new();
    files(root, "", &mut found);
    found
}

/// The beginning of a content, which says whose it is.
fn head(bytes: Option<&Vec<u8>>) -> Option<String> {
    bytes.map(|bytes| String::from_utf8_lossy(&bytes[..bytes.len().min(12)]).into_owned())
}

fn start(directory: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pair"));
    command.arg(directory.join("local")).arg(directory.join("remote"));
    command.arg("--journal").arg(directory.join("state/journal.db"));
    command.stdout(Stdio::null()).spawn().unwrap()
}

/// Each file is one that a user finished, in full, apart from those with a name of our own.
fn assert_whole(root: &Path, users: [&User; 2]) {
    for (path, bytes) in all_files(root) {
        let ours = path.rsplit('/').next().unwrap().starts_with(".homeport-tmp-");
        let known = users.iter().any(|user| user.versions.contains(&bytes));
        assert!(ours || known, "{path} is nobody's version");
    }
}

#[test]
fn nothing_is_lost_or_half_done_however_often_it_is_killed() {
    let temp = tempfile::tempdir_in("/var/tmp").unwrap();
    let mut chance = Chance(1);
    let user = |side: &str, home| {
        let root = temp.path().join(side);
        fs::create_dir_all(root.join(home)).unwrap();
        User { root, home, files: Files::new(), versions: BTreeSet::new(), written: 0 }
    };
    let (mut here, mut there) = (user("local", "mine"), user("remote", "theirs"));
    for _ in 0..FILES {
        here.write(&mut chance);
        there.write(&mut chance);
    }
    let began = Instant::now();
    assert!(start(temp.path()).wait().unwrap().success());
    // A first fill is the longest run there is here.
    let mut longest = began.elapsed().as_micros() as u64;
    let mut killed = 0;
    for round in 0..KILLS {
        for _ in 0..CHANGES {
            here.change(&mut chance);
            there.change(&mut chance);
        }
        // As far into the run as chance says; on a busy machine the longest run says little.
        let mut engine = start(temp.path());
        std::thread::sleep(Duration::from_micros(chance.below(longest)));
        longest =
            if engine.try_wait().unwrap().is_some() { longest * 9 / 10 } else { longest * 21 / 20 };
        killed += u32::from(engine.try_wait().unwrap().is_none());
        let _ = engine.kill();
        engine.wait().unwrap();
        if round % 10 == 0 {
            for root in ["local", "remote"] {
                assert_whole(&temp.path().join(root), [&here, &there]);
            }
        }
    }
    assert!(killed > KILLS / 4, "only {killed} runs were under way when they were killed");
    for _ in 0..2 {
        assert!(start(temp.path()).wait().unwrap().success());
    }
    let expected: Files = here.files.into_iter().chain(there.files).collect();
    for root in ["local", "remote"] {
        let found = all_files(&temp.path().join(root));
        let differs: Vec<_> = expected
            .keys()
            .chain(found.keys())
            .filter(|path| expected.get(*path) != found.get(*path))
            .map(|path| (path, head(expected.get(path)), head(found.get(path))))
            .collect();
        assert!(differs.is_empty(), "{root}: path, expected, found: {differs:#?}");
    }
}
