//! Frees space: removes local copies of what nobody pinned and the share has.
//!
//! What goes here is not kept in the recycle area, or nothing would be freed. So it must be proven
//! that nobody loses anything: a copy gets a name of ours first, under which no program opens it;
//! then nobody may have it open or mapped; then it must be what both sides agreed on, still.
//!
//! ```text
//! as recorded ─► journal: stored there alone ─► aside ─► in use? ─► as it was? ─► gone
//!                                                 └── yes, or no ──► back, and the journal too
//! ```
//! A crash in between leaves it under a name that the next run recycles.
//!
//! RACE: what other users' programs have open cannot be seen, nor a file on its way between two
//! programs. One of them that had it open before, and writes within the moment between the last
//! look and the removal, loses what it writes.

use serde::Serialize;

use crate::crew::Crew;
use crate::engine::{Moment, Sides, SyncError, temp_id};
use crate::fs::{OLD_SUFFIX, Open, TEMP_PREFIX};
use crate::item::{Base, Entry, Kind, Stamp};
use crate::journal::{Journal, Record};
use crate::look::is_as_recorded;
use crate::open;
use crate::path::beside;
use crate::pins::Pins;
use crate::report::{Options, Pair};
use crate::roots::prove_both;
use crate::walk::Both;

/// How many files go at a time: what is open is looked up once for all of them, which takes a part
/// of a second, and for as long they are neither here nor gone.
const BATCH_FILES: usize = 64;

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
            used = used.saturating_add(here.stamp.size);
            if !pins.covers(path) && !row.base.sparse && here.kind == Kind::File {
                unpinned = unpinned.saturating_add(here.stamp.size);
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
    let names = format!("{TEMP_PREFIX}{}-evict", temp_id(journal, moment.chance)?);
    free(&both, journal, candidates, &names, wanted)
}

/// Removes candidates in their order until so many bytes are free; `names` begins the names that
/// they get for a moment.
fn free(
    sides: &Both<'_, '_>,
    journal: &mut Journal,
    candidates: Vec<Candidate>,
    names: &str,
    wanted: u64,
) -> Result<Evicted, SyncError> {
    let mut evicted = Evicted::default();
    if wanted > 0 {
        let in_use = sides.local.in_use();
        let is_idle = |found: &Candidate| !in_use.is_open(found.here.stamp.inode, false);
        let mut candidates = candidates.into_iter().filter(is_idle).enumerate();
        while evicted.bytes < wanted {
            let mut left = wanted - evicted.bytes;
            let mut batch = Vec::new();
            while left > 0 && batch.len() < BATCH_FILES {
                let Some((number, candidate)) = candidates.next() else { break };
                if let Some(there) = may_go(sides, &candidate) {
                    left = left.saturating_sub(candidate.here.stamp.size);
                    // If it cannot be put back, the next run recycles it by this name.
                    let name = format!("{names}-{number}{OLD_SUFFIX}");
                    let aside = beside(&candidate.path, &name);
                    batch.push(Leaving { candidate, there, aside });
                }
            }
            if batch.is_empty() {
                break;
            }
            for gone in evict_batch(sides, journal, batch)? {
                evicted.items += 1;
                evicted.bytes += gone.here.stamp.size;
            }
        }
    }
    evicted.still_over = wanted.saturating_sub(evicted.bytes);
    Ok(evicted)
}

/// A copy on its way out.
struct Leaving {
    candidate: Candidate,
    /// The stamp of the share's.
    there: Stamp,
    /// Its path for the moment before it goes.
    aside: String,
}

/// Whether a local copy and the share's are what both agreed on; gives the stamp of the share's.
fn may_go(sides: &Both<'_, '_>, candidate: &Candidate) -> Option<Stamp> {
    let Candidate { path, base, here } = candidate;
    if !is_as_recorded(sides.local, path, here, base, base.here) {
        return None;
    }
    let there = sides.remote.entry(path)?;
    is_as_recorded(sides.remote, path, &there, base, base.there).then_some(there.stamp)
}

/// Removes some local copies; gives those that are gone. The journal knows first: a copy that goes
/// without its knowing would look like a delete.
fn evict_batch(
    sides: &Both<'_, '_>,
    journal: &mut Journal,
    batch: Vec<Leaving>,
) -> Result<Vec<Candidate>, SyncError> {
    let sparse = |leaving: &Leaving| {
        let Candidate { path, base, .. } = &leaving.candidate;
        Record::Item(path.clone(), Base { sparse: true, there: leaving.there, ..base.clone() })
    };
    journal.apply(&batch.iter().map(sparse).collect::<Vec<_>>())?;
    let local = sides.local;
    let move_aside = |leaving: &Leaving| local.rename(&leaving.candidate.path, &leaving.aside);
    let moved: Vec<bool> = batch.iter().map(|leaving| move_aside(leaving).is_ok()).collect();
    let in_use = local.in_use();
    let (mut gone, mut restored) = (Vec::new(), Vec::new());
    for (Leaving { candidate, aside, .. }, moved) in batch.into_iter().zip(moved) {
        let Candidate { path, base, here } = &candidate;
        let is_idle =
            |found: &Entry| here.is_still(found) && !in_use.is_open(found.stamp.inode, false);
        let may_go = moved && local.entry(&aside).is_some_and(|found| is_idle(&found));
        if may_go && local.discard(&aside).is_ok() {
            gone.push(candidate);
            continue;
        }
        if moved {
            // If its name was taken meanwhile, it stays for the next run to recycle.
            let _ = local.rename(&aside, path);
        }
        restored.push(Record::Item(path.clone(), base.clone()));
    }
    journal.apply(&restored)?;
    Ok(gone)
}
