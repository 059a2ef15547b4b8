//! `POST /v1/registrations`

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use redeem_api::{Problem, RegistrationAnswer, RegistrationRequest, SCHEMA};

use super::Shared;
use super::problem::Refusal;
use crate::store::Registered;

/// Says which account a node earns for, and pays from. Both have signed it.
#[utoipa::path(
    post,
    path = "/v1/registrations",
    request_body = RegistrationRequest,
    responses(
        (status = 200, body = RegistrationAnswer),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 408, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn post(
    State(shared): State<Shared>,
    body: Result<Json<RegistrationRequest>, JsonRejection>,
) -> Result<Json<RegistrationAnswer>, Refusal> {
    let Json(request) = body?;
    let service = shared.service();
    let statement = request.verify(service.chain_id, service.chain.book)?;
    let registered = service
        .register(
            &statement,
            request.node_signature.0,
            request.account_signature.0,
        )
        .await?;
    match registered {
        Registered::Owes => Err(Refusal::owes()),
        Registered::PaidBeyond => Err(Refusal::paid_beyond()),
        Registered::Outdated { sequence } => Err(Refusal::outdated(sequence)),
        Registered::Done => Ok(Json(RegistrationAnswer {
            schema: SCHEMA,
            node: request.node,
            account: request.account,
            sequence: request.sequence,
        })),
    }
}
