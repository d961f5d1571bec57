//! Carries out what was decided, item by item, and records each thing after it is durable.

use std::collections::HashSet;
use std::path::PathBuf;

use crate::compare::{Compared, is_racy, replaces_folder};
use crate::copy::{Carry, Leave, Stop, Throttle, beside, remove};
use crate::engine::{Planned, Resolver, SyncError, is_full};
use crate::fs::{Gate, Op, Root};
use crate::item::{Base, Content, Entry, Kind, Stamp};
use crate::journal::{Journal, JournalError, Record};
use crate::reconcile::{Action, Clash};
use crate::recycle::shortened;
use crate::report::{
    Conflict, ConflictKind, Did, Flow, ItemResult, Meta, Options, Report, Resolve, Verdict,
};

/// Below this many known items a percentage says nothing.
const BRAKE_ITEMS_MIN: usize = 20;
/// Longest name that file systems take.
const NAME_BYTES_MAX: usize = 255;
/// How much of this computer's name stands in the names of conflict copies.
const HOST_BYTES_MAX: usize = 64;

/// Works off a plan.
pub struct Applier<'a, 'g> {
    /// How conflicts are settled.
    pub resolve: Resolver,
    /// A person settles a conflict, and wants to know what becomes of it.
    pub settling: bool,
    /// The new paths of versions that were kept beside another; a second run carries them over.
    pub kept_both: Vec<String>,
    sides: &'a Compared<'a, 'g>,
    journal: &'a mut Journal,
    options: &'a Options,
    now_ns: i64,
    gate: &'a dyn Gate,
    temp_id: &'a str,
    progress: &'a mut dyn FnMut(&ItemResult) -> Flow,
    report: Report,
    records: Vec<Record>,
    throttle: Throttle,
    open_conflicts: HashSet<String>,
    seen_conflicts: HashSet<String>,
    clashing_folders: Vec<String>,
    count: u64,
}

impl<'a, 'g> Applier<'a, 'g> {
    /// Gets ready.
    #[expect(clippy::too_many_arguments, reason = "one call; each is another part of the world")]
    pub fn new(
        sides: &'a Compared<'a, 'g>,
        journal: &'a mut Journal,
        options: &'a Options,
        now_ns: i64,
        gate: &'a dyn Gate,
        temp_id: &'a str,
        progress: &'a mut dyn FnMut(&ItemResult) -> Flow,
        report: Report,
    ) -> Self {
        Self {
            resolve: Box::new(|_| Resolve::Ask),
            settling: false,
            kept_both: Vec::new(),
            throttle: Throttle::new(options.bandwidth),
            sides,
            journal,
            options,
            now_ns,
            gate,
            temp_id,
            progress,
            report,
            records: Vec::new(),
            open_conflicts: HashSet::new(),
            seen_conflicts: HashSet::new(),
            clashing_folders: Vec::new(),
            count: 0,
        }
    }

    /// Works off the plan: what is new first, from the top down; then deletes, from the bottom up;
    /// then files that come where folders were.
    ///
    /// # Errors
    /// Only when the journal fails; the rest is in the report.
    pub fn run(&mut self, plan: Vec<Planned>) -> Result<(), SyncError> {
        self.open_conflicts = self.journal.conflicts()?.into_iter().map(|c| c.path).collect();
        let undecided = self.open_conflicts.iter().filter(|path| self.is_undecided(path, &plan));
        self.seen_conflicts = undecided.cloned().collect();
        let hold = self.brake(&plan);
        let mut late = Vec::new();
        for planned in &plan {
            if self.report.cancelled {
                break;
            }
            if replaces_folder(self.sides, planned) {
                late.push(planned);
            } else if !is_delete(planned.action) {
                self.item(planned)?;
            }
        }
        let deletes = plan.iter().rev().filter(|planned| is_delete(planned.action));
        for planned in deletes.chain(late) {
            if self.report.cancelled {
                break;
            }
            if hold && is_delete(planned.action) && self.is_allowed(planned.action) {
                self.note(&planned.path, did(planned.action), Verdict::Held);
            } else {
                self.item(planned)?;
            }
        }
        self.flush()
    }

