//! Where each account stands: what the log says, in memory.

use std::collections::BTreeMap;

use crate::heading::Position;
use crate::identity::Party;
use crate::log::{Header, Record};
use crate::message::Head;
use crate::money::{Amount, Overflow, Totals};
use crate::offer::Offer;
use crate::receipt::{Equivocation, Receipt};

/// Offers kept of one account: those since the last receipt, which may still come to light.
pub(crate) const MAX_OFFERS: usize = 8;

/// Where one account stands: its offers from the newest receipt's epoch on, and that receipt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountState {
    /// By epoch. The one of the newest receipt is always there.
    offers: BTreeMap<u64, Offer>,
    receipt: Option<Receipt>,
    /// Sum over the epochs before the receipt's.
    before_receipt: Sum,
    /// The same, with the receipt's epoch.
    through_receipt: Sum,
}

/// What was signed for in several epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sum {
    amount: Amount,
    bytes: u128,
}

impl Sum {
    fn checked_add(self, last_of_epoch: &Receipt) -> Result<Self, Overflow> {
        let bytes = last_of_epoch.totals().bytes();
        Ok(Self {
            amount: self.amount.checked_add(last_of_epoch.amount())?,
            bytes: self.bytes.checked_add(bytes).ok_or(Overflow)?,
        })
    }
}

impl AccountState {
    /// The newest offer.
    pub fn offer(&self) -> Option<&Offer> {
        self.offers.last_key_value().map(|(_, offer)| offer)
    }

    /// The offer of `epoch`, unless receipts of later ones have overtaken it.
    pub fn offer_of(&self, epoch: u64) -> Option<&Offer> {
        self.offers.get(&epoch)
    }

    /// The newest receipt, of whatever epoch.
    pub const fn receipt(&self) -> Option<&Receipt> {
        self.receipt.as_ref()
    }

    /// The newest receipt, if it is of `epoch`.
    pub fn receipt_of(&self, epoch: u64) -> Option<&Receipt> {
        let receipt = self.receipt.as_ref();
        receipt.filter(|receipt| receipt.position().epoch == epoch)
    }

    /// The newest receipt with its offer.
    pub fn head(&self) -> Option<Head> {
        let receipt = self.receipt.as_ref()?;
        let offer = self.offers.get(&receipt.position().epoch)?;
        Head::new(offer.clone(), Some(receipt.clone())).ok()
    }

    /// The offer of `epoch`, with its last receipt if there is one.
    pub(crate) fn head_of(&self, epoch: u64) -> Option<Head> {
        let offer = self.offers.get(&epoch)?;
        Head::new(offer.clone(), self.receipt_of(epoch).cloned()).ok()
    }

    /// The highest place taken in this account.
    pub fn position(&self) -> Option<Position> {
        let offer = self.offer().map(|offer| offer.heading().position);
        offer.max(self.receipt.as_ref().map(Receipt::position))
    }

    /// Service signed for in `epoch`.
    pub fn signed_in(&self, epoch: u64) -> Totals {
        self.receipt_of(epoch)
            .map_or(Totals::ZERO, |receipt| *receipt.totals())
    }

    /// The newest receipt, if it is of the newest offer's epoch.
    pub fn current_receipt(&self) -> Option<&Receipt> {
        self.receipt_of(self.offer()?.epoch())
    }

    /// Amount signed for in the newest offer's epoch.
    pub fn amount(&self) -> Amount {
        self.current_receipt().map_or(Amount::ZERO, Receipt::amount)
    }

    /// Amount signed for in all epochs before that.
    pub fn earlier_amount(&self) -> Amount {
        self.earlier().amount
    }

    /// Bytes signed for in all epochs before that.
    pub fn earlier_bytes(&self) -> u128 {
        self.earlier().bytes
    }

    fn earlier(&self) -> Sum {
        match self.current_receipt() {
            Some(_) => self.before_receipt,
            None => self.through_receipt,
        }
    }

