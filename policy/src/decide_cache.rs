//! Decides which network folders are kept offline, when their link is slow, and when they sync.

use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::connection::Thresholds;
use crate::decide::{FolderAction, FolderDecision};
use crate::facts::Facts;
use crate::folder::Folder;
use crate::merge::ResultantSet;
use crate::reason::{Because, Decided, Reason};
use crate::schedule::{BackgroundSync, Every};
use crate::settings::Id;
use crate::standing::Standing;
use crate::unc::Unc;
use crate::value::{Value, duration_text};

/// A network folder that is kept offline.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Cache {
    /// The folder.
    pub path: Unc,
    /// What it is kept for.
    pub kind: CacheKind,
    /// When its link counts as slow.
    pub slow_link: SlowLink,
    /// Synchronised at sign-in and sign-out only.
    pub suspended: bool,
}

/// What a network folder is kept offline for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CacheKind {
    /// A known folder is redirected to it.
    Redirected(Folder),
    /// Policy assigns it.
    Assigned,
}

/// When a link counts as slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowLink(pub Option<Thresholds>);

impl Serialize for SlowLink {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_string())
    }
}

impl std::fmt::Display for SlowLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(thresholds) = self.0 else { return f.write_str("never") };
        if thresholds.is_always_offline() {
            return f.write_str("always offline");
        }
        let latency = thresholds.latency.map(|d| format!("latency above {}", duration_text(d)));
        let throughput = thresholds
            .throughput
            .map(|rate| format!("throughput below {}", crate::value::rate_text(rate)));
        let both: Vec<String> = latency.into_iter().chain(throughput).collect();
        f.write_str(&both.join(" or "))
    }
}

/// Whether background sync runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "action")]
pub enum BackgroundAction {
    /// It runs at these times.
    Scheduled {
        /// When.
        #[serde(serialize_with = "schedule_text")]
        schedule: BackgroundSync,
    },
    /// It does not run; a person can always synchronise by hand.
    Stopped {
        /// Whether the network's cost is what stopped it.
        costed: bool,
    },
}

fn schedule_text<S: Serializer>(schedule: &BackgroundSync, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&describe(schedule))
}

/// A schedule in words.
pub fn describe(schedule: &BackgroundSync) -> String {
    let mut text = match &schedule.every {
        Every::Interval { interval, variance } => {
            format!("every {} + 0–{}", duration_text(*interval), duration_text(*variance))
        }
        Every::Cron(cron) => format!("at {cron}"),
    };
    if let Some(blockout) = schedule.blockout {
        let (start, long) = (blockout.start.format("%H:%M"), duration_text(blockout.duration));
        text.push_str(&format!(", not from {start} for {long}"));
    }
    if let Some(longest) = schedule.max_time_without_sync {
        text.push_str(&format!(", but at least every {}", duration_text(longest)));
    }
    text
}

pub(crate) fn decide_caches(
    rsop: &ResultantSet,
    folders: &[FolderDecision],
) -> Vec<Arc<Decided<Cache>>> {
    let standing = rsop.standing();
    if !standing.enabled {
        return Vec::new();
    }
    let mut caches: Vec<Decided<Cache>> = Vec::new();
    for FolderDecision { folder, decided } in folders {
        let FolderAction::Redirect(redirection) = &decided.action else { continue };
        if !redirection.available_offline {
            continue;
        }
        let because = Because::policy(Reason::CacheRedirected, Some(&redirection.policy));
        let kind = CacheKind::Redirected(*folder);
        add(standing, &mut caches, &redirection.target, kind, because);
    }
    if !caches.iter().any(|cache| standing.touches_assigned(&cache.action.path)) {
        // The usual case: what policy assigns is the same as without the redirected folders.
        let mut all = Vec::with_capacity(caches.len() + standing.assigned.len());
        all.extend(caches.into_iter().map(Arc::new));
        all.extend(standing.assigned.iter().map(Arc::clone));
        return all;
    }
    add_assigned(rsop, standing, &mut caches);
    caches.into_iter().map(Arc::new).collect()
}

