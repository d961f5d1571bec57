//! Cron expressions: mistakes, examples, clock changes, and a second implementation as judge.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use chrono::{DateTime, NaiveDate, TimeDelta, TimeZone};
use chrono_tz::Tz;
use homeport_policy::schedule::CronExpression;
use proptest::prelude::*;

const BERLIN: Tz = chrono_tz::Europe::Berlin;
const NEW_YORK: Tz = chrono_tz::America::New_York;

/// An instant written as wall-clock time, the first one where there are two.
fn at(zone: Tz, text: &str) -> DateTime<Tz> {
    let wall = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S")
        .or_else(|_| chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M"))
        .unwrap();
    zone.from_local_datetime(&wall).earliest().unwrap()
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

#[test]
fn mistakes_are_named_with_a_hint() {
    let long = "0,".repeat(200);
    #[rustfmt::skip]
    let cases = [
        ("", "the expression has 0 fields instead of five"),
        ("0 22 * *", "the expression has 4 fields instead of five"),
        ("0 0 22 * * *", "the expression has 6 fields instead of five"),
        ("@dayly", "\"@dayly\" is no known nickname"),
        (&long, "the expression has 400 bytes"),
        ("60 * * * *", "minute: 60 is out of range"),
        ("* 24 * * *", "hour: 24 is out of range"),
        ("* * 0 * *", "day of month: 0 is out of range"),
        ("* * * 13 *", "month: 13 is out of range"),
        ("* * * * 8", "day of week: 8 is out of range"),
        ("999 * * * *", "minute: 999 is out of range"),
        ("* * * JANUARY *", "month: \"JANUARY\" is no value of this field"),
        ("* * * * L", "day of week: \"L\" is no value of this field"),
        ("* * ? * *", "day of month: \"?\" is no value of this field"),
        ("+5 * * * *", "minute: \"+5\" is no value of this field"),
        ("MON * * * *", "minute: \"MON\" is no value of this field"),
        ("* 22-2 * * *", "hour: the range 22-2 runs backwards"),
        ("* * * * FRI-MON", "day of week: the range FRI-MON runs backwards"),
        ("*/0 * * * *", "minute: a step of 0 never advances"),
        ("*/90 * * * *",
            "minute: a step of 90 is wider than its range and leaves only the first value"),
        ("5/10 * * * *", "minute: the step in \"5/10\" follows a single value"),
        ("1,,2 * * * *", "minute: an element is empty"),
        ("1- * * * *", "minute: an element is empty"),
        ("*/ * * * *", "minute: an element is empty"),
        ("*-5 * * * *", "minute: \"*\" is no value of this field"),
        ("1-2-3 * * * *", "minute: \"2-3\" is no value of this field"),
        ("0 0 31 2 *", "day of month: no chosen month has a chosen day, so it would never occur"),
        ("0 0 30,31 FEB *",
            "day of month: no chosen month has a chosen day, so it would never occur"),
        ("0 0 31 4,6,9,11 MON",
            "day of month: no chosen month has a chosen day, so it would never occur"),
    ];
    for (text, message) in cases {
        let error = CronExpression::parse(text).expect_err(text);
        assert_eq!(error.to_string(), message, "{text}");
        assert!(!error.hint().is_empty());
    }
}

fn occurrences(text: &str, after: DateTime<Tz>, count: usize) -> Vec<String> {
    let expression = CronExpression::parse(text).unwrap();
    let mut now = after;
    let mut found = Vec::new();
    while found.len() < count {
        now = expression.next_after(&now).unwrap();
        found.push(now.format("%m-%d %H:%M %Z").to_string());
    }
    found
}

#[test]
fn expressions_by_example() {
    let start = at(Tz::UTC, "2026-05-04 12:00"); // a Monday
    #[rustfmt::skip]
    let cases = [
        ("30 22 * * MON-FRI", ["05-04 22:30 UTC", "05-05 22:30 UTC", "05-06 22:30 UTC"]),
        ("0 0 * * 0", ["05-10 00:00 UTC", "05-17 00:00 UTC", "05-24 00:00 UTC"]),
        ("0 0 * * 7", ["05-10 00:00 UTC", "05-17 00:00 UTC", "05-24 00:00 UTC"]),
        ("0 0 * * sat-sun", ["05-09 00:00 UTC", "05-10 00:00 UTC", "05-16 00:00 UTC"]),
        // either day field
        ("0 0 13 * FRI", ["05-08 00:00 UTC", "05-13 00:00 UTC", "05-15 00:00 UTC"]),
        ("0 12 1 jan,Jul *", ["07-01 12:00 UTC", "01-01 12:00 UTC", "07-01 12:00 UTC"]),
        ("10-30/10,55 13 * * *", ["05-04 13:10 UTC", "05-04 13:20 UTC", "05-04 13:30 UTC"]),
        ("@hourly", ["05-04 13:00 UTC", "05-04 14:00 UTC", "05-04 15:00 UTC"]),
        ("@Midnight", ["05-05 00:00 UTC", "05-06 00:00 UTC", "05-07 00:00 UTC"]),
        ("@weekly", ["05-10 00:00 UTC", "05-17 00:00 UTC", "05-24 00:00 UTC"]),
        ("@monthly", ["06-01 00:00 UTC", "07-01 00:00 UTC", "08-01 00:00 UTC"]),
        ("@annually", ["01-01 00:00 UTC", "01-01 00:00 UTC", "01-01 00:00 UTC"]),
    ];
    for (text, expected) in cases {
        assert_eq!(occurrences(text, start, 3), expected, "{text}");
    }
    let leap = CronExpression::parse("0 0 29 2 *").unwrap();
    assert_eq!(leap.next_after(&start).unwrap(), at(Tz::UTC, "2028-02-29 00:00"));
}

/// The rule for the days on which the clocks change, where implementations differ.
#[test]
fn clock_changes_by_example() {
    let spring = at(BERLIN, "2026-03-29 00:30");
    let autumn = at(BERLIN, "2026-10-25 00:30");
    #[rustfmt::skip]
    let cases: [(&str, DateTime<Tz>, &[&str]); 8] = [
        // Named hours: each named time once; skipped times at the end of the gap.
        ("30 2 * * *", spring, &["03-29 03:00 CEST", "03-30 02:30 CEST"]),
        ("*/20 2 * * *", spring, &["03-29 03:00 CEST", "03-30 02:00 CEST"]),
        ("30 2,3 * * *", spring, &["03-29 03:00 CEST", "03-29 03:30 CEST", "03-30 02:30 CEST"]),
        ("30 2 * * *", autumn, &["10-25 02:30 CEST", "10-26 02:30 CET"]),
        ("*/30 1-3 * * *", autumn, &["10-25 01:00 CEST", "10-25 01:30 CEST", "10-25 02:00 CEST",
            "10-25 02:30 CEST", "10-25 03:00 CET"]),
        // Every hour: elapsed time.
        ("0 * * * *", autumn, &["10-25 01:00 CEST", "10-25 02:00 CEST", "10-25 02:00 CET",
            "10-25 03:00 CET"]),
        ("30 * * * *", spring, &["03-29 01:30 CET", "03-29 03:30 CEST"]),
        ("0 0-23 * * *", spring, &["03-29 01:00 CET", "03-29 03:00 CEST"]),
    ];
    for (text, start, expected) in cases {
        assert_eq!(occurrences(text, start, expected.len()), expected, "{text}");
    }
}

fn any_field(low: u32, high: u32) -> impl Strategy<Value = String> + Clone {
    let single = (low..=high).prop_map(|value| value.to_string());
    let range = (low..=high, low..=high).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b)));
    let stepped = (low..=high, low..=high, 1..=12_u32).prop_map(|(a, b, step)| {
        let (a, b) = (a.min(b), a.max(b));
        format!("{a}-{b}/{}", step.min((b - a).max(1)))
    });
    let star_step = (2..=(high - low).min(20)).prop_map(|step| format!("*/{step}"));
    let element = prop_oneof![3 => single, 1 => range, 1 => stepped];
    let list = proptest::collection::vec(element, 1..4).prop_map(|elements| elements.join(","));
    prop_oneof![2 => Just("*".to_owned()), 1 => star_step, 3 => list]
}

