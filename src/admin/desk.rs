//! Tenants, plans, keys and usage over the admin port: the desk's orders as JSON bodies, its documents as answers.
//!
//! Bodies say `Content-Type: application/json`, or they are refused: a page of somebody else's that an operator's browser
//! shows can send forms and plain text anywhere, but JSON only to who allows it, and nobody is allowed here. A page
//! under a name that was made to point here, and would be at home, is kept out as from the rest of the port.
//!
//! The ledger's thread does what is asked. When the store is gone the answer is 503, at once, and the rest of the port is
//! as well as ever. An answer that a key was not made because the store went away in that moment may be wrong: then there
//! is a key whose text nobody has, in the list and of no use.

mod answer;
mod body;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use tower_http::limit::RequestBodyLimitLayer;

use self::answer::{Answer, created, document};
use self::body::{Asked, Body, Open};
use crate::desk::keys::{self, KeyChangeOrder, KeyOrder, KeysAsked, MadeKey, RotateOrder};
use crate::desk::most;
use crate::desk::plans::{self, NewPlan, PlanOrder};
use crate::desk::tenants::{self, NewTenant, TenantOrder};
use crate::desk::usage::{self, By, UsageOrder};
use crate::ledger::Asker;
use crate::limits;
use crate::tenant::key::Pepper;

/// What the desk works with.
#[derive(Clone, Debug)]
pub struct Desk {
    pub ledger: Asker,
    /// New keys are hashed under it.
    pub pepper: Pepper,
}

/// Every path of it; without a desk each answers 404.
pub(super) fn routes<S>(desk: Option<Desk>) -> Router<S> {
    Router::new()
        .route("/api/tenants", get(list_tenants).post(create_tenant))
        .route("/api/tenants/{name}", get(show_tenant).patch(change_tenant))
        .route("/api/plans", get(list_plans).post(create_plan))
        .route("/api/plans/{name}", get(show_plan).put(change_plan))
        .route("/api/keys", get(list_keys).post(create_key))
        .route("/api/keys/{id}", get(show_key).patch(change_key))
        .route("/api/keys/{id}/revoke", post(revoke_key))
        .route("/api/keys/{id}/rotate", post(rotate_key))
        .route("/api/usage", get(read_usage))
        .layer(RequestBodyLimitLayer::new(limits::DESK_BODY_BYTES_MAX))
        .with_state(desk.map(Arc::new))
}

/// A page of a list by name.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ListAsked {
    after: Option<String>,
    most: Option<usize>,
}

/// An order without anything to say.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Nothing {}

/// Usage, and how it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct UsageAsked {
    tenant: Option<String>,
    key: Option<String>,
    from: Option<String>,
    to: Option<String>,
    by: By,
    format: UsageFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum UsageFormat {
    #[default]
    Json,
    Csv,
}

async fn list_tenants(Open(desk): Open, Asked(asked): Asked<ListAsked>) -> Answer {
    let most = most(asked.most)?;
    document(&desk.ledger.ask(move |store| tenants::list(store, asked.after.as_deref(), most)).await?)
}

async fn create_tenant(Open(desk): Open, Body(new): Body<NewTenant>) -> Answer {
    let made = desk.ledger.ask(move |store| tenants::create(store, &new, now_s())).await?;
    tracing::info!(tenant = made.name, "a tenant was made");
    created(&made)
}

async fn show_tenant(Open(desk): Open, Path(name): Path<String>) -> Answer {
    document(&desk.ledger.ask(move |store| tenants::show(store, &name)).await?)
}

async fn change_tenant(Open(desk): Open, Path(name): Path<String>, Body(order): Body<TenantOrder>) -> Answer {
    let change = order.check()?;
    let changed = desk.ledger.ask(move |store| tenants::change(store, &name, &change)).await?;
    tracing::info!(tenant = changed.name, "a tenant was changed");
    document(&changed)
}

