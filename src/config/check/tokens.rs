//! `[tenants.jwt]`: at least one source of keys, and none that anybody on the way could change.

use std::net::IpAddr;

use super::Surroundings;
use super::relations::{need, refuse_more, refuse_repeated};
use crate::config::given::Given;
use crate::config::problems::Problem;
use crate::config::raw;
use crate::config::types::{Jwt, Url};
use crate::config::values::ClaimText;
use crate::limits;
use crate::tenant::token::{ClaimNames, TokenConfig};

pub(super) fn check(given: &Given<raw::Jwt>, around: &Surroundings<'_>, problems: &mut Vec<Problem>) -> Option<Jwt> {
    let raw = given.get()?;
    need(&raw.issuers, "issuers", "section", given, problems);
    need(&raw.audiences, "audiences", "section", given, problems);
    let issuers = list(&raw.issuers, "issuers", problems);
    let audiences = list(&raw.audiences, "audiences", problems);
    if raw.keys_file.is_none() && raw.jwks_url.is_none() && raw.hmac_secret.is_none() {
        let message = "where are the keys? One of `keys_file`, `jwks_url` and `hmac_secret` is needed";
        problems.push(Problem::maybe_at(given.span(), message));
    }
    let keys_file = maybe(raw.keys_file.as_ref());
    if let (Some(Some(file)), Some(written)) = (&keys_file, &raw.keys_file)
        && let Some(fault) = (around.token_keys_fault)(file)
    {
        problems.push(Problem::maybe_at(written.span(), format!("no keys can be read from this file: {fault}")));
    }
    let jwks_url = maybe(raw.jwks_url.as_ref());
    if let (Some(Some(url)), Some(written)) = (&jwks_url, &raw.jwks_url)
        && !is_safe(url)
    {
        let message = "keys are had over `https`, or over `http` from loopback: anybody on the way could give others";
        problems.push(Problem::maybe_at(written.span(), message));
    }
    let claims = raw.claims.get()?;
    let claims = ClaimNames {
        tenant: claims.tenant.plain()?,
        plan: claims.plan.plain()?,
        chains: claims.chains.plain()?,
        regions: claims.regions.plain()?,
    };
    let leeway_s = raw.leeway.plain()?.as_secs();
    Some(Jwt {
        terms: TokenConfig { issuers: issuers?, audiences: audiences?, claims, leeway_s },
        keys_file: keys_file?,
        jwks_url: jwks_url?,
        hmac_secret: maybe(raw.hmac_secret.as_ref())?,
        refresh: raw.refresh.plain()?,
        keep: raw.keep.plain()?,
    })
}

fn list(given: &Given<Vec<Given<ClaimText>>>, what: &str, problems: &mut Vec<Problem>) -> Option<Vec<String>> {
    let written = given.get()?;
    if written.is_empty() {
        problems.push(Problem::maybe_at(given.span(), format!("at least one of the {what} is needed")));
    }
    refuse_more(written, limits::TOKEN_TEXTS_MAX, what, problems);
    refuse_repeated(written, "this one is listed twice", problems);
    Some(written.iter().filter_map(Given::plain).collect())
}

/// None: there is one, and it is wrong.
#[allow(clippy::option_option)] // absent, and wrong, are two things
fn maybe<P: crate::config::given::Plain>(given: Option<&Given<P>>) -> Option<Option<P::Out>> {
    given.map_or(Some(None), |given| given.plain().map(Some))
}

