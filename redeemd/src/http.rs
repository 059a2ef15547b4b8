//! The service over HTTP.
//!
//! ```text
//! server      connections: how many, how slow
//! linger      and how they end
//! guard       what every request goes through: how often, how long, counted
//! body        claims, as they come
//! claims …    one file for each resource
//! problem     what goes wrong, as a problem (RFC 9457)
//! openapi     all of it described
//! ```

mod body;
mod cheques;
mod claims;
mod guard;
mod health;
mod linger;
mod nodes;
mod openapi;
mod problem;
mod registrations;
mod server;
mod service;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post};

use crate::config::Limits;
use crate::metrics::Metrics;
use crate::service::Service;

pub use openapi::document;
pub use server::serve;

/// The longest document, a registration: several times what one takes. Claims have limits of their own.
const DOCUMENT_BYTES: usize = 16 << 10;

/// What handlers need.
#[derive(Clone)]
pub struct Shared(Arc<Inner>);

struct Inner {
    service: Arc<Service>,
    limits: Limits,
    metrics: Metrics,
    guard: guard::Guard,
    memory: body::Memory,
}

impl Shared {
    /// For a service with these limits.
    #[must_use]
    pub fn new(service: Arc<Service>, limits: Limits) -> Self {
        Self(Arc::new(Inner {
            service,
            limits,
            metrics: Metrics::new(),
            guard: guard::Guard::new(&limits),
            memory: body::Memory::new(&limits),
        }))
    }

    fn service(&self) -> &Service {
        &self.0.service
    }
}

/// Everything that is answered.
pub fn router(shared: Shared) -> Router {
    Router::new()
        .route("/v1/claims", post(claims::post))
        .route("/v1/registrations", post(registrations::post))
        .route("/v1/nodes/{node}", get(nodes::get))
        .route("/v1/cheques/{id}", get(cheques::get))
        .route("/v1/service", get(service::get))
        .route("/openapi.json", get(openapi::get))
        .route("/healthz", get(health::healthz))
        .route("/metrics", get(health::metrics))
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method)
        .layer(DefaultBodyLimit::max(DOCUMENT_BYTES))
        .layer(middleware::from_fn_with_state(shared.clone(), guard::guard))
        .with_state(shared)
}
