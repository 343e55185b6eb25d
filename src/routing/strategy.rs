//! The strategies that a call may name.

/// How a chain's providers are put in order for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// The one that answers fastest first.
    Fastest,
    /// Drawn with a chance that falls with latency.
    LatencyWeighted,
    /// In turn, by weight.
    LoadBalanced,
    /// By priority; the next tier only when the one before is out.
    Priority,
}

impl Strategy {
    /// The strategy that a URL or a config names; `round-robin` is `load-balanced`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "fastest" => Self::Fastest,
            "latency-weighted" => Self::LatencyWeighted,
            "load-balanced" | "round-robin" => Self::LoadBalanced,
            "priority" => Self::Priority,
            _ => return None,
        })
    }

    /// The word used in URLs, config and pages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fastest => "fastest",
            Self::LatencyWeighted => "latency-weighted",
            Self::LoadBalanced => "load-balanced",
            Self::Priority => "priority",
        }
    }
}
