//! Plans which caches exchange with their shares on an occasion, and says why others do not.

use homeport_policy::connection::{Allowed, Mode, OfflineReason, State};
use homeport_policy::decide::BackgroundAction;
use homeport_policy::reason::{Because, Reason};
use homeport_policy::sync_rules::Extent;
use homeport_policy::unc::Unc;
use homeport_sync::flags::Flags;

use crate::observed::{Phase, Retained};
use crate::plan::mounts::{Unmapped, locate};
use crate::plan::{Exchange, Ground, Occasion, Plan, What, part};
use crate::wish::How;

/// A cache that exists or is to exist, and what it is for.
struct Scope {
    unc: Unc,
    because: Vec<Because>,
    suspended: bool,
    /// Whether its folder was made by policy and may be made on the share.
    create: bool,
    /// Whether a folder is redirected into it, or policy assigns it.
    is_lived_in: bool,
    /// If not empty, only these paths below it.
    only: Vec<String>,
}

pub(super) fn plan(ground: &Ground<'_>, plan: &mut Plan) {
    let mut wanted = wanted(ground);
    // Whoever has waited longest comes first, so that a large folder that is cut short again and again
    // keeps no other from its turn.
    wanted.sort_by_key(|scope| {
        ground.syncs.get(&scope.unc).and_then(|syncs| syncs.tried_unix_ms).unwrap_or(i64::MIN)
    });
    if let Some(only) = ground.wish.only.as_ref().filter(|_| wanted.is_empty()) {
        let all: Vec<Unc> = scopes(ground).into_iter().map(|scope| scope.unc).collect();
        let (why, hint) = part::lies_outside(&ground.paths.user, all.iter());
        return plan.cannot(only, why, hint, &[]);
    }
    for scope in wanted {
        // A folder that this plan brings home is exchanged and given up by its own steps.
        if leaves(plan, &scope.unc) {
            continue;
        }
        let arrives = arrives(plan, &scope.unc);
        if !arrives && !scope.is_lived_in {
            continue; // its folder was not redirected, and the redirection says why
        }
        match directions(ground, &scope, arrives) {
            Err(why) => plan.not_now(&scope.unc, why),
            Ok((false, false)) if ground.occasion != Occasion::Manual => {
                let state = ground.connections.get(&scope.unc);
                if ground.occasion == Occasion::Exchange
                    && probe_due(ground, state, OfflineReason::Slow)
                    && let Ok(exchange) = exchange(ground, &scope.unc, false, false)
                {
                    plan.push(What::Probe(exchange), &scope.because);
                }
            }
            Ok((sync_in, sync_out)) => match exchange(ground, &scope.unc, sync_in, sync_out) {
                Ok(exchange) => plan.push(What::Sync(scope.exchange(exchange)), &scope.because),
                Err(error) => {
                    let (why, hint) = (error.to_string(), error.hint());
                    plan.cannot(&scope.unc, why, hint, &scope.because);
                }
            },
        }
    }
}

impl Scope {
    /// The exchange of this cache, from that of any cache.
    fn exchange(&self, mut exchange: Exchange) -> Exchange {
        exchange.remote.create = self.create;
        exchange.remote.exclusive = self.create;
        exchange.how.pinned = self.pinned();
        exchange.how.only.clone_from(&self.only);
        exchange
    }

    /// Whether it is kept for nothing but an assignment of policy that was carried out before, and
    /// policy wants no more of a sign-in (`Pol_QuickAdimPin`).
    fn is_filled(&self, ground: &Ground<'_>) -> bool {
        let syncs = ground.syncs.get(&self.unc);
        let is_assigned = |because: &Because| because.reason != Reason::CacheRedirected;
        ground.rules.economical_assignment
            && self.because.iter().all(is_assigned)
            && syncs.is_some_and(|syncs| syncs.whole_unix_ms.is_some())
    }

    /// For whom everything in it is always stored here.
    fn pinned(&self) -> u32 {
        self.because.iter().fold(0, |all, because| match because.reason {
            Reason::CacheRedirected => all | homeport_sync::pins::REDIRECTED,
            Reason::CacheAssigned => all | homeport_sync::pins::USER_POLICY,
            _ => all,
        })
    }
}

