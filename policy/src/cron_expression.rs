//! The standard five-field cron expression: what administrators write, checked and evaluated.
//!
//! The `cron` crate finds the occurrences, but its own notation has a seconds field, numbers
//! weekdays from Sunday = 1 and demands that *both* day fields match.  Administrators write what
//! crontab(5) documents, so this module reads that, reports mistakes in its terms, and translates.
//!
//! Time zones are handled here and not in the crate: occurrences are found on the bare wall clock
//! and then placed on the time line by one rule, see [`CronExpression::next_after`].

use std::{fmt, str::FromStr};

use chrono::{
    DateTime, Datelike, MappedLocalTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc,
};
use cron::Schedule;

/// Longest expression that is read; the longest useful one is far below it.
pub const EXPRESSION_BYTES_MAX: usize = 256;

/// Longest stretch of wall-clock time that a zone has repeated since 1970, rounded up.
const REPEATED_HOURS_MAX: i64 = 4;

/// Bound on the wall-clock times looked at for one answer.
/// The longest search is a zone that skips a whole day (Samoa 2011) under `* * * * *`: 1,440.
const CANDIDATES_MAX: usize = 4_096;

/// The years the `cron` crate knows.
const YEAR_FIRST: i32 = 1970;
const YEAR_LAST: i32 = 2100;

/// A field of the expression, in the order of writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// 0 to 59.
    Minute,
    /// 0 to 23.
    Hour,
    /// 1 to 31.
    DayOfMonth,
    /// 1 to 12, or JAN to DEC.
    Month,
    /// 0 to 7 with Sunday as 0 and as 7, or SUN to SAT.
    DayOfWeek,
}

const FIELDS: [Field; 5] =
    [Field::Minute, Field::Hour, Field::DayOfMonth, Field::Month, Field::DayOfWeek];

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// February counts with its leap day: an expression that names it does occur.
const MONTH_DAYS: [u8; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

const NICKNAMES: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

impl Field {
    /// The name used in messages.
    pub fn name(self) -> &'static str {
        match self {
            Field::Minute => "minute",
            Field::Hour => "hour",
            Field::DayOfMonth => "day of month",
            Field::Month => "month",
            Field::DayOfWeek => "day of week",
        }
    }

    /// Smallest and largest value that may be written.
    pub fn bounds(self) -> (u8, u8) {
        match self {
            Field::Minute => (0, 59),
            Field::Hour => (0, 23),
            Field::DayOfMonth => (1, 31),
            Field::Month => (1, 12),
            Field::DayOfWeek => (0, 7),
        }
    }

    /// Largest value that `*` stands for; Sunday is counted once.
    fn star_max(self) -> u8 {
        if self == Field::DayOfWeek { 6 } else { self.bounds().1 }
    }

    fn named(self, text: &str) -> Option<u8> {
        let (names, first): (&[&str], u8) = match self {
            Field::Month => (&MONTHS, 1),
            Field::DayOfWeek => (&WEEKDAYS, 0),
            _ => return None,
        };
        (first..).zip(names).find(|(_, name)| name.eq_ignore_ascii_case(text)).map(|(n, _)| n)
    }
}

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The text is longer than [`EXPRESSION_BYTES_MAX`].
    #[error("the expression has {0} bytes")]
    TooLong(usize),
    /// There are not five fields.
    #[error("the expression has {0} fields instead of five")]
    FieldCount(usize),
    /// A word beginning with `@` that is none of the known ones.
    #[error("\"{0}\" is no known nickname")]
    Nickname(String),
    /// Nothing before, between or after commas.
    #[error("an element is empty")]
    Empty,
    /// Neither a number nor a name of this field.
    #[error("\"{0}\" is no value of this field")]
    Value(String),
    /// A number outside the field.
    #[error("{0} is out of range")]
    OutOfRange(String),
    /// A range whose end comes before its start.
    #[error("the range {0} runs backwards")]
    Backwards(String),
    /// A step of nothing.
    #[error("a step of 0 never advances")]
    ZeroStep,
    /// A step that leaves only the first value, which is never what was meant.
    #[error("a step of {0} is wider than its range and leaves only the first value")]
    StepTooWide(u8),
    /// `5/10`: implementations disagree whether this is one value or many.
    #[error("the step in \"{0}\" follows a single value")]
    StepWithoutRange(String),
    /// No month of the expression has such a day.
    #[error("no chosen month has a chosen day, so it would never occur")]
    NeverOccurs,
}

