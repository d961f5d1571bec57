//! What follows from a Resultant Set of Policy alone, whoever it applies to.
//!
//! A fleet of many accounts has few sets. What a set decides for all of them is worked out once,
//! and the decisions share it.

use std::sync::Arc;
use std::time::Duration;

use crate::connection::{Pattern, Thresholds, most_specific_pattern};
use crate::decide_cache::{BackgroundAction, Cache, SlowLink, add_assigned};
use crate::folder::FOLDERS;
use crate::layer::Origin;
use crate::merge::ResultantSet;
use crate::reason::{Because, Decided, Reason};
use crate::schedule::{BackgroundSync, Every};
use crate::settings::{FolderId, Id, Slot};
use crate::unc::Unc;
use crate::value::Value;

/// What a Resultant Set of Policy decides by itself.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    /// Whether there are caches at all.
    pub(crate) enabled: bool,
    /// The caches that policy assigns, as they are where no redirected folder meets them.
    pub(crate) assigned: Vec<Arc<Decided<Cache>>>,
    /// Their paths in lower case, in the order of [`tree_order`].
    sorted: Vec<Unc>,
    /// `None` when slow-link mode is off.
    slow_rules: Option<Vec<(Pattern, Slow)>>,
    /// What to say when it is off, or when no rule covers a path.
    slow_otherwise: Because,
    suspended: Vec<(Unc, Arc<Origin>)>,
    /// Background sync as it is while the network costs nothing.
    pub(crate) background: Arc<Decided<BackgroundAction>>,
    /// Which folders are configured at all; most are not, and need no look at the set.
    pub(crate) folders: [bool; FOLDERS.len()],
    /// What does not roam, besides the built-in list.
    pub(crate) exclude: Arc<[String]>,
}

#[derive(Clone, Debug)]
struct Slow {
    thresholds: Thresholds,
    because: Because,
}

/// Windows 8's latency threshold.
const SLOW_LATENCY_DEFAULT: Duration = Duration::from_millis(35);
/// Windows 8's interval between background syncs (the documents also say "hourly"; this one is confirmed).
const INTERVAL_DEFAULT: Duration = Duration::from_secs(120 * 60);
const VARIANCE_DEFAULT: Duration = Duration::from_secs(60 * 60);

impl Standing {
    pub(crate) fn new(rsop: &ResultantSet) -> Self {
        let slow_enabled = rsop.flag(Id::SlowLinkEnabled, true);
        let exclude = rsop.list(Id::ProfileExclude).iter();
        let mut standing = Self {
            enabled: rsop.flag(Id::OfflineFilesEnabled, true).value,
            assigned: Vec::new(),
            sorted: Vec::new(),
            slow_rules: slow_enabled.value.then(|| slow_rules(rsop)),
            slow_otherwise: match slow_enabled.value {
                true => Because::plain(Reason::SlowLinkDefault),
                false => Because::policy(Reason::SlowLinkDisabled, slow_enabled.origin),
            },
            suspended: suspended(rsop),
            background: Arc::new(background(rsop)),
            folders: FOLDERS
                .map(|folder| rsop.one(Slot::folder(folder, FolderId::Setting)).is_some()),
            exclude: exclude.map(|sourced| sourced.value.to_string()).collect(),
        };
        let mut assigned = Vec::new();
        add_assigned(rsop, &standing, &mut assigned);
        let mut sorted: Vec<Unc> = assigned.iter().map(|cache| cache.action.path.clone()).collect();
        sorted.sort_by(tree_order);
        standing.sorted = sorted;
        standing.assigned = assigned.into_iter().map(Arc::new).collect();
        standing
    }

    /// Whether a path holds an assigned folder or lies in one.
    ///
    /// None of the assigned folders holds another, so that only the neighbours can.
    pub(crate) fn touches_assigned(&self, path: &Unc) -> bool {
        let after = self.sorted.partition_point(|other| tree_order(other, path).is_lt());
        let inside = self.sorted.get(after).is_some_and(|next| next.is_within(path));
        let before = after.checked_sub(1).and_then(|before| self.sorted.get(before));
        inside || before.is_some_and(|previous| path.is_within(previous))
    }

    /// When the link to a path is slow, with the reason.
    pub(crate) fn slow_link(&self, path: &Unc, because: &mut Vec<Because>) -> SlowLink {
        let Some(rules) = &self.slow_rules else {
            because.push(self.slow_otherwise.clone());
            return SlowLink(None);
        };
        match most_specific_pattern(rules, path.folded()).and_then(|index| rules.get(index)) {
            Some((_, slow)) => {
                because.push(slow.because.clone());
                SlowLink(Some(slow.thresholds))
            }
            None => {
                because.push(self.slow_otherwise.clone());
                let latency = Some(SLOW_LATENCY_DEFAULT);
                SlowLink(Some(Thresholds { latency, throughput: None }))
            }
        }
    }

    /// Whether a path is suspended while the user is signed in, with the reason if it is.
    pub(crate) fn suspended(&self, path: &Unc, because: &mut Vec<Because>) -> bool {
        let found = self.suspended.iter().find(|(tree, _)| path.is_within(tree));
        because.extend(found.map(|(_, at)| Because::policy(Reason::CacheSuspended, Some(at))));
        found.is_some()
    }
}

/// Orders paths so that what lies in a folder follows it at once.
fn tree_order(a: &Unc, b: &Unc) -> std::cmp::Ordering {
    // No name holds a control character, so that a separator comes before every one of them.
    let key = |byte: u8| if byte == b'\\' { 0 } else { byte };
    a.folded().bytes().map(key).cmp(b.folded().bytes().map(key))
}

fn slow_rules(rsop: &ResultantSet) -> Vec<(Pattern, Slow)> {
    let rules = rsop.list(Id::SlowLinkRule).iter().filter_map(|sourced| {
        let Value::SlowLink(rule) = &sourced.value else { return None };
        let thresholds = Thresholds { latency: rule.latency, throughput: rule.throughput };
        let reason = match thresholds.is_always_offline() {
            true => Reason::AlwaysOffline,
            false => Reason::SlowLinkRule,
        };
        let because = Because::policy(reason, Some(&sourced.origin)).with_fact(rule.path.as_str());
        Some((Pattern::new(&rule.path)?, Slow { thresholds, because }))
    });
    rules.collect()
}

fn suspended(rsop: &ResultantSet) -> Vec<(Unc, Arc<Origin>)> {
    let trees = rsop.list(Id::ProfileSyncAtLogonLogoffOnly).iter();
    let trees = trees.filter_map(|sourced| match &sourced.value {
        Value::Unc(tree) => Some((tree.clone(), sourced.origin.clone())),
        _ => None,
    });
    trees.collect()
}

fn background(rsop: &ResultantSet) -> Decided<BackgroundAction> {
    for (id, reason) in [
        (Id::OfflineFilesEnabled, Reason::OfflineFilesDisabled),
        (Id::BackgroundSyncEnabled, Reason::BackgroundDisabled),
    ] {
        let enabled = rsop.flag(id, true);
        if !enabled.value {
            let last = Because::policy(reason, enabled.origin);
            return Decided::new(BackgroundAction::Stopped { costed: false }, Vec::new(), last);
        }
    }
    let mut because = Vec::new();
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
