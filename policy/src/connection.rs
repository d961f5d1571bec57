//! Whether a scope works online or offline: a state machine over observations, with hysteresis.
//!
//! A *scope* is a share, a DFS link or a cached subtree.  Its state is a function of the state
//! before and of one [`Observation`]; nothing here measures, waits or knows the time.
//!
//! # Priority
//! Several reasons to be offline can hold at once; the mode shows the first of these:
//!
//! 1. *suspended*: the policy keeps the scope still while the person is signed in; nobody lifts it.
//! 2. *forced*: the person chose to work offline; no measurement overrules a person.
//! 3. *error*: the share does not answer; cost and speed of a dead link mean nothing.
//! 4. *costed*: stricter than the two below, because it also stops background sync.
//! 5. *always*: the policy says never online; above *slow*, which could end by itself.
//! 6. *slow*: the measurements say so.
//!
//! The reasons below the first are still tracked, so that the scope goes straight to the right mode
//! when the first one ends: whoever un-forces a dead share finds it in *error*, not online.
//!
//! # Hysteresis
//! A dead share is one failed probe away and a living one is one good probe away: both are facts.
//! Slowness is a judgement and changes only after several agreeing measurements, so a link that
//! dances around its threshold stays where it is.  A measurement between the limits for *slow* and
//! for *good* agrees with neither and starts both counts anew.
//!
//! Throughput shows only when enough is carried, latency always.  Where the last throughput that was
//! measured was too low, measurements of a good latency alone say nothing for
//! [`THROUGHPUT_MEMORY`]; then nothing is known of the throughput any more, and the latency decides
//! alone, so that a scope which carries nothing comes back by itself too.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How often a scope is probed, in every mode that a probe can change.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(2 * 60);

/// Consecutive slow measurements after which a scope counts as slow.
pub const SLOW_AFTER: u8 = 3;

/// One measurement this many times worse than the threshold is enough.
pub const MUCH_WORSE_FACTOR: u32 = 4;

/// Consecutive good measurements after which a slow scope counts as fast again.
pub const FAST_AFTER: u8 = 3;

/// A measurement is good when its latency is at most this share of the threshold, and its
/// throughput as far on the other side.
pub const GOOD_PERCENT: u32 = 80;

/// How long a throughput that was too low counts while none is measured.
pub const THROUGHPUT_MEMORY: Duration = Duration::from_secs(60 * 60);

/// A latency threshold up to this much means Always Offline, as it does on Windows.
pub const ALWAYS_LATENCY_MAX: Duration = Duration::from_millis(1);

/// Why a scope is offline; the module text says which reason is shown when several hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OfflineReason {
    /// The policy keeps it offline (a latency threshold of 1 ms).
    Always,
    /// The link is slower than the policy's threshold.
    Slow,
    /// The share does not answer.
    Error,
    /// The person chose Work Offline.
    Forced,
    /// The network is roaming, near or over its limit.
    Costed,
    /// The policy synchronises it at sign-in and sign-out only.
    Suspended,
}

/// Whether a scope exchanges with its share continuously.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Local changes go out within seconds, remote ones come in by notification or polling.
    Online,
    /// The person works on the cache alone.
    Offline(OfflineReason),
}

impl Mode {
    /// The stable code used in status, log and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Mode::Online => "online",
            Mode::Offline(OfflineReason::Always) => "always",
            Mode::Offline(OfflineReason::Slow) => "slow",
            Mode::Offline(OfflineReason::Error) => "error",
            Mode::Offline(OfflineReason::Forced) => "forced",
            Mode::Offline(OfflineReason::Costed) => "costed",
            Mode::Offline(OfflineReason::Suspended) => "suspended",
        }
    }
}

/// When a link is slow: below the throughput *or* above the latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Thresholds {
    /// Longest round trip; [`ALWAYS_LATENCY_MAX`] or less is Always Offline.
    pub latency: Option<Duration>,
    /// Smallest rate in bits per second.
    pub throughput: Option<u64>,
}

impl Thresholds {
    /// Whether they say never online.
    pub fn is_always_offline(&self) -> bool {
        self.latency.is_some_and(|latency| latency <= ALWAYS_LATENCY_MAX)
    }
}

