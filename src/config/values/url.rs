//! Providers' URLs, split as a connection needs them.

use super::{Refusal, Text, text_type};
use crate::config::reader::SECRET_URL;
use crate::config::userinfo;
use crate::config::{Secret, Url};
use crate::limits;

/// `http://` or `https://`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HttpUrl(Url);

impl Text for HttpUrl {
    const EXPECTED: &'static str = "a URL such as \"https://eth.example/v2/${KEY}\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        split(text, "http", "https").map(Self)
    }
}

text_type!(HttpUrl => Url, Some(SECRET_URL), { "type": "string", "format": "uri-template", "writeOnly": true });

/// `ws://` or `wss://`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WsUrl(Url);

impl Text for WsUrl {
    const EXPECTED: &'static str = "a URL such as \"wss://eth.example/v2/${KEY}\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        split(text, "ws", "wss").map(Self)
    }
}

text_type!(WsUrl => Url, Some(SECRET_URL), { "type": "string", "format": "uri-template", "writeOnly": true });

fn split(text: &str, plain: &str, tls: &str) -> Result<Url, Refusal> {
    if text.len() > limits::URL_BYTES_MAX {
        return Err(format!("a URL has at most {} bytes", limits::URL_BYTES_MAX).into());
    }
    // The parser drops or mends these; a key with a line end in it is better found here than by the provider.
    if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f || byte == b'\\') {
        return Err("a URL has no spaces, control characters or backslashes".into());
    }
    let url = url::Url::parse(text).map_err(|error| Refusal::from(format!("not a URL: {error}")))?;
    if url.scheme() != plain && url.scheme() != tls {
        return Err(format!("the scheme must be `{plain}` or `{tls}`").into());
    }
    if url.fragment().is_some() {
        return Err("a fragment (`#…`) is never sent to a server; write %23 for the character".into());
    }
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(Refusal::Borrowed("the host is missing"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port =
        url.port_or_known_default().filter(|&port| port != 0).ok_or(Refusal::Borrowed("port 0 cannot be asked"))?;
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let authorization = userinfo::authorization(url.username(), url.password());
    Ok(Url { tls: url.scheme() == tls, host, port, target: Secret::new(target), authorization })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_what_a_connection_needs() {
        let check = |text, tls, host: &str, port, target: &str, authorization: Option<&str>| {
            let url = split(text, "http", "https").unwrap_or_else(|refusal| panic!("{text}: {refusal}"));
            assert_eq!(
                (url.tls, url.host.as_str(), url.port, url.target.expose()),
                (tls, host, port, target),
                "{text}"
            );
            assert_eq!(url.authorization.as_ref().map(Secret::expose), authorization, "{text}");
        };
        check("https://eth.example", true, "eth.example", 443, "/", None);
        check("http://eth.example/", false, "eth.example", 80, "/", None);
        check("https://ETH.example:8443/v2/k3y?a=b&c", true, "eth.example", 8443, "/v2/k3y?a=b&c", None);
        check("http://127.0.0.1:8545?k", false, "127.0.0.1", 8545, "/?k", None);
        check("http://[::1]:8545/", false, "::1", 8545, "/", None);
        check("https://us%20er:p%40ss@h/", true, "h", 443, "/", Some("Basic dXMgZXI6cEBzcw=="));
        check("https://user@h/", true, "h", 443, "/", Some("Basic dXNlcjo="));
    }

    #[test]
    fn refuses_what_cannot_be_asked() {
        let check = |text: &str, words: &str| {
            let refusal = split(text, "http", "https").expect_err(text);
            assert!(refusal.contains(words), "{text}: {refusal}");
        };
        check("", "not a URL");
        check("eth.example", "not a URL");
        check("ftp://h/", "scheme");
        check("wss://h/", "scheme");
        check("https://h/#k3y", "fragment");
        check("https:///", "not a URL");
        check("https://h:0/", "port 0");
        check("https://h:99999/", "not a URL");
        check("https://h/a b", "no spaces");
        check("https://h/a\nb", "no spaces");
        check("https://h\\k3y", "backslashes");
        check(&format!("https://h/{}", "k".repeat(5000)), "4096 bytes");
    }
}