async fn list_plans(Open(desk): Open, Asked(asked): Asked<ListAsked>) -> Answer {
    let most = most(asked.most)?;
    document(&desk.ledger.ask(move |store| plans::list(store, asked.after.as_deref(), most)).await?)
}

async fn create_plan(Open(desk): Open, Body(new): Body<NewPlan>) -> Answer {
    let new = new.check()?;
    let made = desk.ledger.ask(move |store| plans::create(store, &new, now_s())).await?;
    tracing::info!(plan = made.name, "a plan was made");
    created(&made)
}

async fn show_plan(Open(desk): Open, Path(name): Path<String>) -> Answer {
    document(&desk.ledger.ask(move |store| plans::show(store, &name)).await?)
}

async fn change_plan(Open(desk): Open, Path(name): Path<String>, Body(order): Body<PlanOrder>) -> Answer {
    let change = order.check()?;
    let changed = desk.ledger.ask(move |store| plans::change(store, &name, &change)).await?;
    tracing::info!(plan = changed.name, "a plan was changed");
    document(&changed)
}

async fn list_keys(Open(desk): Open, Asked(asked): Asked<KeysAsked>) -> Answer {
    let wanted = asked.check()?;
    document(&desk.ledger.ask(move |store| keys::list(store, &wanted, now_s())).await?)
}

async fn create_key(Open(desk): Open, Body(order): Body<KeyOrder>) -> Answer {
    let terms = order.check(now_s())?;
    let (key, name) = keys::make(&desk.pepper)?;
    let document = desk.ledger.ask(move |store| keys::create(store, terms, name, now_s())).await?;
    tracing::info!(key = document.id, tenant = document.tenant, "a key was made");
    created(&MadeKey { key, document, old: None })
}

async fn show_key(Open(desk): Open, Path(id): Path<String>) -> Answer {
    let id = keys::id(&id)?;
    document(&desk.ledger.ask(move |store| keys::show(store, id, now_s())).await?)
}

async fn change_key(Open(desk): Open, Path(id): Path<String>, Body(order): Body<KeyChangeOrder>) -> Answer {
    let (id, order) = (keys::id(&id)?, order.check(now_s())?);
    let changed = desk.ledger.ask(move |store| keys::change(store, id, order, now_s())).await?;
    tracing::info!(key = changed.id, "a key was changed");
    document(&changed)
}

async fn revoke_key(Open(desk): Open, Path(id): Path<String>, Body(Nothing {}): Body<Nothing>) -> Answer {
    let id = keys::id(&id)?;
    let revoked = desk.ledger.ask(move |store| keys::revoke(store, id, now_s())).await?;
    tracing::info!(key = revoked.id, "a key was revoked");
    document(&revoked)
}

async fn rotate_key(Open(desk): Open, Path(id): Path<String>, Body(order): Body<RotateOrder>) -> Answer {
    let (id, grace_s) = (keys::id(&id)?, order.check()?);
    let (key, name) = keys::make(&desk.pepper)?;
    let (document, old) = desk.ledger.ask(move |store| keys::rotate(store, id, name, grace_s, now_s())).await?;
    tracing::info!(key = old.id, by = document.id, "a key was rotated");
    created(&MadeKey { key, document, old: Some(old) })
}

async fn read_usage(Open(desk): Open, Asked(asked): Asked<UsageAsked>) -> Answer {
    let UsageAsked { tenant, key, from, to, by, format } = asked;
    let wanted = UsageOrder { tenant, key, from, to, by }.check(now_s())?;
    let usage = desk.ledger.ask(move |store| usage::read(store, wanted)).await?;
    match format {
        UsageFormat::Json => document(&usage),
        UsageFormat::Csv => Ok(csv(usage.csv())),
    }
}

fn csv(text: String) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/csv; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    (StatusCode::OK, headers, text).into_response()
}

/// Since 1970, by the machine's clock.
fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
