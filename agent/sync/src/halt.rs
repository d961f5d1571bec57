//! When a root is not what it was, and what a person's word changes then.
//!
//! | what is seen                        | no word | merge  | believe |
//! |-------------------------------------|---------|--------|---------|
//! | another mark, or none any more      | halt    | forget | halt    |
//! | nothing any more of what is known   | halt    | forget | follow  |
//! | many files at earlier times         | halt    | forget | follow  |
//!
//! *Forget* empties the journal, so that both sides are merged: nothing is deleted or replaced, and
//! what differs is a conflict. *Follow* goes on as if nothing were strange. To let the brake go
//! ([`crate::Options::release_deletes`]) is another matter, and lifts none of these.

use crate::engine::{Side, SyncError};
use crate::journal::{Journal, JournalError};
use crate::plan::{restored, went_back};
use crate::report::{Did, RootWord, Verdict};
use crate::roots::{self, Marks};
use crate::run::Run;
use crate::skip::Skip;
use crate::walk::{Delta, Found};

/// Where the journal keeps which side was found restored.
const RESTORED: &str = "restored";

/// The first two rows of the table: whether the journal is to be forgotten. That another mark was
/// accepted is known by now.
///
/// # Errors
/// [`SyncError::RootChanged`] to halt.
pub fn replaced_or_emptied(
    found: &Found,
    marks: &Marks,
    journal: &Journal,
    word: RootWord,
) -> Result<bool, SyncError> {
    match (emptied(found, marks.marked(), journal)?, word) {
        (Some(side), RootWord::Doubt) => Err(roots::emptied(side)),
        (Some(_), RootWord::Merge) => Ok(true),
        _ => Ok(marks.replaced),
    }
}

/// Which root shows nothing of what the journal knows, while the other does. A mark does not excuse
/// it, for `rm -rf *` spares names that begin with a dot; but below a mark the last single item may
/// go: people do delete their last file.
fn emptied(
    found: &Found,
    marked: [bool; 2],
    journal: &Journal,
) -> Result<Option<Side>, JournalError> {
    let is_emptied = |side: usize| -> Result<bool, JournalError> {
        Ok(found.emptied[side] && journal.has_more_than(usize::from(marked[side]))?)
    };
    Ok(match (is_emptied(0)?, is_emptied(1)?) {
        (true, false) => Some(Side::Local),
        (false, true) => Some(Side::Remote),
        // Where both are empty there is nothing left to delete.
        _ => None,
    })
}

impl Run<'_, '_> {
    /// The last row: whether a side went back to an earlier state as a whole, and a person wants both
    /// merged.
    ///
    /// Without a word the run halts, and so does each after it, until no file is back any more: to
    /// look at a part of the tree does not show what became of the rest.
    pub(crate) fn is_restored(&mut self, deltas: &mut Vec<Delta>) -> Result<bool, SyncError> {
        let known = self.journal.meta(RESTORED)?;
        let whole = self.options.only.is_empty();
        for side in [Side::Local, Side::Remote] {
            let is_known = known.as_deref() == Some(side.word());
            let back = restored(deltas, side == Side::Local, is_known);
            if back.is_none() && (whole || !is_known) {
                continue;
            }
            match self.options.root {
                RootWord::Merge if whole => return Ok(true),
                RootWord::Believe if whole => continue,
                _ => {}
            }
            self.journal.set_meta(RESTORED, side.word())?;
            let detail = match back {
                Some(count) => format!("{count} files in it went back to earlier versions"),
                None => "files in it went back to earlier versions".to_owned(),
            };
            let detail = format!("{detail}, as if it had been restored from a backup");
            return Err(SyncError::RootChanged { side, detail });
        }
        if whole && known.is_some() {
            self.journal.set_meta(RESTORED, "")?;
        }
        if !whole {
            self.leave_what_went_back(deltas);
        }
        Ok(false)
    }

    /// In a part of the tree a few files that went back cannot be told from the restored whole: they
    /// wait for the run that looks at everything.
    fn leave_what_went_back(&mut self, deltas: &mut Vec<Delta>) {
        let (back, rest) = std::mem::take(deltas).into_iter().partition(went_back);
        *deltas = rest;
        let back: Vec<Delta> = back;
        for delta in back {
            self.note(&delta.path, Did::Scan, Verdict::Skipped { why: Skip::WentBack });
        }
    }
}
