//! Cron expressions: eight digits of seconds, then the expression; the next time does not depend on
//! when it is asked for.
#![no_main]

use chrono::{DateTime, TimeDelta, TimeZone, Timelike, Utc};
use homeport_policy::cron_expression::CronExpression;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let start = text.bytes().take_while(u8::is_ascii_digit).take(8).count();
    let (digits, text) = text.split_at(start);
    let cron = match CronExpression::parse(text) {
        Ok(cron) => cron,
        Err(error) => {
            assert!(!error.to_string().is_empty() && !error.hint().is_empty());
            return;
        }
    };
    assert_eq!(CronExpression::parse(cron.as_str()).as_ref(), Ok(&cron));
    // Fifteen minutes a step, so that eight digits reach every year.
    let steps: i64 = digits.parse().unwrap_or(0);
    let Some(after) = DateTime::from_timestamp(steps % 4_500_000 * 900 + 7, 0) else { return };
    check(&cron, &after);
    check(&cron, &after.with_timezone(&chrono_tz::Europe::Berlin));
    check(&cron, &after.with_timezone(&chrono_tz::Australia::Lord_Howe));
    check(&cron, &after.with_timezone(&chrono_tz::Pacific::Apia));
});

fn check<Tz: TimeZone>(cron: &CronExpression, after: &DateTime<Tz>) {
    let Some(next) = cron.next_after(after) else {
        assert!(after.to_utc() > Utc.with_ymd_and_hms(2060, 1, 1, 0, 0, 0).unwrap(), "{cron}");
        return;
    };
    assert!(next > *after);
    let middle = after.clone() + (next.clone() - after.clone()) / 2;
    for between in [middle, next.clone() - TimeDelta::seconds(1)] {
        let found = cron.next_after(&between).map(|found| found.to_utc());
        assert_eq!(found, Some(next.to_utc()), "{cron} after {between:?}, not {after:?}");
    }
    assert_eq!(next.second(), 0);
}
