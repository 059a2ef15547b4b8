//! Where accounts stand, for people.

use super::Role;
use super::credit::Standing;
use crate::heading::Position;
use crate::identity::{ContentHash, Party};
use crate::message::RefusalReason;
use crate::money::{Amount, Price, Totals};
use crate::offer::Offer;
use crate::receipt::Receipt;
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
    /// Bytes counted and not signed for.
    pub unsigned_bytes: u128,
    /// Bytes the consumer did not confirm since this process started. Zero as consumer.
    pub disputed_bytes: u128,
    /// The last receipt.
    pub last_hash: Option<ContentHash>,
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
}

/// What is said of both sides of a pair in all its accounts.
#[derive(Debug, Clone, Copy)]
pub(super) struct PairView {
    pub(super) peer: Party,
    pub(super) role: Role,
    pub(super) standing: Standing,
    pub(super) held: bool,
    pub(super) exposure_bytes: u128,
}

/// What only the account's side knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts {
    pub(super) unsigned_bytes: u128,
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
            unsigned_bytes: counts.unsigned_bytes,
            disputed_bytes: counts.disputed_bytes,
            last_hash: state.receipt().map(Receipt::hash),
            last_refusal: counts.last_refusal,
            standing: self.standing,
            held: self.held,
            exposure_bytes: self.exposure_bytes,
        }
    }
}
