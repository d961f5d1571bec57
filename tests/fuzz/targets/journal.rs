//! A damaged journal: bytes overwritten, or a value replaced. It is an error or it is read; and a
//! run that goes by it loses no content.
//!
//! An input is a first byte of choices, then the damage: see [`damage`].
#![no_main]

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use homeport_sync::{Flow, Journal, JournalError, Options, Pair, ls, pending, pins, sync};
use libfuzzer_sys::fuzz_target;
use rusqlite::Connection;
use rusqlite::types::Value;
use tempfile::TempDir;

/// Table, its key, and every column worth a lie.
const CELLS: [(&str, &str, &str); 4] = [
    (
        "item",
        "parent, name",
        "parent name kind folder hash link here_size here_mtime here_ctime here_inode there_size \
         there_mtime there_inode recorded sparse",
    ),
    ("meta", "key", "key value"),
    ("conflict", "path", "path kind since local_size remote_mtime"),
    ("pin", "path", "path who"),
];

/// Two trees in step, but for one conflict, and their journal.
struct World {
    root: TempDir,
    pair: Pair,
    journal: Vec<u8>,
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, rest)) = bytes.split_first() else { return };
    WORLD.with_borrow_mut(|world| {
        let it = world.get_or_insert_with(World::new);
        if damage(it, choice & 1 == 0, rest).is_none() {
            return;
        }
        let told = it.told();
        let edits = choice & 2 != 0;
        if told && choice & 4 != 0 {
            it.run(edits);
            *world = None; // it may have changed the trees
        }
    });
});

/// Overwrites bytes: three of an offset, one of a length, and what to write; again and again.
/// Or replaces one value: which column, which row, of what type, and the value.
fn damage(it: &World, raw: bool, mut rest: &[u8]) -> Option<()> {
    let path = it.path("journal.db");
    for tail in ["", "-wal", "-shm", "-journal"] {
        let _ = fs::remove_file(it.path(&format!("journal.db{tail}")));
    }
    let mut journal = it.journal.clone();
    if raw {
        while let [a, b, c, length, more @ ..] = rest {
            let offset = u32::from_be_bytes([0, *a, *b, *c]) as usize % journal.len();
            let length = usize::from(length % 32).min(more.len()).min(journal.len() - offset);
            journal[offset..][..length].copy_from_slice(&more[..length]);
            rest = &more[length..];
        }
        fs::write(path, journal).unwrap();
        return Some(());
    }
    fs::write(&path, journal).unwrap();
    let [column, row, kind, value @ ..] = rest else { return None };
    let all = CELLS.iter().flat_map(|(table, key, columns)| {
        columns.split(' ').map(move |column| (*table, *key, column))
    });
    let all: Vec<_> = all.collect();
    let (table, key, column) = all[usize::from(*column) % all.len()];
    let mut number = [0; 8];
    let used = value.len().min(8);
    number[..used].copy_from_slice(&value[..used]);
    let value = match kind % 4 {
        0 => Value::Integer(i64::from_le_bytes(number)),
        1 => Value::Text(String::from_utf8_lossy(value).into_owned()),
        2 => Value::Blob(value.to_vec()),
        _ => Value::Real(f64::from_le_bytes(number)),
    };
    let text = format!(
        "UPDATE OR REPLACE {table} SET {column} = ?1 WHERE ({key}) = \
         (SELECT {key} FROM {table} ORDER BY {key} LIMIT 1 \
          OFFSET ?2 % (SELECT count(*) FROM {table}))"
    );
    let database = Connection::open(&path).unwrap();
    database.execute(&text, rusqlite::params![value, row]).ok().map(drop)
}

