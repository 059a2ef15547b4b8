//! What went wrong, and what to do about it.

use serde::{Deserialize, Serialize};

/// A problem (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// Which kind: one of a list that only grows.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The kind, for people.
    pub title: String,
    /// The status of HTTP.
    pub status: u16,
    /// What exactly was wrong.
    pub detail: String,
    /// What whoever sent it can do.
    pub remedy: String,
}

/// Kinds of problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Kind {
    /// It is not what it should be.
    #[serde(rename = "urn:meshd:redeem:invalid")]
    Invalid,
    /// Something in it does not verify.
    #[serde(rename = "urn:meshd:redeem:unverified")]
    Unverified,
    /// A later registration of the node is known.
    #[serde(rename = "urn:meshd:redeem:outdated")]
    Outdated,
    /// A node that owes cannot change its account.
    #[serde(rename = "urn:meshd:redeem:owes")]
    Owes,
    /// A node cannot change an account to or by which more was paid than the receipts that are known say.
    #[serde(rename = "urn:meshd:redeem:paid-beyond")]
    PaidBeyond,
    /// There is nothing of this name.
    #[serde(rename = "urn:meshd:redeem:not-found")]
    NotFound,
    /// It can be asked for in another way only.
    #[serde(rename = "urn:meshd:redeem:method")]
    Method,
    /// More than is taken at once.
    #[serde(rename = "urn:meshd:redeem:too-large")]
    TooLarge,
    /// Not of a kind that is understood.
    #[serde(rename = "urn:meshd:redeem:media-type")]
    MediaType,
    /// Too often.
    #[serde(rename = "urn:meshd:redeem:too-often")]
    TooOften,
    /// It took too long to arrive.
    #[serde(rename = "urn:meshd:redeem:timeout")]
    Timeout,
    /// The service has too much to do, or lacks something it needs.
    #[serde(rename = "urn:meshd:redeem:unavailable")]
    Unavailable,
    /// A fault of the service.
    #[serde(rename = "urn:meshd:redeem:internal")]
    Internal,
}
