//! Addresses to listen on, and networks that connections come from.

use std::net::SocketAddr;

use serde::{Serialize, Serializer};

use super::{Refusal, Text, text_type};
use crate::tenant;

/// An IP address and a port. Names are not taken: what they mean may change, and an address is listened on for long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address(SocketAddr);

impl Address {
    /// A default.
    #[must_use]
    pub(crate) fn of(text: &'static str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

impl Text for Address {
    const EXPECTED: &'static str = "an IP address and a port such as \"0.0.0.0:8545\" or \"[::]:8545\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        text.parse().map(Self).map_err(|_| format!("expected {}", Self::EXPECTED).into())
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

text_type!(Address => SocketAddr, None, { "type": "string" });

/// An address, or "off".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OptionalAddress(Option<SocketAddr>);

impl OptionalAddress {
    /// A default.
    #[must_use]
    pub(crate) fn of(text: &'static str) -> Self {
        Self(text.parse().ok())
    }
}

impl Text for OptionalAddress {
    const EXPECTED: &'static str = "an IP address and a port such as \"127.0.0.1:9545\", or \"off\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        match text {
            "off" => Ok(Self(None)),
            _ => text
                .parse()
                .map(|address| Self(Some(address)))
                .map_err(|_| format!("expected {}", Self::EXPECTED).into()),
        }
    }
}

impl Serialize for OptionalAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(address) => address.serialize(serializer),
            None => serializer.serialize_str("off"),
        }
    }
}

text_type!(OptionalAddress => Option<SocketAddr>, None, { "type": "string" });

/// An address, or a network in CIDR notation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Network(tenant::Network);

impl Text for Network {
    const EXPECTED: &'static str = "an address or a network such as \"10.0.0.0/8\" or \"2001:db8::/32\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        text.parse().map(Self).map_err(|error: tenant::NetworkError| error.to_string().into())
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // No default has one.
        serializer.serialize_unit()
    }
}

text_type!(Network => tenant::Network, None, { "type": "string" });
