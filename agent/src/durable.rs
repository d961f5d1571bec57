//! Writes files so that a power cut leaves the old content or the new, never less.
#![expect(clippy::disallowed_methods, reason = "edge: the one place that writes files")]

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

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

/// A file on its way to its place: written beside it, and there only when it is whole. Its owner alone
/// may read it. Whoever gives up leaves nothing behind.
#[derive(Debug)]
pub struct Beside {
    file: tempfile::NamedTempFile,
    directory: PathBuf,
    path: PathBuf,
}

impl Beside {
    /// Begins a file in a directory that exists.
    ///
    /// # Errors
    /// As `open`.
    pub fn begin(path: &Path) -> io::Result<Self> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new(".")).to_owned();
        let file = tempfile::Builder::new().prefix(".homeport-").tempfile_in(&directory)?;
        Ok(Self { file, directory, path: path.to_owned() })
    }

    /// Where it is until it is whole.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Puts it in its place: flush, rename, flush the directory. Without `overwrite` a file that is
    /// there stays there.
    ///
    /// # Errors
    /// The first operation that fails; `AlreadyExists` when something is in its place.
    pub fn finish(self, overwrite: bool) -> io::Result<()> {
        self.file.as_file().sync_all()?;
        match overwrite {
            true => self.file.persist(&self.path),
            false => self.file.persist_noclobber(&self.path),
        }
        .map_err(|error| error.error)?;
        sync_dir(&self.directory)
    }
}

impl io::Write for Beside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
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
