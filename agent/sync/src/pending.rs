//! What is only on this computer: it would be lost if its disk died now.

use crate::crew::Crew;
use crate::engine::{Side, SyncError};
use crate::fs::{Open, PATH_BYTES_MAX, Tree};
use crate::item::{Base, Entry, Kind};
use crate::journal::Journal;
use crate::look::is_as_recorded;
use crate::open::open_local;
use crate::path::join;
use crate::report::{ITEMS_MAX, Options, Pair, Pending, PendingChange, PendingItem};
use crate::roots;
use crate::scan::{Filter, read_folder};
use crate::walk::is_emptied;

/// Lists what is only on this computer.
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
            false => Ok(crate::scan::Listing::default()),
        };
        let listing = match listing {
            Ok(listing) => listing,
            Err(source) if folder.is_empty() => {
                let (side, path) = (Side::Local, pair.local.clone());
                return Err(SyncError::RootUnavailable { side, path, source });
            }
            Err(_) => continue, // what cannot be seen is no removal
        };
        let rows = number.map_or(Ok(Vec::new()), |number| readers.rows(number))?;
        let hidden = |name: &str| listing.hidden.iter().any(|hidden| **hidden == *name);
        let emptied = folder.is_empty() && is_emptied(&listing, &rows);
        if emptied && journal.has_more_than(usize::from(marked))? {
            return Err(roots::emptied(Side::Local));
        }
        for (name, entry) in &listing.entries {
            let at = rows.binary_search_by(|row| row.name.cmp(name)).ok();
            let row = at.map(|at| &rows[at]);
            let path = join(&folder, name);
            note(&mut pending, &tree, &path, entry, row.map(|row| &row.base));
            if entry.kind == Kind::Dir {
                waiting.push((path, true, row.and_then(|row| row.folder)));
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
            if path.len() <= PATH_BYTES_MAX {
                waiting.extend(row.folder.map(|number| (path, false, Some(number))));
            }
        }
    }
    pending.items.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(pending)
}

fn note(pending: &mut Pending, tree: &Tree<'_>, path: &str, entry: &Entry, base: Option<&Base>) {
    let size = entry.stamp.size;
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
    pending.total_bytes += bytes;
    if pending.items.len() < ITEMS_MAX {
        pending.items.push(PendingItem { path: path.to_owned(), change, bytes });
    }
}
