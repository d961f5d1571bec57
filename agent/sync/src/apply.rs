//! Carries out what was decided, batch by batch, and records each thing after it is durable.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use crate::conflict::Resolver;
use crate::content::{Blocks, LARGE_BYTES};
use crate::engine::SyncError;
use crate::fs::{InUse, TEMP_PREFIX, Tree};
use crate::item::{Base, Content, Entry, Kind, Stamp};
use crate::journal::Record;
use crate::look::{Stop, is_racy};
use crate::path::{lies_at, lies_in};
use crate::plan::{Hold, brake, is_allowed};
use crate::reconcile::Action;
use crate::report::{Did, FailureKind, Verdict};
use crate::run::Run;
use crate::skip::Skip;
use crate::stage::{Job, Leave};
use crate::throttle::Throttle;
use crate::walk::{Delta, Found};

/// Items and bytes that are made durable together at most. A crash loses that much work, and no
/// byte.
pub(crate) const BATCH_ITEMS: usize = 2_000;
const BATCH_BYTES: u64 = 256 << 20;
/// Records to keep at most before they are written.
const RECORDS_MAX: usize = 1_000;

/// Works off what was found.
pub struct Applier<'r, 'a, 'g> {
    /// The run.
    pub run: &'r mut Run<'a, 'g>,
    /// How conflicts are settled.
    pub resolve: Resolver,
    /// A person settles a conflict, and wants to know what becomes of it.
    pub settling: bool,
    /// The new paths of versions that were kept beside another; a second pass carries them over.
    pub kept_both: Vec<String>,
    pub(crate) found: &'r Found,
    pub(crate) open_conflicts: HashSet<String>,
    pub(crate) seen_conflicts: HashSet<String>,
    pub(crate) clashing_folders: Vec<String>,
    pub(crate) records: Vec<Record>,
    pub(crate) throttle: Throttle,
    /// What is to be recorded was written by people here, and is not known to be durable.
    adopted: bool,
    /// Copies that deletes wait for, and that are in their place.
    pub(crate) tied: HashSet<String>,
    /// Names that could not be written for a twin in case, in small letters: what has the name is not
    /// removed then, for it may be the only copy on that side.
    pub(crate) twins: HashSet<String>,
    pub(crate) in_use: Option<InUse>,
    count: u64,
}

impl<'r, 'a, 'g> Applier<'r, 'a, 'g> {
    /// Gets ready.
    ///
    /// # Errors
    /// When the journal fails.
    pub fn new(
        run: &'r mut Run<'a, 'g>,
        found: &'r Found,
        resolve: Resolver,
        settling: bool,
    ) -> Result<Self, SyncError> {
        let open: HashSet<String> = run.journal.conflicts()?.into_iter().map(|c| c.path).collect();
        let seen = open.iter().filter(|path| found.undecided.contains(*path)).cloned().collect();
        Ok(Self {
            throttle: Throttle::new(run.options.bandwidth),
            run,
            resolve,
            settling,
            kept_both: Vec::new(),
            found,
            open_conflicts: open,
            seen_conflicts: seen,
            clashing_folders: Vec::new(),
            records: Vec::new(),
            adopted: false,
            tied: HashSet::new(),
            twins: HashSet::new(),
            in_use: None,
            count: 0,
        })
    }

    /// Works off the plan: what is new first, from the top down; then deletes, from the bottom up;
    /// then files that come where folders were.
    ///
    /// # Errors
    /// When the journal fails, or this computer's files cannot be made durable; the rest is in the
    /// report.
    pub fn work(&mut self, deltas: &[Delta]) -> Result<(), SyncError> {
        self.run.control.planned.fetch_add(self.planned(deltas), Ordering::Relaxed);
        let hold = brake(deltas, self.found.known, self.run.options);
        let is_late = |delta: &&Delta| delta.is_delete() || delta.replaces_folder();
        self.work_through(deltas.iter().filter(|delta| !is_late(delta)), hold)?;
        self.delete_all(deltas.iter().rev().filter(|delta| delta.is_delete()), hold)?;
        for delta in deltas.iter().filter(|delta| delta.replaces_folder()) {
            if !self.run.is_cancelled() && self.is_due(delta) {
                self.replace_folder(delta)?;
            }
        }
        self.flush()
    }