/// A cron expression that cannot be used: the field, the problem, and [`CronError::hint`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", self.prefix())]
pub struct CronError {
    /// The field at fault; `None` when it is the expression as a whole.
    pub field: Option<Field>,
    /// What is wrong with it.
    pub problem: Problem,
}

impl CronError {
    fn prefix(&self) -> String {
        self.field.map(|field| format!("{}: ", field.name())).unwrap_or_default()
    }

    /// What to write instead.
    pub fn hint(&self) -> String {
        let (low, high) = self.field.map_or((0, 0), Field::bounds);
        match &self.problem {
            Problem::TooLong(_) => format!("stay within {EXPRESSION_BYTES_MAX} bytes"),
            Problem::FieldCount(6 | 7) => {
                "there is no seconds and no year field: minute hour day month weekday".into()
            }
            Problem::FieldCount(_) => {
                "write minute hour day month weekday, such as \"30 22 * * MON-FRI\"".into()
            }
            Problem::Nickname(_) => {
                let known: Vec<_> = NICKNAMES.iter().map(|(name, _)| *name).collect();
                format!("known are {}", known.join(", "))
            }
            Problem::Empty => "remove the surplus comma, dash or slash".into(),
            Problem::Value(text) if text == "?" => "write *".into(),
            Problem::Value(_) | Problem::OutOfRange(_) => match self.field {
                Some(Field::Month) => "use 1 to 12 or JAN to DEC".into(),
                Some(Field::DayOfWeek) => "use 0 to 7 (0 and 7 are Sunday) or SUN to SAT".into(),
                _ => format!("use {low} to {high}, a range, a list, or *"),
            },
            Problem::Backwards(_) => {
                format!("split it at the end of the field, as in x-{high},{low}-y")
            }
            Problem::ZeroStep => "use a step of at least 1".into(),
            Problem::StepTooWide(_) => "write the one value, or a smaller step".into(),
            Problem::StepWithoutRange(text) => {
                let (start, step) = text.split_once('/').unwrap_or((text, "n"));
                format!("write the whole range, as in {start}-{high}/{step}")
            }
            Problem::NeverOccurs => "choose a day that one of the months has".into(),
        }
    }
}

/// A checked five-field cron expression.
///
/// Minute, hour, day of month, month, day of week; numbers, names (`JAN`, `sun`), ranges, lists and
/// steps; or a nickname such as `@daily`.  A day field is *restricted* unless it is exactly `*`;
/// when both are, a day that matches either one matches, as crontab(5) has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CronExpression {
    source: String,
    /// One schedule, or two when either day field may match.
    schedules: Vec<Schedule>,
    /// Every hour of the day is chosen, so elapsed time is what counts; see `next_after`.
    every_hour: bool,
}

impl fmt::Display for CronExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl FromStr for CronExpression {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        Self::parse(text)
    }
}

