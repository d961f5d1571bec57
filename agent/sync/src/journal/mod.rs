//! The journal of one pair: what both sides last agreed on, and the conflicts that are open.
//!
//! # Locking
//! One process at a time: an operating-system lock on a file beside the database, named after it.
//! It goes with the process, so a crash leaves nothing to clear.
//!
//! # Compatibility
//! `user_version` counts the migrations applied; a newer database is refused. Migrations are only
//! ever appended.
//!
//! # Crash safety
//! Write-ahead log with full synchronisation. A row is written only after the file it speaks of is
//! durable under its name, on both sides. What is about to be put in place or renamed is written
//! before. After a crash the next run looks whether it was done, and records it if so; nothing is
//! ever done again because it was intended. Without that, a file that both sides have but the
//! journal does not know would come back when somebody deletes it before the next run.
//!
//! # File systems
//! The journal lies on a local disk beside the cache, never on the share.
#![expect(clippy::disallowed_methods, reason = "edge: opens the lock")]

mod rows;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension as _, params};

use rows::{ONE, apply_one, bad_column, conflict, intent, number, row};
pub(crate) use rows::{Readers, Row};

use crate::fs::DEPTH_MAX;
use crate::item::{Base, Hash};
use crate::path::split;
use crate::recycle::Age;
use crate::report::Conflict;

/// Applied in order, each once.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE conflict (
        path TEXT PRIMARY KEY, kind INTEGER NOT NULL, since INTEGER NOT NULL,
        local_size INTEGER NOT NULL, local_mtime INTEGER NOT NULL,
        remote_size INTEGER NOT NULL, remote_mtime INTEGER NOT NULL
    ) WITHOUT ROWID;
    ",
    // Items by folder, so that a renamed folder is one changed row, and a run reads the rows of one
    // folder at a time. Before the first release items were kept by path; they are forgotten, and
    // the next run merges, which deletes nothing.
    "
    DROP TABLE IF EXISTS item;
    CREATE TABLE item (
        parent INTEGER NOT NULL, name TEXT NOT NULL, kind INTEGER NOT NULL, folder INTEGER,
        hash BLOB, link TEXT,
        here_size INTEGER NOT NULL, here_mtime INTEGER NOT NULL,
        here_ctime INTEGER NOT NULL, here_inode INTEGER NOT NULL,
        there_size INTEGER NOT NULL, there_mtime INTEGER NOT NULL,
        there_ctime INTEGER NOT NULL, there_inode INTEGER NOT NULL,
        recorded INTEGER NOT NULL, sparse INTEGER NOT NULL,
        PRIMARY KEY (parent, name)
    ) WITHOUT ROWID;
    CREATE UNIQUE INDEX item_folder ON item (folder) WHERE folder IS NOT NULL;
    CREATE INDEX item_here ON item (here_inode) WHERE folder IS NOT NULL;
    CREATE INDEX item_there ON item (there_inode) WHERE folder IS NOT NULL;
    CREATE TABLE blocks (hash BLOB PRIMARY KEY, list BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE pin (path TEXT PRIMARY KEY, who INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE suspended (path TEXT PRIMARY KEY) WITHOUT ROWID;
    ",
    // What is about to be put in place or renamed; verified after a crash, never done again.
    "
    CREATE TABLE intent (
        path TEXT PRIMARY KEY, here INTEGER NOT NULL, was TEXT, kind INTEGER NOT NULL,
        hash BLOB, link TEXT,
        here_size INTEGER NOT NULL, here_mtime INTEGER NOT NULL,
        here_ctime INTEGER NOT NULL, here_inode INTEGER NOT NULL,
        there_size INTEGER NOT NULL, there_mtime INTEGER NOT NULL,
        there_ctime INTEGER NOT NULL, there_inode INTEGER NOT NULL,
        recorded INTEGER NOT NULL
    ) WITHOUT ROWID;
    ",
];

/// Where it keeps how much time the sweeps of the recycle area went through.
const RECYCLE_AGE: &str = "recycle-age";
/// Numbers of folders to remember at most.
const NUMBERS_MAX: usize = 50_000;
/// The number of the root among folders.
pub(crate) const ROOT: i64 = 0;

/// The journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process works on the pair.
    #[error("another process works with the journal {path}")]
    Busy {
        /// The journal.
        path: PathBuf,
    },
    /// A file of the journal could not be used.
    #[error("cannot use the journal {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database failed.
    #[error("the journal failed to {what}")]
    Database {
        /// What was attempted.
        what: &'static str,
        /// Why.
        source: rusqlite::Error,
    },
    /// It was written by a newer version.
    #[error("the journal {path} has schema {found}; this version knows {}", MIGRATIONS.len())]
    Newer {
        /// The journal.
        path: PathBuf,
        /// Its schema.
        found: usize,
    },
}