    /// Closes conflicts that are none any more, and hands out the report.
    ///
    /// # Errors
    /// When the journal fails.
    pub fn finish(mut self, whole: bool) -> Result<Report, SyncError> {
        if whole && !self.report.cancelled {
            let gone: Vec<String> =
                self.open_conflicts.difference(&self.seen_conflicts).cloned().collect();
            for path in gone {
                if !self.sides.here.is_unknown(&path) && !self.sides.there.is_unknown(&path) {
                    self.records.push(Record::Settled(path));
                }
            }
            self.flush()?;
            if self.options.sync_in && self.options.sync_out {
                let seconds = (self.now_ns / 1_000_000_000).to_string();
                self.journal.set_meta("last-sync", &seconds)?;
            }
        }
        self.report.counts.conflicts_open = self.journal.conflicts()?.len() as u64;
        Ok(self.report)
    }

    /// Whether a path that is known somewhere is missing from the plan: it could not be read, and
    /// may be the conflict that it was.
    fn is_undecided(&self, path: &str, plan: &[Planned]) -> bool {
        let Compared { here, there, base, .. } = self.sides;
        let known = here.entries.contains_key(path)
            || there.entries.contains_key(path)
            || base.contains_key(path);
        known && plan.binary_search_by(|planned| planned.path.as_str().cmp(path)).is_err()
    }

    /// Whether so much would be deleted that a person should look first.
    fn brake(&self, plan: &[Planned]) -> bool {
        if self.options.release_deletes {
            return false;
        }
        let count = |action| plan.iter().filter(|planned| planned.action == action).count();
        let known = self.sides.base.len();
        [Action::DeleteHere, Action::DeleteThere].into_iter().any(|action| {
            let deletes = if self.is_allowed(action) { count(action) } else { 0 };
            let share = usize::from(self.options.max_delete_percent);
            let too_many = deletes as u64 > self.options.max_deletes;
            let too_large = known >= BRAKE_ITEMS_MIN && deletes * 100 > known * share;
            too_many || too_large
        })
    }

    /// Whether the options let changes through in this direction.
    fn is_allowed(&self, action: Action) -> bool {
        match action {
            Action::CopyIn | Action::DeleteHere => self.options.sync_in,
            Action::CopyOut | Action::DeleteThere => self.options.sync_out,
            _ => true,
        }
    }

    fn item(&mut self, planned: &Planned) -> Result<(), SyncError> {
        let path = planned.path.as_str();
        let below_clash = |folder: &String| {
            path.strip_prefix(folder.as_str()).is_some_and(|rest| rest.starts_with('/'))
        };
        if self.clashing_folders.iter().any(below_clash) {
            return Ok(()); // it waits for its folder's conflict
        }
        if !self.is_allowed(planned.action) {
            return Ok(());
        }
        match planned.action {
            Action::Nothing => {
                self.report.counts.unchanged += 1;
                self.refresh(path);
            }
            Action::Adopt => self.adopt(path),
            Action::Forget => self.records.push(Record::Forget(path.to_owned())),
            Action::CopyIn => self.copy(path, Did::Download, false),
            Action::CopyOut => self.copy(path, Did::Upload, false),
            Action::DeleteHere => self.delete(path, Did::DeleteLocal),
            Action::DeleteThere => self.delete(path, Did::DeleteRemote),
            Action::Conflict(clash) => self.conflict(path, clash),
        }
        if is_full(&self.records) {
            self.flush()?;
        }
        Ok(())
    }

