//! `[tenants.jwt]`: tokens that may stand in for keys.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::given::Given;
use crate::config::values::{ClaimText, File, HttpUrl, SharedSecret, Time};
use crate::limits;

type Leeway = Time<0, { limits::TOKEN_LEEWAY_MS_MAX }>;
type Refresh = Time<{ limits::TOKEN_REFRESH_MS_MIN }, { limits::TOKEN_REFRESH_MS_MAX }>;
type Keep = Time<{ limits::TOKEN_REFRESH_MS_MIN }, { limits::TOKEN_KEEP_MS_MAX }>;

/// Tokens (JWT) that may stand in for keys. Without this section none does.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Jwt {
    /// One of them must be a token's `iss`. All keys below are trusted to speak for each of them.
    pub issuers: Given<Vec<Given<ClaimText>>>,
    /// One of them must be among a token's `aud`.
    pub audiences: Given<Vec<Given<ClaimText>>>,
    /// Public keys: a JWKS, or one key in PEM. Read again when it changes.
    pub keys_file: Option<Given<File>>,
    /// Where the issuer publishes its keys (JWKS): `https`, or `http` to loopback.
    pub jwks_url: Option<Given<HttpUrl>>,
    /// The secret of HS256.
    pub hmac_secret: Option<Given<SharedSecret>>,
    /// How far the issuer's clock and ours may be apart.
    #[serde(default = "default_leeway")]
    pub leeway: Given<Leeway>,
    /// Between two askings of `jwks_url`; a key that is missed is asked for sooner.
    #[serde(default = "default_refresh")]
    pub refresh: Given<Refresh>,
    /// How long the last answer of `jwks_url` is believed.
    #[serde(default = "default_keep")]
    pub keep: Given<Keep>,
    #[serde(default)]
    pub claims: Given<JwtClaims>,
}

fn default_leeway() -> Given<Leeway> {
    Given::default_of(const { Time::of_ms(limits::TOKEN_LEEWAY_MS_DEFAULT) })
}

fn default_refresh() -> Given<Refresh> {
    Given::default_of(const { Time::of_ms(limits::TOKEN_REFRESH_MS_DEFAULT) })
}

fn default_keep() -> Given<Keep> {
    Given::default_of(const { Time::of_ms(limits::TOKEN_KEEP_MS_DEFAULT) })
}

/// What the claims are called that say what is allowed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct JwtClaims {
    /// The tenant's name.
    pub tenant: Given<ClaimText>,
    /// The plan's name.
    pub plan: Given<ClaimText>,
    /// Chains' names, one or a list; absent, those of the plan.
    pub chains: Given<ClaimText>,
    /// Regions' names, one or a list; absent, those of the plan.
    pub regions: Given<ClaimText>,
}

impl Default for JwtClaims {
    fn default() -> Self {
        let [tenant, plan, chains, regions] =
            ["tenant", "plan", "chains", "regions"].map(|name| Given::default_of(ClaimText::of(name)));
        Self { tenant, plan, chains, regions }
    }
}