/// Adds what policy assigns to the caches there are.
pub(crate) fn add_assigned(
    rsop: &ResultantSet,
    standing: &Standing,
    caches: &mut Vec<Decided<Cache>>,
) {
    for sourced in rsop.list(Id::Assigned) {
        let Value::Unc(path) = &sourced.value else { continue };
        let because = Because::policy(Reason::CacheAssigned, Some(&sourced.origin));
        add(standing, caches, path, CacheKind::Assigned, because);
    }
}

/// One cache per tree: a folder inside another cache is part of that one.
fn add(
    standing: &Standing,
    caches: &mut Vec<Decided<Cache>>,
    path: &Unc,
    kind: CacheKind,
    first: Because,
) {
    for cache in caches.iter_mut() {
        if path.is_within(&cache.action.path) {
            return cache.because.push(first);
        }
    }
    // Room for what is said of the link and of suspension.
    let mut because = Vec::with_capacity(3);
    because.push(first);
    caches.retain(|cache| {
        let keep = !cache.action.path.is_within(path);
        if !keep {
            let why = |one: &&Because| {
                matches!(one.reason, Reason::CacheRedirected | Reason::CacheAssigned)
            };
            because.extend(cache.because.iter().filter(why).cloned());
        }
        keep
    });
    let slow_link = standing.slow_link(path, &mut because);
    let suspended = standing.suspended(path, &mut because);
    let action = Cache { path: path.clone(), kind, slow_link, suspended };
    caches.push(Decided { action, because: because.into() });
}

pub(crate) fn decide_background(
    rsop: &ResultantSet,
    facts: &Facts,
) -> Arc<Decided<BackgroundAction>> {
    let uncosted = &rsop.standing().background;
    let BackgroundAction::Scheduled { .. } = uncosted.action else { return Arc::clone(uncosted) };
    let Some(blocked) = cost_blocks(rsop, facts) else { return Arc::clone(uncosted) };
    Arc::new(match cost_lifted(rsop, facts) {
        Some(lifted) => {
            let because = [&[blocked, lifted], &uncosted.because[..]].concat();
            Decided { action: uncosted.action.clone(), because: because.into() }
        }
        None => Decided::new(BackgroundAction::Stopped { costed: true }, Vec::new(), blocked),
    })
}

/// Roaming, near or over the limit; metered alone does not block (`windows-semantics` 6).
fn cost_blocks(rsop: &ResultantSet, facts: &Facts) -> Option<Because> {
    let cost = facts.network.cost;
    if cost.blocks() {
        return Some(Because::fact(Reason::CostBlocks, format!("the network is {}", cost.name())));
    }
    let limit = rsop.number(Id::MeteredDailyLimit).filter(|_| cost.is_metered())?;
    let used = facts.network.metered_bytes_today;
    let origin = rsop.one(Id::MeteredDailyLimit).map(|got| &got.origin);
    (used >= limit).then(|| {
        let size = |bytes| Value::Size(bytes).to_string();
        let fact = format!("{} of {} used today", size(used), size(limit));
        Because::policy(Reason::CostDailyLimit, origin).with_fact(fact)
    })
}

/// How many bytes a day may travel over the metered network for this user, if anything says so: not
/// where it is not metered, nor for whoever is exempt. What a person asks for by hand goes all the same.
pub fn metered_limit(rsop: &ResultantSet, facts: &Facts) -> Option<u64> {
    let limit = rsop.number(Id::MeteredDailyLimit).filter(|_| facts.network.cost.is_metered())?;
    cost_lifted(rsop, facts).is_none().then_some(limit)
}

fn cost_lifted(rsop: &ResultantSet, facts: &Facts) -> Option<Because> {
    let allowed = rsop.flag(Id::MeteredAllowBackgroundSync, false);
    if allowed.value {
        return Some(Because::policy(Reason::CostAllowed, allowed.origin));
    }
    let user = facts.user.as_ref()?;
    let exempt = rsop.list(Id::MeteredExempt).iter().find_map(|sourced| match &sourced.value {
        Value::Principal(name) if user.is_called(name) || user.groups.contains(name) => {
            Some((name, &sourced.origin))
        }
        _ => None,
    });
    exempt.map(|(name, origin)| {
        Because::policy(Reason::CostExempt, Some(origin)).with_fact(name.as_str())
    })
}
