//! What a flag says of a limit: a number, or `none`, which lifts it.

use std::str::FromStr;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit<T>(pub(super) Option<T>);

/// What methods weigh: `trace_*=500`; `trace_*=none` leaves them what they weigh by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Weight {
    pub(super) methods: String,
    pub(super) units: Limit<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoLimit {
    #[error("expected a whole number, or none")]
    Number,
    #[error("expected a method, or a beginning and a star, and what it weighs: trace_*=500")]
    Weight,
}

impl<T: FromStr> FromStr for Limit<T> {
    type Err = NoLimit;

    fn from_str(text: &str) -> Result<Self, NoLimit> {
        if text == "none" {
            return Ok(Self(None));
        }
        let digits = text.replace('_', "");
        let number = digits.bytes().all(|byte| byte.is_ascii_digit()) && text.starts_with(|char| char != '_');
        let read = || digits.parse().ok().map(|number| Self(Some(number)));
        number.then(read).flatten().ok_or(NoLimit::Number)
    }
}

impl FromStr for Weight {
    type Err = NoLimit;

    fn from_str(text: &str) -> Result<Self, NoLimit> {
        let (methods, units) =
            text.split_once('=').filter(|(methods, _)| !methods.is_empty()).ok_or(NoLimit::Weight)?;
        Ok(Self { methods: methods.to_owned(), units: units.parse().map_err(|_| NoLimit::Weight)? })
    }
}

/// Puts a limit where a flag says so.
pub(super) fn put<T: Copy>(flag: Option<Limit<T>>, into: &mut Option<T>) {
    if let Some(Limit(limit)) = flag {
        *into = limit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_numbers_or_none() {
        for (text, expected) in [
            ("none", Ok(Limit(None))),
            ("0", Ok(Limit(Some(0)))),
            ("300_000_000", Ok(Limit(Some(300_000_000)))),
            ("4294967295", Ok(Limit(Some(u32::MAX)))),
            ("4294967296", Err(NoLimit::Number)),
            ("", Err(NoLimit::Number)),
            ("_", Err(NoLimit::Number)),
            ("_1", Err(NoLimit::Number)),
            ("-1", Err(NoLimit::Number)),
            ("+1", Err(NoLimit::Number)),
            ("1.5", Err(NoLimit::Number)),
            ("1k", Err(NoLimit::Number)),
            ("None", Err(NoLimit::Number)),
        ] {
            assert_eq!(text.parse::<Limit<u32>>(), expected, "{text}");
        }
    }

    #[test]
    fn weights_are_methods_and_numbers() {
        let weight = |methods: &str, units| Ok(Weight { methods: methods.into(), units: Limit(units) });
        for (text, expected) in [
            ("trace_*=500", weight("trace_*", Some(500))),
            ("eth_call=none", weight("eth_call", None)),
            ("=5", Err(NoLimit::Weight)),
            ("eth_call", Err(NoLimit::Weight)),
            ("eth_call=", Err(NoLimit::Weight)),
            ("eth_call=a", Err(NoLimit::Weight)),
        ] {
            assert_eq!(text.parse::<Weight>(), expected, "{text}");
        }
    }
}
