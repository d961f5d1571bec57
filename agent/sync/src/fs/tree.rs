//! What is done to a side, and looked at again: every replacement and removal proves what it hit.
//!
//! Nothing here is durable by itself; a batch of changes is flushed together (see `commit`).

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Folder, How, InUse, Look, Reader, Traits, Volume, Writer};
use crate::crew::Crew;
use crate::item::{Entry, Kind};
use crate::path::{above, above_and, parent, split};

/// Start of the name of a file that is being written. Ours end in an id of the pair and a number.
pub const TEMP_PREFIX: &str = ".homeport-tmp-";
/// End of the name under which an old version stands for a moment while it is exchanged.
pub const OLD_SUFFIX: &str = "-old";

/// Open folders to remember at most; consecutive items mostly share theirs.
const FOLDERS_MAX: usize = 64;
/// How long a changed page waits for the disk at most, and to spare (Linux writes after 30 s).
const YOUNG_NS: i64 = 60_000_000_000;
/// How much of a file is copied at a time.
const COPY_BYTES: usize = 256 << 10;

/// An operation; the point at which a test can pull the plug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// List a folder.
    List,
    /// Read a file.
    Read,
    /// Write a new file beside its place, or keep an old version.
    Stage,
    /// Put a file in its place.
    Rename,
    /// Remove a file or link.
    Unlink,
    /// Make or remove a folder.
    Folder,
    /// Write the copy of an old version.
    Keep,
    /// Make what was done durable.
    Flush,
    /// Write the journal.
    Journal,
}

/// Stands between the engine and the world, so that tests can make calls fail.
pub trait Gate: Sync {
    /// Asked before each operation on a path; an error is what the operation returns.
    ///
    /// # Errors
    /// Whatever the test wants the engine to see.
    fn pass(&self, op: Op, path: &str) -> io::Result<()>;
}

/// Lets everything pass.
#[derive(Clone, Copy, Debug)]
pub struct Open;

impl Gate for Open {
    fn pass(&self, _: Op, _: &str) -> io::Result<()> {
        Ok(())
    }
}

/// Whether an error proves that a folder is not there: nothing has its name, or a file has.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Whether an error proves that the entry of a path is not there, or not to be reached without
/// following a link, which is the same to the engine.
fn is_out_of_reach(error: &io::Error) -> bool {
    is_absence(error) || error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

/// Whether what stands under a name of a folder has the content that is meant to go.
pub type Proves<'p> = &'p dyn Fn(&dyn Folder, &str) -> bool;

/// Whether an entry certainly stands under a name, as it was seen.
fn stands(folder: &dyn Folder, name: &str, expected: &Entry) -> bool {
    matches!(folder.look(name), Ok(Some(Look::Entry(found))) if expected.is_still(&found))
}

/// One side as the engine works on it.
pub struct Tree<'g> {
    volume: Arc<dyn Volume>,
    gate: &'g dyn Gate,
    crew: Crew,
    young_ns: i64,
    folders: Mutex<HashMap<Box<str>, Arc<dyn Folder>>>,
}

impl<'g> Tree<'g> {
    /// A side, with every operation passing a gate.
    pub fn new(volume: Arc<dyn Volume>, gate: &'g dyn Gate, crew: Crew) -> Self {
        Self { volume, gate, crew, young_ns: i64::MAX, folders: Mutex::default() }
    }

    /// The same, of this computer at this moment (nanoseconds since 1970): files that were changed
    /// not long before it are made durable before they are read. What a program writes through a
    /// mapping into a page that waits for the disk already gives the file no new time; once the page
    /// is on the disk, the next write does.
    #[must_use]
    pub fn at_home(self, now_ns: i64) -> Self {
        Self { young_ns: now_ns.saturating_sub(YOUNG_NS), ..self }
    }

    /// Whether a file of this time may still be written to without its time showing it.
    pub fn is_young(&self, mtime_ns: i64) -> bool {
        mtime_ns >= self.young_ns
    }

    /// How many hands work on it.
    pub fn crew(&self) -> Crew {
        self.crew
    }

    /// What can be said of its volume.
    pub fn traits(&self) -> Traits {
        self.volume.traits()
    }

    /// How many bytes are free on its disk, as far as that can be told.
    pub fn free_bytes(&self) -> Option<u64> {
        self.volume.free_bytes()
    }

    /// Which of its files applications have open now.
    pub fn in_use(&self) -> InUse {
        self.volume.in_use()
    }

