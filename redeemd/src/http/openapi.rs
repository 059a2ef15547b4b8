//! `GET /openapi.json`

use axum::Json;
use utoipa::OpenApi;

use super::{cheques, claims, health, nodes, registrations, service};

/// Describes everything that is answered.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "redeemd",
        description = "Settles receipts for carried bytes: claims in, cheques out.",
        license(name = "MIT OR Apache-2.0"),
    ),
    paths(
        claims::post,
        registrations::post,
        nodes::get,
        cheques::get,
        service::get,
        health::healthz,
        health::metrics,
        get,
    )
)]
struct Document;

/// The document.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", responses((status = 200, body = Object)))]
pub(super) async fn get() -> Json<utoipa::openapi::OpenApi> {
    Json(document())
}
