//! What the agent knows of each scope: its mode, when it was exchanged, and when it is due again.

use std::collections::BTreeMap;
use std::mem::take;
use std::time::Duration;

use homeport_policy::connection::{
    Allowed, Mode, NotAllowed, Observation, OfflineReason, Probe, State as Connection,
};
use homeport_policy::decide::{BackgroundAction, Decision};
use homeport_policy::mode_text::why_text;
use homeport_policy::schedule::{BackgroundSync, next_sync};
use homeport_policy::unc::Unc;

use super::Agent;
use crate::cycle::Turn;
use crate::limits::{SHARE_PATIENCE, SHARE_PATIENCE_AWAY, SHARE_PATIENCE_WAITED_FOR};
use crate::outcome::Outcome;
use crate::plan::{Occasion, Step, What};
use crate::schedule::{Due, Planned};
use crate::share::Measured;
use crate::state::UserState;

impl Agent {
    /// What an exchange says about the connection, and when it was.
    pub(super) fn note_exchange(
        &mut self,
        turn: &Turn,
        step: &Step,
        outcome: &Outcome,
        measured: Option<Measured>,
    ) {
        let (What::Sync(exchange) | What::Probe(exchange)) = &step.what else { return };
        let unc = &exchange.remote.unc;
        let probe = match (outcome, measured) {
            (_, Some(Measured { latency, throughput })) => Probe::Reachable { latency, throughput },
            (Outcome::Failed { unreachable: true, .. }, None) => Probe::Unreachable,
            _ => Probe::NotTried,
        };
        self.probes.push((unc.clone(), probe));
        if matches!(step.what, What::Probe(_)) {
            return;
        }
        let now = self.clock.unix_ms();
        let user = self.users.users.entry(turn.user.clone()).or_default();
        let syncs = user.syncs.entry(unc.clone()).or_default();
        syncs.tried_unix_ms = Some(now);
        let whole = exchange.sync_in && exchange.sync_out && exchange.how.only.is_empty();
        let is_clean = outcome.report().is_none_or(|report| {
            report.counts.failed + report.counts.put_off == 0 && !report.cancelled
        });
        if whole && exchange.how.flags.is_none() && outcome.is_good() && is_clean {
            syncs.whole_unix_ms = Some(now);
        }
        if outcome.is_good() && exchange.sync_out {
            self.sent.insert(unc.clone());
        }
    }

    /// How long a share may leave a step without an answer. One that is known to be away keeps others
    /// waiting for less, unless somebody asks for it.
    pub(super) fn patience(&self, turn: &Turn, step: &Step) -> Duration {
        if matches!(turn.occasion, Occasion::Logon | Occasion::Logoff) {
            return SHARE_PATIENCE_WAITED_FOR;
        }
        let (What::Sync(exchange) | What::Probe(exchange)) = &step.what else {
            return SHARE_PATIENCE;
        };
        let user = self.users.users.get(&turn.user);
        let state = user.and_then(|user| user.connections.get(&exchange.remote.unc));
        let is_away = state.is_some_and(|of| of.mode == Mode::Offline(OfflineReason::Error));
        match turn.occasion {
            Occasion::Manual => SHARE_PATIENCE,
            _ if is_away => SHARE_PATIENCE_AWAY,
            _ => SHARE_PATIENCE,
        }
    }

    /// Brings what the turn found, and what policy says, into the state of each connection.
    pub fn note_connections(&mut self, turn: &Turn, decision: &Decision) {
        let now = self.clock.unix_ms();
        let costed = decision.background_sync.action == BackgroundAction::Stopped { costed: true };
        let mut probes: BTreeMap<Unc, Probe> = self.probes.drain(..).collect();
        let sent = take(&mut self.sent);
        let user = self.users.users.entry(turn.user.clone()).or_default();
        let caches = decision.caches.iter().map(|cache| &cache.action);
        for cache in caches.clone() {
            probes.entry(cache.path.clone()).or_insert(Probe::NotTried);
        }
        for (unc, probe) in probes {
            let cache = caches.clone().find(|cache| cache.path == unc);
            let thresholds = cache.and_then(|cache| cache.slow_link.0);
            let seen = Observation {
                at_unix_ms: now,
                probe,
                forced: user.is_forced(&unc),
                suspended: cache.is_some_and(|cache| cache.suspended) && user.signed_in,
                costed,
                thresholds,
            };
            let known = user.connections.get(&unc).copied();
            let state = known.unwrap_or_else(|| Connection::initial(now)).observe(&seen);
            let before = known.map_or("new", |known| known.mode.code());
            if before != state.mode.code() {
                let (user, path, mode) = (&turn.user, unc.as_str(), state.mode.code());
                let (why, cause) = (why_text(&state, thresholds), &turn.cause);
                tracing::info!(user, path, before, mode, why, cause, "Mode changed.");
                self.metrics.mode_changed(state.mode);
            }
            let comes_back = state.mode == Mode::Online
                && known.is_some_and(|known| known.mode != Mode::Online)
                && user.syncs.get(&unc).is_some_and(|syncs| syncs.whole_unix_ms.is_some());
            if comes_back && !sent.contains(&unc) {
                self.returned.insert(turn.user.clone());
            }
            user.connections.insert(unc, state);
        }
    }

