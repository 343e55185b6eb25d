//! What a key may be used for, and from where: chains, methods, origins, source networks, regions.
//!
//! Each is a list, or absent: then everything is allowed. An empty list allows nothing. A plan has rules and a key may
//! have more; both must allow. What a head alone decides ([`Rules::visit`]) is asked before a byte of the body is
//! taken, methods call by call.
//!
//! A key with origins is made for pages, where everybody can read it: so a request without an origin is refused, too.
//! Whoever writes that field by hand gets past; it keeps other people's pages out, and nothing else can.

use std::net::IpAddr;

mod origin;

pub use self::origin::{NoOrigin, Origin};
use super::network::Network;
use crate::jsonrpc::Blocked;

/// Rules as they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RulesConfig {
    /// Chains by name.
    pub chains: Option<Vec<String>>,
    /// Methods by name, or beginnings and `*`.
    pub methods: Option<Vec<String>>,
    /// Those that are not allowed all the same.
    pub methods_refused: Vec<String>,
    /// Pages; a request of none is refused.
    pub origins: Option<Vec<Origin>>,
    pub networks: Option<Vec<Network>>,
    /// Nodes' regions.
    pub regions: Option<Vec<String>>,
}

/// Rules made ready to be asked.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    chains: Option<Box<[String]>>,
    /// None: all of them, none refused, as with most keys.
    methods: Option<Box<Methods>>,
    origins: Option<Box<[Origin]>>,
    networks: Option<Box<[Network]>>,
    regions: Option<Box<[String]>>,
}

#[derive(Clone, Debug)]
struct Methods {
    allowed: Option<Blocked>,
    refused: Blocked,
}

/// What a request's head tells of it.
#[derive(Clone, Copy, Debug)]
pub struct Visit<'a> {
    /// The chain's name.
    pub chain: &'a str,
    /// Where this node is.
    pub region: &'a str,
    pub origin: Option<&'a [u8]>,
    pub client: IpAddr,
}

/// What is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forbidden {
    Region,
    Network,
    Origin,
    Chain,
    Method,
}

impl Forbidden {
    /// What the client is told.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Region => "this key may not be used in this region",
            Self::Network => "this key may not be used from this address",
            Self::Origin => "this key may not be used by pages of this origin",
            Self::Chain => "this key may not be used for this chain",
            Self::Method => "this key may not be used for this method",
        }
    }
}

impl Rules {
    #[must_use]
    pub fn new(config: &RulesConfig) -> Self {
        let list = |names: &Option<Vec<String>>| names.clone().map(Vec::into_boxed_slice);
        Self {
            chains: list(&config.chains),
            methods: Methods::new(config).map(Box::new),
            origins: config.origins.clone().map(Vec::into_boxed_slice),
            networks: config.networks.clone().map(Vec::into_boxed_slice),
            regions: list(&config.regions),
        }
    }

    /// Whether a request may come in.
    pub fn visit(&self, visit: &Visit<'_>) -> Result<(), Forbidden> {
        let named = |list: &Option<Box<[String]>>, name: &str| {
            list.as_ref().is_none_or(|list| list.iter().any(|allowed| allowed == name))
        };
        let network = |list: &[Network]| list.iter().any(|network| network.contains(visit.client));
        let origin = |list: &[Origin]| visit.origin.is_some_and(|shown| list.iter().any(|origin| origin.is(shown)));
        if !named(&self.regions, visit.region) {
            Err(Forbidden::Region)
        } else if !self.networks.as_deref().is_none_or(network) {
            Err(Forbidden::Network)
        } else if !self.origins.as_deref().is_none_or(origin) {
            Err(Forbidden::Origin)
        } else if !named(&self.chains, visit.chain) {
            Err(Forbidden::Chain)
        } else {
            Ok(())
        }
    }

    /// Whether a call of this method may be made.
    #[inline]
    pub fn method(&self, name: &str) -> Result<(), Forbidden> {
        match &self.methods {
            Some(methods) if !methods.allow(name) => Err(Forbidden::Method),
            _ => Ok(()),
        }
    }
}

impl Methods {
    fn new(config: &RulesConfig) -> Option<Self> {
        let some = config.methods.is_some() || !config.methods_refused.is_empty();
        let allowed = config.methods.as_ref().map(Blocked::new);
        some.then(|| Self { allowed, refused: Blocked::new(&config.methods_refused) })
    }

