//! Pins: what is always stored on this computer, and for whom.
//!
//! As in Offline Files, a pin of one person protects an item for everybody on the computer; who may
//! read it is another matter. A pin of a folder covers everything in it.

use std::collections::BTreeMap;

use crate::engine::SyncError;
use crate::item::Kind;
use crate::journal::{Journal, JournalError, Record};
use crate::path::{above_and, parent};
use crate::reconcile::Action;
use crate::run::Run;
use crate::walk::Delta;

/// Pinned by the user.
pub const USER: u32 = 0x20;
/// Pinned for the user by policy; the user cannot undo it.
pub const USER_POLICY: u32 = 0x40;
/// Pinned for everybody on this computer.
pub const ALL: u32 = 0x80;
/// Pinned because a redirected folder lies here.
pub const REDIRECTED: u32 = 0x100;

/// The pins of a pair.
#[derive(Clone, Debug, Default)]
pub struct Pins {
    by_path: BTreeMap<String, u32>,
    everything: u32,
}

impl Pins {
    /// From the journal's list, and for whom everything is pinned.
    pub fn new(list: Vec<(String, u32)>, everything: u32) -> Self {
        Self { by_path: list.into_iter().collect(), everything }
    }

    /// For whom a path is pinned, itself or by a folder above it.
    pub fn who(&self, path: &str) -> u32 {
        let own =
            above_and(path).filter_map(|at| self.by_path.get(at)).fold(0, |all, who| all | who);
        own | self.everything | self.by_path.get("").copied().unwrap_or(0)
    }

    /// Whether anybody pinned a path.
    pub fn covers(&self, path: &str) -> bool {
        self.who(path) != 0
    }
}

impl Journal {
    /// Pins a path for somebody; gives for whom it is pinned then.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub fn pin(&mut self, path: &str, who: u32) -> Result<u32, JournalError> {
        let before = Pins::new(self.pins()?, 0).by_path.get(path).copied().unwrap_or(0);
        self.apply(&[Record::Pin(path.to_owned(), before | who)])?;
        Ok(before | who)
    }

    /// Takes somebody's pin of a path away; gives for whom it is pinned still.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub fn unpin(&mut self, path: &str, who: u32) -> Result<u32, JournalError> {
        let before = Pins::new(self.pins()?, 0).by_path.get(path).copied().unwrap_or(0);
        self.apply(&[Record::Pin(path.to_owned(), before & !who)])?;
        Ok(before & !who)
    }

    /// Suspends a folder, or takes that back: runs that nobody asked for leave it alone.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub fn suspend(&mut self, path: &str, suspended: bool) -> Result<(), JournalError> {
        self.apply(&[Record::Suspended(path.to_owned(), suspended)])
    }
}

/// Pins what came in new from the share in pinned folders, and what new links in them lead to.
///
/// # Errors
/// When the journal fails.
pub fn pin_new(run: &mut Run<'_, '_>, pins: &Pins, deltas: &[Delta]) -> Result<(), SyncError> {
    if run.options.pin_new == 0 {
        return Ok(());
    }
    let mut records = Vec::new();
    for delta in deltas {
        let is_new = delta.action == Action::CopyIn && delta.base.is_none();
        let folder = parent(&delta.path);
        if !is_new || !pins.covers(folder) {
            continue;
        }
        let who = pins.by_path.get(&delta.path).copied().unwrap_or(0) | run.options.pin_new;
        records.push(Record::Pin(delta.path.clone(), who));
        let link = delta.there.as_ref().and_then(|entry| entry.link.as_deref());
        if let Some(text) = link.filter(|_| run.options.pin_link_targets)
            && let Some(target) = inside(folder, text)
            && let Some(row) = run.journal.item(&target)?
            && row.base.content.kind() == Kind::File
        {
            let who = pins.by_path.get(&target).copied().unwrap_or(0) | run.options.pin_new;
            records.push(Record::Pin(target, who));
        }
    }
    run.write(&mut records)
}

/// Where a link in a folder leads, if that is in the tree.
fn inside(folder: &str, text: &str) -> Option<String> {
    if text.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}
