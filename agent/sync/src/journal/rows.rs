//! The rows of the journal: how an item is written, moved, forgotten and read back.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};

use super::{Intent, JournalError, ROOT, Record, failed};
use crate::fs::PATH_BYTES_MAX;
use crate::item::{Base, Content, Hash, Kind, Stamp};
use crate::path::{join, split};
use crate::report::{Conflict, ConflictKind, Meta};

/// One row of a folder.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Its name in the folder.
    pub name: Box<str>,
    /// What both sides agreed on.
    pub base: Base,
    /// The number of the folder that it is.
    pub folder: Option<i64>,
}

/// Reads the rows of folders, from any thread.
#[derive(Debug)]
pub(crate) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    /// Takes notice of what was written since the first folder was read.
    pub fn refresh(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, idle: Mutex::default() }
    }

    /// Goes through everything that both sides agreed on, each folder before what is in it. `visit`
    /// says of each row whether to go into it, if it is a folder.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub fn each(&self, mut visit: impl FnMut(&str, Row) -> bool) -> Result<(), JournalError> {
        let mut waiting = vec![(String::new(), ROOT)];
        while let Some((folder, number)) = waiting.pop() {
            for row in self.rows(number)? {
                let path = join(&folder, &row.name);
                let inside = row.folder;
                // A damaged journal may have a folder inside itself.
                if visit(&path, row) && path.len() <= PATH_BYTES_MAX {
                    waiting.extend(inside.map(|number| (path, number)));
                }
            }
        }
        Ok(())
    }

    /// What both sides agreed on in a folder, sorted by the bytes of the names.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub fn rows(&self, folder: i64) -> Result<Vec<Row>, JournalError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let database = match idle {
            Some(database) => database,
            None => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                let opened = Connection::open_with_flags(&self.path, flags);
                let opened = opened.map_err(failed("open for reading"))?;
                // One view for all folders, and no lock for each.
                opened.execute_batch("BEGIN").map_err(failed("begin to read"))?;
                opened
            }
        };
        let list = || -> rusqlite::Result<Vec<Row>> {
            let mut query = database.prepare_cached(ALL)?;
            query.query_map([folder], row)?.collect()
        };
        let rows = list().map_err(failed("read its items"));
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(database);
        rows
    }
}

const ALL: &str = "SELECT name, kind, folder, hash, link, here_size, here_mtime, here_ctime, \
    here_inode, there_size, there_mtime, there_ctime, there_inode, recorded, sparse \
    FROM item WHERE parent = ?1 ORDER BY name";
pub(super) const ONE: &str = "SELECT name, kind, folder, hash, link, here_size, here_mtime, here_ctime, \
    here_inode, there_size, there_mtime, there_ctime, there_inode, recorded, sparse \
    FROM item WHERE parent = ?1 AND name = ?2";

/// The number of a folder, if it is known.
pub(super) fn number(database: &Connection, path: &str) -> rusqlite::Result<Option<i64>> {
    let mut at = ROOT;
    let mut query =
        database.prepare_cached("SELECT folder FROM item WHERE parent = ?1 AND name = ?2")?;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        let found: Option<Option<i64>> =
            query.query_row(params![at, name], |row| row.get(0)).optional()?;
        let Some(Some(next)) = found else { return Ok(None) };
        at = next;
    }
    Ok(Some(at))
}

pub(super) type Numbers = HashMap<String, i64>;

/// The number of a folder. One without a row gets one: something in it is in step, so it is.
fn numbered(database: &Connection, numbers: &mut Numbers, path: &str) -> rusqlite::Result<i64> {
    if path.is_empty() {
        return Ok(ROOT);
    }
    if let Some(number) = numbers.get(path) {
        return Ok(*number);
    }
    let found = match number(database, path)? {
        Some(number) => number,
        None => {
            let base = Base::folder();
            put_item(database, numbers, path, &base)?;
            number(database, path)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?
        }
    };
    numbers.insert(path.to_owned(), found);
    Ok(found)
}

/// The paths below a path are those between these two.
fn below(path: &str) -> (String, String) {
    (format!("{path}/"), format!("{path}0"))
}