/// Every cache there is, whether it may be exchanged now or not.
pub(super) fn caches(ground: &Ground<'_>) -> Vec<Exchange> {
    let lived_in = wanted(ground).into_iter().filter(|scope| scope.is_lived_in);
    lived_in
        .filter_map(|scope| Some(scope.exchange(exchange(ground, &scope.unc, true, true).ok()?)))
        .collect()
}

/// The caches that a person wants; that is every one, if none was named.
fn wanted(ground: &Ground<'_>) -> Vec<Scope> {
    let mut scopes = scopes(ground);
    if let Some(only) = &ground.wish.only {
        scopes.retain_mut(|scope| {
            let below = part::reached(ground, &scope.unc, only).filter(|_| scope.is_lived_in);
            scope.only =
                below.iter().flat_map(|below| narrowed(below, &ground.wish.folders)).collect();
            below.is_some()
        });
    }
    scopes
}

/// The paths below the root of a cache that are wanted; if there are none, everything is.
fn narrowed(below: &str, folders: &[String]) -> Vec<String> {
    match (below, folders) {
        ("", []) => Vec::new(),
        ("", folders) => folders.to_vec(),
        (below, []) => vec![below.to_owned()],
        (below, folders) => folders.iter().map(|folder| format!("{below}/{folder}")).collect(),
    }
}

/// What policy wants kept offline, and every cache behind a folder that is still redirected.
fn scopes(ground: &Ground<'_>) -> Vec<Scope> {
    let mut scopes: Vec<Scope> = Vec::new();
    for cache in &ground.decision.caches {
        let create = matches!(cache.action.kind, homeport_policy::decide::CacheKind::Redirected(_));
        let lives_there = |retained: &Retained| {
            retained.phase == Phase::Applied
                && retained.cached
                && retained.target.below(&cache.action.path).is_some()
        };
        let is_lived_in = !create || ground.observed.retained.values().any(lives_there);
        scopes.push(Scope {
            is_lived_in,
            unc: cache.action.path.clone(),
            because: cache.because.to_vec(),
            suspended: cache.action.suspended,
            create,
            only: Vec::new(),
        });
    }
    let redirected = |retained: &&Retained| retained.cached && retained.phase != Phase::Restored;
    for retained in ground.observed.retained.values().filter(redirected) {
        if !scopes.iter().any(|scope| retained.target.below(&scope.unc).is_some()) {
            let fact = format!("retained from {}", retained.policy);
            let because = vec![Because::fact(Reason::CacheRedirected, fact)];
            let unc = retained.target.clone();
            let is_lived_in = true;
            let (suspended, create, only) = (false, false, Vec::new());
            scopes.push(Scope { unc, because, suspended, create, is_lived_in, only });
        }
    }
    scopes
}

fn leaves(plan: &Plan, unc: &Unc) -> bool {
    plan.steps.iter().any(|step| match &step.what {
        What::DropCache { exchange, .. } | What::Sync(exchange) => exchange.remote.unc == *unc,
        _ => false,
    })
}

fn arrives(plan: &Plan, unc: &Unc) -> bool {
    plan.steps.iter().any(|step| match &step.what {
        What::Redirect(redirect) => redirect.retain.target.below(unc).is_some(),
        _ => false,
    })
}

/// Whether a connection that is offline by itself is due for another look.
fn probe_due(ground: &Ground<'_>, state: Option<&State>, reason: OfflineReason) -> bool {
    state.is_some_and(|state| {
        state.mode == Mode::Offline(reason) && ground.now_unix_ms >= state.next_probe_unix_ms
    })
}