/// What an attempt to reach the scope found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// No attempt was made: some other fact changed.
    NotTried,
    /// The exact cached path was opened.
    Reachable {
        /// Round-trip time.
        latency: Duration,
        /// Bits per second, if enough was transferred to tell.
        throughput: Option<u64>,
    },
    /// It could not be reached.
    Unreachable,
}

/// Everything that can change a scope's state, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// The time of the observation.
    pub at_unix_ms: i64,
    /// What an attempt found.
    pub probe: Probe,
    /// The person's Work Offline switch.
    pub forced: bool,
    /// Suspended by the policy.
    pub suspended: bool,
    /// The network's cost forbids background sync for this person.
    pub costed: bool,
    /// The most specific rule for this scope; `None` when slow-link mode is off or no rule matches.
    pub thresholds: Option<Thresholds>,
}

/// The state of a scope; it is stored, so that *forced* survives a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Online, or why not.
    pub mode: Mode,
    /// Since when.
    pub since_unix_ms: i64,
    /// When the next probe is due.
    pub next_probe_unix_ms: i64,
    /// The last attempt failed, or there was none yet.
    unreachable: bool,
    /// The network's cost forbade background sync when last observed.
    costed: bool,
    /// The measurements say slow.
    slow: bool,
    slow_streak: u8,
    good_streak: u8,
    /// What was measured last.
    #[serde(default)]
    measured: Measured,
}

/// The last measurements of a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Measured {
    /// Round-trip time in microseconds.
    pub latency_us: Option<u64>,
    /// Bits per second.
    pub throughput: Option<u64>,
    /// When that rate was measured.
    pub throughput_unix_ms: i64,
    /// Whether it was below the threshold of that time.
    pub throughput_is_low: bool,
}

/// One measurement held against the thresholds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    MuchWorse,
    Slow,
    Between,
    Good,
}

impl State {
    /// The state of a scope that nobody has looked at yet: offline until a probe has answered,
    /// because the cache is complete without the share and a share is not usable unproven.
    pub fn initial(now_unix_ms: i64) -> Self {
        Self {
            mode: Mode::Offline(OfflineReason::Error),
            since_unix_ms: now_unix_ms,
            next_probe_unix_ms: now_unix_ms,
            unreachable: true,
            costed: false,
            slow: false,
            slow_streak: 0,
            good_streak: 0,
            measured: Measured::default(),
        }
    }

    /// The last measurements, whenever they were.
    pub fn measured(&self) -> Measured {
        self.measured
    }

    /// Whether a probe can change the mode, so that one is made every [`PROBE_INTERVAL`].
    pub fn is_probed(&self) -> bool {
        matches!(self.mode, Mode::Offline(OfflineReason::Error | OfflineReason::Slow))
    }

    /// The same state, to be probed as soon as possible: the network is another one than before.
    #[must_use]
    pub fn probed_at(&self, now_unix_ms: i64) -> State {
        State { next_probe_unix_ms: self.next_probe_unix_ms.min(now_unix_ms), ..*self }
    }

    /// The state after an observation.
    #[must_use]
    pub fn observe(&self, seen: &Observation) -> State {
        let mut next = *self;
        match seen.probe {
            Probe::NotTried => {}
            Probe::Unreachable => {
                next.unreachable = true;
                // What comes back may be another network: old measurements say nothing about it,
                // but the judgement stays until new ones overturn it.
                (next.slow_streak, next.good_streak) = (0, 0);
            }
            Probe::Reachable { latency, throughput } => {
                next.unreachable = false;
                let latency_us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
                next.measured.latency_us = Some(latency_us);
                if let Some(thresholds) = seen.thresholds {
                    next.weigh(&thresholds, latency, throughput, seen.at_unix_ms);
                }
                if throughput.is_some() {
                    next.measured.throughput = throughput;
                    next.measured.throughput_unix_ms = seen.at_unix_ms;
                }
            }
        }
        if seen.thresholds.is_none_or(|thresholds| thresholds.is_always_offline()) {
            // No measurement can make it slow; a later policy starts counting afresh.
            (next.slow, next.slow_streak, next.good_streak) = (false, 0, 0);
            next.measured.throughput_is_low = false;
        }
        next.costed = seen.costed;
        next.mode = next.mode_under(seen);
        if next.mode != self.mode {
            next.since_unix_ms = seen.at_unix_ms;
        }
        next.next_probe_unix_ms = self.next_probe(seen, next.mode);
        next
    }