fn put_item(
    database: &Connection,
    numbers: &mut Numbers,
    path: &str,
    base: &Base,
) -> rusqlite::Result<()> {
    let (above, name) = split(path);
    let parent = numbered(database, numbers, above)?;
    let Base { content, here, there, recorded_ns, sparse } = base;
    let (hash, link) = match content {
        Content::File(hash) => (Some(hash.as_slice()), None),
        Content::Link(text) => (None, Some(&**text)),
        _ => (None, None),
    };
    let is_folder = content.kind() == Kind::Dir;
    if !is_folder {
        forget_below(database, numbers, path, parent, name)?;
    }
    let mut insert = database.prepare_cached(
        "INSERT INTO item VALUES (?1, ?2, ?3,
            CASE WHEN ?4 THEN
                (SELECT coalesce(max(folder), 0) + 1 FROM item WHERE folder IS NOT NULL) END,
            ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
         ON CONFLICT (parent, name) DO UPDATE SET kind = ?3,
            folder = CASE WHEN ?4 THEN coalesce(folder, excluded.folder) END,
            hash = ?5, link = ?6, here_size = ?7, here_mtime = ?8, here_ctime = ?9,
            here_inode = ?10, there_size = ?11, there_mtime = ?12, there_ctime = ?13,
            there_inode = ?14, recorded = ?15, sparse = ?16",
    )?;
    insert.execute(params![
        parent,
        name,
        content.kind() as u8,
        is_folder,
        hash,
        link,
        here.size.cast_signed(),
        here.mtime_ns,
        here.ctime_ns,
        here.inode.cast_signed(),
        there.size.cast_signed(),
        there.mtime_ns,
        there.ctime_ns,
        there.inode.cast_signed(),
        recorded_ns,
        sparse,
    ])?;
    Ok(())
}

/// Removes everything below a path that was a folder.
fn forget_below(
    database: &Connection,
    numbers: &mut Numbers,
    path: &str,
    parent: i64,
    name: &str,
) -> rusqlite::Result<()> {
    let mut query =
        database.prepare_cached("SELECT folder FROM item WHERE parent = ?1 AND name = ?2")?;
    let found: Option<Option<i64>> =
        query.query_row(params![parent, name], |row| row.get(0)).optional()?;
    let Some(Some(folder)) = found else { return Ok(()) };
    let mut delete = database.prepare_cached(
        "WITH RECURSIVE inside (folder) AS (
            VALUES (?1) UNION
            SELECT item.folder FROM item JOIN inside ON item.parent = inside.folder
            WHERE item.folder IS NOT NULL)
         DELETE FROM item WHERE parent IN inside",
    )?;
    delete.execute([folder])?;
    let (start, end) = below(path);
    numbers.retain(|known, _| known != path && !(*known >= start && *known < end));
    Ok(())
}

/// Gives an item, and what is kept by path about it and what is in it, another path.
fn move_item(
    database: &Connection,
    numbers: &mut Numbers,
    from: &str,
    to: &str,
) -> rusqlite::Result<()> {
    let ((above, name), (target, leaf)) = (split(from), split(to));
    let parent = numbered(database, numbers, above)?;
    let target = numbered(database, numbers, target)?;
    let mut query = database.prepare_cached(
        "UPDATE OR REPLACE item SET parent = ?3, name = ?4 WHERE parent = ?1 AND name = ?2",
    )?;
    query.execute(params![parent, name, target, leaf])?;
    numbers.clear();
    let (start, end) = below(from);
    for table in ["pin", "suspended", "conflict"] {
        let text = format!(
            "UPDATE OR REPLACE {table} SET path = ?4 || substr(path, ?5)
             WHERE path = ?1 OR (path >= ?2 AND path < ?3)"
        );
        let after = from.chars().count() as i64 + 1;
        database.prepare_cached(&text)?.execute(params![from, start, end, to, after])?;
    }
    Ok(())
}

