//! Removes what the other side removed: to the recycle area where it is here, and never anything
//! but the very version that was seen.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use crate::apply::{Applier, BATCH_ITEMS, did};
use crate::commit::{check, keep, sync_folders, sync_kept};
use crate::engine::SyncError;
use crate::fs::{Folder, Tree};
use crate::item::{Entry, Kind};
use crate::journal::Record;
use crate::look::{Stop, io, read};
use crate::path::{lies_at, parent};
use crate::plan::Hold;
use crate::reconcile::Action;
use crate::report::Verdict;
use crate::skip::Skip;
use crate::stage::Leave;
use crate::walk::{Both, Delta, Found};

/// One entry that is to go.
pub(crate) struct Removal<'p> {
    path: &'p str,
    here: bool,
    entry: &'p Entry,
    leave: Leave,
    /// Its name for the moment before it goes.
    temp: String,
    /// It goes because the other side does not have it.
    follows: bool,
}

impl Removal<'_> {
    /// Removes it, if it still is what was seen; gives where it is kept. What is left of a failed
    /// attempt are empty folders in the recycle area, as with [`keep`].
    fn carry_out(
        &self,
        run: (&Both<'_, '_>, &Tree<'_>),
        found: &Found,
    ) -> Result<Option<String>, Stop> {
        let (Self { path, here, entry, leave, temp, .. }, (sides, area)) = (self, run);
        let tree = sides.of(*here);
        // Listings have been cut short, and much may have happened since they were read.
        if self.follows && !sides.of(!*here).is_gone(path).map_err(io("look at"))? {
            return Err(Stop::Left(Skip::BackAgain));
        }
        check(tree, path, Some(entry))?;
        if entry.kind == Kind::Dir {
            let holds = |(side, keeper): &(bool, String)| side == here && lies_at(keeper, path);
            if found.keepers.iter().any(holds) {
                return Err(Stop::Left(Skip::HoldsOther));
            }
            return tree.remove_folder(path).map(|()| None).map_err(|error| match error.kind() {
                std::io::ErrorKind::DirectoryNotEmpty => Stop::Left(Skip::NotEmpty),
                _ => Stop::Io("remove", error),
            });
        }
        if let Some(place) = leave.keep.as_ref().filter(|_| *here && !entry.shared) {
            let room = area.make_folders(parent(place), 0o700);
            room.map_err(io("make room in the recycle area for"))?;
            match tree.set_aside(path, area, place, entry) {
                Ok(true) => return Ok(Some(place.clone())),
                Ok(false) => return Err(Stop::Left(Skip::Changed)),
                Err(error) if error.kind() == std::io::ErrorKind::CrossesDevices => {}
                Err(error) => return Err(Stop::Io("remove", error)),
            }
        }
        if let Some(proof) = leave.proof
            && read(tree, path, entry.stamp)?.hash != proof
        {
            return Err(Stop::Left(Skip::Hidden));
        }
        keep(tree, path, entry, leave, area)?;
        sync_kept(area, leave.keep.iter().map(String::as_str))
            .map_err(io("keep the old version of"))?;
        let proves = |folder: &dyn Folder, name: &str| leave.proves(entry.stamp.size, folder, name);
        match tree.take(path, temp, entry, &proves) {
            Ok(true) => Ok(leave.keep.clone()),
            Ok(false) => Err(leave.changed()),
            Err(error) => Err(Stop::Io("remove", error)),
        }
    }
}

