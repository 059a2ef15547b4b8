//! The money of the mesh: who carried how many bytes for whom, agreed and signed by both.
//!
//! # Map
//! ```text
//! identity   Party (Ed25519 public key), NetworkId, ContentHash
//! money      Price, Amount, Totals; integers only, every operation checked
//! codec      reading and writing little-endian fields, ParseError
//! heading    what an offer and a receipt have in common: network, parties, (epoch, seq)
//! offer      provider-signed Offer, 180 bytes: the terms of one epoch
//! receipt    consumer-signed cumulative Receipt, 256 bytes; its 124-byte compact form; Equivocation
//! message    what two neighbors say to each other: Offer, Request, Receipt, Refusal, Head
//! ledger     the state machine: usage and messages in, Persist / Send / Event out
//!   provider   one account of what I carry for a neighbor
//!   consumer   one account of what a neighbor carries for me
//! state      heads per pair, rebuilt from the log at start
//! log        append-only log in segments: frames, CRC, hash chain
//!   buffer     what waits to be written: of each epoch's receipts the newest
//!   heads      what is worth keeping, for compaction and export
//!   recover    what of a damaged segment can be used
//!   verify     everything checked, offline, by anybody
//! ```
//!
//! # The protocol in one paragraph
//! When a neighbor's traffic first appears, the **provider** (nearer to the gateway) sends a signed
//! [`Offer`]: it opens an epoch and fixes the price. After some traffic it sends a [`Request`] with
//! cumulative figures. The **consumer** compares with its own kernel's count; what it can confirm it
//! signs as a [`Receipt`] that replaces the one before, what it cannot it refuses with the figures
//! it would sign. Nothing is ever answered twice with different content.
//!
//! # Invariants
//! - **No I/O.** No clock, file, socket or randomness: time is an argument, [`Ledger::poll_output`]
//!   says what to do. The dependency list proves it.
//! - **Persist precedes Send.** What leaves this node was on disk before ([`Output`]).
//! - **Order is `(epoch, seq)`**, never a clock: routers have none.
//! - **A node never signs below or beside what it signed.** Its log says what it signed; when even
//!   the log is gone, the neighbor shows the last receipt ([`message::Head`]) and it is adopted.
//! - **One epoch, one offer, one price.** A changed price opens a new epoch.
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
