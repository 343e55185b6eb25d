//! The admin port's token: `Authorization: Bearer …`, compared in constant time.
//!
//! Read from the newest snapshot at every request, so that a reload changes it at once.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use crate::config::Secret;
use crate::control::View;

/// Lets a request through that has the token, or any where there is none.
pub(super) async fn require(State(view): State<Arc<View>>, request: Request, next: Next) -> Response {
    let allowed = match &view.snapshot().config.listen.admin_token {
        Some(token) => shows(request.headers(), token),
        None => true,
    };
    if allowed {
        next.run(request).await
    } else {
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
        (StatusCode::UNAUTHORIZED, challenge, "{\"error\":\"the admin token is asked for\"}\n").into_response()
    }
}

fn shows(headers: &HeaderMap, token: &Secret) -> bool {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return false;
    };
    let value = value.as_bytes();
    let Some((scheme, shown)) = value.split_at_checked("Bearer ".len()) else {
        return false;
    };
    scheme.eq_ignore_ascii_case(b"Bearer ") && bool::from(shown.ct_eq(token.expose().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_opens() {
        let cases = [
            ("Bearer t0ken", true),
            ("bearer t0ken", true),
            ("Bearer t0ke", false),
            ("Bearer t0kenn", false),
            ("Bearer ", false),
            ("Bearer", false),
            ("Basic t0ken", false),
            ("", false),
        ];
        for (value, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            assert_eq!(shows(&headers, &Secret::new("t0ken")), expected, "{value:?}");
        }
        assert!(!shows(&HeaderMap::new(), &Secret::new("t0ken")));
    }
}
