//! How the engine touches a side: a [`Volume`] opens folders by path, a [`Folder`] acts on one name.
//!
//! ```text
//! engine ─► Tree (what is done, and looked at again) ─► Volume, Folder (one call, one effect)
//!                                                         ├─ os: this computer, a mounted share
//!                                                         └─ tests/sim: disks that lose power
//! ```
//! No call takes a path with more than one name after the folder is open, and no call follows a
//! link: a folder that is swapped for a link while the engine works is an error, not a way out.

mod in_use;
mod os;
mod toll;
mod tree;

use std::ffi::OsString;
use std::io;
use std::sync::Arc;

pub use in_use::InUse;
pub use os::OsVolume;
pub use toll::{CHUNK_BYTES, OverBudget, Toll, TollVolume, is_over_budget};
pub use tree::{Gate, OLD_SUFFIX, Op, Open, Proves, TEMP_PREFIX, Tree};

use crate::item::{Entry, Stamp};

/// Deepest folder the engine goes into.
pub const DEPTH_MAX: usize = 128;
/// Longest relative path, in bytes.
pub const PATH_BYTES_MAX: usize = 4_096;

/// What one look at a name found.
#[derive(Clone, Debug)]
pub enum Look {
    /// A file, folder or link.
    Entry(Entry),
    /// A pipe, socket or device.
    Other,
    /// A link whose text is not UTF-8.
    OddLink,
    /// A folder on which another file system is mounted. If it were walked, it would look as if
    /// everything in it had been deleted as soon as it is not mounted any more.
    Mount,
    /// It was listed, and could not be looked at any more. That is no proof of absence.
    Vanished,
}

/// What can be said of a volume as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traits {
    /// Every change of a file shows in its change time, and its number stays as long as it lives.
    /// Where that is not so, equal stamps are no proof and content is read once more.
    pub stamps_tell: bool,
    /// One call makes everything written so far durable.
    pub flushes_whole: bool,
}

/// How an entry gets its new name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// In place of what has the name.
    Replace,
    /// Only if nothing has the name: else `AlreadyExists`.
    New,
    /// The two exchange their names: `Unsupported` where the volume cannot.
    Exchange,
}

/// One side, open.
pub trait Volume: Send + Sync {
    /// What can be said of it.
    fn traits(&self) -> Traits;

    /// Opens a folder by its path below the root, with `/`; "" is the root.
    ///
    /// # Errors
    /// A link on the way is an error; `NotFound` and `NotADirectory` are proven absences.
    fn folder(&self, path: &str) -> io::Result<Arc<dyn Folder>>;

    /// Makes everything written so far durable, data and names.
    ///
    /// # Errors
    /// `Unsupported` where [`Traits::flushes_whole`] is false; else as `syncfs`.
    fn flush(&self) -> io::Result<()>;

    /// How many bytes are free on it, as far as that can be told.
    fn free_bytes(&self) -> Option<u64> {
        None
    }

    /// Which of its files applications have open now.
    fn in_use(&self) -> InUse {
        InUse::default()
    }
}

/// One open folder.
pub trait Folder: Send + Sync {
    /// Everything in it, sorted by the bytes of the names.
    ///
    /// # Errors
    /// The first failure; a half-read folder is no answer.
    fn list(&self) -> io::Result<Vec<(OsString, Look)>>;

    /// What has a name; `None` is a proven absence.
    ///
    /// # Errors
    /// As `lstat`.
    fn look(&self, name: &str) -> io::Result<Option<Look>>;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// As `open`; a link is an error.
    fn open(&self, name: &str) -> io::Result<Box<dyn Reader>>;

    /// Makes a new file, open to its owner alone.
    ///
    /// # Errors
    /// `AlreadyExists` when the name is taken; as `open`.
    fn create(&self, name: &str) -> io::Result<Box<dyn Writer>>;

    /// Makes a link.
    ///
    /// # Errors
    /// As `symlink`.
    fn make_link(&self, name: &str, text: &str) -> io::Result<()>;

    /// Makes a folder.
    ///
    /// # Errors
    /// As `mkdir`.
    fn make_folder(&self, name: &str, mode: u32) -> io::Result<()>;

    /// Removes a folder that is empty.
    ///
    /// # Errors
    /// `DirectoryNotEmpty` when it is not; as `rmdir`.
    fn remove_folder(&self, name: &str) -> io::Result<()>;

    /// Removes a file or link.
    ///
    /// # Errors
    /// As `unlink`.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Gives an entry another name, maybe in another folder of the same computer's volumes.
    ///
    /// # Errors
    /// `CrossesDevices` when the other folder is on another file system; see [`How`].
    fn rename(&self, name: &str, to: &dyn Folder, new: &str, how: How) -> io::Result<()>;

    /// Gives a file a second name, maybe in another folder.
    ///
    /// # Errors
    /// `CrossesDevices` or `Unsupported` where that cannot be.
    fn add_name(&self, name: &str, to: &dyn Folder, new: &str) -> io::Result<()>;

    /// Makes the names in it durable. Some shares cannot; then the server's word must do.
    ///
    /// # Errors
    /// As `fsync`.
    fn sync(&self) -> io::Result<()>;

    /// Itself, for implementations that look at the other folder of a rename.
    fn as_any(&self) -> &dyn std::any::Any;
}

/// A file that is open for reading.
pub trait Reader: Send + Sync {
    /// The stamp at this moment.
    ///
    /// # Errors
    /// As `fstat`.
    fn stamp(&self) -> io::Result<Stamp>;

    /// Reads bytes at a place; 0 is the end.
    ///
    /// # Errors
    /// As `pread`.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Makes the content durable, whoever wrote it.
    ///
    /// # Errors
    /// As `fsync`.
    fn sync(&self) -> io::Result<()>;

    /// Itself, for [`Writer::copy_whole`].
    fn as_any(&self) -> &dyn std::any::Any;
}

/// A new file that is open for writing.
pub trait Writer: Send {
    /// Writes all of some bytes at a place.
    ///
    /// # Errors
    /// As `pwrite`.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Takes over the whole content of another file without its bytes passing through here: shares
    /// its blocks, or else, if `may_copy`, lets the kernel or the server copy them.
    ///
    /// # Errors
    /// `Unsupported` where nothing of that kind is possible; nothing is written then.
    /// `UnexpectedEof` when less was copied than the other file is long; this one is of no use then.
    fn copy_whole(&mut self, from: &dyn Reader, may_copy: bool) -> io::Result<()>;

    /// Reads what was written so far.
    ///
    /// # Errors
    /// As `dup`.
    fn reader(&self) -> io::Result<Box<dyn Reader>>;

    /// Gives the file its permission bits and, if one is given, its modification time. A share that
    /// keeps no permission bits is no error.
    ///
    /// # Errors
    /// As `fchmod`, `utimens`.
    fn dress(&mut self, mode: u32, mtime_ns: Option<i64>) -> io::Result<()>;

    /// Makes the content durable.
    ///
    /// # Errors
    /// As `fsync`.
    fn sync(&mut self) -> io::Result<()>;

    /// The stamp at this moment.
    ///
    /// # Errors
    /// As `fstat`.
    fn stamp(&self) -> io::Result<Stamp>;
}