impl CronExpression {
    /// Reads an expression.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let whole = |problem| CronError { field: None, problem };
        if text.len() > EXPRESSION_BYTES_MAX {
            return Err(whole(Problem::TooLong(text.len())));
        }
        let source = text.trim();
        let expanded = if source.starts_with('@') {
            let known = NICKNAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(source));
            known.ok_or_else(|| whole(Problem::Nickname(source.into())))?.1
        } else {
            source
        };
        let words: Vec<&str> = expanded.split_ascii_whitespace().collect();
        let words: [&str; 5] =
            words.try_into().map_err(|w: Vec<_>| whole(Problem::FieldCount(w.len())))?;
        let mut chosen = [0_u64; 5];
        for ((field, word), bits) in FIELDS.into_iter().zip(words).zip(&mut chosen) {
            *bits = parse_field(field, word)
                .map_err(|problem| CronError { field: Some(field), problem })?;
        }
        if !occurs(chosen[2], chosen[3]) {
            let field = Some(Field::DayOfMonth);
            return Err(CronError { field, problem: Problem::NeverOccurs });
        }
        let every_hour = chosen[1] == all(Field::Hour);
        Ok(Self { source: source.into(), schedules: translate(words, chosen), every_hour })
    }

    /// The text it was read from.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// The first occurrence strictly after an instant, or `None` past the year 2100.
    ///
    /// On days the clocks change, an expression that names hours (`30 2 * * *`) happens once for
    /// every wall-clock time it names: a time that is skipped happens at the end of the gap, a time
    /// that comes twice happens the first time.  An expression over every hour (`*/10 * * * *`)
    /// follows elapsed time: skipped times are skipped, repeated ones happen twice.  Other programs
    /// ask instead whether the field was *written* with a star and lose `*/10 2 * * *` for a day.
    pub fn next_after<Tz: TimeZone>(&self, after: &DateTime<Tz>) -> Option<DateTime<Tz>> {
        let zone = after.timezone();
        let mut wall = local(&zone, after.to_utc())?;
        let ahead = after.to_utc().checked_add_signed(TimeDelta::hours(REPEATED_HOURS_MAX))?;
        if self.every_hour && offset_seconds(&zone, ahead) < offset_seconds(&zone, after.to_utc()) {
            // The coming hours show wall-clock times again that have already passed.
            wall -= TimeDelta::hours(REPEATED_HOURS_MAX);
        }
        let mut best: Option<DateTime<Utc>> = None;
        for _ in 0..CANDIDATES_MAX {
            let Some(next) = self.next_wall_clock(wall) else { break };
            wall = next;
            let (first, second) = self.place(&zone, next);
            for instant in [first, second].into_iter().flatten() {
                if instant > after.to_utc() {
                    best = Some(best.map_or(instant, |known| known.min(instant)));
                }
            }
            // Later wall-clock times have no earlier first instant, so nothing better can come.
            if first.zip(best).is_some_and(|(first, best)| best <= first) {
                break;
            }
        }
        best.map(|instant| instant.with_timezone(&zone))
    }

    /// The first matching wall-clock time strictly after another, as if no zone ever changed.
    fn next_wall_clock(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        if after.year() > YEAR_LAST {
            return None;
        }
        let first = chrono::NaiveDate::from_ymd_opt(YEAR_FIRST, 1, 1)?.and_hms_opt(0, 0, 0)?;
        let after = Utc.from_utc_datetime(&after.max(first - TimeDelta::seconds(1)));
        let next = |schedule: &Schedule| schedule.after(&after).next();
        self.schedules.iter().filter_map(next).min().map(|instant| instant.naive_utc())
    }

    /// The instants at which a matching wall-clock time happens.
    fn place<Tz: TimeZone>(
        &self,
        zone: &Tz,
        wall: NaiveDateTime,
    ) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
        if !self.every_hour {
            return (Some(first_instant(zone, wall)), None);
        }
        match zone.from_local_datetime(&wall) {
            MappedLocalTime::Single(at) => (Some(at.to_utc()), None),
            MappedLocalTime::Ambiguous(a, b) => {
                let (a, b) = (a.to_utc(), b.to_utc());
                (Some(a.min(b)), Some(a.max(b)))
            }
            MappedLocalTime::None => (None, None),
        }
    }
}

/// The first instant at which a zone's clocks show a time, or the end of the gap that skips it.
pub(crate) fn first_instant<Tz: TimeZone>(zone: &Tz, wall: NaiveDateTime) -> DateTime<Utc> {
    if let Some(at) = zone.from_local_datetime(&wall).earliest() {
        return at.to_utc();
    }
    // In a gap.  Clocks before it run on the old offset; read with that offset, the skipped time
    // is an instant after the change, and at most 26 hours after (a zone crossing the date line).
    for quarters in 1..=(26 * 4) {
        let earlier = wall - TimeDelta::minutes(15 * quarters);
        let Some(before) = zone.from_local_datetime(&earlier).latest() else { continue };
        let (mut low, mut high) =
            (before.to_utc(), before.to_utc() + TimeDelta::minutes(15 * quarters));
        let old = offset_seconds(zone, low);
        while high - low > TimeDelta::seconds(1) {
            let middle = low + TimeDelta::seconds((high - low).num_seconds() / 2);
            *(if offset_seconds(zone, middle) == old { &mut low } else { &mut high }) = middle;
        }
        return high;
    }
    // No real zone gets here; any fixed reading is as good as another.
    wall.and_utc()
}

