//! Every touch of a tree: relative to an open root, never through a link, one call one effect.
//!
//! A path that tries to leave its root (a link swapped in for a folder, `..`) is refused by the
//! kernel, because every folder on the way is opened without following links.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, Timespec, Timestamps, futimens, openat,
    renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

use crate::item::{Entry, Kind, Stamp};

/// Deepest folder the engine goes into.
pub const DEPTH_MAX: usize = 128;
/// Longest relative path, in bytes.
pub const PATH_BYTES_MAX: usize = 4_096;
/// Start of the name of a file that is being written. Ours end in an id of the pair and a number.
pub const TEMP_PREFIX: &str = ".homeport-tmp-";

/// End of the name under which an old version stands for a moment while it is exchanged.
pub const OLD_SUFFIX: &str = "-old";

/// An operation that changes something; the point at which a test can pull the plug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// List a folder.
    List,
    /// Read a file.
    Read,
    /// Write a new file beside its place.
    Stage,
    /// Put a file in its place.
    Rename,
    /// Remove a file or link.
    Unlink,
    /// Make or remove a folder.
    Folder,
    /// Write the copy of an old version.
    Keep,
    /// Write the journal.
    Journal,
}

/// Stands between the engine and the world, so that tests can make calls fail.
pub trait Gate {
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

/// An open directory tree.
pub struct Root<'g> {
    fd: OwnedFd,
    /// Whether change times and file numbers can be trusted.
    local: bool,
    gate: &'g dyn Gate,
}

/// What one look at a name found.
#[derive(Debug)]
pub enum Look {
    /// A file, folder or link.
    Entry(Entry),
    /// A pipe, socket or device.
    Other,
    /// A link whose text is not UTF-8.
    OddLink,
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

impl<'g> Root<'g> {
    /// Opens a root. Links on the way to it are followed: it is the administrator's path.
    ///
    /// # Errors
    /// As `open`.
    pub fn open(path: &Path, local: bool, gate: &'g dyn Gate) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(CWD, path, flags, Mode::empty())?;
        Ok(Self { fd, local, gate })
    }

    /// Whether this is the side on this computer.
    pub fn is_local(&self) -> bool {
        self.local
    }

    fn folder(&self, path: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut fd = self.fd.try_clone()?;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            if part == ".." || part == "." {
                return Err(io::Error::from(io::ErrorKind::InvalidInput));
            }
            fd = openat(&fd, part, flags, Mode::empty())?;
        }
        Ok(fd)
    }

