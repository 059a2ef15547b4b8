//! The money of the mesh: who carried how many bytes for whom, agreed and signed by both.
//!
//! # Map
//! ```text
//! identity   Party (Ed25519 public key), NetworkId, ContentHash
//! money      Price, Amount, Totals; integers only, every operation checked
//! codec      reading and writing little-endian fields, ParseError
//! heading    what an offer and a receipt have in common: network, parties, (epoch, seq)
//! offer      provider-signed Offer, 240 bytes: gateway and terms of one epoch
//! receipt    consumer-signed cumulative Receipt, 256 bytes; its 124-byte compact form; Equivocation
//! message    what two neighbors say to each other: Offer, Request, Receipt, Refusal, Head
//! ledger     the state machine: usage and messages in, Persist / Send / Hold / Event out
//!   provider   what I carry for a neighbor: an account for each gateway, one window for all
//!   consumer   what a neighbor carries for me: an account for each gateway
//!   credit     standing, window, exposure: pure figures
//!   desk       the terms, the key, the way out
//! state      heads per account, rebuilt from the log at start
//! log        append-only log in segments: frames, CRC, hash chain
//!   buffer     what waits to be written: of each epoch's receipts the newest
//!   heads      what is worth keeping, for compaction and export
//!   recover    what of a damaged segment can be used
//!   verify     everything checked, offline, by anybody
//!   parts      what was verified, in exports of a limited length
//! ```
//!
//! # The protocol in one paragraph
//! With a neighbor's first traffic to a gateway, the **provider** (nearer to the gateway) opens an
//! epoch by a signed [`Offer`], which fixes the price. After some traffic it sends the offer and a
//! [`Request`] with cumulative figures. The **consumer** compares with its own kernel's count; what
//! it can confirm it signs as a [`Receipt`] that replaces the one before, what it cannot it refuses
//! with the figures it would sign. Who has more than its window without signing is slowed down.
//!
//! # Invariants
//! - **No I/O.** No clock, file, socket or randomness: time is an argument, [`Ledger::poll_output`]
//!   says what to do. The dependency list proves it.
//! - **An epoch lives in one run of both sides.** A node signs only in epochs whose offer it got
//!   since it started, so it never signs a place twice, whatever part of its log is lost. When
//!   receipts are lost, the neighbor shows the last one ([`message::Head`]) and it is taken over.
//! - **Offers precede what follows from them on the disk**; receipts may wait
//!   ([`log::Record::is_urgent`]).
//! - **Order is `(epoch, seq)`**, never a clock: routers have none.
//! - **One epoch, one offer, one gateway, one price.** A changed price opens a new epoch.
//! - **An offer names the last receipt before it**, and nothing is signed under one that does not:
//!   what was lost is not paid twice.
//! - **One rounding.** The amount is `price × bytes / MiB`, rounded down once, on the epoch's
//!   cumulative bytes; so any slicing of the traffic into receipts gives the same amount.
//! - **Overflow is an error**, never a wrapped or a saturated amount.
//! - **`verify_strict` decides** about every signature (RFC 8032 with cofactorless equation and
//!   no small-order keys): two verifiers never disagree.
//! - **Equal `(epoch, seq)` and different content is a proof of cheating** that anybody can check
//!   ([`Equivocation`]). The hash is taken over the signed bytes, so that a second signature over
//!   the same content proves nothing.

mod codec;
mod heading;
mod identity;
pub mod ledger;
pub mod log;
pub mod message;
mod money;
mod offer;
mod receipt;
mod state;

pub use codec::ParseError;
pub use heading::{Heading, Position};
pub use identity::{BadSignature, ContentHash, NetworkId, Party};
pub use ledger::{
    AccountDetails, AccountView, Counters, Credit, Event, Hold, Ledger, LedgerConfig, LedgerError,
    MessageError, Output, PairDetails, ReceiptView, Refused, Role, Standing, Tolerance, Usage,
    UsageError,
};
pub use message::{Message, Refusal, RefusalReason, Request};
pub use money::{Amount, MIB, Overflow, Price, Totals};
pub use offer::{Offer, Terms};
pub use receipt::{CompactReceipt, Equivocation, Receipt, ReceiptError};
pub use state::{AccountState, PairState, State};
