//! `GET /healthz` and `GET /metrics`

use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Shared;
use crate::chain::NodeStanding;

/// How long the database may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the service can do its work: the database answers, and the chain's node, which is asked once a minute and
/// with each claim, does so with a new block.
#[utoipa::path(
    get,
    path = "/healthz",
    responses(
        (status = 200, body = String, content_type = "text/plain"),
        (status = 503, body = String, content_type = "text/plain"),
    ),
)]
pub(super) async fn healthz(State(shared): State<Shared>) -> (StatusCode, &'static str) {
    let service = shared.service();
    let database = tokio::time::timeout(PATIENCE, service.store.is_there()).await;
    if !matches!(database, Ok(Ok(()))) {
        return unable("the database does not answer\n");
    }
    match service.chain.condition().standing {
        NodeStanding::Stale => unable("the newest block of the chain's node is too old\n"),
        NodeStanding::Silent => {
            unable("the chain's node does not answer: what is claimed is kept and not settled\n")
        }
        NodeStanding::Unknown | NodeStanding::Follows => (StatusCode::OK, "ok\n"),
    }
}

const fn unable(why: &'static str) -> (StatusCode, &'static str) {
    (StatusCode::SERVICE_UNAVAILABLE, why)
}

/// Figures for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    responses((status = 200, body = String, content_type = "application/openmetrics-text")),
)]
pub(super) async fn metrics(State(shared): State<Shared>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let metrics = &shared.0.metrics;
    metrics.chain(shared.service().chain.condition());
    ([(header::CONTENT_TYPE, kind)], metrics.text()).into_response()
}
