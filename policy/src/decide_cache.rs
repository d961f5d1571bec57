//! Decides which network folders are kept offline, when their link is slow, and when they sync.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::connection::{Thresholds, most_specific};
use crate::decide::{FolderAction, FolderDecision};
use crate::facts::Facts;
use crate::folder::Folder;
use crate::merge::ResultantSet;
use crate::reason::{Because, Decided, Reason};
use crate::schedule::{BackgroundSync, Every};
use crate::settings::Id;
use crate::unc::Unc;
use crate::value::{SlowLinkRule, Value, duration_text};

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

/// Windows 8's latency threshold.
const SLOW_LATENCY_DEFAULT: Duration = Duration::from_millis(35);
/// Windows 8's interval between background syncs (the documents also say "hourly"; this one is confirmed).
const INTERVAL_DEFAULT: Duration = Duration::from_secs(120 * 60);
const VARIANCE_DEFAULT: Duration = Duration::from_secs(60 * 60);

pub(crate) fn decide_caches(
    rsop: &ResultantSet,
    folders: &[FolderDecision],
) -> Vec<Decided<Cache>> {
    let enabled = rsop.flag(Id::OfflineFilesEnabled, true);
    if !enabled.value {
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
        add(rsop, &mut caches, &redirection.target, kind, because);
    }
    for sourced in rsop.list(Id::Assigned) {
        let Value::Unc(path) = &sourced.value else { continue };
        let because = Because::policy(Reason::CacheAssigned, Some(&sourced.origin));
        add(rsop, &mut caches, path, CacheKind::Assigned, because);
    }
    caches
}

/// One cache per tree: a folder inside another cache is part of that one.
fn add(
    rsop: &ResultantSet,
    caches: &mut Vec<Decided<Cache>>,
    path: &Unc,
    kind: CacheKind,
    because: Because,
) {
    for cache in caches.iter_mut() {
        if path.below(&cache.action.path).is_some() {
            cache.because.push(because);
            return;
        }
    }
    let mut because = vec![because];
    let mut inside = Vec::new();
    caches.retain(|cache| {
        let keep = cache.action.path.below(path).is_none();
        if !keep {
            let why = |one: &&Because| {
                matches!(one.reason, Reason::CacheRedirected | Reason::CacheAssigned)
            };
            inside.extend(cache.because.iter().filter(why).cloned());
        }
        keep
    });
    because.extend(inside);
    let slow_link = slow_link(rsop, path, &mut because);
    let suspended = suspended(rsop, path, &mut because);
    let action = Cache { path: path.clone(), kind, slow_link, suspended };
    caches.push(Decided { action, because });
}

fn slow_link(rsop: &ResultantSet, path: &Unc, because: &mut Vec<Because>) -> SlowLink {
    let enabled = rsop.flag(Id::SlowLinkEnabled, true);
    if !enabled.value {
        because.push(Because::policy(Reason::SlowLinkDisabled, enabled.origin));
        return SlowLink(None);
    }
    let rules = rsop.list(Id::SlowLinkRule).iter().filter_map(|sourced| match &sourced.value {
        Value::SlowLink(rule) => Some((rule.path.as_str(), (rule, &sourced.origin))),
        _ => None,
    });
    match most_specific(rules, path.as_str()) {
        Some((SlowLinkRule { latency, throughput, path }, origin)) => {
            let thresholds = Thresholds { latency: *latency, throughput: *throughput };
            let reason = match thresholds.is_always_offline() {
                true => Reason::AlwaysOffline,
                false => Reason::SlowLinkRule,
            };
            because.push(Because::policy(reason, Some(origin)).with_fact(path));
            SlowLink(Some(thresholds))
        }
        None => {
            because.push(Because::plain(Reason::SlowLinkDefault));
            let latency = Some(SLOW_LATENCY_DEFAULT);
            SlowLink(Some(Thresholds { latency, throughput: None }))
        }
    }
}

fn suspended(rsop: &ResultantSet, path: &Unc, because: &mut Vec<Because>) -> bool {
    let found = rsop
        .list(Id::ProfileSyncAtLogonLogoffOnly)
        .iter()
        .find(|sourced| matches!(&sourced.value, Value::Unc(unc) if path.below(unc).is_some()));
    if let Some(sourced) = found {
        because.push(Because::policy(Reason::CacheSuspended, Some(&sourced.origin)));
    }
    found.is_some()
}

pub(crate) fn decide_background(rsop: &ResultantSet, facts: &Facts) -> Decided<BackgroundAction> {
    let mut because = Vec::new();
    let stopped = |costed| BackgroundAction::Stopped { costed };
    for (id, reason) in [
        (Id::OfflineFilesEnabled, Reason::OfflineFilesDisabled),
        (Id::BackgroundSyncEnabled, Reason::BackgroundDisabled),
    ] {
        let enabled = rsop.flag(id, true);
        if !enabled.value {
            let last = Because::policy(reason, enabled.origin);
            return Decided::new(stopped(false), because, last);
        }
    }
    if let Some(blocked) = cost_blocks(rsop, facts) {
        match cost_lifted(rsop, facts) {
            Some(lifted) => because.extend([blocked, lifted]),
            None => return Decided::new(stopped(true), because, blocked),
        }
    }
    let schedule = schedule(rsop);
    if schedule.blockout.is_some() {
        let origin = rsop.one(Id::BackgroundSyncBlockout).map(|got| &got.origin);
        because.push(Because::policy(Reason::BackgroundBlockout, origin));
    }
    let (reason, id) = match schedule.every {
        Every::Cron(_) => (Reason::BackgroundSchedule, Id::BackgroundSyncSchedule),
        Every::Interval { .. } => (Reason::BackgroundInterval, Id::BackgroundSyncInterval),
    };
    let last = Because::policy(reason, rsop.one(id).map(|got| &got.origin));
    Decided::new(BackgroundAction::Scheduled { schedule }, because, last)
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

fn schedule(rsop: &ResultantSet) -> BackgroundSync {
    let cron = rsop.one(Id::BackgroundSyncSchedule).and_then(|got| match &got.value {
        Value::Cron(cron) => Some(Every::Cron(cron.clone())),
        _ => None,
    });
    let interval = || Every::Interval {
        interval: rsop.duration(Id::BackgroundSyncInterval, INTERVAL_DEFAULT).value,
        variance: rsop.duration(Id::BackgroundSyncVariance, VARIANCE_DEFAULT).value,
    };
    let blockout = rsop.one(Id::BackgroundSyncBlockout).and_then(|got| match got.value {
        Value::Blockout(blockout) => Some(blockout),
        _ => None,
    });
    let max_time_without_sync = rsop.optional_duration(Id::BackgroundSyncMaxTimeWithoutSync);
    BackgroundSync { every: cron.unwrap_or_else(interval), blockout, max_time_without_sync }
}
