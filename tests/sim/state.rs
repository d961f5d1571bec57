//! The simulated world at one moment, and the gate that every call of the engine passes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use homeport_sync::fs::TEMP_PREFIX;

use crate::chance::Chance;
use crate::disk::{Disk, EIO, Node, TOP, error};
use crate::ledger::{Key, Ledger, Tree, key_of, tree};
use crate::user::Users;
use crate::volume::size_and_time;

/// The disk of the share.
pub const SHARE: usize = 0;
/// The engine's mark of a root.
const MARK: &str = ".homeport-root";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Local,
    Share,
    Area,
}

/// What ends a run before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The process dies; nothing is lost.
    Kill,
    /// The computer loses power.
    Power,
    /// The server of the share loses power; the engine goes on.
    Server,
}

/// One call fails.
#[derive(Clone, Copy, Debug)]
pub struct Mishap {
    pub at: u64,
    pub code: i32,
    /// It is done, and the answer is lost.
    pub late: bool,
}

/// What happens between two calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meanwhile {
    Edit,
    /// Another computer synchronises.
    Run(usize),
}

/// What the engine took away: disk, path, content.
pub type Gone = (usize, String, Key);

/// A run of the engine.
#[derive(Debug, Default)]
pub struct Run {
    pub calls: u64,
    /// Calls that changed something.
    pub changes: u64,
    pub cut: Option<(u64, Cut)>,
    pub was_cut: bool,
    pub server_down: bool,
    pub mishaps: Vec<Mishap>,
    pub offline: bool,
    /// Listings until one fails.
    pub unlistable: Option<(Side, u64)>,
    /// Listings until one ends too soon, as if that were all.
    pub short: Option<(Side, u64)>,
    pub meanwhile: Vec<(u64, Meanwhile)>,
    /// What the engine took away, and its size and time.
    pub gone: BTreeMap<Gone, (u64, i64)>,
    /// What the engine put in the place of that with the same call.
    pub replaced: BTreeMap<Gone, Key>,
    pub faults: u64,
}

#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    pub runs: u64,
    pub crashes: u64,
    pub faults: u64,
    pub edits: u64,
    pub conflicts: u64,
    pub calls: u64,
}

impl Counts {
    pub fn add(&mut self, more: Self) {
        self.runs += more.runs;
        self.crashes += more.crashes;
        self.faults += more.faults;
        self.edits += more.edits;
        self.conflicts += more.conflicts;
        self.calls += more.calls;
    }
}

#[derive(Debug)]
pub struct Core {
    pub disks: Vec<Disk>,
    pub now: i64,
    pub ledger: Ledger,
    pub users: Users,
    pub chance: Chance,
    pub runs: BTreeMap<usize, Run>,
    pub hash: u64,
    pub verbose: bool,
    pub wrong: Option<String>,
    pub counts: Counts,
    /// The root of the share is another folder for now.
    pub swapped: bool,
    /// The server lost power during a run that is not over.
    pub server_fell: bool,
}

/// Whether a call may go on.
pub enum Pass {
    /// It may; afterwards this is its answer.
    Go(Option<io::Error>),
    /// First another computer synchronises.
    After(usize),
}

impl Core {
    /// The trace: everything that happens goes into its hash.
    pub fn tell(&mut self, line: std::fmt::Arguments<'_>) {
        let line = line.to_string();
        for byte in line.bytes().chain([b'\n']) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
        if self.verbose {
            println!("{line}");
        }
    }

    pub fn wrong(&mut self, what: String) {
        self.tell(format_args!("WRONG: {what}"));
        self.wrong.get_or_insert(what);
    }

    /// Time goes on.
    pub fn pass_time(&mut self, nanoseconds: i64) {
        self.now += nanoseconds;
        let now = self.now;
        self.disks.iter_mut().for_each(|disk| disk.now = now);
    }

    pub fn root(&self, disk: usize) -> Node {
        self.disks[disk].child(TOP, "root").unwrap()
    }

    pub fn tree(&self, disk: usize) -> Tree {
        tree(&self.disks[disk], self.root(disk))
    }

    pub fn key(&self, disk: usize, node: Node) -> Option<Key> {
        key_of(&self.disks[disk].inode(node).body)
    }

