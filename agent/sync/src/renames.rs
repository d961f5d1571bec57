//! Finds what was renamed or moved, and lets the other side follow, instead of copying and deleting.
//!
//! A folder is recognised by its number on its side's disk, if nothing stands in its old place. If
//! the number was given to another folder meanwhile, following is still no harm: what is inside is
//! compared afterwards, and comes to the same in the end. A file is recognised by number, size and
//! time, and is read to be sure. Where both sides renamed one thing, the name on the share stays:
//! others see that one.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;

use crate::commit::sync_folders;
use crate::engine::SyncError;
use crate::fs::{Look, Tree};
use crate::item::{Base, Content, Entry, Kind};
use crate::journal::{Intent, Record};
use crate::look::{Stop, read};
use crate::path::{self, lies_in, parent};
use crate::reconcile::Action;
use crate::report::{Did, Verdict};
use crate::run::Run;
use crate::walk::{Delta, Task, Walk};

/// What one side is to follow.
#[derive(Clone, Debug)]
struct Rename {
    /// Where both had it.
    base: String,
    /// Where the side that follows has it.
    from: String,
    /// Where it is to be.
    to: String,
    /// Whether this computer follows; else the share.
    here: bool,
}

/// Renames that are made durable together at most.
const RENAMES_MAX: usize = 500;

/// A file that was moved: where it is among the deltas under its new name, under its old one, and
/// under the one that the other side gave it; and what is to be done.
struct Moved {
    at: usize,
    from: usize,
    twin: Option<usize>,
    rename: Rename,
}

/// Whether a path is free on a side, or taken by nothing but the entry that is to get it (on a side
/// that ignores case).
fn is_free(tree: &Tree<'_>, rename: &Rename) -> io::Result<bool> {
    Ok(tree.look(&rename.to)?.is_none() || tree.is_one(&rename.from, &rename.to)?)
}

