//! Opens the two directories of a pair, and the recycle area beside the journal.
#![expect(clippy::disallowed_methods, reason = "edge: tells whether two roots are apart")]

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::engine::{Side, Sides, SyncError};
use crate::fs::{OsVolume, Volume};
use crate::journal::{Journal, JournalError};
use crate::report::{Options, Pair, RootWord};

/// Opens everything. Nothing is written, but that a local root is made where there is none yet.
///
/// # Errors
/// [`SyncError`] of the roots; nothing was done then.
pub fn open(pair: &Pair, journal: &Journal, options: &Options) -> Result<Sides, SyncError> {
    let remote = match &pair.share {
        Some(share) => Arc::clone(&share.0),
        None => open_remote(pair)?,
    };
    if options.root == RootWord::Merge || !journal.knows_a_root()? {
        let made = make_private(&pair.local);
        made.map_err(|source| unavailable(Side::Local, &pair.local, source))?;
    }
    let local = open_local(pair)?;
    let path = journal.recycle_area();
    let area = make_private(&path).and_then(|()| OsVolume::open(&path));
    let area = area.map_err(|source| JournalError::File { path, source })?;
    Ok(Sides { local, remote, area: Arc::new(area) })
}

/// Opens the directory of a share, which must be another one than the one here.
fn open_remote(pair: &Pair) -> Result<Arc<dyn Volume>, SyncError> {
    let remote = OsVolume::open(&pair.remote)
        .map_err(|source| unavailable(Side::Remote, &pair.remote, source))?;
    let overlap = overlap(&pair.local, &pair.remote);
    if overlap.map_err(|source| unavailable(Side::Local, &pair.local, source))? {
        return Err(SyncError::Overlap { local: pair.local.clone(), remote: pair.remote.clone() });
    }
    Ok(Arc::new(remote))
}

fn make_private(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn unavailable(side: Side, path: &Path, source: io::Error) -> SyncError {
    SyncError::RootUnavailable { side, path: path.to_owned(), source }
}

/// Opens the root here, which was there before.
///
/// # Errors
/// [`SyncError::RootChanged`] when it is gone, else [`SyncError::RootUnavailable`].
pub fn open_local(pair: &Pair) -> Result<Arc<dyn Volume>, SyncError> {
    let local = OsVolume::open(&pair.local).map_err(|source| {
        if source.kind() == io::ErrorKind::NotFound {
            let detail = format!("{} is gone", pair.local.display());
            return SyncError::RootChanged { side: Side::Local, detail };
        }
        unavailable(Side::Local, &pair.local, source)
    })?;
    Ok(Arc::new(local))
}

/// A number that nobody can foretell: the keys of the standard library's hasher are random.
pub fn chance() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one("chance")
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
