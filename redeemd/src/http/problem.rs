//! What goes wrong, as a problem (RFC 9457): with what to do about it.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ethereum::text::AddressError;
use redeem_api::{Kind, PROBLEM_TYPE, Problem, RegistrationError};
use tracing::error;

use super::DOCUMENT_BYTES;
use crate::claim::ClaimError;
use crate::service::ServiceError;
use crate::store::StoreError;

/// An answer that is a problem.
#[derive(Debug)]
pub(super) struct Refusal {
    kind: Kind,
    status: StatusCode,
    title: &'static str,
    detail: String,
    remedy: &'static str,
    /// Seconds.
    retry_after: Option<u64>,
}

impl Refusal {
    fn new(kind: Kind, status: StatusCode, title: &'static str, detail: impl ToString) -> Self {
        Self {
            kind,
            status,
            title,
            detail: detail.to_string(),
            remedy: "Correct the request; /openapi.json describes it.",
            retry_after: None,
        }
    }

    fn remedy(self, remedy: &'static str) -> Self {
        Self { remedy, ..self }
    }

    fn retry_after(self, seconds: u64) -> Self {
        Self {
            retry_after: Some(seconds),
            ..self
        }
    }

    /// It is not what it should be.
    pub(super) fn invalid(detail: impl ToString) -> Self {
        Self::new(
            Kind::Invalid,
            StatusCode::BAD_REQUEST,
            "Invalid request",
            detail,
        )
    }

    /// Too often.
    pub(super) fn too_often(what: &str, wait: Duration) -> Self {
        let status = StatusCode::TOO_MANY_REQUESTS;
        Self::new(Kind::TooOften, status, "Too many requests", what)
            .remedy("Wait for as long as Retry-After says, and send it again.")
            .retry_after(wait.as_secs() + 1)
    }

    /// It took too long.
    pub(super) fn timeout() -> Self {
        let detail = "the request did not arrive, or could not be answered, in time";
        Self::new(
            Kind::Timeout,
            StatusCode::REQUEST_TIMEOUT,
            "Timeout",
            detail,
        )
        .remedy("Send it again, in smaller parts if the line is slow. Nothing is counted twice.")
    }

    /// There is none of this name.
    pub(super) fn missing(what: &str) -> Self {
        Self::new(Kind::NotFound, StatusCode::NOT_FOUND, "Not found", what)
            .remedy("Look at the address; /openapi.json lists what there is.")
    }

    pub(super) fn media_type(expected: &str) -> Self {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        let detail = format!("Content-Type has to be {expected}");
        Self::new(Kind::MediaType, status, "Unsupported media type", detail)
    }

    /// More bytes than are taken here.
    pub(super) fn too_large(most: usize) -> Self {
        Self::too_much(format!("more than {most} bytes"))
    }

    fn too_much(detail: impl ToString) -> Self {
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        Self::new(Kind::TooLarge, status, "Too large", detail)
            .remedy("Send it in parts: exports of fewer receipts each.")
    }

    pub(super) fn owes() -> Self {
        let detail = "this node owes something that is not in cheques yet";
        Self::new(Kind::Owes, StatusCode::CONFLICT, "Debts come first", detail)
            .remedy("Deposit what is due, or have cheques cashed; then register the other account.")
    }

    pub(super) fn paid_beyond() -> Self {
        let detail = "more was paid to, or by, this node's account than the receipts that are known here say";
        let title = "Receipts come first";
        Self::new(Kind::PaidBeyond, StatusCode::CONFLICT, title, detail)
            .remedy("Bring all receipts once more (meshctl redeem --again); then register the other account.")
    }

    pub(super) fn outdated(sequence: u64) -> Self {
        let detail = format!("registration {sequence} of this node is known");
        Self::new(
            Kind::Outdated,
            StatusCode::CONFLICT,
            "Outdated registration",
            detail,
        )
        .remedy("Sign one with a higher sequence number.")
    }

    pub(super) fn unavailable(detail: impl ToString) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self::new(Kind::Unavailable, status, "Not available now", detail)
            .remedy("Send it again later. Nothing is lost, and nothing is counted twice.")
            .retry_after(10)
    }

    /// Its form is right, and what it says is not.
    pub(super) fn unverified(detail: impl ToString) -> Self {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Self::new(Kind::Unverified, status, "Does not verify", detail)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let problem = Problem {
            kind: self.kind,
            title: self.title.to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
            remedy: self.remedy.to_owned(),
        };
        let mut response = (self.status, Json(problem)).into_response();
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static(PROBLEM_TYPE);
        headers.insert(header::CONTENT_TYPE, kind);
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<ServiceError> for Refusal {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Claim(error @ ClaimError::Consumers) => Self::too_much(error),
            ServiceError::Claim(error) => Self::unverified(error)
                .remedy("Export the receipts again, `meshctl receipts verify` tells more."),
            ServiceError::Overflow => Self::unverified(error),
            ServiceError::Strangers { wait } => Self::too_often(&error.to_string(), wait),
            ServiceError::Busy => Self::unavailable(error),
            ServiceError::Chain(error) => {
                error!(%error, "the chain does not answer");
                Self::unavailable("the chain does not answer")
            }
            ServiceError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Refusal {
    /// What exactly is wrong with the database is nobody else's business.
    fn from(error: StoreError) -> Self {
        error!(%error, "the database does not do as it should");
        match error {
            StoreError::Overflow(error) => Self::unverified(error),
            StoreError::Database(_) | StoreError::Schema(_) => {
                Self::unavailable("the database does not answer")
            }
            StoreError::Damaged(_) | StoreError::OtherBook(_) | StoreError::UnknownKind => {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                let detail = "the service has a fault";
                Self::new(Kind::Internal, status, "Internal error", detail)
                    .remedy("Tell the operator of this service.")
            }
        }
    }
}

impl From<PathRejection> for Refusal {
    fn from(rejection: PathRejection) -> Self {
        Self::invalid(rejection.body_text())
    }
}

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Self {
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Self::too_large(DOCUMENT_BYTES),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::media_type("application/json"),
            _ => Self::invalid(rejection.body_text()),
        }
    }
}

impl From<AddressError> for Refusal {
    fn from(error: AddressError) -> Self {
        match error {
            AddressError::Form => Self::invalid(error),
            AddressError::Checksum => {
                Self::unverified(error).remedy("Compare every digit, or write all letters small.")
            }
        }
    }
}

impl From<RegistrationError> for Refusal {
    fn from(error: RegistrationError) -> Self {
        match error {
            RegistrationError::Sequence => Self::invalid(error),
            RegistrationError::NoAccount => Self::unverified(error),
            RegistrationError::Node | RegistrationError::Account => Self::unverified(error)
                .remedy("Sign for the chain and the cheque book that /v1/service tells."),
        }
    }
}

pub(super) async fn not_found() -> Refusal {
    Refusal::missing("there is nothing of this name")
}

pub(super) async fn method(method: Method) -> Refusal {
    let detail = format!("{method} cannot be done here");
    Refusal::new(
        Kind::Method,
        StatusCode::METHOD_NOT_ALLOWED,
        "Wrong method",
        detail,
    )
}
