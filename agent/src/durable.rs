//! Writes files so that a power cut leaves the old content or the new, never less.
#![expect(clippy::disallowed_methods, reason = "edge: the one place that writes files")]

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

/// Replaces a file's content: beside, flush, rename, flush the directory. Makes the directory.
///
/// # Errors
/// The first operation that fails; the old content is then still there.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    make_private_dir(directory)?;
    let mut beside = tempfile::Builder::new().prefix(".homeport-").tempfile_in(directory)?;
    beside.write_all(content)?;
    beside.as_file().sync_all()?;
    beside.persist(path).map_err(|error| error.error)?;
    sync_dir(directory)
}

/// Makes a directory and those above it, open to its owner alone. One that exists stays as it is.
///
/// # Errors
/// As `mkdir`.
pub fn make_private_dir(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes the entries of a directory durable.
///
/// # Errors
/// As `fsync`.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
