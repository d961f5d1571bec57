//! What the agent itself keeps over a restart: the last good policy, sessions, connection states.
#![expect(clippy::disallowed_methods, reason = "edge: reads and writes the state directory")]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use homeport_policy::connection::State as Connection;
use homeport_policy::sync_rules::SyncRules;
use homeport_policy::unc::Unc;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::durable;
use crate::identity::{IdentityError, check_account};
use crate::keeping::Keeping;
use crate::network::meter::Meter;
use crate::plan::Syncs;

/// A part of the state could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It could not be read.
    #[error("cannot read the agent's state {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is damaged or of a newer agent.
    #[error("the agent's state {path} is damaged or of a newer Homeport")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// It could not be written.
    #[error("cannot write the agent's state {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another agent uses the directory.
    #[error("another Homeport uses the state directory {path}")]
    Locked {
        /// The directory.
        path: PathBuf,
    },
}

/// The last policy that was good, as it was read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GoodPolicy {
    /// File names and their text.
    pub files: BTreeMap<String, String>,
    /// The highest version applied for each id, also of objects that are gone.
    pub applied: BTreeMap<String, u64>,
    /// When it was first applied, in seconds since 1970.
    pub since_unix: i64,
}

/// What is known of each user.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Users {
    /// By sAMAccountName; by `DOMAIN\name` for people of other domains than this computer's.
    pub users: BTreeMap<String, UserState>,
    /// Bytes moved over metered networks, for the day named.
    pub metered: Meter,
}

impl Users {
    /// Gives somebody of another domain what an earlier version kept under the bare name. Whose it is
    /// nobody wrote down then: `is_free` says that nobody of the own domain goes by that name here.
    pub fn take_over(&mut self, user: &str, is_free: impl FnOnce(&str) -> bool) {
        let Some((_, bare)) = user.split_once('\\') else { return };
        let is_old = self.users.get(bare).is_some_and(|old| old.sid.is_none());
        if is_old && !self.users.contains_key(user) && is_free(bare) {
            let old = self.users.remove(bare).unwrap_or_default();
            self.users.insert(user.to_owned(), old);
        }
    }

    /// Makes sure that what is kept about a user is of the account with this SID, from now on as well.
    ///
    /// # Errors
    /// [`IdentityError::OtherAccount`].
    pub fn claim(&mut self, user: &str, sid: Option<&str>) -> Result<(), IdentityError> {
        let kept = self.users.get(user).and_then(|known| known.sid.as_deref());
        check_account(user, kept, sid)?;
        if let (None, Some(sid)) = (kept, sid) {
            self.users.entry(user.to_owned()).or_default().sid = Some(sid.to_owned());
        }
        Ok(())
    }

    /// Whether nothing is kept about somebody.
    pub fn knows_nothing_of(&self, user: &str) -> bool {
        self.users.get(user).is_none_or(|user| *user == UserState::default())
    }
}

/// What is known of one user.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct UserState {
    /// objectSid of the account that all of this is about, as far as the directory said it.
    #[serde(default)]
    pub sid: Option<String>,
    /// Signed in now.
    pub signed_in: bool,
    /// Last completed background or full sync, in milliseconds since 1970.
    pub last_sync_unix_ms: Option<i64>,
    /// State of each cached folder's connection.
    pub connections: BTreeMap<Unc, Connection>,
    /// How this user's caches were synchronised by the last decision that rested on an answer of
    /// the directory; it counts while the directory is out of reach.
    #[serde(default)]
    pub rules: Option<SyncRules>,
    /// What the same decision said about pins and the disk.
    #[serde(default)]
    pub keeping: Option<Keeping>,
    /// Folders that the person switched to working offline.
    #[serde(default)]
    pub forced: Vec<Unc>,
    /// The person switched everything to working offline.
    #[serde(default)]
    pub works_offline: bool,
    /// When each cached folder was exchanged.
    #[serde(default)]
    pub syncs: BTreeMap<Unc, Syncs>,
}

impl UserState {
    /// Whether the person works offline in a folder.
    pub fn is_forced(&self, unc: &Unc) -> bool {
        self.works_offline || self.forced.iter().any(|forced| unc.below(forced).is_some())
    }
}

/// The state directory, locked for one agent.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

const GOOD_POLICY: &str = "policy-good.json";
const USERS: &str = "users.json";
const SEED: &str = "seed";
const BOOT: &str = "boot.json";
/// Where `homeport status` looks.
pub const STATUS: &str = "status.json";
/// Where the running agent listens for commands.
pub const CONTROL: &str = "control.sock";

