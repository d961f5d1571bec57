//! Turns a decision and what is seen of the disk into steps; planning changes nothing.
//!
//! A step is so specific that whoever executes it has no choice left to make. It also says what it
//! expects to find; if the world differs by then, it is refused, never forced.

pub mod mounts;
pub mod part;
mod redirect;
mod roam;
mod sync;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use homeport_policy::connection::State;
use homeport_policy::decide::Decision;
use homeport_policy::facts::Os;
use homeport_policy::folder::Folder;
use homeport_policy::reason::Because;
use homeport_policy::sync_rules::SyncRules;
use homeport_policy::unc::Unc;
use serde::{Deserialize, Serialize};

use crate::keeping::DiskLimits;
use crate::observed::{Observed, Place, Retained};
use crate::settings::Mount;
use crate::wish::{How, Wish, network_path};

/// What a plan is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Occasion {
    /// The user signs in.
    Logon,
    /// The user signs out.
    Logoff,
    /// Policy or facts changed while the user is signed in.
    Refresh,
    /// A background sync is due.
    Background,
    /// Folders in online mode exchange.
    Exchange,
    /// A person asks for a sync.
    Manual,
}

impl Occasion {
    /// The word in logs, status and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Logon => "logon",
            Self::Logoff => "logoff",
            Self::Refresh => "refresh",
            Self::Background => "background",
            Self::Exchange => "exchange",
            Self::Manual => "manual",
        }
    }
}

/// The user's places on this computer.
#[derive(Clone, Debug, PartialEq)]
pub struct UserPaths {
    /// sAMAccountName.
    pub user: String,
    /// objectSid, where known.
    pub sid: Option<String>,
    /// The home or profile directory.
    pub home: PathBuf,
    /// The operating system whose places count.
    pub os: Os,
}

impl UserPaths {
    /// Where Homeport keeps what belongs to this user.
    pub fn data(&self) -> PathBuf {
        self.home.join(DATA_DIR)
    }

    /// The folder's place in the home, where the system has one.
    pub fn local_place(&self, folder: Folder) -> Option<PathBuf> {
        let below = folder.local_place(self.os)?;
        Some(below.split('\\').fold(self.home.clone(), |path, part| path.join(part)))
    }

    /// Where the cache of a network folder lies: readable names, real files.
    pub fn cache_place(&self, unc: &Unc) -> PathBuf {
        unc.parts().fold(self.data().join("cache"), |path, part| path.join(part))
    }

    /// The journal of one cache or profile.
    pub fn journal(&self, unc: &Unc, kind: &str) -> PathBuf {
        let readable: Vec<&str> = unc.parts().collect();
        let mut name = readable.join("+");
        // A long path keeps its end, which tells folders apart; the hash tells the rest apart.
        let cut = name.char_indices().rev().nth(JOURNAL_NAME_MAX).map_or(0, |(at, _)| at);
        name.drain(..cut);
        let hash = short_hash(unc);
        self.data().join("journal").join(format!("{kind}-{name}-{hash}")).join("journal.db")
    }
}

/// Eight hexadecimal digits that tell network folders apart, whatever their case.
fn short_hash(unc: &Unc) -> String {
    let hash = blake3::hash(unc.as_str().to_lowercase().as_bytes());
    hash.to_hex()[..8].to_owned()
}

/// Below the home: data that belongs to the user and to this computer, and never roams.
pub const DATA_DIR: &str = ".local/share/homeport";
/// Characters of a UNC path in the name of its journal directory.
const JOURNAL_NAME_MAX: usize = 100;

/// A share and the directory on this computer that holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Remote {
    /// The network folder.
    pub unc: Unc,
    /// Its directory on this computer.
    pub path: PathBuf,
    /// The mount that `path` lies in.
    pub mount: PathBuf,
    /// Whether `mount` must be a mount point.
    pub must_be_mounted: bool,
    /// Whether folders below the mount may be made (a user's folder is made on first use).
    pub create: bool,
    /// Whether folders that are made belong to the user alone.
    pub exclusive: bool,
    /// Reached without a mount; then `path` and `mount` are only names.
    #[serde(default)]
    pub smb: Option<Box<SmbShare>>,
}