fn failed(what: &'static str) -> impl FnOnce(rusqlite::Error) -> JournalError {
    move |source| JournalError::Database { what, source }
}

/// The journal of one pair, open and locked.
#[derive(Debug)]
pub struct Journal {
    database: Connection,
    path: PathBuf,
    /// The numbers of folders, by path, as far as they were asked for.
    numbers: HashMap<String, i64>,
    _lock: File,
}

/// A change of the journal.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    /// Both sides agree on this.
    Item(String, Base),
    /// Nothing is left of it, nor of what was in it.
    Forget(String),
    /// Both sides gave it another name, with everything in it.
    Moved(String, String),
    /// A conflict is open.
    Conflict(Conflict),
    /// It is no conflict any more.
    Settled(String),
    /// The block list of a large content.
    Blocks(Hash, Vec<u8>),
    /// Who pinned a path; 0 for nobody.
    Pin(String, u32),
    /// Whether a folder is suspended.
    Suspended(String, bool),
    /// Something is about to be done.
    Intent(Intent),
    /// What was about to be done is done, or given up.
    NoIntents,
}

/// Something that is about to be put in place, or to get another name.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    /// Where it is to be.
    pub path: String,
    /// Whether here; else on the share.
    pub here: bool,
    /// What both had it called, if it is to be renamed.
    pub was: Option<String>,
    /// What both sides will agree on; of the side where it is to be, the stamp under a name of ours.
    pub base: Base,
}