    /// Forgets the open folders, so that each path is looked up anew.
    pub fn forget_folders(&self) {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn folder(&self, path: &str) -> io::Result<Arc<dyn Folder>> {
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = folders.get(path) {
            return Ok(Arc::clone(folder));
        }
        let folder = self.volume.folder(path)?;
        if folders.len() >= FOLDERS_MAX {
            folders.clear();
        }
        folders.insert(path.into(), Arc::clone(&folder));
        Ok(folder)
    }

    /// Everything inside a folder, sorted by name.
    ///
    /// # Errors
    /// The first failure; a half-read folder is no answer.
    pub fn list(&self, path: &str) -> io::Result<Vec<(OsString, Look)>> {
        self.gate.pass(Op::List, path)?;
        self.volume.folder(path)?.list()
    }

    /// What stands under a name now; `None` is a proven absence.
    ///
    /// # Errors
    /// As `stat`.
    pub fn look(&self, path: &str) -> io::Result<Option<Look>> {
        let (parent, name) = split(path);
        match self.folder(parent) {
            Ok(folder) => folder.look(name),
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether nothing stands under a path now. What lies beyond a link is not of this tree.
    ///
    /// # Errors
    /// As `stat`: what cannot be seen is not gone.
    pub fn is_gone(&self, path: &str) -> io::Result<bool> {
        match self.look(path) {
            Err(error) if is_out_of_reach(&error) => Ok(true),
            other => other.map(|look| look.is_none()),
        }
    }

    /// The file, folder or link that certainly stands under a name now.
    pub fn entry(&self, path: &str) -> Option<Entry> {
        match self.look(path) {
            Ok(Some(Look::Entry(entry))) => Some(entry),
            _ => None,
        }
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// As `open`; a link is an error.
    pub fn read(&self, path: &str) -> io::Result<Box<dyn Reader>> {
        self.gate.pass(Op::Read, path)?;
        let (parent, name) = split(path);
        self.folder(parent)?.open(name)
    }

    /// Makes a new file beside `path`, open to its owner alone.
    ///
    /// # Errors
    /// As `open`.
    pub fn stage(&self, path: &str, temp: &str) -> io::Result<Box<dyn Writer>> {
        self.gate.pass(Op::Stage, path)?;
        self.folder(parent(path))?.create(temp)
    }

    /// Stages a link beside `path`; gives what then stands there.
    ///
    /// # Errors
    /// As `symlink`.
    pub fn stage_link(&self, path: &str, temp: &str, text: &str) -> io::Result<Option<Look>> {
        self.gate.pass(Op::Stage, path)?;
        let folder = self.folder(parent(path))?;
        folder.make_link(temp, text)?;
        folder.look(temp)
    }

    /// Removes a staged entry that is not wanted.
    ///
    /// # Errors
    /// As `unlink`.
    pub fn unstage(&self, path: &str, temp: &str) -> io::Result<()> {
        self.gate.pass(Op::Unlink, path)?;
        self.folder(parent(path))?.remove(temp)
    }

    /// Puts a staged entry under its name, where nothing has it.
    ///
    /// # Errors
    /// `AlreadyExists` when the name is taken.
    pub fn put(&self, path: &str, temp: &str) -> io::Result<()> {
        self.gate.pass(Op::Rename, path)?;
        let (parent, name) = split(path);
        let folder = self.folder(parent)?;
        folder.rename(temp, &*folder, name, How::New)
    }

    /// Puts a staged entry in place of an old one, which must be the expected one and be kept
    /// already: exchanges them and looks at what came out. Gives whether it was; if it was not, it
    /// stands where it stood. `proves` is asked about its content, where stamps do not tell
    /// everything.
    ///
    /// # Errors
    /// As `rename`.
    pub fn swap(
        &self,
        path: &str,
        temp: &str,
        expected: &Entry,
        proves: Proves<'_>,
    ) -> io::Result<bool> {
        self.gate.pass(Op::Rename, path)?;
        let (parent, name) = split(path);
        let folder = self.folder(parent)?;
        let ours = folder.look(temp)?;
        // Under this name the next run would recycle it: a crash may leave somebody's version here.
        let old = format!("{temp}{OLD_SUFFIX}");
        folder.rename(temp, &*folder, &old, How::Replace)?;
        match folder.rename(&old, &*folder, name, How::Exchange) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                // RACE: a file system that cannot exchange; what is put there between this look and
                // the rename is replaced. The window is two system calls long.
                let is_meant = || stands(&*folder, name, expected);
                if is_meant() && proves(&*folder, name) && is_meant() {
                    folder.rename(&old, &*folder, name, How::Replace)?;
                    return Ok(true);
                }
                let _ = folder.remove(&old);
                return Ok(false);
            }
            Err(error) => {
                // What cannot be removed now is recycled by the next run, which knows our names.
                let _ = folder.remove(&old);
                let gone = error.kind() == io::ErrorKind::NotFound;
                return if gone { Ok(false) } else { Err(error) };
            }
        }
        let out_is = |wanted| stands(&*folder, &old, wanted);
        let done = out_is(expected) && proves(&*folder, &old);
        if !done {
            // If this fails, both versions stay: one here, one for the next run to recycle.
            let _ = folder.rename(&old, &*folder, name, How::Exchange);
        }
        let may_go = done || matches!(&ours, Some(Look::Entry(ours)) if out_is(ours));
        if may_go && self.gate.pass(Op::Unlink, path).is_ok() {
            let _ = folder.remove(&old);
        }
        Ok(done)
    }

    /// Moves a file or link into the recycle area, if it is the expected one; gives whether it
    /// was. What was not is put back, unless its name was taken meanwhile: then it stays there.
    ///
    /// # Errors
    /// `CrossesDevices` when the area is on another file system; as `rename`.
    pub fn set_aside(
        &self,
        path: &str,
        area: &Tree<'_>,
        place: &str,
        expected: &Entry,
    ) -> io::Result<bool> {
        self.gate.pass(Op::Unlink, path)?;
        let (parent, name) = split(path);
        let (above, leaf) = split(place);
        let (folder, area) = (self.folder(parent)?, area.folder(above)?);
        // Nothing has the name there: it was made up for this version.
        folder.rename(name, &*area, leaf, How::New)?;
        // One that got a second name meanwhile would change with what is written there.
        let is_own = |found: &Entry| expected.is_still(found) && !found.shared;
        let is_expected = matches!(area.look(leaf), Ok(Some(Look::Entry(found))) if is_own(&found));
        if !is_expected {
            // A name that was taken meanwhile is not taken back; the version is safe in the area.
            let _ = area.rename(leaf, &*folder, name, How::New);
        }
        Ok(is_expected)
    }

    /// Removes a file or link, if it is the expected one: takes it aside under `temp`, looks at it,
    /// and removes it. Gives whether it was; what was not stands where it stood.
    ///
    /// # Errors
    /// As `rename`, `unlink`.
    pub fn take(
        &self,
        path: &str,
        temp: &str,
        expected: &Entry,
        proves: Proves<'_>,
    ) -> io::Result<bool> {
        self.gate.pass(Op::Unlink, path)?;
        let (parent, name) = split(path);
        let folder = self.folder(parent)?;
        let old = format!("{temp}{OLD_SUFFIX}");
        folder.rename(name, &*folder, &old, How::Replace)?;
        if stands(&*folder, &old, expected) && proves(&*folder, &old) {
            folder.remove(&old)?;
            return Ok(true);
        }
        // If its name was taken meanwhile, it stays for the next run to recycle.
        let _ = folder.rename(&old, &*folder, name, How::New);
        Ok(false)
    }

    /// Removes a file or link of ours that stands under one of our own names.
    ///
    /// # Errors
    /// As `unlink`.
    pub fn discard(&self, path: &str) -> io::Result<()> {
        self.gate.pass(Op::Unlink, path)?;
        let (parent, name) = split(path);
        self.folder(parent)?.remove(name)
    }

    /// Keeps the present version of a file or link in the recycle area: by a second name where
    /// that is possible, else by a copy, which is durable then.
    ///
    /// # Errors
    /// As `link`, or as the copy.
    pub fn keep(&self, path: &str, area: &Tree<'_>, place: &str) -> io::Result<()> {
        self.gate.pass(Op::Stage, path)?;
        let (parent, name) = split(path);
        let (above, leaf) = split(place);
        let (folder, shelf) = (self.folder(parent)?, area.folder(above)?);
        // A version that has other names still would change with what is written there.
        let shared = matches!(folder.look(name)?, Some(Look::Entry(Entry { shared: true, .. })));
        let cannot = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::CrossesDevices | io::ErrorKind::Unsupported)
        };
        if !shared {
            match folder.add_name(name, &*shelf, leaf) {
                Err(error) if cannot(&error) => {}
                other => return other,
            }
        }
        if let Some(Look::Entry(Entry { link: Some(text), .. })) = folder.look(name)? {
            return shelf.make_link(leaf, &text);
        }
        let from = self.read(path)?;
        let mut copy = shelf.create(leaf)?;
        let kept = self.gate.pass(Op::Keep, path).and_then(|()| copy_all(&*from, &mut *copy));
        let kept = kept.and_then(|()| copy.sync());
        if kept.is_err() {
            // Half a version is of no use, and on a full disk it is in the way.
            let _ = shelf.remove(leaf);
        }
        kept
    }