/// A folder of a share that `homeport-smb` reaches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SmbShare {
    /// Host name.
    pub server: String,
    /// Name of the share.
    pub name: String,
    /// The folder below the share.
    pub below: Vec<String>,
    /// TCP port.
    pub port: u16,
    /// The helper program.
    pub program: PathBuf,
    /// Processes at a time.
    pub processes: usize,
    /// Account; absent is the owner of the Kerberos tickets.
    pub user: Option<String>,
    /// Its realm or domain; absent as above.
    pub realm: Option<String>,
    /// Whether a password may be used where Kerberos cannot.
    pub ntlm: bool,
    /// The file that holds it.
    pub password_file: Option<PathBuf>,
    /// Whether a server without encryption is refused.
    pub must_encrypt: bool,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum What {
    /// Make a known folder be another place, contents included if wanted.
    Redirect(Box<Redirect>),
    /// Bring a known folder home.
    Restore(Box<Restore>),
    /// Keep other options for the end of a redirection than before.
    Retain {
        /// Which folder.
        folder: Folder,
        /// What is retained now.
        expects: Retained,
        /// What is to be retained.
        retain: Retained,
    },
    /// Exchange a cache with its share.
    Sync(Exchange),
    /// See whether the share of a cache answers, and how quickly.
    Probe(Exchange),
    /// Give up a cache, once everything of it is on the share.
    DropCache {
        /// The folder that was redirected to it.
        folder: Folder,
        /// The exchange that proves it.
        exchange: Exchange,
    },
    /// Bring the profile down (`sync_in`) or up (`sync_out`).
    Profile(ProfileExchange),
    /// Nothing can be done, and a person should know.
    Cannot {
        /// What is about it.
        about: String,
        /// Why.
        why: String,
        /// What a person can do.
        hint: String,
    },
}

/// See [`What::Redirect`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Redirect {
    /// Which folder.
    pub folder: Folder,
    /// The folder's place in the home; a link stands there afterwards.
    pub link: PathBuf,
    /// What stands there now.
    pub expects: Place,
    /// Where the contents are now: `link` itself, or the place of an earlier redirection.
    pub from: PathBuf,
    /// What was retained by an earlier redirection.
    pub expects_retained: Option<Retained>,
    /// What to retain once it is done; its `place` is where the folder goes.
    pub retain: Retained,
    /// The share behind the new place, for the proof that it is another place than the old one.
    pub remote: Remote,
    /// The variable in `user-dirs.dirs` to set.
    pub xdg: Option<String>,
}

/// See [`What::Restore`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Restore {
    /// Which folder.
    pub folder: Folder,
    /// The folder's place in the home; a directory stands there afterwards.
    pub link: PathBuf,
    /// What stands there now.
    pub expects: Place,
    /// What is retained about the redirection that ends.
    pub retained: Retained,
    /// Whether the contents come home too.
    pub copy_contents: bool,
    /// Whether a cache of its own remains to be given up afterwards.
    pub leaves_cache: bool,
    /// The variable in `user-dirs.dirs` to set back.
    pub xdg: Option<String>,
}

/// One exchange of a directory here with a directory of a share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Exchange {
    /// The share's side.
    pub remote: Remote,
    /// This computer's side.
    pub local: PathBuf,
    /// The journal of the pair.
    pub journal: PathBuf,
    /// Bring changes in.
    pub sync_in: bool,
    /// Send changes out.
    pub sync_out: bool,
    /// The engine's options.
    pub rules: SyncRules,
    /// What the engine leaves alone.
    pub exclude: Vec<String>,
    /// How it goes.
    pub how: How,
}

impl Exchange {
    /// What is exchanged: the network path of the cache, or of the part of it that is meant.
    pub fn told(&self) -> String {
        let (root, only) = (&self.remote.unc, &self.how.only);
        match only.as_slice() {
            [] => root.to_string(),
            [one] => network_path(root, one),
            [one, more @ ..] => format!("{} and {} more", network_path(root, one), more.len()),
        }
    }
}

