//! What users wrote, and what of it must still be somewhere.
//!
//! A *version* is a content that a user wrote; each is like no other. A *claim* says that a user
//! wants a version under a path. It ends when a user who sees the version overwrites or deletes it.
//! As long as a version is claimed, it must stand somewhere: on a side, or in a recycle area.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::disk::{Body, Disk, Node};

/// Stands for a content.
pub type Key = u64;
/// Path below a root, and what stands there.
pub type Tree = BTreeMap<String, Node>;

/// The content of a file or link.
pub fn key_of(body: &Body) -> Option<Key> {
    let mut hasher = DefaultHasher::new();
    match body {
        Body::Folder => return None,
        Body::File(data) => data.hash(&mut hasher),
        Body::Link(text) => text.hash(&mut hasher),
    }
    Some(hasher.finish())
}

/// Everything below a folder.
pub fn tree(disk: &Disk, root: Node) -> Tree {
    let mut tree = Tree::new();
    let mut waiting = vec![(String::new(), root)];
    while let Some((path, folder)) = waiting.pop() {
        for (name, node) in disk.names.get(&folder).into_iter().flatten() {
            let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            if disk.is_folder(*node) {
                waiting.push((path.clone(), *node));
            }
            tree.insert(path, *node);
        }
    }
    tree
}

#[derive(Clone, Debug)]
pub struct Version {
    pub number: u32,
    /// Nobody wrote this: a power cut left it.
    pub torn: bool,
}

#[derive(Clone, Debug)]
pub struct Claim {
    /// Nothing but a user may make its path go away.
    pub pinned: bool,
    /// The disk that it was written to and not synced: a power cut there may take it.
    pub risk: Option<usize>,
    /// The disk where it was moved here, and what was claimed before: a power cut may undo that.
    pub moved: Option<Moved>,
    /// The paths that it was moved from.
    pub trail: Vec<String>,
    pub story: String,
}

#[derive(Clone, Debug)]
pub struct Moved {
    pub disk: usize,
    pub before: Option<(String, Box<Claim>)>,
}

#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub known: BTreeMap<Key, Version>,
    pub claims: BTreeMap<(Key, String), Claim>,
    /// Where users overwrote, deleted or moved away a version, and on which disk.
    pub let_gone: BTreeSet<(Key, String, usize)>,
    /// Path, size and time of what users let go, and on which disk.
    pub let_gone_stamps: BTreeSet<(String, u64, i64, usize)>,
    /// Folders that users moved away, and on which disk.
    pub moved_folders: BTreeSet<(String, usize)>,
    /// What the engine replaced by another version: it lost a conflict, and is kept.
    pub replaced: BTreeSet<Key>,
    /// A disk of this world ignores case; then claims do too.
    pub ignores_case: bool,
    next: u32,
}

impl Claim {
    pub fn new(risk: Option<usize>, story: String) -> Self {
        Self { pinned: true, risk, moved: None, trail: Vec::new(), story }
    }
}

impl Ledger {
    /// How a path stands in claims.
    pub fn folded(&self, path: &str) -> String {
        if self.ignores_case { path.to_lowercase() } else { path.to_owned() }
    }

    pub fn next_number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    pub fn learn(&mut self, key: Key, number: u32, torn: bool) {
        self.known.entry(key).or_insert(Version { number, torn });
    }

    pub fn name(&self, key: Key) -> String {
        match self.known.get(&key) {
            Some(version) if version.torn => format!("t{}", version.number),
            Some(version) => format!("v{}", version.number),
            None => format!("unknown {key:x}"),
        }
    }

    /// A user on a disk wants a version under a path. One that is back where somebody else let it
    /// go looks untouched, and goes.
    pub fn claim(&mut self, disk: usize, key: Key, path: &str, claim: Claim) {
        let path = self.folded(path);
        let elsewhere = |gone: &(Key, String, usize)| gone.2 != disk;
        let is_known = self.known.get(&key).is_some_and(|version| !version.torn);
        let gone = (key, path.clone(), 0)..=(key, path.clone(), usize::MAX);
        let was_let_go =
            self.let_gone.range(gone).any(elsewhere) || self.was_let_go_in_moved(disk, key, &path);
        if is_known && !was_let_go {
            self.claims.insert((key, path), claim);
        }
    }

