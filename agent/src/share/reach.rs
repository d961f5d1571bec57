//! Reaches a share's directory: opens the exact folder, proves that its mount is there, says what is
//! wrong if it cannot be opened, and makes a user's folder on first use.
#![expect(clippy::disallowed_methods, reason = "edge: looks at mounts and measures")]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags, RawDir, ResolveFlags};
use rustix::io::Errno;

use crate::plan::Remote;
use crate::share::prefix::{Look, first_failing};

/// The share's directory cannot be used now.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// The mount or a folder below it could not be opened.
    #[error("cannot open {path}")]
    Open {
        /// The first part that failed.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The share answers, and does not let the user in.
    #[error("the share answers, but {path} does not let the user in")]
    Refused {
        /// The first part that refuses.
        path: PathBuf,
        /// What the exact folder said.
        source: io::Error,
    },
    /// What should be a mount point is a plain directory: nothing is mounted there now.
    #[error("nothing is mounted at {path}")]
    NotMounted {
        /// The mount point.
        path: PathBuf,
    },
    /// A part of the path is a link or no directory.
    #[error("{path} is no directory of the share")]
    NotADirectory {
        /// The part.
        path: PathBuf,
    },
    /// The user's folder could not be made.
    #[error("cannot make {path} on the share")]
    Make {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ReachError {
    /// Whether waiting may help: the share is away, rather than wrong.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::NotMounted { .. } => true,
            Self::Open { source, .. } | Self::Make { source, .. } => {
                source.kind() != io::ErrorKind::PermissionDenied
            }
            Self::Refused { .. } | Self::NotADirectory { .. } => false,
        }
    }
}

/// How often a small operation is timed.
const SAMPLES: usize = 5;
/// Enough for a first entry.
const LIST_BYTES: usize = 4 << 10;
const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);
const INSIDE: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// Makes sure that the share's directory can be used; with `remote.create` makes what is missing
/// below the mount, but never the mount itself.
///
/// # Errors
/// [`ReachError`] names the first part that failed.
pub fn reach(remote: &Remote) -> Result<(), ReachError> {
    open(remote).map(drop)
}

/// The same, and lists the beginning of the folder, and says how long a small operation takes.
///
/// # Errors
/// As [`reach`].
pub fn probe(remote: &Remote) -> Result<Duration, ReachError> {
    let start = Instant::now();
    let fd = open(remote)?;
    let mut samples = vec![start.elapsed()];
    let mut timed = |work: &dyn Fn() -> io::Result<()>| {
        let start = Instant::now();
        let done = work();
        samples.push(start.elapsed());
        done
    };
    let failed = |source| ReachError::Open { path: remote.path.clone(), source };
    timed(&|| first_entry(fd.as_fd())).map_err(failed)?;
    while samples.len() < SAMPLES {
        // No client answers this one from its memory.
        let start = Instant::now();
        rustix::fs::fstatfs(&fd).map_err(|error| failed(error.into()))?;
        samples.push(start.elapsed());
    }
    Ok(median(&mut samples))
}

