//! Frees space: removes local copies of what nobody pinned and the share has.

use serde::Serialize;

use crate::crew::Crew;
use crate::engine::{Moment, Sides, SyncError, temp_id};
use crate::fs::{Open, TEMP_PREFIX};
use crate::item::{Base, Entry, Kind};
use crate::journal::{Journal, Record};
use crate::look::is_as_recorded;
use crate::open;
use crate::pins::Pins;
use crate::report::{Options, Pair};
use crate::roots::prove_both;
use crate::walk::Both;

/// What is asked of the space that a cache takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that all files of the pair may take here.
    pub total: Option<u64>,
    /// Bytes that files may take that nobody pinned.
    pub unpinned: Option<u64>,
    /// Bytes that are to stay free on the disk.
    pub floor: Option<u64>,
}

/// What was evicted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Evicted {
    /// Files.
    pub items: u64,
    /// Bytes.
    pub bytes: u64,
    /// Bytes over a limit that could not be freed: what is left is pinned or only here.
    pub still_over: u64,
}

/// A file that may go.
struct Candidate {
    path: String,
    base: Base,
    here: Entry,
}

/// Frees space by removing local copies of files that nobody pinned and that the share has; those
/// that were changed longest ago go first. They stay known, and come back when they are pinned or
/// asked for.
///
/// # Errors
/// [`SyncError`] when a root cannot be used, or the journal fails.
pub fn evict(
    pair: &Pair,
    journal: &mut Journal,
    options: &Options,
    limits: Limits,
    now: std::time::SystemTime,
) -> Result<Evicted, SyncError> {
    let sides = open::open(pair, journal, options)?;
    evict_volumes(&sides, journal, options, limits, Moment::at(now))
}

/// As [`evict`], over volumes that are open.
///
/// # Errors
/// As [`evict`].
pub fn evict_volumes(
    sides: &Sides,
    journal: &mut Journal,
    options: &Options,
    limits: Limits,
    moment: Moment,
) -> Result<Evicted, SyncError> {
    let [local, remote, _] = sides.trees(&Open, Crew::Alone);
    let both = Both { local: &local, remote: &remote };
    prove_both(&both, journal, options)?;
    let pins = Pins::new(journal.pins()?, options.pinned);
    let (mut used, mut unpinned) = (0_u64, 0_u64);
    let mut candidates = Vec::new();
    journal.readers().each(|path, row| {
        let here = if row.folder.is_some() { None } else { local.entry(path) };
        if let Some(here) = here {
            used += here.stamp.size;
            if !pins.covers(path) && !row.base.sparse && here.kind == Kind::File {
                unpinned += here.stamp.size;
                candidates.push(Candidate { path: path.to_owned(), base: row.base, here });
            }
        }
        true
    })?;
    let over = |limit: Option<u64>, used: u64| limit.map_or(0, |limit| used.saturating_sub(limit));
    let short = match (limits.floor, local.free_bytes()) {
        (Some(floor), Some(free)) => floor.saturating_sub(free),
        _ => 0,
    };
    let wanted = over(limits.total, used).max(over(limits.unpinned, unpinned)).max(short);
    candidates.sort_by_key(|candidate| candidate.here.stamp.mtime_ns);
    let mut evicted = Evicted::default();
    let id = temp_id(journal, moment.chance)?;
    for candidate in candidates {
        if evicted.bytes >= wanted {
            break;
        }
        let temp = format!("{}{id}-evict-{}", TEMP_PREFIX, evicted.items);
        if evict_one(&both, journal, &candidate, &temp)? {
            evicted.items += 1;
            evicted.bytes += candidate.here.stamp.size;
        }
    }
    evicted.still_over = wanted.saturating_sub(evicted.bytes);
    Ok(evicted)
}

/// Removes one local copy, if it and the share's are what both agreed on. The journal knows first:
/// a copy that goes without its knowing would look like a delete.
fn evict_one(
    sides: &Both<'_, '_>,
    journal: &mut Journal,
    candidate: &Candidate,
    temp: &str,
) -> Result<bool, SyncError> {
    let Candidate { path, base, here } = candidate;
    if !is_as_recorded(sides.local, path, here, base, base.here) {
        return Ok(false);
    }
    let Some(there) = sides.remote.entry(path) else { return Ok(false) };
    if !is_as_recorded(sides.remote, path, &there, base, base.there) {
        return Ok(false);
    }
    let sparse = Base { sparse: true, there: there.stamp, ..base.clone() };
    journal.apply(&[Record::Item(path.clone(), sparse)])?;
    if matches!(sides.local.take(path, temp, here), Ok(true)) {
        return Ok(true);
    }
    journal.apply(&[Record::Item(path.clone(), base.clone())])?;
    Ok(false)
}