    /// Makes a folder; one that is there already is as good. Gives whether it was made.
    ///
    /// # Errors
    /// As `mkdir`.
    pub fn make_folder(&self, path: &str, mode: u32) -> io::Result<bool> {
        self.gate.pass(Op::Folder, path)?;
        let (parent, name) = split(path);
        let folder = self.folder(parent)?;
        match folder.make_folder(name, mode & 0o777 | 0o700) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                match folder.look(name)? {
                    Some(Look::Entry(found)) if found.kind == Kind::Dir => Ok(false),
                    _ => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Makes a folder and those above it.
    ///
    /// # Errors
    /// As `mkdir`.
    pub fn make_folders(&self, path: &str, mode: u32) -> io::Result<()> {
        for folder in above_and(path) {
            let is_open = {
                let folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
                folders.contains_key(folder)
            };
            if !is_open {
                self.make_folder(folder, mode)?;
            }
        }
        Ok(())
    }

    /// Writes at a path; a folder above it that is missing is made first.
    ///
    /// # Errors
    /// As `write`; as `mkdir`.
    pub fn with_parents<T>(&self, path: &str, write: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match write() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make_folders(parent(path), 0o700)?;
                write()
            }
            other => other,
        }
    }

    /// Removes a folder that is empty.
    ///
    /// # Errors
    /// `DirectoryNotEmpty` when it is not.
    pub fn remove_folder(&self, path: &str) -> io::Result<()> {
        self.gate.pass(Op::Folder, path)?;
        let (parent, name) = split(path);
        self.forget_folders();
        self.folder(parent)?.remove_folder(name)
    }

