//! Opens both roots and proves that they are the ones the journal knows.
//!
//! A swapped, emptied or unmounted root would look as if everything had been deleted. Each root
//! holds a marker with a random id; without the right one nothing is done.

#![expect(clippy::disallowed_methods, reason = "edge: tells whether two roots are apart")]

use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::engine::{Side, SyncError};
use crate::fs::{Gate, Root};
use crate::journal::Journal;
use crate::report::{Options, Pair};
use crate::scan::MARKER;

/// A marker is one line of hexadecimal digits.
const MARKER_BYTES_MAX: u64 = 200;

/// Under which the journal keeps the id of a root.
fn key(side: Side) -> &'static str {
    match side {
        Side::Local => "root-local",
        Side::Remote => "root-remote",
    }
}

/// Both roots, open, and what their marks say.
pub struct Roots<'g> {
    /// The side here.
    pub local: Root<'g>,
    /// The side there.
    pub remote: Root<'g>,
    /// A root is another one than the journal knows, and a person has confirmed it.
    pub replaced: bool,
    /// The marks found, here and there.
    marks: [Option<String>; 2],
}

/// Opens both roots. Nothing is written, but that a local root is made where there is none yet.
///
/// # Errors
/// [`SyncError`] of the roots; nothing was done then.
pub fn open<'g>(
    pair: &Pair,
    journal: &Journal,
    options: &Options,
    gate: &'g dyn Gate,
) -> Result<Roots<'g>, SyncError> {
    let remote = Root::open(&pair.remote, false, gate)
        .map_err(|source| unavailable(Side::Remote, &pair.remote, source))?;
    let overlap = overlap(&pair.local, &pair.remote);
    if overlap.map_err(|source| unavailable(Side::Local, &pair.local, source))? {
        return Err(SyncError::Overlap { local: pair.local.clone(), remote: pair.remote.clone() });
    }
    let first = journal.meta(key(Side::Local))?.is_none() && journal.item_count()? == 0;
    if first || options.adopt_root {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&pair.local);
        made.map_err(|source| unavailable(Side::Local, &pair.local, source))?;
    }
    let local = open_local(pair, gate)?;
    let mut replaced = false;
    let mut see = |root, side| match prove(root, side, journal) {
        // The journal is not touched yet: the scans may still show that a root is of no use.
        Err(SyncError::RootChanged { .. }) if options.adopt_root => {
            replaced = true;
            read_marker(root).map_err(|source| SyncError::Marker { side, source })
        }
        other => other,
    };
    let marks = [see(&local, Side::Local)?, see(&remote, Side::Remote)?];
    Ok(Roots { local, remote, replaced, marks })
}

fn unavailable(side: Side, path: &Path, source: io::Error) -> SyncError {
    SyncError::RootUnavailable { side, path: path.to_owned(), source }
}

/// Opens the root here, which was there before.
///
/// # Errors
/// [`SyncError::RootChanged`] when it is gone, else [`SyncError::RootUnavailable`].
pub fn open_local<'g>(pair: &Pair, gate: &'g dyn Gate) -> Result<Root<'g>, SyncError> {
    Root::open(&pair.local, true, gate).map_err(|source| {
        if source.kind() == io::ErrorKind::NotFound {
            let detail = format!("{} is gone", pair.local.display());
            return SyncError::RootChanged { side: Side::Local, detail };
        }
        unavailable(Side::Local, &pair.local, source)
    })
}

/// Whether one root is the other, or lies in it: each run would then feed on the one before.
fn overlap(local: &Path, remote: &Path) -> io::Result<bool> {
    let (local, remote) = (real_path(local)?, real_path(remote)?);
    if local.starts_with(&remote) || remote.starts_with(&local) {
        return Ok(true);
    }
    // Two mounts of one directory have different paths.
    let id = |path: &Path| std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
    let lies_in = |inner: &Path, outer: Option<(u64, u64)>| {
        outer.is_some() && inner.ancestors().any(|above| id(above) == outer)
    };
    Ok(lies_in(&local, id(&remote)) || lies_in(&remote, id(&local)))
}

/// A path without links; of one that is not there yet, the part that is.
fn real_path(path: &Path) -> io::Result<PathBuf> {
    match std::fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            match (path.parent(), path.file_name()) {
                (Some(parent), Some(name)) => Ok(real_path(parent)?.join(name)),
                _ => Err(error),
            }
        }
        other => other,
    }
}

/// Compares a root's mark with the journal; gives the mark.
///
/// # Errors
/// [`SyncError::RootChanged`] when they differ, [`SyncError::Marker`] when that cannot be told.
pub fn prove(root: &Root<'_>, side: Side, journal: &Journal) -> Result<Option<String>, SyncError> {
    let known = journal.meta(key(side))?;
    let found = read_marker(root).map_err(|source| SyncError::Marker { side, source })?;
    let detail = match (&known, &found) {
        (Some(known), Some(found)) if known != found => "it holds the mark of another folder",
        (Some(_), None) => &format!("its mark {MARKER} is gone"),
        _ => return Ok(found),
    };
    Err(SyncError::RootChanged { side, detail: detail.to_owned() })
}

impl Roots<'_> {
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
        journal: &mut Journal,
        options: &Options,
        temp_id: &str,
        forget: bool,
    ) -> Result<(), SyncError> {
        let mut marks = Vec::new();
        for (root, side, found) in [
            (&self.local, Side::Local, &self.marks[0]),
            (&self.remote, Side::Remote, &self.marks[1]),
        ] {
            let may_make = side == Side::Local || options.sync_out;
            let mark = match found {
                None if may_make => make_marker(root, side, temp_id)?,
                found => found.clone(),
            };
            if forget || journal.meta(key(side))?.is_none() {
                marks.extend(mark.map(|mark| (key(side), mark)));
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
fn make_marker(root: &Root<'_>, side: Side, temp_id: &str) -> Result<Option<String>, SyncError> {
    let id = fresh_id(key(side));
    let write = || -> io::Result<()> {
        let temp = format!("{}{temp_id}-{id}", crate::fs::TEMP_PREFIX);
        let mut file = root.stage(MARKER, &temp)?;
        let written = writeln!(file, "{id}").and_then(|()| root.open_to_all(&file));
        let put = written.and_then(|()| root.put(MARKER, &temp, false));
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
        // A share that may only be read carries no mark; the check for an emptied root remains.
        Err(error) if side == Side::Remote && is_read_only(&error) => Ok(None),
        Err(source) => Err(SyncError::Marker { side, source }),
    }
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

fn read_marker(root: &Root<'_>) -> io::Result<Option<String>> {
    let file = match root.read(MARKER) {
        Ok((file, _)) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(MARKER_BYTES_MAX).read_to_end(&mut bytes)?;
    // A mark that somebody scribbled over is another mark, which a person can accept or not.
    Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned()))
}

/// A name that no other root has: the standard library's hasher keys are random.
pub fn fresh_id(salt: &str) -> String {
    use std::hash::{BuildHasher as _, RandomState};
    let (a, b) = (RandomState::new().hash_one(salt), RandomState::new().hash_one(salt));
    format!("{a:016x}{b:016x}")
}