    /// File bytes that are to be carried.
    fn planned(&self, deltas: &[Delta]) -> u64 {
        let due = deltas.iter().filter(|delta| self.is_due(delta));
        let carried = due.filter_map(|delta| match delta.action {
            Action::CopyIn => delta.there.as_ref(),
            Action::CopyOut => delta.here.as_ref(),
            _ => None,
        });
        let files = carried.filter(|entry| entry.kind == Kind::File);
        files.map(|entry| entry.stamp.size).sum()
    }

    /// Closes conflicts that are none any more.
    ///
    /// # Errors
    /// When the journal fails.
    pub fn finish(mut self, whole: bool) -> Result<(), SyncError> {
        if whole && !self.run.is_cancelled() {
            let hidden: HashSet<&str> = self.found.unknown.iter().map(String::as_str).collect();
            let gone = self.open_conflicts.difference(&self.seen_conflicts);
            let gone = gone.filter(|path| !lies_in(&hidden, path));
            self.records.extend(gone.map(|path| Record::Settled(path.clone())));
            self.flush()?;
            self.run.journal.sweep_blocks()?;
            if self.run.options.sync_in && self.run.options.sync_out {
                let seconds = (self.run.now_ns / 1_000_000_000).to_string();
                self.run.journal.set_meta("last-sync", &seconds)?;
            }
        }
        self.run.report.counts.conflicts_open = self.run.journal.conflicts()?.len() as u64;
        Ok(())
    }

    pub(crate) fn flush(&mut self) -> Result<(), SyncError> {
        match std::mem::take(&mut self.adopted) {
            true => self.run.write_durable(&mut self.records),
            false => self.run.write(&mut self.records),
        }
    }

    /// Whether something is to be done about it: it may go in this direction, and does not wait for
    /// its folder's conflict.
    pub(crate) fn is_due(&self, delta: &Delta) -> bool {
        let below = |folder: &String| delta.path != *folder && lies_at(&delta.path, folder);
        is_allowed(self.run.options, delta) && !self.clashing_folders.iter().any(below)
    }

    /// Whether something is to be done about it now; what the brake holds is told.
    pub(crate) fn may_go(&mut self, delta: &Delta, hold: Hold) -> bool {
        let due = self.is_due(delta);
        if due && hold.holds(delta) {
            self.run.note(&delta.path, did(delta.action), Verdict::Held);
            return false;
        }
        due
    }

