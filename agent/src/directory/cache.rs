//! The last answers of the directory: what decides while it is out of reach.
//!
//! The file is the agent's alone: it must belong to the agent's account, be closed to everybody else
//! and carry a keyed hash over its content and the domain it is about. Whatever does not is set aside
//! and not believed. That notices a restored, copied, edited or truncated file; it cannot notice
//! somebody who has become the agent's account.
#![expect(clippy::disallowed_methods, reason = "edge: sets a refused cache aside")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::directory::account::{Account, Domain};
use crate::directory::entry::{ComputerRecord, DomainName, UserRecord};
use crate::directory::rights::Property;
use crate::durable;

/// Users kept; the one whose answer is oldest goes first.
pub const USERS_MAX: usize = 200;
/// Group names kept. A forest with more groups asks again.
pub const SIDS_MAX: usize = 20_000;
/// Largest cache file.
pub const BYTES_MAX: usize = 16 << 20;
/// A moment this far ahead of the clock was not written by a clock that can be believed.
const AHEAD_MAX_MS: i64 = 5 * 60 * 1000;
/// The cache file in the state directory.
pub const FILE: &str = "directory.json";
/// Its key.
pub const KEY_FILE: &str = "directory.key";
/// What whoever writes either of them holds.
pub const LOCK_FILE: &str = "directory.lock";
/// Where a cache goes that is not believed.
pub const REFUSED: &str = "directory.json.refused";
const FORM: &str = "homeport-directory-1 ";
const KEY_BYTES: usize = 32;

/// Why the cache is not used, or not kept.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The file could not be read.
    #[error("cannot read the cached answers in {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file could not be written.
    #[error("cannot keep the directory's answers in {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody or something changed the file.
    #[error("the cached answers in {path} are not believed, because {why}; set aside as {REFUSED}")]
    Refused {
        /// The file.
        path: PathBuf,
        /// What gives it away.
        why: Why,
    },
}

/// What gives a cache away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// It belongs to another account.
    #[error("the file belongs to account {0}")]
    Owner(u32),
    /// It is open to others.
    #[error("its mode {0:o} lets others read or write it")]
    Mode(u32),
    /// It is no regular file, or larger than any cache.
    #[error("it is no file of ours")]
    Form,
    /// The hash does not fit.
    #[error("somebody changed the file, or it is of another computer or domain")]
    Hash,
}

/// Why the cache cannot be used as it lies there.
#[derive(Debug)]
pub enum Unbelieved {
    /// It could not be read.
    Read(CacheError),
    /// Somebody or something changed it.
    Refused(Why),
}

/// Something that was found out at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Dated<T> {
    /// When, in milliseconds since 1970.
    pub at_unix_ms: i64,
    /// What.
    pub value: T,
}

impl<T> Dated<T> {
    /// Something found out now.
    pub fn new(value: T, at_unix_ms: i64) -> Self {
        Self { at_unix_ms, value }
    }

    /// How old it is. What comes from the future has an age that nobody knows; it counts as older
    /// than any limit, because an answer that never grows old would decide for ever.
    pub fn age(&self, now_unix_ms: i64) -> Duration {
        let age = now_unix_ms.saturating_sub(self.at_unix_ms);
        match u64::try_from(age) {
            Ok(age) => Duration::from_millis(age),
            Err(_) if age >= -AHEAD_MAX_MS => Duration::ZERO,
            Err(_) => Duration::MAX,
        }
    }

    /// Whether it is not older than this.
    pub fn is_fresh(&self, now_unix_ms: i64, limit: Duration) -> bool {
        self.age(now_unix_ms) <= limit
    }
}

/// Everything that is remembered of a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Memory {
    /// The domain's SID or GUID; another one under the same name is not believed.
    pub identity: Option<String>,
    /// The same of other domains of the forest, by DNS name.
    pub others: BTreeMap<String, String>,
    /// DNS name of this computer's own domain. A name without a domain means somebody of it.
    pub home: Option<String>,
    /// Whether the schema has `msDS-PrimaryComputer`.
    pub schema: Option<Dated<bool>>,
    /// How access lists name it.
    pub primary_property: Option<Property>,
    /// The domains of the forest.
    pub domains: Option<Dated<Vec<DomainName>>>,
    /// This computer.
    pub computer: Option<Dated<ComputerRecord>>,
    /// Users, by `domain\name` in lower case.
    pub users: BTreeMap<String, Dated<UserRecord>>,
    /// Names of groups by SID; `None` for a SID that nobody could name.
    pub groups: BTreeMap<String, Dated<Option<String>>>,
}

/// The key of a user in [`Memory::users`].
pub fn user_key(user: &UserRecord) -> String {
    format!("{}\\{}", user.domain, user.name).to_lowercase()
}

impl Memory {
    /// The SID or GUID of a domain that answered before, by DNS name; without one, of the own.
    pub fn identity_of(&self, other: Option<&str>) -> Option<&String> {
        match other {
            Some(domain) => self.others.get(domain),
            None => self.identity.as_ref(),
        }
    }