impl StateDir {
    /// Opens and locks the directory, making it on first use.
    ///
    /// # Errors
    /// [`StateError::Locked`] when another agent has it.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let write = |source| StateError::Write { path: path.to_owned(), source };
        durable::make_private_dir(path).map_err(write)?;
        let lock = File::create(path.join("lock")).map_err(write)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(std::fs::TryLockError::WouldBlock) => {
                Err(StateError::Locked { path: path.to_owned() })
            }
            Err(std::fs::TryLockError::Error(source)) => Err(write(source)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last good policy, if there ever was one.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn good_policy(&self) -> Result<Option<GoodPolicy>, StateError> {
        read(&self.path.join(GOOD_POLICY))
    }

    /// Keeps the last good policy.
    ///
    /// # Errors
    /// [`StateError::Write`].
    pub fn keep_good_policy(&self, policy: &GoodPolicy) -> Result<(), StateError> {
        write(&self.path.join(GOOD_POLICY), policy)
    }

    /// What is known of each user.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn users(&self) -> Result<Users, StateError> {
        Ok(read(&self.path.join(USERS))?.unwrap_or_default())
    }

    /// Keeps what is known of each user.
    ///
    /// # Errors
    /// [`StateError::Write`].
    pub fn keep_users(&self, users: &Users) -> Result<(), StateError> {
        write(&self.path.join(USERS), users)
    }

    /// Publishes the status.
    ///
    /// # Errors
    /// [`StateError::Write`].
    pub fn publish(&self, status: &impl Serialize) -> Result<(), StateError> {
        write(&self.path.join(STATUS), status)
    }

    /// Whether the computer started anew since this was asked the last time. Not the first time: then
    /// nothing is known of an earlier start.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn is_new_start(&self) -> Result<bool, StateError> {
        let id = PathBuf::from("/proc/sys/kernel/random/boot_id");
        let now = std::fs::read_to_string(&id);
        let now = now.map_err(|source| StateError::Read { path: id, source })?;
        let path = self.path.join(BOOT);
        let before: Option<String> = read(&path)?;
        let is_new = before.as_deref().is_some_and(|before| before != now.trim());
        if is_new || before.is_none() {
            write(&path, &now.trim())?;
        }
        Ok(is_new)
    }

    /// The number that tells this computer's timers from those of the rest of the fleet.
    /// Drawn once, by `draw`.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn seed(&self, draw: impl FnOnce() -> u64) -> Result<u64, StateError> {
        let path = self.path.join(SEED);
        if let Some(seed) = read(&path)? {
            return Ok(seed);
        }
        let seed = draw();
        write(&path, &seed)?;
        Ok(seed)
    }
}

/// Reads a JSON file of the state; `None` when it is not there.
///
/// # Errors
/// [`StateError`]; a damaged file is never taken for a missing one.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StateError> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StateError::Read { path: path.to_owned(), source }),
    };
    let damaged = |source| StateError::Damaged { path: path.to_owned(), source };
    serde_json::from_slice(&text).map(Some).map_err(damaged)
}

fn write(path: &Path, value: &impl Serialize) -> Result<(), StateError> {
    let text = serde_json::to_vec_pretty(value).map_err(std::io::Error::from);
    let written = text.and_then(|text| durable::replace(path, &text));
    written.map_err(|source| StateError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(signed_in: bool, sid: Option<&str>) -> UserState {
        UserState { signed_in, sid: sid.map(str::to_owned), ..UserState::default() }
    }

    fn users(all: &[(&str, UserState)]) -> Users {
        let users = all.iter().map(|(name, user)| ((*name).to_owned(), user.clone())).collect();
        Users { users, ..Users::default() }
    }

    #[test]
    fn what_is_kept_is_of_one_account() {
        let mut all = users(&[("alice", known(true, None))]);
        assert!(all.claim("alice", None).is_ok(), "nobody said whose it is");
        assert!(all.claim("alice", Some("S-1-5-21-1-1")).is_ok(), "of an earlier version");
        assert_eq!(all, users(&[("alice", known(true, Some("S-1-5-21-1-1")))]));
        let error = all.claim("alice", Some("S-1-5-21-2-1")).unwrap_err().to_string();
        assert!(error.contains("is of another account") && error.contains("users.json"), "{error}");
        assert!(all.claim("alice", None).is_ok(), "the directory is away");
        assert_eq!(all, users(&[("alice", known(true, Some("S-1-5-21-1-1")))]));
    }

    #[test]
    fn what_an_earlier_version_kept_by_the_bare_name_is_found_again() {
        let old = || known(true, None);
        for (before, is_free, after) in [
            (users(&[("alice", old())]), true, users(&[(r"SALES\alice", old())])),
            (users(&[("alice", old())]), false, users(&[("alice", old())])),
            (users(&[("bob", old())]), true, users(&[("bob", old())])),
            (
                users(&[("alice", known(true, Some("S-1-5-21-1-1")))]),
                true,
                users(&[("alice", known(true, Some("S-1-5-21-1-1")))]),
            ),
            (
                users(&[("alice", old()), (r"SALES\alice", known(false, None))]),
                true,
                users(&[("alice", old()), (r"SALES\alice", known(false, None))]),
            ),
        ] {
            let mut all = before.clone();
            all.take_over(r"SALES\alice", |_| is_free);
            assert_eq!(all, after, "{before:?} {is_free}");
            all.take_over("alice", |_| unreachable!("a bare name has nothing to take over"));
        }
    }
}