/// What the clocks of a zone show, unless that lies outside the calendar.
pub(crate) fn local<Tz: TimeZone>(zone: &Tz, at: DateTime<Utc>) -> Option<NaiveDateTime> {
    at.naive_utc().checked_add_offset(zone.offset_from_utc_datetime(&at.naive_utc()).fix())
}

fn offset_seconds<Tz: TimeZone>(zone: &Tz, at: DateTime<Utc>) -> i32 {
    zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc()
}

/// Every value of a field as one bit each.
fn all(field: Field) -> u64 {
    (field.bounds().0..=field.star_max()).fold(0, |bits, value| bits | 1 << value)
}

fn parse_field(field: Field, word: &str) -> Result<u64, Problem> {
    word.split(',').try_fold(0, |bits, element| Ok(bits | parse_element(field, element)?))
}

fn parse_element(field: Field, element: &str) -> Result<u64, Problem> {
    let (range, step) = match element.split_once('/') {
        Some((range, step)) => (range, Some(step)),
        None => (element, None),
    };
    let (low, high) = if range == "*" {
        (field.bounds().0, field.star_max())
    } else if let Some((low, high)) = range.split_once('-') {
        let (low, mut high) = (parse_value(field, low)?, parse_value(field, high)?);
        if field == Field::DayOfWeek && high == 0 && low > 0 {
            high = 7; // FRI-SUN: a week may end with Sunday
        }
        if low > high {
            return Err(Problem::Backwards(range.into()));
        }
        (low, high)
    } else {
        let value = parse_value(field, range)?;
        if step.is_some() {
            return Err(Problem::StepWithoutRange(element.into()));
        }
        (value, value)
    };
    let step = step.map_or(Ok(1), parse_number)?;
    if step == 0 {
        return Err(Problem::ZeroStep);
    }
    if step > 1 && step > high - low {
        return Err(Problem::StepTooWide(step));
    }
    let bit = |value: u8| 1_u64 << if field == Field::DayOfWeek { value % 7 } else { value };
    Ok((low..=high).step_by(step.into()).fold(0, |bits, value| bits | bit(value)))
}

fn parse_value(field: Field, text: &str) -> Result<u8, Problem> {
    if let Some(value) = field.named(text) {
        return Ok(value);
    }
    let value = parse_number(text)?;
    let (low, high) = field.bounds();
    if (low..=high).contains(&value) { Ok(value) } else { Err(Problem::OutOfRange(text.into())) }
}

fn parse_number(text: &str) -> Result<u8, Problem> {
    if text.is_empty() {
        return Err(Problem::Empty);
    }
    // `u8::from_str` would also take a sign.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Problem::Value(text.into()));
    }
    text.parse().map_err(|_| Problem::OutOfRange(text.into()))
}

/// Whether one of the months has one of the days.
fn occurs(days: u64, months: u64) -> bool {
    (1_u32..).zip(MONTH_DAYS).any(|(month, length)| {
        months & (1 << month) != 0 && days & ((1_u64 << (length + 1)) - 1) != 0
    })
}

/// Writes the chosen values the way the `cron` crate reads them.
fn translate(words: [&str; 5], chosen: [u64; 5]) -> Vec<Schedule> {
    let list = |field: Field, bits: u64| {
        if bits == all(field) {
            return "*".to_owned();
        }
        let shift = u32::from(field == Field::DayOfWeek); // the crate's Sunday is 1
        let values = (0..u64::BITS).filter(|value| bits & (1 << value) != 0);
        values.map(|value| (value + shift).to_string()).collect::<Vec<_>>().join(",")
    };
    let schedule = |days: u64, weekdays: u64| {
        let mut text = String::from("0"); // on the full minute
        let bits = [chosen[0], chosen[1], days, chosen[3], weekdays];
        for (field, bits) in FIELDS.into_iter().zip(bits) {
            text.push(' ');
            text.push_str(&list(field, bits));
        }
        Schedule::from_str(&text).expect("lists of values within each field are valid")
    };
    if words[2] != "*" && words[4] != "*" {
        return vec![
            schedule(chosen[2], all(Field::DayOfWeek)),
            schedule(all(Field::DayOfMonth), chosen[4]),
        ];
    }
    vec![schedule(chosen[2], chosen[4])]
}
