//! Items of a cache: lists them, pins and suspends them, and keeps the cache within its limits.
#![expect(clippy::disallowed_methods, reason = "edge: looks whether an item is here")]

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use homeport_sync::{Evicted, Item, ItemResult, Kind, Limits, Listed, SyncError, Verdict, pins};
use serde::{Deserialize, Serialize};

use crate::jobs::{self, away, failed, open};
use crate::keeping::DiskLimits;
use crate::limits::{LIST_MAX, NOTES_MAX, RECYCLED_LIST_MAX};
use crate::outcome::{Outcome, chain};
use crate::plan::Exchange;
use crate::wish::relative;

/// What is asked about items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// List them; with no choice, all.
    List(Choice),
    /// Keep them stored here, for these (see `homeport_sync::pins`).
    Pin(u32),
    /// Take that back.
    Unpin(u32),
    /// Keep exchanges that nobody asked for away from a folder, or take that back.
    Suspend(bool),
    /// What is only on this computer.
    Dirty,
    /// Old versions in the recycle area.
    Recycled,
}

/// Which items are listed: those with any of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Choice {
    /// With changes that the share does not have.
    pub dirty: bool,
    /// Pinned by somebody.
    pub pinned: bool,
    /// With an open conflict.
    pub conflicts: bool,
}

/// What the worker says about items of one cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// The list, and how many more there are.
    Listed {
        /// In the order of paths.
        rows: Vec<Item>,
        /// Not listed.
        more: u64,
        /// What could not be read, and then what takes no part, and why.
        #[serde(default)]
        notes: Vec<ItemResult>,
        /// Notes that are not listed.
        #[serde(default)]
        more_notes: u64,
    },
    /// For whom it is pinned, by everybody together.
    Pinned {
        /// Now.
        now: u32,
        /// Before.
        was: u32,
    },
    /// Whether it is suspended now.
    Suspended(bool),
    /// Old versions in the recycle area, the latest first, and how many more there are.
    Recycled {
        /// Each version.
        rows: Vec<Kept>,
        /// Not listed.
        more: u64,
    },
    /// It could not be done.
    Not(Outcome),
}

/// An old version in the recycle area.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Kept {
    /// The path below the root that it had, with `/`.
    pub path: String,
    /// Where it is kept on this computer.
    pub place: PathBuf,
    /// When an exchange took it away, in seconds since 1970.
    pub since_unix: i64,
    /// It was the version here; otherwise the one on the share.
    pub here: bool,
    /// Its size.
    pub bytes: u64,
}

impl Ask {
    /// Whether the share is needed for the answer. What stands here is pinned without it.
    pub fn calls_the_share(self, job: &Exchange, below: &str) -> bool {
        match self {
            Self::List(_) => true,
            Self::Pin(_) | Self::Suspend(_) => {
                std::fs::symlink_metadata(job.local.join(below)).is_err()
            }
            Self::Unpin(_) | Self::Dirty | Self::Recycled => false,
        }
    }
}

/// Does what is asked about an item of a cache, and what is below it.
pub fn ask(job: &Exchange, below: &str, ask: Ask, host: &str) -> Found {
    let answer = match ask {
        Ask::List(choice) if below.is_empty() => list(job, below, choice, host),
        Ask::List(choice) => {
            exists(job, below, host, false).and_then(|()| list(job, below, choice, host))
        }
        Ask::Pin(who) => exists(job, below, host, false).and_then(|()| pin(job, below, who)),
        Ask::Unpin(who) => unpin(job, below, who),
        Ask::Suspend(true) => {
            exists(job, below, host, true).and_then(|()| suspend(job, below, true))
        }
        Ask::Suspend(false) => {
            // A folder that is gone may be suspended still.
            let known = is_suspended(job, below);
            let there =
                known.and_then(|is| if is { Ok(()) } else { exists(job, below, host, true) });
            there.and_then(|()| suspend(job, below, false))
        }
        Ask::Recycled => recycled(job, below),
        Ask::Dirty => Err(Outcome::refused("another question tells that", "homeport dirty")),
    };
    answer.unwrap_or_else(Found::Not)
}

