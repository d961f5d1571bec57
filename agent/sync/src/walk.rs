//! Walks both sides and the journal together, folder by folder, and says what differs.
//!
//! Folders of one depth are compared at the same time. What is in step leaves nothing behind, so a
//! tree of any size costs memory only for its widest depth and for what changed. A folder that is
//! new on one side waits until all others were seen: it may be one that was renamed.

use std::collections::{HashMap, HashSet};

use crate::content::Summed;
use crate::fs::{DEPTH_MAX, PATH_BYTES_MAX, Tree};
use crate::item::{Base, Content, Entry, Kind};
use crate::journal::{JournalError, ROOT, Readers, Row};
use crate::look::{Decided, Seen, decide};
use crate::names::twins;
use crate::path::{above_and, join, lies_in};
use crate::reconcile::Action;
use crate::report::{Did, FailureKind, ItemResult, Verdict};
use crate::scan::{Filter, Listing, failure, read_folder};

/// Both sides, open.
#[derive(Clone, Copy)]
pub struct Both<'a, 'g> {
    /// This computer's.
    pub local: &'a Tree<'g>,
    /// The share's.
    pub remote: &'a Tree<'g>,
}

impl<'a, 'g> Both<'a, 'g> {
    /// One of them.
    pub fn of(&self, local: bool) -> &'a Tree<'g> {
        if local { self.local } else { self.remote }
    }
}

/// Something that is to be done about one path.
#[derive(Clone, Debug)]
pub struct Delta {
    /// The path.
    pub path: String,
    /// What to do.
    pub action: Action,
    /// What stands here.
    pub here: Option<Entry>,
    /// What stands there.
    pub there: Option<Entry>,
    /// What both agreed on.
    pub base: Option<Box<Base>>,
    /// What both have, if they agree on something new.
    pub content: Option<Box<Content>>,
    /// What is to be carried, if it is a large file that was read to find out that it changed.
    pub read: Option<Box<Summed>>,
}

/// A folder to compare.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its path.
    pub path: String,
    /// Its number in the journal.
    pub folder: Option<i64>,
    /// Its number on this computer's disk, where it stands here.
    pub here: Option<u64>,
    /// Its number on the share's disk, where it stands there.
    pub there: Option<u64>,
}

/// What a walk found.
#[derive(Debug, Default)]
pub struct Found {
    /// What is to be done, in no order.
    pub deltas: Vec<Delta>,
    /// Paths about which nothing may be concluded, with everything below them.
    pub unknown: Vec<String>,
    /// Paths that could not be decided in this run.
    pub undecided: HashSet<String>,
    /// Folders that hold something the engine leaves alone: whether here, and the path.
    pub keepers: Vec<(bool, String)>,
    /// Unfinished files of an interrupted run: whether here, and the path.
    pub stale: Vec<(bool, String)>,
    /// What is to be reported.
    pub notes: Vec<ItemResult>,
    /// How many items are in step.
    pub unchanged: u64,
    /// How many items the journal knows.
    pub known: u64,
    /// Moves that could not be followed: which copy each delete waits for.
    pub ties: HashMap<String, String>,
    /// Which sides show nothing at all of what the journal knows at the root.
    pub emptied: [bool; 2],
}

/// The folders found in one folder.
#[derive(Debug, Default)]
struct Inside {
    common: Vec<Task>,
    new: Vec<Task>,
    gone: Vec<Task>,
}

/// A walk under way.
pub struct Walk<'a, 'g> {
    sides: Both<'a, 'g>,
    filter: &'a Filter,
    fill: &'a (dyn Fn(&str) -> bool + Sync),
    readers: Readers,
    ignores_case: [bool; 2],
    /// What was found so far.
    pub found: Found,
    frontier: Vec<Task>,
    new: Vec<Task>,
    gone: Vec<Task>,
}

