//! Names and words: whose alphabet is narrow because they become labels of metrics, header values and parts of paths.

use std::path::PathBuf;

use serde::{Serialize, Serializer};

use super::{Refusal, Text, text_type};
use crate::config::types::{CallsOver as Calls, Certified, LogFormat};
use crate::limits;
use crate::routing::Strategy;

/// A region's, a node's or a provider's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label(String);

impl Label {
    /// The default region.
    #[must_use]
    pub(crate) fn local() -> Self {
        Self("local".to_owned())
    }

    /// What a text from elsewhere than the file is as a label.
    pub(in crate::config) fn checked(text: &str) -> Result<String, String> {
        <Self as Text>::parse(text).map(|label| label.0).map_err(Refusal::into_owned)
    }
}

impl Text for Label {
    const EXPECTED: &'static str = "a name of letters, digits, `-`, `_` and `.`";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let fine = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        match text.len() {
            1..=limits::LABEL_BYTES_MAX if fine => Ok(Self(text.to_owned())),
            1..=limits::LABEL_BYTES_MAX => Err(format!("expected {}", Self::EXPECTED).into()),
            _ => Err(format!("a name has 1 to {} characters", limits::LABEL_BYTES_MAX).into()),
        }
    }
}

text_type!(Label => String, None, { "type": "string", "maxLength": limits::LABEL_BYTES_MAX });

/// A chain's name: stands in paths beside chain ids, hence not all digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChainName(String);

impl Text for ChainName {
    const EXPECTED: &'static str = "a name of lower case letters, digits, `-` and `_`, not digits alone";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        let name = text.bytes().all(fine) && !text.bytes().all(|byte| byte.is_ascii_digit());
        match text.len() {
            1..=limits::LABEL_BYTES_MAX if name => Ok(Self(text.to_owned())),
            1..=limits::LABEL_BYTES_MAX => Err(format!("expected {}", Self::EXPECTED).into()),
            _ => Err(format!("a name has 1 to {} characters", limits::LABEL_BYTES_MAX).into()),
        }
    }
}

text_type!(ChainName => String, None, { "type": "string", "maxLength": limits::LABEL_BYTES_MAX });

/// A method's name, or its beginning and `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MethodPattern(String);

impl MethodPattern {
    #[must_use]
    pub(crate) fn of(pattern: &'static str) -> Self {
        Self(pattern.to_owned())
    }
}

impl Text for MethodPattern {
    const EXPECTED: &'static str = "a method's name, or its beginning and `*` at the end";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let name = text.strip_suffix('*').unwrap_or(text);
        let fine = name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'*');
        if fine && (1..=limits::METHOD_BYTES_MAX).contains(&text.len()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("expected {}, of at most {} characters", Self::EXPECTED, limits::METHOD_BYTES_MAX).into())
        }
    }
}

text_type!(MethodPattern => String, None, { "type": "string", "maxLength": limits::METHOD_BYTES_MAX });

/// A web page's origin as browsers send it, or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin(String);

impl Origin {
    #[must_use]
    pub(crate) fn any() -> Self {
        Self("*".to_owned())
    }
}

impl Text for Origin {
    const EXPECTED: &'static str = "an origin such as \"https://app.example\", or \"*\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        // Browsers send it in this form alone: a longer one, a slash at its end included, would never match.
        let parsed = url::Url::parse(text).map(|url| url.origin().ascii_serialization());
        match parsed {
            _ if text == "*" => Ok(Self(text.to_owned())),
            Ok(origin) if origin == text && origin != "null" && !origin.contains('*') => Ok(Self(origin)),
            _ => Err(format!("expected {}", Self::EXPECTED).into()),
        }
    }
}

text_type!(Origin => String, None, { "type": "string" });

/// A strategy by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Routing(Strategy);

impl Default for Routing {
    fn default() -> Self {
        Self(Strategy::Fastest)
    }
}

impl Text for Routing {
    const EXPECTED: &'static str = "a strategy: \"fastest\", \"latency-weighted\", \"load-balanced\" or \"priority\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        Strategy::from_name(text).map(Self).ok_or_else(|| format!("expected {}", Self::EXPECTED).into())
    }
}

text_type!(Routing => Strategy, None, {
    "type": "string",
    "enum": ["fastest", "latency-weighted", "load-balanced", "round-robin", "priority"]
});

/// How log lines look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Format(LogFormat);

impl Default for Format {
    fn default() -> Self {
        Self(LogFormat::Text)
    }
}

impl Text for Format {
    const EXPECTED: &'static str = "a format: \"text\" or \"json\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        match text {
            "text" => Ok(Self(LogFormat::Text)),
            "json" => Ok(Self(LogFormat::Json)),
            _ => Err(format!("expected {}", Self::EXPECTED).into()),
        }
    }
}