fn any_expression() -> impl Strategy<Value = String> {
    let names = proptest::sample::select(vec!["MON-FRI", "sat", "SUN", "FRI-SUN", "0-7", "1-7/2"]);
    let weekday = prop_oneof![3 => any_field(0, 7), 1 => names.prop_map(str::to_owned)];
    let months = proptest::sample::select(vec!["jan", "FEB", "MAR-OCT", "nov,DEC"]);
    let month = prop_oneof![5 => any_field(1, 12), 1 => months.prop_map(str::to_owned)];
    (any_field(0, 59), any_field(0, 23), any_field(1, 31), month, weekday).prop_map(
        |(minute, hour, day, month, weekday)| format!("{minute} {hour} {day} {month} {weekday}"),
    )
}

fn croner(text: &str) -> croner::Cron {
    use croner::parser::{CronParser, Seconds, Year};
    let parser = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .dom_and_dow(false)
        .build();
    parser.parse(text).unwrap()
}

/// Whether the offset of a zone changes in a day around an instant.
fn near_a_change(instant: &DateTime<Tz>) -> bool {
    let shown = |hours| {
        let wall = (*instant + TimeDelta::hours(hours)).naive_local();
        wall - TimeDelta::hours(hours)
    };
    shown(-26) != shown(26) || shown(-26) != instant.naive_local()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// `croner` finds the same occurrences, except around a change of the clocks, where it follows
    /// elapsed time unless exactly one hour and one minute are named; see the examples above.
    #[test]
    fn a_second_implementation_agrees(text in any_expression(), start in any_instant()) {
        let Ok(ours) = CronExpression::parse(&text) else {
            let never = croner(&text).find_next_occurrence(&at(Tz::UTC, "2026-01-01 00:00"), false);
            let either = !text.ends_with(" *");
            prop_assert!(never.is_err() || either, "{} does occur", text);
            return Ok(());
        };
        let theirs = croner(&text);
        let hours = text.split(' ').nth(1).unwrap();
        let minutes = text.split(' ').next().unwrap();
        let fixed = hours.parse::<u8>().is_ok() && minutes.parse::<u8>().is_ok();
        let same_rule = hours == "*" || hours == "0-23" || fixed;
        let mut now = start;
        for _ in 0..4 {
            let next = ours.next_after(&now).unwrap();
            let expected = theirs.find_next_occurrence(&now, false).unwrap();
            if !same_rule && [now, next, expected].iter().any(near_a_change) {
                now = expected.max(next);
                continue;
            }
            prop_assert_eq!(next, expected, "{} after {}", text, now);
            now = next;
        }
    }

    /// Occurrences move forward, and on ordinary days show a minute that was named.
    #[test]
    fn occurrences_move_forward(text in any_expression(), start in any_instant()) {
        let Ok(expression) = CronExpression::parse(&text) else { return Ok(()) };
        let mut now = start;
        for _ in 0..20 {
            let next = expression.next_after(&now).unwrap();
            prop_assert!(next > now);
            now = next;
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,40}|[0-9*/,@A-Za-z -]{0,40}") {
        if let Err(error) = CronExpression::parse(&text) {
            prop_assert!(!error.hint().is_empty() && !error.to_string().is_empty());
        }
    }
}

/// A zone that skipped a whole day still has an answer.
#[test]
fn a_skipped_day_is_survived() {
    let apia = chrono_tz::Pacific::Apia;
    let before = at(apia, "2011-12-29 23:00");
    let daily = CronExpression::parse("0 12 * * *").unwrap();
    let found = daily.next_after(&before).unwrap();
    assert_eq!(found.date_naive(), NaiveDate::from_ymd_opt(2011, 12, 31).unwrap());
    let minutely = CronExpression::parse("30 * * * *").unwrap();
    assert_eq!(minutely.next_after(&before).unwrap(), at(apia, "2011-12-29 23:30"));
    let after = minutely.next_after(&at(apia, "2011-12-29 23:30")).unwrap();
    assert_eq!(after, at(apia, "2011-12-31 00:30"));
}
