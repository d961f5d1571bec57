//! Says of every item what it is, where it is stored and how it stands to the share.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use serde::Serialize;

use crate::crew::Crew;
use crate::engine::{Moment, Sides, SyncError};
use crate::fs::{Open, PATH_BYTES_MAX, Tree};
use crate::item::{Base, Content, Entry, Kind};
use crate::journal::{Journal, ROOT, Readers};
use crate::look::{is_changed, is_same_there};
use crate::open;
use crate::pins::Pins;
use crate::report::{Options, Pair};
use crate::roots::prove_both;
use crate::scan::{join, lies_at};
use crate::state::{Here, Shape, SyncState, There, classify, is_conflict};
use crate::walk::{Both, Delta, Walk};

/// One file, folder or link of a pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Item {
    /// The path below the root, with `/`.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// Its size, in bytes.
    pub bytes: u64,
    /// How both sides stand to each other, in the words of Offline Files.
    pub state: SyncState,
    /// For whom it is pinned, itself or by a folder above it (see [`crate::pins`]).
    pub pinned: u32,
    /// It is known here and stored on the share alone.
    pub sparse: bool,
    /// It, or a folder above it, is suspended.
    pub suspended: bool,
    /// It holds a change that the share does not have.
    pub dirty: bool,
    /// Both sides changed it, and a person decides.
    pub conflict: bool,
}

/// Lists the items below a path, in the order of paths; "" is everything. Nothing is changed.
///
/// # Errors
/// [`SyncError`] when a root cannot be used.
pub fn ls(
    pair: &Pair,
    journal: &mut Journal,
    below: &str,
    options: &Options,
) -> Result<Vec<Item>, SyncError> {
    let sides = open::open(pair, journal, options)?;
    ls_volumes(&sides, journal, below, options)
}

/// As [`ls`], over volumes that are open.
///
/// # Errors
/// As [`ls`].
pub fn ls_volumes(
    sides: &Sides,
    journal: &mut Journal,
    below: &str,
    options: &Options,
) -> Result<Vec<Item>, SyncError> {
    let crew = if options.threads == 1 { Crew::Alone } else { Crew::All };
    let tree = |volume: &std::sync::Arc<_>| Tree::new(std::sync::Arc::clone(volume), &Open, crew);
    let (local, remote) = (tree(&sides.local), tree(&sides.remote));
    let both = Both { local: &local, remote: &remote };
    prove_both(&both, journal, options)?;
    let only = Options { only: vec![below.to_owned()], ..options.clone() };
    let only = if below.is_empty() { options } else { &only };
    let filter = crate::engine::filter(journal, only, "")?;
    let mut walk = Walk::new(both, &filter, &|_| false, journal.readers());
    let failed = |stop| crate::engine::cannot_start(stop, &PathBuf::new(), &PathBuf::new());
    walk.start().map_err(failed)?;
    walk.advance()?;
    loop {
        let new = walk.take_new();
        if new.is_empty() {
            walk.enter_gone();
            if walk.is_over() {
                break;
            }
        }
        walk.enter(new);
        walk.advance()?;
    }
    let mut teller = Teller {
        sides: both,
        pins: Pins::new(journal.pins()?, options.pinned),
        suspended: journal.suspended()?,
        conflicts: journal.conflicts()?.into_iter().map(|conflict| conflict.path).collect(),
        items: BTreeMap::new(),
    };
    teller.known(&journal.readers(), below)?;
    for delta in walk.found.deltas {
        if lies_at(&delta.path, below) {
            teller.differing(&delta);
        }
    }
    Ok(teller.items.into_values().collect())
}

struct Teller<'a, 'g> {
    sides: Both<'a, 'g>,
    pins: Pins,
    suspended: Vec<String>,
    conflicts: HashSet<String>,
    items: BTreeMap<String, Item>,
}

fn shape(kind: Kind) -> Shape {
    if kind == Kind::Dir { Shape::Dir } else { Shape::File }
}