    fn mode_under(&self, seen: &Observation) -> Mode {
        let always = seen.thresholds.is_some_and(|thresholds| thresholds.is_always_offline());
        let reasons = [
            (seen.suspended, OfflineReason::Suspended),
            (seen.forced, OfflineReason::Forced),
            (self.unreachable, OfflineReason::Error),
            (seen.costed, OfflineReason::Costed),
            (always, OfflineReason::Always),
            (self.slow, OfflineReason::Slow),
        ];
        let first = reasons.into_iter().find(|(holds, _)| *holds);
        first.map_or(Mode::Online, |(_, reason)| Mode::Offline(reason))
    }

    fn weigh(
        &mut self,
        thresholds: &Thresholds,
        latency: Duration,
        throughput: Option<u64>,
        now_unix_ms: i64,
    ) {
        let by_latency = verdict(thresholds, latency, None);
        let is_bad = |verdict| matches!(verdict, Verdict::MuchWorse | Verdict::Slow);
        match (thresholds.throughput, throughput) {
            (None, _) => self.measured.throughput_is_low = false,
            (Some(limit), Some(measured)) => self.measured.throughput_is_low = measured < limit,
            (Some(_), None) => {
                let memory = i64::try_from(THROUGHPUT_MEMORY.as_millis()).unwrap_or(i64::MAX);
                // A clock that was set back says nothing about how long ago it was.
                let age = now_unix_ms.saturating_sub(self.measured.throughput_unix_ms).max(0);
                if self.measured.throughput_is_low && age < memory && !is_bad(by_latency) {
                    return;
                }
            }
        }
        self.judge(verdict(thresholds, latency, throughput));
    }

    fn judge(&mut self, verdict: Verdict) {
        (self.slow_streak, self.good_streak) = match verdict {
            Verdict::MuchWorse => (SLOW_AFTER, 0),
            Verdict::Slow => (self.slow_streak.saturating_add(1).min(SLOW_AFTER), 0),
            Verdict::Between => (0, 0),
            Verdict::Good => (0, self.good_streak.saturating_add(1).min(FAST_AFTER)),
        };
        if self.slow_streak >= SLOW_AFTER {
            self.slow = true;
        } else if self.good_streak >= FAST_AFTER {
            self.slow = false;
        }
    }

    /// A probe moves the next one on; so does a clock that was set back, which would otherwise
    /// leave a probe due in a far future.  A person who ends Work Offline is not kept waiting.
    fn next_probe(&self, seen: &Observation, mode: Mode) -> i64 {
        let interval = i64::try_from(PROBE_INTERVAL.as_millis()).unwrap_or(i64::MAX);
        let latest = seen.at_unix_ms.saturating_add(interval);
        let released =
            matches!(self.mode, Mode::Offline(OfflineReason::Forced | OfflineReason::Suspended))
                && mode != self.mode;
        match seen.probe {
            Probe::NotTried if released => seen.at_unix_ms,
            Probe::NotTried => self.next_probe_unix_ms.min(latest),
            Probe::Reachable { .. } | Probe::Unreachable => latest,
        }
    }

    /// Whether a background sync may exchange this scope now.
    pub fn background_sync_allowed(&self, when_working_offline: bool) -> Allowed {
        match self.mode {
            Mode::Online => Allowed::No(NotAllowed::OnlineAlready),
            Mode::Offline(OfflineReason::Always | OfflineReason::Slow) => Allowed::Yes,
            Mode::Offline(OfflineReason::Forced) if !when_working_offline => {
                Allowed::No(NotAllowed::WorkingOffline)
            }
            // Forced hides what lies below it: a dead share is dead and a link costs all the same.
            Mode::Offline(OfflineReason::Forced) if self.unreachable => {
                Allowed::No(NotAllowed::Unreachable)
            }
            Mode::Offline(OfflineReason::Forced) if self.costed => Allowed::No(NotAllowed::Costed),
            Mode::Offline(OfflineReason::Forced) => Allowed::Yes,
            Mode::Offline(OfflineReason::Costed) => Allowed::No(NotAllowed::Costed),
            Mode::Offline(OfflineReason::Error) => Allowed::No(NotAllowed::Unreachable),
            Mode::Offline(OfflineReason::Suspended) => Allowed::No(NotAllowed::Suspended),
        }
    }