    /// Records the present stamps of content that is as recorded, so that it is not read again.
    fn refresh(&mut self, path: &str) {
        let (Some(here), Some(there)) = self.entries(path) else { return };
        let Some(base) = self.sides.base.get(path) else { return };
        if self.open_conflicts.contains(path) {
            self.records.push(Record::Settled(path.to_owned()));
        }
        let racy_at =
            |time| is_racy(base.here.mtime_ns, time) || is_racy(base.there.mtime_ns, time);
        let same = base.here == here.stamp && base.there == there.stamp.on_share();
        let grown_old = racy_at(base.recorded_ns) && !racy_at(self.now_ns);
        if here.kind == Kind::Dir || (same && !grown_old) {
            return;
        }
        self.record(path, base.content.clone(), here.stamp, there.stamp);
    }

    /// Records equal content that both sides came to by themselves.
    fn adopt(&mut self, path: &str) {
        let (Some(here), Some(there)) = self.entries(path) else { return };
        let content = match here.kind {
            Kind::Dir => Content::Dir,
            Kind::Link => Content::Link(here.link.clone().unwrap_or_default()),
            Kind::File => match crate::copy::hash(self.sides.local, path, here.stamp) {
                Ok(hash) => Content::File(hash),
                Err(_) => {
                    // It changed just now; the next run looks again, and may find a conflict.
                    self.seen_conflicts.insert(path.to_owned());
                    return;
                }
            },
        };
        self.record(path, content, here.stamp, there.stamp);
    }

    fn entries(&self, path: &str) -> (Option<&'a Entry>, Option<&'a Entry>) {
        (self.sides.here.entries.get(path), self.sides.there.entries.get(path))
    }

    fn record(&mut self, path: &str, content: Content, here: Stamp, there: Stamp) {
        let there = there.on_share();
        let base = Base { content, here, there, recorded_ns: self.now_ns };
        self.records.push(Record::Item(path.to_owned(), base));
    }

    fn temp(&mut self) -> String {
        self.count += 1;
        format!("{}{}-{}", crate::fs::TEMP_PREFIX, self.temp_id, self.count)
    }

    /// What is asked of a version before it goes. Here a stamp shows every change, and each version
    /// is kept. On the share one is read once more, because a size and a time do not show
    /// everything; it is kept if somebody wrote it since both sides agreed.
    fn leave(&self, path: &str, target: &Entry, here: bool, loser: bool) -> Result<Leave, Stop> {
        let keep = || {
            let side = if here { "here" } else { "there" };
            let place = self.journal.recycle().place(path, side, self.now_ns);
            place.map_err(|error| Stop::Io("make room in the recycle area for", error))
        };
        if target.kind == Kind::Dir {
            return Ok(Leave::default());
        }
        let base = self.sides.base.get(path).filter(|_| !here && !loser);
        match base.map(|base| (&base.content, target.kind, base.there == target.stamp)) {
            Some((Content::File(known), Kind::File, as_recorded)) => {
                let keep = if as_recorded { None } else { Some(keep()?) };
                Ok(Leave { proof: Some(*known), keep })
            }
            // Its text is its content, and each look compares that.
            Some((Content::Link(_), Kind::Link, true)) => Ok(Leave::default()),
            _ => Ok(Leave { proof: None, keep: Some(keep()?) }),
        }
    }

    /// What became of an item.
    fn told(&mut self, path: &str, did: Did, result: Result<(), Stop>) {
        if let (Err(Stop::Hidden), Some(base)) = (&result, self.sides.base.get(path)) {
            // No stamp is so old that it proves anything then: the next run reads the file.
            let doubted = Base { recorded_ns: i64::MIN, ..base.clone() };
            self.records.push(Record::Item(path.to_owned(), doubted));
        }
        let result = result.map_or_else(|stop| stop.verdict(path), |()| Verdict::Done);
        self.note(path, did, result);
    }

    fn copy(&mut self, path: &str, did: Did, keep_loser: bool) {
        let result = self.try_copy(path, did, keep_loser);
        self.told(path, did, result);
    }

