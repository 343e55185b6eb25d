//! The admin port: health, what is known of chains and providers and how they are ranked, events, metrics. It reads; nothing
//! here changes the node.
//!
//! On control's thread, so it never costs a call more than the core that control runs on. What anybody may see (health,
//! region, status) is made by [`bodies`], which the data port uses too. Everything but health asks for the token where there is one.

mod auth;
pub mod bodies;
mod events;
mod leaderboard;
mod listener;
mod metrics;
mod pages;
mod server;
pub mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use crate::control::View;
use crate::limits;
use crate::link::Snapshot;
pub use server::Server;

/// Every path of the admin port.
pub fn router(view: Arc<View>) -> Router {
    let guarded = Router::new()
        .route("/api/ready", get(|State(view): Shared| async move { ready(&view, None) }))
        .route(
            "/api/ready/{chain}",
            get(|State(view): Shared, Path(chain): Path<String>| async move { ready(&view, Some(&chain)) }),
        )
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
            get(|State(view): Shared, headers: HeaderMap| async move { events::stream(&view, &headers) }),
        )
        .route("/metrics", get(|State(view): Shared| async move { metrics_page(&view) }))
        .layer(from_fn_with_state(Arc::clone(&view), auth::require));
    Router::new()
        .route("/api/health", get(|| async { page(bodies::health()) }))
        .merge(guarded)
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, limits::ADMIN_TIMEOUT))
        .layer(RequestBodyLimitLayer::new(limits::ADMIN_BODY_BYTES_MAX))
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
    with_status(StatusCode::NOT_FOUND, "{\"error\":\"no such chain\"}\n".into())
}

fn region(view: &View) -> Response {
    page(bodies::region(&view.snapshot().config.node))
}

fn status(view: &View) -> Response {
    page(bodies::status(&view.snapshot(), view.phase.get(), view.now()))
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

fn page(json: String) -> Response {
    with_status(StatusCode::OK, json)
}

fn with_status(status: StatusCode, json: String) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, json).into_response()
}
