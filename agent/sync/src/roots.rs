//! Opens both roots and proves that they are the ones the journal knows.
//!
//! A swapped, emptied or unmounted root would look as if everything had been deleted. Each root
//! holds a marker with a random id; without the right one nothing is done.

use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;

use crate::engine::{Side, SyncError};
use crate::fs::{Gate, Root};
use crate::journal::Journal;
use crate::report::{Options, Pair};
use crate::scan::MARKER;

/// Under which the journal keeps the id of the root here.
const LOCAL_KEY: &str = "root-local";
/// A marker is one line of hexadecimal digits.
const MARKER_BYTES_MAX: u64 = 200;

/// Opens both roots.
///
/// # Errors
/// [`SyncError::RootUnavailable`] or [`SyncError::RootChanged`]; nothing was done then.
pub fn open<'g>(
    pair: &Pair,
    journal: &mut Journal,
    options: &Options,
    gate: &'g dyn Gate,
    temp_id: &str,
) -> Result<(Root<'g>, Root<'g>), SyncError> {
    let unavailable = |side, path: &std::path::Path| {
        let path = path.to_owned();
        move |source| SyncError::RootUnavailable { side, path, source }
    };
    let remote =
        Root::open(&pair.remote, false, gate).map_err(unavailable(Side::Remote, &pair.remote))?;
    if options.adopt_root {
        journal.forget_all()?;
    }
    if journal.meta(LOCAL_KEY)?.is_none() && journal.item_count()? == 0 {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&pair.local);
        made.map_err(unavailable(Side::Local, &pair.local))?;
    }
    let local = Root::open(&pair.local, true, gate).map_err(|source| {
        if source.kind() == io::ErrorKind::NotFound {
            let detail = format!("{} is gone", pair.local.display());
            return SyncError::RootChanged { side: Side::Local, detail };
        }
        unavailable(Side::Local, &pair.local)(source)
    })?;
    prove(&local, Side::Local, journal, Some(temp_id))?;
    prove(&remote, Side::Remote, journal, options.sync_out.then_some(temp_id))?;
    Ok((local, remote))
}

/// Compares a root's marker with the journal; on the first run makes or adopts it.
fn prove(
    root: &Root<'_>,
    side: Side,
    journal: &Journal,
    make_with: Option<&str>,
) -> Result<(), SyncError> {
    let key = match side {
        Side::Local => LOCAL_KEY,
        Side::Remote => "root-remote",
    };
    let known = journal.meta(key)?;
    let found = read_marker(root).map_err(|source| SyncError::Marker { side, source })?;
    match (known, found) {
        (Some(known), Some(found)) if known == found => Ok(()),
        (Some(_), Some(_)) => {
            let detail = "it holds the mark of another folder".to_owned();
            Err(SyncError::RootChanged { side, detail })
        }
        (Some(_), None) => {
            let detail = format!("its mark {MARKER} is gone");
            Err(SyncError::RootChanged { side, detail })
        }
        (None, Some(found)) => Ok(journal.set_meta(key, &found)?),
        (None, None) => match make_with {
            Some(temp_id) => make_marker(root, side, journal, key, temp_id),
            None => Ok(()),
        },
    }
}

fn make_marker(
    root: &Root<'_>,
    side: Side,
    journal: &Journal,
    key: &str,
    temp_id: &str,
) -> Result<(), SyncError> {
    let id = fresh_id(key);
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
        Ok(()) => Ok(journal.set_meta(key, &id)?),
        // Another computer was quicker: its mark counts, from the next run on.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // A share that may only be read carries no mark; the check for an emptied root remains.
        Err(error) if side == Side::Remote && is_read_only(&error) => Ok(()),
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
    let mut text = String::new();
    file.take(MARKER_BYTES_MAX).read_to_string(&mut text)?;
    Ok(Some(text.trim().to_owned()))
}

/// A name that no other root has: the standard library's hasher keys are random.
pub fn fresh_id(salt: &str) -> String {
    use std::hash::{BuildHasher as _, RandomState};
    let (a, b) = (RandomState::new().hash_one(salt), RandomState::new().hash_one(salt));
    format!("{a:016x}{b:016x}")
}
