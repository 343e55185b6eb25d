//! What is read of a request: the desk, where there is one; its query; its body.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use super::Desk;
use super::answer::Failure;

/// The state of the desk's paths.
type Place = Option<Arc<Desk>>;

/// The desk.
pub(super) struct Open(pub(super) Arc<Desk>);

/// The query.
pub(super) struct Asked<T>(pub(super) T);

/// The body; nothing is as good as an empty object.
pub(super) struct Body<T>(pub(super) T);

impl FromRequestParts<Place> for Open {
    type Rejection = Failure;

    async fn from_request_parts(_: &mut Parts, place: &Place) -> Result<Self, Failure> {
        let none = || Failure::new(StatusCode::NOT_FOUND, "this node has no tenants: its config has no [tenants]");
        place.clone().map(Self).ok_or_else(none)
    }
}

impl<T: DeserializeOwned> FromRequestParts<Place> for Asked<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &Place) -> Result<Self, Failure> {
        let refused = |error: &dyn std::error::Error| {
            // What stands beneath says it without a word about how it was found out.
            let words = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            Failure::new(StatusCode::BAD_REQUEST, format!("the query: {words}"))
        };
        Query::try_from_uri(&parts.uri).map(|Query(asked)| Self(asked)).map_err(|error| refused(&error))
    }
}

impl<T: DeserializeOwned> FromRequest<Place> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, place: &Place) -> Result<Self, Failure> {
        if !is_json(request.headers()) {
            let words = "Content-Type: application/json is expected, so that no page can ask for this";
            return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, words));
        }
        let bytes = Bytes::from_request(request, place)
            .await
            .map_err(|rejection| Failure::new(rejection.status(), rejection.body_text()))?;
        let json = if bytes.is_empty() { b"{}" } else { &bytes[..] };
        // The fields' values in a list would be taken as well, and an empty list is every default.
        if !json.trim_ascii_start().starts_with(b"{") {
            return Err(Failure::new(StatusCode::BAD_REQUEST, "the body: an object is expected"));
        }
        let refused = |error: serde_json::Error| Failure::new(StatusCode::BAD_REQUEST, format!("the body: {error}"));
        serde_json::from_slice(json).map(Self).map_err(refused)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else { return false };
    let kind = only.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_says_that_it_is() {
        for (types, expected) in [
            (&["application/json"][..], true),
            (&["Application/JSON ; charset=utf-8"], true),
            (&[], false),
            (&[""], false),
            (&["text/plain"], false),
            (&["text/plain;application/json"], false),
            (&["application/x-www-form-urlencoded"], false),
            (&["multipart/form-data; boundary=application/json"], false),
            (&["application/jsonp"], false),
            (&["application/json", "text/plain"], false),
            (&["text/plain, application/json"], false),
        ] {
            let mut headers = HeaderMap::new();
            for kind in types {
                headers.append(header::CONTENT_TYPE, kind.parse().unwrap());
            }
            assert_eq!(is_json(&headers), expected, "{types:?}");
        }
    }
}
