//! The agent's metrics, registered from the one list of names.

use homeport_policy::connection::Mode;
use homeport_policy::facts::{Cost, Directory};
use homeport_policy::primary::{Difference, Primary};
use homeport_policy::schedule::Why;
use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder,
};

use crate::directory::error::Kind;
use crate::directory::tally::Counts;
use crate::load::{Loaded, PolicyState};
use crate::network::judge::Source;
use crate::outcome::Outcome;
use crate::plan::{Occasion, What};
use crate::report::names::{self, Name, Type};
use crate::report::phases::Stopwatch;
use crate::report::status::{Status, UserStatus};

/// Seconds; a sign-in is good below 5 and bad above 30.
const BUCKETS: &[f64] = &[0.05, 0.25, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0];
/// Seconds; a domain controller answers within milliseconds, and nobody waits longer than 5.
const SEARCH_BUCKETS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];
const MODES: [&str; 7] = ["online", "always", "slow", "error", "forced", "costed", "suspended"];

/// The list of names and the registry do not fit together. A mistake in this program.
#[derive(Debug, thiserror::Error)]
#[error("cannot register the metric {name}")]
pub struct MetricsError {
    name: &'static str,
    source: prometheus::Error,
}

/// Everything the agent counts.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    gauges: Vec<(&'static str, GaugeVec)>,
    counters: Vec<(&'static str, IntCounterVec)>,
    histograms: Vec<(&'static str, HistogramVec)>,
}

impl Metrics {
    /// Registers every metric of the list; series whose labels are known start at zero.
    ///
    /// # Errors
    /// [`MetricsError`] when the list is wrong.
    pub fn new() -> Result<Self, MetricsError> {
        let mut metrics = Self {
            registry: Registry::new(),
            gauges: Vec::new(),
            counters: Vec::new(),
            histograms: Vec::new(),
        };
        for name in names::NAMES {
            metrics.register(name).map_err(|source| MetricsError { name: name.name, source })?;
        }
        metrics.set(&names::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1.0);
        for difference in Difference::ALL {
            metrics.set(&names::PRIMARY_DIFFERENCES, &[difference.name()], 0.0);
        }
        for direction in ["in", "out"] {
            metrics.count(&names::SYNC_BYTES, &[direction], 0);
        }
        for mode in MODES {
            metrics.count(&names::MODE_CHANGES, &[mode], 0);
        }
        for why in Why::ALL.into_iter().filter(|why| why.starts_a_sync()) {
            metrics.count(&names::BACKGROUND_SYNCS, &[why.code()], 0);
        }
        for kind in Kind::ALL {
            metrics.count(&names::DIRECTORY_ERRORS, &[kind.name()], 0);
        }
        for name in
            [&names::DIRECTORY_SEARCHES, &names::DIRECTORY_CONNECTIONS, &names::SYNC_ITEM_FAILURES]
        {
            metrics.count(name, &[], 0);
        }
        for name in names::NAMES.iter().filter(|name| name.labels.is_empty()) {
            match name.kind {
                Type::Gauge => metrics.set(name, &[], 0.0),
                Type::Histogram => metrics.begin(name),
                Type::Counter => {}
            }
        }
        Ok(metrics)
    }

    fn register(&mut self, name: &'static Name) -> Result<(), prometheus::Error> {
        match name.kind {
            Type::Gauge => {
                let gauge = GaugeVec::new(Opts::new(name.name, name.help), name.labels)?;
                self.registry.register(Box::new(gauge.clone()))?;
                self.gauges.push((name.name, gauge));
            }
            Type::Counter => {
                let counter = IntCounterVec::new(Opts::new(name.name, name.help), name.labels)?;
                self.registry.register(Box::new(counter.clone()))?;
                self.counters.push((name.name, counter));
            }
            Type::Histogram => {
                let opts = HistogramOpts::new(name.name, name.help).buckets(buckets(name));
                let histogram = HistogramVec::new(opts, name.labels)?;
                self.registry.register(Box::new(histogram.clone()))?;
                self.histograms.push((name.name, histogram));
            }
        }
        Ok(())
    }

    fn set(&self, name: &Name, labels: &[&str], value: f64) {
        if let Some((_, gauge)) = self.gauges.iter().find(|(known, _)| *known == name.name) {
            gauge.with_label_values(labels).set(value);
        }
    }

    fn count(&self, name: &Name, labels: &[&str], by: u64) {
        if let Some((_, counter)) = self.counters.iter().find(|(known, _)| *known == name.name) {
            counter.with_label_values(labels).inc_by(by);
        }
    }

    /// Shows a histogram before anything was observed.
    fn begin(&self, name: &Name) {
        let mut histograms = self.histograms.iter();
        if let Some((_, histogram)) = histograms.find(|(known, _)| *known == name.name) {
            let _ = histogram.with_label_values::<&str>(&[]);
        }
    }

    fn observe(&self, name: &Name, labels: &[&str], seconds: f64) {
        let mut histograms = self.histograms.iter();
        if let Some((_, histogram)) = histograms.find(|(known, _)| *known == name.name) {
            histogram.with_label_values(labels).observe(seconds);
        }
    }

    /// The text that a scrape gets.
    ///
    /// # Errors
    /// As the encoder.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// Policy was loaded.
    pub fn loaded(&self, loaded: &Loaded) {
        let flag = |yes: bool| if yes { 1.0 } else { 0.0 };
        let current = loaded.state == PolicyState::Current;
        self.set(&names::POLICY_LAST_LOAD_SUCCESSFUL, &[], flag(current));
        let last_good = loaded.state == PolicyState::LastGood;
        self.set(&names::POLICY_USING_LAST_GOOD, &[], flag(last_good));
        self.set(&names::POLICY_SINCE, &[], float(loaded.since_unix));
        self.set(&names::POLICY_PROBLEMS, &[], loaded.problems.len() as f64);
        self.set(&names::POLICY_OBJECTS, &[], loaded.versions.len() as f64);
    }

    /// The directory was asked, or was known to be away.
    pub fn directory(&self, directory: Directory, reachable: bool, counts: &Counts) {
        self.set(&names::DIRECTORY_REACHABLE, &[], if reachable { 1.0 } else { 0.0 });
        let age = match directory {
            Directory::Answered => 0.0,
            Directory::Cached { age } => age.as_secs_f64(),
            Directory::Away => -1.0,
        };
        self.set(&names::DIRECTORY_ANSWER_AGE, &[], age);
        self.count(&names::DIRECTORY_SEARCHES, &[], counts.searches);
        self.count(&names::DIRECTORY_CONNECTIONS, &[], counts.connections);
        for (kind, count) in &counts.errors {
            self.count(&names::DIRECTORY_ERRORS, &[kind.name()], *count);
        }
        for duration in &counts.durations {
            self.observe(&names::DIRECTORY_REQUEST_DURATION, &[], duration.as_secs_f64());
        }
    }

    /// The network was looked at.
    pub fn network(&self, cost: Cost, source: Source, metered_bytes: u64) {
        self.set(&names::METERED_BYTES, &[], metered_bytes as f64);
        for known in Source::ALL {
            let value = if known == source { 1.0 } else { 0.0 };
            self.set(&names::NETWORK_COST_SOURCE, &[known.name()], value);
        }
        for known in Cost::ALL {
            let value = if known == cost { 1.0 } else { 0.0 };
            self.set(&names::NETWORK_COST, &[known.name()], value);
        }
    }

    /// What may travel over metered networks in a day.
    pub fn metered_limit(&self, limit: Option<u64>) {
        self.set(&names::METERED_LIMIT, &[], limit.map_or(-1.0, |limit| limit as f64));
    }

    /// A decision was made.
    pub fn decided(&self, primary: Primary) {
        let result = match primary {
            Primary::Yes => "yes",
            Primary::No => "no",
            Primary::Unknown => "unknown",
        };
        self.count(&names::PRIMARY_DECISIONS, &[result], 1);
    }

    /// A step was carried out.
    pub fn step(&self, what: &What, outcome: &Outcome) {
        self.count(&names::STEPS, &[what.name(), outcome.name()], 1);
        if let Outcome::Done { report: Some(report), .. } = outcome {
            self.count(&names::SYNC_BYTES, &["in"], report.bytes_in);
            self.count(&names::SYNC_BYTES, &["out"], report.bytes_out);
            self.count(&names::SYNC_ITEM_FAILURES, &[], report.counts.failed);
        }
    }

    /// A scope changed its mode.
    pub fn mode_changed(&self, mode: Mode) {
        self.count(&names::MODE_CHANGES, &[mode.code()], 1);
    }

    /// A background sync was due; `cause` is one of `Why::code`.
    pub fn background_sync(&self, cause: &str) {
        self.count(&names::BACKGROUND_SYNCS, &[cause], 1);
    }

    /// A cycle ended.
    pub fn cycle(&self, occasion: Occasion, seconds: f64, finished: bool) {
        self.count(&names::CYCLES, &[occasion.name()], 1);
        self.count(&names::CYCLE_FAILURES, &[occasion.name()], u64::from(!finished));
        self.observe(&names::CYCLE_DURATION, &[occasion.name()], seconds);
    }

    /// A sign-in or sign-out was measured.
    pub fn phases(&self, stopwatch: &Stopwatch) {
        for (phase, seconds) in stopwatch.seconds() {
            self.observe(&names::LOGON_PHASE, &[phase.name()], seconds);
        }
    }

    /// Whether local changes are noticed at once.
    pub fn watching(&self, healthy: bool) {
        self.set(&names::SYNC_WATCHER_HEALTHY, &[], if healthy { 1.0 } else { 0.0 });
    }

    /// The status was published; gauges that sum over users come from it.
    pub fn status(&self, status: &Status) {
        let users = || status.users.values();
        let caches = || users().flat_map(|user| &user.caches);
        self.set(&names::SESSIONS, &[], users().filter(|user| user.signed_in).count() as f64);
        for mode in MODES {
            let count = caches().filter(|cache| cache.mode == mode).count();
            self.set(&names::CACHES, &[mode], count as f64);
        }
        for difference in Difference::ALL {
            let here = |user: &&UserStatus| user.primary_difference == Some(difference);
            let count = users().filter(|user| user.signed_in).filter(here).count();
            self.set(&names::PRIMARY_DIFFERENCES, &[difference.name()], count as f64);
        }
        let conflicts: usize = caches().map(|cache| cache.conflicts.len()).sum();
        self.set(&names::SYNC_CONFLICTS, &[], conflicts as f64);
        let sum = |part: fn(&crate::report::status::CacheStatus) -> u64| -> f64 {
            caches().map(part).sum::<u64>() as f64
        };
        self.set(&names::SYNC_PENDING_ITEMS, &[], sum(|cache| cache.pending_items));
        self.set(&names::SYNC_PENDING_BYTES, &[], sum(|cache| cache.pending_bytes));
        self.set(&names::SYNC_HELD_DELETES, &[], sum(|cache| cache.held_deletes));
        self.set(&names::SYNC_HELD_CHANGES, &[], sum(|cache| cache.held_changes));
        let halted = caches().filter(|cache| cache.halted.is_some()).count();
        self.set(&names::SYNC_HALTED, &[], halted as f64);
        let last = users().filter_map(|user| user.last_sync_unix_ms).min().unwrap_or(0);
        self.set(&names::SYNC_LAST_SUCCESS, &[], float(last / 1000));
        let next = status.next_background_sync_unix_ms.unwrap_or(0);
        self.set(&names::SYNC_NEXT, &[], float(next / 1000));
    }
}

fn buckets(name: &Name) -> Vec<f64> {
    let is_search = name.name == names::DIRECTORY_REQUEST_DURATION.name;
    if is_search { SEARCH_BUCKETS.to_vec() } else { BUCKETS.to_vec() }
}

fn float(seconds: i64) -> f64 {
    seconds as f64
}
