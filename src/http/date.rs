//! Dates as HTTP writes them (IMF-fixdate, RFC 9110, section 5.6.7), and `Retry-After`.
//!
//! Seconds since 1970 go in and come out: the clock is the caller's, who renders a date once a second. The two forms of
//! dates that the RFC calls obsolete are not read: no provider sends them.

use std::time::Duration;

use super::framing::{decimal, digit};
use crate::limits::RETRY_AFTER_MAX;

/// Bytes of a date: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub const DATE_BYTES: usize = 29;

const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

const SECONDS_OF_DAY: u64 = 24 * 60 * 60;
/// The last second of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

/// The date of a moment, seconds since 1970; beyond the year 9999 its last second.
#[must_use]
pub fn http_date(unix_seconds: u64) -> [u8; DATE_BYTES] {
    let seconds = unix_seconds.min(LAST_SECOND);
    let (days, second) = (seconds / SECONDS_OF_DAY, seconds % SECONDS_OF_DAY);
    let (year, month, day) = civil(days);
    let mut date = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    date[..3].copy_from_slice(DAYS[index(days % 7)]);
    two_digits(&mut date[5..7], day);
    date[8..11].copy_from_slice(MONTHS[index(month - 1)]);
    two_digits(&mut date[12..14], year / 100);
    two_digits(&mut date[14..16], year % 100);
    two_digits(&mut date[17..19], second / 3600);
    two_digits(&mut date[20..22], second / 60 % 60);
    two_digits(&mut date[23..25], second % 60);
    date
}

/// The moment that a date names, seconds since 1970. `None` for anything but an IMF-fixdate from 1970 on; the day of
/// the week is not checked against the date.
#[must_use]
pub fn parse_http_date(date: &[u8]) -> Option<u64> {
    let shape: &[u8; DATE_BYTES] = date.try_into().ok()?;
    let day_name: &[u8; 3] = shape.first_chunk()?;
    let separators = [(3, b", ".as_slice()), (7, b" "), (11, b" "), (16, b" "), (19, b":"), (22, b":"), (25, b" GMT")];
    if !DAYS.contains(&day_name) || !separators.iter().all(|(at, text)| shape[*at..].starts_with(text)) {
        return None;
    }
    let number = |from: usize, to: usize| decimal(&shape[from..to]);
    let month = 1 + MONTHS.iter().position(|name| shape[8..11] == name[..])? as u64;
    let (year, day) = (number(12, 16)?, number(5, 7)?);
    let (hour, minute, second) = (number(17, 19)?, number(20, 22)?, number(23, 25)?);
    // 60 is a leap second; it counts as the next minute's first.
    if year < 1970 || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days(year, month, day);
    (civil(days) == (year, month, day)).then_some(days * SECONDS_OF_DAY + hour * 3600 + minute * 60 + second)
}

/// How long a provider asks to be left alone: seconds, or a date. At most [`RETRY_AFTER_MAX`], zero for a date in the past.
#[must_use]
pub fn retry_after(value: &[u8], now_unix_seconds: u64) -> Option<Duration> {
    let seconds = match value.first()? {
        // More digits than a number has still say "long".
        b'0'..=b'9' if value.iter().all(u8::is_ascii_digit) => decimal(value).unwrap_or(u64::MAX),
        _ => parse_http_date(value)?.saturating_sub(now_unix_seconds),
    };
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

/// Of a table of at most twelve.
fn index(number: u64) -> usize {
    usize::try_from(number).expect("a remainder by at most twelve")
}

fn two_digits(out: &mut [u8], number: u64) {
    out.copy_from_slice(&[digit(number / 10), digit(number)]);
}

// Both directions count in years that begin in March, so that a leap day is a year's last, and in eras of 400 years,
// after which the calendar repeats. Days 1970-01-01 and 0000-03-01 are 719,468 apart.
const ERA_DAYS: u64 = 146_097;
const EPOCH_DAYS: u64 = 719_468;

/// Year, month and day of month, the last two from 1, of a day since 1970.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + EPOCH_DAYS;
    let (era, day_of_era) = (days / ERA_DAYS, days % ERA_DAYS);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// Days since 1970 of a date from then on; the inverse of [`civil`] for dates that exist.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day.saturating_sub(1);
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * ERA_DAYS + day_of_era).saturating_sub(EPOCH_DAYS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates() {
        for (seconds, date) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (LAST_SECOND, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(std::str::from_utf8(&http_date(seconds)), Ok(date));
            assert_eq!(parse_http_date(date.as_bytes()), Some(seconds), "{date}");
        }
        assert_eq!(http_date(u64::MAX), http_date(LAST_SECOND));
    }

    #[test]
    fn what_is_no_date() {
        for text in [
            "",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 31 Feb 2024 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08-49:37 GMT",
            "Xxx, 06 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(parse_http_date(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn retry_after_is_bounded() {
        let now = 784_111_777;
        for (value, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            ("86400", Some(3600)),
            ("99999999999999999999999", Some(3600)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:49:27 GMT", Some(0)),
            ("Sun, 06 Nov 2094 08:49:27 GMT", Some(3600)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
        ] {
            assert_eq!(retry_after(value.as_bytes(), now), seconds.map(Duration::from_secs), "{value}");
        }
    }

    proptest! {
        #[test]
        fn dates_round_trip(seconds in 0..=LAST_SECOND) {
            prop_assert_eq!(parse_http_date(&http_date(seconds)), Some(seconds));
        }
    }
}
