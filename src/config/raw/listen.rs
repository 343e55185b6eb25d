//! `[listen]`: where clients and operators come in, and who of them is whom.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Timeout;
use crate::config::given::Given;
use crate::config::values::{Address, ClientCertificates, Count, File, Network, OptionalAddress, Time, Token};
use crate::limits;

type Accepts = Count<0, { limits::ACCEPTS_PER_SECOND_MAX }>;
type PerAddress = Count<0, { limits::PER_ADDRESS_MAX }>;

/// Where it listens.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Listen {
    /// HTTP/1.1, plain.
    pub http: Given<Vec<Given<Address>>>,
    /// HTTP/1.1 over TLS; needs `certificates`.
    pub https: Given<Vec<Given<Address>>>,
    /// What `https` shows, by the names in them; the first is for all other names.
    pub certificates: Given<Vec<Given<Certificate>>>,
    /// PEM certificates of the authorities whose clients may connect on `https`.
    pub client_ca: Option<Given<File>>,
    /// Whether a client must show a certificate of `client_ca`, or may.
    pub client_certificates: Given<ClientCertificates>,
    /// From when a connection is accepted to the end of its handshake, TLS's and the PROXY header.
    pub handshake_timeout: Given<Timeout>,
    /// Balancers that say with a PROXY header whose connection it is, and must.
    pub proxy_protocol_from: Given<Vec<Given<Network>>>,
    /// Balancers that say with `X-Forwarded-For` whose request it is.
    pub forwarded_for_from: Given<Vec<Given<Network>>>,
    /// Connections that one client address may have open, balancers aside. 0: any number.
    pub connections_per_address: Given<PerAddress>,
    /// Connections that one client address may open in a second, balancers aside. 0: any number.
    pub connects_per_second_per_address: Given<PerAddress>,
    /// TLS handshakes that one client address may have under way. 0: any number.
    pub handshakes_per_address: Given<PerAddress>,
    /// Client connections that one shard takes in in a second; what comes beyond waits. 0: as they come.
    pub accepts_per_second: Given<Accepts>,
    /// The admin port, or "off". A non-loopback address needs `admin_token` or `admin_client_ca`.
    pub admin: Given<OptionalAddress>,
    /// Asked for on the admin port as `Authorization: Bearer …`.
    pub admin_token: Option<Given<Token>>,
    /// PEM certificate of the admin port, which speaks TLS with it; needs `admin_key`.
    pub admin_cert: Option<Given<File>>,
    /// Its private key.
    pub admin_key: Option<Given<File>>,
    /// PEM certificates of the authorities whose clients need no `admin_token`.
    pub admin_client_ca: Option<Given<File>>,
}

/// A certificate and its key, both PEM.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Certificate {
    /// The certificate, and behind it what leads to its authority.
    pub cert: Given<File>,
    /// Its private key.
    pub key: Given<File>,
}

impl Default for Listen {
    fn default() -> Self {
        let no_limit = || Given::default_of(const { Count::of(0) });
        Self {
            http: Given::default_of(
                Address::of(limits::LISTEN_HTTP_DEFAULT).map(Given::default_of).into_iter().collect(),
            ),
            https: Given::default(),
            certificates: Given::default(),
            client_ca: None,
            client_certificates: Given::default(),
            handshake_timeout: Given::default_of(const { Time::of_ms(limits::HANDSHAKE_TIMEOUT_MS_DEFAULT) }),
            proxy_protocol_from: Given::default(),
            forwarded_for_from: Given::default(),
            connections_per_address: no_limit(),
            connects_per_second_per_address: no_limit(),
            handshakes_per_address: no_limit(),
            accepts_per_second: Given::default_of(const { Count::of(0) }),
            admin: Given::default_of(OptionalAddress::of(limits::LISTEN_ADMIN_DEFAULT)),
            admin_token: None,
            admin_cert: None,
            admin_key: None,
            admin_client_ca: None,
        }
    }
}