impl World {
    fn new() -> Self {
        let memory = PathBuf::from("/dev/shm");
        let below = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let root = tempfile::Builder::new().prefix("homeport-fuzz-").tempdir_in(below).unwrap();
        let pair = Pair { local: root.path().join("here"), remote: root.path().join("there"), share: None };
        let mut it = Self { root, pair, journal: Vec::new() };
        for name in ["a", "b", "folder/c", "folder/d", "folder/deep/e", "other/f"] {
            it.write(&format!("there/{name}"), &format!("first {name}"));
        }
        std::os::unix::fs::symlink("a", it.path("there/link")).unwrap();
        let mut journal = Journal::open(&it.path("journal.db")).unwrap();
        it.sync(&mut journal).unwrap();
        it.write("here/both", "mine");
        it.write("there/both", "theirs");
        it.sync(&mut journal).unwrap();
        assert_eq!(journal.conflicts().unwrap().len(), 1);
        journal.pin("folder", pins::USER).unwrap();
        journal.suspend("other", true).unwrap();
        drop(journal);
        it.journal = fs::read(it.path("journal.db")).unwrap();
        it
    }

    fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    fn write(&self, below: &str, text: &str) {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn options() -> Options {
        Options { threads: 1, ..Options::default() }
    }

    fn sync(&self, journal: &mut Journal) -> Result<(), homeport_sync::SyncError> {
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let mut go_on = |_: &_| Flow::Continue;
        sync(&self.pair, journal, &Self::options(), now, &mut go_on).map(drop)
    }

    /// Opens the damaged journal and asks for all it tells; whether it could be opened.
    fn told(&self) -> bool {
        let mut journal = match Journal::open(&self.path("journal.db")) {
            Ok(journal) => journal,
            Err(error) => {
                assert!(!matches!(error, JournalError::Busy { .. }), "{error}");
                return false;
            }
        };
        let conflicts = journal.conflicts().map(|list| list.len());
        let answers = [
            conflicts.map(drop),
            journal.item_count().map(drop),
            journal.pins().map(drop),
            journal.suspended().map(drop),
            journal.last_sync().map(|time| assert!(time.is_none_or(|t| t >= UNIX_EPOCH))),
        ];
        for error in answers.into_iter().filter_map(Result::err) {
            assert!(matches!(error, JournalError::Database { .. }), "{error}");
        }
        let _ = pending(&self.pair, &mut journal, &Self::options()).map_err(|e| e.to_string());
        let _ = ls(&self.pair, &mut journal, "", &Self::options()).map_err(|e| e.to_string());
        true
    }

    /// Synchronises by the damaged journal; what was in the trees is still somewhere, but for
    /// what somebody replaced: that is what both sides had.
    fn run(&self, edits: bool) {
        let mut replaced = BTreeSet::new();
        if edits {
            replaced.extend(["first a".to_owned(), "first folder/c".to_owned()]);
            self.write("here/a", "second a");
            self.write("there/folder/c", "second c");
            self.write("here/new", "new");
            fs::rename(self.path("there/other"), self.path("there/renamed")).unwrap();
            fs::rename(self.path("here/folder/deep"), self.path("here/deep")).unwrap();
        }
        let mut before = BTreeSet::new();
        contents(&self.path("here"), &mut before);
        contents(&self.path("there"), &mut before);
        let mut journal = Journal::open(&self.path("journal.db")).unwrap();
        for _ in 0..2 {
            let done = self.sync(&mut journal);
            assert!(done.is_ok() || !done.unwrap_err().to_string().is_empty());
        }
        let mut after = BTreeSet::new();
        contents(self.root.path(), &mut after);
        after.append(&mut replaced);
        let lost: Vec<&String> = before.difference(&after).collect();
        assert!(lost.is_empty(), "{lost:?}");
    }
}

/// The content of every file below a place, but for the journal and the marks of roots.
fn contents(below: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(below).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        let name = entry.file_name().into_string().unwrap();
        if kind.is_dir() {
            contents(&entry.path(), found);
        } else if kind.is_file() && !name.starts_with("journal.db") && !name.starts_with('.') {
            found.insert(fs::read_to_string(entry.path()).unwrap());
        }
    }
}
