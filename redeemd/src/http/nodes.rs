//! `GET /v1/nodes/{node}`

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use control_api::NodeId;
use receipts::Party;
use redeem_api::{NodeAnswer, PairAnswer, PairState, Problem, SCHEMA};

use super::Shared;
use super::problem::Refusal;
use crate::service;
use crate::store::PairReport;

/// What is known of a node. Receipts, and so sums, are no secret: whoever is near hears them.
#[utoipa::path(
    get,
    path = "/v1/nodes/{node}",
    params(("node" = String, Path, description = "A node's id: 64 hexadecimal digits", pattern = "^[0-9a-f]{64}$")),
    responses(
        (status = 200, body = NodeAnswer),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 408, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get(
    State(shared): State<Shared>,
    node: Result<Path<String>, PathRejection>,
) -> Result<Json<NodeAnswer>, Refusal> {
    let node = parse(&node?)?;
    let known = shared
        .service()
        .store
        .node(Party::new(*node.as_bytes()))
        .await?;
    if known.registration.is_none() && known.earned.is_empty() && known.owed.is_empty() {
        return Err(Refusal::missing("nothing is known of this node"));
    }
    let (account, sequence) = known.registration.unzip();
    Ok(Json(NodeAnswer {
        schema: SCHEMA,
        node,
        account,
        sequence,
        earned: known.earned.iter().map(answer).collect(),
        owed: known.owed.iter().map(answer).collect(),
    }))
}

pub(super) fn parse(node: &str) -> Result<NodeId, Refusal> {
    let node = node.parse();
    node.map_err(|_| Refusal::invalid("a node's id is 64 hexadecimal digits"))
}

fn answer(known: &PairReport) -> PairAnswer {
    let state = match known.claimed == known.settled {
        true => PairState::Settled,
        false => PairState::Pending,
    };
    service::answer(&known.pair, known.claimed, known.settled, state)
}