    /// When every cache of the user was last exchanged as a whole; until then, when it was before.
    pub(super) fn note_last_sync(&mut self, turn: &Turn, decision: &Decision) {
        let now = self.clock.unix_ms();
        let user = self.users.users.entry(turn.user.clone()).or_default();
        let whole = |unc: &Unc| user.syncs.get(unc).and_then(|syncs| syncs.whole_unix_ms);
        let all: Option<Vec<i64>> =
            decision.caches.iter().map(|cache| whole(&cache.action.path)).collect();
        // A user without caches has nothing to catch up with.
        if let Some(all) = all {
            user.last_sync_unix_ms = Some(all.into_iter().min().unwrap_or(now));
        }
    }

    /// When the background sync of each of the user's scopes is due.
    pub(super) fn note_schedule(&mut self, turn: &Turn, decision: &Decision) {
        let user = self.known(&turn.user);
        let now = self.clock.local();
        let scopes = decision.caches.iter().map(|cache| &cache.action.path);
        let planned: Vec<(Unc, Planned)> = match &decision.background_sync.action {
            BackgroundAction::Scheduled { schedule } if user.signed_in => scopes
                .map(|unc| (unc.clone(), planned(schedule, &user, unc, &now, self.seed)))
                .collect(),
            _ => Vec::new(),
        };
        self.schedule.plan(&turn.user, planned);
        self.status.next_background_sync_unix_ms = self.schedule.next(self.clock.unix_ms());
    }

    /// Background syncs that are due, the one that has waited longest first.
    pub fn take_due(&mut self) -> Vec<Due> {
        let now = self.clock.unix_ms();
        let due = self.schedule.take_due(now);
        for Due { user, unc, why, code } in &due {
            tracing::info!(user, path = unc.as_str(), cause = why, "Background sync is due.");
            self.metrics.background_sync(code);
        }
        self.status.next_background_sync_unix_ms = self.schedule.next(now);
        due
    }

    /// Users of whom a scope has come back and was not exchanged yet.
    pub fn take_returned(&mut self) -> Vec<String> {
        take(&mut self.returned).into_iter().collect()
    }

    /// The network is another one: what a probe can change is probed as soon as possible.
    pub fn probe_soon(&mut self) {
        let now = self.clock.unix_ms();
        for user in self.users.users.values_mut().filter(|user| user.signed_in) {
            for state in user.connections.values_mut() {
                if state.is_probed() {
                    *state = state.probed_at(now);
                }
            }
        }
    }

    /// A person switches folders to working offline, or back; without a folder, everything.
    pub fn force(&mut self, user: &str, unc: Option<&Unc>, offline: bool) {
        let known = self.users.users.entry(user.to_owned()).or_default();
        match unc {
            Some(unc) => {
                known.forced.retain(|forced| !forced.is_within(unc));
                known.forced.extend(offline.then(|| unc.clone()));
            }
            None => {
                known.works_offline = offline;
                if !offline {
                    known.forced.clear();
                }
            }
        }
    }
}

/// The next background sync of one scope.
fn planned(
    schedule: &BackgroundSync,
    user: &UserState,
    unc: &Unc,
    now: &chrono::DateTime<chrono::Local>,
    seed: u64,
) -> Planned {
    let when_offline = user.rules.as_ref().is_some_and(|rules| rules.when_working_offline);
    let allowed =
        user.connections.get(unc).map(|state| state.background_sync_allowed(when_offline));
    match allowed {
        Some(Allowed::No(why)) if why != NotAllowed::OnlineAlready => {
            return Planned { at_unix_ms: None, why: why.text().to_owned(), code: "not-allowed" };
        }
        _ => {}
    }
    let last = user.syncs.get(unc).and_then(|syncs| syncs.whole_unix_ms);
    let last = last.and_then(chrono::DateTime::from_timestamp_millis);
    let last = last.map(|last| last.with_timezone(&chrono::Local));
    let next = next_sync(schedule, last.as_ref(), now, seed);
    Planned {
        at_unix_ms: next.at.map(|at| at.timestamp_millis()),
        why: next.why.text().to_owned(),
        code: next.why.code(),
    }
}
