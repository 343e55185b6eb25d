//! The admin port: health, what is known of chains and providers and how they are ranked, events, metrics. It reads, but for
//! the [`desk`], which writes what operators order into the ledger; nothing here changes the node itself.
//!
//! On control's thread, so it never costs a call more than the core that control runs on. What anybody may see (health,
//! region, status) is made by [`bodies`], which the data port uses too. Everything but health asks for the token where there is one.

mod auth;
pub mod bodies;
mod desk;
mod events;
mod host;
mod leaderboard;
mod listener;
mod metrics;
mod pages;
mod seat;
mod server;
pub mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use self::auth::{Asker, For};
use crate::control::View;
use crate::limits;
use crate::link::Snapshot;
pub use desk::Desk;
pub use server::Server;

/// Every path of the admin port. `desk`: where the node has tenants.
pub fn router(view: Arc<View>, desk: Option<Desk>) -> Router {
    let ready = Router::new().route("/api/ready", get(|State(view): Shared| async move { ready(&view, None) })).route(
        "/api/ready/{chain}",
        get(|State(view): Shared, Path(chain): Path<String>| async move { ready(&view, Some(&chain)) }),
    );
    let reading = Router::new()
        .route("/api/region", get(|State(view): Shared| async move { region(&view) }))
        .route("/api/status", get(|State(view): Shared| async move { status(&view) }))
        .route("/api/chains", get(|State(view): Shared| async move { page(pages::chains(&view)) }))
        .route("/api/providers", get(|State(view): Shared| async move { page(pages::providers(&view)) }))
        .route("/api/leaderboard", get(|State(view): Shared| async move { leaderboard(&view, None) }))
        .route(
            "/api/leaderboard/{chain}",
            get(|State(view): Shared, Path(chain): Path<String>| async move { leaderboard(&view, Some(&chain)) }),
        )
        .route(
            "/api/events",
            get(|State(view): Shared, request: Request| async move { events::stream(view, Asker::of(&request)) }),
        )
        .route("/metrics", get(|State(view): Shared| async move { metrics_page(&view) }));
    let health = Router::new().route("/api/health", get(|| async { page(bodies::health()) }));
    let guard = |path| from_fn_with_state((Arc::clone(&view), path), auth::require);
    let small = RequestBodyLimitLayer::new(limits::ADMIN_BODY_BYTES_MAX);
    Router::new()
        .merge(health.layer(small).layer(guard(For::Anybody)))
        .merge(ready.layer(small).layer(guard(For::AnyName)))
        // The last, so that it guards what there is not as well.
        .merge(reading.layer(small).merge(desk::routes(desk)).layer(guard(For::Operators)))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, limits::ADMIN_TIMEOUT))
        .layer(map_response(errors_in_json))
        .with_state(view)
}

type Shared = State<Arc<View>>;

fn ready(view: &View, chain: Option<&str>) -> Response {
    let snapshot = view.snapshot();
    let Ok(chain) = chain_index(&snapshot, chain) else { return no_such_chain() };
    let (ready, body) = bodies::ready(&snapshot, view.phase.get(), view.now(), chain);
    with_status(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, body)
}

fn leaderboard(view: &View, chain: Option<&str>) -> Response {
    match chain_index(&view.snapshot(), chain) {
        Ok(chain) => page(leaderboard::page(view, chain)),
        Err(Unknown) => no_such_chain(),
    }
}

/// A path names a chain that there is not.
struct Unknown;

/// The position of the chain that a path names, if it names one.
fn chain_index(snapshot: &Snapshot, name: Option<&str>) -> Result<Option<usize>, Unknown> {
    name.map(|name| snapshot.chain_index(name).ok_or(Unknown)).transpose()
}

fn no_such_chain() -> Response {
    refused(StatusCode::NOT_FOUND, "no such chain")
}

fn region(view: &View) -> Response {
    page(bodies::region(&view.snapshot().config.node))
}

fn status(view: &View) -> Response {
    page(bodies::status(&view.snapshot(), &view.counters, view.phase.get(), view.now()))
}

fn metrics_page(view: &Arc<View>) -> Response {
    match metrics::page(view) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// An error; where something is missing for the moment, with when to come again.
fn refused(status: StatusCode, words: &str) -> Response {
    let mut response = with_status(status, format!("{}\n", serde_json::json!({ "error": words })));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// Errors of the layers beneath say what they are as ours do, which are JSON already.
async fn errors_in_json(response: Response) -> Response {
    let status = response.status();
    let is_json = |kind: &HeaderValue| kind.as_bytes().starts_with(b"application/json");
    let is_error = status.is_client_error() || status.is_server_error();
    if !is_error || response.headers().get(header::CONTENT_TYPE).is_some_and(is_json) {
        return response;
    }
    let words = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "the body is too large",
        StatusCode::SERVICE_UNAVAILABLE => "no answer in time",
        status => status.canonical_reason().unwrap_or("refused"),
    };
    let mut said = refused(status, words);
    // What the layer had to say beside it, as which methods there are.
    for (name, value) in response.headers() {
        if ![header::CONTENT_TYPE, header::CONTENT_LENGTH].contains(name) {
            said.headers_mut().insert(name, value.clone());
        }
    }
    said
}

fn page(json: String) -> Response {
    with_status(StatusCode::OK, json)
}

fn with_status(status: StatusCode, json: String) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, json).into_response()
}