impl<'a, 'g> Walk<'a, 'g> {
    /// Starts at the roots. `fill` says which sparse files are to be stored here again;
    /// `ignores_case`, whether this computer's side takes names that differ in case for one, and
    /// whether the share does.
    pub fn new(
        sides: Both<'a, 'g>,
        filter: &'a Filter,
        fill: &'a (dyn Fn(&str) -> bool + Sync),
        readers: Readers,
        ignores_case: [bool; 2],
    ) -> Self {
        let root = Task { path: String::new(), folder: Some(ROOT), here: Some(0), there: Some(0) };
        Self {
            sides,
            filter,
            fill,
            readers,
            ignores_case,
            found: Found::default(),
            frontier: vec![root],
            new: Vec::new(),
            gone: Vec::new(),
        }
    }

    /// Compares the roots themselves, and nothing below them.
    ///
    /// # Errors
    /// When a root cannot be listed (whether here, and why), or the journal fails.
    pub fn start(&mut self) -> Result<(), Stop> {
        let mut visit = Visit::default();
        let task = self.frontier.remove(0);
        for local in [true, false] {
            let listing = read_folder(self.sides.of(local), local, "", self.filter);
            let listing = listing.map_err(|source| Stop::Root { local, source })?;
            visit.listings[usize::from(!local)] = Some(listing);
        }
        let rows = self.readers.rows(ROOT)?;
        for (emptied, listing) in self.found.emptied.iter_mut().zip(&visit.listings) {
            *emptied = listing.as_ref().is_some_and(|listing| is_emptied(listing, &rows));
        }
        visit.rows = rows;
        self.take(self.compare(&task, visit));
        Ok(())
    }

    /// Compares everything below the roots. `follow` is given the folders that are new on one side
    /// only, in the order of paths, and gives back those to go into.
    ///
    /// # Errors
    /// When the journal fails, or `follow` does.
    pub fn finish<E: From<JournalError>>(
        &mut self,
        mut follow: impl FnMut(&mut Self, Vec<Task>) -> Result<Vec<Task>, E>,
    ) -> Result<(), E> {
        loop {
            self.advance()?;
            let mut new = std::mem::take(&mut self.new);
            if new.is_empty() {
                self.enter_gone();
                if self.frontier.is_empty() {
                    return Ok(());
                }
                continue;
            }
            new.sort_by(|a, b| a.path.cmp(&b.path));
            let rest = follow(self, new)?;
            self.enter(rest);
        }
    }

    /// Compares everything that can be compared without knowing what was renamed.
    fn advance(&mut self) -> Result<(), JournalError> {
        while !self.frontier.is_empty() {
            let tasks = std::mem::take(&mut self.frontier);
            let visits = self.sides.local.crew().map(&tasks, |task| self.visit(task));
            drop(tasks);
            for visit in visits {
                self.take(visit?);
            }
        }
        Ok(())
    }

    /// Goes into the folders that are gone on one side. One that is gone on both is forgotten with
    /// everything in it.
    fn enter_gone(&mut self) {
        let mut gone = std::mem::take(&mut self.gone);
        gone.retain(|task| task.here.is_some() || task.there.is_some());
        self.frontier.extend(gone);
    }

    /// Whether a folder is suspended, itself or by one above it.
    pub fn is_suspended(&self, path: &str) -> bool {
        above_and(path).any(|path| self.filter.suspended.contains(path))
    }

    /// Goes into these folders next.
    pub fn enter(&mut self, tasks: Vec<Task>) {
        self.frontier.extend(tasks);
    }

    /// Forgets what was to be done about these paths: they were renamed instead.
    pub fn drop_deltas(&mut self, paths: &HashSet<&str>) {
        self.readers.refresh();
        // What was found below an old place is found again below the new one.
        self.found.deltas.retain(|delta| !lies_in(paths, &delta.path));
        self.gone.retain(|task| !lies_in(paths, &task.path));
    }

