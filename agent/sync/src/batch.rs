//! One batch: staged together, made durable together, recorded together.
//!
//! ```text
//! intents of folders ─► make folders ─► flush what is to be sent ─► stage files ─► flush ─► keep
//!      ─► intents of files ─► put in place ─► flush ─► look ─► rows, and no intents any more
//! ```

use std::collections::BTreeSet;

use crate::apply::Applier;
use crate::commit::{FLUSH_MIN, Placed, Results, again, commit, prepare, sync_folders};
use crate::engine::SyncError;
use crate::fs::Look;
use crate::item::{Content, Kind, Stamp};
use crate::journal::{Intent, Record};
use crate::look::{Stop, io};
use crate::path::parent;
use crate::report::Verdict;
use crate::skip::Skip;
use crate::stage::{Job, Means, Staged};

impl Applier<'_, '_, '_> {
    /// Stages a batch, puts it in place, and records it.
    pub(crate) fn batch(&mut self, jobs: Vec<Job<'_>>) -> Result<(), SyncError> {
        self.in_use = None;
        if jobs.is_empty() {
            return self.flush();
        }
        let sides = self.run.sides;
        let flushes =
            |out: bool| sides.of(!out).traits().flushes_whole || jobs.iter().all(|j| j.out != out);
        let whole = jobs.len() >= FLUSH_MIN && flushes(true) && flushes(false);
        for job in &jobs {
            self.run.begin(job.path(), job.did());
        }
        let is_folder = |job: &Job<'_>| job.source().is_some_and(|s| s.kind == Kind::Dir);
        let folders: Vec<&Job<'_>> = jobs.iter().filter(|job| is_folder(job)).collect();
        let intents = folders.iter().map(|job| self.intent(job, Content::Dir, Stamp::default()));
        let mut intents: Vec<Record> = intents.collect();
        self.run.write(&mut intents)?;
        let made: Vec<_> = folders.into_iter().map(|job| self.make_folder(job)).collect();
        let mut made = made.into_iter();
        // Before it is read, so that no later write to it goes without a new time.
        self.run.settle(jobs.iter().filter(|job| job.out).map(Job::path))?;
        let means =
            Means { sides, throttle: &self.throttle, control: self.run.control, sync_each: !whole };
        let stage = |job: &Job<'_>| if is_folder(job) { None } else { Some(job.stage(&means)) };
        let staged = sides.local.crew().map(&jobs, stage);
        let (mut files, mut results, mut folders) = (Vec::new(), Vec::new(), Vec::new());
        for (job, staged) in jobs.into_iter().zip(staged) {
            match staged {
                Some(staged) => {
                    files.push(job);
                    results.push(staged);
                }
                None => folders.push((job, made.next().unwrap_or(Ok(())))),
            }
        }
        let results = prepare(&files, results, !whole, &sides, self.run.area);
        let ready = files.iter().zip(&results);
        let ready = ready.filter_map(|(job, staged)| Some((job, staged.as_ref().ok()?)));
        let intents =
            ready.map(|(job, staged)| self.intent(job, staged.content.clone(), staged.stamp));
        let mut intents: Vec<Record> = intents.collect();
        let flushed = [false, true].map(|out| {
            let mut ours = files.iter().zip(&results);
            whole && ours.any(|(job, staged)| job.out == out && staged.is_ok())
        });
        self.run.write(&mut intents)?;
        let results = self.without_open(&files, results);
        let placed = commit(&files, results, &sides, self.run.area);
        let folders = self.finish_folders(folders, flushed);
        let mut told = Vec::new();
        for (job, placed) in folders.iter().map(|(j, p)| (j, p)).chain(files.iter().zip(&placed)) {
            told.push((job.path().to_owned(), job.did(), self.placed(job, placed)));
        }
        self.records.push(Record::NoIntents);
        self.flush()?;
        for (path, did, verdict) in told {
            if verdict == Verdict::Done && !self.found.ties.is_empty() {
                self.tied.insert(path.clone());
            }
            self.run.note(&path, did, verdict);
        }
        Ok(())
    }

    /// What a program has opened here since the batch was planned is left alone: it would go on
    /// writing into the version that was kept.
    fn without_open(&self, jobs: &[Job<'_>], mut results: Results) -> Results {
        let replaces =
            |job: &Job<'_>| !job.out && job.target().is_some_and(|t| t.kind == Kind::File);
        if !jobs.iter().any(replaces) {
            return results;
        }
        let (sides, background) = (self.run.sides, self.run.options.background);
        let in_use = sides.local.in_use();
        for (job, result) in jobs.iter().zip(&mut results).filter(|(job, _)| replaces(job)) {
            let inode = job.target().map_or(0, |target| target.stamp.inode);
            if result.is_ok() && in_use.is_open(inode, !background) {
                job.unstage(&sides);
                job.unkeep(self.run.area);
                *result = Err(Stop::Open);
            }
        }
        results
    }

    /// What both sides will agree on once a job is done.
    fn intent(&self, job: &Job<'_>, content: Content, staged: Stamp) -> Record {
        let base = job.base(content, staged, self.run.now_ns);
        Record::Intent(Intent { path: job.path().to_owned(), here: !job.out, was: None, base })
    }

    /// Makes the names of new folders durable where that side was not flushed since they were made,
    /// and looks at them.
    fn finish_folders<'p>(
        &self,
        folders: Vec<(Job<'p>, Result<(), Stop>)>,
        flushed: [bool; 2],
    ) -> Vec<(Job<'p>, Result<Placed, Stop>)> {
        let sides = self.run.sides;
        let mut failed = [None, None];
        for out in [false, true] {
            let made = folders.iter().filter(|(job, made)| job.out == out && made.is_ok());
            let above: BTreeSet<&str> = made.map(|(job, _)| parent(job.path())).collect();
            if !above.is_empty() && !flushed[usize::from(out)] {
                failed[usize::from(out)] = sync_folders(sides.of(!out), &above).err();
            }
        }
        let look = |(job, made): (Job<'p>, Result<(), Stop>)| {
            let placed = made.and_then(|()| {
                if let Some(error) = &failed[usize::from(job.out)] {
                    return Err(Stop::Io("make durable", again(error)));
                }
                match job.to(&sides).look(job.path()).map_err(io("look at"))? {
                    Some(Look::Entry(found)) if found.kind == Kind::Dir => {
                        Ok(Placed { content: Content::Dir, stamp: found.stamp, staged: None })
                    }
                    _ => Err(Stop::Left(Skip::Changed)),
                }
            });
            (job, placed)
        };
        folders.into_iter().map(look).collect()
    }

    /// What became of one job.
    fn placed(&mut self, job: &Job<'_>, placed: &Result<Placed, Stop>) -> Verdict {
        match placed {
            Ok(placed) => {
                let base = job.base(placed.content.clone(), placed.stamp, self.run.now_ns);
                self.records.push(Record::Item(job.path().to_owned(), base));
                if let Some(Staged { bytes, blocks, .. }) = &placed.staged {
                    let report = &mut self.run.report;
                    *(if job.out { &mut report.bytes_out } else { &mut report.bytes_in }) += bytes;
                    if let (Some(blocks), Content::File(hash)) = (blocks, &placed.content) {
                        self.records.push(Record::Blocks(*hash, blocks.to_bytes()));
                    }
                }
                Verdict::Done
            }
            Err(stop) => {
                self.doubt(job.delta, stop);
                stop.verdict(job.path())
            }
        }
    }

    /// Makes a folder; a file or link in its place goes first.
    fn make_folder(&mut self, job: &Job<'_>) -> Result<(), Stop> {
        let to = job.to(&self.run.sides);
        let mode = job.source().map_or(0o700, |source| source.mode);
        if let Some(target) = job.target().filter(|target| target.kind != Kind::Dir) {
            self.remove(job.path(), !job.out, target, job.leave.clone())?;
        }
        let made = to.with_parents(job.path(), || to.make_folder(job.path(), mode));
        made.map(drop).map_err(io("make"))
    }
}
