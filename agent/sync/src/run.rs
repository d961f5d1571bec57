//! What a run works with, from its beginning to its end.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use crate::content::Control;
use crate::engine::SyncError;
use crate::fs::{Gate, Op, Tree};
use crate::journal::{Journal, JournalError, Record};
use crate::recycle::Shelf;
use crate::report::{Did, Flow, ItemResult, Options, Progress, Report, Tell, Verdict};
use crate::walk::Both;

/// What a run works with, from its beginning to its end.
pub struct Run<'a, 'g> {
    /// Both sides.
    pub sides: Both<'a, 'g>,
    /// The recycle area.
    pub area: &'a Tree<'g>,
    /// The journal.
    pub journal: &'a mut Journal,
    /// What is asked for.
    pub options: &'a Options,
    /// Now, nanoseconds since 1970.
    pub now_ns: i64,
    /// The gate of the journal.
    pub gate: &'g dyn Gate,
    /// The id in the names of our unfinished files.
    pub temp_id: &'a str,
    /// What nobody could foresee of those names, other in each run: who may write into the share
    /// could else take them first.
    pub word: String,
    /// Where old versions go.
    pub shelf: Shelf,
    /// Whether this computer's side ignores case, and whether the share does.
    pub ignores_case: [bool; 2],
    /// Who is told.
    pub progress: &'a mut Progress<'a>,
    /// Cancelling and counting.
    pub control: &'a Control,
    /// Items that were taken up and are not done with.
    pub begun: HashSet<String>,
    /// What was done.
    pub report: Report,
}

impl Run<'_, '_> {
    /// Tells that an item is taken up.
    pub fn begin(&mut self, path: &str, action: Did) {
        if self.begun.insert(path.to_owned()) {
            self.tell(Tell::Begin { path, action });
        }
    }

    /// Tells what became of an item.
    pub fn note(&mut self, path: &str, action: Did, result: Verdict) {
        self.begin(path, action);
        self.begun.remove(path);
        let item = ItemResult { path: path.to_owned(), action, result };
        self.tell(Tell::Item(&item));
        self.report.note(item);
    }

    fn tell(&mut self, tell: Tell<'_>) {
        if (self.progress)(tell) == Flow::Cancel {
            self.control.cancel.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the run is to end here.
    pub fn is_cancelled(&mut self) -> bool {
        self.report.cancelled |= self.control.cancel.load(Ordering::Relaxed);
        self.report.cancelled
    }

    /// Writes changes of the journal.
    ///
    /// # Errors
    /// When the journal fails.
    pub(crate) fn write(&mut self, records: &mut Vec<Record>) -> Result<(), SyncError> {
        if records.is_empty() {
            return Ok(());
        }
        self.gate.pass(Op::Journal, "").map_err(|source| {
            let path = PathBuf::from("journal");
            SyncError::Journal(JournalError::File { path, source })
        })?;
        self.journal.apply(records)?;
        records.clear();
        Ok(())
    }

    /// As [`Run::write`], for what people's programs wrote here: it is made durable first. They
    /// seldom do that; if power failed, the journal would know a version that is gone, and its
    /// absence or its older content would pass for a change.
    ///
    /// # Errors
    /// When the journal fails, or the files here cannot be made durable.
    pub(crate) fn write_durable(&mut self, records: &mut Vec<Record>) -> Result<(), SyncError> {
        let paths = records.iter().filter_map(|record| match record {
            Record::Item(path, _) | Record::Moved(_, path) => Some(path.as_str()),
            _ => None,
        });
        self.settle(paths)?;
        self.write(records)
    }

    /// Makes durable what stands here under some paths.
    ///
    /// # Errors
    /// [`SyncError::NotDurable`].
    pub(crate) fn settle<'p>(&self, paths: impl Iterator<Item = &'p str>) -> Result<(), SyncError> {
        let (local, mut paths) = (self.sides.local, paths.peekable());
        let flushed = match local.traits().flushes_whole {
            true if paths.peek().is_some() => local.flush(),
            true => Ok(()),
            false => paths.try_for_each(|path| local.sync_entry(path)),
        };
        flushed.map_err(|source| SyncError::NotDurable { source })
    }
}
