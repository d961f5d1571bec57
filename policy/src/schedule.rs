//! When the next background sync starts: interval or cron, spread over the fleet, around blockouts.
//!
//! Every answer is a function of the settings, the last sync, the clock and the computer's seed, so
//! that it can be shown before it happens and is the same however often it is asked for.
//!
//! # Spread
//! A fleet must not start at one instant, neither after its interval nor after a common boot, a
//! blockout, or a long weekend.  An interval is followed by `uniform(0..=variance)`, drawn from the
//! seed and the time of the last sync.  Whoever is *overdue* takes a **slot**: the time line since
//! 1970 is cut into windows of one width, and each computer owns one instant in each window, drawn
//! from its seed and the window's number.  A slot does not move with the clock: a computer that
//! restarts every few minutes and asks again each time is told the same instant until it has
//! passed, so it cannot postpone its sync for ever, and the draw per window keeps a restart loop
//! from missing every slot by having the same period.  A computer waits for less than two widths.
//!
//! # Blockout
//! A start inside the blockout moves to the first slot after its end.  The blockout no longer
//! counts once `max_time_without_sync` has passed since the last sync.  A blockout of 24 hours has
//! no end: only that maximum lets a sync start, else there is none ([`Why::AlwaysBlockedOut`]).
//!
//! # Cron
//! An expression means exactly what it says: no variance, no catching up of an occurrence during
//! which the computer was off; unless `max_time_without_sync` has passed, which is what it is for.

use std::time::Duration;

use chrono::{DateTime, Datelike, Days, NaiveTime, TimeDelta, TimeZone, Utc};
use serde::{Deserialize, Serialize};

use crate::cron_expression::{first_instant, local};

pub use crate::cron_expression::{CronError, CronExpression};

/// Width of the windows that hold one slot each; the configured variance where that is smaller.
pub const SLOT_WIDTH_MAX: Duration = Duration::from_secs(15 * 60);

/// How late a timer may fire, or its caller may ask again, and still be told "now".
pub const LATE_MAX: Duration = Duration::from_secs(30);

/// Longest interval, variance or maximum that is told apart from "for ever".
pub const WAIT_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Longest blockout, which then covers every hour of every day.
pub const BLOCKOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How many blockouts in a row a start is carried over, for zones whose days have 23 hours.
const BLOCKOUTS_PASSED_MAX: usize = 8;

/// A clock outside these years is broken, and arithmetic at the ends of the calendar may overflow.
const YEARS: std::ops::RangeInclusive<i32> = 1970..=9_999;

/// What makes a background sync due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Every {
    /// So long after the last one.
    Interval {
        /// The shortest time between two.
        interval: Duration,
        /// The longest time added to it, drawn per computer and sync.
        variance: Duration,
    },
    /// At the times an expression names.
    Cron(CronExpression),
}

/// A time of day at which no background sync may start.
///
/// It begins when the clocks show `start` (at the end of the gap if they skip it, the first time if
/// they show it twice) and lasts for `duration` of elapsed time, also across midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blockout {
    /// Local time of its beginning.
    pub start: NaiveTime,
    /// Its length; [`BLOCKOUT_MAX`] or more is always.
    pub duration: Duration,
}

/// The settings of background synchronisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackgroundSync {
    /// What makes a sync due.
    pub every: Every,
    /// When none may start.
    pub blockout: Option<Blockout>,
    /// How long after the last sync the blockout no longer counts; `None` is never.
    pub max_time_without_sync: Option<Duration>,
}

/// The next background sync.
#[derive(Debug, Clone, PartialEq)]
pub struct Next<Tz: TimeZone> {
    /// When it starts, never in the past; `None` if the settings never allow one.
    pub at: Option<DateTime<Tz>>,
    /// The reason for this time.
    pub why: Why,
}

/// Why the next background sync starts when it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// This computer has never synced; it takes its next slot.
    NeverSynced,
    /// Interval and variance after the last sync.
    Interval,
    /// An occurrence of the cron expression.
    Cron,
    /// The due time lies in the blockout; this is the first slot after its end.
    AfterBlockout,
    /// So much time has passed without a sync that blockout or cron expression no longer count.
    MaxTimeWithoutSync,
    /// The due time has passed, or the last sync lies in the future; it takes its next slot.
    Overdue,
    /// The blockout covers the whole day and no maximum time without a sync lifts it.
    AlwaysBlockedOut,
    /// The cron expression has no occurrence before the year 2101.
    NoOccurrence,
}