    /// `keep_loser`: the version that is replaced lost a conflict, and is kept whatever it holds.
    fn try_copy(&mut self, path: &str, did: Did, keep_loser: bool) -> Result<(), Stop> {
        let sides = self.sides;
        let (here, there) = self.entries(path);
        let (from, to, source, target) = match did {
            Did::Download => (sides.remote, sides.local, there, here),
            _ => (sides.local, sides.remote, here, there),
        };
        let Some(source) = source else { return Err(Stop::Changed("it went away")) };
        let leave = match target {
            Some(target) => self.leave(path, target, to.is_local(), keep_loser)?,
            None => Leave::default(),
        };
        self.make_parents(from, to, path)?;
        let folder_in_the_way =
            target.is_some_and(|target| target.kind == Kind::Dir && source.kind != Kind::Dir);
        if folder_in_the_way {
            remove(to, path, target.unwrap_or(source), &leave)?;
        }
        let target = target.filter(|_| !folder_in_the_way);
        let temp = self.temp();
        let carry = Carry { from, to, path, source, target, leave, temp: &temp };
        let (content, stamp, bytes) = carry.run(&mut self.throttle)?;
        match did {
            Did::Download => {
                self.report.bytes_in += bytes;
                self.record(path, content, stamp, source.stamp);
            }
            _ => {
                self.report.bytes_out += bytes;
                self.record(path, content, source.stamp, stamp);
            }
        }
        Ok(())
    }

    /// The folders above an item that comes back after its folder was deleted on this side.
    fn make_parents(&self, from: &Root<'_>, to: &Root<'_>, path: &str) -> Result<(), Stop> {
        let tree = if to.is_local() { self.sides.here } else { self.sides.there };
        let other = if from.is_local() { self.sides.here } else { self.sides.there };
        for (at, _) in path.match_indices('/') {
            let folder = &path[..at];
            if !tree.entries.contains_key(folder) {
                let mode = other.entries.get(folder).map_or(0o700, |entry| entry.mode);
                to.make_folder(folder, mode).map_err(|error| Stop::Io("make", error))?;
            }
        }
        Ok(())
    }

    fn delete(&mut self, path: &str, did: Did) {
        let result = self.try_delete(path, did);
        self.told(path, did, result);
    }

    fn try_delete(&mut self, path: &str, did: Did) -> Result<(), Stop> {
        let (here, there) = self.entries(path);
        let (root, tree, entry) = match did {
            Did::DeleteLocal => (self.sides.local, self.sides.here, here),
            _ => (self.sides.remote, self.sides.there, there),
        };
        let Some(entry) = entry else { return Err(Stop::Changed("it went away")) };
        let holds = |keeper: &String| {
            keeper == path || keeper.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
        };
        if entry.kind == Kind::Dir && tree.keepers.iter().any(holds) {
            return Err(Stop::Changed("it holds something that is left alone"));
        }
        let leave = self.leave(path, entry, root.is_local(), false)?;
        remove(root, path, entry, &leave)?;
        self.records.push(Record::Forget(path.to_owned()));
        Ok(())
    }

    fn conflict(&mut self, path: &str, clash: Clash) {
        let (Some(here), Some(there)) = self.entries(path) else { return };
        self.seen_conflicts.insert(path.to_owned());
        if clash == Clash::TypeDiffers {
            self.clashing_folders.push(path.to_owned());
        }
        let (may_in, may_out) = (self.options.sync_in, self.options.sync_out);
        let how = match (clash, (self.resolve)(path)) {
            (_, Resolve::KeepBoth) => Resolve::KeepBoth,
            (Clash::TypeDiffers, _) => Resolve::Ask,
            (_, Resolve::KeepLatest) => match here.stamp.mtime_ns.cmp(&there.stamp.mtime_ns) {
                std::cmp::Ordering::Greater => Resolve::KeepLocal,
                std::cmp::Ordering::Less => Resolve::KeepRemote,
                std::cmp::Ordering::Equal => Resolve::Ask,
            },
            (_, how) => how,
        };
        match how {
            Resolve::KeepLocal if may_out => return self.copy(path, Did::Upload, true),
            Resolve::KeepRemote if may_in => return self.copy(path, Did::Download, true),
            Resolve::KeepBoth if may_in && may_out => return self.keep_both(path),
            _ => {}
        }
        let kind = match clash {
            Clash::BothCreated => ConflictKind::BothCreated,
            Clash::BothChanged => ConflictKind::BothChanged,
            Clash::TypeDiffers => ConflictKind::TypeDiffers,
        };
        let since_unix = self.now_ns / 1_000_000_000;
        let (local, remote) = (meta(here), meta(there));
        let conflict = Conflict { path: path.to_owned(), kind, local, remote, since_unix };
        self.records.push(Record::Conflict(conflict));
        let new = !self.open_conflicts.contains(path);
        self.report.counts.conflicts_new += u64::from(new);
        if new || self.settling {
            self.note(path, Did::Settle, Verdict::Conflict);
        }
    }

