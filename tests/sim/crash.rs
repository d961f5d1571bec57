//! What is durable on a disk, and what is left of it after a power cut.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::chance::Chance;
use crate::disk::{Body, Change, Disk, Inode, Names, Node, TOP};

/// Data is written, or not, by the page.
const PAGE_BYTES: usize = 4_096;

impl Disk {
    fn settle(&mut self, node: Node) {
        let inode = self.nodes.get_mut(&node).unwrap();
        inode.behind = None;
        inode.kept = inode.attributes;
        inode.kept_flags = (inode.deceives, inode.unseen);
        inode.users = false;
    }

    /// Makes everything durable.
    pub fn flush(&mut self) {
        self.log.clear();
        self.durable = self.names.clone();
        let nodes: Vec<Node> = self.nodes.keys().copied().collect();
        nodes.into_iter().for_each(|node| self.settle(node));
        // Somebody may still have an open folder that is gone.
        self.nodes
            .retain(|_, inode| inode.names > 0 || inode.opened > 0 || inode.body == Body::Folder);
    }

    /// Makes a file's data and attributes durable, and the name that it was made under.
    pub fn sync_file(&mut self, node: Node) {
        self.settle(node);
        let made =
            |change: &Change| matches!(change, Change::Add { node: made, .. } if *made == node);
        self.commit(self.log.iter().position(made).into_iter().collect());
    }

    /// Makes the names in a folder durable.
    pub fn sync_folder(&mut self, folder: Node) {
        self.settle(folder);
        let touches =
            |change: &Change| change.slots().iter().flatten().any(|slot| slot.0 == folder);
        let places = self.log.iter().enumerate().filter(|(_, change)| touches(change));
        self.commit(places.map(|(place, _)| place).collect());
    }

    /// Makes some changes durable, with those that they rest on. A file system with a journal
    /// commits everything up to the last of them.
    fn commit(&mut self, mut wanted: BTreeSet<usize>) {
        let Some(last) = wanted.last().copied() else { return };
        if self.knobs.ordered {
            wanted = (0..=last).collect();
        } else {
            let mut slots = BTreeSet::new();
            let mut folders = BTreeSet::new();
            for place in (0..=last).rev() {
                let change = &self.log[place];
                let mut own = change.slots().into_iter().flatten();
                let attaches = match change {
                    Change::Add { node, .. } | Change::Move { node, .. } => folders.contains(node),
                    _ => false,
                };
                if attaches || wanted.contains(&place) || own.any(|slot| slots.contains(slot)) {
                    wanted.insert(place);
                    for slot in change.slots().into_iter().flatten() {
                        slots.insert(slot.clone());
                        folders.insert(slot.0);
                    }
                }
            }
        }
        let log = std::mem::take(&mut self.log);
        for (place, change) in log.into_iter().enumerate() {
            if !wanted.contains(&place) {
                self.log.push(change);
            } else if !apply(&mut self.durable, &change) {
                panic!("the model of the disk is wrong: {change:?} rests on nothing");
            }
        }
    }

    /// Falls back to what is left after a power cut.
    pub fn lose_power(&mut self, chance: &mut Chance) {
        let mut names = self.durable.clone();
        let log = std::mem::take(&mut self.log);
        let prefix = chance.index(log.len() + 1);
        let percent = *chance.pick(&[10, 50, 90]);
        for (place, change) in log.iter().enumerate() {
            let is_there =
                if self.knobs.ordered { place < prefix } else { chance.percent(percent) };
            if is_there && is_possible(&names, change) {
                apply(&mut names, change);
            }
        }
        self.names = names;
        let mut counts = BTreeMap::from([(TOP, 1)]);
        self.count_names(TOP, &mut counts);
        self.nodes.retain(|node, _| counts.contains_key(node));
        self.names.retain(|node, _| counts.contains_key(node));
        self.free_numbers.clear();
        let mut numbers = BTreeSet::new();
        let tells = self.knobs.stamps_tell;
        for (node, inode) in &mut self.nodes {
            if inode.body == Body::Folder {
                self.names.entry(*node).or_default();
            }
            (inode.names, inode.opened) = (counts[node], 0);
            if !numbers.insert(inode.number) {
                inode.number = self.next_number;
                self.next_number += 1;
            }
            let (mut is_new, mut is_other) = (false, false);
            let stamp = inode.attributes;
            if let (Some(behind), Body::File(data)) = (&inode.behind, &mut inode.body) {
                let left = torn(data, behind, chance);
                is_other = left != **data && left.len() == data.len();
                *data = Arc::new(left);
                is_new = data != behind;
            }
            // New bytes under an old stamp are possible, but nobody could ever tell.
            if !is_new && chance.one_in(2) {
                inode.attributes = inode.kept;
                // All is as it was before the last writes: bytes that deceived do so again.
                (inode.deceives, inode.unseen) = inode.kept_flags;
            }
            let now = inode.attributes;
            let shows = now.mtime != stamp.mtime || (tells && now.ctime != stamp.ctime);
            inode.deceives |= is_other && !shows;
        }
        self.flush();
    }