text_type!(Format => LogFormat, None, { "type": "string", "enum": ["text", "json"] });

/// What calls to a provider go over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CallsOver(Calls);

impl Default for CallsOver {
    fn default() -> Self {
        Self(Calls::Http)
    }
}

impl Text for CallsOver {
    const EXPECTED: &'static str = "what calls go over: \"http\" or \"websocket\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        match text {
            "http" => Ok(Self(Calls::Http)),
            "websocket" => Ok(Self(Calls::WebSocket)),
            _ => Err(format!("expected {}", Self::EXPECTED).into()),
        }
    }
}

text_type!(CallsOver => Calls, None, { "type": "string", "enum": ["http", "websocket"] });

/// Whether clients show certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientCertificates(Certified);

impl Text for ClientCertificates {
    const EXPECTED: &'static str = "whether clients show certificates: \"required\" or \"optional\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        match text {
            "required" => Ok(Self(Certified::Required)),
            "optional" => Ok(Self(Certified::Optional)),
            _ => Err(format!("expected {}", Self::EXPECTED).into()),
        }
    }
}

text_type!(ClientCertificates => Certified, None, { "type": "string", "enum": ["required", "optional"] });

/// What is logged, in the filter syntax of `tracing_subscriber`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Level(String);

impl Default for Level {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl Text for Level {
    const EXPECTED: &'static str = "a level such as \"info\", or a filter such as \"info,livechain::shard=debug\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        match tracing_subscriber::EnvFilter::try_new(text) {
            Ok(_) if is_filter(text) => Ok(Self(text.to_owned())),
            _ => Err(format!("expected {}", Self::EXPECTED).into()),
        }
    }
}

/// The filter takes any lone word for a target, a misspelt level included, and would then log nothing of ours.
fn is_filter(text: &str) -> bool {
    let is_level = |word: &str| {
        matches!(word.to_ascii_lowercase().as_str(), "off" | "error" | "warn" | "info" | "debug" | "trace")
    };
    text.split(',').any(|part| part.contains('=') || is_level(part.trim()))
}

text_type!(Level => String, None, { "type": "string" });

/// A file's path, from the directory that the process runs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File(PathBuf);

impl Text for File {
    const EXPECTED: &'static str = "a file's path";

    fn parse(text: &str) -> Result<Self, Refusal> {
        if text.is_empty() || text.contains('\0') {
            return Err(format!("expected {}", Self::EXPECTED).into());
        }
        Ok(Self(PathBuf::from(text)))
    }
}

text_type!(File => PathBuf, None, { "type": "string" });

macro_rules! written_as {
    ($($type:ty: $value:ident => $text:expr),+ $(,)?) => {
        $(impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let $value = self;
                serializer.serialize_str($text)
            }
        })+
    };
}

// For the defaults that the schema shows.
written_as! {
    Label: label => &label.0,
    MethodPattern: pattern => &pattern.0,
    Origin: origin => &origin.0,
    Routing: routing => routing.0.name(),
    CallsOver: calls => match calls.0 { Calls::Http => "http", Calls::WebSocket => "websocket" },
    ClientCertificates: shown => match shown.0 {
        Certified::Required => "required",
        Certified::Optional => "optional",
    },
    Format: format => match format.0 { LogFormat::Text => "text", LogFormat::Json => "json" },
    Level: level => &level.0,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Text>(fine: &[&str], wrong: &[&str]) {
        for text in fine {
            assert!(T::parse(text).is_ok(), "{text}");
        }
        for text in wrong {
            assert!(T::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_have_a_narrow_alphabet() {
        let (longest, longer) = ("n".repeat(64), "n".repeat(65));
        check::<Label>(&["us-east-1", "Node_7.example", "7", &longest], &["", "a b", "é", "a/b", "a\n", &longer]);
        check::<ChainName>(
            &["ethereum", "arbitrum-one", "42a", &longest],
            &["", "1", "Ethereum", "a.b", "a/b", &longer],
        );
    }

    #[test]
    fn patterns_end_in_a_star_or_have_none() {
        check::<MethodPattern>(&["eth_sign", "personal_*", "*"], &["", "a*b", "**", "a b", "é", &"m".repeat(257)]);
    }

    #[test]
    fn origins_are_as_browsers_send_them() {
        check::<Origin>(
            &["*", "https://app.example", "http://localhost:3000"],
            &[
                "",
                "app.example",
                "https://app.example/",
                "https://App.example",
                "https://app.example:443",
                "null",
                "https://*.example",
            ],
        );
    }

    #[test]
    fn levels_are_filters() {
        check::<Level>(
            &["info", "INFO", "off", "livechain=debug", "warn,livechain::shard=trace"],
            &["", "inof", "info,=,=", "a=verbose"],
        );
    }
}
