//! What of a log is worth keeping: for compaction, and for whoever settles or audits.
//!
//! Cumulative receipts make all but the newest of an epoch superfluous. What stays are the newest
//! receipt of each provider, consumer and epoch with the offer it was given under, the offers of each
//! account since its newest receipt, and every proof of a contradiction.
//!
//! # Strangers
//! Offers made to somebody of whom there is no receipt at all are not kept: whoever takes new names
//! could fill the log with them. What they said is that their epochs exist, so after a restart these
//! numbers may be offered again. A consumer that has signed in one does not sign there again, as it has
//! the offer in its own log; it shows what it signed, and the provider goes on behind that. A ledger in
//! which such an epoch is open writes its offer a second time, in front of the first receipt.
//!
//! An **accepted** offer is kept even if the receipt under it is missing: it is written with a receipt and
//! no sooner, so this node has signed in its epoch, and forgetting that could let it sign a place twice.
//!
//! A log may be larger than the memory it may take, so only where records stand is remembered: `At`
//! is a place in files, or an index.

use std::collections::{BTreeMap, BTreeSet};

use crate::identity::{ContentHash, Party};
use crate::offer::Offer;
use crate::receipt::Receipt;
use crate::state::MAX_OFFERS;

use super::{Epoch, Record, epoch_of};

/// Where the records worth keeping stand. Some 250 bytes for each epoch, whatever the length of the
/// log.
#[derive(Debug)]
pub struct Heads<At> {
    epochs: BTreeMap<Epoch, EpochHead<At>>,
    /// By what they prove.
    proofs: BTreeMap<ContentHash, At>,
}

#[derive(Debug)]
struct EpochHead<At> {
    /// There are several only if a provider contradicts itself.
    offers: Vec<OfferHead<At>>,
    receipt: Option<ReceiptHead<At>>,
}

#[derive(Debug, Clone, Copy)]
struct OfferHead<At> {
    hash: ContentHash,
    gateway: Party,
    /// The owner of the log made it.
    is_made: bool,
    at: At,
}

#[derive(Debug, Clone, Copy)]
struct ReceiptHead<At> {
    seq: u32,
    offer: ContentHash,
    at: At,
}

/// Records to be taken from a log, in the order in which they are to be written: by provider, consumer
/// and epoch, each offer before the receipt under it; proofs last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection<At> {
    /// Where they stand.
    pub at: Vec<At>,
    /// Their length in a file, without a header.
    pub stored_bytes: usize,
}

impl<At> Default for Heads<At> {
    fn default() -> Self {
        Self {
            epochs: BTreeMap::new(),
            proofs: BTreeMap::new(),
        }
    }
}

impl<At: Copy> Heads<At> {
    /// Notes that a record stands at `at`.
    pub fn note(&mut self, record: &Record, at: At) {
        match record {
            Record::OfferMade(offer) => self.note_offer(offer, true, at),
            Record::OfferAccepted(offer) => self.note_offer(offer, false, at),
            Record::ReceiptReceived(receipt) | Record::ReceiptGiven(receipt) => {
                self.note_receipt(receipt, at);
            }
            Record::Equivocation(proof) => {
                let name = ContentHash::of(&proof.to_bytes());
                self.proofs.entry(name).or_insert(at);
            }
        }
    }

    fn note_offer(&mut self, offer: &Offer, is_made: bool, at: At) {
        let offers = &mut self
            .epochs
            .entry(epoch_of(offer.heading()))
            .or_default()
            .offers;
        let hash = offer.hash();
        if offers.iter().all(|known| known.hash != hash) {
            offers.push(OfferHead {
                hash,
                gateway: offer.gateway(),
                is_made,
                at,
            });
        }
    }

    /// Of two receipts of one place the first counts, as it does for [`crate::State`].
    fn note_receipt(&mut self, receipt: &Receipt, at: At) {
        let epoch = self.epochs.entry(epoch_of(receipt.heading())).or_default();
        let seq = receipt.position().seq;
        if epoch.receipt.as_ref().is_none_or(|known| known.seq < seq) {
            let offer = receipt.offer_hash();
            epoch.receipt = Some(ReceiptHead { seq, offer, at });
        }
    }

    /// Selects what a log needs to go on, and all that it proves.
    pub fn to_keep(&self) -> Selection<At> {
        self.select(|_| true)
    }

    /// Selects what anybody can check: all but receipts whose offer was lost, as nobody knows what
    /// their amount follows from.
    pub fn to_prove(&self) -> Selection<At> {
        self.select(|epoch| epoch.signed_offer().is_some())
    }

    fn select(&self, takes_receipt: impl Fn(&EpochHead<At>) -> bool) -> Selection<At> {
        let unsigned = self.unsigned_offers();
        let mut selection = Selection {
            at: Vec::new(),
            stored_bytes: 0,
        };
        for epoch in self.epochs.values() {
            for offer in &epoch.offers {
                if epoch.is_signed(offer) || unsigned.contains(&offer.hash) {
                    selection.add(offer.at, Record::OFFER_LEN);
                }
            }
            if let Some(receipt) = epoch.receipt.as_ref().filter(|_| takes_receipt(epoch)) {
                selection.add(receipt.at, Record::RECEIPT_LEN);
            }
        }
        for at in self.proofs.values() {
            selection.add(*at, Record::PROOF_LEN);
        }
        selection
    }

    /// The offers since each account's newest receipt, as many as [`crate::State`] knows, but for those
    /// made to strangers: that their epochs exist must not be forgotten, and receipts under them may
    /// still come to light.
    fn unsigned_offers(&self) -> BTreeSet<ContentHash> {
        let signed = self.epochs.iter().filter(|(_, it)| it.receipt.is_some());
        let known: BTreeSet<_> = signed.map(|((one, other, _), _)| (one, other)).collect();
        let mut found = BTreeSet::new();
        let mut count: BTreeMap<_, usize> = BTreeMap::new();
        for ((provider, consumer, _), epoch) in self.epochs.iter().rev() {
            let is_stranger = !known.contains(&(provider, consumer));
            let offers = epoch.offers.iter().rev();
            for offer in offers.filter(|offer| !(is_stranger && offer.is_made)) {
                let account = (provider, consumer, offer.gateway);
                let count = count.entry(account).or_default();
                if epoch.is_signed(offer) {
                    *count = MAX_OFFERS;
                } else if *count < MAX_OFFERS {
                    *count += 1;
                    found.insert(offer.hash);
                }
            }
        }
        found
    }
}

impl<At> Default for EpochHead<At> {
    fn default() -> Self {
        Self {
            offers: Vec::new(),
            receipt: None,
        }
    }
}

impl<At> EpochHead<At> {
    fn is_signed(&self, offer: &OfferHead<At>) -> bool {
        self.receipt
            .as_ref()
            .is_some_and(|receipt| receipt.offer == offer.hash)
    }

    fn signed_offer(&self) -> Option<&OfferHead<At>> {
        self.offers.iter().find(|offer| self.is_signed(offer))
    }
}

impl<At> Selection<At> {
    fn add(&mut self, at: At, bytes: usize) {
        self.at.push(at);
        self.stored_bytes += bytes;
    }
}