impl Why {
    /// The stable code used in status, log and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Why::NeverSynced => "never-synced",
            Why::Interval => "interval",
            Why::Cron => "cron",
            Why::AfterBlockout => "after-blockout",
            Why::MaxTimeWithoutSync => "max-time-without-sync",
            Why::Overdue => "overdue",
            Why::AlwaysBlockedOut => "always-blocked-out",
            Why::NoOccurrence => "no-occurrence",
        }
    }
}

impl Why {
    /// Every reason.
    pub const ALL: [Why; 8] = [
        Why::NeverSynced,
        Why::Interval,
        Why::Cron,
        Why::AfterBlockout,
        Why::MaxTimeWithoutSync,
        Why::Overdue,
        Why::AlwaysBlockedOut,
        Why::NoOccurrence,
    ];

    /// Whether a sync starts for this reason; the others say why none ever does.
    pub fn starts_a_sync(self) -> bool {
        !matches!(self, Why::AlwaysBlockedOut | Why::NoOccurrence)
    }

    /// The same in words, for log and status.
    pub fn text(self) -> &'static str {
        match self {
            Why::NeverSynced => "it was never synchronised as a whole",
            Why::Interval => "interval and variance after the last one",
            Why::Cron => "the schedule of the policy",
            Why::AfterBlockout => "the blockout is over then",
            Why::MaxTimeWithoutSync => "the longest time without one is over then",
            Why::Overdue => "it is overdue",
            Why::AlwaysBlockedOut => "the blockout never ends",
            Why::NoOccurrence => "the schedule of the policy names no time",
        }
    }
}

/// Says when the next background sync starts.
///
/// `seed` tells the computers of a fleet apart and never changes for one of them.  The caller arms
/// a timer with the answer and starts the sync when it fires; asking again no later than
/// [`LATE_MAX`] after it is told "now" as well (less for a slot narrower than 15 minutes).
///
/// A last sync in the future only says that the clock was set back, not how long ago it was, so
/// the computer is overdue; counting the interval from `now` would start anew with each question.
/// Under a clock that is not set at all (before 1970) the next sync is a quarter of an hour away.
pub fn next_sync<Tz: TimeZone>(
    settings: &BackgroundSync,
    last: Option<&DateTime<Tz>>,
    now: &DateTime<Tz>,
    seed: u64,
) -> Next<Tz> {
    let zone = now.timezone();
    let now = now.to_utc();
    let known = last.map(DateTime::to_utc).filter(|last| *last <= now);
    let missing = if last.is_some() { Why::Overdue } else { Why::NeverSynced };
    if !YEARS.contains(&now.year()) {
        let later = now.checked_add_signed(bounded(SLOT_WIDTH_MAX)).unwrap_or(now);
        return Next { at: Some(later.with_timezone(&zone)), why: missing };
    }
    let planner = Planner::new(settings, &zone, known, now, seed);
    let found = match &settings.every {
        Every::Interval { interval, variance } => {
            planner.by_interval(*interval, *variance, missing)
        }
        Every::Cron(expression) => planner.by_cron(expression, missing),
    };
    match found {
        Ok((at, why)) => Next { at: Some(at.max(now).with_timezone(&zone)), why },
        Err(why) => Next { at: None, why },
    }
}

/// A start and its reason, or the reason why there is none.
type Found = Result<(DateTime<Utc>, Why), Why>;

/// One question with everything derived from it.
struct Planner<'a, Tz: TimeZone> {
    zone: &'a Tz,
    blockout: Option<Blockout>,
    last: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
    seed: u64,
    has_maximum: bool,
    /// From here on the blockout does not count.
    deadline: Option<DateTime<Utc>>,
    /// Width of the slot windows.
    width_ms: i64,
}