fn items(job: &Exchange, below: &str, host: &str) -> Result<Listed, Outcome> {
    crate::share::reach::reach(&job.remote).map_err(|error| away(&error))?;
    let (pair, mut journal) = open(job)?;
    let options = jobs::options(job, host);
    homeport_sync::ls(&pair, &mut journal, below, &options).map_err(|error| failed(&error))
}

fn list(job: &Exchange, below: &str, choice: Choice, host: &str) -> Result<Found, Outcome> {
    let Choice { dirty, pinned, conflicts } = choice;
    let chosen = |item: &Item| {
        choice == Choice::default()
            || (dirty && item.dirty)
            || (pinned && item.pinned != 0)
            || (conflicts && item.conflict)
    };
    let Listed { items, mut notes } = items(job, below, host)?;
    let chosen: Vec<Item> = items.into_iter().filter(chosen).collect();
    let more = chosen.len().saturating_sub(LIST_MAX) as u64;
    let rows = chosen.into_iter().take(LIST_MAX).collect();
    // If not all are listed, then at least what could not be read.
    notes.sort_by_key(|note| !matches!(note.result, Verdict::Failed { .. }));
    let more_notes = notes.len().saturating_sub(NOTES_MAX) as u64;
    notes.truncate(NOTES_MAX);
    Ok(Found::Listed { rows, more, notes, more_notes })
}

/// Nobody pins a misspelt name. What is not stored here may still be known, or on the share.
fn exists(job: &Exchange, below: &str, host: &str, as_folder: bool) -> Result<(), Outcome> {
    let here = std::fs::symlink_metadata(job.local.join(below));
    let kind = match here {
        Ok(meta) if meta.is_dir() => Some(Kind::Dir),
        Ok(_) => Some(Kind::File),
        Err(_) => {
            let found = items(job, below, host)?.items;
            found.first().map(|item| if item.path == below { item.kind } else { Kind::Dir })
        }
    };
    match kind {
        None => Err(Outcome::refused("there is no such item", "see `homeport ls`")),
        Some(Kind::File | Kind::Link) if as_folder => {
            Err(Outcome::refused("it is no folder", "suspend the folder it lies in"))
        }
        Some(_) => Ok(()),
    }
}

fn pin(job: &Exchange, below: &str, who: u32) -> Result<Found, Outcome> {
    let (_, mut journal) = open(job)?;
    let was = pinned(job, &journal, below)?;
    journal.pin(below, who).map_err(|error| Outcome::failed(&error))?;
    Ok(Found::Pinned { now: pinned(job, &journal, below)?, was })
}

fn unpin(job: &Exchange, below: &str, who: u32) -> Result<Found, Outcome> {
    let (_, mut journal) = open(job)?;
    let was = pinned(job, &journal, below)?;
    journal.unpin(below, who).map_err(|error| Outcome::failed(&error))?;
    Ok(Found::Pinned { now: pinned(job, &journal, below)?, was })
}

fn pinned(job: &Exchange, journal: &homeport_sync::Journal, below: &str) -> Result<u32, Outcome> {
    let list = journal.pins().map_err(|error| Outcome::failed(&error))?;
    Ok(pins::Pins::new(list, job.how.pinned).who(below))
}

fn is_suspended(job: &Exchange, below: &str) -> Result<bool, Outcome> {
    let (_, journal) = open(job)?;
    let list = journal.suspended().map_err(|error| Outcome::failed(&error))?;
    Ok(list.iter().any(|folder| folder == below))
}

fn suspend(job: &Exchange, below: &str, suspended: bool) -> Result<Found, Outcome> {
    let (_, mut journal) = open(job)?;
    journal.suspend(below, suspended).map_err(|error| Outcome::failed(&error))?;
    Ok(Found::Suspended(suspended))
}