    fn work_through<'p>(
        &mut self,
        deltas: impl Iterator<Item = &'p Delta>,
        hold: Hold,
    ) -> Result<(), SyncError> {
        let mut jobs = Vec::new();
        let mut bytes = 0;
        for delta in deltas {
            if self.run.is_cancelled() {
                break;
            }
            if !self.may_go(delta, hold) {
                continue;
            }
            match delta.action {
                Action::Nothing => self.refresh(delta),
                Action::Adopt => self.adopt(delta),
                Action::Forget => self.forget(delta),
                Action::CopyIn => self.job(delta, false, false, &mut jobs)?,
                Action::CopyOut => self.job(delta, true, false, &mut jobs)?,
                Action::Conflict(clash) => {
                    if let Some(out) = self.conflict(delta, clash) {
                        self.job(delta, out, true, &mut jobs)?;
                    }
                }
                Action::DeleteHere | Action::DeleteThere => {}
            }
            let last = jobs.last().filter(|job| std::ptr::eq(job.delta, delta));
            bytes += last.and_then(Job::source).map_or(0, |source| source.stamp.size);
            if jobs.len() >= BATCH_ITEMS || bytes >= BATCH_BYTES {
                self.batch(std::mem::take(&mut jobs))?;
                bytes = 0;
            }
            if self.records.len() >= RECORDS_MAX {
                self.flush()?;
            }
        }
        self.batch(jobs)
    }

    /// Records the present stamps of content that is as recorded, so that it is not read again.
    fn refresh(&mut self, delta: &Delta) {
        let (Some(here), Some(there), Some(base)) = (&delta.here, &delta.there, &delta.base) else {
            return;
        };
        let racy = |at| is_racy(here.stamp.mtime_ns, at) || is_racy(there.stamp.mtime_ns, at);
        let same = base.here == here.stamp && base.there == there.stamp && !base.sparse;
        self.run.report.counts.unchanged += 1;
        if same && here.kind != Kind::Dir && racy(self.run.now_ns) {
            return; // still too new for its stamp to prove anything
        }
        self.record(&delta.path, base.content.clone(), here.stamp, there.stamp);
    }

    /// Forgets what neither side has any more.
    fn forget(&mut self, delta: &Delta) {
        let is_gone = |tree: &Tree<'_>| matches!(tree.is_gone(&delta.path), Ok(true));
        let sparse = delta.base.as_ref().is_some_and(|base| base.sparse);
        if is_gone(self.run.sides.remote) && (sparse || is_gone(self.run.sides.local)) {
            self.records.push(Record::Forget(delta.path.clone()));
        }
    }

    /// Records equal content that both sides came to by themselves.
    fn adopt(&mut self, delta: &Delta) {
        let (Some(here), Some(there)) = (&delta.here, &delta.there) else { return };
        if let Some(content) = &delta.content {
            self.adopted = true;
            self.record(&delta.path, (**content).clone(), here.stamp, there.stamp);
        }
    }

    pub(crate) fn record(&mut self, path: &str, content: Content, here: Stamp, there: Stamp) {
        let recorded_ns = self.run.now_ns;
        let base = Base { content, here, there, recorded_ns, sparse: false };
        self.records.push(Record::Item(path.to_owned(), base));
    }

    pub(crate) fn temp(&mut self) -> String {
        self.count += 1;
        format!("{TEMP_PREFIX}{}-{}-{}", self.run.temp_id, self.run.word, self.count)
    }

    /// What is asked of a version before it goes. Here a stamp shows every change, and each version
    /// is kept. On the share it is kept if somebody wrote it since both sides agreed; where stamps
    /// prove nothing, it is read once more.
    pub(crate) fn leave(&self, delta: &Delta, target: &Entry, here: bool, loser: bool) -> Leave {
        let kept = || Leave { proof: None, keep: Some(self.run.shelf.place(&delta.path, here)) };
        if target.kind == Kind::Dir {
            return Leave::default();
        }
        let Some(base) = delta.base.as_ref().filter(|_| !here && !loser) else { return kept() };
        let as_recorded = base.there.agrees(target.stamp);
        match (&base.content, target.kind) {
            (Content::File(_), Kind::File) if as_recorded && self.tells(target) => Leave::default(),
            (Content::File(known), Kind::File) => {
                let keep = if as_recorded { None } else { kept().keep };
                Leave { proof: Some(*known), keep }
            }
            // Its text is its content, and each look compares that.
            (Content::Link(_), Kind::Link) if as_recorded => Leave::default(),
            _ => kept(),
        }
    }

    /// Whether the stamps of the share tell every change.
    fn tells(&self, target: &Entry) -> bool {
        self.run.sides.remote.traits().stamps_tell && target.stamp.ctime_ns != 0
    }

    /// `loser`: the version that is replaced lost a conflict, and is kept whatever it holds.
    pub(crate) fn job<'p>(
        &mut self,
        delta: &'p Delta,
        out: bool,
        loser: bool,
        jobs: &mut Vec<Job<'p>>,
    ) -> Result<(), SyncError> {
        let target = if out { &delta.there } else { &delta.here };
        if let Some(target) = target
            && !out
            && self.is_open(target)
        {
            self.run.note(&delta.path, did(delta.action), Verdict::Busy);
            return Ok(());
        }
        if target.is_none() && self.has_twin(delta, out) {
            // What is in a folder that cannot be made would land in its twin.
            let source = if out { &delta.here } else { &delta.there };
            if source.as_ref().is_some_and(|source| source.kind == Kind::Dir) {
                self.clashing_folders.push(delta.path.clone());
            }
            self.twins.insert(delta.path.to_lowercase());
            let message = format!(
                "cannot write {}: a name that differs from it only in case stands there; rename \
                 one of them",
                delta.path
            );
            let verdict = Verdict::Failed { kind: FailureKind::Name, message };
            self.run.note(&delta.path, did(delta.action), verdict);
            return Ok(());
        }
        let source = if out { &delta.here } else { &delta.there };
        if out
            && self.run.options.background
            && source.as_ref().is_some_and(|source| self.is_written(source))
        {
            self.run.note(&delta.path, did(delta.action), Verdict::Busy);
            return Ok(());
        }
        if let Some(verdict) =
            source.as_ref().and_then(|source| self.lacks_room(delta, source, out))
        {
            self.run.note(&delta.path, did(delta.action), verdict);
            return Ok(());
        }
        let files = source.iter().filter(|source| source.kind == Kind::File);
        if !files.map(|file| file.stamp.size).all(|size| self.run.control.toll.promise(size)) {
            self.run.note(&delta.path, did(delta.action), Verdict::PutOff);
            return Ok(());
        }
        let leave = target.as_ref().map(|target| self.leave(delta, target, !out, loser));
        let leave = leave.unwrap_or_default();
        let old_blocks = match delta.base.as_ref().map(|base| (&base.content, base)) {
            Some((Content::File(hash), base)) if base.here.size >= LARGE_BYTES && !loser => {
                let bytes = self.run.journal.blocks(hash)?;
                bytes.as_deref().and_then(Blocks::from_bytes)
            }
            _ => None,
        };
        let temp = self.temp();
        jobs.push(Job { delta, out, leave, temp, old_blocks });
        Ok(())
    }

    /// A file that certainly has no room where it is to go: other programs would find the disk full
    /// while it is tried, run after run. A version of it there may share its blocks.
    fn lacks_room(&self, delta: &Delta, source: &Entry, out: bool) -> Option<Verdict> {
        let target = if out { &delta.there } else { &delta.here };
        let size = source.stamp.size;
        if source.kind != Kind::File || size < LARGE_BYTES || target.is_some() {
            return None;
        }
        let free = self.run.sides.of(!out).free_bytes().filter(|free| *free < size)?;
        let message = format!(
            "cannot copy {}: it has {size} bytes, and {free} are free; make room, or exclude it",
            delta.path
        );
        Some(Verdict::Failed { kind: FailureKind::Full, message })
    }

    /// Whether a side that ignores case has something under a name that was not in its listing.
    fn has_twin(&self, delta: &Delta, out: bool) -> bool {
        self.run.ignores_case[usize::from(out)]
            && matches!(self.run.sides.of(!out).look(&delta.path), Ok(Some(_)))
    }

    /// Whether replacing or removing a file here would pull it from under an application.
    pub(crate) fn is_open(&mut self, entry: &Entry) -> bool {
        let background = self.run.options.background;
        let in_use = self.in_use.get_or_insert_with(|| self.run.sides.local.in_use());
        entry.kind == Kind::File && in_use.is_open(entry.stamp.inode, !background)
    }

    fn is_written(&mut self, entry: &Entry) -> bool {
        let in_use = self.in_use.get_or_insert_with(|| self.run.sides.local.in_use());
        entry.kind == Kind::File && in_use.is_open(entry.stamp.inode, true)
    }

    /// No stamp is so old that it proves anything after a hidden change: the next run reads the
    /// file.
    pub(crate) fn doubt(&mut self, delta: &Delta, stop: &Stop) {
        if let (Stop::Left(Skip::Hidden), Some(base)) = (stop, &delta.base) {
            let doubted = Base { recorded_ns: i64::MIN, ..(**base).clone() };
            self.records.push(Record::Item(delta.path.clone(), doubted));
        }
    }
}

pub fn did(action: Action) -> Did {
    match action {
        Action::DeleteHere => Did::DeleteLocal,
        Action::DeleteThere => Did::DeleteRemote,
        Action::CopyIn => Did::Download,
        _ => Did::Upload,
    }
}
