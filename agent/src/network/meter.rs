//! The day's count of what travelled over metered networks: the near and over-limit signal that
//! Linux lacks (`offline-files.metered.daily-limit`).

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

/// A day that is further ahead than this was never today: a clock ran wrong. Journeys between zones
/// and corrected clocks stay below it.
const AHEAD_DAYS_MAX: i64 = 2;
/// From so many per cent of the limit on it is called near.
const NEAR_PERCENT: u64 = 90;

/// File bytes of one day that crossed to and from shares while the network was metered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Meter {
    /// Local date, `YYYY-MM-DD`.
    pub day: String,
    /// How many.
    pub bytes: u64,
    /// How many an exchange under way may spend at most. What a lost agent did with it nobody knows,
    /// so the next one counts all of it.
    #[serde(default)]
    pub at_stake: u64,
}

/// How far the day's limit is used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// No limit is set, or the network is not metered.
    #[default]
    Free,
    /// Below the limit.
    Within,
    /// 90 % of it are used. A warning: what is left can still be spent.
    Near,
    /// It is reached.
    Over,
}

impl Level {
    /// How far a limit is used up.
    pub fn of(bytes: u64, limit: Option<u64>) -> Self {
        match limit {
            None => Self::Free,
            Some(limit) if bytes >= limit => Self::Over,
            Some(limit)
                if u128::from(bytes) * 100 >= u128::from(limit) * u128::from(NEAR_PERCENT) =>
            {
                Self::Near
            }
            Some(_) => Self::Within,
        }
    }
}

impl Meter {
    /// Begins anew with each local day. A clock that is set back brings nothing back: the count goes
    /// on until a later day than the one it is for.
    pub fn roll(&mut self, today: NaiveDate) {
        let known = NaiveDate::parse_from_str(&self.day, "%Y-%m-%d").ok();
        let ahead = known.map_or(0, |known| known.signed_duration_since(today).num_days());
        match known {
            Some(_) if ahead > AHEAD_DAYS_MAX => self.day = today.to_string(),
            Some(_) if ahead >= 0 => {}
            _ => (self.day, self.bytes) = (today.to_string(), 0),
        }
    }

    /// Counts what crossed; nothing is at stake any more.
    pub fn spend(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.at_stake = 0;
    }

    /// What was at stake when an agent was lost counts as spent. Gives how much that was.
    pub fn settle(&mut self) -> u64 {
        let lost = self.at_stake;
        self.spend(lost);
        lost
    }

    /// How many bytes may travel yet.
    pub fn left(&self, limit: u64) -> u64 {
        limit.saturating_sub(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        NaiveDate::parse_from_str(text, "%Y-%m-%d").unwrap()
    }

    #[test]
    fn a_day_begins_at_local_midnight_and_no_clock_set_back_brings_it_back() {
        let (old, date) = ("2026-11-21", day);
        for (stored, today, expected) in [
            ("", date("2026-11-21"), ("2026-11-21", 0)),
            ("damaged", date("2026-11-21"), ("2026-11-21", 0)),
            (old, date("2026-11-21"), (old, 5)),
            (old, date("2026-11-22"), ("2026-11-22", 0)),
            (old, date("2027-01-01"), ("2027-01-01", 0)),
            // Set back: the count stays, and stays the same day's.
            (old, date("2026-11-20"), (old, 5)),
            (old, date("2026-11-19"), (old, 5)),
            // A clock that was a year ahead must not keep the count for a year.
            (old, date("2025-11-21"), ("2025-11-21", 5)),
        ] {
            let mut meter = Meter { day: stored.to_owned(), bytes: 5, at_stake: 0 };
            meter.roll(today);
            assert_eq!((meter.day.as_str(), meter.bytes), expected, "{stored} {today}");
        }
    }

    #[test]
    fn a_day_that_comes_again_does_not_begin_anew() {
        let mut meter = Meter::default();
        meter.roll(day("2026-11-21"));
        meter.spend(7);
        for today in ["2026-11-20", "2026-11-21", "2026-11-20", "2026-11-21"] {
            meter.roll(day(today));
            assert_eq!(meter.bytes, 7, "{today}");
        }
    }

    #[test]
    fn what_a_lost_agent_may_have_spent_counts() {
        let mut meter = Meter { bytes: 10, at_stake: 90, ..Meter::default() };
        assert_eq!((meter.settle(), meter.bytes, meter.at_stake), (90, 100, 0));
        assert_eq!((meter.settle(), meter.bytes), (0, 100));
        meter.spend(u64::MAX);
        assert_eq!((meter.bytes, meter.left(100)), (u64::MAX, 0));
    }

    #[test]
    fn near_is_nine_tenths_and_over_is_all() {
        for (bytes, limit, expected) in [
            (u64::MAX, None, Level::Free),
            (0, Some(100), Level::Within),
            (89, Some(100), Level::Within),
            (90, Some(100), Level::Near),
            (99, Some(100), Level::Near),
            (100, Some(100), Level::Over),
            (0, Some(0), Level::Over),
            (u64::MAX - 1, Some(u64::MAX), Level::Near),
        ] {
            assert_eq!(Level::of(bytes, limit), expected, "{bytes} {limit:?}");
        }
    }

    #[test]
    fn the_state_of_an_earlier_version_is_read() {
        let meter: Meter = serde_json::from_str(r#"{"day":"2026-11-21","bytes":3}"#).unwrap();
        assert_eq!(meter, Meter { day: "2026-11-21".to_owned(), bytes: 3, at_stake: 0 });
    }
}
