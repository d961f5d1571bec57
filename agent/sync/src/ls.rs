//! Says of every item what it is, where it is stored and how it stands to the share.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::crew::Crew;
use crate::engine::{Sides, SyncError};
use crate::fs::Open;
use crate::item::{Base, Entry, Kind};
use crate::journal::{Journal, Readers};
use crate::look::is_as_recorded;
use crate::open;
use crate::path::{lies_at, lies_in};
use crate::pins::Pins;
use crate::report::{ItemResult, Options, Pair};
use crate::roots::prove_both;
use crate::state::{Here, Shape, SyncState, There, classify, is_conflict};
use crate::walk::{Both, Delta, Found, Walk};

/// One file, folder or link of a pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// What stands below a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The items, in the order of paths; without those about which nothing can be said.
    pub items: Vec<Item>,
    /// What could not be read, or takes no part, and why, in the order of paths.
    pub notes: Vec<ItemResult>,
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
) -> Result<Listed, SyncError> {
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
) -> Result<Listed, SyncError> {
    let [local, remote, _] = sides.trees(&Open, Crew::of(options.threads));
    let both = Both { local: &local, remote: &remote };
    prove_both(&both, journal, options)?;
    let only = Options { only: vec![below.to_owned()], ..options.clone() };
    let only = if below.is_empty() { options } else { &only };
    let filter = crate::engine::filter(journal, only, "")?;
    let mut walk = Walk::new(both, &filter, &|_| false, journal.readers(), [false; 2]);
    let failed = |stop| crate::engine::cannot_start(stop, &PathBuf::new(), &PathBuf::new());
    walk.start().map_err(failed)?;
    walk.finish(|_, new| Ok::<_, SyncError>(new))?;
    let mut teller = Teller {
        sides: both,
        pins: Pins::new(journal.pins()?, options.pinned),
        suspended: journal.suspended()?,
        conflicts: journal.conflicts()?.into_iter().map(|conflict| conflict.path).collect(),
        items: BTreeMap::new(),
    };
    teller.known(&journal.readers(), below)?;
    for delta in &walk.found.deltas {
        if lies_at(&delta.path, below) {
            teller.differing(delta);
        }
    }
    let notes = notes(&mut walk.found, below);
    // What the journal knows of it says nothing about what stands there now. What is left out on
    // purpose, as a suspended folder is, has no note and is as it was.
    let noted: HashSet<&str> = notes.iter().map(|note| note.path.as_str()).collect();
    let found = walk.found.unknown.iter().chain(&walk.found.undecided).map(String::as_str);
    let unknown: HashSet<&str> = found.filter(|path| noted.contains(path)).collect();
    teller.items.retain(|path, _| !lies_in(&unknown, path));
    Ok(Listed { items: teller.items.into_values().collect(), notes })
}

/// What the walk notes below a path, or about a folder above it; what both sides hide, once.
fn notes(found: &mut Found, below: &str) -> Vec<ItemResult> {
    let mut notes = std::mem::take(&mut found.notes);
    notes.retain(|note| lies_at(&note.path, below) || lies_at(below, &note.path));
    notes.sort_by(|a, b| a.path.cmp(&b.path));
    notes.dedup_by(|a, b| a.path == b.path);
    notes
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
        readers.each(|path, row| {
            let leads = lies_at(below, path);
            let is_in = lies_at(path, below);
            if is_in {
                let (kind, sparse) = (row.base.content.kind(), row.base.sparse);
                let shape = shape(kind);
                let here = if sparse { Here::Sparse(shape) } else { Here::Unchanged(shape) };
                let state = classify(Some(shape), here, There::Unchanged(shape));
                self.add(path, kind, row.base.there.size, state, sparse);
            }
            leads || is_in
        })?;
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
                match is_as_recorded(self.sides.local, path, entry, base, base.here) {
                    true => Here::Unchanged(now),
                    false if was_file && now == Shape::Dir => Here::Replaced(now),
                    false => Here::Changed(now),
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
                match is_as_recorded(self.sides.remote, path, entry, base, base.there) {
                    true => There::Unchanged(shape(entry.kind)),
                    false => There::Changed(shape(entry.kind)),
                }
            }
        }
    }
}