    /// Removes the folders above a path, as far as they are empty: in the recycle area each run on a
    /// full disk would leave more.
    pub fn clear_away(&self, path: &str) {
        let _ = above(path).rev().try_for_each(|folder| self.remove_folder(folder));
    }

    /// Gives an entry another name, if nothing has it. A change of nothing but case, on a side that
    /// ignores case, finds the entry itself under the new name, and renames it all the same.
    ///
    /// # Errors
    /// `AlreadyExists` when the name is taken.
    pub fn rename(&self, path: &str, to: &str) -> io::Result<()> {
        self.gate.pass(Op::Rename, path)?;
        self.forget_folders();
        let ((parent, name), (above, leaf)) = (split(path), split(to));
        let (folder, target) = (self.folder(parent)?, self.folder(above)?);
        match folder.rename(name, &*target, leaf, How::New) {
            Err(error)
                if error.kind() == io::ErrorKind::AlreadyExists && self.is_one(path, to)? =>
            {
                folder.rename(name, &*target, leaf, How::Replace)
            }
            other => other,
        }
    }

    /// Whether two paths that differ only in case lead to one entry.
    ///
    /// # Errors
    /// As `stat`.
    pub fn is_one(&self, path: &str, other: &str) -> io::Result<bool> {
        if path.to_lowercase() != other.to_lowercase() {
            return Ok(false);
        }
        let number = |look: Option<Look>| match look {
            Some(Look::Entry(entry)) if entry.stamp.inode != 0 => Some(entry.stamp.inode),
            _ => None,
        };
        let (one, two) = (number(self.look(path)?), number(self.look(other)?));
        Ok(one.is_some() && one == two)
    }

    /// Makes the names in a folder durable; a folder that is gone has none.
    ///
    /// # Errors
    /// As `fsync`.
    pub fn sync_folder(&self, path: &str) -> io::Result<()> {
        self.gate.pass(Op::Flush, path)?;
        match self.folder(path) {
            Ok(folder) => folder.sync(),
            Err(error) if is_out_of_reach(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes one entry durable, with its name and those of the folders above it.
    ///
    /// # Errors
    /// As `fsync`.
    pub fn sync_entry(&self, path: &str) -> io::Result<()> {
        let (parent, name) = split(path);
        let folder = match self.folder(parent) {
            Err(error) if is_out_of_reach(&error) => return Ok(()),
            other => other?,
        };
        if let Some(Look::Entry(Entry { kind: Kind::File, .. })) = folder.look(name)? {
            folder.open(name)?.sync()?;
        }
        above_and(parent).try_for_each(|folder| self.sync_folder(folder))?;
        self.sync_folder("")
    }

    /// Makes everything durable.
    ///
    /// # Errors
    /// As `syncfs`; `Unsupported` where the volume cannot.
    pub fn flush(&self) -> io::Result<()> {
        self.gate.pass(Op::Flush, "")?;
        self.volume.flush()
    }
}

fn copy_all(from: &dyn Reader, to: &mut dyn Writer) -> io::Result<()> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut offset = 0;
    loop {
        match from.read_at(&mut buffer, offset)? {
            0 => return Ok(()),
            n => {
                to.write_at(&buffer[..n], offset)?;
                offset += n as u64;
            }
        }
    }
}
