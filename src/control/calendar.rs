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
    let Some((today, number)) = today(unix, day) else { return Month::default() };
    let next = begins(number + 1, day);
    let ends = next.map(|ends| {
        let left = ends.midnight().assume_utc() - today;
        now + Duration::try_from(left).unwrap_or_default()
    });
    Month { number: day_number(begins(number, day)), ends, next: day_number(next) }
}

/// Days since 1970.
fn day_number(date: Option<Date>) -> u16 {
    let days = date.map_or(0, |date| date.midnight().assume_utc().unix_timestamp() / 86_400);
    u16::try_from(days).unwrap_or_default()
}

/// The minute since 1970 with which that month began.
pub(super) fn month_begins_minute(unix: Duration, day: u8) -> u32 {
    let begins = today(unix, day).and_then(|(_, number)| begins(number, day));
    let seconds = begins.map_or(0, |date| date.midnight().assume_utc().unix_timestamp());
    u32::try_from(seconds / 60).unwrap_or(0)
}

/// The moment, and the month that runs, in months since year 0.
fn today(unix: Duration, day: u8) -> Option<(OffsetDateTime, i32)> {
    let today = OffsetDateTime::from_unix_timestamp(i64::try_from(unix.as_secs()).ok()?).ok()?;
    let (year, name, of_month) = today.to_calendar_date();
    let begun = i32::from(of_month >= day);
    Some((today, year * 12 + i32::from(u8::from(name)) - 1 + begun - 1))
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
        // The first of November is day 20,758.
        for (unix, day, number, left_s) in [
            (november, 1, 20_758, 10 * DAY_S),
            (november, 21, 20_778, 30 * DAY_S),
            (november, 22, 20_748, DAY_S),
            (new_years_eve, 1, 20_788, 1),
            (new_years_eve, 28, 20_815, 27 * DAY_S + 1),
            (new_years_eve + 1, 1, 20_819, 31 * DAY_S),
        ] {
            let now = Instant::from_micros(5);
            let month = month(Duration::from_secs(unix), now, day);
            let left = month.ends.map(|ends| ends.since(now));
            assert_eq!((month.number, left), (number, Some(Duration::from_secs(left_s))), "{unix} {day}");
            assert_eq!(u64::from(month.next) * DAY_S, unix + left_s, "{unix} {day}");
            assert_eq!(u32::from(month.number) * 1440, month_begins_minute(Duration::from_secs(unix), day));
            let begun = u64::from(month_begins_minute(Duration::from_secs(unix), day)) * 60;
            assert!(begun <= unix && unix - begun + left_s <= 31 * DAY_S, "{begun}");
            assert_eq!((unix - begun + left_s) % DAY_S, 0);
        }
    }
}
