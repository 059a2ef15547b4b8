//! What of a log is worth keeping: for compaction, and for whoever settles or audits.
//!
//! Cumulative receipts make all but the newest of an epoch superfluous. What stays are the newest
//! receipt of each provider, consumer and epoch, the offers these were given under, the newest
//! offer of each pair, and every proof of a contradiction.
//!
//! A log is larger than the memory it may take, so it is read several times: once to note what
//! there is, then once for each [`Part`] to take what was selected. Offers come first, so that each
//! receipt stands behind its own.

use std::collections::{BTreeMap, BTreeSet};

use crate::identity::{ContentHash, Party};
use crate::receipt::Equivocation;

use super::{Epoch, Record, epoch_of};

/// Notes all records of a log. About 150 bytes for each epoch, whatever the length of the log.
#[derive(Debug, Default)]
pub struct Heads {
    offers: BTreeSet<ContentHash>,
    newest_offers: BTreeMap<(Party, Party), (u64, ContentHash)>,
    receipts: BTreeMap<Epoch, Head>,
    proofs: BTreeSet<ContentHash>,
}

/// The newest receipt of an epoch.
#[derive(Debug, Clone, Copy)]
struct Head {
    seq: u32,
    offer: ContentHash,
}

/// What a log is read for in one pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Offers.
    Offers,
    /// Receipts.
    Receipts,
    /// Contradictions.
    Proofs,
}

impl Part {
    /// In the order in which they are written.
    pub const ALL: [Self; 3] = [Self::Offers, Self::Receipts, Self::Proofs];
}

impl Heads {
    /// Notes a record. Of two at one place the same counts as for [`crate::State`]: the later
    /// offer, the earlier receipt.
    pub fn note(&mut self, record: &Record) {
        match record {
            Record::OfferMade(offer) | Record::OfferAccepted(offer) => {
                let heading = offer.heading();
                let found = (offer.epoch(), offer.hash());
                self.offers.insert(found.1);
                let pair = (heading.provider, heading.consumer);
                let newest = self.newest_offers.entry(pair).or_insert(found);
                if newest.0 <= found.0 {
                    *newest = found;
                }
            }
            Record::ReceiptReceived(receipt) | Record::ReceiptGiven(receipt) => {
                let head = Head {
                    seq: receipt.position().seq,
                    offer: receipt.offer_hash(),
                };
                let known = self.receipts.entry(epoch_of(receipt.heading()));
                let known = known.or_insert(head);
                if known.seq < head.seq {
                    *known = head;
                }
            }
            Record::Equivocation(proof) => {
                self.proofs.insert(name(proof));
            }
        }
    }

    /// Selects what a log needs to go on, and all that it proves.
    pub fn to_keep(self) -> Selection {
        let mut selected = Selection {
            receipts: self.receipts,
            proofs: self.proofs,
            ..Selection::default()
        };
        let given_under = selected.receipts.values().map(|head| head.offer);
        let newest = self.newest_offers.into_values().map(|(_, offer)| offer);
        selected.offers = given_under
            .chain(newest)
            .filter(|offer| self.offers.contains(offer))
            .collect();
        selected
    }

    /// Selects what anybody can check: all but receipts whose offer was lost, as nobody knows what
    /// their amount follows from.
    pub fn to_prove(mut self) -> Selection {
        let offers = &self.offers;
        self.receipts.retain(|_, head| offers.contains(&head.offer));
        self.to_keep()
    }
}

/// Records still to be taken from a log.
#[derive(Debug, Default)]
pub struct Selection {
    offers: BTreeSet<ContentHash>,
    receipts: BTreeMap<Epoch, Head>,
    proofs: BTreeSet<ContentHash>,
}

impl Selection {
    /// Whether `record` is of this part and was selected; true once for each.
    pub fn take(&mut self, part: Part, record: &Record) -> bool {
        match (part, record) {
            (Part::Offers, Record::OfferMade(offer) | Record::OfferAccepted(offer)) => {
                self.offers.remove(&offer.hash())
            }
            (Part::Receipts, Record::ReceiptReceived(receipt) | Record::ReceiptGiven(receipt)) => {
                let epoch = epoch_of(receipt.heading());
                let seq = receipt.position().seq;
                let is_head = self
                    .receipts
                    .get(&epoch)
                    .is_some_and(|head| head.seq == seq);
                is_head && self.receipts.remove(&epoch).is_some()
            }
            (Part::Proofs, Record::Equivocation(proof)) => self.proofs.remove(&name(proof)),
            (Part::Offers | Part::Receipts | Part::Proofs, _) => false,
        }
    }

    /// Bytes in a file of what is still to be taken, without a header.
    pub fn stored_len(&self) -> usize {
        self.offers.len() * Record::OFFER_LEN
            + self.receipts.len() * Record::RECEIPT_LEN
            + self.proofs.len() * Record::PROOF_LEN
    }
}

/// Tells proofs apart.
fn name(proof: &Equivocation) -> ContentHash {
    ContentHash::of(&proof.to_bytes())
}
