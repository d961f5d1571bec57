//! Reaches a share's directory: proves that the mount is there, and makes a user's folder on first use.
#![expect(clippy::disallowed_methods, reason = "edge: looks at mounts")]

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::plan::Remote;

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
            Self::NotADirectory { .. } => false,
        }
    }
}

/// Makes sure that the share's directory can be used; with `remote.create` makes what is missing
/// below the mount, but never the mount itself.
///
/// # Errors
/// [`ReachError`] names the first part that failed.
pub fn reach(remote: &Remote) -> Result<(), ReachError> {
    check_mount(&remote.mount, remote.must_be_mounted)?;
    let below = remote.path.strip_prefix(&remote.mount).unwrap_or(Path::new(""));
    let mut path = remote.mount.clone();
    for part in below.components() {
        path.push(part);
        match std::fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => return Err(ReachError::NotADirectory { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound && remote.create => {
                let mode = if remote.exclusive { 0o700 } else { 0o755 };
                match std::fs::DirBuilder::new().mode(mode).create(&path) {
                    // Another computer of the same user may be as quick.
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(ReachError::Make { path, source: error });
                    }
                    _ => {}
                }
            }
            Err(source) => return Err(ReachError::Open { path, source }),
        }
    }
    Ok(())
}

fn check_mount(mount: &Path, must_be_mounted: bool) -> Result<(), ReachError> {
    let look = |path: &Path| {
        let open = |source| ReachError::Open { path: path.to_owned(), source };
        std::fs::metadata(path).map_err(open)
    };
    let meta = look(mount)?;
    if !meta.is_dir() {
        return Err(ReachError::NotADirectory { path: mount.to_owned() });
    }
    let is_mount_point = || -> Result<bool, ReachError> {
        let above = look(&mount.join(".."))?;
        Ok(above.dev() != meta.dev() || above.ino() == meta.ino())
    };
    if must_be_mounted && !is_mount_point()? {
        return Err(ReachError::NotMounted { path: mount.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use homeport_policy::unc::Unc;

    use super::*;

    fn remote(mount: &Path, below: &str, must_be_mounted: bool) -> Remote {
        Remote {
            unc: Unc::parse(r"\\srv\share\x").unwrap(),
            path: mount.join(below),
            mount: mount.to_owned(),
            must_be_mounted,
            create: true,
            exclusive: true,
        }
    }

    #[test]
    fn an_empty_mount_point_is_no_share() {
        let dir = tempfile::tempdir().unwrap();
        let error = reach(&remote(dir.path(), "alice", true)).unwrap_err();
        assert!(matches!(error, ReachError::NotMounted { .. }) && error.is_unreachable());
        assert!(!dir.path().join("alice").exists());
    }

    #[test]
    fn folders_are_made_below_the_mount_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        reach(&remote(dir.path(), "alice/Documents", false)).unwrap();
        assert!(dir.path().join("alice/Documents").is_dir());
        std::os::unix::fs::symlink("/tmp", dir.path().join("bob")).unwrap();
        let error = reach(&remote(dir.path(), "bob/Documents", false)).unwrap_err();
        assert!(matches!(error, ReachError::NotADirectory { .. }), "{error}");
    }

    #[test]
    fn a_missing_mount_is_not_made() {
        let error = reach(&remote(Path::new("/nonexistent/mount"), "a", false)).unwrap_err();
        assert!(matches!(error, ReachError::Open { .. }) && error.is_unreachable());
    }
}
