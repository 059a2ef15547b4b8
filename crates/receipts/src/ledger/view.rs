//! Where accounts stand, for people.

use std::time::Instant;

use super::Role;
use super::credit::Standing;
use crate::heading::Position;
use crate::identity::{ContentHash, Party};
use crate::message::{Refusal, RefusalReason};
use crate::money::{Amount, Price, Totals};
use crate::offer::Offer;
use crate::receipt::{Equivocation, Receipt};
use crate::state::AccountState;

/// Where an account stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountView {
    /// The other side.
    pub peer: Party,
    /// This node's side.
    pub role: Role,
    /// The gateway to which the bytes are carried.
    pub gateway: Party,
    /// Place of the last receipt, of the offer if there is none; `None` before the first offer.
    pub position: Option<Position>,
    /// Price of the epoch, if its offer is known.
    pub price: Option<Price>,
    /// Credit of the epoch, if its offer is known.
    pub credit_bytes: Option<u64>,
    /// Service signed for in this epoch.
    pub signed: Totals,
    /// Its price.
    pub amount: Amount,
    /// Signed for in earlier epochs.
    pub earlier_amount: Amount,
    /// Bytes signed for in earlier epochs.
    pub earlier_bytes: u128,
    /// Bytes counted and not signed for.
    pub unsigned_bytes: u128,
    /// Their price; `None` while it is not known, or out of range.
    pub unpaid: Option<Amount>,
    /// Bytes the consumer did not confirm since this process started. Zero as consumer.
    pub disputed_bytes: u128,
    /// The last receipt.
    pub last_hash: Option<ContentHash>,
    /// When the last receipt was signed, if this process saw it.
    pub signed_at: Option<Instant>,
    /// Why the last request was refused, if no receipt has come since.
    pub last_refusal: Option<RefusalReason>,
    /// What is known of the peer.
    pub standing: Standing,
    /// As provider: the peer is slowed down. As consumer: this node slows itself down because of
    /// what it has not signed for the peer.
    pub held: bool,
    /// Bytes at a price that the peer (as consumer: this node) has had and not signed for, over
    /// all accounts with it in this role; what is forgiven is left out.
    pub exposure_bytes: u128,
    /// Bytes from which on `held` becomes true; `None` as long as nothing was counted, and as
    /// consumer of what costs nothing.
    pub window_bytes: Option<u64>,
}

/// All that is known of what this node is to a neighbor, in one role.
#[derive(Debug, Clone)]
pub struct PairDetails {
    /// This node's side.
    pub role: Role,
    /// One for each gateway.
    pub accounts: Vec<AccountDetails>,
    /// When the consumer was slowed down last, in this run.
    pub hold: Option<Hold>,
    /// That the consumer contradicted itself.
    pub proof: Option<Equivocation>,
}

/// All that is known of an account.
#[derive(Debug, Clone)]
pub struct AccountDetails {
    /// Where it stands.
    pub account: AccountView,
    /// When the present epoch was opened, if in this run.
    pub offered_at: Option<Instant>,
    /// The last receipts, at most 16, the newest at the end. Of an earlier run, only the newest.
    pub receipts: Vec<ReceiptView>,
    /// What was refused last, in this run.
    pub refused: Option<Refused>,
}

/// A receipt without the objects and signatures around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiptView {
    /// Its place.
    pub position: Position,
    /// Service in its epoch.
    pub totals: Totals,
    /// The price of that.
    pub amount: Amount,
    /// Its name.
    pub hash: ContentHash,
}

impl From<&Receipt> for ReceiptView {
    fn from(receipt: &Receipt) -> Self {
        Self {
            position: receipt.position(),
            totals: *receipt.totals(),
            amount: receipt.amount(),
            hash: receipt.hash(),
        }
    }
}

/// A request that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// When.
    pub at: Instant,
    /// What the provider had counted.
    pub asked: Totals,
    /// What the consumer had counted, and why it did not sign.
    pub refusal: Refusal,
}

/// A time in which a consumer was slowed down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// Since when.
    pub since: Instant,
    /// Until when; `None` while it lasts.
    pub until: Option<Instant>,
    /// Bytes that were neither signed nor forgiven when it began.
    pub exposure_bytes: u128,
    /// Bytes that might have been.
    pub window_bytes: u64,
    /// What was known of the neighbor.
    pub standing: Standing,
}

/// What is said of both sides of a pair in all its accounts.
#[derive(Debug, Clone, Copy)]
pub(super) struct PairView {
    pub(super) peer: Party,
    pub(super) role: Role,
    pub(super) standing: Standing,
    pub(super) held: bool,
    pub(super) exposure_bytes: u128,
    pub(super) window_bytes: Option<u64>,
}

/// What only the account's side knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts {
    pub(super) unsigned_bytes: u128,
    pub(super) unpaid: Option<Amount>,
    pub(super) signed_at: Option<Instant>,
    pub(super) disputed_bytes: u128,
    pub(super) last_refusal: Option<RefusalReason>,
}

impl PairView {
    pub(super) fn account(
        self,
        gateway: Party,
        state: &AccountState,
        counts: Counts,
    ) -> AccountView {
        let offer = state.offer();
        AccountView {
            peer: self.peer,
            role: self.role,
            gateway,
            position: state.position(),
            price: offer.map(Offer::price),
            credit_bytes: offer.map(Offer::credit_bytes),
            signed: state
                .current_receipt()
                .map_or(Totals::ZERO, |receipt| *receipt.totals()),
            amount: state.amount(),
            earlier_amount: state.earlier_amount(),
            earlier_bytes: state.earlier_bytes(),
            unsigned_bytes: counts.unsigned_bytes,
            unpaid: counts.unpaid,
            disputed_bytes: counts.disputed_bytes,
            last_hash: state.receipt().map(Receipt::hash),
            signed_at: counts.signed_at,
            last_refusal: counts.last_refusal,
            standing: self.standing,
            held: self.held,
            exposure_bytes: self.exposure_bytes,
            window_bytes: self.window_bytes,
        }
    }
}
