//! Durations: "250ms", "12s", "2m", "1h".

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::{Refusal, Text, parse_with_unit, text_type, with_unit};

const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];

/// A duration between two bounds in milliseconds, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time<const MIN: u64, const MAX: u64>(Duration);

impl<const MIN: u64, const MAX: u64> Time<MIN, MAX> {
    /// A default; not compiled when out of bounds, in a `const`.
    #[must_use]
    pub(crate) const fn of_ms(ms: u64) -> Self {
        assert!(MIN <= ms && ms <= MAX, "a default is within its bounds");
        Self(Duration::from_millis(ms))
    }

    /// The same from a duration of whole milliseconds.
    #[must_use]
    pub(crate) const fn of(duration: Duration) -> Self {
        #[allow(clippy::cast_possible_truncation)] // checked against the bounds
        Self::of_ms(duration.as_millis() as u64)
    }

    fn bounds() -> String {
        format!("{} to {}", written(MIN), written(MAX))
    }
}

fn written(ms: u64) -> String {
    with_unit(ms, &UNITS)
}

impl<const MIN: u64, const MAX: u64> Text for Time<MIN, MAX> {
    const EXPECTED: &'static str = "a duration such as \"250ms\", \"12s\", \"2m\" or \"1h\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let ms = parse_with_unit(text, &UNITS).ok_or_else(|| format!("expected {}", Self::EXPECTED))?;
        if !(MIN..=MAX).contains(&ms) {
            return Err(format!("out of bounds: {}", Self::bounds()).into());
        }
        Ok(Self(Duration::from_millis(ms)))
    }
}

impl<const MIN: u64, const MAX: u64> Serialize for Time<MIN, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ms = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        serializer.serialize_str(&written(ms))
    }
}

text_type!(Time<MIN, MAX> => Duration, None, {
    "type": "string",
    "format": "duration",
    "pattern": "^([0-9]+(ms|s|m|h)|.*\\$\\{.*)$",
    "x-bounds": Self::bounds()
}, <const MIN: u64, const MAX: u64>);

#[cfg(test)]
mod tests {
    use super::*;

    type Wait = Time<10, 3_600_000>;

    fn check(text: &str, expected: Result<u64, &str>) {
        let read = Wait::parse(text).map(|time| time.0.as_millis());
        match (read, expected) {
            (Ok(ms), Ok(expected)) => assert_eq!(ms, u128::from(expected), "{text}"),
            (Err(refusal), Err(words)) => assert!(refusal.contains(words), "{text}: {refusal}"),
            (read, _) => panic!("{text}: {read:?}"),
        }
    }

    #[test]
    fn reads_whole_numbers_with_a_unit() {
        check("250ms", Ok(250));
        check("12s", Ok(12_000));
        check("2m", Ok(120_000));
        check("1h", Ok(3_600_000));
        check("9ms", Err("10ms to 1h"));
        check("2h", Err("10ms to 1h"));
        for wrong in
            ["", "s", "12", "12 s", "-1s", "1.5s", "1S", "1d", "99999999999999999999s", "18446744073709551615h"]
        {
            check(wrong, Err("expected a duration"));
        }
    }

    #[test]
    fn writes_the_largest_unit_that_divides() {
        for (ms, text) in [(0, "0ms"), (250, "250ms"), (75_000, "75s"), (120_000, "2m"), (86_400_000, "24h")] {
            assert_eq!(written(ms), text);
        }
    }
}
