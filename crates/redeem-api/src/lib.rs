//! What redeemd, the settlement service, speaks over HTTP; shared by it and `meshctl redeem`.
//!
//! | request                    | body                        | answer                       |
//! |----------------------------|-----------------------------|------------------------------|
//! | `POST /v1/claims`          | an export of receipts       | [`ClaimAnswer`]              |
//! | `POST /v1/registrations`   | [`RegistrationRequest`]     | [`RegistrationAnswer`]       |
//! | `GET /v1/nodes/{node}`     |                             | [`NodeAnswer`]               |
//! | `GET /v1/cheques/{id}`     | `?after=` an issuer         | a file of cheques            |
//! | `GET /v1/service`          |                             | [`ServiceAnswer`]            |
//!
//! What goes wrong is answered by a [`Problem`] (RFC 9457).
//!
//! All of it can be sent again: the same claim adds nothing, the same registration changes nothing.
//!
//! **Invariants.** Amounts are strings of decimal digits in 10⁻¹⁸ SMT. Nodes are 64 hexadecimal digits, accounts
//! 0x and 40, signatures 0x and 128. A reader ignores fields it does not know.

mod answers;
#[cfg(feature = "client")]
pub mod client;
mod problem;
mod registration;
mod signature64;

pub use answers::{
    ClaimAnswer, NodeAnswer, PairAnswer, PairState, RegistrationAnswer, ServiceAnswer, TariffAnswer,
};
pub use problem::{Kind, Problem};
pub use registration::{
    NodeStatement, Registration, RegistrationError, RegistrationRequest, Statement,
};
pub use signature64::Signature64;

/// The version of all answers. A field more is no other version.
pub const SCHEMA: u32 = 1;

/// The media type of a claim: what `meshctl receipts export` writes.
pub const CLAIM_TYPE: &str = "application/vnd.meshd.receipts";

/// The media type of a problem.
pub const PROBLEM_TYPE: &str = "application/problem+json";

/// No more cheques are in one answer. Whoever gets so many asks for those after the last one's issuer.
pub const CHEQUES: usize = 1000;

/// No more consumers are in one claim: the chain is asked about each whose account is not known to be a payer.
pub const CONSUMERS: usize = 500;

/// The most that a service has to take in one claim.
pub const CLAIM_BYTES: usize = 4 << 20;
