//! Checking a log or an export completely, offline, trusting nobody.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry::{Occupied, Vacant};

use ed25519_dalek::VerifyingKey;

use super::frame::{End, Entry, Frame, Writer};
use super::{ChainHash, CutReason, Epoch, Header, HeaderError, Record, SegmentHeader, epoch_of};
use crate::identity::{BadSignature, ContentHash, Party};
use crate::money::{Amount, Overflow, Totals};
use crate::offer::Offer;
use crate::receipt::{Equivocation, Receipt, ReceiptError};

/// What a verified log proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Network and owner.
    pub header: Header,
    /// It is an export, and all of it is here. Of what has no end, records behind the last one may
    /// have been cut off: it is a part of an export, one of an earlier version, or a segment of a log.
    pub has_end: bool,
    /// Offers in the log.
    pub offers: usize,
    /// Receipts in the log.
    pub receipts: usize,
    /// Each of them, by the hash that its receipts name.
    pub terms: BTreeMap<ContentHash, Offer>,
    /// The newest receipt of every (provider, consumer, epoch).
    pub newest: BTreeMap<Epoch, Receipt>,
    /// Proofs that a consumer contradicted itself.
    pub equivocations: Vec<Equivocation>,
}

/// What one consumer owes one provider, over all epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairTotals {
    /// Who earned.
    pub provider: Party,
    /// Who pays.
    pub consumer: Party,
    /// Number of epochs.
    pub epochs: usize,
    /// Service, for people to look at: a consumer that signs figures out of all bounds must not make
    /// a file with other receipts unreadable, so these sums stop at their limits.
    pub totals: Totals,
    /// The sum of the amounts.
    pub amount: Amount,
}

/// The first thing in a log that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The log does not begin like one.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A record is not as it must be.
    #[error("record {index} at byte {offset}: {fault}")]
    Record {
        /// Number of the record, from 0.
        index: usize,
        /// Where it begins.
        offset: usize,
        /// What is wrong.
        fault: Fault,
    },
}

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The record itself is damaged or taken from elsewhere.
    #[error(transparent)]
    Frame(#[from] CutReason),
    /// A signature in it is not valid.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// The offer of a receipt does not stand before it.
    #[error("its offer is not in the log")]
    NoOffer,
    /// A receipt does not fit its offer or the receipt before it.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// The end of an export counts other records than stand before it.
    #[error("the end is one of {0} records")]
    Count(u64),
    /// Something follows the end of an export.
    #[error("it stands behind the end")]
    BehindEnd,
}

/// Checks frames, hash chain, every signature, every amount against its offer, and that each
/// account only rises. Whether anything was cut off behind the last record is in [`Report::has_end`].
///
/// # Errors
/// [`VerifyError`] for the first fault; a log with a cut end does not verify ([`super::recover`]
/// first).
pub fn verify(log: &[u8]) -> Result<Report, VerifyError> {
    check(log, Some(Signatures::default()))
}

/// The same, but for the signatures, which take nearly all of the time: nothing of it counts before those of an offer,
/// a receipt or a proof have been checked ([`Signatures`]).
///
/// # Errors
/// [`VerifyError`] for the first fault.
pub fn verify_without_signatures(log: &[u8]) -> Result<Report, VerifyError> {
    check(log, None)
}

fn check(log: &[u8], signatures: Option<Signatures>) -> Result<Report, VerifyError> {
    let header = SegmentHeader::parse(log)?;
    let mut verifier = Verifier::new(header.log, signatures);
    let (start, mut rest) = log.split_at(SegmentHeader::LEN);
    let mut last = ChainHash::of(start);
    let mut index = 0;
    while !rest.is_empty() {
        let offset = log.len() - rest.len();
        let checked = verifier.check_next(rest, index, last);
        let len = checked.map_err(|fault| VerifyError::Record {
            index,
            offset,
            fault,
        });
        (rest, last) = match len? {
            Some(frame) => (rest.split_at(frame.len).1, frame.hash),
            None => (rest.split_at(Writer::END_LEN).1, last),
        };
        index += 1;
    }
    Ok(verifier.report)
}

/// Checks signatures, and keeps the keys of everybody who has signed something so far.
#[derive(Debug, Default)]
pub struct Signatures(BTreeMap<Party, VerifyingKey>);

impl Signatures {
    /// Checks all of a record.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn check(&mut self, record: &Record) -> Result<(), BadSignature> {
        let signer = record.signer();
        let key = match self.0.entry(signer) {
            Vacant(unknown) => unknown.insert(signer.key()?),
            Occupied(known) => known.into_mut(),
        };
        record.verify_by(key)
    }
}

struct Verifier {
    report: Report,
    signatures: Option<Signatures>,
}

