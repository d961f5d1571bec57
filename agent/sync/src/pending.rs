//! What is only on this computer: it would be lost if its disk died now.

use crate::crew::Crew;
use crate::engine::{Side, SyncError};
use crate::fs::{DEPTH_MAX, Open, PATH_BYTES_MAX, Tree};
use crate::item::{Base, Entry, Kind};
use crate::journal::Journal;
use crate::look::is_as_recorded;
use crate::open::open_local;
use crate::path::join;
use crate::report::{
    Did, FailureKind, ITEMS_MAX, ItemResult, Options, Pair, Pending, PendingChange, PendingItem,
    Verdict,
};
use crate::roots;
use crate::scan::{Filter, Listing, failure, read_folder};
use crate::walk::is_emptied;

/// Lists what is only on this computer, and what of it no run can send.
///
/// # Errors
/// [`SyncError`]; a root that was swapped or emptied is no list of removals.
pub fn pending(
    pair: &Pair,
    journal: &mut Journal,
    options: &Options,
) -> Result<Pending, SyncError> {
    let volume = match open_local(pair) {
        Err(SyncError::RootChanged { .. }) if !journal.has_more_than(0)? => {
            return Ok(Pending::default());
        }
        other => other?,
    };
    let tree = Tree::new(volume, &Open, Crew::Alone);
    let marked = roots::prove(&tree, Side::Local, journal)?.is_some();
    let temp_id = journal.meta("temp-id")?.unwrap_or_default();
    let filter = Filter::new(&options.exclude, &options.screens, &temp_id)?;
    let readers = journal.readers();
    let mut pending = Pending::default();
    let mut waiting = vec![(String::new(), true, Some(crate::journal::ROOT))];
    while let Some((folder, stands, number)) = waiting.pop() {
        let listing = match stands {
            true => read_folder(&tree, true, &folder, &filter),
            false => Ok(Listing::default()),
        };
        let listing = match listing {
            Ok(listing) => listing,
            Err(source) if folder.is_empty() => {
                let (side, path) = (Side::Local, pair.local.clone());
                return Err(SyncError::RootUnavailable { side, path, source });
            }
            // What cannot be seen is no removal.
            Err(error) => {
                cannot_send(&mut pending, folder.clone(), failure("list", &folder, &error));
                continue;
            }
        };
        let notes = listing.notes.iter().cloned();
        notes.for_each(|note| cannot_send(&mut pending, note.path, note.result));
        let rows = number.map_or(Ok(Vec::new()), |number| readers.rows(number))?;
        let hidden = |name: &str| listing.hidden.iter().any(|hidden| **hidden == *name);
        let emptied = folder.is_empty() && is_emptied(&listing, &rows);
        if emptied && journal.has_more_than(usize::from(marked))? {
            return Err(roots::emptied(Side::Local));
        }
        for (name, entry) in &listing.entries {
            let at = rows.binary_search_by(|row| row.name.cmp(name)).ok();
            let (row, path) = (at.map(|at| &rows[at]), join(&folder, name));
            note(&mut pending, &tree, &path, entry, row.map(|row| &row.base));
            match entry.kind {
                Kind::Dir if is_too_deep(&path) => cannot_send(&mut pending, path, too_deep()),
                Kind::Dir => waiting.push((path, true, row.and_then(|row| row.folder))),
                _ => {}
            }
        }
        for row in rows {
            let stands = listing.entries.binary_search_by(|(name, _)| name.cmp(&row.name)).is_ok();
            if stands || row.base.sparse || hidden(&row.name) {
                continue;
            }
            let path = join(&folder, &row.name);
            add(&mut pending, &path, PendingChange::Removed, 0);
            // A damaged journal may have a folder inside itself.
            if !is_too_deep(&path) {
                waiting.extend(row.folder.map(|number| (path, false, Some(number))));
            }
        }
    }
    pending.items.sort_by(|a, b| a.path.cmp(&b.path));
    pending.unsent.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(pending)
}

/// Whether a run does not go into a folder.
fn is_too_deep(path: &str) -> bool {
    path.len() > PATH_BYTES_MAX || path.split('/').count() > DEPTH_MAX
}

fn too_deep() -> Verdict {
    Verdict::Failed { kind: FailureKind::Name, message: "it lies too deep".to_owned() }
}

fn cannot_send(pending: &mut Pending, path: String, result: Verdict) {
    pending.total_unsent += 1;
    if pending.unsent.len() < ITEMS_MAX {
        pending.unsent.push(ItemResult { path, action: Did::Scan, result });
    }
}

fn note(pending: &mut Pending, tree: &Tree<'_>, path: &str, entry: &Entry, base: Option<&Base>) {
    let size = if entry.kind == Kind::Dir { 0 } else { entry.stamp.size };
    match base {
        None => add(pending, path, PendingChange::Created, size),
        Some(base) if !is_as_recorded(tree, path, entry, base, base.here) => {
            add(pending, path, PendingChange::Changed, size);
        }
        Some(_) => {}
    }
}

fn add(pending: &mut Pending, path: &str, change: PendingChange, bytes: u64) {
    pending.total_items += 1;
    pending.total_bytes = pending.total_bytes.saturating_add(bytes);
    if pending.items.len() < ITEMS_MAX {
        pending.items.push(PendingItem { path: path.to_owned(), change, bytes });
    }
}