/// Which way changes go now: `(in, out)`, or why none go.
fn directions(ground: &Ground<'_>, scope: &Scope, arrives: bool) -> Result<(bool, bool), String> {
    let state = ground.connections.get(&scope.unc);
    let both =
        Ok(ground.wish.flags.map_or((true, true), |flags| (flags.sync_in(), flags.sync_out())));
    match ground.occasion {
        Occasion::Manual => match state.map(State::manual_sync_allowed) {
            Some(Allowed::No(why)) => Err(why.text().to_owned()),
            _ => both,
        },
        Occasion::Refresh => {
            if arrives {
                automatic(ground, state)?;
            }
            Ok((arrives, arrives))
        }
        Occasion::Logon | Occasion::Logoff => {
            let at_logon = ground.occasion == Occasion::Logon;
            let extent = if at_logon { ground.rules.at_logon } else { ground.rules.at_logoff };
            automatic(ground, state)?;
            match extent {
                _ if arrives => both,
                Extent::Quick | Extent::Full if at_logon && scope.is_filled(ground) => {
                    Err("it is here already, and sign-in fills only what policy newly assigns \
                         (offline-files.economical-assignment)"
                        .to_owned())
                }
                Extent::None => Err("policy does not synchronise it now".to_owned()),
                Extent::Quick => Ok((at_logon, !at_logon)),
                Extent::Full => both,
            }
        }
        Occasion::Background | Occasion::Exchange if scope.suspended => {
            Err(Reason::CacheSuspended.text().to_owned())
        }
        Occasion::Background => background(ground, state),
        Occasion::Exchange => {
            automatic(ground, state)?;
            // The exchange with a share that was away is also the look whether it is back.
            let now = state.is_some_and(|state| state.mode == Mode::Online)
                || probe_due(ground, state, OfflineReason::Error);
            Ok((now, now))
        }
    }
}

/// What nobody asked for by hand stops while the network costs, or while a person works offline.
pub(super) fn automatic(ground: &Ground<'_>, state: Option<&State>) -> Result<(), String> {
    if let Some(why) = costed(ground) {
        return Err(why);
    }
    match state.map(|state| state.mode) {
        Some(Mode::Offline(OfflineReason::Forced)) => {
            Err("a person chose to work offline".to_owned())
        }
        _ => Ok(()),
    }
}

fn costed(ground: &Ground<'_>) -> Option<String> {
    let decided = &ground.decision.background_sync;
    match decided.action {
        BackgroundAction::Stopped { costed: true } => {
            decided.because.last().map(ToString::to_string)
        }
        _ => None,
    }
}

fn background(ground: &Ground<'_>, state: Option<&State>) -> Result<(bool, bool), String> {
    let decided = &ground.decision.background_sync;
    if let BackgroundAction::Stopped { .. } = decided.action {
        return Err(decided.because.last().map(ToString::to_string).unwrap_or_default());
    }
    let Some(state) = state else { return Ok((true, true)) };
    match state.background_sync_allowed(ground.rules.when_working_offline) {
        Allowed::Yes => Ok((true, true)),
        Allowed::No(why) => match state.mode {
            // A share that did not answer is tried again: the attempt is the probe.
            Mode::Offline(OfflineReason::Error) | Mode::Online => Ok((true, true)),
            Mode::Offline(_) => Err(why.text().to_owned()),
        },
    }
}

/// The exchange of a cache with its share.
///
/// # Errors
/// [`Unmapped`] when no directory on this computer holds the share.
pub(super) fn exchange(
    ground: &Ground<'_>,
    unc: &Unc,
    sync_in: bool,
    sync_out: bool,
) -> Result<Exchange, Unmapped> {
    Ok(Exchange {
        remote: locate(ground.mounts, unc)?,
        local: ground.paths.cache_place(unc),
        journal: ground.paths.journal(unc, "cache"),
        sync_in,
        sync_out,
        rules: ground.rules.clone(),
        exclude: Vec::new(),
        how: how(ground),
    })
}

/// What nobody asked for keeps out of people's way.
fn how(ground: &Ground<'_>) -> How {
    let by_itself = ground.occasion != Occasion::Manual;
    let flags = ground.wish.flags;
    How {
        background: by_itself || flags.is_some_and(Flags::background),
        skip_suspended: by_itself || flags.is_some_and(Flags::skip_suspended_dirs),
        pinned: 0,
        release: ground.wish.release,
        root: ground.wish.root,
        flags,
        only: Vec::new(),
        named: !by_itself && ground.wish.only.is_some(),
        disk: ground.disk,
        byte_budget: None, // the agent knows it when the step's turn comes
    }
}

#[cfg(test)]
mod tests {
    use super::narrowed;

    #[test]
    fn a_wish_for_folders_counts_from_the_place_that_is_named() {
        for (below, folders, expected) in [
            ("", &[][..], &[][..]),
            ("Documents", &[], &["Documents"]),
            ("", &["a", "b/c"], &["a", "b/c"]),
            ("Documents", &["a", "b/c"], &["Documents/a", "Documents/b/c"]),
        ] {
            let folders: Vec<String> = folders.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(narrowed(below, &folders), expected, "{below} {folders:?}");
        }
    }
}