    /// The user that a name means, if it means only one.
    pub fn user(&self, account: &Account) -> Option<&Dated<UserRecord>> {
        let mut meant = self.users.values().filter(|user| self.means(account, &user.value));
        // An earlier version did not keep which domain is the own.
        meant.next().filter(|_| meant.next().is_none())
    }

    fn means(&self, account: &Account, user: &UserRecord) -> bool {
        is_called(user, account) && (account.domain.is_some() || self.is_own(user))
    }

    /// Whether a user is of this computer's own domain, as far as that is known.
    pub fn is_own(&self, user: &UserRecord) -> bool {
        let is_home = |home: &String| user.dns_domain.eq_ignore_ascii_case(home);
        user.dns_domain.is_empty() || self.home.as_ref().is_none_or(is_home)
    }

    /// The name under which everything about a user is kept on this computer: the bare one of
    /// somebody of its own domain, and `DOMAIN\name` of anybody else, so that nobody is taken for
    /// somebody of the same name.
    pub fn account_name(&self, user: &UserRecord) -> String {
        match self.is_own(user) {
            true => user.name.clone(),
            false => format!("{}\\{}", user.domain, user.name),
        }
    }

    /// What is remembered of a user whose entry was just read, whatever it was called then.
    pub fn same(&self, user: &UserRecord) -> Option<&Dated<UserRecord>> {
        match &user.guid {
            Some(_) => self.users.values().find(|known| known.value.guid == user.guid),
            None => self.users.get(&user_key(user)),
        }
    }

    /// Forgets the user that a name means: the directory says that there is none.
    pub fn forget(&mut self, account: &Account) {
        let mut users = std::mem::take(&mut self.users);
        users.retain(|_, user| !self.means(account, &user.value));
        self.users = users;
    }

    /// Remembers a user. An account that was renamed is still one account.
    pub fn remember(&mut self, user: UserRecord, now_unix_ms: i64) {
        if user.guid.is_some() {
            self.users.retain(|_, known| known.value.guid != user.guid);
        }
        self.users.insert(user_key(&user), Dated::new(user, now_unix_ms));
        while self.users.len() > USERS_MAX {
            drop_oldest(&mut self.users);
        }
    }

    /// Remembers the name of a group.
    ///
    /// That one domain controller does not know a name is no reason to forget it.
    pub fn remember_group(&mut self, sid: &str, name: Option<String>, now_unix_ms: i64) {
        let is_known = self.groups.get(sid).is_some_and(|known| known.value.is_some());
        if name.is_none() && is_known {
            return;
        }
        if self.groups.len() >= SIDS_MAX && !self.groups.contains_key(sid) {
            self.groups.clear(); // all are asked again, which costs one search
        }
        self.groups.insert(sid.to_owned(), Dated::new(name, now_unix_ms));
    }
}

fn drop_oldest<T>(all: &mut BTreeMap<String, Dated<T>>) {
    let oldest = all.iter().min_by_key(|(_, dated)| dated.at_unix_ms).map(|(key, _)| key.clone());
    if let Some(oldest) = oldest {
        all.remove(&oldest);
    }
}

/// Whether a name means this user.
pub fn is_called(user: &UserRecord, account: &Account) -> bool {
    let same_name = user.name.to_lowercase() == account.name.to_lowercase();
    match &account.domain {
        None => same_name,
        Some(Domain::NetBios(domain)) => same_name && user.domain.eq_ignore_ascii_case(domain),
        Some(Domain::Suffix(suffix)) => {
            let principal = account.principal().map(|name| name.to_lowercase());
            user.principal == principal || same_name && user.dns_domain.eq_ignore_ascii_case(suffix)
        }
    }
}

/// Where the answers are kept.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
    key: PathBuf,
    /// Which computer's answers of which domain they are.
    bound_to: String,
}

impl Store {
    /// The store of a state directory. `bound_to` says which computer and domain it is about.
    pub fn new(state_dir: &Path, bound_to: String) -> Self {
        Self { path: state_dir.join(FILE), key: state_dir.join(KEY_FILE), bound_to }
    }