impl<'a, Tz: TimeZone> Planner<'a, Tz> {
    fn new(
        settings: &BackgroundSync,
        zone: &'a Tz,
        last: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
        seed: u64,
    ) -> Self {
        let blockout = settings.blockout.filter(|blockout| !blockout.duration.is_zero());
        let always = blockout.is_some_and(|blockout| blockout.duration >= BLOCKOUT_MAX);
        let deadline = match (last, settings.max_time_without_sync) {
            (Some(last), Some(max)) => Some(last + bounded(max)),
            // The first sync is the largest and waits for the end of the blockout; one without end
            // it could not wait for.
            (None, Some(_)) if always => Some(DateTime::UNIX_EPOCH),
            _ => None,
        };
        let mut width = match &settings.every {
            Every::Interval { variance, .. } => SLOT_WIDTH_MAX.min(*variance),
            Every::Cron(_) => SLOT_WIDTH_MAX,
        };
        if let Some(blockout) = blockout.filter(|_| !always) {
            // Two windows must fit between two blockouts, or a start could miss the time between.
            width = width.min(BLOCKOUT_MAX.saturating_sub(blockout.duration) / 4);
        }
        let width_ms = bounded(width).num_milliseconds();
        let has_maximum = settings.max_time_without_sync.is_some();
        Self { zone, blockout, last, now, seed, has_maximum, deadline, width_ms }
    }

    fn by_interval(&self, interval: Duration, variance: Duration, missing: Why) -> Found {
        let Some(last) = self.last else { return self.overdue(missing) };
        // Whole seconds, so that a journal which keeps no fractions draws the same.
        let drawn = last.timestamp().cast_unsigned();
        let spread = uniform(self.seed, drawn, bounded(variance).num_milliseconds());
        let due = last + bounded(interval) + TimeDelta::milliseconds(spread);
        let (start, why) = self.settle(due, Why::Interval)?;
        if start > self.now {
            Ok((start, why))
        } else if self.now - start <= bounded(LATE_MAX) {
            self.settle(self.now, why)
        } else {
            self.overdue(Why::Overdue)
        }
    }

    fn by_cron(&self, expression: &CronExpression, missing: Why) -> Found {
        let floor = self.now - bounded(LATE_MAX);
        let mut found = Vec::new();
        // Occurrences from now on, and those of a blockout that may still be waiting for its end.
        let blockouts = self.blockouts(self.now).map(|(start, _)| start - TimeDelta::seconds(1));
        for from in blockouts.filter(|from| *from < floor).chain([floor]) {
            let from = self.last.map_or(from, |last| last.max(from));
            self.occurrences_after(expression, from, &mut found);
        }
        found.extend(self.catch_up(expression, floor, missing));
        let refused = found.iter().find_map(|found| found.err()).unwrap_or(Why::NoOccurrence);
        let starts = found.into_iter().flatten().filter(|(start, _)| *start >= floor);
        let (start, why) = starts.min_by_key(|(start, _)| *start).ok_or(refused)?;
        if start > self.now { Ok((start, why)) } else { self.settle(self.now, why) }
    }

    /// Adds the start that the next occurrence leads to; while a blockout moves it, also the first
    /// occurrence after that blockout, which may come before the computer's slot.
    fn occurrences_after(
        &self,
        expression: &CronExpression,
        mut from: DateTime<Utc>,
        found: &mut Vec<Found>,
    ) {
        let mut earliest = FAR;
        for _ in 0..=BLOCKOUTS_PASSED_MAX {
            let next = expression.next_after(&from.with_timezone(self.zone));
            let Some(occurrence) = next.map(|at| at.to_utc()).filter(|at| *at < earliest) else {
                return;
            };
            let settled = self.settle(occurrence, Why::Cron);
            earliest = settled.map_or(earliest, |(start, _)| earliest.min(start));
            found.push(settled);
            let lifted = self.blocked_until(occurrence).filter(|at| *at < FAR);
            let Some(lifted) = lifted else { return };
            from = lifted - TimeDelta::seconds(1);
        }
    }

    /// The start that makes up for a missed occurrence, if the maximum time asks for one.
    fn catch_up(
        &self,
        expression: &CronExpression,
        floor: DateTime<Utc>,
        missing: Why,
    ) -> Option<Found> {
        let Some(last) = self.last else {
            // A clock set back is no reason to leave the written times.
            let wanted = missing == Why::NeverSynced && self.has_maximum;
            return wanted.then(|| self.overdue(missing));
        };
        let deadline = self.deadline?;
        let first = expression.next_after(&last.with_timezone(self.zone))?;
        if self.settle(first.to_utc(), Why::Cron).is_ok_and(|(planned, _)| planned >= floor) {
            return None;
        }
        Some(if deadline > self.now {
            self.settle(self.slot(deadline), Why::MaxTimeWithoutSync)
        } else {
            self.overdue(Why::MaxTimeWithoutSync)
        })
    }

