//! Volumes of this computer: a local disk, or a share that is mounted.

use std::any::Any;
use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RawDir, RenameFlags, ResolveFlags, StatxAttributes,
    StatxFlags, Timespec, Timestamps,
};
use rustix::io::Errno;

use super::{Folder, How, InUse, Look, Reader, Traits, Volume, Writer};
use crate::item::{Entry, Kind, Stamp};

/// How much of a folder is read with one call.
const LIST_BYTES: usize = 32 << 10;
/// How much the kernel is asked to copy with one call.
const COPY_BYTES: usize = 1 << 30;
/// File systems whose change times and file numbers can be relied on: ext, XFS, Btrfs, tmpfs, ZFS,
/// F2FS, bcachefs, overlay (`statfs(2)`).
const STAMPS_TELL: &[i64] = &[
    0xEF53,
    0x5846_5342,
    0x9123_683E,
    0x0102_1994,
    0x2FC1_2FC1,
    0xF2F5_2010,
    0xCA45_1A4E,
    0x794C_7630,
];

/// A directory tree of this computer.
#[derive(Debug)]
pub struct OsVolume {
    root: OwnedFd,
    stamps_tell: bool,
}

impl OsVolume {
    /// Opens a root. Links on the way to it are followed: it is the administrator's path.
    ///
    /// # Errors
    /// As `open`.
    pub fn open(path: &Path) -> io::Result<Self> {
        let root = rustix::fs::openat(CWD, path, FOLDER, Mode::empty())?;
        let kind = rustix::fs::fstatfs(&root)?.f_type;
        #[allow(clippy::useless_conversion, reason = "its type is another one on other systems")]
        let stamps_tell = STAMPS_TELL.contains(&i64::from(kind));
        Ok(Self { root, stamps_tell })
    }

    /// The same tree, as one whose stamps are not to be relied on. For tests.
    #[must_use]
    pub fn doubted(self) -> Self {
        Self { stamps_tell: false, ..self }
    }

