//! Shares over SMB where nothing is mounted, through processes of `homeport-smb`.
//!
//! ```text
//! engine ─► volume, file ─► pool ─► process ══ pipes: frames (`wire`) ══ homeport-smb ─► server
//! ```
//! libsmbclient does one thing at a time in a whole process, and a call may hang: so there are
//! several processes, each call has a deadline, and whoever misses it is killed. Such a call has
//! failed with `TimedOut`; what it was about is unknown then, never absent.

mod file;
mod look;
mod pool;
mod process;
mod volume;
pub mod wire;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub use look::Is;
pub use volume::SmbVolume;

use crate::plan::{Remote, SmbShare};
use crate::share::reach::ReachError;

/// How often a look at a folder goes to the server and back: it is opened, asked about and closed, one
/// after the other (`cli_qpathinfo2` of libsmbclient). The lab's slow link shows whether that holds.
pub const LOOK_ROUND_TRIPS: u32 = 3;

/// Where the program is, and how long it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest a new process may take until its connection is there.
    pub connect: Duration,
    /// Longest the server may take for one answer; libsmbclient gives up then.
    pub answer: Duration,
    /// Longest a call may take that has several answers.
    pub call: Duration,
    /// Longest a folder may take to be listed: libsmbclient reads it as a whole.
    pub list: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        use crate::limits::{SMB_ANSWER, SMB_CALL, SMB_CONNECT, SMB_LIST};
        Self { connect: SMB_CONNECT, answer: SMB_ANSWER, call: SMB_CALL, list: SMB_LIST }
    }
}

/// Everything a process is started with.
#[derive(Clone, Debug)]
pub struct Start {
    /// The share, and how to get to it.
    pub share: SmbShare,
    /// How long things may take.
    pub limits: Limits,
    /// Variables it gets besides the ones of this process that Kerberos needs.
    pub environment: Vec<(String, PathBuf)>,
}

impl Start {
    /// With the agent's own limits.
    pub fn new(share: SmbShare) -> Self {
        Self { share, limits: Limits::default(), environment: Vec::new() }
    }
}

/// What a server refused, with its own status.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct Refused {
    /// MS-ERREF 2.3; 0 where the server had no part in it.
    pub status: u32,
    /// The same as an error of this system.
    pub source: io::Error,
}

impl From<io::Error> for Refused {
    /// Takes the status along that a connection failed with.
    fn from(source: io::Error) -> Self {
        let mut status = 0;
        // An error in an error of this kind is not its source.
        let mut inner = source.get_ref();
        while let Some(error) = inner {
            let refused = error.downcast_ref::<Self>();
            status = refused.map_or(status, |refused| refused.status);
            inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        }
        Self { status, source }
    }
}

/// The share of an exchange, if it is one of this kind. Nothing is asked of the server yet.
///
/// # Errors
/// `InvalidFilename` when its path has a name that no share holds.
pub fn of(remote: &Remote) -> io::Result<Option<SmbVolume>> {
    let share = remote.smb.as_deref().cloned();
    share.map(|share| SmbVolume::new(Start::new(share))).transpose()
}

/// Connects to the share of a folder.
///
/// # Errors
/// [`ReachError::Open`]
pub fn connect(volume: &SmbVolume, remote: &Remote) -> Result<(), ReachError> {
    let path = || remote.path.clone();
    volume.connect().map_err(|refused| ReachError::Open { path: path(), source: refused.source })
}

/// Makes sure that the folder of a share can be used; with `create` makes what is missing of it.
///
/// # Errors
/// [`ReachError`].
pub fn reach(volume: &SmbVolume, remote: &Remote, create: bool) -> Result<(), ReachError> {
    let path = || remote.path.clone();
    match volume.look_at_root() {
        Err(error) if error.kind() == io::ErrorKind::NotFound && create => {
            volume.make_root().map_err(|source| ReachError::Make { path: path(), source })
        }
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            Err(ReachError::NotADirectory { path: path() })
        }
        other => other.map_err(|source| ReachError::Open { path: path(), source }),
    }
}