/// Renames, if nothing is in the way.
fn go(tree: &Tree<'_>, rename: &Rename) -> io::Result<()> {
    if !is_free(tree, rename)? {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let above = parent(&rename.to);
    if !above.is_empty() && tree.look(above)?.is_none() {
        tree.make_folders(above, 0o700)?;
    }
    tree.rename(&rename.from, &rename.to)
}

/// The folders whose names a rename changes, with those that may have been made for it.
fn touched(rename: &Rename) -> impl Iterator<Item = &str> {
    let above = parent(&rename.to);
    path::above_and(above).chain(["", parent(&rename.from)])
}

fn folder_number(look: Option<Look>) -> Option<u64> {
    match look {
        Some(Look::Entry(entry)) if entry.kind == Kind::Dir => Some(entry.stamp.inode),
        _ => None,
    }
}

impl Run<'_, '_> {
    fn may_follow(&self, here: bool) -> bool {
        if here { self.options.sync_in } else { self.options.sync_out }
    }

    /// Carries out some renames; gives which were done.
    fn follow(&mut self, renames: &[Rename]) -> Result<Vec<bool>, SyncError> {
        let mut intents = Vec::new();
        for rename in renames {
            if let Some(entry) = self.sides.of(rename.here).entry(&rename.from) {
                let base = Base { here: entry.stamp, there: entry.stamp, ..Base::folder() };
                let (path, was) = (rename.to.clone(), Some(rename.base.clone()));
                let here = rename.here;
                intents.push(Record::Intent(Intent { path, here, was, base }));
            }
        }
        self.write(&mut intents)?;
        let mut done: Vec<bool> =
            renames.iter().map(|rename| go(self.sides.of(rename.here), rename).is_ok()).collect();
        for here in [true, false] {
            let ours =
                renames.iter().zip(&done).filter(|(rename, done)| **done && rename.here == here);
            let touched: BTreeSet<&str> = ours.flat_map(|(rename, _)| touched(rename)).collect();
            if !touched.is_empty() && sync_folders(self.sides.of(here), &touched).is_err() {
                // Maybe done and maybe not: the next run looks.
                let ours = renames.iter().zip(&mut done).filter(|(rename, _)| rename.here == here);
                ours.for_each(|(_, done)| *done = false);
            }
        }
        let moved = renames.iter().zip(&done).filter(|(_, done)| **done);
        let moved = moved.map(|(rename, _)| Record::Moved(rename.base.clone(), rename.to.clone()));
        let mut records: Vec<Record> = moved.chain([Record::NoIntents]).collect();
        self.write_durable(&mut records)?;
        for (rename, _) in renames.iter().zip(&done).filter(|(_, done)| **done) {
            self.note(&rename.to, Did::Rename, Verdict::Done);
        }
        Ok(done)
    }

    /// Lets folders follow. Gives the new folders that were no renames; the walk goes on in those
    /// that were.
    pub(crate) fn follow_folders(
        &mut self,
        walk: &mut Walk<'_, '_>,
        new: Vec<Task>,
    ) -> Result<Vec<Task>, SyncError> {
        let mut rest = Vec::new();
        let mut done: HashSet<String> = HashSet::new();
        let numbers = self.numbers_of_new(&new)?;
        for task in &new {
            if done.contains(&task.path) || self.is_cancelled() {
                continue;
            }
            match self.follow_folder(walk, task, &new, &numbers)? {
                Some(paths) => done.extend(paths),
                None => rest.push(task.clone()),
            }
        }
        let done = done.iter().map(String::as_str).collect();
        rest.retain(|task| !lies_in(&done, &task.path));
        Ok(rest)
    }

    /// For each new folder the numbers in the journal of folders that had its number on the disk.
    fn numbers_of_new(
        &mut self,
        new: &[Task],
    ) -> Result<HashMap<String, Vec<(String, i64)>>, SyncError> {
        let mut numbers = HashMap::new();
        for task in new {
            let inode = task.here.or(task.there).filter(|inode| *inode != 0);
            if let Some(inode) = inode {
                let known = self.journal.folders_with(task.here.is_some(), inode)?;
                if !known.is_empty() {
                    numbers.insert(task.path.clone(), known);
                }
            }
        }
        Ok(numbers)
    }

    fn follow_folder(
        &mut self,
        walk: &mut Walk<'_, '_>,
        task: &Task,
        new: &[Task],
        numbers: &HashMap<String, Vec<(String, i64)>>,
    ) -> Result<Option<Vec<String>>, SyncError> {
        let local = task.here.is_some();
        let Some(known) = numbers.get(&task.path) else { return Ok(None) };
        for known_as @ (base, folder) in known {
            if walk.is_suspended(base) {
                // It keeps its peace under its new name too.
                walk.found.unknown.push(task.path.clone());
                return Ok(Some(vec![task.path.clone()]));
            }
            let own = self.sides.of(local).look(base).map(folder_number);
            let other = self.sides.of(!local).look(base).map(folder_number);
            let (Ok(own), Ok(other)) = (own, other) else { continue };
            // If something stands in the old place, rows below it may be about that.
            let is_case = |side| self.sides.of(side).is_one(base, &task.path).unwrap_or(false);
            if own.is_some() && !is_case(local) {
                continue;
            }
            if let Some(there) = task.there.filter(|_| task.here.is_some()) {
                let is_gone = other.is_none() || is_case(false);
                if is_gone && self.takes_over_both(walk, task, known_as, there)? {
                    return Ok(Some(vec![base.clone(), task.path.clone()]));
                }
                continue;
            }
            let Some(rename) =
                Self::rename_of_folder(task, known_as, other.is_some(), new, numbers)
            else {
                continue;
            };
            if !self.may_follow(rename.here)
                || self.follow(std::slice::from_ref(&rename))? != [true]
            {
                continue;
            }
            let look = |tree: &Tree<'_>| tree.look(&rename.to).map(folder_number);
            let sides = (look(self.sides.local), look(self.sides.remote));
            let gone = [rename.base.as_str(), &rename.from, &rename.to, &task.path];
            walk.drop_deltas(&gone.into_iter().collect());
            let path = rename.to.clone();
            match sides {
                (Ok(here @ Some(_)), Ok(there @ Some(_))) => {
                    walk.enter(vec![Task { path, folder: Some(*folder), here, there }]);
                }
                // Not to be seen is no proof of absence: the next run looks again.
                _ => walk.found.unknown.push(path),
            }
            return Ok(Some(vec![rename.from, rename.to, task.path.clone()]));
        }
        Ok(None)
    }

    /// How a folder follows that a side gave a new name; `stands`: the other side has the old one.
    /// Where both renamed it, this computer takes over the name on the share.
    fn rename_of_folder(
        task: &Task,
        (base, folder): &(String, i64),
        stands: bool,
        new: &[Task],
        numbers: &HashMap<String, Vec<(String, i64)>>,
    ) -> Option<Rename> {
        let local = task.here.is_some();
        let base = base.clone();
        if stands {
            let (from, to) = (base.clone(), task.path.clone());
            return Some(Rename { base, from, to, here: !local });
        }
        let is_same = |twin: &&Task| {
            let known = numbers.get(&twin.path);
            twin.here.is_some() != local
                && known.is_some_and(|known| known.iter().any(|(_, number)| number == folder))
        };
        let twin = new.iter().find(is_same)?;
        let (from, to) = if local { (task, twin) } else { (twin, task) };
        let (from, to) = (from.path.clone(), to.path.clone());
        Some(Rename { base, from, to, here: true })
    }

    /// Both sides gave a folder the same new name, if its number there says so as well as the one
    /// here: the journal calls it that too.
    fn takes_over_both(
        &mut self,
        walk: &mut Walk<'_, '_>,
        task: &Task,
        known: &(String, i64),
        there: u64,
    ) -> Result<bool, SyncError> {
        if there == 0 || !self.journal.folders_with(false, there)?.contains(known) {
            return Ok(false);
        }
        self.write_durable(&mut vec![Record::Moved(known.0.clone(), task.path.clone())])?;
        walk.drop_deltas(&[known.0.as_str(), &task.path].into_iter().collect());
        walk.enter(vec![Task { folder: Some(known.1), ..task.clone() }]);
        Ok(true)
    }

    /// Lets files follow; what is to be done about them besides comes in place of the copy and the
    /// delete. Gives the moves that could not be followed: which copy each delete waits for.
    pub(crate) fn follow_files(
        &mut self,
        deltas: &mut Vec<Delta>,
    ) -> Result<HashMap<String, String>, SyncError> {
        let lost = lost(deltas);
        if lost.is_empty() {
            return Ok(HashMap::new());
        }
        let (moves, ties) = self.moves(deltas, &lost);
        let (mut dropped, mut waiting) = (HashSet::new(), HashMap::new());
        let mut records = Vec::new();
        for part in moves.chunks(RENAMES_MAX) {
            if self.is_cancelled() {
                break;
            }
            let renames: Vec<Rename> = part.iter().map(|it| it.rename.clone()).collect();
            let done = self.follow(&renames)?;
            for (it, done) in part.iter().zip(done) {
                if done {
                    records.extend(self.moved(it, deltas));
                    dropped.extend([it.at, it.from]);
                    dropped.extend(it.twin);
                } else {
                    let (from, to) = (&deltas[it.from].path, &deltas[it.at].path);
                    waiting.insert(from.clone(), to.clone());
                }
            }
            self.write(&mut records)?;
        }
        for (from, at) in ties {
            waiting.insert(deltas[from].path.clone(), deltas[at].path.clone());
        }
        let mut at = 0;
        deltas.retain(|_| {
            at += 1;
            !dropped.contains(&(at - 1))
        });
        Ok(waiting)
    }

    /// What was moved on one side or on both, and which lost and created files belong together
    /// although the other side cannot follow: changed on the way, or not allowed to.
    fn moves(
        &self,
        deltas: &[Delta],
        lost: &HashMap<(bool, u64), usize>,
    ) -> (Vec<Moved>, Vec<(usize, usize)>) {
        let made: HashMap<(bool, u64), usize> = deltas
            .iter()
            .enumerate()
            .filter_map(|(at, delta)| Some((created(delta)?, at)))
            .collect();
        let (mut moves, mut ties, mut used) = (Vec::new(), Vec::new(), HashSet::new());
        for at in 0..deltas.len() {
            let Some((local, inode)) = created(&deltas[at]) else { continue };
            let Some(from) = lost.get(&(local, inode)).copied() else { continue };
            if used.contains(&from) || used.contains(&at) {
                continue;
            }
            let twin = twin_of(deltas, &made, from, local);
            match self.rename_of(deltas, at, from, twin, local) {
                Some(rename) => {
                    used.extend([at, from]);
                    used.extend(twin);
                    moves.push(Moved { at, from, twin, rename });
                }
                None => ties.push((from, at)),
            }
        }
        (moves, ties)
    }

    /// `at` is what one side created, `from` what it lost, and `twin` what the other side created
    /// of the same file.
    fn rename_of(
        &self,
        deltas: &[Delta],
        at: usize,
        from: usize,
        twin: Option<usize>,
        local: bool,
    ) -> Option<Rename> {
        let (new, old) = (&deltas[at], &deltas[from]);
        let base = old.base.as_ref()?;
        let created = if local { &new.here } else { &new.there };
        let rename = match (twin, old.action) {
            (Some(twin), Action::Forget) => {
                let twin = &deltas[twin];
                let (mine, theirs) = if local { (new, twin) } else { (twin, new) };
                let (from, to) = (mine.path.clone(), theirs.path.clone());
                Rename { base: old.path.clone(), from, to, here: true }
            }
            (None, Action::DeleteHere | Action::DeleteThere) => Rename {
                base: old.path.clone(),
                from: old.path.clone(),
                to: new.path.clone(),
                here: !local,
            },
            _ => return None,
        };
        let may = self.may_follow(rename.here)
            && self.is_content(local, &new.path, created.as_ref()?, base);
        may.then_some(rename)
    }

    /// The row of a file that followed.
    fn moved(&self, it: &Moved, deltas: &[Delta]) -> Option<Record> {
        let (rename, base) = (&it.rename, deltas[it.from].base.as_ref()?);
        let look = |tree: &Tree<'_>| {
            let entry = tree.entry(&rename.to).filter(|entry| entry.kind == Kind::File);
            entry.map(|entry| entry.stamp)
        };
        // If somebody was quicker, the next run looks again.
        let (here, there) = (look(self.sides.local)?, look(self.sides.remote)?);
        let is_base = here.agrees_but_for_name(base.here) && there.agrees_but_for_name(base.there);
        let recorded_ns = if is_base { self.now_ns } else { i64::MIN };
        let base = Base { here, there, recorded_ns, ..(**base).clone() };
        Some(Record::Item(rename.to.clone(), base))
    }

    /// Whether a file has the content that both agreed on, read to be sure.
    fn is_content(&self, local: bool, path: &str, entry: &Entry, base: &Base) -> bool {
        let summed: Result<_, Stop> = read(self.sides.of(local), path, entry.stamp);
        summed.is_ok_and(|summed| base.content == Content::File(summed.hash))
    }
}

