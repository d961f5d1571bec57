//! Puts what is to be done in order, and holds what a person should look at first.

use std::cmp::Ordering;
use std::collections::HashSet;

use crate::item::{Entry, Kind};
use crate::path::above;
use crate::reconcile::{Action, Clash};
use crate::report::Options;
use crate::walk::Delta;

/// Below this many known items a percentage says nothing.
const BRAKE_ITEMS_MIN: u64 = 20;
/// Fewer replaced files than this are a day's work, whatever share of the tree they are.
const MASS_CHANGE_MIN: u64 = 1_000;

impl Delta {
    /// Whether a copy would put a file or link where a folder is.
    pub fn replaces_folder(&self) -> bool {
        let (from, to) = match self.action {
            Action::CopyIn => (&self.there, &self.here),
            Action::CopyOut => (&self.here, &self.there),
            _ => return false,
        };
        let is_folder =
            |entry: &Option<Entry>| entry.as_ref().is_some_and(|entry| entry.kind == Kind::Dir);
        is_folder(to) && !is_folder(from)
    }

    /// Whether a copy would replace a file that both sides agreed on.
    fn replaces_known_file(&self) -> bool {
        let to = match self.action {
            Action::CopyIn => &self.here,
            Action::CopyOut => &self.there,
            _ => return false,
        };
        self.base.is_some() && to.as_ref().is_some_and(|entry| entry.kind == Kind::File)
    }

    /// Whether it removes something.
    pub fn is_delete(&self) -> bool {
        matches!(self.action, Action::DeleteHere | Action::DeleteThere)
    }
}

/// Whether the options let changes through in this direction.
pub fn is_allowed(options: &Options, delta: &Delta) -> bool {
    match delta.action {
        Action::CopyIn | Action::DeleteHere => options.sync_in,
        Action::CopyOut => options.sync_out && !(options.no_new_files_out && delta.base.is_none()),
        Action::DeleteThere => options.sync_out,
        _ => true,
    }
}

/// Fewer files that went back in time are somebody's old copies.
const RESTORED_MIN: usize = 10;

/// What the brake holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hold {
    /// All deletes.
    pub deletes: bool,
    /// Replacing files here.
    pub changes_in: bool,
    /// Replacing files on the share.
    pub changes_out: bool,
}

/// Whether so much would be deleted or replaced that a person should look first.
pub fn brake(deltas: &[Delta], known: u64, options: &Options) -> Hold {
    if options.release_deletes {
        return Hold::default();
    }
    let share = u64::from(options.max_delete_percent);
    let is_large = |count: u64| known >= BRAKE_ITEMS_MIN && count * 100 > known * share;
    let count = |wanted: &dyn Fn(&Delta) -> bool| {
        let found = deltas.iter().filter(|delta| is_allowed(options, delta) && wanted(delta));
        found.count() as u64
    };
    let deletes = |action| {
        let count = count(&|delta| delta.action == action);
        count > options.max_deletes || is_large(count)
    };
    let changes = |action| {
        let count = count(&|delta| delta.action == action && delta.replaces_known_file());
        count >= MASS_CHANGE_MIN && is_large(count)
    };
    Hold {
        deletes: deletes(Action::DeleteHere) || deletes(Action::DeleteThere),
        changes_in: changes(Action::CopyIn),
        changes_out: changes(Action::CopyOut),
    }
}

impl Hold {
    /// Whether one thing is held.
    pub fn holds(&self, delta: &Delta) -> bool {
        match delta.action {
            Action::DeleteHere | Action::DeleteThere => self.deletes,
            Action::CopyIn => self.changes_in && delta.replaces_known_file(),
            Action::CopyOut => self.changes_out && delta.replaces_known_file(),
            _ => false,
        }
    }
}

/// How the time of a known file of a side stands to the one that is recorded.
fn time_of(delta: &Delta, here: bool) -> Option<Ordering> {
    let base = delta.base.as_ref()?;
    let (entry, known) = if here { (&delta.here, base.here) } else { (&delta.there, base.there) };
    let entry = entry.as_ref().filter(|entry| entry.kind == Kind::File)?;
    (known.mtime_ns != 0).then_some(entry.stamp.mtime_ns.cmp(&known.mtime_ns))
}

/// Whether a known file of either side went back to an earlier time.
pub fn went_back(delta: &Delta) -> bool {
    [true, false].into_iter().any(|here| time_of(delta, here) == Some(Ordering::Less))
}

/// How many known files of a side went back to an earlier time, if those are so many that the side
/// was probably restored from a backup. What was newer would be lost everywhere then. A side of
/// which that was seen before (`known`) stays restored until no file is back.
pub fn restored(deltas: &[Delta], here: bool, known: bool) -> Option<usize> {
    let count = |wanted| deltas.iter().filter(|d| time_of(d, here) == Some(wanted)).count();
    let (back, on) = (count(Ordering::Less), count(Ordering::Greater));
    let many = back >= RESTORED_MIN && back > on;
    (many || (known && back > 0)).then_some(back)
}

/// A folder that one side deleted stays on both while the other side still has something new in
/// it; one that gave way to a file is then a conflict. `deltas` are in the order of paths.
pub fn keep_needed_folders(deltas: &mut [Delta]) {
    let mut needed_there: HashSet<String> = HashSet::new();
    let mut needed_here: HashSet<String> = HashSet::new();
    // Children come after their folder in order of names, so going backwards meets them first.
    for delta in deltas.iter_mut().rev() {
        let replaces = delta.replaces_folder();
        match delta.action {
            Action::DeleteHere if needed_there.contains(&delta.path) => {
                delta.action = Action::CopyOut;
            }
            Action::DeleteThere if needed_here.contains(&delta.path) => {
                delta.action = Action::CopyIn;
            }
            Action::CopyIn if replaces && needed_there.contains(&delta.path) => {
                delta.action = Action::Conflict(Clash::TypeDiffers);
            }
            Action::CopyOut if replaces && needed_here.contains(&delta.path) => {
                delta.action = Action::Conflict(Clash::TypeDiffers);
            }
            _ => {}
        }
        let needed = match delta.action {
            Action::CopyOut => &mut needed_there,
            Action::CopyIn => &mut needed_here,
            _ => continue,
        };
        for folder in above(&delta.path).rev() {
            if !needed.insert(folder.to_owned()) {
                break; // those above it are in the set already
            }
        }
    }
}
