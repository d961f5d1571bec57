//! Moves and copies the contents of folders without ever overwriting or losing any of them.
#![expect(clippy::disallowed_methods, reason = "edge: moves files")]

use std::fs::{File, FileTimes, Metadata, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink,
};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::durable::sync_dir;
use crate::limits::DEPTH_MAX;

/// What a move did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Entries that are at the new place now; a folder that moved whole counts once.
    pub entries: u64,
    /// Entries whose equal twin was already there.
    pub equal: u64,
    /// Entries that kept both versions, because another one had the name.
    pub kept_both: u64,
}

/// A file could not be moved or copied. Everything is at its old or its new place.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// An operation failed.
    #[error("cannot {what} {path}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What came back.
        source: io::Error,
    },
    /// The folder nests deeper than [`DEPTH_MAX`].
    #[error("{path} is more than {DEPTH_MAX} folders deep")]
    TooDeep {
        /// Where.
        path: PathBuf,
    },
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> MoveError {
    move |source| MoveError::Io { what, path: path.to_owned(), source }
}

/// Moves everything inside `from` into `to`, which exists. `from` stays, empty.
///
/// A name that is taken is compared first: equal content counts as moved, other content keeps both.
/// Interrupted at any instant, a second run finishes the rest.
///
/// # Errors
/// [`MoveError`] for the first entry that could not be moved.
pub fn move_contents(from: &Path, to: &Path) -> Result<Moved, MoveError> {
    let mut moved = Moved::default();
    move_level(from, to, 0, &mut moved)?;
    Ok(moved)
}

fn move_level(from: &Path, to: &Path, depth: usize, moved: &mut Moved) -> Result<(), MoveError> {
    if depth > DEPTH_MAX {
        return Err(MoveError::TooDeep { path: from.to_owned() });
    }
    for name in entries(from)? {
        let (source, target) = (from.join(&name), to.join(&name));
        match rename_new(&source, &target) {
            Ok(()) => moved.entries += 1,
            Err(Errno::EXIST) => join_twins(&source, &target, depth, moved)?,
            // Across file systems the kernel says so before it looks whether the name is taken.
            Err(Errno::XDEV) if is_taken(&target)? => join_twins(&source, &target, depth, moved)?,
            Err(Errno::XDEV) => {
                carry_entry(&source, &target, depth + 1)?;
                moved.entries += 1;
            }
            Err(error) => return Err(io_error("move", &source)(error.into())),
        }
    }
    sync_dir(to).map_err(io_error("flush", to))
}

/// Names inside a directory, in order, so that two runs do the same.
fn entries(path: &Path) -> Result<Vec<std::ffi::OsString>, MoveError> {
    let list = || -> io::Result<Vec<_>> {
        std::fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect()
    };
    let mut names = list().map_err(io_error("list", path))?;
    names.sort();
    Ok(names)
}

/// Renames only when nothing has the new name.
///
/// # Errors
/// `EXIST` when something has it, `XDEV` across file systems, else as `rename`.
pub fn rename_new(from: &Path, to: &Path) -> Result<(), Errno> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => {
            // RACE: file systems without NOREPLACE; another process may take the name between the
            // look and the rename, and a rename would replace what it wrote there. Only the user's
            // own processes work in this directory, and the window is two system calls long.
            match std::fs::symlink_metadata(to) {
                Ok(_) => Err(Errno::EXIST),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    renameat_with(CWD, from, CWD, to, RenameFlags::empty())
                }
                Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
            }
        }
        other => other,
    }
}

/// Two entries want one name.
fn join_twins(
    source: &Path,
    target: &Path,
    depth: usize,
    moved: &mut Moved,
) -> Result<(), MoveError> {
    let look = |path: &Path| std::fs::symlink_metadata(path).map_err(io_error("look at", path));
    let (a, b) = (look(source)?, look(target)?);
    if a.is_dir() && b.is_dir() {
        move_level(source, target, depth + 1, moved)?;
        return std::fs::remove_dir(source).map_err(io_error("remove the emptied", source));
    }
    if a.is_file() && b.is_file() && same_content(source, &a, target, &b)? {
        moved.equal += 1;
        return std::fs::remove_file(source).map_err(io_error("remove the equal", source));
    }
    let both = free_name(target)?;
    rename_or_copy(source, &both, depth)?;
    moved.kept_both += 1;
    Ok(())
}

fn rename_or_copy(source: &Path, target: &Path, depth: usize) -> Result<(), MoveError> {
    match rename_new(source, target) {
        Ok(()) => Ok(()),
        Err(Errno::XDEV) => carry_entry(source, target, depth + 1),
        Err(error) => Err(io_error("move", source)(error.into())),
    }
}

