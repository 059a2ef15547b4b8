//! Settlement service: turns receipts into cheques for SMT.
//!
//! # Map
//! ```text
//! config    the file
//! http      requests in, answers out
//! service   claims and registrations in, cheques out
//!   claim     an export, sorted by who owes whom, and verified as far as it counts
//!   tariff    what becomes of a debit: pure figures
//!   room      how much may be signed on a payer: pure figures
//!   store     what must not be lost: SQLite or PostgreSQL
//!   chain     what the chain says of payers
//!     strangers   who is none
//! metrics   figures for Prometheus
//! ```
//!
//! ```text
//! export ─► claim: figures ─► accounts, deposits ─► signatures ─► store: of each epoch the receipt that counts, claimed += what it adds
//!                                        │ due = claimed - settled
//! chain: deposit, allowance, paid ─► room ▼
//!                       tariff ─► settled += debit; cheque(payer, provider) += credit; … += fee ─► signed
//! ```
//!
//! # Invariants
//! - **Nothing counts that was not verified**: frames, hash chain, every amount, and every signature (`verify_strict`) of
//!   what is kept. The rules are in [`receipts::log::verify`] and nowhere else. Signatures, which take the time, come last:
//!   nobody has them verified for whom nobody could pay.
//! - **Of each epoch, the highest amount signed counts, once**, whoever brings it, how often, and in which order.
//! - **Debits are credits and fees**, and a cheque is the sum of its credits: [`store::Store::audit`].
//! - **No cheque bounces.** What is signed and not cashed on a payer is covered by what the payer cannot take back
//!   without a warning, and by two allowances: so many whole epochs are in the time of such a warning.
//! - **What is signed is in the database first.** Signing again gives the same bytes, so a process may end
//!   anywhere, and others go on.

pub mod chain;
pub mod claim;
pub mod config;
pub mod http;
pub mod metrics;
pub mod room;
pub mod service;
pub mod store;
mod strangers;
pub mod tariff;