    /// Opens folder after folder, where the kernel cannot do it in one call.
    fn step_by_step(&self, path: &str) -> io::Result<OwnedFd> {
        let mut fd = self.root.try_clone()?;
        for part in path.split('/') {
            if matches!(part, "" | "." | "..") {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            let flags = FOLDER | OFlags::NOFOLLOW;
            fd = rustix::fs::openat(&fd, part, flags, Mode::empty())?;
        }
        Ok(fd)
    }
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Volume for OsVolume {
    fn traits(&self) -> Traits {
        Traits { stamps_tell: self.stamps_tell, flushes_whole: self.stamps_tell }
    }

    fn folder(&self, path: &str) -> io::Result<Arc<dyn Folder>> {
        let fd = if path.is_empty() {
            self.root.try_clone()?
        } else {
            let inside = ResolveFlags::BENEATH
                | ResolveFlags::NO_SYMLINKS
                | ResolveFlags::NO_MAGICLINKS
                | ResolveFlags::NO_XDEV;
            match rustix::fs::openat2(&self.root, path, FOLDER, Mode::empty(), inside) {
                Err(Errno::NOSYS | Errno::PERM) => self.step_by_step(path)?,
                other => other?,
            }
        };
        Ok(Arc::new(OsFolder { fd, stamps_tell: self.stamps_tell }))
    }

    fn flush(&self) -> io::Result<()> {
        if !self.stamps_tell {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(rustix::fs::syncfs(&self.root)?)
    }

    fn free_bytes(&self) -> Option<u64> {
        let stat = rustix::fs::fstatvfs(&self.root).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn in_use(&self) -> InUse {
        InUse::of_volume(self.root.as_fd())
    }
}

#[derive(Debug)]
struct OsFolder {
    fd: OwnedFd,
    stamps_tell: bool,
}

impl OsFolder {
    fn look_at<P: rustix::path::Arg + Copy>(&self, name: P) -> Result<Look, Errno> {
        let stat = rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory if self.is_mount(name) => return Ok(Look::Mount),
            FileType::Directory => Kind::Dir,
            FileType::Symlink => Kind::Link,
            _ => return Ok(Look::Other),
        };
        let link = match kind {
            Kind::Link => {
                let text = rustix::fs::readlinkat(&self.fd, name, Vec::new())?;
                let Ok(text) = text.into_string() else { return Ok(Look::OddLink) };
                Some(text.into_boxed_str())
            }
            _ => None,
        };
        let stamp = stamp(&stat, self.stamps_tell);
        let shared = kind == Kind::File && stat.st_nlink > 1;
        Ok(Look::Entry(Entry { kind, stamp, mode: stat.st_mode & 0o777, shared, link }))
    }
}

impl OsFolder {
    /// Whether another file system, or another part of one, is mounted on a folder. Kernels before
    /// 5.8 do not tell; there nothing is taken for a mount.
    fn is_mount<P: rustix::path::Arg>(&self, name: P) -> bool {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let stat = rustix::fs::statx(&self.fd, name, flags, StatxFlags::empty());
        stat.is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
    }
}

fn os(folder: &dyn Folder) -> io::Result<&OsFolder> {
    folder.as_any().downcast_ref().ok_or_else(|| io::ErrorKind::CrossesDevices.into())
}

impl Folder for OsFolder {
    fn list(&self) -> io::Result<Vec<(OsString, Look)>> {
        rustix::fs::seek(&self.fd, rustix::fs::SeekFrom::Start(0))?;
        let mut buffer = [const { MaybeUninit::uninit() }; LIST_BYTES];
        let mut entries = RawDir::new(&self.fd, &mut buffer);
        let mut found = Vec::new();
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            match self.look_at(name) {
                Ok(look) => found.push((OsString::from_vec(name.to_bytes().to_vec()), look)),
                Err(Errno::NOENT) => {
                    let name = OsString::from_vec(name.to_bytes().to_vec());
                    found.push((name, Look::Vanished));
                }
                Err(error) => return Err(error.into()),
            }
        }
        found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(found)
    }

    fn look(&self, name: &str) -> io::Result<Option<Look>> {
        match self.look_at(name) {
            Ok(look) => Ok(Some(look)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Reader>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::empty())?;
        Ok(Box::new(OsFile { fd, stamps_tell: self.stamps_tell }))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Writer>> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(0o600))?;
        Ok(Box::new(OsFile { fd, stamps_tell: self.stamps_tell }))
    }

    fn make_link(&self, name: &str, text: &str) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(text, &self.fd, name)?)
    }