    /// Everything inside a folder, sorted by name.
    ///
    /// # Errors
    /// The first failure; a half-read folder is no answer.
    pub fn list(&self, path: &str) -> io::Result<Vec<(OsString, Look)>> {
        self.gate.pass(Op::List, path)?;
        let fd = self.folder(path)?;
        let mut found = Vec::new();
        for entry in Dir::read_from(&fd)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            match look_at(&fd, name, self.local) {
                Ok(look) => found.push((OsString::from_vec(name.to_bytes().to_vec()), look)),
                // It went away between the listing and the look: a proven absence.
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(found)
    }

    /// What stands under a name now; `None` is a proven absence.
    ///
    /// # Errors
    /// As `stat`.
    pub fn look(&self, path: &str) -> io::Result<Option<Look>> {
        let (parent, name) = split(path);
        let fd = match self.folder(parent) {
            Ok(fd) => fd,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match look_at(&fd, name, self.local) {
            Ok(look) => Ok(Some(look)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a file for reading, with its stamp at that moment.
    ///
    /// # Errors
    /// As `open`; a link is `ELOOP`.
    pub fn read(&self, path: &str) -> io::Result<(File, Stamp)> {
        self.gate.pass(Op::Read, path)?;
        let (parent, name) = split(path);
        let fd = self.folder(parent)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = openat(&fd, name, flags, Mode::empty())?;
        let stamp = self.stamp(&rustix::fs::fstat(&file)?);
        Ok((File::from(file), stamp))
    }

    /// The stamp of an open file of this tree.
    ///
    /// # Errors
    /// As `fstat`.
    pub fn stamp_of(&self, file: &File) -> io::Result<Stamp> {
        Ok(self.stamp(&rustix::fs::fstat(file)?))
    }

    fn stamp(&self, stat: &rustix::fs::Stat) -> Stamp {
        let stamp = stamp(stat);
        if self.local { stamp } else { stamp.on_share() }
    }

    /// Makes a new file beside `path`, open to its owner alone.
    ///
    /// # Errors
    /// As `open`.
    pub fn stage(&self, path: &str, temp: &str) -> io::Result<File> {
        self.gate.pass(Op::Stage, path)?;
        let fd = self.folder(split(path).0)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(openat(&fd, temp, flags, Mode::from_raw_mode(0o600))?))
    }

    /// Gives a staged file its permission bits and time, and makes it durable.
    ///
    /// # Errors
    /// As `fchmod`, `utimens`, `fsync`. A share that keeps no permission bits is no error.
    pub fn finish(&self, file: &mut File, mode: u32, mtime_ns: i64) -> io::Result<()> {
        file.flush()?;
        match rustix::fs::fchmod(&*file, Mode::from_raw_mode(mode & 0o777)) {
            Ok(()) | Err(Errno::PERM | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
        let time = Timespec {
            tv_sec: mtime_ns.div_euclid(1_000_000_000),
            tv_nsec: mtime_ns.rem_euclid(1_000_000_000),
        };
        let times = Timestamps { last_access: time, last_modification: time };
        futimens(&*file, &times)?;
        file.sync_all()
    }

    /// Lets every user of a share read a staged file, and makes it durable.
    ///
    /// # Errors
    /// As `fchmod`, `fsync`. A share that keeps no permission bits is no error.
    pub fn open_to_all(&self, file: &File) -> io::Result<()> {
        match rustix::fs::fchmod(file, Mode::from_raw_mode(0o644)) {
            Ok(()) | Err(Errno::PERM | Errno::OPNOTSUPP) => file.sync_all(),
            Err(error) => Err(error.into()),
        }
    }

    /// Stages a link beside `path`.
    ///
    /// # Errors
    /// As `symlink`.
    pub fn stage_link(&self, path: &str, temp: &str, text: &str) -> io::Result<()> {
        self.gate.pass(Op::Stage, path)?;
        let fd = self.folder(split(path).0)?;
        Ok(rustix::fs::symlinkat(text, &fd, temp)?)
    }

    /// Puts a staged entry under its name; with `replace` false only where nothing has it.
    ///
    /// # Errors
    /// `EEXIST` when the name is taken.
    pub fn put(&self, path: &str, temp: &str, replace: bool) -> io::Result<()> {
        self.gate.pass(Op::Rename, path)?;
        let (parent, name) = split(path);
        let fd = self.folder(parent)?;
        let flags = if replace { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        match renameat_with(&fd, temp, &fd, name, flags) {
            Err(Errno::INVAL | Errno::NOSYS) if !replace => {
                // RACE: shares without NOREPLACE; a file that another computer makes between this
                // look and the rename would be replaced. The window is two system calls long.
                match look_at(&fd, name, self.local) {
                    Err(Errno::NOENT) => renameat_with(&fd, temp, &fd, name, RenameFlags::empty())?,
                    Ok(_) => return Err(Errno::EXIST.into()),
                    Err(error) => return Err(error.into()),
                }
            }
            other => other?,
        }
        sync(&fd)
    }

    /// Puts a staged entry in place of an old one, which must be the expected one and be kept
    /// already: exchanges them and looks at what came out. Gives whether it was; if it was not, it
    /// stands where it stood.
    ///
    /// # Errors
    /// As `rename`, or when the folder could not be made durable.
    pub fn swap(&self, path: &str, temp: &str, expected: &Entry) -> io::Result<bool> {
        self.gate.pass(Op::Rename, path)?;
        let (parent, name) = split(path);
        let fd = self.folder(parent)?;
        let ours = look_at(&fd, temp, self.local)?;
        // Under this name the next run would recycle it: a crash may leave somebody's version here.
        let old = format!("{temp}{OLD_SUFFIX}");
        renameat_with(&fd, temp, &fd, &old, RenameFlags::empty())?;
        match renameat_with(&fd, &old, &fd, name, RenameFlags::EXCHANGE) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                // RACE: a file system that cannot exchange; what an atomic save puts there since
                // the last look is replaced. The window is three system calls long.
                renameat_with(&fd, &old, &fd, name, RenameFlags::empty())?;
                sync(&fd)?;
                return Ok(true);
            }
            Err(error) => {
                // What cannot be removed now is recycled by the next run, which knows our names.
                let _ = unlinkat(&fd, &old, AtFlags::empty());
                return if error == Errno::NOENT { Ok(false) } else { Err(error.into()) };
            }
        }
        let out_is = |wanted: &Entry| {
            let out = look_at(&fd, &old, self.local);
            matches!(out, Ok(Look::Entry(out)) if wanted.is_still(&out))
        };
        let done = out_is(expected);
        if !done {
            // If this fails, both versions stay: one here, one for the next run to recycle.
            let _ = renameat_with(&fd, &old, &fd, name, RenameFlags::EXCHANGE);
        }
        let may_go = done || matches!(&ours, Look::Entry(ours) if out_is(ours));
        if may_go && self.gate.pass(Op::Unlink, path).is_ok() {
            let _ = unlinkat(&fd, &old, AtFlags::empty());
        }
        sync(&fd)?;
        Ok(done)
    }

    /// Moves a file or link to a name outside the tree, if it is the expected one; gives whether it
    /// was. What was not is put back, unless its name was taken meanwhile: then it stays outside.
    ///
    /// # Errors
    /// `EXDEV` when outside is another file system; as `rename`.
    pub fn set_aside(&self, path: &str, outside: &Path, expected: &Entry) -> io::Result<bool> {
        self.gate.pass(Op::Unlink, path)?;
        let (parent, name) = split(path);
        let fd = self.folder(parent)?;
        let area = folder_of(outside)?;
        let leaf = outside.file_name().unwrap_or_default();
        // Nothing has the name outside: it was made up for this version.
        renameat_with(&fd, name, &area, leaf, RenameFlags::empty())?;
        let found = look_at(&area, leaf, self.local);
        let is_expected = matches!(found, Ok(Look::Entry(found)) if expected.is_still(&found));
        if !is_expected {
            // A name that was taken meanwhile is not taken back; the version is safe outside.
            let _ = renameat_with(&area, leaf, &fd, name, RenameFlags::NOREPLACE);
        }
        sync(&area)?;
        sync(&fd)?;
        Ok(is_expected)
    }

    /// Removes a staged entry that is not wanted.
    ///
    /// # Errors
    /// As `unlink`.
    pub fn unstage(&self, path: &str, temp: &str) -> io::Result<()> {
        self.gate.pass(Op::Unlink, path)?;
        let fd = self.folder(split(path).0)?;
        Ok(unlinkat(&fd, temp, AtFlags::empty())?)
    }

    /// Removes a file or link.
    ///
    /// # Errors
    /// As `unlink`.
    pub fn unlink(&self, path: &str) -> io::Result<()> {
        self.gate.pass(Op::Unlink, path)?;
        let (parent, name) = split(path);
        let fd = self.folder(parent)?;
        unlinkat(&fd, name, AtFlags::empty())?;
        sync(&fd)
    }

    /// Keeps the present version of a file or link under a name outside the tree: by a second name
    /// where that is possible, else by a copy.
    ///
    /// # Errors
    /// As `link`, or as the copy.
    pub fn keep(&self, path: &str, outside: &Path) -> io::Result<()> {
        self.gate.pass(Op::Stage, path)?;
        let (parent, name) = split(path);
        let fd = self.folder(parent)?;
        match rustix::fs::linkat(&fd, name, CWD, outside, AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::XDEV | Errno::PERM | Errno::OPNOTSUPP | Errno::MLINK) => {
                self.keep_copy(path, outside)?;
            }
            Err(error) => return Err(error.into()),
        }
        sync(&folder_of(outside)?)
    }

    /// Removes a version outside that need not be kept after all.
    pub fn unkeep(&self, outside: &Path) {
        // One that cannot be removed goes when the recycle area is swept.
        let _ = unlinkat(CWD, outside, AtFlags::empty());
    }

    fn keep_copy(&self, path: &str, outside: &Path) -> io::Result<()> {
        if let Some(Look::Entry(Entry { link: Some(text), .. })) = self.look(path)? {
            return Ok(rustix::fs::symlinkat(text, CWD, outside)?);
        }
        let (mut file, _) = self.read(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut copy = File::from(openat(CWD, outside, flags, Mode::from_raw_mode(0o600))?);
        let gate = || self.gate.pass(Op::Keep, path);
        let copied = gate().and_then(|()| io::copy(&mut file, &mut copy));
        let kept = copied.and_then(|_| copy.sync_all());
        if kept.is_err() {
            // Half a version is of no use, and on a full disk it is in the way.
            self.unkeep(outside);
        }
        kept
    }

    /// Makes a folder; one that is there already is as good.
    ///
    /// # Errors
    /// As `mkdir`.
    pub fn make_folder(&self, path: &str, mode: u32) -> io::Result<()> {
        self.gate.pass(Op::Folder, path)?;
        let (parent, name) = split(path);
        let fd = self.folder(parent)?;
        match rustix::fs::mkdirat(&fd, name, Mode::from_raw_mode(mode & 0o777 | 0o700)) {
            Ok(()) => sync(&fd),
            Err(Errno::EXIST) => self.folder(path).map(drop),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a folder that is empty.
    ///
    /// # Errors
    /// `ENOTEMPTY` when it is not.
    pub fn remove_folder(&self, path: &str) -> io::Result<()> {
        self.gate.pass(Op::Folder, path)?;
        let (parent, name) = split(path);
        let fd = self.folder(parent)?;
        unlinkat(&fd, name, AtFlags::REMOVEDIR)?;
        sync(&fd)
    }

    /// Gives an entry another name in its folder, if nothing has it.
    ///
    /// # Errors
    /// `EEXIST` when the name is taken.
    pub fn rename_in_folder(&self, path: &str, name: &str) -> io::Result<()> {
        self.gate.pass(Op::Rename, path)?;
        let (parent, old) = split(path);
        let fd = self.folder(parent)?;
        renameat_with(&fd, old, &fd, name, RenameFlags::NOREPLACE)?;
        sync(&fd)
    }
}

/// Opens the folder of a path outside the tree.
fn folder_of(outside: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, outside.parent().unwrap_or(outside), flags, Mode::empty())?)
}

/// Makes the entries of a folder durable. Some shares cannot; then the server's word must do.
fn sync(fd: &OwnedFd) -> io::Result<()> {
    match rustix::fs::fsync(fd) {
        Ok(()) | Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn stamp(stat: &rustix::fs::Stat) -> Stamp {
    let nanoseconds = |seconds: i64, rest: u64| {
        let rest = i64::try_from(rest).unwrap_or(0);
        seconds.saturating_mul(1_000_000_000).saturating_add(rest)
    };
    Stamp {
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime_ns: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
        ctime_ns: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
        inode: stat.st_ino,
    }
}

fn look_at<P: rustix::path::Arg + Copy>(fd: &OwnedFd, name: P, local: bool) -> Result<Look, Errno> {
    let stat = statat(fd.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Dir,
        FileType::Symlink => Kind::Link,
        _ => return Ok(Look::Other),
    };
    let link = match kind {
        Kind::Link => {
            let text = rustix::fs::readlinkat(fd, name, Vec::new())?;
            let Ok(text) = text.into_string() else { return Ok(Look::OddLink) };
            Some(text)
        }
        _ => None,
    };
    let stamp = stamp(&stat);
    let stamp = if local { stamp } else { stamp.on_share() };
    Ok(Look::Entry(Entry { kind, stamp, mode: stat.st_mode & 0o777, link }))
}
