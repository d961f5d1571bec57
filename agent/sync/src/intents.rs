//! Looks, after a crash, at what was about to be done: what was done is recorded, the rest is left
//! to the comparison. Nothing is done again because it was intended.

use crate::engine::SyncError;
use crate::fs::Tree;
use crate::item::{Base, Content, Kind, Stamp};
use crate::journal::{Intent, Record};
use crate::run::Run;

impl Run<'_, '_> {
    /// Records what an interrupted run had done already. Gives whether there was anything to verify.
    ///
    /// # Errors
    /// When the journal fails.
    pub(crate) fn verify_intents(&mut self) -> Result<bool, SyncError> {
        let intents = self.journal.intents()?;
        if intents.is_empty() {
            return Ok(false);
        }
        let mut records = Vec::new();
        for intent in &intents {
            let tree = self.sides.of(intent.here);
            match &intent.was {
                Some(was) => records.extend(renamed(tree, intent, was)),
                None => records.extend(put(tree, intent)),
            }
        }
        // Its content was made durable before, its name maybe not. What cannot be made durable is
        // left to the comparison.
        records.retain(|record| match record {
            Record::Item(path, _) | Record::Moved(_, path) => {
                self.sides.remote.sync_entry(path).is_ok()
            }
            _ => true,
        });
        records.push(Record::NoIntents);
        self.write_durable(&mut records)?;
        Ok(true)
    }
}

/// The record of something that was put in place, if it stands there.
fn put(tree: &Tree<'_>, intent: &Intent) -> Option<Record> {
    let Intent { path, here, base, .. } = intent;
    let found = tree.entry(path)?;
    let staged = if *here { base.here } else { base.there };
    let stands = match &base.content {
        Content::Dir => found.kind == Kind::Dir,
        Content::Link(text) => found.link.as_ref() == Some(text),
        _ => found.kind == Kind::File && is_staged(staged, found.stamp),
    };
    let with = |stamp: Stamp| match here {
        true => Base { here: stamp, ..base.clone() },
        false => Base { there: stamp, ..base.clone() },
    };
    stands.then(|| Record::Item(path.clone(), with(found.stamp)))
}

/// Whether a file is the one that was staged. Its number tells it from the one that it was to
/// replace, even where both have one size and time.
fn is_staged(staged: Stamp, found: Stamp) -> bool {
    staged.agrees_but_for_name(found) && staged.inode == found.inode
}

/// The record of a rename, if the entry stands under its new name and nothing under the old one.
fn renamed(tree: &Tree<'_>, intent: &Intent, was: &str) -> Option<Record> {
    let known = if intent.here { intent.base.here } else { intent.base.there };
    let found = tree.entry(&intent.path)?;
    let is_it = known.inode != 0 && found.stamp.inode == known.inode;
    let gone = matches!(tree.look(was), Ok(None)) || tree.is_one(was, &intent.path).ok()?;
    (is_it && gone).then(|| Record::Moved(was.to_owned(), intent.path.clone()))
}