    fn make_folder(&self, name: &str, mode: u32) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(mode))?)
    }

    fn remove_folder(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.fd, name, AtFlags::empty())?)
    }

    fn rename(&self, name: &str, to: &dyn Folder, new: &str, how: How) -> io::Result<()> {
        let flags = match how {
            How::Replace => RenameFlags::empty(),
            How::New => RenameFlags::NOREPLACE,
            How::Exchange => RenameFlags::EXCHANGE,
        };
        let to = os(to)?;
        match rustix::fs::renameat_with(&self.fd, name, &to.fd, new, flags) {
            Err(Errno::INVAL | Errno::NOSYS) if how == How::New => {
                // RACE: shares without NOREPLACE; a file that another computer makes between this
                // look and the rename would be replaced. The window is two system calls long.
                match to.look_at(new) {
                    Err(Errno::NOENT) => Ok(rustix::fs::renameat(&self.fd, name, &to.fd, new)?),
                    Ok(_) => Err(Errno::EXIST.into()),
                    Err(error) => Err(error.into()),
                }
            }
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) if how == How::Exchange => {
                Err(io::ErrorKind::Unsupported.into())
            }
            other => Ok(other?),
        }
    }

    fn add_name(&self, name: &str, to: &dyn Folder, new: &str) -> io::Result<()> {
        match rustix::fs::linkat(&self.fd, name, &os(to)?.fd, new, AtFlags::empty()) {
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::MLINK | Errno::NOSYS) => {
                Err(io::ErrorKind::Unsupported.into())
            }
            other => Ok(other?),
        }
    }

    fn sync(&self) -> io::Result<()> {
        match rustix::fs::fsync(&self.fd) {
            Ok(()) | Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[derive(Debug)]
struct OsFile {
    fd: OwnedFd,
    stamps_tell: bool,
}

impl OsFile {
    fn look(&self) -> io::Result<Stamp> {
        Ok(stamp(&rustix::fs::fstat(&self.fd)?, self.stamps_tell))
    }
}

impl Reader for OsFile {
    fn stamp(&self) -> io::Result<Stamp> {
        self.look()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| rustix::io::pread(&self.fd, &mut *buffer, offset))?)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.fd)?)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Writer for OsFile {
    fn write_at(&mut self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            let written =
                rustix::io::retry_on_intr(|| rustix::io::pwrite(&self.fd, bytes, offset))?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[written..];
            offset += written as u64;
        }
        Ok(())
    }

    fn copy_whole(&mut self, from: &dyn Reader, may_copy: bool) -> io::Result<()> {
        let Some(from) = from.as_any().downcast_ref::<Self>() else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let size = from.look()?.size;
        match rustix::fs::ioctl_ficlone(self.fd.as_fd(), from.fd.as_fd()) {
            Ok(()) if self.look()?.size == size => return Ok(()),
            Ok(()) => return Err(changed()),
            Err(Errno::NOSPC) => return Err(Errno::NOSPC.into()),
            Err(_) if !may_copy => return Err(io::ErrorKind::Unsupported.into()),
            Err(_) => {}
        }
        let (mut read, mut written) = (0, 0);
        while written < size {
            let most = usize::try_from(size - written).unwrap_or(COPY_BYTES).min(COPY_BYTES);
            let (read, to) = (Some(&mut read), Some(&mut written));
            match rustix::fs::copy_file_range(&from.fd, read, &self.fd, to, most) {
                // Some file systems say this of files that are not at their end.
                Ok(0) if written == 0 => return Err(io::ErrorKind::Unsupported.into()),
                Ok(0) => return Err(changed()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)
                    if written == 0 =>
                {
                    return Err(io::ErrorKind::Unsupported.into());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn reader(&self) -> io::Result<Box<dyn Reader>> {
        Ok(Box::new(Self { fd: self.fd.try_clone()?, stamps_tell: self.stamps_tell }))
    }

    fn dress(&mut self, mode: u32, mtime_ns: Option<i64>) -> io::Result<()> {
        match rustix::fs::fchmod(&self.fd, Mode::from_raw_mode(mode)) {
            Ok(()) | Err(Errno::PERM | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
        let Some(mtime_ns) = mtime_ns else { return Ok(()) };
        let time = Timespec {
            tv_sec: mtime_ns.div_euclid(1_000_000_000),
            tv_nsec: mtime_ns.rem_euclid(1_000_000_000),
        };
        let times = Timestamps { last_access: time, last_modification: time };
        Ok(rustix::fs::futimens(&self.fd, &times)?)
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.fd)?)
    }

    fn stamp(&self) -> io::Result<Stamp> {
        self.look()
    }
}

/// A file had another length at its end than at its beginning.
fn changed() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it changed while it was copied")
}

fn stamp(stat: &rustix::fs::Stat, stamps_tell: bool) -> Stamp {
    let nanoseconds = |seconds: i64, rest: u64| {
        let rest = i64::try_from(rest).unwrap_or(0);
        seconds.saturating_mul(1_000_000_000).saturating_add(rest)
    };
    let stamp = Stamp {
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime_ns: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
        ctime_ns: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
        inode: stat.st_ino,
    };
    if stamps_tell { stamp } else { Stamp { ctime_ns: 0, ..stamp } }
}
