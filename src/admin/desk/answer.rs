//! What the desk answers, and what it answers when it does not do what it is asked.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::admin::{refused, with_status};
use crate::desk::Refusal;
use crate::desk::keys::NoRandom;
use crate::ledger::StoreError;

pub(super) type Answer = Result<Response, Failure>;

/// Why not, in words for the operator.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    words: String,
}

/// What there is.
#[allow(clippy::unnecessary_wraps, reason = "an answer, as every other")]
pub(super) fn document(document: &impl Serialize) -> Answer {
    Ok(with_status(StatusCode::OK, json(document)))
}

/// What was made.
#[allow(clippy::unnecessary_wraps, reason = "an answer, as every other")]
pub(super) fn created(document: &impl Serialize) -> Answer {
    Ok(with_status(StatusCode::CREATED, json(document)))
}

fn json(document: &impl Serialize) -> String {
    let mut text = serde_json::to_string(document).expect("documents have text as keys");
    text.push('\n');
    text
}

impl Failure {
    pub(super) fn new(status: StatusCode, words: impl Into<String>) -> Self {
        Self { status, words: words.into() }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::new(StatusCode::BAD_REQUEST, refusal.to_string())
    }
}

impl From<NoRandom> for Failure {
    fn from(none: NoRandom) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, none.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let status = match &error {
            StoreError::NotFound(_) => StatusCode::NOT_FOUND,
            StoreError::Taken(_) => StatusCode::CONFLICT,
            error if error.of_asker() => StatusCode::BAD_REQUEST,
            // Whatever it is, it is the store's: the same may work when somebody has seen to it.
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        refused(self.status, &self.words)
    }
}