    fn take(&mut self, (found, inside): (Found, Inside)) {
        let all = &mut self.found;
        all.deltas.extend(found.deltas);
        all.unknown.extend(found.unknown);
        all.undecided.extend(found.undecided);
        all.keepers.extend(found.keepers);
        all.stale.extend(found.stale);
        all.notes.extend(found.notes);
        all.unchanged += found.unchanged;
        all.known += found.known;
        self.frontier.extend(inside.common);
        self.new.extend(inside.new);
        self.gone.extend(inside.gone);
    }

    fn visit(&self, task: &Task) -> Result<(Found, Inside), JournalError> {
        let mut visit = Visit::default();
        for (side, there) in [task.here, task.there].into_iter().enumerate() {
            if there.is_none() {
                continue;
            }
            let local = side == 0;
            let listing = read_folder(self.sides.of(local), local, &task.path, self.filter);
            let too_deep =
                task.path.len() > PATH_BYTES_MAX || task.path.split('/').count() > DEPTH_MAX;
            let result = match listing {
                Ok(_) if too_deep => {
                    let message = "it lies too deep".to_owned();
                    Verdict::Failed { kind: FailureKind::Name, message }
                }
                Ok(listing) => {
                    visit.listings[side] = Some(listing);
                    continue;
                }
                Err(error) => failure("list", &task.path, &error),
            };
            let mut found = Found::default();
            let path = task.path.clone();
            found.notes.push(ItemResult { path, action: Did::Scan, result });
            found.unknown.push(task.path.clone());
            return Ok((found, Inside::default()));
        }
        if let Some(folder) = task.folder {
            visit.rows = self.readers.rows(folder)?;
        }
        Ok(self.compare(task, visit))
    }

    fn compare(&self, task: &Task, visit: Visit) -> (Found, Inside) {
        let Visit { listings: [here, there], rows } = visit;
        let (here, there) = (here.unwrap_or_default(), there.unwrap_or_default());
        let mut pass = Pass {
            walk: self,
            task,
            hidden: here.hidden.iter().chain(&there.hidden).cloned().collect(),
            found: Found::default(),
            inside: Inside::default(),
        };
        pass.found.known = rows.len() as u64;
        pass.overhead(&here, true);
        pass.overhead(&there, false);
        if self.ignores_case != [false; 2] {
            pass.hide_twins(&here, &there, &rows);
        }
        let mut here = here.entries.into_iter().peekable();
        let mut there = there.entries.into_iter().peekable();
        let mut rows = rows.into_iter().peekable();
        loop {
            let first = [
                here.peek().map(|(name, _)| name),
                there.peek().map(|(name, _)| name),
                rows.peek().map(|row| &row.name),
            ];
            let Some(name) = first.into_iter().flatten().min().cloned() else { break };
            let next = |side: &mut std::iter::Peekable<std::vec::IntoIter<_>>| {
                let found = side.next_if(|(found, _): &(Box<str>, Entry)| *found == name);
                found.map(|(_, entry)| entry)
            };
            let (a, b) = (next(&mut here), next(&mut there));
            let row = rows.next_if(|row| row.name == name);
            pass.name(&name, a, b, row);
        }
        (pass.found, pass.inside)
    }
}

/// Whether a root shows nothing at all of what the journal knows in it.
pub fn is_emptied(listing: &Listing, rows: &[Row]) -> bool {
    let is_hidden = |row: &Row| listing.hidden.contains(&row.name);
    !rows.is_empty() && listing.entries.is_empty() && !rows.iter().any(is_hidden)
}

/// What one folder was read as.
#[derive(Default)]
struct Visit {
    listings: [Option<Listing>; 2],
    rows: Vec<Row>,
}

/// Why a walk could not begin.
#[derive(Debug)]
pub enum Stop {
    /// A root cannot be listed.
    Root {
        /// Whether the one here.
        local: bool,
        /// Why.
        source: std::io::Error,
    },
    /// The journal failed.
    Journal(JournalError),
}

impl From<JournalError> for Stop {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

/// One pass over the names of one folder.
struct Pass<'p, 'a, 'g> {
    walk: &'p Walk<'a, 'g>,
    task: &'p Task,
    hidden: HashSet<Box<str>>,
    found: Found,
    inside: Inside,
}