/// See [`What::Profile`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProfileExchange {
    /// The pair.
    pub exchange: Exchange,
    /// A profile larger than this is not sent up.
    pub size_limit: Option<u64>,
    /// The folder on the share must belong to the user or an administrator.
    pub check_owner: bool,
}

/// One step, and why it is taken.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// What to do.
    pub what: What,
    /// Why; never empty.
    pub because: Vec<Because>,
}

/// Everything to do for one user on one occasion, in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[must_use]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
    /// What is not done now, and why not.
    pub not_now: Vec<NotNow>,
}

/// Something a person might expect to be done, and why it is not.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NotNow {
    /// What it is about.
    pub about: String,
    /// Why it is not done.
    pub why: String,
}

/// When a cached folder was exchanged, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Syncs {
    /// The last attempt.
    pub tried_unix_ms: Option<i64>,
    /// The last one of all of it, in both directions, without a failure.
    pub whole_unix_ms: Option<i64>,
}

/// Everything a plan rests on.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    /// What the plan is made for.
    pub occasion: Occasion,
    /// What was decided.
    pub decision: &'a Decision,
    /// How caches are synchronised.
    pub rules: &'a SyncRules,
    /// What the worker sees.
    pub observed: &'a Observed,
    /// The user's places.
    pub paths: &'a UserPaths,
    /// Which directories hold which shares.
    pub mounts: &'a [Mount],
    /// The state of each cached folder's connection, by its UNC path.
    pub connections: &'a BTreeMap<Unc, State>,
    /// When each cached folder was exchanged.
    pub syncs: &'a BTreeMap<Unc, Syncs>,
    /// What a person asks of the exchanges.
    pub wish: &'a Wish,
    /// How much of the disk the caches take.
    pub disk: DiskLimits,
    /// The present moment, in milliseconds since 1970.
    pub now_unix_ms: i64,
}

/// Plans everything that is to be done for one user on one occasion.
///
/// Order: the profile comes first at sign-in and last at sign-out; a folder is redirected before
/// its cache is exchanged, so that contents that moved in go up with the first exchange; a cache is
/// exchanged before its folder comes home, so that nothing that is only here is left out.
pub fn plan(ground: &Ground<'_>) -> Plan {
    let mut plan = Plan::default();
    if ground.occasion == Occasion::Logon {
        roam::down(ground, &mut plan);
    }
    if matches!(ground.occasion, Occasion::Logon | Occasion::Refresh) {
        redirect::plan(ground, &mut plan);
    }
    sync::plan(ground, &mut plan);
    if ground.occasion == Occasion::Logoff {
        roam::up(ground, &mut plan);
    }
    plan
}

/// Every offline folder of the user as an exchange in both directions, whether it may be exchanged
/// now or not.
pub fn caches(ground: &Ground<'_>) -> Vec<Exchange> {
    sync::caches(ground)
}

impl Plan {
    /// The exchanges of caches in it.
    pub fn exchanges(&self) -> impl Iterator<Item = &Exchange> {
        self.steps.iter().filter_map(|step| match &step.what {
            What::Sync(exchange) => Some(exchange),
            _ => None,
        })
    }

    fn push(&mut self, what: What, because: &[Because]) {
        self.steps.push(Step { what, because: because.to_vec() });
    }

    fn cannot(&mut self, about: impl ToString, why: String, hint: String, because: &[Because]) {
        self.push(What::Cannot { about: about.to_string(), why, hint }, because);
    }

    fn not_now(&mut self, about: impl ToString, why: impl Into<String>) {
        let not_now = NotNow { about: about.to_string(), why: why.into() };
        if !self.not_now.contains(&not_now) {
            self.not_now.push(not_now);
        }
    }
}