fn is_safe(url: &Url) -> bool {
    url.tls || url.host == "localhost" || url.host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{Config, Secret};

    const BEFORE: &str = "[tenants]\nstore = \"sqlite:l.db\"\npepper = \"${PEPPER}\"\n[tenants.jwt]\n";
    const CHAIN: &str =
        "\n[[chains]]\nname = \"a\"\nid = 1\n[[chains.providers]]\nid = \"a\"\nurl = \"http://a.example\"\n";

    fn parse(text: &str) -> Result<Jwt, String> {
        let environment = |name: &str| (name == "PEPPER").then(|| "a pepper of thirty-two bytes, and a few".to_owned());
        Config::parse(&format!("{BEFORE}{text}{CHAIN}"), "test", environment, &[0])
            .map(|config| config.tenants.and_then(|tenants| tenants.jwt).expect("it is there"))
            .map_err(|problems| problems.to_string())
    }

    #[test]
    fn what_is_written_is_what_tokens_are_held_against() {
        let jwt = parse(
            "issuers = [\"i\"]\naudiences = [\"a\", \"b\"]\nhmac_secret = \"${PEPPER}\"\njwks_url = \"https://u:p@i/keys\"\n\
             keys_file = \"keys.pem\"\nleeway = \"5s\"\n[tenants.jwt.claims]\nplan = \"https://i/plan\"\n",
        )
        .unwrap();
        let claims = ClaimNames { plan: "https://i/plan".to_owned(), ..ClaimNames::default() };
        let audiences = vec!["a".to_owned(), "b".to_owned()];
        let terms = TokenConfig { issuers: vec!["i".to_owned()], audiences, claims, leeway_s: 5 };
        assert_eq!((jwt.terms, jwt.keys_file), (terms, Some("keys.pem".into())));
        assert_eq!((jwt.refresh, jwt.keep), (Duration::from_mins(10), Duration::from_hours(24)));
        assert_eq!(jwt.jwks_url.and_then(|url| url.authorization), Some(Secret::new("Basic dTpw")));
        assert!(jwt.hmac_secret.is_some());
    }

    #[test]
    fn keys_come_from_somewhere_and_safely() {
        let with = |keys: &str| parse(&format!("issuers = [\"i\"]\naudiences = [\"a\"]\n{keys}\n"));
        for (keys, words) in [
            ("", "One of `keys_file`"),
            ("jwks_url = \"http://issuer.example/keys\"", "over `http` from loopback"),
            ("jwks_url = \"http://10.0.0.1/keys\"", "over `http` from loopback"),
            ("jwks_url = \"http://localhost.example/keys\"", "over `http` from loopback"),
            ("jwks_url = \"file:///keys\"", "the scheme must be"),
            ("hmac_secret = \"short\"", "32 to 1024 bytes"),
            ("keys_file = \"k\"\nleeway = \"6m\"", "0ms to 5m"),
            ("keys_file = \"k\"\nrefresh = \"1s\"", "1m to 24h"),
            ("keys_file = \"k\"\nkeys_url = \"k\"", "unknown key"),
        ] {
            let problems = with(keys).expect_err(keys);
            assert!(problems.contains(words), "{keys}: {problems}");
        }
        for host in ["https://issuer.example", "http://localhost", "http://127.0.0.2:8080", "http://[::1]:8080"] {
            assert!(with(&format!("jwks_url = \"{host}/keys\"")).is_ok(), "{host}");
        }
    }

    #[test]
    fn whose_tokens_and_for_whom_must_be_said() {
        for (lists, words) in [
            ("audiences = [\"a\"]", "this section has no `issuers`"),
            ("issuers = [\"i\"]", "this section has no `audiences`"),
            ("issuers = []\naudiences = [\"a\"]", "at least one of the issuers"),
            ("issuers = [\"i\"]\naudiences = []", "at least one of the audiences"),
            ("issuers = [\"i\", \"i\"]\naudiences = [\"a\"]", "listed twice"),
            ("issuers = [\"\"]\naudiences = [\"a\"]", "1 to 256 bytes"),
        ] {
            let problems = parse(&format!("{lists}\nkeys_file = \"k\"\n")).expect_err(lists);
            assert!(problems.contains(words), "{lists}: {problems}");
        }
    }

    #[test]
    fn what_tenants_need_is_asked_for() {
        let text = format!("[tenants]\nanonymous = \"a\"{CHAIN}");
        let problems = Config::parse(&text, "test", |_| None, &[0]).expect_err("two are missing").to_string();
        assert!(problems.contains("no `store`") && problems.contains("no `pepper`"), "{problems}");
    }

    #[test]
    fn a_file_of_keys_is_looked_into() {
        let directory = tempfile::tempdir().unwrap();
        let (keys, config) = (directory.path().join("keys"), directory.path().join("livechain.toml"));
        let text = format!("issuers = [\"i\"]\naudiences = [\"a\"]\nkeys_file = \"{}\"\n", keys.display());
        let pepper = "a pepper of thirty-two bytes, and a few";
        std::fs::write(&config, format!("{BEFORE}{text}{CHAIN}").replace("${PEPPER}", pepper)).unwrap();
        let load = || Config::load(&config, |_| None).map(drop).map_err(|problems| problems.to_string());
        assert!(load().unwrap_err().contains("no keys can be read from this file"));
        std::fs::write(&keys, "no key").unwrap();
        assert!(load().unwrap_err().contains("neither a set of keys"));
        let key = rcgen::KeyPair::generate().unwrap();
        std::fs::write(&keys, key.serialize_pem()).unwrap();
        assert!(load().unwrap_err().contains("a private key"));
        std::fs::write(&keys, key.public_key_pem()).unwrap();
        assert_eq!(load(), Ok(()));
    }
}