impl Applier<'_, '_, '_> {
    pub(crate) fn delete_all<'p>(
        &mut self,
        deltas: impl Iterator<Item = &'p Delta>,
        hold: Hold,
    ) -> Result<(), SyncError> {
        self.run.sides.local.forget_folders();
        self.run.sides.remote.forget_folders();
        let mut batch = Vec::new();
        for delta in deltas {
            if self.run.is_cancelled() {
                break;
            }
            if !self.may_go(delta, hold) {
                continue;
            }
            match self.removal(delta) {
                Ok(removal) => {
                    self.run.begin(&delta.path, did(delta.action));
                    batch.push((delta, removal));
                }
                Err(stop) => {
                    self.run.note(&delta.path, did(delta.action), stop.verdict(&delta.path));
                }
            }
            if batch.len() >= BATCH_ITEMS {
                self.delete(std::mem::take(&mut batch))?;
            }
        }
        self.delete(batch)
    }

    /// How an entry is to go that the other side removed.
    fn removal<'p>(&mut self, delta: &'p Delta) -> Result<Removal<'p>, Stop> {
        let here = delta.action == Action::DeleteHere;
        let entry = if here { &delta.here } else { &delta.there };
        let Some(entry) = entry else { return Err(Stop::Left(Skip::WentAway)) };
        // What goes here is kept, and stands on the share; what goes there is gone.
        let waits = |copy: &String| !here && !self.tied.contains(copy);
        if self.found.ties.get(&delta.path).is_some_and(waits) {
            return Err(Stop::Left(Skip::Moved));
        }
        if self.twins.contains(&delta.path.to_lowercase()) {
            return Err(Stop::Left(Skip::TwinWaits));
        }
        if here && self.is_open(entry) {
            return Err(Stop::Open);
        }
        let leave = self.leave(delta, entry, here, false);
        Ok(Removal { path: &delta.path, here, entry, leave, temp: self.temp(), follows: true })
    }

    /// Removes a batch: files first, at the same time, for folders are empty only then.
    fn delete(&mut self, batch: Vec<(&Delta, Removal<'_>)>) -> Result<(), SyncError> {
        let is_folder = |(_, removal): &(_, Removal<'_>)| removal.entry.kind == Kind::Dir;
        let (folders, files): (Vec<_>, Vec<_>) = batch.into_iter().partition(is_folder);
        let (sides, area, found) = (self.run.sides, self.run.area, self.found);
        self.in_use = None;
        let open: Vec<bool> =
            files.iter().map(|(_, it)| it.here && self.is_open(it.entry)).collect();
        let cancel = &self.run.control.cancel;
        let remove = |(_, removal): &(&Delta, Removal<'_>), open: bool| {
            let go_on = !cancel.load(Ordering::Relaxed);
            go_on.then(|| match open {
                true => Err(Stop::Open),
                false => removal.carry_out((&sides, area), found),
            })
        };
        let mut results = sides.local.crew().map_with(&files, open, remove);
        results.extend(folders.iter().map(|folder| remove(folder, false)));
        let mut done = Vec::new();
        for ((delta, removal), result) in files.into_iter().chain(folders).zip(results) {
            match result {
                Some(Ok(kept)) => done.push((delta, kept)),
                Some(Err(stop)) => {
                    self.not_removed(&removal);
                    self.doubt(delta, &stop);
                    self.run.note(&delta.path, did(delta.action), stop.verdict(&delta.path));
                }
                None => {}
            }
        }
        self.deleted(done)
    }

    fn not_removed(&self, removal: &Removal<'_>) {
        if let Some(place) = &removal.leave.keep {
            self.run.area.clear_away(place);
        }
    }

    /// Makes deletes durable and records them.
    fn deleted(&mut self, done: Vec<(&Delta, Option<String>)>) -> Result<(), SyncError> {
        if done.is_empty() {
            return Ok(());
        }
        let sides = self.run.sides;
        let kept = sync_kept(self.run.area, done.iter().filter_map(|(_, kept)| kept.as_deref()));
        let mut results = vec![kept];
        for here in [true, false] {
            let action = if here { Action::DeleteHere } else { Action::DeleteThere };
            let ours = done.iter().filter(|(delta, _)| delta.action == action);
            let folders: BTreeSet<&str> = ours.map(|(delta, _)| parent(&delta.path)).collect();
            if !folders.is_empty() {
                results.push(sync_folders(sides.of(here), &folders));
            }
        }
        // What is not known to be durable is not recorded; the next run finds nothing left to do.
        let failed = results.into_iter().find_map(Result::err);
        if failed.is_none() {
            let gone = done.iter().map(|(delta, _)| Record::Forget(delta.path.clone()));
            self.records.extend(gone);
        }
        self.flush()?;
        for (delta, _) in done {
            let verdict = match &failed {
                None => Verdict::Done,
                Some(error) => crate::scan::failure("make durable", &delta.path, error),
            };
            self.run.note(&delta.path, did(delta.action), verdict);
        }
        Ok(())
    }

    /// Removes one entry, if it still is what was seen.
    pub(crate) fn remove(
        &mut self,
        path: &str,
        here: bool,
        entry: &Entry,
        leave: Leave,
    ) -> Result<(), Stop> {
        let (temp, follows) = (self.temp(), false);
        let removal = Removal { path, here, entry, leave, temp, follows };
        let result = removal.carry_out((&self.run.sides, self.run.area), self.found);
        result.map(drop).inspect_err(|_| self.not_removed(&removal))
    }

    /// Removes a folder, which is empty by now, and brings the file that came in its place.
    pub(crate) fn replace_folder(&mut self, delta: &Delta) -> Result<(), SyncError> {
        let here = delta.action == Action::CopyIn;
        let folder = if here { &delta.here } else { &delta.there };
        let Some(folder) = folder else { return Ok(()) };
        if let Err(stop) = self.remove(&delta.path, here, folder, Leave::default()) {
            self.run.note(&delta.path, did(delta.action), stop.verdict(&delta.path));
            return Ok(());
        }
        let mut freed = delta.clone();
        *(if here { &mut freed.here } else { &mut freed.there }) = None;
        let mut jobs = Vec::new();
        self.job(&freed, !here, false, &mut jobs)?;
        self.batch(jobs)
    }
}
