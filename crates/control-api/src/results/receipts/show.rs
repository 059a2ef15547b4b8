//! `receipts.show`: all that is known of the accounts with one neighbor.

use serde::{Deserialize, Serialize};

use super::{Account, RefusalReason, Role, Standing};
use crate::{AttoSmt, NodeId, OriginatorId, ReceiptHash};

/// The accounts with one neighbor, and what happened in them since the daemon started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAccounts {
    /// [`crate::SCHEMA`].
    pub schema: u32,
    /// The neighbor's public key.
    pub node_id: NodeId,
    /// Its originator id.
    pub originator_id: OriginatorId,
    /// Its name, `null` when not known. Untrusted text.
    pub name: Option<String>,
    /// Ordered by role, then by gateway.
    pub accounts: Vec<AccountDetails>,
    /// When somebody was slowed down last, at most once for each role.
    pub holds: Vec<Hold>,
    /// That the neighbor signed two different receipts of one number.
    pub proofs: Vec<Proof>,
}

/// One account, and how it came to stand where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountDetails {
    /// Where it stands.
    pub account: Account,
    /// Seconds since the epoch began; `null` when it is of an earlier run, and before the first
    /// offer.
    pub offer_age_s: Option<u64>,
    /// The last receipts, at most 16, the newest first. Of an earlier run, only the newest.
    pub receipts: Vec<ReceiptEntry>,
    /// What was refused last; `null` when nothing was.
    pub refusal: Option<Refusal>,
}

/// A receipt. Its figures are sums over its epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptEntry {
    /// Its epoch.
    pub epoch: u64,
    /// Its number in the epoch.
    pub seq: u64,
    /// Bytes towards the Internet.
    pub bytes_up: u64,
    /// Bytes from the Internet.
    pub bytes_down: u64,
    /// Seconds in which there was traffic.
    pub service_s: u64,
    /// What it promises, in atto-SMT, as a string of digits.
    pub amount_atto: AttoSmt,
    /// Its name.
    pub hash: ReceiptHash,
}

/// A receipt that was asked for and not signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Seconds since then.
    pub age_s: u64,
    /// Why.
    pub reason: RefusalReason,
    /// The epoch it was asked for in.
    pub epoch: u64,
    /// The number it would have had.
    pub seq: u64,
    /// What the provider had counted in the epoch towards the Internet, in bytes.
    pub asked_bytes_up: u64,
    /// The same, from the Internet.
    pub asked_bytes_down: u64,
    /// Seconds of service that the provider had counted.
    pub asked_service_s: u64,
    /// What the consumer would have signed towards the Internet, in bytes.
    pub confirmed_bytes_up: u64,
    /// The same, from the Internet.
    pub confirmed_bytes_down: u64,
    /// Seconds of service that the consumer would have signed.
    pub confirmed_service_s: u64,
}

/// A time in which a consumer was slowed down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// As provider, the neighbor was slowed down; as consumer, this node slowed itself down.
    pub role: Role,
    /// Seconds since it began.
    pub began_s: u64,
    /// Seconds since it ended; `null` while it lasts.
    pub ended_s: Option<u64>,
    /// What the consumer was to the provider when it began.
    pub standing: Standing,
    /// Bytes that were neither receipted nor forgiven then.
    pub exposure_bytes: u64,
    /// How many might have been.
    pub window_bytes: u64,
}

/// Two receipts of one number, both signed: proof that the consumer cheated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The one that was known first.
    pub first: ReceiptEntry,
    /// The other one.
    pub second: ReceiptEntry,
}