    fn allow(&self, name: &str) -> bool {
        self.allowed.as_ref().is_none_or(|allowed| allowed.contains(name)) && !self.refused.contains(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn origins(rules: &[&str]) -> RulesConfig {
        let origins = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        RulesConfig { origins: Some(origins), ..RulesConfig::default() }
    }

    const VISIT: Visit<'static> = Visit {
        chain: "ethereum",
        region: "eu-west-1",
        origin: Some(b"https://app.example"),
        client: IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 2, 3)),
    };

    #[test]
    fn a_visit_must_be_allowed_in_everything() {
        let networks = |text: &str| Some(vec![text.parse().unwrap()]);
        for (config, expected) in [
            (RulesConfig::default(), Ok(())),
            (RulesConfig { chains: Some(list(&["base", "ethereum"])), ..RulesConfig::default() }, Ok(())),
            (RulesConfig { chains: Some(list(&["base"])), ..RulesConfig::default() }, Err(Forbidden::Chain)),
            (RulesConfig { chains: Some(list(&[])), ..RulesConfig::default() }, Err(Forbidden::Chain)),
            (RulesConfig { regions: Some(list(&["eu-west-1"])), ..RulesConfig::default() }, Ok(())),
            (RulesConfig { regions: Some(list(&["eu-west"])), ..RulesConfig::default() }, Err(Forbidden::Region)),
            (RulesConfig { networks: networks("10.0.0.0/8"), ..RulesConfig::default() }, Ok(())),
            (RulesConfig { networks: networks("::/0"), ..RulesConfig::default() }, Err(Forbidden::Network)),
            (origins(&["https://app.example"]), Ok(())),
            (origins(&["https://*.example"]), Ok(())),
            (origins(&["*"]), Ok(())),
            (origins(&["https://example"]), Err(Forbidden::Origin)),
            (RulesConfig { chains: Some(list(&[])), ..origins(&[]) }, Err(Forbidden::Origin)),
        ] {
            assert_eq!(Rules::new(&config).visit(&VISIT), expected, "{config:?}");
        }
    }

    #[test]
    fn a_key_for_pages_is_for_pages_alone() {
        let rules = Rules::new(&origins(&["https://*.app.example:8443"]));
        for (origin, expected) in [
            (Some("https://a.app.example:8443"), true),
            (Some("https://a.b-2.app.example:8443"), true),
            (None, false),
            (Some(""), false),
            (Some("null"), false),
            (Some("https://app.example:8443"), false),
            (Some("https://.app.example:8443"), false),
            (Some("http://a.app.example:8443"), false),
            (Some("https://a.app.example"), false),
            (Some("https://evil/a.app.example:8443"), false),
            (Some("https://evil@a.app.example:8443"), false),
            (Some("https://evil:1.app.example:8443"), false),
            (Some("https://a.app.example:8443.evil"), false),
        ] {
            let visit = Visit { origin: origin.map(str::as_bytes), ..VISIT };
            assert_eq!(rules.visit(&visit).is_ok(), expected, "{origin:?}");
        }
        let open = Rules::default();
        assert!(open.visit(&Visit { origin: None, ..VISIT }).is_ok());
    }

    #[test]
    fn methods_are_allowed_and_refused_by_pattern() {
        let refused = list(&["eth_getLogs", "debug_*"]);
        let some = RulesConfig { methods: Some(list(&["eth_*", "debug_traceCall"])), ..RulesConfig::default() };
        let both = RulesConfig { methods_refused: refused.clone(), ..some.clone() };
        let but = RulesConfig { methods_refused: refused, ..RulesConfig::default() };
        for (config, method, expected) in [
            (&RulesConfig::default(), "anything", true),
            (&some, "eth_call", true),
            (&some, "debug_traceCall", true),
            (&some, "debug_traceBlock", false),
            (&some, "net_version", false),
            (&both, "eth_call", true),
            (&both, "eth_getLogs", false),
            (&both, "debug_traceCall", false),
            (&but, "net_version", true),
            (&but, "debug_traceCall", false),
        ] {
            assert_eq!(Rules::new(config).method(method).is_ok(), expected, "{method} {config:?}");
        }
    }
}
