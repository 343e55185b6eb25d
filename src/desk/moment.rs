//! Days, moments and spans as operators write and read them. All of it is UTC: bills have no summer time.
//!
//! Moments are seconds since 1970, and end with the year 9999, which is what four digits can show.

use time::format_description::well_known::Rfc3339;
use time::{Date, Month, OffsetDateTime};

use super::Refusal;

const DAY_S: u64 = 86_400;
/// The end of the year 9999.
const END_S: u64 = 253_402_300_800;

/// As `2027-01-31T12:00:00Z`.
#[must_use]
pub fn shown(seconds: u64) -> String {
    of_unix(seconds).and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_else(|| format!("+{seconds}s"))
}

/// The day, as `2027-01-31`.
#[must_use]
pub fn shown_day(seconds: u64) -> String {
    shown(seconds).split('T').next().unwrap_or_default().to_owned()
}

/// The month, as `2027-01`.
#[must_use]
pub fn shown_month(seconds: u64) -> String {
    shown_day(seconds).rsplit_once('-').map_or_else(String::new, |(month, _)| month.to_owned())
}

/// A day, which is its first moment, or a moment by RFC 3339, by whatever clock.
pub fn moment(field: &'static str, text: &str) -> Result<u64, Refusal> {
    let moment = if text.len() == "2027-01-31".len() {
        day(text).map(|day| day.midnight().assume_utc())
    } else {
        OffsetDateTime::parse(text, &Rfc3339).ok()
    };
    let moment = moment.ok_or(Refusal::Moment { field })?;
    if moment.nanosecond() != 0 {
        return Err(Refusal::Parts { field });
    }
    u64::try_from(moment.unix_timestamp()).map_err(|_| Refusal::Moment { field })
}

/// A moment's minute since 1970.
pub fn minute(field: &'static str, text: &str) -> Result<u32, Refusal> {
    let seconds = moment(field, text)?;
    if !seconds.is_multiple_of(60) {
        return Err(Refusal::Seconds { field });
    }
    u32::try_from(seconds / 60).map_err(|_| Refusal::Far { field })
}

/// A span in seconds: `90d`.
pub fn span(field: &'static str, text: &str) -> Result<u64, Refusal> {
    let refused = Refusal::Span { field };
    let Some(unit) = text.chars().last() else { return Err(refused) };
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => DAY_S,
        _ => return Err(refused),
    };
    let number = &text[..text.len() - 1];
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refused);
    }
    let number = number.parse::<u64>().map_err(|_| Refusal::Far { field })?;
    number.checked_mul(seconds).filter(|span| *span < END_S).ok_or(Refusal::Far { field })
}

/// When something ends: a span from now, a moment to come, or never.
pub fn expiry(field: &'static str, text: &str, now_s: u64) -> Result<Option<u64>, Refusal> {
    if text == "never" {
        return Ok(None);
    }
    let ends = match span(field, text) {
        Ok(span) => now_s + span,
        Err(Refusal::Span { .. }) => moment(field, text).map_err(|refusal| match refusal {
            Refusal::Moment { .. } => Refusal::Expiry { field },
            other => other,
        })?,
        Err(other) => return Err(other),
    };
    match ends {
        _ if ends <= now_s => Err(Refusal::Past { field }),
        END_S.. => Err(Refusal::Far { field }),
        _ => Ok(Some(ends)),
    }
}

/// When the month began that this moment is in, and when the next one does.
#[must_use]
pub fn month_around(seconds: u64) -> (u64, u64) {
    let begins = |year, month| {
        let day = Date::from_calendar_date(year, month, 1).ok()?;
        u64::try_from(day.midnight().assume_utc().unix_timestamp()).ok()
    };
    let Some(date) = of_unix(seconds) else { return (seconds, seconds) };
    let (year, month) = (date.year(), date.month());
    let next = if month == Month::December { (year + 1, Month::January) } else { (year, month.next()) };
    (begins(year, month).unwrap_or(seconds), begins(next.0, next.1).unwrap_or(END_S))
}

fn of_unix(seconds: u64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok()
}