    /// Whether a sync that a person asks for may exchange this scope now.
    ///
    /// Only suspension forbids it: the policy has said when such a scope synchronises.  In *error*
    /// the attempt is made (Windows refuses it) because it is a probe too, and costs nothing.
    pub fn manual_sync_allowed(&self) -> Allowed {
        match self.mode {
            Mode::Offline(OfflineReason::Suspended) => Allowed::No(NotAllowed::Suspended),
            _ => Allowed::Yes,
        }
    }

    /// What would change the mode.
    pub fn explain(&self) -> Change {
        match self.mode {
            Mode::Online => Change::OnTrouble,
            Mode::Offline(OfflineReason::Always) => Change::ByPolicy,
            Mode::Offline(OfflineReason::Slow) => Change::OnFasterLink,
            Mode::Offline(OfflineReason::Error) => Change::OnReachable,
            Mode::Offline(OfflineReason::Forced) => Change::ByPerson,
            Mode::Offline(OfflineReason::Costed) => Change::OnCheaperNetwork,
            Mode::Offline(OfflineReason::Suspended) => Change::OnSignOut,
        }
    }
}

/// Whether a sync may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// It may.
    Yes,
    /// It may not, for this reason.
    No(NotAllowed),
}

/// Why a sync may not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotAllowed {
    /// An online scope exchanges continuously and has nothing to catch up with.
    OnlineAlready,
    /// The person works offline and the policy does not synchronise behind their back.
    WorkingOffline,
    /// The network's cost forbids it.
    Costed,
    /// The share does not answer.
    Unreachable,
    /// The policy synchronises it at sign-in and sign-out only.
    Suspended,
}

impl NotAllowed {
    /// One sentence for the person at the desk.
    pub fn text(self) -> &'static str {
        match self {
            NotAllowed::OnlineAlready => "it is online and exchanges all the time",
            NotAllowed::WorkingOffline => "a person chose to work offline",
            NotAllowed::Costed => "the network is roaming, near or over its limit",
            NotAllowed::Unreachable => "the share does not answer",
            NotAllowed::Suspended => "policy synchronises it at sign-in and sign-out only",
        }
    }
}

/// What would change a scope's mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It is online until something goes wrong.
    OnTrouble,
    /// Only another policy.
    ByPolicy,
    /// Better measurements.
    OnFasterLink,
    /// An answer from the share.
    OnReachable,
    /// The person's own switch.
    ByPerson,
    /// A network without cost restriction.
    OnCheaperNetwork,
    /// Signing out, or another policy.
    OnSignOut,
}

impl Change {
    /// One sentence for the person at the desk.
    pub fn text(self) -> &'static str {
        match self {
            Change::OnTrouble => {
                "Goes offline when the share stops answering, becomes slow or costs money."
            }
            Change::ByPolicy => "Stays offline as long as the policy says Always Offline.",
            Change::OnFasterLink => {
                "Goes online by itself after three measurements well within the limits; \
                 measured every 2 minutes."
            }
            Change::OnReachable => {
                "Goes online by itself when the share answers again; tried every 2 minutes."
            }
            Change::ByPerson => "Stays offline until you end Work Offline, also after a restart.",
            Change::OnCheaperNetwork => {
                "Goes online by itself when the network no longer roams and is within its limit; \
                 you can synchronise by hand at any time."
            }
            Change::OnSignOut => "Is synchronised when you sign in and out, as the policy says.",
        }
    }
}