pub(super) fn apply_one(
    database: &Connection,
    numbers: &mut Numbers,
    record: &Record,
) -> rusqlite::Result<()> {
    match record {
        Record::Item(path, base) => {
            put_item(database, numbers, path, base)?;
            settled(database, path)
        }
        Record::Forget(path) => {
            let (above, name) = split(path);
            if let Some(parent) = number(database, above)? {
                forget_below(database, numbers, path, parent, name)?;
                let mut delete =
                    database.prepare_cached("DELETE FROM item WHERE parent = ?1 AND name = ?2")?;
                delete.execute(params![parent, name])?;
            }
            settled(database, path)
        }
        Record::Moved(from, to) => move_item(database, numbers, from, to),
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
        Record::Blocks(hash, list) => {
            let mut insert =
                database.prepare_cached("INSERT OR REPLACE INTO blocks VALUES (?1, ?2)")?;
            insert.execute(params![hash.as_slice(), list]).map(drop)
        }
        Record::Pin(path, 0) => {
            database.prepare_cached("DELETE FROM pin WHERE path = ?1")?.execute([path]).map(drop)
        }
        Record::Pin(path, who) => {
            let mut insert =
                database.prepare_cached("INSERT OR REPLACE INTO pin VALUES (?1, ?2)")?;
            insert.execute(params![path, who]).map(drop)
        }
        Record::Intent(intent) => put_intent(database, intent),
        Record::NoIntents => database.prepare_cached("DELETE FROM intent")?.execute([]).map(drop),
        Record::Suspended(path, suspended) => {
            let text = match suspended {
                true => "INSERT OR REPLACE INTO suspended VALUES (?1)",
                false => "DELETE FROM suspended WHERE path = ?1",
            };
            database.prepare_cached(text)?.execute([path]).map(drop)
        }
    }
}

fn settled(database: &Connection, path: &str) -> rusqlite::Result<()> {
    database.prepare_cached("DELETE FROM conflict WHERE path = ?1")?.execute([path]).map(drop)
}

fn put_intent(database: &Connection, intent: &Intent) -> rusqlite::Result<()> {
    let Intent { path, here, was, base } = intent;
    let (hash, link) = match &base.content {
        Content::File(hash) => (Some(hash.as_slice()), None),
        Content::Link(text) => (None, Some(&**text)),
        _ => (None, None),
    };
    let mut insert = database.prepare_cached(
        "INSERT OR REPLACE INTO intent VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15)",
    )?;
    insert.execute(params![
        path,
        here,
        was,
        base.content.kind() as u8,
        hash,
        link,
        base.here.size.cast_signed(),
        base.here.mtime_ns,
        base.here.ctime_ns,
        base.here.inode.cast_signed(),
        base.there.size.cast_signed(),
        base.there.mtime_ns,
        base.there.ctime_ns,
        base.there.inode.cast_signed(),
        base.recorded_ns,
    ])?;
    Ok(())
}

pub(super) fn intent(row: &rusqlite::Row<'_>) -> rusqlite::Result<Intent> {
    let base = Base {
        content: content(row, [3, 4, 5])?,
        here: stamp(row, 6)?,
        there: stamp(row, 10)?,
        recorded_ns: row.get(14)?,
        sparse: false,
    };
    Ok(Intent { path: row.get(0)?, here: row.get(1)?, was: row.get(2)?, base })
}

fn content(row: &rusqlite::Row<'_>, [kind, hash, link]: [usize; 3]) -> rusqlite::Result<Content> {
    Ok(match row.get::<_, u8>(kind)? {
        number if number == Kind::File as u8 => {
            let blob = row.get_ref(hash)?.as_blob()?;
            Content::File(Hash::try_from(blob).map_err(|_| bad_column(hash, "hash"))?)
        }
        number if number == Kind::Dir as u8 => Content::Dir,
        number if number == Kind::Link as u8 => Content::Link(row.get_ref(link)?.as_str()?.into()),
        _ => return Err(bad_column(kind, "kind")),
    })
}

fn stamp(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Stamp> {
    let number = |index| row.get::<_, i64>(index);
    Ok(Stamp {
        size: number(first)?.cast_unsigned(),
        mtime_ns: number(first + 1)?,
        ctime_ns: number(first + 2)?,
        inode: number(first + 3)?.cast_unsigned(),
    })
}

pub(super) fn bad_column(index: usize, what: &str) -> rusqlite::Error {
    let what = format!("the journal holds an unknown {what}");
    rusqlite::Error::FromSqlConversionFailure(
        index,
        rusqlite::types::Type::Integer,
        io::Error::other(what).into(),
    )
}

pub(super) fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let base = Base {
        content: content(row, [1, 3, 4])?,
        here: stamp(row, 5)?,
        there: stamp(row, 9)?,
        recorded_ns: row.get(13)?,
        sparse: row.get(14)?,
    };
    let folder: Option<i64> = row.get(2)?;
    if folder.is_some_and(|folder| folder <= ROOT) {
        return Err(bad_column(2, "folder"));
    }
    Ok(Row { name: row.get_ref(0)?.as_str()?.into(), base, folder })
}

pub(super) fn conflict(row: &rusqlite::Row<'_>) -> rusqlite::Result<Conflict> {
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
