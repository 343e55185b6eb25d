//! Who may use the admin port: whoever has its token (`Authorization: Bearer …`, compared in constant time), or has shown
//! a certificate of the authority that the config names. Where the config has neither, anybody who reaches it, but for
//! pages of somebody else's ([`host`]).
//!
//! Judged at every request by the newest snapshot and the newest authority, so that a reload changes it at once and a
//! certificate opens nothing behind its end. Who is a stranger gets one answer, and the connection is closed behind it.

use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use super::seat::Seat;
use super::{host, refused};
use crate::config::Secret;
use crate::control::View;

/// Whom a path answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    Anybody,
    /// Operators; where nobody has to show that he is one, anybody by whatever name.
    AnyName,
    Operators,
}

/// Why somebody is a stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strange {
    /// Has to show a token or a certificate, and has not.
    ShowsNothing,
    /// May be a page of somebody else's.
    NamesNoAddress,
}

/// Lets a request through that may pass.
pub(super) async fn require(State((view, path)): State<(Arc<View>, For)>, request: Request, next: Next) -> Response {
    let mut answer = match judge(&view, request.headers(), seat(&request)) {
        Ok(()) => {
            if let Some(seat) = seat(&request) {
                seat.let_in();
            }
            return next.run(request).await;
        }
        Err(strange) if strange.passes(path) => next.run(request).await,
        Err(strange) => strange.into_response(),
    };
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// Who asked for an answer that has no end: what they showed is looked at again while it goes on.
pub(super) struct Asker {
    headers: HeaderMap,
    seat: Option<Seat>,
}

impl Asker {
    pub(super) fn of(request: &Request) -> Self {
        Self { headers: request.headers().clone(), seat: seat(request).cloned() }
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(super) fn may_stay(&self, view: &View) -> bool {
        judge(view, &self.headers, self.seat.as_ref()).is_ok()
    }
}

fn judge(view: &View, headers: &HeaderMap, seat: Option<&Seat>) -> Result<(), Strange> {
    let listen = &view.snapshot().config.listen;
    let by_certificate = listen.admin_tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    match &listen.admin_token {
        _ if by_certificate && is_certified(view, seat) => Ok(()),
        Some(token) if shows(headers, token) => Ok(()),
        None if !by_certificate && host::is_address(headers) => Ok(()),
        None if !by_certificate => Err(Strange::NamesNoAddress),
        _ => Err(Strange::ShowsNothing),
    }
}

fn is_certified(view: &View, seat: Option<&Seat>) -> bool {
    let operators = &view.entrance().operators;
    operators.as_ref().zip(seat).is_some_and(|(operators, seat)| seat.is_certified(operators.as_ref()))
}

fn seat(request: &Request) -> Option<&Seat> {
    request.extensions().get().map(|ConnectInfo(seat)| seat)
}

impl Strange {
    fn passes(self, path: For) -> bool {
        path == For::Anybody || (path == For::AnyName && self == Self::NamesNoAddress)
    }
}

impl IntoResponse for Strange {
    fn into_response(self) -> Response {
        match self {
            Self::ShowsNothing => {
                let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
                (challenge, refused(StatusCode::UNAUTHORIZED, "the admin token is asked for")).into_response()
            }
            Self::NamesNoAddress => refused(StatusCode::FORBIDDEN, host::REFUSAL),
        }
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