fn is_file(base: &Base) -> bool {
    matches!(base.content, Content::File(_))
}

/// The side and number of a file that only one side has, and that the journal does not know.
fn created(delta: &Delta) -> Option<(bool, u64)> {
    if delta.base.is_some() {
        return None;
    }
    match (&delta.here, &delta.there) {
        (Some(here), None) if here.kind == Kind::File => Some((true, here.stamp.inode)),
        (None, Some(there)) if there.kind == Kind::File => Some((false, there.stamp.inode)),
        _ => None,
    }
}

/// What the other side created of a file that both lost; `made` is everything that was created.
fn twin_of(
    deltas: &[Delta],
    made: &HashMap<(bool, u64), usize>,
    from: usize,
    local: bool,
) -> Option<usize> {
    let base = deltas[from].base.as_ref().filter(|_| deltas[from].action == Action::Forget)?;
    let known = if local { base.there } else { base.here };
    let at = *made.get(&(!local, known.inode))?;
    let entry = if local { &deltas[at].there } else { &deltas[at].here };
    entry.as_ref().is_some_and(|entry| entry.stamp.agrees_but_for_name(known)).then_some(at)
}

/// Files that are gone on a side, by side and by their number there.
fn lost(deltas: &[Delta]) -> HashMap<(bool, u64), usize> {
    let mut lost = HashMap::new();
    for (at, delta) in deltas.iter().enumerate() {
        let Some(base) = delta.base.as_deref().filter(|base| is_file(base)) else { continue };
        if delta.here.is_none() && base.here.inode != 0 && !base.sparse {
            lost.insert((true, base.here.inode), at);
        }
        if delta.there.is_none() && base.there.inode != 0 {
            lost.insert((false, base.there.inode), at);
        }
    }
    lost
}
