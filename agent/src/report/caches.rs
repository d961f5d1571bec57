//! What an exchange says about a cache: what the brake holds, what was left undone, whether it is
//! halted. It stays in the status until another exchange says otherwise.

use homeport_policy::connection::State as Connection;
use homeport_policy::decide::Decision;
use homeport_policy::mode_text::why_text;
use homeport_sync::Report;

use crate::limits::UNDONE_MAX;
use crate::outcome::Outcome;
use crate::plan::{Exchange, Plan, Syncs, What};
use crate::report::status::CacheStatus;
use crate::schedule::Planned;
use crate::undone::{self, Left};
use crate::worker::Inspected;

/// A cache as the worker sees it.
pub fn status(exchange: &Exchange, inspected: Inspected) -> CacheStatus {
    let pending = inspected.pending.as_ref();
    CacheStatus {
        path: exchange.remote.unc.to_string(),
        local: exchange.local.display().to_string(),
        mode: "unknown".to_owned(),
        pending_items: pending.map_or(0, |pending| pending.total_items),
        pending_bytes: pending.map_or(0, |pending| pending.total_bytes),
        conflicts: inspected.conflicts,
        recycle: exchange.journal.with_file_name("recycle").display().to_string(),
        error: inspected.error,
        ..CacheStatus::default()
    }
}

/// Which mode a cache is in, since when, why, and what would change it.
pub fn note_mode(
    cache: &mut CacheStatus,
    exchange: &Exchange,
    state: Option<&Connection>,
    decision: Option<&Decision>,
) {
    let Some(state) = state else { return };
    let unc = &exchange.remote.unc;
    let decided = decision.and_then(|decision| {
        decision.caches.iter().map(|cache| &cache.action).find(|cache| cache.path == *unc)
    });
    state.mode.code().clone_into(&mut cache.mode);
    cache.since_unix_ms = state.since_unix_ms;
    cache.why = why_text(state, decided.and_then(|cache| cache.slow_link.0));
    state.explain().text().clone_into(&mut cache.what_would_change_it);
    cache.next_probe_unix_ms = state.is_probed().then_some(state.next_probe_unix_ms);
}

/// When a cache was exchanged as a whole, and when its background sync is due, and why.
pub fn note_sync(cache: &mut CacheStatus, syncs: Option<&Syncs>, planned: Option<&Planned>) {
    cache.last_sync_unix_ms = syncs.and_then(|syncs| syncs.whole_unix_ms);
    cache.next_sync_unix_ms = planned.and_then(|planned| planned.at_unix_ms);
    cache.next_sync_why = planned.map(|planned| planned.why.clone()).unwrap_or_default();
}

/// Why the last attempt to reach the share, or to exchange with it, did not work; until another one
/// does.
fn note_failure(cache: &mut CacheStatus, known: &CacheStatus, plan: &Plan, outcomes: &[Outcome]) {
    let mut steps = plan.steps.iter().zip(outcomes).rev();
    let tried = steps.find_map(|(step, outcome)| match &step.what {
        What::Sync(of) | What::Probe(of) if of.remote.unc.as_str() == cache.path => Some(outcome),
        _ => None,
    });
    cache.failure = match tried {
        Some(Outcome::Failed { why, .. }) => Some(why.clone()),
        Some(outcome) if outcome.is_good() => None,
        _ => known.failure.clone(),
    };
}

/// The exchange of a cache in a plan, and what became of it.
fn exchanged<'p>(
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
    (plan, outcomes): (&Plan, &[Outcome]),
    of: &Exchange,
) {
    let nothing = CacheStatus::default();
    let known = known.unwrap_or(&nothing);
    if cache.error.is_some() && cache.conflicts.is_empty() {
        // What cannot be told now is not nothing.
        (cache.pending_items, cache.pending_bytes) = (known.pending_items, known.pending_bytes);
        cache.conflicts.clone_from(&known.conflicts);
    }
    note_failure(cache, known, plan, outcomes);
    let exchanged = exchanged(plan, outcomes, of);
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