impl What {
    /// The word for logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Redirect(_) => "redirect",
            Self::Restore(_) => "restore",
            Self::Retain { .. } => "retain",
            Self::Sync(_) => "sync",
            Self::Probe(_) => "probe",
            Self::DropCache { .. } => "drop-cache",
            Self::Profile(_) => "profile",
            Self::Cannot { .. } => "cannot",
        }
    }
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let directions = |exchange: &Exchange| match (exchange.sync_in, exchange.sync_out) {
            (true, true) => "in both directions",
            (true, false) => "inwards",
            (false, true) => "outwards",
            (false, false) => "as far as something is missing here",
        };
        match self {
            Self::Redirect(redirect) => {
                let Redirect { folder, retain, from, link, .. } = &**redirect;
                write!(f, "redirect {folder} to {}", retain.target)?;
                if from != link {
                    write!(f, " from {}", shown(from))?;
                }
                if !retain.move_contents {
                    f.write_str(", without its contents")?;
                }
                Ok(())
            }
            Self::Restore(restore) => {
                let Restore { folder, retained, copy_contents, .. } = &**restore;
                let contents = if *copy_contents { "" } else { ", without its contents" };
                write!(f, "bring {folder} home from {}{contents}", retained.target)
            }
            Self::Retain { folder, .. } => write!(f, "keep new removal options for {folder}"),
            Self::Sync(exchange) => {
                write!(f, "synchronise {} {}", exchange.told(), directions(exchange))
            }
            Self::Probe(exchange) => write!(f, "see whether {} answers", exchange.remote.unc),
            Self::DropCache { exchange, .. } => {
                write!(f, "remove the cache of {} from this computer", exchange.remote.unc)
            }
            Self::Profile(ProfileExchange { exchange, .. }) if exchange.sync_in => {
                write!(f, "bring the profile down from {}", exchange.remote.unc)
            }
            Self::Profile(ProfileExchange { exchange, .. }) => {
                write!(f, "send the profile up to {}", exchange.remote.unc)
            }
            Self::Cannot { about, why, .. } => write!(f, "cannot handle {about}: {why}"),
        }
    }
}

impl What {
    /// The exchange with a share that this step carries out.
    pub fn exchange(&self) -> Option<&Exchange> {
        match self {
            Self::Sync(exchange) | Self::DropCache { exchange, .. } => Some(exchange),
            Self::Profile(profile) => Some(&profile.exchange),
            _ => None,
        }
    }

    /// The same step, within so many file bytes that may cross.
    pub fn within(&self, byte_budget: Option<u64>) -> Self {
        let mut what = self.clone();
        match &mut what {
            Self::Sync(exchange) | Self::DropCache { exchange, .. } => {
                exchange.how.byte_budget = byte_budget;
            }
            Self::Profile(profile) => profile.exchange.how.byte_budget = byte_budget,
            _ => {}
        }
        what
    }

    /// Whether this step must not be tried after `earlier` was not done: a cache whose folder was
    /// not redirected is not exchanged, and a cache whose folder is not home is not given up.
    pub fn depends_on(&self, earlier: &What) -> bool {
        match (self, earlier) {
            (Self::Sync(exchange), Self::Redirect(redirect)) => {
                exchange.remote.unc == redirect.retain.target
            }
            (Self::DropCache { exchange, .. }, Self::Restore(restore)) => {
                restore.retained.target.below(&exchange.remote.unc).is_some()
            }
            (Self::DropCache { exchange, .. }, Self::Sync(earlier)) => {
                exchange.remote.unc == earlier.remote.unc
            }
            _ => false,
        }
    }
}

fn shown(path: &Path) -> std::path::Display<'_> {
    path.display()
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.steps.is_empty() && self.not_now.is_empty() {
            return f.write_str("nothing to do");
        }
        let mut lines = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            lines.push(format!("{}. {}", index + 1, step.what));
            if let What::Cannot { hint, .. } = &step.what {
                lines.push(format!("      help: {hint}"));
            }
            for because in &step.because {
                lines.push(format!("      because {because}"));
            }
        }
        for NotNow { about, why } in &self.not_now {
            lines.push(format!("-  not now: {about}: {why}"));
        }
        f.write_str(&lines.join("\n"))
    }
}