/// `Plan.odt` → `Plan (before redirection).odt`, `… (before redirection 2).odt`, …
fn free_name(taken: &Path) -> Result<PathBuf, MoveError> {
    let stem = taken.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let extension = taken.extension().map(|extension| extension.to_string_lossy().into_owned());
    for number in 1..10_000_u32 {
        let count = if number == 1 { String::new() } else { format!(" {number}") };
        let mut name = format!("{stem} (before redirection{count})");
        if let Some(extension) = &extension {
            name.push('.');
            name.push_str(extension);
        }
        let path = taken.with_file_name(name);
        match std::fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path),
            Err(error) => return Err(io_error("look at", &path)(error)),
            Ok(_) => {}
        }
    }
    let full = io::Error::other("10,000 versions of the name are taken");
    Err(io_error("find a free name beside", taken)(full))
}

fn same_content(a: &Path, am: &Metadata, b: &Path, bm: &Metadata) -> Result<bool, MoveError> {
    if am.len() != bm.len() {
        return Ok(false);
    }
    let open = |path: &Path| File::open(path).map_err(io_error("open", path));
    let (mut left, mut right) = (open(a)?, open(b)?);
    let (mut x, mut y) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let n = read_full(&mut left, &mut x).map_err(io_error("read", a))?;
        let m = read_full(&mut right, &mut y).map_err(io_error("read", b))?;
        if x[..n] != y[..m] {
            return Ok(false);
        }
        if n == 0 {
            return Ok(true);
        }
    }
}

fn read_full(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn is_taken(path: &Path) -> Result<bool, MoveError> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io_error("look at", path)(error)),
    }
}

/// Takes an entry to another file system: each file is copied, compared with what it was, and only
/// then removed; a folder goes when it is empty. What a program writes meanwhile stays where it is
/// and is found by the next sweep.
fn carry_entry(source: &Path, target: &Path, depth: usize) -> Result<(), MoveError> {
    if depth > DEPTH_MAX {
        return Err(MoveError::TooDeep { path: source.to_owned() });
    }
    let look = || std::fs::symlink_metadata(source).map_err(io_error("look at", source));
    let before = look()?;
    if !before.is_dir() {
        copy_entry(source, target, depth)?;
        let after = look()?;
        let stamp = |meta: &Metadata| (meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ino());
        if stamp(&before) != stamp(&after) {
            let why = io::Error::other("it changed while it was moved; both versions are kept");
            return Err(io_error("move", source)(why));
        }
        return std::fs::remove_file(source).map_err(io_error("remove the moved", source));
    }
    make_dir_like(target, &before)?;
    for name in entries(source)? {
        carry_entry(&source.join(&name), &target.join(&name), depth + 1)?;
    }
    sync_dir(target).map_err(io_error("flush", target))?;
    std::fs::remove_dir(source).map_err(io_error("remove the emptied", source))
}

/// Makes a new directory with the permission bits of another; never with set-id bits.
fn make_dir_like(target: &Path, like: &Metadata) -> Result<(), MoveError> {
    let mode = like.mode() & 0o777 | 0o700;
    let made = std::fs::DirBuilder::new().mode(mode).create(target);
    made.map_err(io_error("make", target))
}

/// Copies everything inside `from` into the new directory `to`, durable before it returns.
///
/// # Errors
/// [`MoveError`]; `to` then holds a part of the copy and `from` is untouched.
pub fn copy_tree(from: &Path, to: &Path) -> Result<(), MoveError> {
    copy_entry(from, to, 0)
}

fn copy_entry(source: &Path, target: &Path, depth: usize) -> Result<(), MoveError> {
    if depth > DEPTH_MAX {
        return Err(MoveError::TooDeep { path: source.to_owned() });
    }
    let meta = std::fs::symlink_metadata(source).map_err(io_error("look at", source))?;
    if meta.is_dir() {
        make_dir_like(target, &meta)?;
        for name in entries(source)? {
            copy_entry(&source.join(&name), &target.join(&name), depth + 1)?;
        }
        return sync_dir(target).map_err(io_error("flush", target));
    }
    if meta.is_symlink() {
        let text = std::fs::read_link(source).map_err(io_error("read the link", source))?;
        return symlink(text, target).map_err(io_error("make the link", target));
    }
    if !meta.is_file() {
        // Sockets and pipes belong to a running program; a copy of one means nothing.
        let why = io::Error::other(format!("it is no file (mode {:o})", meta.mode()));
        return Err(io_error("copy", source)(why));
    }
    copy_file(source, target, &meta).map_err(io_error("copy", source))
}