    pub fn key_at(&self, disk: usize, path: &str) -> Option<Key> {
        self.key(disk, self.node_at(disk, path)?)
    }

    pub fn node_at(&self, disk: usize, path: &str) -> Option<Node> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folder = self.disks[disk].folder(self.root(disk), parent).ok()?;
        self.disks[disk].child(folder, name)
    }

    /// Asked before each call of the engine.
    pub fn enter(&mut self, seat: usize, side: Side, call: &str, name: &str) -> io::Result<Pass> {
        self.pass_time(20_000);
        let exchanges = side == Side::Area
            || self.disks[if side == Side::Share { SHARE } else { seat }].knobs.exchanges;
        let run = self.runs.get_mut(&seat).unwrap();
        // RACE: where names cannot be exchanged, the engine says that it cannot see what happens
        // between its last look and the rename.
        let blind = !exchanges && name.starts_with(TEMP_PREFIX);
        let due = |place: &(u64, Meanwhile)| place.0 <= run.calls;
        if !blind && let Some(first) = run.meanwhile.iter().position(due) {
            match run.meanwhile.remove(first).1 {
                Meanwhile::Run(other) => return Ok(Pass::After(other)),
                Meanwhile::Edit => crate::user::meanwhile(self, seat),
            }
        }
        let run = self.runs.get_mut(&seat).unwrap();
        run.calls += 1;
        self.counts.calls += 1;
        if run.cut.is_some_and(|(at, _)| run.calls >= at) && !run.was_cut {
            let cut = run.cut.unwrap().1;
            if cut == Cut::Server {
                run.cut = None;
                self.server_fell = true;
                self.runs.values_mut().for_each(|run| run.server_down = true);
            } else {
                run.was_cut = true;
            }
            self.tell(format_args!("{seat}: CUT {cut:?}"));
        }
        let run = self.runs.get_mut(&seat).unwrap();
        if run.was_cut || (side == Side::Share && (run.offline || run.server_down)) {
            return Err(error(EIO));
        }
        if call == "list"
            && let Some((at, left)) = &mut run.unlistable
            && *at == side
        {
            *left = left.wrapping_sub(1);
            if *left == 0 {
                run.faults += 1;
                self.tell(format_args!("{seat}: {side:?} list {name} FAILS"));
                return Err(error(EIO));
            }
        }
        let calls = run.calls;
        let Some(place) = run.mishaps.iter().position(|mishap| mishap.at <= calls) else {
            return Ok(Pass::Go(None));
        };
        let mishap = run.mishaps.remove(place);
        run.faults += 1;
        let failure = error(mishap.code);
        let late = mishap.late;
        self.tell(format_args!("{seat}: {side:?} {call} {name} FAILS late={late} {failure}"));
        if late { Ok(Pass::Go(Some(failure))) } else { Err(failure) }
    }

    /// Whether a listing is to end too soon.
    pub fn cuts_short(&mut self, seat: usize, side: Side) -> bool {
        let run = self.runs.get_mut(&seat).unwrap();
        let Some((at, left)) = &mut run.short else { return false };
        if *at != side {
            return false;
        }
        *left = left.wrapping_sub(1);
        let now = *left == 0;
        run.faults += u64::from(now);
        if now {
            self.tell(format_args!("{seat}: {side:?} list ENDS TOO SOON"));
        }
        now
    }

    /// Where a folder lies below the root of a disk; `None` if it lies elsewhere.
    pub fn path_of(&self, disk: usize, folder: Node) -> Option<String> {
        if folder == self.root(disk) {
            return Some(String::new());
        }
        let tree = self.tree(disk);
        tree.into_iter().find(|(_, node)| *node == folder).map(|(path, _)| path)
    }

    /// The engine takes the name of what stands there.
    pub fn note_gone(
        &mut self,
        seat: usize,
        disk: usize,
        folder: Node,
        name: &str,
    ) -> Option<Gone> {
        let node = self.disks[disk].child(folder, name)?;
        let above = self.path_of(disk, folder)?;
        if name.starts_with(TEMP_PREFIX) || name == MARK {
            return None;
        }
        let gone = (disk, join(&above, name), self.key(disk, node)?);
        let stamp = size_and_time(&self.disks[disk], node);
        let run = self.runs.get_mut(&seat).unwrap();
        run.replaced.remove(&gone);
        run.gone.insert(gone.clone(), stamp);
        Some(gone)
    }

    /// With the same call the engine has put another version where it took one away.
    pub fn note_replaced(&mut self, seat: usize, gone: Gone) {
        let Some(key) = self.key_at(gone.0, &gone.1) else { return };
        if key != gone.2 {
            self.ledger.replaced.insert(gone.2);
        }
        // Only what is let go from now on says that a user saw it there.
        if key != gone.2 && !self.ledger.was_let_go_on(gone.0, key, &gone.1) {
            self.runs.get_mut(&seat).unwrap().replaced.insert(gone, key);
        }
    }

    /// Something new has a name: below a root it must be whole.
    pub fn note_new(&mut self, disk: usize, folder: Node, name: &str) {
        if name.starts_with(TEMP_PREFIX) {
            return;
        }
        let Some(above) = self.path_of(disk, folder) else { return };
        let path = join(&above, name);
        let Some(node) = self.disks[disk].child(folder, name) else { return };
        let Some(key) = self.key(disk, node) else { return };
        if !self.ledger.known.contains_key(&key) && path != MARK {
            self.wrong(format!("half a version: {path:?} on disk {disk} holds what nobody wrote"));
        }
    }

    /// The engine writes to a file: it must not stand under its name yet.
    pub fn note_write(&mut self, disk: usize, node: Node) {
        let under = self.tree(disk).into_iter().find(|(_, other)| *other == node);
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        if let Some((path, _)) = under.filter(|(path, _)| !name(path).starts_with(TEMP_PREFIX)) {
            self.wrong(format!("half a version: {path:?} on disk {disk} is written in its place"));
        }
    }

    /// The contents of all disks; an unfinished file is not counted where only what is finished is.
    pub fn present(&self, finished: bool) -> BTreeSet<Key> {
        let mut present = BTreeSet::new();
        for disk in &self.disks {
            for (path, node) in tree(disk, TOP) {
                if !finished || !path.contains(TEMP_PREFIX) {
                    present.extend(key_of(&disk.inode(node).body));
                }
            }
        }
        present
    }

    pub fn check_claims(&mut self, when: &str) {
        let present = self.present(false);
        if let Some(lost) = self.ledger.lost(&present).into_iter().next() {
            let version = self.ledger.name(lost.0);
            let story = self.ledger.claims[&lost].story.clone();
            self.wrong(format!("lost: {version}, {story}, is nowhere {when}"));
        }
    }

    /// What the engine took away in a run must be what a user took away, or have been replaced.
    pub fn check_gone(&mut self, run: &Run) {
        for (gone @ (disk, path, key), stamp) in &run.gone {
            let claim = self.ledger.claim_of(*key, path);
            let Some(claim) = claim.filter(|claim| claim.pinned) else { continue };
            let story = claim.story.clone();
            let stands = |disk| self.node_at(disk, path).is_some();
            let others = (0..self.disks.len()).filter(|other| other != disk);
            let moved = self.tree(*disk).values().any(|node| self.key(*disk, *node) == Some(*key));
            let has_gone_way = |other: usize| {
                path.match_indices('/').any(|(at, _)| {
                    let above = self.node_at(other, &path[..at]);
                    above.is_some_and(|above| !self.disks[other].is_folder(above))
                })
            };
            let replaced = others.into_iter().any(|other| stands(other) || has_gone_way(other));
            let was_let_go = self.ledger.was_let_go(*key, path);
            // What came in its place stood there until a user, who saw that one, moved it away or
            // deleted it before the run was over: the path is empty by the user's will.
            let has_left = run.replaced.get(gone);
            let has_left = has_left.is_some_and(|new| self.ledger.was_let_go_on(*disk, *new, path));
            // Elsewhere a user moved the folder above it, without having seen what is new in it: on
            // the share it has gone along. Where a conflict is in the way of the folder's new place
            // it cannot be brought there, and leaves the old one all the same. Or it lost a conflict
            // there, and is kept.
            let went_along = self.ledger.was_moved_with_folder(*disk, path)
                && (self.ledger.replaced.contains(key)
                    || self.tree(SHARE).values().any(|node| self.key(SHARE, *node) == Some(*key)));
            let is_excused = moved
                || replaced
                || was_let_go
                || self.ledger.was_let_go_in_moved(*disk, *key, path)
                || went_along
                || self.was_taken_for(*disk, path, *stamp);
            if stands(*disk) || (has_left && !is_excused) {
                // It lost a conflict, or was replaced by one that comes after it.
                self.ledger.unpin(*key, path);
            } else if !is_excused {
                let version = self.ledger.name(*key);
                self.wrong(format!("deleted {path:?} ({version}, {story}) on disk {disk}"));
            }
        }
    }

    /// Where stamps prove nothing, two files of one size and time may have been swapped unseen: one
    /// goes (and is kept) when a user elsewhere lets the other go, that both sides were taken to have.
    fn was_taken_for(&self, disk: usize, path: &str, (size, time): (u64, i64)) -> bool {
        let path = self.ledger.folded(path);
        let grain = |disk: usize| self.disks[disk].knobs.grain_ns;
        let is_other = |(gone, gone_size, gone_time, from): &(String, u64, i64, usize)| {
            let least = grain(disk).max(grain(*from)).unsigned_abs();
            *gone == path
                && *from != disk
                && *gone_size == size
                && gone_time.abs_diff(time) <= least
        };
        !self.disks[disk].knobs.stamps_tell && self.ledger.let_gone_stamps.iter().any(is_other)
    }

    /// What a user had written to a disk and not synced, and what the engine had not carried away,
    /// may be gone with a power cut.
    fn forgive(&mut self, disk: usize) {
        let present = self.present(true);
        let places: Vec<(Key, String)> = self.ledger.claims.keys().cloned().collect();
        for (key, path) in places {
            let at_risk = self.ledger.claims[&(key, path.clone())].risk == Some(disk);
            let stands = (0..self.disks.len()).any(|disk| self.key_at(disk, &path) == Some(key));
            if at_risk && (!stands || !present.contains(&key)) {
                let version = self.ledger.name(key);
                self.tell(format_args!("the power cut took {version} in {path:?}"));
                self.ledger.claims.remove(&(key, path));
            }
        }
    }

    /// A disk loses power. What users had not synced may be gone; nothing else.
    pub fn lose_power(&mut self, disk: usize) {
        self.counts.crashes += 1;
        let before = self.tree(disk);
        let keys: BTreeMap<String, Key> = before
            .iter()
            .filter_map(|(path, node)| Some((path.clone(), self.key(disk, *node)?)))
            .collect();
        let users: BTreeSet<Node> =
            self.disks[disk].nodes.iter().filter(|(_, i)| i.users).map(|(node, _)| *node).collect();
        self.disks[disk].lose_power(&mut self.chance);
        self.tell(format_args!("disk {disk} lost power"));
        for (path, node) in self.tree(disk) {
            let Some(key) = self.key(disk, node) else { continue };
            let name = path.rsplit('/').next().unwrap_or_default();
            if name.starts_with(TEMP_PREFIX) || self.ledger.known.contains_key(&key) {
                continue;
            }
            if users.contains(&node) {
                let number = self.ledger.next_number();
                self.ledger.learn(key, number, true);
            } else if path != MARK {
                self.wrong(format!(
                    "torn: after a power cut {path:?} on disk {disk} is no version"
                ));
            }
        }
        let mut ledger = std::mem::take(&mut self.ledger);
        ledger.undo_moves(disk, |key, path| self.key_at(disk, path) == Some(key));
        self.ledger = ledger;
        self.forgive(disk);
        for (path, key) in keys {
            let left = self.key_at(disk, &path);
            if left != Some(key) {
                let left = left.map_or("nothing".to_owned(), |left| self.ledger.name(left));
                let was = self.ledger.name(key);
                self.tell(format_args!("the power cut left {left} of {was} in {path:?}"));
                if disk == SHARE {
                    self.ledger.unpin_all(key);
                }
            }
        }
        self.ledger.secured(disk);
        self.check_claims("after a power cut");
    }
}

pub fn join(above: &str, name: &str) -> String {
    if above.is_empty() { name.to_owned() } else { format!("{above}/{name}") }
}
