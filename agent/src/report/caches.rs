//! What an exchange says about a cache: what the brake holds, what was left undone, whether it is
//! halted. It stays in the status until another exchange says otherwise.

use homeport_sync::Report;

use crate::limits::UNDONE_MAX;
use crate::outcome::Outcome;
use crate::plan::{Exchange, Plan, What};
use crate::report::status::CacheStatus;
use crate::undone::{self, Left};

/// The exchange of a cache in a plan, and what became of it.
pub fn exchanged<'p>(
    plan: &'p Plan,
    outcomes: &'p [Outcome],
    cache: &Exchange,
) -> Option<(&'p Exchange, &'p Outcome)> {
    let mut steps = plan.steps.iter().zip(outcomes);
    // A plan exchanges a cache once.
    steps.find_map(|(step, outcome)| match &step.what {
        What::Sync(exchange) if exchange.remote.unc == cache.remote.unc => {
            Some((exchange, outcome))
        }
        _ => None,
    })
}

/// Brings into the status of a cache what an exchange of this turn says about it, and what is known
/// from before where this one does not tell: it may have been of a part, or there was none.
pub fn note(
    cache: &mut CacheStatus,
    known: Option<&CacheStatus>,
    exchanged: Option<(&Exchange, &Outcome)>,
) {
    let nothing = CacheStatus::default();
    let known = known.unwrap_or(&nothing);
    let halted = exchanged.and_then(|(_, outcome)| outcome.halted());
    let Some((exchange, outcome)) = exchanged.filter(|(_, outcome)| outcome.is_good()) else {
        keep(cache, known);
        if let Some((why, hint)) = halted {
            cache.halted = Some(format!("{why} ({hint})"));
        }
        return;
    };
    let quiet = Report::default();
    let report = outcome.report().unwrap_or(&quiet);
    let how = &exchange.how;
    let is_whole = how.only.is_empty() && how.flags.is_none() && !report.cancelled;
    let held = report.held.unwrap_or_default();
    let fresh = CacheStatus {
        held_deletes: held.deletes_local + held.deletes_remote,
        held_changes: held.changes_local + held.changes_remote,
        held_items: undone::held(report),
        undone: undone::left(report),
        undone_count: undone::count(report),
        ..CacheStatus::default()
    };
    keep(cache, &fresh);
    if is_whole {
        return;
    }
    cache.halted.clone_from(&known.halted);
    let lies_in_it = |path: &str| {
        let lies_at = |top: &String| {
            let rest = path.strip_prefix(top.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        !how.only.is_empty() && how.only.iter().any(lies_at)
    };
    // What was released of a part is held no more; a whole exchange counts the rest anew.
    let counts = &report.counts;
    let went = counts.deleted_local + counts.deleted_remote;
    let came = counts.uploaded + counts.downloaded;
    let released = |held: u64, done: u64| held.saturating_sub(if how.release { done } else { 0 });
    cache.held_deletes = fresh.held_deletes.max(released(known.held_deletes, went));
    cache.held_changes = fresh.held_changes.max(released(known.held_changes, came));
    let is_held = |path: &&String| !lies_in_it(path) && !fresh.held_items.contains(path);
    cache.held_items.extend(known.held_items.iter().filter(is_held).cloned());
    cache.held_items.truncate(UNDONE_MAX);
    let is_fresh = |path: &str| fresh.undone.iter().any(|left| left.path == path);
    let is_left = |left: &&Left| !lies_in_it(&left.path) && !is_fresh(&left.path);
    let before: Vec<Left> = known.undone.iter().filter(is_left).cloned().collect();
    let gone = (known.undone.len() - before.len()) as u64;
    cache.undone_count += known.undone_count.saturating_sub(gone);
    cache.undone.extend(before);
    cache.undone.truncate(UNDONE_MAX);
}

/// Copies what only exchanges tell.
fn keep(cache: &mut CacheStatus, from: &CacheStatus) {
    (cache.held_deletes, cache.held_changes) = (from.held_deletes, from.held_changes);
    cache.held_items.clone_from(&from.held_items);
    cache.undone.clone_from(&from.undone);
    cache.undone_count = from.undone_count;
    cache.halted.clone_from(&from.halted);
}