    /// The version here gets another name; the one on the share comes in under the old name.
    fn keep_both(&mut self, path: &str) {
        let name = match self.other_name(path) {
            Ok(name) => name,
            Err(stop) => return self.note(path, Did::Settle, stop.verdict(path)),
        };
        if let Err(error) = self.sides.local.rename_in_folder(path, &name) {
            let result = Stop::Io("rename", error).verdict(path);
            return self.note(path, Did::Settle, result);
        }
        self.kept_both.push(beside(path, &name));
        self.note(path, Did::Settle, Verdict::Done);
    }

    /// `Plan.odt` → `Plan (LT-7 2026-11-21).odt`, with a number where that is taken on a side.
    fn other_name(&self, path: &str) -> Result<String, Stop> {
        let leaf = path.rsplit('/').next().unwrap_or(path);
        let (stem, extension) = match leaf.rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() && extension.len() <= HOST_BYTES_MAX => {
                (stem, format!(".{extension}"))
            }
            _ => (leaf, String::new()),
        };
        let day = chrono::DateTime::from_timestamp_nanos(self.now_ns).format("%Y-%m-%d");
        let host = shortened(&self.options.host, HOST_BYTES_MAX).replace('/', "-");
        for number in 1..1_000_u32 {
            let count = if number == 1 { String::new() } else { format!(" {number}") };
            let tail = format!(" ({host} {day}{count}){extension}");
            let stem = shortened(stem, NAME_BYTES_MAX.saturating_sub(tail.len()));
            let name = format!("{stem}{tail}");
            let full = beside(path, &name);
            let taken = |root: &Root<'_>| {
                root.look(&full).map(|look| look.is_some()).map_err(|e| Stop::Io("look at", e))
            };
            if !taken(self.sides.local)? && !taken(self.sides.remote)? {
                return Ok(name);
            }
        }
        Err(Stop::Changed("no free name was found for the second version"))
    }

    fn note(&mut self, path: &str, action: Did, result: Verdict) {
        let item = ItemResult { path: path.to_owned(), action, result };
        if (self.progress)(&item) == Flow::Cancel {
            self.report.cancelled = true;
        }
        self.report.note(item);
    }

    fn flush(&mut self) -> Result<(), SyncError> {
        if self.records.is_empty() {
            return Ok(());
        }
        self.gate.pass(Op::Journal, "").map_err(|source| {
            let path = PathBuf::from("journal");
            SyncError::Journal(JournalError::File { path, source })
        })?;
        self.journal.apply(&self.records)?;
        self.records.clear();
        Ok(())
    }
}

fn is_delete(action: Action) -> bool {
    matches!(action, Action::DeleteHere | Action::DeleteThere)
}

fn did(action: Action) -> Did {
    match action {
        Action::DeleteHere => Did::DeleteLocal,
        _ => Did::DeleteRemote,
    }
}

fn meta(entry: &Entry) -> Meta {
    Meta { size: entry.stamp.size, mtime_unix_ms: entry.stamp.mtime_ns / 1_000_000 }
}
