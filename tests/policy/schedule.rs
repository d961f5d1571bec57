//! When the next background sync starts: examples, the fleet, and the laws of the schedule.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::time::Duration;

use chrono::{DateTime, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use homeport_policy::schedule::{
    BackgroundSync, Blockout, CronExpression, Every, LATE_MAX, SLOT_WIDTH_MAX, Why, next_sync,
};
use proptest::prelude::*;

const BERLIN: Tz = chrono_tz::Europe::Berlin;
const NEW_YORK: Tz = chrono_tz::America::New_York;
const HOUR: u64 = 3_600;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// An instant written as wall-clock time, the first one where there are two.
fn at(zone: Tz, text: &str) -> DateTime<Tz> {
    let wall = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S")
        .or_else(|_| chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M"))
        .unwrap();
    zone.from_local_datetime(&wall).earliest().unwrap()
}

fn every(interval: u64, variance: u64) -> BackgroundSync {
    let every = Every::Interval { interval: secs(interval), variance: secs(variance) };
    BackgroundSync { every, blockout: None, max_time_without_sync: None }
}

fn cron(text: &str) -> BackgroundSync {
    let every = Every::Cron(CronExpression::parse(text).unwrap());
    BackgroundSync { every, blockout: None, max_time_without_sync: None }
}

fn blockout(start: &str, duration: u64) -> Option<Blockout> {
    let start = NaiveTime::parse_from_str(start, "%H:%M").unwrap();
    Some(Blockout { start, duration: secs(duration) })
}

/// Whether a blockout covers an instant, computed another way than in the module: a skipped
/// beginning is looked for minute by minute.
fn covered(blockout: Blockout, instant: &DateTime<Tz>) -> bool {
    if blockout.duration >= secs(24 * HOUR) {
        return true;
    }
    let zone = instant.timezone();
    let local_day = instant.date_naive();
    (-3..=1).any(|days| {
        let wall = (local_day + TimeDelta::days(days)).and_time(blockout.start);
        let mut begin = zone.from_local_datetime(&wall).earliest();
        let mut probe = wall;
        while begin.is_none() {
            probe += TimeDelta::minutes(1);
            begin = zone.from_local_datetime(&probe).earliest();
        }
        let begin = begin.unwrap();
        begin <= *instant && *instant < begin + TimeDelta::from_std(blockout.duration).unwrap()
    })
}

// ---------------------------------------------------------------- interval

#[test]
fn the_next_sync_follows_interval_and_variance() {
    let last = at(BERLIN, "2026-05-04 10:00");
    let next = next_sync(&every(2 * HOUR, HOUR), Some(&last), &last, 7);
    let wait = next.at.unwrap() - last;
    assert_eq!(next.why, Why::Interval);
    assert!(wait >= TimeDelta::hours(2) && wait <= TimeDelta::hours(3), "{wait}");
    let exact = next_sync(&every(2 * HOUR, 0), Some(&last), &last, 7);
    assert_eq!(exact.at.unwrap(), at(BERLIN, "2026-05-04 12:00"));
}

/// The draw is part of the product: a release that changed it would shift every fleet at once.
#[test]
fn the_draw_never_changes() {
    let last = Utc.with_ymd_and_hms(2026, 5, 4, 10, 0, 0).unwrap();
    let drawn = |seed| {
        let next = next_sync(&every(2 * HOUR, HOUR), Some(&last), &last, seed);
        (next.at.unwrap() - last).num_milliseconds() - 7_200_000
    };
    assert_eq!([drawn(0), drawn(1), drawn(u64::MAX)], [2_285_958, 992_231, 526_907]);
}

#[test]
fn an_overdue_computer_takes_its_slot_however_often_it_asks() {
    let settings = every(2 * HOUR, HOUR);
    let last = at(BERLIN, "2026-05-01 10:00");
    let boot = at(BERLIN, "2026-05-04 08:00");
    let first = next_sync(&settings, Some(&last), &boot, 11);
    let slot = first.at.unwrap();
    assert_eq!(first.why, Why::Overdue);
    assert!(slot - boot <= TimeDelta::from_std(SLOT_WIDTH_MAX * 2).unwrap());
    let mut now = boot;
    while now < slot {
        assert_eq!(next_sync(&settings, Some(&last), &now, 11).at.unwrap(), slot);
        now += TimeDelta::seconds(17);
    }
    // A timer that fires late and asks again is not sent to the next slot.
    let late = slot + TimeDelta::seconds(5);
    assert_eq!(next_sync(&settings, Some(&last), &late, 11).at.unwrap(), late);
}

#[test]
fn a_timer_that_fires_late_is_told_now() {
    let settings = every(2 * HOUR, HOUR);
    let last = at(BERLIN, "2026-05-04 10:00");
    let due = next_sync(&settings, Some(&last), &last, 3).at.unwrap();
    let late = due + TimeDelta::from_std(LATE_MAX).unwrap();
    let next = next_sync(&settings, Some(&last), &late, 3);
    assert_eq!((next.at.unwrap(), next.why), (late, Why::Interval));
}

/// A computer that restarts every few minutes and lives for one minute still syncs before long.
#[test]
fn a_restart_loop_does_not_postpone_for_ever() {
    for seed in 0..50 {
        let settings = every(2 * HOUR, HOUR);
        let mut boot = at(BERLIN, "2026-05-04 08:00");
        let synced = (0..400).any(|_| {
            let next = next_sync(&settings, None, &boot, seed).at.unwrap();
            let lives_until = boot + TimeDelta::minutes(1);
            boot += TimeDelta::minutes(15); // the very width of the slots
            next < lives_until
        });
        assert!(synced, "seed {seed}");
    }
}

#[test]
fn a_last_sync_in_the_future_counts_as_overdue() {
    let now = at(BERLIN, "2026-05-04 10:00");
    let future = at(BERLIN, "2031-05-04 10:00");
    let next = next_sync(&every(2 * HOUR, HOUR), Some(&future), &now, 5);
    assert_eq!(next.why, Why::Overdue);
    assert!(next.at.unwrap() - now <= TimeDelta::minutes(30));
}

#[test]
fn extreme_values_do_not_overflow() {
    let huge = Duration::MAX;
    let settings = BackgroundSync {
        every: Every::Interval { interval: huge, variance: huge },
        blockout: Some(Blockout { start: NaiveTime::MIN, duration: secs(86_399) }),
        max_time_without_sync: Some(huge),
    };
    for now in [DateTime::<Utc>::MIN_UTC, DateTime::UNIX_EPOCH, DateTime::<Utc>::MAX_UTC] {
        for last in
            [None, Some(DateTime::<Utc>::MIN_UTC), Some(now), Some(DateTime::<Utc>::MAX_UTC)]
        {
            for settings in [&settings, &every(0, 0), &cron("* * * * *"), &cron("0 0 29 2 *")] {
                let next = next_sync(settings, last.as_ref(), &now, u64::MAX);
                assert!(next.at.is_none_or(|at| at >= now), "{settings:?} {last:?} {now}");
            }
        }
    }
    let zoned = DateTime::<Utc>::MAX_UTC.with_timezone(&BERLIN);
    assert!(next_sync(&settings, None, &zoned, 0).at.unwrap() >= zoned);
}

// ---------------------------------------------------------------- blockout

/// Settings, last sync, now, expected start (exact when variance is zero) and reason.
#[test]
fn blockouts_by_example() {
    let day = |start, duration, max: Option<u64>| BackgroundSync {
        blockout: blockout(start, duration),
        max_time_without_sync: max.map(secs),
        ..every(2 * HOUR, 0)
    };
    #[rustfmt::skip]
    let cases = [
        // inside, at its first instant, just before, at its end
        (day("08:30", 2 * HOUR, None), "2026-05-04 07:00", "2026-05-04 10:30", Why::AfterBlockout),
        (day("08:30", 2 * HOUR, None), "2026-05-04 06:30", "2026-05-04 10:30", Why::AfterBlockout),
        (day("08:30", 2 * HOUR, None), "2026-05-04 06:29", "2026-05-04 08:29", Why::Interval),
        (day("08:30", 2 * HOUR, None), "2026-05-04 08:30", "2026-05-04 10:30", Why::Interval),
        // across midnight
        (day("22:00", 8 * HOUR, None), "2026-05-04 21:00", "2026-05-05 06:00", Why::AfterBlockout),
        (day("22:00", 8 * HOUR, None), "2026-05-05 01:00", "2026-05-05 06:00", Why::AfterBlockout),
        // lifted by the maximum, within the window and before it
        (day("08:30", 9 * HOUR, Some(4 * HOUR)), "2026-05-04 08:00", "2026-05-04 12:00",
            Why::MaxTimeWithoutSync),
        (day("08:30", 9 * HOUR, Some(HOUR)), "2026-05-04 07:00", "2026-05-04 09:00",
            Why::MaxTimeWithoutSync),
        (day("08:30", 2 * HOUR, Some(9 * HOUR)), "2026-05-04 07:00", "2026-05-04 10:30",
            Why::AfterBlockout),
        // the whole day
        (day("00:00", 24 * HOUR, Some(48 * HOUR)), "2026-05-04 07:00", "2026-05-06 07:00",
            Why::MaxTimeWithoutSync),
        // spring: the start 02:30 is skipped, the window is 03:00 to 04:00
        (day("02:30", HOUR, None), "2026-03-29 00:30", "2026-03-29 04:00", Why::AfterBlockout),
        // spring: two elapsed hours from 01:30 end at 04:30
        (day("01:30", 2 * HOUR, None), "2026-03-29 00:00", "2026-03-29 04:30", Why::AfterBlockout),
        // autumn: two elapsed hours from 01:30 end at the second 02:30
        (day("01:30", 2 * HOUR, None), "2026-10-25 00:00", "2026-10-25 01:30Z", Why::AfterBlockout),
        // autumn: the window begins at the first 02:30; the second one is free
        (day("02:30", HOUR, None), "2026-10-25 00:30", "2026-10-25 01:30Z", Why::AfterBlockout),
    ];
    for (settings, last, expected, why) in cases {
        let last = at(BERLIN, last);
        let expected = match expected.strip_suffix('Z') {
            Some(utc) => at(Tz::UTC, utc).with_timezone(&BERLIN),
            None => at(BERLIN, expected),
        };
        let next = next_sync(&settings, Some(&last), &last, 1);
        assert_eq!((next.at.unwrap(), next.why), (expected, why), "{settings:?} {last}");
    }
}

#[test]
fn a_blockout_of_a_whole_day_allows_nothing_without_a_maximum() {
    let now = at(BERLIN, "2026-05-04 10:00");
    for settings in [every(2 * HOUR, HOUR), cron("0 * * * *")] {
        let mut settings = BackgroundSync { blockout: blockout("00:00", 24 * HOUR), ..settings };
        for last in [None, Some(&now)] {
            let next = next_sync(&settings, last, &now, 1);
            assert_eq!((next.at, next.why), (None, Why::AlwaysBlockedOut));
        }
        settings.max_time_without_sync = Some(secs(HOUR));
        assert!(next_sync(&settings, None, &now, 1).at.is_some());
        assert!(next_sync(&settings, Some(&now), &now, 1).at.is_some());
    }
}

#[test]
fn a_computer_that_never_synced_waits_for_the_end_of_the_blockout() {
    let now = at(BERLIN, "2026-05-04 10:00");
    let settings = BackgroundSync {
        blockout: blockout("08:00", 10 * HOUR),
        max_time_without_sync: Some(secs(HOUR)),
        ..every(2 * HOUR, HOUR)
    };
    let next = next_sync(&settings, None, &now, 1);
    assert_eq!(next.why, Why::AfterBlockout);
    assert!(next.at.unwrap() >= at(BERLIN, "2026-05-04 18:00"));
}

// ---------------------------------------------------------------- the fleet

/// No bucket of the range is empty, and none holds more than twice the mean.
fn assert_spread(waits: &[i64], range_ms: i64, buckets: usize) {
    let mut counts = vec![0_usize; buckets];
    for wait in waits {
        let bucket =
            usize::try_from(wait * i64::try_from(buckets).unwrap() / (range_ms + 1)).unwrap();
        counts[bucket] += 1;
    }
    let mean = waits.len() / buckets;
    assert!(counts.iter().all(|count| *count > 0 && *count <= 2 * mean), "{counts:?}");
}

#[test]
fn a_fleet_spreads_over_the_variance() {
    let last = at(BERLIN, "2026-05-04 10:00");
    let waits: Vec<i64> = (0..1_000)
        .map(|seed| next_sync(&every(2 * HOUR, HOUR), Some(&last), &last, seed).at.unwrap())
        .map(|at| (at - last).num_milliseconds() - 2 * 3_600_000)
        .collect();
    assert_spread(&waits, 3_600_000, 30);
}

#[test]
fn a_fleet_spreads_after_a_common_boot_and_after_a_blockout() {
    let boot = at(BERLIN, "2026-05-04 08:00");
    let long_ago = at(BERLIN, "2026-05-01 17:00");
    let open = every(2 * HOUR, HOUR);
    let blocked = BackgroundSync { blockout: blockout("07:30", 3 * HOUR), ..open.clone() };
    for (settings, last, from) in [
        (&open, None, boot),
        (&open, Some(&long_ago), boot),
        (&blocked, Some(&long_ago), at(BERLIN, "2026-05-04 10:30")),
        (
            &BackgroundSync { blockout: blocked.blockout, ..cron("0 9 * * *") },
            None,
            at(BERLIN, "2026-05-04 10:30"),
        ),
    ] {
        // 08:00 and 10:30 are multiples of a quarter of an hour, where one window begins.
        let waits: Vec<i64> = (0..1_000)
            .map(|seed| next_sync(settings, last, &boot, seed).at.unwrap())
            .map(|at| (at - from).num_milliseconds())
            .collect();
        assert_spread(&waits, 15 * 60_000, 15);
    }
}

// ---------------------------------------------------------------- laws

fn any_settings() -> impl Strategy<Value = BackgroundSync> {
    let interval = (60..100_000_u64, prop_oneof![Just(0), 1..20_000_u64])
        .prop_map(|(i, v)| Every::Interval { interval: secs(i), variance: secs(v) });
    let expressions = vec![
        "* * * * *",
        "*/10 * * * *",
        "0 * * * *",
        "30 2 * * *",
        "15,45 1-3 * * *",
        "0 9 * * *",
        "0 22 * * MON-FRI",
        "0 0 13 * FRI",
        "0 12 29 2 *",
        "*/7 8-17 1,15 * *",
        "@weekly",
    ];
    let expression =
        proptest::sample::select(expressions).prop_map(|text| CronExpression::parse(text).unwrap());
    let every = prop_oneof![2 => interval, 1 => expression.prop_map(Every::Cron)];
    let blockout =
        proptest::option::of((0..1_440_u32, 1..=1_440_u64).prop_map(|(start, minutes)| {
            let start = NaiveTime::from_num_seconds_from_midnight_opt(start * 60, 0).unwrap();
            Blockout { start, duration: secs(minutes * 60) }
        }));
    let max = proptest::option::of((1..200 * HOUR).prop_map(secs));
    (every, blockout, max).prop_map(|(every, blockout, max_time_without_sync)| BackgroundSync {
        every,
        blockout,
        max_time_without_sync,
    })
}

/// Mostly any instant of some years, often one around a change of the clocks.
fn any_instant() -> impl Strategy<Value = DateTime<Tz>> {
    let changes = [
        (BERLIN, "2026-03-29 01:00"),
        (BERLIN, "2026-10-25 01:00"),
        (NEW_YORK, "2026-03-08 01:00"),
        (NEW_YORK, "2026-11-01 01:00"),
    ];
    let near = (proptest::sample::select(changes.to_vec()), -40_000..40_000_i64)
        .prop_map(|((zone, text), offset)| at(zone, text) + TimeDelta::seconds(offset));
    let far = (proptest::sample::select(vec![BERLIN, NEW_YORK, Tz::UTC]), 0..120_000_000_i64)
        .prop_map(|(zone, offset)| at(zone, "2024-01-01 00:00") + TimeDelta::seconds(offset));
    prop_oneof![near, far]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Never in the past, and never inside a blockout that still counts.
    #[test]
    fn a_start_is_allowed(
        settings in any_settings(),
        now in any_instant(),
        ago in proptest::option::of(-10_000..1_000_000_i64),
        seed: u64,
    ) {
        let last = ago.map(|ago| now - TimeDelta::seconds(ago));
        let next = next_sync(&settings, last.as_ref(), &now, seed);
        let always = settings.blockout.is_some_and(|b| b.duration >= secs(24 * HOUR));
        prop_assert!(next.at.is_some() || (always && settings.max_time_without_sync.is_none()));
        let Some(start) = next.at else { return Ok(()) };
        prop_assert!(start >= now);
        if let Some(blockout) = settings.blockout && covered(blockout, &start) {
            let lifted = match (last.filter(|last| *last <= now), settings.max_time_without_sync) {
                (Some(last), Some(max)) => start - last >= TimeDelta::from_std(max).unwrap(),
                (None, Some(_)) => always,
                _ => false,
            };
            prop_assert!(lifted, "{start} lies in the blockout");
        }
    }

    /// One computer's answer stays the same until it has passed.
    #[test]
    fn an_answer_is_stable(
        settings in any_settings(),
        now in any_instant(),
        ago in proptest::option::of(0..1_000_000_i64),
        seed: u64,
        parts in proptest::collection::vec(0.0..=1.0_f64, 1..5),
    ) {
        let last = ago.map(|ago| now - TimeDelta::seconds(ago));
        let first = next_sync(&settings, last.as_ref(), &now, seed);
        prop_assert_eq!(&next_sync(&settings, last.as_ref(), &now, seed), &first);
        let Some(start) = first.at else { return Ok(()) };
        for part in parts {
            #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
            let waited = ((start - now).num_milliseconds() as f64 * part) as i64;
            let later = now + TimeDelta::milliseconds(waited);
            let again = next_sync(&settings, last.as_ref(), &later, seed);
            prop_assert_eq!(again.at, first.at, "asked {} ms later", waited);
        }
    }

    /// Nobody waits longer than the settings justify.
    #[test]
    fn an_overdue_start_is_near(now in any_instant(), ago in 30_000..10_000_000_i64, seed: u64) {
        let last = now - TimeDelta::seconds(ago);
        let next = next_sync(&every(2 * HOUR, HOUR), Some(&last), &now, seed);
        prop_assert!(next.at.unwrap() - now <= TimeDelta::from_std(SLOT_WIDTH_MAX * 2).unwrap());
    }
}

// ---------------------------------------------------------------- cron: the schedule

#[test]
fn cron_means_what_it_says() {
    let last = at(BERLIN, "2026-05-01 22:00");
    let now = at(BERLIN, "2026-05-04 08:00");
    let mut settings = cron("0 22 * * *");
    for last in [None, Some(&last)] {
        let next = next_sync(&settings, last, &now, 1);
        assert_eq!((next.at.unwrap(), next.why), (at(BERLIN, "2026-05-04 22:00"), Why::Cron));
    }
    // What was missed is made up for only when the maximum asks for it.
    settings.max_time_without_sync = Some(secs(24 * HOUR));
    let next = next_sync(&settings, Some(&last), &now, 1);
    assert_eq!(next.why, Why::MaxTimeWithoutSync);
    assert!(next.at.unwrap() - now <= TimeDelta::minutes(30));
    let recent = at(BERLIN, "2026-05-03 22:00");
    assert_eq!(next_sync(&settings, Some(&recent), &now, 1).why, Why::Cron);
    assert_eq!(next_sync(&settings, None, &now, 1).why, Why::NeverSynced);
    // A timer that fires late, before the sync it started has been recorded.
    let late = at(BERLIN, "2026-05-04 22:00:10");
    assert_eq!(next_sync(&settings, Some(&recent), &late, 1).at.unwrap(), late);
    assert!(next_sync(&settings, Some(&late), &late, 1).at.unwrap() > late);
}

#[test]
fn a_cron_occurrence_in_a_blockout_waits_for_its_end() {
    let settings = BackgroundSync { blockout: blockout("08:30", 2 * HOUR), ..cron("0 9 * * *") };
    let last = at(BERLIN, "2026-05-03 10:40");
    let early = at(BERLIN, "2026-05-04 06:00");
    let first = next_sync(&settings, Some(&last), &early, 4);
    assert_eq!(first.why, Why::AfterBlockout);
    assert!(first.at.unwrap() >= at(BERLIN, "2026-05-04 10:30"));
    assert!(first.at.unwrap() <= at(BERLIN, "2026-05-04 11:00"));
    // Asked again after the occurrence has passed, it is still waiting.
    let later = next_sync(&settings, Some(&last), &at(BERLIN, "2026-05-04 10:00"), 4);
    assert_eq!(later, first);
}

#[test]
fn an_ended_calendar_is_said() {
    let now = at(BERLIN, "2101-01-01 00:00");
    let next = next_sync(&cron("* * * * *"), None, &now, 1);
    assert_eq!((next.at, next.why), (None, Why::NoOccurrence));
}

#[test]
fn every_reason_has_its_code() {
    for why in [
        Why::NeverSynced,
        Why::Interval,
        Why::Cron,
        Why::AfterBlockout,
        Why::MaxTimeWithoutSync,
        Why::Overdue,
        Why::AlwaysBlockedOut,
        Why::NoOccurrence,
    ] {
        assert_eq!(serde_json::to_value(why).unwrap(), why.code());
    }
}
