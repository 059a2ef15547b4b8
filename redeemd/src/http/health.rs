//! `GET /healthz` and `GET /metrics`

use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Shared;

/// How long the database may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the service can do its work: the database answers, and the chain's node, if it does, has a new block.
#[utoipa::path(
    get,
    path = "/healthz",
    responses(
        (status = 200, body = String, content_type = "text/plain"),
        (status = 503, body = String, content_type = "text/plain"),
    ),
)]
pub(super) async fn healthz(State(shared): State<Shared>) -> (StatusCode, &'static str) {
    match tokio::time::timeout(PATIENCE, shared.service().store.is_there()).await {
        Ok(Ok(())) if shared.service().chain.is_stale() => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the newest block of the chain's node is too old\n",
        ),
        Ok(Ok(())) => (StatusCode::OK, "ok\n"),
        _ => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the database does not answer\n",
        ),
    }
}

/// Figures for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    responses((status = 200, body = String, content_type = "application/openmetrics-text")),
)]
pub(super) async fn metrics(State(shared): State<Shared>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], shared.0.metrics.text()).into_response()
}