    /// What is remembered; nothing on first use.
    ///
    /// # Errors
    /// [`CacheError::Refused`] when it was changed; it is set aside, and the next time is the first.
    pub fn load(&self) -> Result<Memory, CacheError> {
        match self.look() {
            Ok(memory) => Ok(memory.unwrap_or_default()),
            Err(Unbelieved::Read(error)) => Err(error),
            Err(Unbelieved::Refused(why)) => Err(self.set_aside(why)),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is remembered, if there is a file. One that is not believed stays where it is.
    ///
    /// # Errors
    /// [`Unbelieved`].
    pub fn look(&self) -> Result<Option<Memory>, Unbelieved> {
        let read = |path: &Path, source| {
            Unbelieved::Read(CacheError::Read { path: path.to_owned(), source })
        };
        let content = match private(&self.path, BYTES_MAX) {
            Ok(Some(content)) => content,
            Ok(None) => return Ok(None),
            Err(Private::Io(source)) => return Err(read(&self.path, source)),
            Err(Private::Refused(why)) => return Err(Unbelieved::Refused(why)),
        };
        let key = match private(&self.key, KEY_BYTES) {
            Ok(Some(key)) => <[u8; KEY_BYTES]>::try_from(key).map_err(|_| Why::Form),
            Ok(None) => Err(Why::Hash),
            Err(Private::Io(source)) => return Err(read(&self.key, source)),
            Err(Private::Refused(why)) => Err(why),
        };
        let memory = key.and_then(|key| self.open(&key, &content));
        memory.map(Some).map_err(Unbelieved::Refused)
    }

    fn open(&self, key: &[u8; KEY_BYTES], content: &[u8]) -> Result<Memory, Why> {
        let text = std::str::from_utf8(content).map_err(|_| Why::Form)?;
        let (hash, json) = text.split_once('\n').ok_or(Why::Form)?;
        let hash = hash.strip_prefix(FORM).ok_or(Why::Form)?;
        let hash = blake3::Hash::from_hex(hash).map_err(|_| Why::Form)?;
        // Hashes compare in constant time.
        if self.hash(key, json) != hash {
            return Err(Why::Hash);
        }
        serde_json::from_str(json).map_err(|_| Why::Form)
    }

    fn hash(&self, key: &[u8; KEY_BYTES], json: &str) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(key);
        hasher.update(self.bound_to.as_bytes()).update(b"\0").update(json.as_bytes());
        hasher.finalize()
    }

    fn set_aside(&self, why: Why) -> CacheError {
        let aside = self.path.with_file_name(REFUSED);
        match std::fs::rename(&self.path, aside) {
            Ok(()) => CacheError::Refused { path: self.path.clone(), why },
            Err(source) => CacheError::Write { path: self.path.clone(), source },
        }
    }

    /// Keeps what is remembered.
    ///
    /// # Errors
    /// [`CacheError::Write`]; the old file is then still there.
    pub fn keep(&self, memory: &Memory) -> Result<(), CacheError> {
        let write = |source| CacheError::Write { path: self.path.clone(), source };
        // Key and content belong together: whoever else keeps answers here waits for both.
        let _lock = self.lock().map_err(write)?;
        let key = self.key().map_err(write)?;
        let mut memory = std::borrow::Cow::Borrowed(memory);
        let json = loop {
            let json = serde_json::to_string(&*memory).map_err(|error| write(error.into()))?;
            if json.len() + FORM.len() + 65 <= BYTES_MAX {
                break json;
            }
            if memory.users.is_empty() {
                return Err(write(io::Error::other("it would be larger than 16 MiB")));
            }
            drop_oldest(&mut memory.to_mut().users);
        };
        let hash = self.hash(&key, &json).to_hex();
        let content = format!("{FORM}{hash}\n{json}");
        durable::replace(&self.path, content.as_bytes()).map_err(write)
    }

    /// Waits until nobody else writes here, which is a matter of two small files.
    fn lock(&self) -> io::Result<File> {
        if let Some(directory) = self.path.parent() {
            durable::make_private_dir(directory)?;
        }
        let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        let mut options = File::options();
        options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
        let lock = options.open(self.path.with_file_name(LOCK_FILE))?;
        lock.lock()?;
        Ok(lock)
    }

    /// The key, drawn on first use or when the old one cannot be trusted.
    fn key(&self) -> io::Result<[u8; KEY_BYTES]> {
        let known = match private(&self.key, KEY_BYTES) {
            Ok(known) => known.and_then(|key| <[u8; KEY_BYTES]>::try_from(key).ok()),
            Err(Private::Io(source)) => return Err(source),
            Err(Private::Refused(_)) => None,
        };
        if let Some(known) = known {
            return Ok(known);
        }
        let mut key = [0; KEY_BYTES];
        let drawn = rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty())?;
        if drawn != KEY_BYTES {
            return Err(io::Error::other("the system gave too little randomness"));
        }
        durable::replace(&self.key, &key)?;
        Ok(key)
    }
}

enum Private {
    Io(io::Error),
    Refused(Why),
}

/// Reads a file that must be this account's alone; `None` when there is none.
fn private(path: &Path, bytes_max: usize) -> Result<Option<Vec<u8>>, Private> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW;
    let opened = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(Private::Refused(Why::Form)); // a link, which we never make
        }
        Err(error) => return Err(Private::Io(error)),
    };
    let meta = file.metadata().map_err(Private::Io)?;
    if !meta.is_file() || meta.len() > bytes_max as u64 {
        return Err(Private::Refused(Why::Form));
    }
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(Private::Refused(Why::Owner(meta.uid())));
    }
    if meta.mode() & 0o077 != 0 {
        return Err(Private::Refused(Why::Mode(meta.mode() & 0o7777)));
    }
    let mut content = Vec::new();
    file.take(bytes_max as u64 + 1).read_to_end(&mut content).map_err(Private::Io)?;
    Ok(Some(content))
}