impl Verifier {
    const fn new(header: Header, signatures: Option<Signatures>) -> Self {
        let report = Report {
            header,
            has_end: false,
            offers: 0,
            receipts: 0,
            terms: BTreeMap::new(),
            newest: BTreeMap::new(),
            equivocations: Vec::new(),
        };
        Self { report, signatures }
    }

    /// Checks what stands at the start of `rest`, behind so many records; gives a record back.
    fn check_next(
        &mut self,
        rest: &[u8],
        records: usize,
        last: ChainHash,
    ) -> Result<Option<Frame>, Fault> {
        if self.report.has_end {
            return Err(Fault::BehindEnd);
        }
        match Entry::read(rest)? {
            Entry::Record(frame) => self.check(frame, last).map(Some),
            Entry::End(End { previous, .. }) if previous != last => Err(CutReason::Chain.into()),
            Entry::End(end) if end.records != records as u64 => Err(Fault::Count(end.records)),
            Entry::End(_) => {
                self.report.has_end = true;
                Ok(None)
            }
        }
    }

    fn check(&mut self, frame: Frame, last: ChainHash) -> Result<Frame, Fault> {
        if frame.previous != last {
            return Err(CutReason::Chain.into());
        }
        if !frame.record.belongs_to(&self.report.header) {
            return Err(CutReason::Foreign.into());
        }
        if let Some(signatures) = &mut self.signatures {
            signatures.check(&frame.record)?;
        }
        match &frame.record {
            // A provider that lost its log can offer an epoch twice; a consumer signs under one
            // of them only, which `check_follows` makes sure of.
            Record::OfferMade(offer) | Record::OfferAccepted(offer) => {
                self.report.terms.insert(offer.hash(), offer.clone());
                self.report.offers += 1;
            }
            Record::ReceiptReceived(receipt) | Record::ReceiptGiven(receipt) => {
                self.check_receipt(receipt)?;
            }
            Record::Equivocation(proof) => {
                self.report.equivocations.push(proof.as_ref().clone());
            }
        }
        Ok(frame)
    }

    fn check_receipt(&mut self, receipt: &Receipt) -> Result<(), Fault> {
        let offer = self.report.terms.get(&receipt.offer_hash());
        let offer = offer.ok_or(Fault::NoOffer)?;
        receipt.check_offer(offer)?;
        match self.report.newest.get(&epoch_of(receipt.heading())) {
            Some(previous) => receipt.check_follows(previous)?,
            None => receipt.check_first()?,
        }
        self.report
            .newest
            .insert(epoch_of(receipt.heading()), receipt.clone());
        self.report.receipts += 1;
        Ok(())
    }
}

impl Report {
    /// Takes over another verified log of the same network: of each account the newer receipt
    /// counts once, and two that contradict each other become a proof.
    ///
    /// # Errors
    /// [`HeaderError::Foreign`] if the other log is of another network.
    pub fn merge(&mut self, other: Self) -> Result<(), HeaderError> {
        if other.header.network != self.header.network {
            return Err(HeaderError::Foreign(other.header));
        }
        self.has_end &= other.has_end;
        self.offers += other.offers;
        self.receipts += other.receipts;
        self.terms.extend(other.terms);
        self.equivocations.extend(other.equivocations);
        for (account, receipt) in other.newest {
            let known = self
                .newest
                .entry(account)
                .or_insert_with(|| receipt.clone());
            self.equivocations
                .extend(Equivocation::between(known, &receipt));
            if known.position() < receipt.position() {
                *known = receipt;
            }
        }
        Ok(())
    }

    /// Whether nothing is lost of `other` if only this one is kept: each of its receipts or a newer
    /// one, and each of its proofs.
    pub fn covers(&self, other: &Self) -> bool {
        let has_receipt = |(account, theirs): (&_, &Receipt)| {
            let ours = self.newest.get(account);
            ours.is_some_and(|ours| {
                let (place, their_place) = (ours.position(), theirs.position());
                place > their_place || place == their_place && ours.hash() == theirs.hash()
            })
        };
        let has_proof = |proof| self.equivocations.contains(proof);
        self.header == other.header
            && other.newest.iter().all(has_receipt)
            && other.equivocations.iter().all(has_proof)
    }

    /// Sums per provider and consumer, in the order of their keys.
    ///
    /// # Errors
    /// [`Overflow`] if a sum leaves the range.
    pub fn pairs(&self) -> Result<Vec<PairTotals>, Overflow> {
        let mut pairs: BTreeMap<(Party, Party), PairTotals> = BTreeMap::new();
        for (&(provider, consumer, _), receipt) in &self.newest {
            let pair = pairs.entry((provider, consumer)).or_insert(PairTotals {
                provider,
                consumer,
                epochs: 0,
                totals: Totals::ZERO,
                amount: Amount::ZERO,
            });
            pair.epochs += 1;
            pair.totals = pair.totals.saturating_add(receipt.totals());
            pair.amount = pair.amount.checked_add(receipt.amount())?;
        }
        Ok(pairs.into_values().collect())
    }
}