/// The middle one; of an even number the smaller of both.
fn median(samples: &mut [Duration]) -> Duration {
    samples.sort_unstable();
    samples.get(samples.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

fn first_entry(fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut buffer = [const { MaybeUninit::uninit() }; LIST_BYTES];
    RawDir::new(fd, &mut buffer).next().transpose()?;
    Ok(())
}

/// Whether the mount itself stands, whatever it lets the user do.
///
/// # Errors
/// [`ReachError`].
pub fn stands(remote: &Remote) -> Result<(), ReachError> {
    open_mount(remote).map(drop)
}

fn open_mount(remote: &Remote) -> Result<OwnedFd, ReachError> {
    let mount = &remote.mount;
    let root = rustix::fs::openat(CWD, mount, OFlags::PATH | FOLDER, Mode::empty());
    let root = root.map_err(|error| match error {
        Errno::NOTDIR => ReachError::NotADirectory { path: mount.clone() },
        error => ReachError::Open { path: mount.clone(), source: error.into() },
    })?;
    if remote.must_be_mounted {
        let mounted = is_mounted(root.as_fd());
        match mounted.map_err(|source| ReachError::Open { path: mount.clone(), source })? {
            true => {}
            false => return Err(ReachError::NotMounted { path: mount.clone() }),
        }
    }
    Ok(root)
}

/// Opens the exact folder. Nothing above it needs to be readable.
fn open(remote: &Remote) -> Result<OwnedFd, ReachError> {
    let root = open_mount(remote)?;
    match open_below(root.as_fd(), remote) {
        Err(Errno::NOENT) if remote.create => {
            make(root.as_fd(), remote)?;
            open_below(root.as_fd(), remote).map_err(|error| explained(remote, error))
        }
        other => other.map_err(|error| explained(remote, error)),
    }
}

fn below(remote: &Remote) -> &Path {
    remote.path.strip_prefix(&remote.mount).unwrap_or(Path::new(""))
}

fn open_below(root: BorrowedFd<'_>, remote: &Remote) -> Result<OwnedFd, Errno> {
    let below = below(remote);
    let flags = OFlags::RDONLY | FOLDER;
    if below.as_os_str().is_empty() {
        return rustix::fs::openat(root, ".", flags, Mode::empty());
    }
    match rustix::fs::openat2(root, below, flags, Mode::empty(), INSIDE) {
        Err(Errno::NOSYS | Errno::PERM) => {}
        other => return other,
    }
    let mut fd = rustix::fs::openat(root, ".", OFlags::PATH | FOLDER, Mode::empty())?;
    let mut parts = below.components().peekable();
    while let Some(part) = parts.next() {
        let way = if parts.peek().is_some() { OFlags::PATH } else { OFlags::RDONLY };
        fd = rustix::fs::openat(
            &fd,
            part.as_os_str(),
            way | FOLDER | OFlags::NOFOLLOW,
            Mode::empty(),
        )?;
    }
    Ok(fd)
}

/// Makes what is missing, part by part, through no link.
fn make(root: BorrowedFd<'_>, remote: &Remote) -> Result<(), ReachError> {
    let mode = if remote.exclusive { 0o700 } else { 0o755 };
    let mut path = remote.mount.clone();
    let mut above: Option<OwnedFd> = None;
    for part in below(remote).components() {
        path.push(part);
        let at = above.as_ref().map_or(root, |fd| fd.as_fd());
        let open = || {
            let flags = OFlags::PATH | FOLDER | OFlags::NOFOLLOW;
            rustix::fs::openat(at, part.as_os_str(), flags, Mode::empty())
        };
        let found = match open() {
            Err(Errno::NOENT) => {
                match rustix::fs::mkdirat(at, part.as_os_str(), Mode::from_raw_mode(mode)) {
                    // Another computer of the same user may be as quick.
                    Ok(()) | Err(Errno::EXIST) => open(),
                    Err(error) => {
                        return Err(ReachError::Make { path, source: error.into() });
                    }
                }
            }
            other => other,
        };
        above = Some(found.map_err(|error| match Look::of(&error.into()) {
            Look::NoFolder => ReachError::NotADirectory { path: path.clone() },
            _ => ReachError::Open { path: path.clone(), source: error.into() },
        })?);
    }
    Ok(())
}

/// What is wrong with a folder that could not be opened.
fn explained(remote: &Remote, error: Errno) -> ReachError {
    let mut paths = vec![remote.mount.clone()];
    for part in below(remote).components() {
        let path = paths.last().map_or_else(PathBuf::new, |above| above.join(part));
        paths.push(path);
    }
    let looks: Vec<Look> = paths.iter().enumerate().map(|(at, path)| look(path, at > 0)).collect();
    let source = io::Error::from(error);
    let (at, how) = first_failing(&looks, Look::of(&source));
    let path = paths.swap_remove(at.min(paths.len() - 1));
    match how {
        Look::NoFolder => ReachError::NotADirectory { path },
        Look::Refused => ReachError::Refused { path, source },
        Look::Open | Look::Missing | Look::Away => ReachError::Open { path, source },
    }
}

/// Opens one prefix for a look. The mount itself may be behind a link: it is the administrator's.
fn look(path: &Path, below_mount: bool) -> Look {
    let last = if below_mount { OFlags::NOFOLLOW } else { OFlags::empty() };
    match rustix::fs::openat(CWD, path, OFlags::RDONLY | FOLDER | last, Mode::empty()) {
        Ok(_) => Look::Open,
        Err(error) => Look::of(&error.into()),
    }
}

/// Whether another mount begins at a directory than the one that the directory above it lies in.
/// The share is not asked: its root may refuse even that.
fn is_mounted(root: BorrowedFd<'_>) -> io::Result<bool> {
    let real = std::fs::read_link(format!("/proc/self/fd/{}", root.as_raw_fd()))?;
    let Some(above) = real.parent() else { return Ok(true) };
    let above = rustix::fs::openat(CWD, above, OFlags::PATH | FOLDER, Mode::empty())?;
    Ok(mount_id(root)? != mount_id(above.as_fd())?)
}

fn mount_id(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    let id = line.and_then(|id| id.trim().parse().ok());
    id.ok_or_else(|| io::Error::other("the system does not tell mounts apart"))
}

#[cfg(test)]
mod tests {
    use homeport_policy::unc::Unc;

    use super::*;

    fn remote(mount: &Path, below: &str, must_be_mounted: bool) -> Remote {
        Remote {
            unc: Unc::parse(r"\\srv\share\x").unwrap(),
            path: if below.is_empty() { mount.to_owned() } else { mount.join(below) },
            mount: mount.to_owned(),
            must_be_mounted,
            create: true,
            exclusive: true,
            smb: None,
        }
    }

    #[test]
    fn an_empty_mount_point_is_no_share() {
        let dir = tempfile::tempdir().unwrap();
        let error = reach(&remote(dir.path(), "alice", true)).unwrap_err();
        assert!(matches!(error, ReachError::NotMounted { .. }) && error.is_unreachable());
        assert!(!dir.path().join("alice").exists());
        // Also behind a link.
        let link = dir.path().join("link");
        std::fs::create_dir(dir.path().join("real")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("real"), &link).unwrap();
        let error = reach(&remote(&link, "", true)).unwrap_err();
        assert!(matches!(error, ReachError::NotMounted { .. }), "{error}");
    }

    #[test]
    fn a_mount_point_is_one() {
        reach(&remote(Path::new("/proc"), "self/task", true)).unwrap_err(); // `self` is a link
        reach(&Remote { create: false, ..remote(Path::new("/proc"), "sys", true) }).unwrap();
        reach(&Remote { create: false, ..remote(Path::new("/proc"), "", true) }).unwrap();
    }

    #[test]
    fn folders_are_made_below_the_mount_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        reach(&remote(dir.path(), "alice/Documents", false)).unwrap();
        assert!(dir.path().join("alice/Documents").is_dir());
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("bob")).unwrap();
        for create in [true, false] {
            let bob = Remote { create, ..remote(dir.path(), "bob/Documents", false) };
            let error = reach(&bob).unwrap_err();
            assert!(matches!(error, ReachError::NotADirectory { .. }), "{error}");
        }
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_missing_mount_is_not_made() {
        let error = reach(&remote(Path::new("/nonexistent/mount"), "a", false)).unwrap_err();
        assert!(matches!(error, ReachError::Open { .. }) && error.is_unreachable());
    }

    #[test]
    fn the_median_is_one_of_them() {
        let ms = Duration::from_millis;
        for (samples, expected) in
            [(vec![9, 1, 5], 5), (vec![4, 1, 3, 2], 2), (vec![7], 7), (vec![], 0)]
        {
            let mut samples: Vec<Duration> = samples.into_iter().map(ms).collect();
            assert_eq!(median(&mut samples), ms(expected));
        }
    }
}