    /// The first slot from now on that may be used; `now` itself while one is just passing.
    fn overdue(&self, why: Why) -> Found {
        // Part of the fleet that boots at one instant, so only a small part of the width.
        let late = TimeDelta::milliseconds(self.width_ms / 30).min(bounded(LATE_MAX));
        let earlier = self.now - late;
        let slot = self.slot(earlier);
        if slot < self.now && self.blocked_until(slot).is_none() {
            return self.settle(self.now, why);
        }
        self.settle(self.slot(self.now), why)
    }

    /// Moves a start out of the blockout.
    fn settle(&self, start: DateTime<Utc>, why: Why) -> Found {
        let (mut at, mut why) = (start, why);
        for _ in 0..=BLOCKOUTS_PASSED_MAX {
            match self.blocked_until(at) {
                None if self.is_inside(at) => return Ok((at, Why::MaxTimeWithoutSync)),
                None => return Ok((at, why)),
                Some(lifted) if lifted == FAR => return Err(Why::AlwaysBlockedOut),
                Some(lifted) => (at, why) = (self.slot(lifted), Why::AfterBlockout),
            }
        }
        Err(Why::AlwaysBlockedOut)
    }

    /// When the blockout that forbids an instant ends or is lifted; `None` if nothing forbids it.
    fn blocked_until(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let deadline = self.deadline.unwrap_or(FAR);
        if at >= deadline {
            return None;
        }
        let inside = self.blockouts(at).filter(|(start, end)| (*start..*end).contains(&at));
        inside.map(|(_, end)| end.min(deadline)).max()
    }

    fn is_inside(&self, at: DateTime<Utc>) -> bool {
        self.blockouts(at).any(|(start, end)| (start..end).contains(&at))
    }

    /// Every blockout that may contain an instant or contained one shortly before.
    fn blockouts(
        &self,
        at: DateTime<Utc>,
    ) -> impl Iterator<Item = (DateTime<Utc>, DateTime<Utc>)> + '_ {
        // A zone that skips a day, and 24 hours of blockout, reach two days back.
        let today = local(self.zone, at).unwrap_or(at.naive_utc()).date();
        let days = self.blockout.into_iter().flat_map(move |blockout| {
            let first = today.checked_sub_days(Days::new(2)).unwrap_or(today);
            first.iter_days().take(4).map(move |day| (day, blockout))
        });
        days.map(|(day, Blockout { start, duration })| {
            if duration >= BLOCKOUT_MAX {
                return (DateTime::UNIX_EPOCH, FAR);
            }
            let start = first_instant(self.zone, day.and_time(start));
            (start, start + bounded(duration))
        })
    }

    /// This computer's first slot at or after an instant.
    fn slot(&self, at: DateTime<Utc>) -> DateTime<Utc> {
        if self.width_ms == 0 {
            return at;
        }
        let window = at.timestamp_millis().div_euclid(self.width_ms);
        // Two candidates always suffice: the second window begins after `at`.
        for window in [window, window + 1] {
            let inside = uniform(self.seed ^ SLOT, window.cast_unsigned(), self.width_ms - 1);
            let slot = DateTime::from_timestamp_millis(window * self.width_ms + inside);
            if let Some(slot) = slot.filter(|slot| *slot >= at) {
                return slot;
            }
        }
        at
    }
}

/// The end of a blockout that has none.
const FAR: DateTime<Utc> = DateTime::<Utc>::MAX_UTC;

/// Keeps the draws for slots apart from those for intervals.
const SLOT: u64 = 0x736c_6f74; // "slot"

fn bounded(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration.min(WAIT_MAX)).expect("ten years fit into a time delta")
}

/// A number in `0..=max`, the same for the same arguments in every release.
///
/// `draw = mix(seed ^ mix(number))`, where `mix` is the output function of splitmix64 after one
/// step; the number is the high half of `draw * (max + 1)`.
fn uniform(seed: u64, number: u64, max: i64) -> i64 {
    let draw = u128::from(mix(seed ^ mix(number)));
    let count = u128::from(max.max(0).unsigned_abs()) + 1;
    i64::try_from((draw * count) >> 64).unwrap_or(max)
}

fn mix(state: u64) -> u64 {
    let z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
