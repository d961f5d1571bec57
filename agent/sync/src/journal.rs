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
//! durable under its name. A crash in between leaves equal content on both sides without a row,
//! which the next run adopts; so no list of intents has to be replayed.
//!
//! # File systems
//! The journal lies on a local disk beside the cache, never on the share.
#![expect(clippy::disallowed_methods, reason = "edge: opens the lock")]

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::item::{Base, Content, Hash, Kind, Stamp};
use crate::recycle::Recycle;
use crate::report::{Conflict, ConflictKind, Meta};

/// Applied in order, each once.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE item (
        path TEXT PRIMARY KEY, kind INTEGER NOT NULL, hash BLOB, link TEXT,
        here_size INTEGER NOT NULL, here_mtime INTEGER NOT NULL,
        here_ctime INTEGER NOT NULL, here_inode INTEGER NOT NULL,
        there_size INTEGER NOT NULL, there_mtime INTEGER NOT NULL,
        recorded INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE conflict (
        path TEXT PRIMARY KEY, kind INTEGER NOT NULL, since INTEGER NOT NULL,
        local_size INTEGER NOT NULL, local_mtime INTEGER NOT NULL,
        remote_size INTEGER NOT NULL, remote_mtime INTEGER NOT NULL
    ) WITHOUT ROWID;
"];

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
    _lock: File,
}

/// A change of the journal.
#[derive(Clone, Debug)]
pub enum Record {
    /// Both sides agree on this.
    Item(String, Base),
    /// Nothing is left of it.
    Forget(String),
    /// A conflict is open.
    Conflict(Conflict),
    /// It is no conflict any more.
    Settled(String),
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
        Ok(Self { database, path: path.to_owned(), _lock: lock })
    }

    /// Where old versions go.
    pub(crate) fn recycle(&self) -> Recycle {
        let area = self.path.with_file_name("recycle");
        Recycle { area, index: beside(&self.path, ".recycled.tsv") }
    }

    /// Removes versions from the recycle area that are older than `keep`; gives how many.
    ///
    /// # Errors
    /// [`JournalError::File`].
    pub fn recycle_sweep(&self, now: SystemTime, keep: Duration) -> Result<u64, JournalError> {
        let recycle = self.recycle();
        let swept = recycle.sweep(now, keep);
        swept.map_err(|source| JournalError::File { path: recycle.area, source })
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

    /// Forgets what both sides agreed on, and the roots: the next run merges and deletes nothing.
    pub(crate) fn forget_all(&mut self) -> Result<(), JournalError> {
        let all = "BEGIN; DELETE FROM item; DELETE FROM meta WHERE key LIKE 'root-%'; COMMIT;";
        self.database.execute_batch(all).map_err(failed("clear"))
    }

    /// When both directions last ran through.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub fn last_sync(&self) -> Result<Option<SystemTime>, JournalError> {
        let seconds = self.meta("last-sync")?.and_then(|text| text.parse().ok());
        Ok(seconds.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds)))
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

    /// Everything both sides agree on, by path.
    pub(crate) fn items(&self) -> Result<Vec<(String, Base)>, JournalError> {
        let read = failed("read its items");
        let list = || -> rusqlite::Result<Vec<(String, Base)>> {
            let mut query = self.database.prepare("SELECT * FROM item ORDER BY path")?;
            query.query_map([], item)?.collect()
        };
        list().map_err(read)
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
                apply_one(&transaction, record)?;
            }
            transaction.commit()
        };
        all().map_err(failed("record what was done"))
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

fn apply_one(database: &Connection, record: &Record) -> rusqlite::Result<()> {
    match record {
        Record::Item(path, base) => {
            let Base { content, here, there, recorded_ns } = base;
            let (hash, link) = match content {
                Content::File(hash) => (Some(hash.as_slice()), None),
                Content::Link(text) => (None, Some(text.as_str())),
                _ => (None, None),
            };
            let mut insert = database.prepare_cached(
                "INSERT OR REPLACE INTO item VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)",
            )?;
            let kind = content.kind() as u8;
            insert.execute(params![
                path,
                kind,
                hash,
                link,
                here.size.cast_signed(),
                here.mtime_ns,
                here.ctime_ns,
                here.inode.cast_signed(),
                there.size.cast_signed(),
                there.mtime_ns,
                recorded_ns
            ])?;
            settled(database, path)
        }
        Record::Forget(path) => {
            database.prepare_cached("DELETE FROM item WHERE path = ?1")?.execute([path])?;
            settled(database, path)
        }
        Record::Conflict(conflict) => {
            let Conflict { path, kind, local, remote, since_unix } = conflict;
            let mut insert = database.prepare_cached(
                "INSERT INTO conflict VALUES (?1,?2,?3,?4,?5,?6,?7) ON CONFLICT (path) DO UPDATE \
                 SET kind = ?2, local_size = ?4, local_mtime = ?5, remote_size = ?6, \
                 remote_mtime = ?7",
            )?;
            insert.execute(params![
                path,
                *kind as u8,
                since_unix,
                local.size.cast_signed(),
                local.mtime_unix_ms,
                remote.size.cast_signed(),
                remote.mtime_unix_ms
            ])?;
            Ok(())
        }
        Record::Settled(path) => settled(database, path),
    }
}

fn settled(database: &Connection, path: &str) -> rusqlite::Result<()> {
    database.prepare_cached("DELETE FROM conflict WHERE path = ?1")?.execute([path]).map(drop)
}

fn bad_column(index: usize, what: &str) -> rusqlite::Error {
    let what = format!("the journal holds an unknown {what}");
    rusqlite::Error::FromSqlConversionFailure(
        index,
        rusqlite::types::Type::Integer,
        io::Error::other(what).into(),
    )
}

fn item(row: &Row<'_>) -> rusqlite::Result<(String, Base)> {
    let kind: u8 = row.get(1)?;
    let content = match kind {
        kind if kind == Kind::File as u8 => {
            let hash: Vec<u8> = row.get(2)?;
            Content::File(Hash::try_from(hash).map_err(|_| bad_column(2, "hash"))?)
        }
        kind if kind == Kind::Dir as u8 => Content::Dir,
        kind if kind == Kind::Link as u8 => Content::Link(row.get(3)?),
        _ => return Err(bad_column(1, "kind")),
    };
    let size = |index| row.get::<_, i64>(index).map(i64::cast_unsigned);
    let here =
        Stamp { size: size(4)?, mtime_ns: row.get(5)?, ctime_ns: row.get(6)?, inode: size(7)? };
    let there = Stamp { size: size(8)?, mtime_ns: row.get(9)?, ..Stamp::default() };
    Ok((row.get(0)?, Base { content, here, there, recorded_ns: row.get(10)? }))
}

fn conflict(row: &Row<'_>) -> rusqlite::Result<Conflict> {
    let kind = match row.get::<_, u8>(1)? {
        kind if kind == ConflictKind::BothCreated as u8 => ConflictKind::BothCreated,
        kind if kind == ConflictKind::BothChanged as u8 => ConflictKind::BothChanged,
        kind if kind == ConflictKind::TypeDiffers as u8 => ConflictKind::TypeDiffers,
        _ => return Err(bad_column(1, "kind of conflict")),
    };
    let size = |index| row.get::<_, i64>(index).map(i64::cast_unsigned);
    Ok(Conflict {
        path: row.get(0)?,
        kind,
        since_unix: row.get(2)?,
        local: Meta { size: size(3)?, mtime_unix_ms: row.get(4)? },
        remote: Meta { size: size(5)?, mtime_unix_ms: row.get(6)? },
    })
}