    /// Takes over an offer, unless a receipt has overtaken it or names another of its epoch.
    pub(crate) fn set_offer(&mut self, offer: &Offer) {
        let epoch = offer.epoch();
        let overtaken = self.receipt.as_ref().is_some_and(|receipt| {
            let signed = receipt.position().epoch;
            epoch < signed || (epoch == signed && receipt.offer_hash() != offer.hash())
        });
        if overtaken {
            return;
        }
        self.offers.insert(epoch, offer.clone());
        if self.offers.len() > MAX_OFFERS {
            let signed = self
                .receipt
                .as_ref()
                .map(|receipt| receipt.position().epoch);
            let mut others = self.offers.keys().filter(|other| **other != epoch);
            if let Some(&oldest) = others.find(|other| Some(**other) != signed) {
                self.offers.remove(&oldest);
            }
        }
    }

    /// Whether the offer that `receipt` was given under is known.
    fn has_offer_of(&self, receipt: &Receipt) -> bool {
        self.offers
            .get(&receipt.position().epoch)
            .is_some_and(|offer| offer.hash() == receipt.offer_hash())
    }

    /// Takes over a receipt under a known offer, unless a newer one is known: heads never move
    /// back.
    pub(crate) fn set_receipt(&mut self, receipt: &Receipt) -> Result<(), Overflow> {
        let known = self.receipt.as_ref().map(Receipt::position);
        let position = receipt.position();
        if known.is_some_and(|known| known >= position) || !self.has_offer_of(receipt) {
            return Ok(());
        }
        let is_next_epoch = known.is_some_and(|known| known.epoch < position.epoch);
        let before = if is_next_epoch {
            self.through_receipt
        } else {
            self.before_receipt
        };
        self.through_receipt = before.checked_add(receipt)?;
        self.before_receipt = before;
        self.receipt = Some(receipt.clone());
        self.offers.retain(|epoch, _| *epoch >= position.epoch);
        Ok(())
    }
}

/// Where two neighbors stand with each other, one of them as provider.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PairState {
    pub(crate) newest_epoch: u64,
    pub(crate) has_receipt: bool,
    pub(crate) accounts: BTreeMap<Party, AccountState>,
}

impl PairState {
    /// The highest epoch seen in any of the accounts; 0 if none. Epochs are numbered for the pair.
    pub const fn newest_epoch(&self) -> u64 {
        self.newest_epoch
    }

    /// Whether the consumer has ever signed anything.
    pub const fn has_receipt(&self) -> bool {
        self.has_receipt
    }

    /// The accounts, by gateway.
    pub const fn accounts(&self) -> &BTreeMap<Party, AccountState> {
        &self.accounts
    }

    /// Of two accounts, the one that had better be kept has the higher one.
    fn rank(&self, account: &AccountState) -> (bool, bool, u64) {
        let epoch = account.position().map_or(0, |place| place.epoch);
        (account.receipt.is_some(), self.has_receipt, epoch)
    }

    fn set_offer(&mut self, offer: &Offer) {
        self.newest_epoch = self.newest_epoch.max(offer.epoch());
        let account = self.accounts.entry(offer.gateway()).or_default();
        account.set_offer(offer);
    }

    /// A receipt does not name its gateway. One whose offer a damaged log has lost says no more
    /// than that its epoch was.
    fn set_receipt(&mut self, receipt: &Receipt) -> Result<(), Overflow> {
        let mut accounts = self.accounts.values_mut();
        if let Some(account) = accounts.find(|account| account.has_offer_of(receipt)) {
            account.set_receipt(receipt)?;
        }
        self.newest_epoch = self.newest_epoch.max(receipt.position().epoch);
        self.has_receipt = true;
        Ok(())
    }
}

/// Where all accounts of one node stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    header: Header,
    pub(crate) providing: BTreeMap<Party, PairState>,
    pub(crate) consuming: BTreeMap<Party, PairState>,
    pub(crate) equivocators: BTreeMap<Party, Equivocation>,
}