    /// Whether a user let a version go under a path, on any disk.
    pub fn was_let_go(&self, key: Key, path: &str) -> bool {
        let path = self.folded(path);
        self.let_gone.range((key, path.clone(), 0)..=(key, path, usize::MAX)).next().is_some()
    }

    /// Whether a user of one disk let a version go under a path.
    pub fn was_let_go_on(&self, disk: usize, key: Key, path: &str) -> bool {
        self.let_gone.contains(&(key, self.folded(path), disk))
    }

    /// Whether a user elsewhere let a version go under this name, in a folder that a user of this
    /// disk moved since: both are one folder to the engine, and the version looks untouched.
    pub fn was_let_go_in_moved(&self, disk: usize, key: Key, path: &str) -> bool {
        let path = self.folded(path);
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        self.let_gone.range((key, String::new(), 0)..).take_while(|gone| gone.0 == key).any(
            |(_, other, by)| {
                *by != disk && name(other) == name(&path) && {
                    let is_above = |folder: &str| {
                        other.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
                    };
                    self.moved_folders.iter().any(|(folder, by)| *by == disk && is_above(folder))
                }
            },
        )
    }

    /// Whether a user of another disk moved away a folder above a path.
    pub fn was_moved_with_folder(&self, disk: usize, path: &str) -> bool {
        let path = self.folded(path);
        let is_above =
            |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        self.moved_folders.iter().any(|(folder, by)| *by != disk && is_above(folder))
    }

    pub fn claim_of(&self, key: Key, path: &str) -> Option<&Claim> {
        self.claims.get(&(key, self.folded(path)))
    }

    /// A user who sees a version under a path overwrites or deletes it. A version that was claimed
    /// under another path, and is not seen there, came from there.
    pub fn let_go(&mut self, disk: usize, key: Key, path: &str, sees: impl Fn(&str) -> bool) {
        let path = self.folded(path);
        self.let_gone.insert((key, path.clone(), disk));
        if self.claims.remove(&(key, path.clone())).is_none() {
            self.claims.retain(|(claimed, claimed_at), claim| {
                *claimed != key || (sees(claimed_at) && !claim.trail.contains(&path))
            });
        }
    }

    pub fn unpin(&mut self, key: Key, path: &str) {
        let path = self.folded(path);
        if let Some(claim) = self.claims.get_mut(&(key, path)) {
            claim.pinned = false;
        }
    }

    /// A version is not where it was because something broke; the engine may follow.
    pub fn unpin_all(&mut self, key: Key) {
        for (_, claim) in self.claims.iter_mut().filter(|((claimed, _), _)| *claimed == key) {
            claim.pinned = false;
        }
    }

    /// A power cut on a disk undid moves: what was claimed before is claimed again.
    pub fn undo_moves(&mut self, disk: usize, stands: impl Fn(Key, &str) -> bool) {
        let is_undone = |place: &(Key, String), claim: &Claim| {
            claim.moved.as_ref().is_some_and(|m| m.disk == disk) && !stands(place.0, &place.1)
        };
        while let Some((place, claim)) = self
            .claims
            .iter()
            .find(|(place, claim)| is_undone(place, claim))
            .map(|(place, claim)| (place.clone(), claim.clone()))
        {
            self.claims.remove(&place);
            if let Some((path, before)) = claim.moved.and_then(|moved| moved.before) {
                self.claims.insert((place.0, path), *before);
            }
        }
    }

    /// All that was written to a disk is durable now.
    pub fn secured(&mut self, disk: usize) {
        for claim in self.claims.values_mut() {
            claim.risk = claim.risk.filter(|risk| *risk != disk);
            claim.moved = claim.moved.take().filter(|moved| moved.disk != disk);
        }
    }

    /// Claims whose version is nowhere.
    pub fn lost(&self, present: &BTreeSet<Key>) -> Vec<(Key, String)> {
        let lost = self.claims.keys().filter(|(key, _)| !present.contains(key));
        lost.cloned().collect()
    }
}
