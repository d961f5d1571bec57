//! Writes files so that a power cut leaves the old content or the new, never less.
#![expect(clippy::disallowed_methods, reason = "edge: the one place that writes files")]

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
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

/// Largest file that is read whole from a home or a policy directory.
const SMALL_BYTES_MAX: u64 = 1 << 20;

/// Reads a small regular file, one byte more than the bound at most. A pipe, device or endless file
/// that somebody put in its place is an error, and never a wait.
///
/// # Errors
/// As `open` and `read`, or when it is no regular file.
pub fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let no_wait = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(no_wait).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut content = Vec::new();
    file.take(SMALL_BYTES_MAX + 1).read_to_end(&mut content)?;
    Ok(content)
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
