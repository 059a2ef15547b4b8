//! `GET /v1/cheques/{id}`

use alloy_primitives::Address;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use receipts::Party;
use redeem_api::Problem;
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::Refusal;
use super::{Shared, nodes};

/// Cheques of one cheque book: what `meshctl wallet cash` takes. [`ethereum::cheque::ChequeFile`] writes and
/// reads it; this describes it.
#[derive(Serialize, ToSchema)]
#[schema(as = ChequeFile)]
pub(super) struct ChequeFileForm {
    schema: u32,
    chain_id: u64,
    book: String,
    cheques: Vec<ChequeForm>,
}

/// What a beneficiary has been given by an issuer in all, and the signature of the settlement key.
#[derive(Serialize, ToSchema)]
#[schema(as = Cheque)]
pub(super) struct ChequeForm {
    issuer: String,
    beneficiary: String,
    /// Decimal, in 10⁻¹⁸ SMT.
    cumulative: String,
    /// Of ERC-2098, with `vs`.
    r: String,
    vs: String,
}

/// The cheques of an account, or of a node's account: one for each payer, which replaces those before. They are
/// worth something to the beneficiary only. At most 1000, in the order of their issuers: whoever gets so many asks for
/// those after the last.
#[utoipa::path(
    get,
    path = "/v1/cheques/{id}",
    params((
        "id" = String, Path, description = "A node's id, or an account",
        pattern = "^([0-9a-f]{64}|0x[0-9a-fA-F]{40})$",
    ), (
        "after" = Option<String>, Query, description = "Only of issuers after this account",
        pattern = "^0x[0-9a-fA-F]{40}$",
    )),
    responses(
        (status = 200, body = ChequeFileForm),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 408, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get(
    State(shared): State<Shared>,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let Path(id) = id?;
    let account = match id.starts_with("0x") {
        true => ethereum::text::parse_address(&id)?,
        false => account_of(&shared, &id).await?,
    };
    let behind = query.as_deref().map_or(Ok(Address::ZERO), after)?;
    let file = shared.service().cheques(account, behind).await?;
    let json = file.to_json().map_err(Refusal::invalid)?;
    let kind = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, kind)], json).into_response())
}

/// The one thing that can be asked.
fn after(query: &str) -> Result<Address, Refusal> {
    let Some(account) = query.strip_prefix("after=") else {
        return Err(Refusal::invalid("all that can be asked is after=ACCOUNT"));
    };
    Ok(ethereum::text::parse_address(account)?)
}

async fn account_of(shared: &Shared, node: &str) -> Result<Address, Refusal> {
    let node = Party::new(*nodes::parse(node)?.as_bytes());
    let registration = shared.service().store.registration(node).await?;
    let known = registration.map(|(account, _)| account);
    known.ok_or_else(|| Refusal::missing("this node has no account here"))
}