    /// Marks what is back under a stamp that another content had at last (a power cut had torn it):
    /// nobody could ever tell.
    pub fn deceive_after(&mut self, last: &Self) {
        for (node, inode) in &mut self.nodes {
            let same = |last: &&Inode| last.attributes == inode.attributes;
            let last = last.nodes.get(node).filter(same);
            inode.deceives |= last.is_some_and(|last| last.body != inode.body);
        }
    }

    fn count_names(&self, folder: Node, counts: &mut BTreeMap<Node, u32>) {
        for node in self.names.get(&folder).into_iter().flatten().map(|(_, node)| *node) {
            *counts.entry(node).or_insert(0) += 1;
            self.count_names(node, counts);
        }
    }
}

/// What may stand in a file whose data was not synced.
fn torn(data: &[u8], behind: &[u8], chance: &mut Chance) -> Vec<u8> {
    match chance.below(5) {
        0 => data.to_vec(),
        1 => data[..chance.index(data.len() + 1)].to_vec(),
        2 => vec![0; data.len()],
        3 => behind.to_vec(),
        _ => {
            let mut mixed = vec![0; data.len()];
            for start in (0..data.len()).step_by(PAGE_BYTES) {
                let end = data.len().min(start + PAGE_BYTES);
                let from = match chance.below(3) {
                    0 => data,
                    1 => behind,
                    _ => &[],
                };
                let end = end.min(from.len());
                if start < end {
                    mixed[start..end].copy_from_slice(&from[start..end]);
                }
            }
            mixed
        }
    }
}

fn at(names: &Names, slot: &(Node, String)) -> Option<Node> {
    names.get(&slot.0).and_then(|folder| folder.get(&slot.1)).copied()
}

/// Whether a change can have reached the disk when these names have: what it rests on is there.
fn is_possible(names: &Names, change: &Change) -> bool {
    let attached = |folder| Disk::lies_in(names, folder, TOP);
    match change {
        Change::Add { at: slot, .. } => attached(slot.0) && at(names, slot).is_none(),
        Change::Drop { at: slot, node } => {
            let is_full = names.get(node).is_some_and(|below| !below.is_empty());
            at(names, slot) == Some(*node) && !is_full
        }
        Change::Move { from, to, node, over } => {
            let is_full = |over| names.get(&over).is_some_and(|below| !below.is_empty());
            at(names, from) == Some(*node)
                && at(names, to) == *over
                && attached(to.0)
                && !Disk::lies_in(names, to.0, *node)
                && !over.is_some_and(is_full)
        }
        Change::Exchange { one, other, nodes } => {
            at(names, one) == Some(nodes.0)
                && at(names, other) == Some(nodes.1)
                && attached(one.0)
                && attached(other.0)
                && !Disk::lies_in(names, other.0, nodes.0)
                && !Disk::lies_in(names, one.0, nodes.1)
        }
    }
}

/// Makes a change; gives whether it could be made.
fn apply(names: &mut Names, change: &Change) -> bool {
    match change {
        Change::Add { at: (folder, name), node } => {
            names.entry(*folder).or_default().insert(name.clone(), *node).is_none()
        }
        Change::Drop { at: (folder, name), node } => {
            names.entry(*folder).or_default().remove(name) == Some(*node)
        }
        Change::Move { from, to, node, over } => {
            let was = names.entry(from.0).or_default().remove(&from.1);
            let replaced = names.entry(to.0).or_default().insert(to.1.clone(), *node);
            was == Some(*node) && replaced == *over
        }
        Change::Exchange { one, other, nodes } => {
            let first = names.entry(one.0).or_default().insert(one.1.clone(), nodes.1);
            let second = names.entry(other.0).or_default().insert(other.1.clone(), nodes.0);
            first == Some(nodes.0) && second == Some(nodes.1)
        }
    }
}