fn verdict(thresholds: &Thresholds, latency: Duration, throughput: Option<u64>) -> Verdict {
    let by_latency = thresholds.latency.map(|limit| {
        let (measured, limit) = (latency.as_nanos(), limit.as_nanos());
        grade(measured, limit)
    });
    // A rate is worse when smaller: the roles of measurement and limit are exchanged.
    let by_throughput = thresholds.throughput.zip(throughput).map(|(limit, measured)| {
        let (measured, limit) = (u128::from(measured), u128::from(limit));
        grade(limit, measured)
    });
    match (by_latency, by_throughput) {
        (None, None) => Verdict::Good,
        (Some(only), None) | (None, Some(only)) => only,
        (Some(one), Some(other)) => worse(one, other),
    }
}

/// Grades `value` against the `limit` it must not exceed.
fn grade(value: u128, limit: u128) -> Verdict {
    if value <= limit {
        let good = value.saturating_mul(100) <= limit.saturating_mul(GOOD_PERCENT.into());
        return if good { Verdict::Good } else { Verdict::Between };
    }
    let much = value >= limit.saturating_mul(MUCH_WORSE_FACTOR.into());
    if much { Verdict::MuchWorse } else { Verdict::Slow }
}

fn worse(one: Verdict, other: Verdict) -> Verdict {
    let order = [Verdict::MuchWorse, Verdict::Slow, Verdict::Between, Verdict::Good];
    order.into_iter().find(|verdict| *verdict == one || *verdict == other).unwrap_or(one)
}

/// The value of the most specific rule whose pattern covers a UNC path.
///
/// A pattern is `*`, or a UNC path in which `*` stands for any run of characters, separators too.
/// A closing `\*` also covers the folder itself, and a pattern without any `*` covers everything
/// below it, because a rule for a share is meant for its content.  Upper and lower case, `/` and a
/// closing separator make no difference.  Most specific is the longest text before the first `*`;
/// of equals the one written first.
pub fn most_specific<'a, T>(rules: impl Iterator<Item = (&'a str, T)>, unc: &str) -> Option<T> {
    let rules: Vec<(Pattern, T)> = rules
        .filter_map(|(text, value)| Pattern::new(text).map(|pattern| (pattern, value)))
        .collect();
    let path = folded(unc);
    let best = most_specific_pattern(&rules, &path)?;
    rules.into_iter().nth(best).map(|(_, value)| value)
}

/// A pattern on UNC paths, made ready for many paths.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    folded: String,
    /// How much of it stands before the first star.
    literal: usize,
}

impl Pattern {
    /// Makes a pattern ready; an empty one covers nothing.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let folded = folded(text);
        let literal = folded.find('*').unwrap_or(folded.len());
        (!folded.is_empty()).then_some(Self { folded, literal })
    }
}

/// The index of the most specific pattern that covers a path in lower case; the first among equals.
pub(crate) fn most_specific_pattern<T>(rules: &[(Pattern, T)], path: &str) -> Option<usize> {
    let mut best: Option<(usize, usize)> = None;
    for (index, (Pattern { folded, literal }, _)) in rules.iter().enumerate() {
        let longer = best.is_none_or(|(length, _)| *literal > length);
        if longer && covers(folded, path) {
            best = Some((*literal, index));
        }
    }
    best.map(|(_, index)| index)
}

fn folded(text: &str) -> String {
    let text = text.trim().replace('/', "\\").to_lowercase();
    text.trim_end_matches('\\').to_owned()
}

fn covers(pattern: &str, path: &str) -> bool {
    if matches(pattern, path) {
        return true;
    }
    match pattern.strip_suffix("\\*") {
        Some(folder) => matches(folder, path),
        None if pattern.contains('*') => false,
        None => path.strip_prefix(pattern).is_some_and(|below| below.starts_with('\\')),
    }
}

/// Matches with `*` as the only wildcard, in time bounded by the product of both lengths.
fn matches(pattern: &str, path: &str) -> bool {
    let Some((head, mut rest)) = pattern.split_once('*') else { return pattern == path };
    let Some(mut path) = path.strip_prefix(head) else { return false };
    while let Some((literal, after)) = rest.split_once('*') {
        let Some(found) = path.find(literal) else { return false };
        path = &path[found + literal.len()..];
        rest = after;
    }
    path.ends_with(rest)
}