fn day(text: &str) -> Option<Date> {
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let mut parts = text.splitn(3, '-').filter(|part| digits(part));
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let month = Month::try_from(month.parse::<u8>().ok()?).ok()?;
    Date::from_calendar_date(year.parse().ok()?, month, day.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    // 2026-11-22 04:05:06 UTC.
    const NOW: u64 = 1_795_320_306;

    #[test]
    fn moments_are_read_as_they_are_shown() {
        for (text, seconds, shown_as) in [
            ("1970-01-01", 0, "1970-01-01T00:00:00Z"),
            ("2026-11-22", 1_795_305_600, "2026-11-22T00:00:00Z"),
            ("2026-11-22T04:05:06Z", NOW, "2026-11-22T04:05:06Z"),
            ("2026-11-22T06:05:06+02:00", NOW, "2026-11-22T04:05:06Z"),
            ("2024-02-29", 1_709_164_800, "2024-02-29T00:00:00Z"),
            ("9999-12-31T23:59:59Z", END_S - 1, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(moment("from", text), Ok(seconds), "{text}");
            assert_eq!(shown(seconds), shown_as);
        }
        assert_eq!((shown_day(NOW), shown_month(NOW)), ("2026-11-22".to_owned(), "2026-11".to_owned()));
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "now",
            "2026",
            "2026-11",
            "2026-13-01",
            "2026-02-29",
            "2026-11-2",
            "2026/11/22",
            "20261122--",
            "+026-11-22",
            "1969-12-31",
            "2026-11-22T04:05",
            "2026-11-22T04:05:06",
            "2026-11-22 04:05:06",
            "2026-11-2é",
        ] {
            assert_eq!(moment("from", text), Err(Refusal::Moment { field: "from" }), "{text}");
        }
        assert_eq!(minute("from", "2026-11-22T04:05:06Z"), Err(Refusal::Seconds { field: "from" }));
        for text in ["2026-11-22T04:05:00.7Z", "2026-11-22T04:05:00.000000001Z"] {
            assert_eq!(minute("from", text), Err(Refusal::Parts { field: "from" }), "{text}");
            assert_eq!(expiry("expires", text, 0), Err(Refusal::Parts { field: "expires" }), "{text}");
        }
        assert_eq!(minute("from", "2026-11-22T04:05:00.000Z"), Ok(u32::try_from(NOW / 60).unwrap()));
        assert_eq!(minute("from", "2026-11-22T04:05:00Z"), Ok(u32::try_from(NOW / 60).unwrap()));
        assert_eq!(minute("from", "1970-01-02"), Ok(1440));
    }

    #[test]
    fn a_key_ends_later_than_now_or_never() {
        for (text, expected) in [
            ("never", Ok(None)),
            ("1s", Ok(Some(NOW + 1))),
            ("30m", Ok(Some(NOW + 1800))),
            ("90d", Ok(Some(NOW + 90 * DAY_S))),
            ("2027-01-01", Ok(Some(1_798_761_600))),
            ("2026-11-22T04:05:07Z", Ok(Some(NOW + 1))),
            ("0d", Err(Refusal::Past { field: "expires" })),
            ("2026-11-22", Err(Refusal::Past { field: "expires" })),
            ("2026-11-22T04:05:06Z", Err(Refusal::Past { field: "expires" })),
            ("99999999d", Err(Refusal::Far { field: "expires" })),
            ("2932000d", Err(Refusal::Far { field: "expires" })),
            ("99999999999999999999999d", Err(Refusal::Far { field: "expires" })),
            ("", Err(Refusal::Expiry { field: "expires" })),
            ("d", Err(Refusal::Expiry { field: "expires" })),
            ("-1d", Err(Refusal::Expiry { field: "expires" })),
            ("1.5d", Err(Refusal::Expiry { field: "expires" })),
            ("90", Err(Refusal::Expiry { field: "expires" })),
            ("90days", Err(Refusal::Expiry { field: "expires" })),
            ("9é", Err(Refusal::Expiry { field: "expires" })),
        ] {
            assert_eq!(expiry("expires", text, NOW), expected, "{text}");
        }
    }

    #[test]
    fn months_meet() {
        for (text, begins, ends) in [
            ("2026-11-22T04:05:06Z", "2026-11-01", "2026-12-01"),
            ("2026-12-01", "2026-12-01", "2027-01-01"),
            ("2026-12-31T23:59:59Z", "2026-12-01", "2027-01-01"),
            ("2024-02-29", "2024-02-01", "2024-03-01"),
        ] {
            let [at, begins, ends] = [text, begins, ends].map(|text| moment("", text).unwrap());
            assert_eq!(month_around(at), (begins, ends), "{text}");
        }
        assert_eq!(month_around(END_S - 1).1, END_S);
    }
}
