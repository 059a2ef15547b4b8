//! Where each account stands: what the log says, in memory.

use std::collections::{BTreeMap, BTreeSet};

use crate::heading::Position;
use crate::identity::Party;
use crate::log::{Header, Record};
use crate::money::{Amount, Overflow, Totals};
use crate::offer::Offer;
use crate::receipt::Receipt;

/// Where one account of a pair stands: its newest offer and its newest receipt.
///
/// The receipt may be of an earlier epoch than the offer, and either may be missing: a damaged log
/// can lose an offer and keep the receipts given under it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PairState {
    offer: Option<Offer>,
    receipt: Option<Receipt>,
    /// Sum over the epochs before the receipt's.
    before_receipt: Amount,
    /// The same, with the receipt's epoch.
    through_receipt: Amount,
}

impl PairState {
    /// The newest offer.
    pub const fn offer(&self) -> Option<&Offer> {
        self.offer.as_ref()
    }

    /// The newest receipt, of whatever epoch.
    pub const fn receipt(&self) -> Option<&Receipt> {
        self.receipt.as_ref()
    }

    /// The newest receipt, if it is of the newest offer's epoch.
    pub fn current_receipt(&self) -> Option<&Receipt> {
        let epoch = self.offer.as_ref()?.epoch();
        self.receipt
            .as_ref()
            .filter(|receipt| receipt.position().epoch == epoch)
    }

    /// The newest offer, unless a receipt of a later epoch shows that it is out of date.
    pub fn current_offer(&self) -> Option<&Offer> {
        let newest = self.newest_epoch();
        self.offer.as_ref().filter(|offer| offer.epoch() == newest)
    }

    /// The highest epoch seen; 0 if none.
    pub fn newest_epoch(&self) -> u64 {
        self.position().map_or(0, |position| position.epoch)
    }

    /// The highest place taken in this account.
    pub fn position(&self) -> Option<Position> {
        let offer = self.offer.as_ref().map(|offer| offer.heading().position);
        offer.max(self.receipt.as_ref().map(Receipt::position))
    }

    /// Service signed for in the newest offer's epoch.
    pub fn signed(&self) -> Totals {
        self.current_receipt()
            .map_or(Totals::ZERO, |receipt| *receipt.totals())
    }

    /// Amount signed for in the newest offer's epoch.
    pub fn amount(&self) -> Amount {
        self.current_receipt().map_or(Amount::ZERO, Receipt::amount)
    }

    /// Amount signed for in all epochs before that.
    pub fn earlier_amount(&self) -> Amount {
        match self.current_receipt() {
            Some(_) => self.before_receipt,
            None => self.through_receipt,
        }
    }

    /// Takes over an offer, unless a newer one is known.
    pub(crate) fn set_offer(&mut self, offer: &Offer) {
        if self
            .offer
            .as_ref()
            .is_none_or(|known| known.epoch() <= offer.epoch())
        {
            self.offer = Some(offer.clone());
        }
    }

    /// Takes over a receipt, unless a newer one is known: heads never move back.
    pub(crate) fn set_receipt(&mut self, receipt: &Receipt) -> Result<(), Overflow> {
        let known = self.receipt.as_ref().map(Receipt::position);
        if known.is_some_and(|known| known >= receipt.position()) {
            return Ok(());
        }
        let is_next_epoch = known.is_some_and(|known| known.epoch < receipt.position().epoch);
        let before = if is_next_epoch {
            self.through_receipt
        } else {
            self.before_receipt
        };
        self.through_receipt = before.checked_add(receipt.amount())?;
        self.before_receipt = before;
        self.receipt = Some(receipt.clone());
        Ok(())
    }
}

/// Where all accounts of one node stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    header: Header,
    pub(crate) providing: BTreeMap<Party, PairState>,
    pub(crate) consuming: BTreeMap<Party, PairState>,
    pub(crate) equivocators: BTreeSet<Party>,
}

impl State {
    /// No account yet, for this network and owner.
    pub const fn new(header: Header) -> Self {
        Self {
            header,
            providing: BTreeMap::new(),
            consuming: BTreeMap::new(),
            equivocators: BTreeSet::new(),
        }
    }

    /// Whose state it is.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Accounts in which the owner provides, by consumer.
    pub const fn providing(&self) -> &BTreeMap<Party, PairState> {
        &self.providing
    }

    /// Accounts in which the owner consumes, by provider.
    pub const fn consuming(&self) -> &BTreeMap<Party, PairState> {
        &self.consuming
    }

    /// Consumers who signed two receipts for one place.
    pub const fn equivocators(&self) -> &BTreeSet<Party> {
        &self.equivocators
    }

    /// Brings the state up to date with one record. The order of records does not matter: the
    /// highest position wins.
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
                self.providing
                    .entry(peer)
                    .or_default()
                    .set_receipt(receipt)?;
            }
            Record::ReceiptGiven(receipt) => {
                self.consuming
                    .entry(peer)
                    .or_default()
                    .set_receipt(receipt)?;
            }
            Record::Equivocation(proof) => {
                self.equivocators
                    .insert(proof.receipts().0.heading().consumer);
            }
        }
        Ok(())
    }
}
