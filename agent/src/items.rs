//! Items of a cache: lists them, pins and suspends them, and keeps the cache within its limits.
#![expect(clippy::disallowed_methods, reason = "edge: looks whether an item is here")]

use std::time::SystemTime;

use homeport_sync::{Evicted, Item, Kind, Limits, SyncError, pins};
use serde::{Deserialize, Serialize};

use crate::jobs::{self, away, failed, open};
use crate::keeping::DiskLimits;
use crate::limits::LIST_MAX;
use crate::outcome::{Outcome, chain};
use crate::plan::Exchange;

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
    },
    /// For whom it is pinned now, by everybody together.
    Pinned(u32),
    /// Whether it is suspended now.
    Suspended(bool),
    /// It could not be done.
    Not(Outcome),
}

/// Does what is asked about an item of a cache, and what is below it.
pub fn ask(job: &Exchange, below: &str, ask: Ask, host: &str) -> Found {
    let answer = match ask {
        Ask::List(choice) => list(job, below, choice, host),
        Ask::Pin(who) => exists(job, below, host, false).and_then(|()| pin(job, below, who)),
        Ask::Unpin(who) => unpin(job, below, who),
        Ask::Suspend(true) => {
            exists(job, below, host, true).and_then(|()| suspend(job, below, true))
        }
        Ask::Suspend(false) => suspend(job, below, false),
        Ask::Dirty => Err(Outcome::refused("another question tells that", "homeport dirty")),
    };
    answer.unwrap_or_else(Found::Not)
}

fn items(job: &Exchange, below: &str, host: &str) -> Result<Vec<Item>, Outcome> {
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
    let chosen: Vec<Item> = items(job, below, host)?.into_iter().filter(chosen).collect();
    let more = chosen.len().saturating_sub(LIST_MAX) as u64;
    let rows = chosen.into_iter().take(LIST_MAX).collect();
    Ok(Found::Listed { rows, more })
}

/// Nobody pins a misspelt name. What is not stored here may still be known, or on the share.
fn exists(job: &Exchange, below: &str, host: &str, as_folder: bool) -> Result<(), Outcome> {
    let here = std::fs::symlink_metadata(job.local.join(below));
    let kind = match here {
        Ok(meta) if meta.is_dir() => Some(Kind::Dir),
        Ok(_) => Some(Kind::File),
        Err(_) => {
            let found = items(job, below, host)?;
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
    journal.pin(below, who).map_err(|error| Outcome::failed(&error))?;
    pinned(job, &journal, below)
}

fn unpin(job: &Exchange, below: &str, who: u32) -> Result<Found, Outcome> {
    let (_, mut journal) = open(job)?;
    journal.unpin(below, who).map_err(|error| Outcome::failed(&error))?;
    pinned(job, &journal, below)
}

fn pinned(job: &Exchange, journal: &homeport_sync::Journal, below: &str) -> Result<Found, Outcome> {
    let list = journal.pins().map_err(|error| Outcome::failed(&error))?;
    Ok(Found::Pinned(pins::Pins::new(list, job.how.pinned).who(below)))
}

fn suspend(job: &Exchange, below: &str, suspended: bool) -> Result<Found, Outcome> {
    let (_, mut journal) = open(job)?;
    journal.suspend(below, suspended).map_err(|error| Outcome::failed(&error))?;
    Ok(Found::Suspended(suspended))
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