impl Journal {
    /// Opens the journal at a path, in a directory that exists.
    ///
    /// # Errors
    /// [`JournalError`]; a damaged journal is never taken for an empty one.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let file = |source| JournalError::File { path: path.to_owned(), source };
        let lock = File::create(beside(path, ".lock")).map_err(file)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(JournalError::Busy { path: path.to_owned() });
            }
            Err(std::fs::TryLockError::Error(source)) => return Err(file(source)),
        }
        let mut database = Connection::open(path).map_err(failed("open"))?;
        database
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
            .map_err(failed("set up"))?;
        migrate(&mut database, path)?;
        let numbers = HashMap::new();
        Ok(Self { database, path: path.to_owned(), numbers, _lock: lock })
    }

    /// Where old versions go: a directory beside the journal.
    pub fn recycle_area(&self) -> PathBuf {
        self.path.with_file_name("recycle")
    }

    /// Removes versions from the recycle area that sweeps have seen for longer than `keep`; gives
    /// how many runs'. The time between two sweeps counts as a day at most, so that a wrong clock
    /// costs nothing.
    ///
    /// # Errors
    /// [`JournalError::File`]; [`JournalError::Database`].
    pub fn recycle_sweep(&self, now: SystemTime, keep: Duration) -> Result<u64, JournalError> {
        let path = self.recycle_area();
        let known = self.meta(RECYCLE_AGE)?;
        let age = Age::read(known.as_deref()).at(now);
        // Before anything goes by it: what a sweep saw must not come again.
        self.set_meta(RECYCLE_AGE, &age.text())?;
        let swept = crate::recycle::sweep(&path, age, keep);
        swept.map_err(|source| JournalError::File { path, source })
    }

    /// Connections that only read, one for each thread that asks.
    pub(crate) fn readers(&self) -> Readers {
        Readers::new(self.path.clone())
    }

    /// A value kept about the pair.
    pub(crate) fn meta(&self, key: &str) -> Result<Option<String>, JournalError> {
        self.database
            .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
            .optional()
            .map_err(failed("read what it keeps"))
    }

    /// Keeps a value about the pair.
    pub(crate) fn set_meta(&self, key: &str, value: &str) -> Result<(), JournalError> {
        self.database
            .execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", [key, value])
            .map(drop)
            .map_err(failed("keep a value"))
    }

    /// Whether it knows anything of a pair.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub fn knows_a_root(&self) -> Result<bool, JournalError> {
        Ok(self.meta("root-local")?.is_some() || self.has_more_than(0)?)
    }

    /// Forgets what both sides agreed on, and the roots: the next run merges and deletes nothing.
    pub(crate) fn forget_all(&mut self) -> Result<(), JournalError> {
        let all = "BEGIN; DELETE FROM item; DELETE FROM intent; DELETE FROM meta WHERE key LIKE 'root-%'; COMMIT;";
        self.numbers.clear();
        self.database.execute_batch(all).map_err(failed("clear"))
    }

    /// When both directions last ran through.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub fn last_sync(&self) -> Result<Option<SystemTime>, JournalError> {
        let seconds = self.meta("last-sync")?.and_then(|text| text.parse().ok());
        Ok(seconds.and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds))))
    }

    /// How many items both sides agree on.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub fn item_count(&self) -> Result<u64, JournalError> {
        self.database
            .query_row("SELECT count(*) FROM item", [], |row| row.get::<_, i64>(0))
            .map(i64::cast_unsigned)
            .map_err(failed("count its items"))
    }

    /// Whether both sides agree on more items than `count`.
    pub(crate) fn has_more_than(&self, count: usize) -> Result<bool, JournalError> {
        self.database
            .query_row("SELECT 1 FROM item LIMIT 1 OFFSET ?1", [count as i64], |_| Ok(()))
            .optional()
            .map(|found| found.is_some())
            .map_err(failed("look for items"))
    }

    /// The paths of the folders that had a number in the file system of a side when both agreed.
    pub(crate) fn folders_with(
        &self,
        local: bool,
        inode: u64,
    ) -> Result<Vec<(String, i64)>, JournalError> {
        let text = match local {
            true => "SELECT folder FROM item WHERE here_inode = ?1 AND folder IS NOT NULL",
            false => "SELECT folder FROM item WHERE there_inode = ?1 AND folder IS NOT NULL",
        };
        let list = || -> rusqlite::Result<Vec<(String, i64)>> {
            let mut query = self.database.prepare_cached(text)?;
            let found: Vec<i64> = query
                .query_map([inode.cast_signed()], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            found.into_iter().map(|folder| Ok((self.path_of(folder)?, folder))).collect()
        };
        list().map_err(failed("look for a folder"))
    }

    fn path_of(&self, folder: i64) -> rusqlite::Result<String> {
        let mut query =
            self.database.prepare_cached("SELECT parent, name FROM item WHERE folder = ?1")?;
        let mut path = String::new();
        let mut at = folder;
        let mut depth = 0;
        while at != ROOT {
            depth += 1;
            if depth > DEPTH_MAX {
                // No tree is that deep: a damaged journal has a folder inside itself.
                return Err(bad_column(0, "parent"));
            }
            let (parent, name): (i64, String) =
                query.query_row([at], |row| Ok((row.get(0)?, row.get(1)?)))?;
            path = if path.is_empty() { name } else { format!("{name}/{path}") };
            at = parent;
        }
        Ok(path)
    }

    /// What both sides agreed on for one path.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub(crate) fn item(&self, path: &str) -> Result<Option<Row>, JournalError> {
        let find = || -> rusqlite::Result<Option<Row>> {
            let (above, name) = split(path);
            let Some(parent) = number(&self.database, above)? else { return Ok(None) };
            let mut query = self.database.prepare_cached(ONE)?;
            query.query_row(params![parent, name], row).optional()
        };
        find().map_err(failed("read an item"))
    }

    /// What was about to be done when a run was cut short.
    pub(crate) fn intents(&self) -> Result<Vec<Intent>, JournalError> {
        let list = || -> rusqlite::Result<Vec<Intent>> {
            let mut query = self.database.prepare("SELECT * FROM intent ORDER BY path")?;
            query.query_map([], intent)?.collect()
        };
        list().map_err(failed("read what was about to be done"))
    }

    /// The block list of a content.
    pub(crate) fn blocks(&self, hash: &Hash) -> Result<Option<Vec<u8>>, JournalError> {
        self.database
            .query_row("SELECT list FROM blocks WHERE hash = ?1", [hash.as_slice()], |r| r.get(0))
            .optional()
            .map_err(failed("read a block list"))
    }

    /// Forgets the block lists of contents that no item has.
    pub(crate) fn sweep_blocks(&self) -> Result<(), JournalError> {
        let any = "SELECT 1 FROM blocks LIMIT 1";
        let any = self.database.query_row(any, [], |_| Ok(())).optional();
        if any.map_err(failed("look for block lists"))?.is_none() {
            return Ok(());
        }
        let text = "DELETE FROM blocks WHERE hash NOT IN \
                    (SELECT hash FROM item WHERE hash IS NOT NULL)";
        self.database.execute(text, []).map(drop).map_err(failed("sweep its block lists"))
    }

    /// Who pinned which paths, by path; the number is a set of [`crate::pins`].
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub fn pins(&self) -> Result<Vec<(String, u32)>, JournalError> {
        let list = || -> rusqlite::Result<Vec<(String, u32)>> {
            let mut query = self.database.prepare("SELECT path, who FROM pin ORDER BY path")?;
            query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        list().map_err(failed("read its pins"))
    }

    /// The suspended folders, by path.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub fn suspended(&self) -> Result<Vec<String>, JournalError> {
        let list = || -> rusqlite::Result<Vec<String>> {
            let mut query = self.database.prepare("SELECT path FROM suspended ORDER BY path")?;
            query.query_map([], |row| row.get(0))?.collect()
        };
        list().map_err(failed("read what is suspended"))
    }

    /// The open conflicts, by path.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub fn conflicts(&self) -> Result<Vec<Conflict>, JournalError> {
        let list = || -> rusqlite::Result<Vec<Conflict>> {
            let mut query = self.database.prepare("SELECT * FROM conflict ORDER BY path")?;
            query.query_map([], conflict)?.collect()
        };
        list().map_err(failed("read its conflicts"))
    }

    /// Applies changes, all or none.
    pub(crate) fn apply(&mut self, records: &[Record]) -> Result<(), JournalError> {
        let mut all = || -> rusqlite::Result<()> {
            let transaction = self.database.transaction()?;
            for record in records {
                apply_one(&transaction, &mut self.numbers, record)?;
            }
            transaction.commit()
        };
        let done = all().map_err(failed("record what was done"));
        if done.is_err() || self.numbers.len() > NUMBERS_MAX {
            self.numbers.clear(); // what a failed transaction numbered is not there
        }
        done
    }
}

/// A file that belongs to a journal: its name, and something after it.
fn beside(journal: &Path, tail: &str) -> PathBuf {
    let mut name = journal.as_os_str().to_owned();
    name.push(tail);
    PathBuf::from(name)
}

fn migrate(database: &mut Connection, path: &Path) -> Result<(), JournalError> {
    let error = failed("bring its schema up to date");
    let found: u32 = database
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(failed("tell its schema"))?;
    let found = found as usize;
    if found > MIGRATIONS.len() {
        return Err(JournalError::Newer { path: path.to_owned(), found });
    }
    let mut run = || -> rusqlite::Result<()> {
        let transaction =
            database.transaction_with_behavior(rusqlite::TransactionBehavior::Exclusive)?;
        for migration in &MIGRATIONS[found..] {
            transaction.execute_batch(migration)?;
        }
        transaction.pragma_update(None, "user_version", MIGRATIONS.len() as u32)?;
        transaction.commit()
    };
    run().map_err(error)
}