impl Teller<'_, '_> {
    /// What the journal knows, as if nothing had changed.
    fn known(&mut self, readers: &Readers, below: &str) -> Result<(), SyncError> {
        let mut waiting = vec![(String::new(), ROOT)];
        while let Some((folder, number)) = waiting.pop() {
            for row in readers.rows(number)? {
                let path = join(&folder, &row.name);
                let leads = lies_at(below, &path);
                if !leads && !lies_at(&path, below) {
                    continue;
                }
                let kind = row.base.content.kind();
                if !leads || path == below {
                    let here = match row.base.sparse {
                        true => Here::Sparse(shape(kind)),
                        false => Here::Unchanged(shape(kind)),
                    };
                    let state = classify(Some(shape(kind)), here, There::Unchanged(shape(kind)));
                    self.add(&path, kind, row.base.there.size, state, row.base.sparse);
                }
                // A damaged journal may have a folder inside itself.
                if path.len() <= PATH_BYTES_MAX {
                    waiting.extend(row.folder.map(|number| (path, number)));
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &str, kind: Kind, bytes: u64, state: SyncState, sparse: bool) {
        let item = Item {
            path: path.to_owned(),
            kind,
            bytes: if kind == Kind::Dir { 0 } else { bytes },
            state,
            pinned: self.pins.who(path),
            sparse,
            suspended: self.suspended.iter().any(|folder| lies_at(path, folder)),
            dirty: false,
            conflict: self.conflicts.contains(path),
        };
        self.items.insert(path.to_owned(), item);
    }

    /// What differs from what the journal knows.
    fn differing(&mut self, delta: &Delta) {
        let Delta { path, here: local, there: remote, base, .. } = delta;
        let Some(kind) = local.as_ref().or(remote.as_ref()).map(|entry| entry.kind) else {
            self.items.remove(path); // gone from both sides
            return;
        };
        let bytes = local.as_ref().or(remote.as_ref()).map_or(0, |entry| entry.stamp.size);
        let here = self.here(path, local.as_ref(), base.as_deref());
        let there = self.there(path, remote.as_ref(), base.as_deref());
        let known = base.as_ref().map(|base| shape(base.content.kind()));
        let state = classify(known, here, there);
        let sparse = matches!(here, Here::Sparse(_));
        self.add(path, kind, bytes, state, sparse);
        if let Some(item) = self.items.get_mut(path) {
            let deleted = base.is_some() && here == Here::Absent && remote.is_some();
            item.dirty =
                deleted || matches!(here, Here::Changed(_) | Here::Created(_) | Here::Replaced(_));
            item.conflict |=
                is_conflict(state) && matches!(delta.action, crate::reconcile::Action::Conflict(_));
        }
    }

    fn here(&self, path: &str, entry: Option<&Entry>, base: Option<&Base>) -> Here {
        match (entry, base) {
            (None, Some(base)) if base.sparse => Here::Sparse(shape(base.content.kind())),
            (None, _) => Here::Absent,
            (Some(entry), None) => Here::Created(shape(entry.kind)),
            (Some(entry), Some(base)) if base.sparse => Here::Created(shape(entry.kind)),
            (Some(entry), Some(base)) => {
                let now = shape(entry.kind);
                // Editors save into a new file of the same kind: that is a change.
                let was_file = shape(base.content.kind()) == Shape::File;
                match is_changed(self.sides.local, path, entry, base) {
                    true if was_file && now == Shape::Dir => Here::Replaced(now),
                    true => Here::Changed(now),
                    false => Here::Unchanged(now),
                }
            }
        }
    }

    fn there(&self, path: &str, entry: Option<&Entry>, base: Option<&Base>) -> There {
        match (entry, base) {
            (None, None) => There::Absent,
            (None, Some(_)) => There::Deleted,
            (Some(entry), None) => There::Unchanged(shape(entry.kind)),
            (Some(entry), Some(base)) => {
                let same = base.content.kind() == entry.kind
                    && (base.content == Content::Dir
                        || is_same_there(self.sides.remote, path, entry, base));
                match same {
                    true => There::Unchanged(shape(entry.kind)),
                    false => There::Changed(shape(entry.kind)),
                }
            }
        }
    }
}

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
    let tree =
        |volume: &std::sync::Arc<_>| Tree::new(std::sync::Arc::clone(volume), &Open, Crew::Alone);
    let (local, remote) = (tree(&sides.local), tree(&sides.remote));
    let both = Both { local: &local, remote: &remote };
    prove_both(&both, journal, options)?;
    let pins = Pins::new(journal.pins()?, options.pinned);
    let (mut used, mut unpinned) = (0_u64, 0_u64);
    let mut candidates = Vec::new();
    let readers = journal.readers();
    let mut waiting = vec![(String::new(), ROOT)];
    while let Some((folder, number)) = waiting.pop() {
        for row in readers.rows(number)? {
            let path = join(&folder, &row.name);
            if let Some(number) = row.folder {
                if path.len() <= PATH_BYTES_MAX {
                    waiting.push((path, number));
                }
                continue;
            }
            let look = local.look(&path);
            let Ok(Some(crate::fs::Look::Entry(here))) = look else { continue };
            used += here.stamp.size;
            if pins.covers(&path) || row.base.sparse || here.kind != Kind::File {
                continue;
            }
            unpinned += here.stamp.size;
            candidates.push(Candidate { path, base: row.base, here });
        }
    }
    let over = |limit: Option<u64>, used: u64| limit.map_or(0, |limit| used.saturating_sub(limit));
    let short = match (limits.floor, local.free_bytes()) {
        (Some(floor), Some(free)) => floor.saturating_sub(free),
        _ => 0,
    };
    let wanted = over(limits.total, used).max(over(limits.unpinned, unpinned)).max(short);
    candidates.sort_by_key(|candidate| candidate.here.stamp.mtime_ns);
    let mut evicted = Evicted::default();
    let temp_id = crate::engine::temp_id(journal, moment.chance)?;
    for candidate in candidates {
        if evicted.bytes >= wanted {
            break;
        }
        let temp = format!("{}{temp_id}-evict-{}", crate::fs::TEMP_PREFIX, evicted.items);
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
    use crate::journal::Record;
    let Candidate { path, base, here } = candidate;
    if is_changed(sides.local, path, here, base) {
        return Ok(false);
    }
    let there = match sides.remote.look(path) {
        Ok(Some(crate::fs::Look::Entry(there))) => there,
        _ => return Ok(false),
    };
    if !is_same_there(sides.remote, path, &there, base) {
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
