//! Proves that both roots are the ones the journal knows.
//!
//! A swapped, emptied or unmounted root would look as if everything had been deleted. Each root
//! holds a marker with a random id; without the right one nothing is done.

use std::io;

use crate::content::read_full;
use crate::engine::{Side, SyncError};
use crate::fs::{TEMP_PREFIX, Tree, is_over_budget};
use crate::journal::Journal;
use crate::report::{Options, RootWord};
use crate::scan::MARKER;
use crate::walk::Both;

/// A marker is one line of hexadecimal digits.
const MARKER_BYTES_MAX: usize = 200;

/// Under which the journal keeps the id of a root.
fn key(side: Side) -> &'static str {
    match side {
        Side::Local => "root-local",
        Side::Remote => "root-remote",
    }
}

/// What the marks of both roots say.
pub struct Marks {
    /// A root is another one than the journal knows, and a person has confirmed it.
    pub replaced: bool,
    /// The marks found, here and there.
    marks: [Option<String>; 2],
}

/// Looks at both marks. Nothing is written.
///
/// # Errors
/// [`SyncError`] of the roots.
pub fn prove_both(
    sides: &Both<'_, '_>,
    journal: &Journal,
    options: &Options,
) -> Result<Marks, SyncError> {
    let mut replaced = false;
    let mut see = |side| match prove(sides.of(side == Side::Local), side, journal) {
        // The journal is not touched yet: the walk may still show that a root is of no use.
        Err(SyncError::RootChanged { .. }) if options.root == RootWord::Merge => {
            replaced = true;
            let root = sides.of(side == Side::Local);
            read_marker(root).map_err(|source| SyncError::Marker { side, source })
        }
        other => other,
    };
    let marks = [see(Side::Local)?, see(Side::Remote)?];
    Ok(Marks { replaced, marks })
}

/// Compares a root's mark with the journal; gives the mark.
///
/// # Errors
/// [`SyncError::RootChanged`] when they differ, [`SyncError::Marker`] when that cannot be told.
pub fn prove(root: &Tree<'_>, side: Side, journal: &Journal) -> Result<Option<String>, SyncError> {
    let known = journal.meta(key(side))?;
    let found = read_marker(root).map_err(|source| SyncError::Marker { side, source })?;
    let detail = match (&known, &found) {
        (Some(known), Some(found)) if known != found => "it holds the mark of another folder",
        (Some(_), None) => &format!("its mark {MARKER} is gone"),
        _ => return Ok(found),
    };
    Err(SyncError::RootChanged { side, detail: detail.to_owned() })
}

impl Marks {
    /// Whether each root had a mark, here and there.
    pub fn marked(&self) -> [bool; 2] {
        [self.marks[0].is_some(), self.marks[1].is_some()]
    }

    /// Makes the journal know both roots, marking those that have no mark; with `forget` it knows
    /// nothing else then, so that the trees are merged and nothing is deleted.
    ///
    /// # Errors
    /// [`SyncError`]; the journal knows what it knew before, unless it failed itself.
    pub fn enrol(
        &self,
        sides: &Both<'_, '_>,
        journal: &mut Journal,
        options: &Options,
        (temp_id, chance): (&str, u64),
        forget: bool,
    ) -> Result<(), SyncError> {
        let mut marks = Vec::new();
        for (root, side, found) in [
            (sides.local, Side::Local, &self.marks[0]),
            (sides.remote, Side::Remote, &self.marks[1]),
        ] {
            let may_make = side == Side::Local || options.sync_out;
            let mark = match found {
                None if may_make => make_marker(root, side, temp_id, chance)?,
                found => found.clone(),
            };
            if let Some(mark) = mark
                && (forget || journal.meta(key(side))?.is_none())
            {
                // Whoever made it: a mark that a power cut takes away must not be known here.
                root.sync_folder("").map_err(|source| SyncError::Marker { side, source })?;
                marks.push((key(side), mark));
            }
        }
        if forget {
            journal.forget_all()?;
        }
        for (key, mark) in marks {
            journal.set_meta(key, &mark)?;
        }
        Ok(())
    }
}

/// Marks a root; gives the mark, if there is one to go by.
fn make_marker(
    root: &Tree<'_>,
    side: Side,
    temp_id: &str,
    chance: u64,
) -> Result<Option<String>, SyncError> {
    let id = fresh_id(chance, key(side));
    let write = || -> io::Result<()> {
        let temp = format!("{TEMP_PREFIX}{temp_id}-{id}");
        let mut file = root.stage(MARKER, &temp)?;
        let text = format!("{id}\n");
        // Every user of a share may read it.
        let written = file.write_at(text.as_bytes(), 0).and_then(|()| file.dress(0o644, None));
        let written = written.and_then(|()| file.sync());
        let put = written.and_then(|()| root.put(MARKER, &temp));
        if put.is_err() {
            // What cannot be removed now is removed by the next run, which knows our names.
            let _ = root.unstage(MARKER, &temp);
        }
        put
    };
    match write() {
        Ok(()) => Ok(Some(id)),
        // Another computer was quicker: its mark counts, from the next run on.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
        // Where no byte may travel now, the next run marks it.
        Err(error) if is_over_budget(&error) => Ok(None),
        // A share that may only be read carries no mark; the check for an emptied root remains.
        Err(error) if side == Side::Remote && is_read_only(&error) => Ok(None),
        Err(source) => Err(SyncError::Marker { side, source }),
    }
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// A root that shows nothing any more of what the journal knows.
pub fn emptied(side: Side) -> SyncError {
    SyncError::RootChanged { side, detail: "everything in it is gone".to_owned() }
}

fn read_marker(root: &Tree<'_>) -> io::Result<Option<String>> {
    let file = match root.read(MARKER) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = [0; MARKER_BYTES_MAX];
    let filled = read_full(&*file, &mut bytes, 0)?;
    // A mark that somebody scribbled over is another mark, which a person can accept or not.
    Ok(Some(String::from_utf8_lossy(&bytes[..filled]).trim().to_owned()))
}

/// A name that nothing else has, from a chance that was handed in.
pub fn fresh_id(chance: u64, salt: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&chance.to_le_bytes()).update(salt.as_bytes());
    hasher.finalize().to_hex()[..32].to_owned()
}
