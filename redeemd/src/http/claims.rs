//! `POST /v1/claims`

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, header};
use receipts::log::SegmentHeader;
use redeem_api::{CLAIM_TYPE, ClaimAnswer, Problem};
use utoipa::ToSchema;

use super::Shared;
use super::guard::ClientNetwork;
use super::problem::Refusal;

/// What `meshctl receipts export` writes. Only described here: [`receipts::log::verify`] reads it.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
pub(super) struct Export(#[expect(dead_code, reason = "describes")] Vec<u8>);

/// Brings receipts: an export of a node's log. Anybody may, and as often as it takes: what has been brought
/// before adds nothing. At most 4 MiB, unless `/v1/service` says more, of 500 consumers.
#[utoipa::path(
    post,
    path = "/v1/claims",
    request_body(content_type = "application/vnd.meshd.receipts", content = Export),
    responses(
        (status = 200, body = ClaimAnswer),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 408, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn post(
    State(shared): State<Shared>,
    Extension(client): Extension<ClientNetwork>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ClaimAnswer>, Refusal> {
    let kind = headers.get(header::CONTENT_TYPE);
    if kind.is_none_or(|kind| kind.as_bytes() != CLAIM_TYPE.as_bytes()) {
        return Err(Refusal::media_type(CLAIM_TYPE));
    }
    let claim = shared.0.memory.read(&headers, body).await?;
    // Before any of it is looked at.
    let header = SegmentHeader::parse(&claim.export).map_err(Refusal::invalid)?;
    let (owner, bytes) = (&header.log.owner, claim.export.len());
    shared.0.guard.claim_of(owner, bytes, client)?;
    let may_ask = |accounts| shared.0.guard.strangers(accounts, client);
    let answer = shared.service().claim(claim.export.clone(), may_ask);
    let answer = answer.await?;
    shared.0.metrics.claim(&answer);
    Ok(Json(answer))
}