impl State {
    /// No account yet, for this network and owner.
    pub const fn new(header: Header) -> Self {
        Self {
            header,
            providing: BTreeMap::new(),
            consuming: BTreeMap::new(),
            equivocators: BTreeMap::new(),
        }
    }

    /// Whose state it is.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Pairs in which the owner provides, by consumer.
    pub const fn providing(&self) -> &BTreeMap<Party, PairState> {
        &self.providing
    }

    /// Pairs in which the owner consumes, by provider.
    pub const fn consuming(&self) -> &BTreeMap<Party, PairState> {
        &self.consuming
    }

    /// Consumers who signed two receipts for one place, each with the proof of the lowest place.
    pub const fn equivocators(&self) -> &BTreeMap<Party, Equivocation> {
        &self.equivocators
    }

    /// Forgets accounts until there are at most `of_pair` in each pair and `all` together. Those with a
    /// receipt stay first, then those of neighbors who have signed, then those with more epochs: a log
    /// does not say when an account was used, and a flood of invented names has few epochs each.
    ///
    /// Nothing is lost with an account: the log keeps what it earned, and the other side shows its head
    /// when the account is opened again. Wherever this node has signed, or has a receipt, the number of
    /// the newest epoch stays, so that no place is signed twice.
    pub(crate) fn limit_accounts(&mut self, of_pair: usize, all: usize) {
        let mut ranked = Vec::new();
        for (provides, pairs) in [(true, &self.providing), (false, &self.consuming)] {
            for (peer, pair) in pairs {
                let accounts = pair.accounts.iter();
                ranked.extend(
                    accounts.map(|(gateway, it)| (pair.rank(it), provides, *peer, *gateway)),
                );
            }
        }
        ranked.sort_unstable_by(|one, other| other.cmp(one));
        let mut kept = 0;
        let mut kept_of_pair: BTreeMap<_, usize> = BTreeMap::new();
        for (_, provides, peer, gateway) in ranked {
            let of_this = kept_of_pair.entry((provides, peer)).or_default();
            if kept < all && *of_this < of_pair {
                kept += 1;
                *of_this += 1;
                continue;
            }
            let pairs = match provides {
                true => &mut self.providing,
                false => &mut self.consuming,
            };
            if let Some(pair) = pairs.get_mut(&peer) {
                pair.accounts.remove(&gateway);
            }
        }
        self.providing
            .retain(|_, pair| pair.has_receipt || !pair.accounts.is_empty());
    }

    /// Brings the state up to date with one record. An offer comes before its receipts, and the
    /// last receipt of an account's epoch before those of the next; apart from that the order does
    /// not matter: the highest position wins.
    ///
    /// # Errors
    /// [`Overflow`] if an account's amount leaves the range; the record is then not taken over.
    pub fn apply(&mut self, record: &Record) -> Result<(), Overflow> {
        let peer = record.peer();
        match record {
            Record::OfferMade(offer) => self.providing.entry(peer).or_default().set_offer(offer),
            Record::OfferAccepted(offer) => {
                self.consuming.entry(peer).or_default().set_offer(offer);
            }
            Record::ReceiptReceived(receipt) => {
                let pair = self.providing.entry(peer).or_default();
                pair.set_receipt(receipt)?;
            }
            Record::ReceiptGiven(receipt) => {
                let pair = self.consuming.entry(peer).or_default();
                pair.set_receipt(receipt)?;
            }
            Record::Equivocation(proof) => {
                let place = |proof: &Equivocation| {
                    let (one, other) = proof.receipts();
                    (one.position(), one.hash(), other.hash())
                };
                let known = self.equivocators.get(&peer);
                if known.is_none_or(|known| place(proof) < place(known)) {
                    self.equivocators.insert(peer, proof.as_ref().clone());
                }
            }
        }
        Ok(())
    }
}
