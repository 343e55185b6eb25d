//! Sizes in bytes: "512B", "64KiB", "1MiB", "2GiB".

use serde::{Serialize, Serializer};

use super::{Refusal, Text, parse_with_unit, text_type, with_unit};

const UNITS: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// A number of bytes between two bounds, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size<const MIN: u64, const MAX: u64>(usize);

impl<const MIN: u64, const MAX: u64> Size<MIN, MAX> {
    /// A default; not compiled when out of bounds, in a `const`.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the data plane runs on 64 bits alone")]
    pub(crate) const fn of(bytes: u64) -> Self {
        assert!(MIN <= bytes && bytes <= MAX, "a default is within its bounds");
        Self(bytes as usize)
    }

    fn bounds() -> String {
        format!("{} to {}", with_unit(MIN, &UNITS), with_unit(MAX, &UNITS))
    }
}

impl<const MIN: u64, const MAX: u64> Text for Size<MIN, MAX> {
    const EXPECTED: &'static str = "a size such as \"64KiB\" or \"1MiB\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let bytes = parse_with_unit(text, &UNITS).ok_or_else(|| format!("expected {}", Self::EXPECTED))?;
        match usize::try_from(bytes) {
            Ok(size) if (MIN..=MAX).contains(&bytes) => Ok(Self(size)),
            _ => Err(format!("out of bounds: {}", Self::bounds()).into()),
        }
    }
}

impl<const MIN: u64, const MAX: u64> Serialize for Size<MIN, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = u64::try_from(self.0).unwrap_or(u64::MAX);
        serializer.serialize_str(&with_unit(bytes, &UNITS))
    }
}

text_type!(Size<MIN, MAX> => usize, None, {
    "type": "string",
    "format": "size",
    "pattern": "^([0-9]+(B|KiB|MiB|GiB)|.*\\$\\{.*)$",
    "x-bounds": Self::bounds()
}, <const MIN: u64, const MAX: u64>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_whole_numbers_with_a_binary_unit() {
        type Small = Size<1024, { 1 << 20 }>;
        let check = |text, expected: Option<usize>| {
            assert_eq!(Small::parse(text).ok().map(|size| size.0), expected, "{text}");
        };
        check("1KiB", Some(1024));
        check("2048B", Some(2048));
        check("1MiB", Some(1 << 20));
        for wrong in ["1023B", "2MiB", "64", "64kb", "64 KiB", "1.5MiB", "-1KiB", "", "KiB", "99999999999GiB"] {
            check(wrong, None);
        }
    }
}
