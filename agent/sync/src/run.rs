//! What a run works with, from its beginning to its end.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use crate::content::Control;
use crate::engine::SyncError;
use crate::fs::{Gate, Op, Tree};
use crate::journal::{Intent, Journal, JournalError, Record};
use crate::recycle::Shelf;
use crate::report::{Did, Flow, ItemResult, Options, Report, Verdict};
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
    /// Where old versions go.
    pub shelf: Shelf,
    /// Whether this computer's side ignores case, and whether the share does.
    pub ignores_case: [bool; 2],
    /// Who is told.
    pub progress: &'a mut dyn FnMut(&ItemResult) -> Flow,
    /// Cancelling and counting.
    pub control: &'a Control,
    /// What was done.
    pub report: Report,
}

impl Run<'_, '_> {
    /// Tells what became of an item.
    pub fn note(&mut self, path: &str, action: Did, result: Verdict) {
        let item = ItemResult { path: path.to_owned(), action, result };
        if (self.progress)(&item) == Flow::Cancel {
            self.control.cancel.store(true, Ordering::Relaxed);
        }
        self.report.note(item);
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
        self.make_durable_here(records)?;
        self.journal.apply(records)?;
        records.clear();
        Ok(())
    }

    /// Makes durable what the journal is about to say of this computer. People's programs seldom
    /// do; if power failed, the journal would know a version that is gone, and its absence or its
    /// older content would pass for a change.
    fn make_durable_here(&self, records: &[Record]) -> Result<(), SyncError> {
        let not_durable = |source| SyncError::NotDurable { source };
        let tells = |record: &Record| {
            matches!(
                record,
                Record::Item(..)
                    | Record::Forget(_)
                    | Record::Moved(..)
                    | Record::Intent(Intent { here: false, .. })
            )
        };
        if !records.iter().any(tells) {
            return Ok(());
        }
        let local = self.sides.local;
        if local.traits().flushes_whole {
            return local.flush().map_err(not_durable);
        }
        for record in records {
            let (Record::Item(path, _)
            | Record::Forget(path)
            | Record::Moved(_, path)
            | Record::Intent(Intent { path, here: false, .. })) = record
            else {
                continue;
            };
            local.sync_entry(path).map_err(not_durable)?;
        }
        Ok(())
    }
}