/// Copies into a file that must be new, through no link, and makes it durable before it has its
/// name. On Linux `io::copy` between files shares blocks where the file system can.
fn copy_file(source: &Path, target: &Path, meta: &Metadata) -> io::Result<()> {
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let mut from = File::options().read(true).custom_flags(no_follow).open(source)?;
    let directory = target.parent().unwrap_or(Path::new("."));
    let mut beside = tempfile::Builder::new().prefix(".homeport-move-").tempfile_in(directory)?;
    let copied = io::copy(&mut from, beside.as_file_mut())?;
    let file = beside.as_file();
    file.set_permissions(Permissions::from_mode(meta.mode() & 0o777))?;
    file.set_times(FileTimes::new().set_modified(meta.modified()?))?;
    file.sync_all()?;
    let after = std::fs::symlink_metadata(source)?;
    if copied != after.len() || after.modified()? != meta.modified()? {
        return Err(io::Error::other("it changed while it was copied"));
    }
    beside.persist_noclobber(target).map(drop).map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, name: &str, text: &str) {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn read(root: &Path, name: &str) -> String {
        std::fs::read_to_string(root.join(name)).unwrap()
    }

    #[test]
    fn nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        write(&from, "same.txt", "x");
        write(&to, "same.txt", "x");
        write(&from, "a/plan.odt", "mine");
        write(&to, "a/plan.odt", "theirs");
        write(&from, "a/new.txt", "new");
        write(&from, "clash", "a file");
        write(&to, "clash/inner", "a folder");

        let moved = move_contents(&from, &to).unwrap();

        assert_eq!(moved, Moved { entries: 1, equal: 1, kept_both: 2 });
        assert_eq!(read(&to, "a/plan.odt"), "theirs");
        assert_eq!(read(&to, "a/plan (before redirection).odt"), "mine");
        assert_eq!(read(&to, "a/new.txt"), "new");
        assert_eq!(read(&to, "clash (before redirection)"), "a file");
        assert_eq!(entries(&from).unwrap(), Vec::<std::ffi::OsString>::new());
    }

    #[test]
    fn a_copy_keeps_links_times_and_modes() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        write(&from, "a/file", "text");
        symlink("/nowhere", from.join("a/link")).unwrap();
        let file = File::options().write(true).open(from.join("a/file")).unwrap();
        let then = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        file.set_times(FileTimes::new().set_modified(then)).unwrap();

        copy_tree(&from, &to).unwrap();

        assert_eq!(std::fs::read_link(to.join("a/link")).unwrap(), Path::new("/nowhere"));
        let meta = std::fs::metadata(to.join("a/file")).unwrap();
        assert_eq!(meta.modified().unwrap(), then);
        assert_eq!(read(&from, "a/file"), "text");
    }

    /// A directory on another file system.
    fn elsewhere() -> tempfile::TempDir {
        tempfile::tempdir_in("/dev/shm").expect("Linux has a second file system there")
    }

    #[test]
    fn across_file_systems_nothing_is_overwritten_and_no_link_is_followed() {
        let other = elsewhere();
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), other.path().join("to"));
        write(&from, "Plan.odt", "mine");
        write(&to, "Plan.odt", "theirs");
        write(&from, "Sub/a.txt", "a");
        write(&to, "Sub/b.txt", "b");
        write(&from, "notes.txt", "notes");
        write(dir.path(), "victim", "victim");
        symlink(dir.path().join("victim"), to.join("notes.txt")).unwrap();

        let moved = move_contents(&from, &to).unwrap();

        assert_eq!(moved.kept_both, 2);
        assert_eq!(read(&to, "Plan.odt"), "theirs");
        assert_eq!(read(&to, "Plan (before redirection).odt"), "mine");
        assert_eq!((read(&to, "Sub/a.txt"), read(&to, "Sub/b.txt")), ("a".into(), "b".into()));
        assert_eq!(read(dir.path(), "victim"), "victim");
        assert_eq!(read(&to, "notes (before redirection).txt"), "notes");
        assert_eq!(entries(&from).unwrap(), Vec::<std::ffi::OsString>::new());
    }

    #[test]
    fn set_id_bits_do_not_travel() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        write(&from, "tool", "x");
        std::fs::set_permissions(from.join("tool"), Permissions::from_mode(0o4755)).unwrap();
        copy_tree(&from, &to).unwrap();
        assert_eq!(std::fs::metadata(to.join("tool")).unwrap().mode() & 0o7777, 0o755);
    }
}