impl Pass<'_, '_, '_> {
    /// What a listing says beside its entries.
    fn overhead(&mut self, listing: &Listing, local: bool) {
        let folder = &self.task.path;
        if listing.keeper {
            self.found.keepers.push((local, folder.clone()));
        }
        self.found.notes.extend(listing.notes.iter().cloned());
        self.found.unknown.extend(listing.hidden.iter().map(|name| join(folder, name)));
        self.found.stale.extend(listing.stale.iter().map(|name| (local, join(folder, name))));
    }

    /// Names that a side which ignores case cannot hold beside each other are left alone, with
    /// everything below them: what it does not list is no proof of absence.
    fn hide_twins(&mut self, here: &Listing, there: &Listing, rows: &[Row]) {
        let names = |listing: &Listing| -> Vec<String> {
            listing.entries.iter().map(|(name, _)| name.to_string()).collect()
        };
        let known = rows.iter().map(|row| row.name.to_string()).collect();
        let sides = [names(here), names(there)];
        for twin in twins(&sides, &known, self.walk.ignores_case) {
            let path = join(&self.task.path, &twin);
            let message = format!(
                "cannot synchronise {path}: a name that differs from it only in case stands \
                 beside it, and one side cannot hold both; rename one of them"
            );
            let result = Verdict::Failed { kind: FailureKind::Name, message };
            self.found.notes.push(ItemResult { path: path.clone(), action: Did::Scan, result });
            self.found.keepers.extend([true, false].map(|side| (side, self.task.path.clone())));
            self.found.unknown.push(path);
            self.hidden.insert(twin.into());
        }
    }

    fn name(&mut self, name: &str, here: Option<Entry>, there: Option<Entry>, row: Option<Row>) {
        if !self.hidden.is_empty() && self.hidden.contains(name) {
            return;
        }
        let seen = Seen { here, there, base: row.as_ref().map(|row| &row.base) };
        if seen.is_file_in_step() {
            self.found.unchanged += 1;
            return;
        }
        let path = join(&self.task.path, name);
        if !self.walk.filter.is_wanted(&path) {
            return;
        }
        let number = |entry: &Option<Entry>| {
            let folder = entry.as_ref().filter(|entry| entry.kind == Kind::Dir);
            folder.map(|entry| entry.stamp.inode)
        };
        let (here, there) = (number(&seen.here), number(&seen.there));
        let folder = row.as_ref().and_then(|row| row.folder);
        if here.is_some() || there.is_some() || folder.is_some() {
            let task = Task { path: path.clone(), folder, here, there };
            match (folder, here, there) {
                // Also one that is new on both sides: both may have given it the same new name.
                (None, ..) if !seen.is_known() => self.inside.new.push(task),
                (Some(_), None, _) | (Some(_), _, None) => self.inside.gone.push(task),
                _ => self.inside.common.push(task),
            }
        }
        let Seen { here, there, .. } = seen;
        self.decide(path, here, there, row.map(|row| row.base));
    }

    fn decide(
        &mut self,
        path: String,
        here: Option<Entry>,
        there: Option<Entry>,
        base: Option<Base>,
    ) {
        let sides = self.walk.sides;
        let seen = Seen { here, there, base: base.as_ref() };
        match decide(&sides, &path, &seen, self.walk.fill) {
            Ok(Decided { action: Action::Nothing, .. }) if !seen.is_worth_refreshing() => {
                self.found.unchanged += 1;
            }
            Ok(Decided { action, content, read }) => {
                let content = content.filter(|_| action == Action::Adopt).map(Box::new);
                let read = read.map(Box::new);
                let Seen { here, there, .. } = seen;
                let base = base.map(Box::new);
                self.found.deltas.push(Delta { path, action, here, there, base, content, read });
            }
            Err(stop) => {
                let result = stop.verdict(&path);
                let action = Did::Scan;
                self.found.notes.push(ItemResult { path: path.clone(), action, result });
                self.found.undecided.insert(path);
            }
        }
    }
}
