//! Which month of a vendor's plan it is: months begin at midnight, UTC, on the day that the plan names.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::{Date, Month as Name, OffsetDateTime};

use crate::routing::Month;
use crate::time::Instant;

/// Since 1970, by the machine's clock.
pub(super) fn unix_now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The month of a plan that begins on `day` (1 to 28), `unix` after 1970, which is `now` for the node.
pub(super) fn month(unix: Duration, now: Instant, day: u8) -> Month {
    let seconds = i64::try_from(unix.as_secs()).unwrap_or(i64::MAX);
    let Ok(today) = OffsetDateTime::from_unix_timestamp(seconds) else { return Month::default() };
    let (year, name, of_month) = today.to_calendar_date();
    let begun = i32::from(of_month >= day);
    // Months since year 0, the one that runs.
    let number = year * 12 + i32::from(u8::from(name)) - 1 + begun - 1;
    let ends = begins(number + 1, day).map(|ends| {
        let left = ends.midnight().assume_utc() - today;
        now + Duration::try_from(left).unwrap_or_default()
    });
    Month { number: u16::try_from(number).unwrap_or_default(), ends }
}

fn begins(number: i32, day: u8) -> Option<Date> {
    let name = Name::try_from(u8::try_from(number.rem_euclid(12) + 1).ok()?).ok()?;
    Date::from_calendar_date(number.div_euclid(12), name, day).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_ends_on_its_day() {
        const DAY_S: u64 = 86_400;
        // 2026-11-21 00:00 UTC, and 2026-12-31 23:59:59.
        let (november, new_years_eve) = (1_795_219_200, 1_798_761_599);
        let of_2026 = |month: u16| 2026 * 12 + month - 1;
        for (unix, day, number, left_s) in [
            (november, 1, of_2026(11), 10 * DAY_S),
            (november, 21, of_2026(11), 30 * DAY_S),
            (november, 22, of_2026(10), DAY_S),
            (new_years_eve, 1, of_2026(12), 1),
            (new_years_eve, 28, of_2026(12), 27 * DAY_S + 1),
            (new_years_eve + 1, 1, of_2026(13), 31 * DAY_S),
        ] {
            let now = Instant::from_micros(5);
            let month = month(Duration::from_secs(unix), now, day);
            let left = month.ends.map(|ends| ends.since(now));
            assert_eq!((month.number, left), (number, Some(Duration::from_secs(left_s))), "{unix} {day}");
        }
    }
}