/// Lists the recycle area: each run that keeps versions has a folder in it for each side, called
/// after the second, with the old paths below.
fn recycled(job: &Exchange, below: &str) -> Result<Found, Outcome> {
    let area = job.journal.with_file_name("recycle");
    let mut rows = Vec::new();
    let runs = match std::fs::read_dir(&area) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Found::Recycled { rows, more: 0 });
        }
        runs => runs.map_err(|error| Outcome::failed(&error))?,
    };
    for run in runs {
        let run = run.map_err(|error| Outcome::failed(&error))?;
        let name = run.file_name().to_string_lossy().into_owned();
        let since = name.split('-').next().and_then(|since| since.parse().ok());
        let Some(since_unix) = since else { continue };
        let kept = |path: String, place: PathBuf, bytes| {
            // The age at which a sweep first saw it may stand behind its name.
            let shelf = name.split_once('@').map_or(&*name, |(shelf, _)| shelf);
            let here = shelf.ends_with("-here");
            Kept { path, place, since_unix, here, bytes }
        };
        versions(&run.path(), below, &mut |path, place, bytes| rows.push(kept(path, place, bytes)))
            .map_err(|error| Outcome::failed(&error))?;
    }
    rows.sort_by(|a, b| b.since_unix.cmp(&a.since_unix).then_with(|| a.path.cmp(&b.path)));
    let more = rows.len().saturating_sub(RECYCLED_LIST_MAX) as u64;
    rows.truncate(RECYCLED_LIST_MAX);
    Ok(Found::Recycled { rows, more })
}

/// Every file at a path below a folder, or below that path. Links are listed, never followed.
fn versions(
    root: &Path,
    below: &str,
    found: &mut dyn FnMut(String, PathBuf, u64),
) -> std::io::Result<()> {
    let mut waiting = vec![root.join(below)];
    while let Some(place) = waiting.pop() {
        let meta = match std::fs::symlink_metadata(&place) {
            Ok(meta) => meta,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => continue,
            Err(error) => return Err(error),
        };
        if meta.is_dir() {
            for entry in std::fs::read_dir(&place)? {
                waiting.push(entry?.path());
            }
        } else if let Some(path) = place.strip_prefix(root).ok().and_then(relative) {
            found(path, place, meta.len());
        }
    }
    Ok(())
}

/// Keeps a cache within its limits after an exchange; gives what there is to tell, if anything.
pub fn keep_within(job: &Exchange, host: &str, now: SystemTime) -> Option<String> {
    if !job.how.disk.is_any() {
        return None;
    }
    match evict(job, host, now) {
        Ok(evicted) => evicted_words(evicted),
        Err(outcome) => {
            let (Outcome::Refused { why, .. } | Outcome::Failed { why, .. }) = outcome else {
                return None;
            };
            tracing::warn!(cache = %job.remote.unc, why, "Cache not kept within its limits.");
            Some(format!("not kept within its limits: {why}"))
        }
    }
}

fn evict(job: &Exchange, host: &str, now: SystemTime) -> Result<Evicted, Outcome> {
    let disk = rustix::fs::statvfs(&job.local).map_err(|error| Outcome::failed(&error))?;
    let size = disk.f_blocks.saturating_mul(disk.f_frsize);
    let DiskLimits { total, unpinned, floor } = job.how.disk;
    let of = |amount: Option<crate::keeping::Amount>| amount.map(|amount| amount.of(size));
    let limits = Limits { total: of(total), unpinned: of(unpinned), floor: of(floor) };
    let (pair, mut journal) = open(job)?;
    let evicted = homeport_sync::evict(&pair, &mut journal, &jobs::options(job, host), limits, now);
    evicted.map_err(|error: SyncError| {
        tracing::debug!(error = chain(&error), "Nothing evicted.");
        failed(&error)
    })
}

fn evicted_words(evicted: Evicted) -> Option<String> {
    let Evicted { items, bytes, still_over } = evicted;
    let gone = (items > 0).then(|| format!("{items} files ({bytes} bytes) stored here no more"));
    let over = (still_over > 0)
        .then(|| format!("{still_over} bytes over the cache's limit are pinned or only here"));
    match (gone, over) {
        (Some(gone), Some(over)) => Some(format!("{gone}, {over}")),
        (one, other) => one.or(other),
    }
}
