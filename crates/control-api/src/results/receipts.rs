//! `receipts.*`: who owes whom, and the evidence.

mod carried;
mod show;
mod stats;

use serde::{Deserialize, Serialize};

pub use carried::{CarriedFile, CarriedFiles, Imported, Kept, KeptAs};
pub use show::{AccountDetails, Hold, NodeAccounts, Proof, ReceiptEntry, Refusal};
pub use stats::{Stats, StatsHour};

use crate::{AttoSmt, HexBytes, NodeId, ReceiptHash};

/// Every account with a neighbor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounts {
    /// [`crate::SCHEMA`].
    pub schema: u32,
    /// Ordered by the neighbors' names, then their ids, then role, then likewise by gateway.
    pub accounts: Vec<Account>,
}

/// A node as receipts know it: by its public key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PartyRef {
    /// Its public key.
    pub node_id: NodeId,
    /// Its name, `null` when not known. Untrusted text.
    pub name: Option<String>,
}

/// What one neighbor and this node forwarded for each other, in one role, on the way to one
/// gateway. The figures are those of the present epoch unless they say otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The neighbor's public key.
    pub node_id: NodeId,
    /// The neighbor's name, `null` when not known. Untrusted text.
    pub name: Option<String>,
    /// What this node is in the account.
    pub role: Role,
    /// The gateway to or from which the bytes are forwarded.
    pub gateway: PartyRef,
    /// The epoch: receipts add up within it; 0 before the first offer.
    pub epoch: u64,
    /// The number of the last receipt; 0 when there is none yet.
    pub seq: u64,
    /// Bytes receipted towards the Internet.
    pub bytes_up: u64,
    /// Bytes receipted from the Internet.
    pub bytes_down: u64,
    /// Seconds of service receipted: those in which there was traffic.
    pub service_s: u64,
    /// Bytes receipted in all earlier epochs, both directions.
    pub earlier_bytes: u64,
    /// Bytes counted, in both directions, that no receipt covers yet.
    pub unsigned_bytes: u64,
    /// What these cost, in atto-SMT, as a string of digits; `null` while the price is not known.
    pub unpaid_atto: Option<AttoSmt>,
    /// Bytes of those that the consumer said never arrived, since the daemon started; 0 as
    /// consumer.
    pub disputed_bytes: u64,
    /// What the last receipt promises, in atto-SMT, as a string of digits.
    pub amount_atto: AttoSmt,
    /// What the receipts of earlier epochs promise, in atto-SMT, as a string of digits.
    pub earlier_amount_atto: AttoSmt,
    /// The price in atto-SMT per MiB, as a string of digits; `null` while no offer is known.
    pub price_atto_per_mib: Option<AttoSmt>,
    /// The hash of the last receipt; `null` when there is none yet.
    pub last_receipt: Option<ReceiptHash>,
    /// Seconds since it was signed; `null` when there is none, or it is from before the daemon
    /// started.
    pub last_receipt_age_s: Option<u64>,
    /// Why the consumer refused to sign last; `null` when it has signed since, and when it has not
    /// refused.
    pub last_refusal: Option<RefusalReason>,
    /// The credit that was offered: so many bytes may go unreceipted before the consumer is slowed
    /// down; `null` while no offer is known.
    pub credit_bytes: Option<u64>,
    /// What the consumer is to the provider.
    pub standing: Standing,
    /// As provider: whether the neighbor is slowed down to the free rate. As consumer: whether
    /// this node slows itself down. The same in all accounts with the neighbor in this role, as
    /// are the two fields that follow.
    pub held: bool,
    /// Bytes that cost something and are neither receipted nor forgiven.
    pub exposure_bytes: u64,
    /// How many may be before `held` becomes true; `null` as consumer of what costs nothing, and
    /// before anything was counted.
    pub window_bytes: Option<u64>,
    /// Whether the consumer is known to have signed two different receipts of one number.
    pub equivocated: bool,
}

/// What is known of a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It has signed before, and has the whole credit.
    Known,
    /// It has never signed, and has little.
    Stranger,
    /// It has signed two different receipts of one number, and has none.
    Cheat,
}

/// Why a receipt was not signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalReason {
    /// The consumer does not have the offer.
    UnknownOffer,
    /// The consumer signs nothing more in this epoch.
    Ended,
    /// The consumer counted less.
    Unconfirmed,
    /// Nothing is new since the last receipt.
    NothingNew,
    /// The price is above what the consumer's operator allows, or what was announced.
    Price,
}

/// Which side of an account this node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It forwards and earns.
    Provider,
    /// It is forwarded for and pays.
    Consumer,
}

/// A piece of an export: a log of one segment with the newest receipts, what it takes to check them, and
/// proofs of contradictions.
///
/// It is handed out by the daemon, not made from its state directory: whoever may use the socket may
/// export without being root, and the newest receipts are in the daemon's memory only.
/// The bytes are hex digits, so that a line holds them; a piece is at most
/// [`crate::MAX_CHUNK_BYTES`], which bounds what a router spends on an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptsChunk {
    /// [`crate::SCHEMA`].
    pub schema: u32,
    /// Names the export: that of offset 0 begins one, and ends the one before. All pieces must have the
    /// same.
    pub generation: u64,
    /// Where the piece begins.
    pub offset: u64,
    /// The length of the export; the same in all pieces.
    pub total_bytes: u64,
    /// The bytes from `offset`; empty only at the end.
    pub data: HexBytes,
}
