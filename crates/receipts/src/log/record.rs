//! What a node remembers of its accounts.

use ed25519_dalek::VerifyingKey;

use crate::codec::ParseError;
use crate::heading::Heading;
use crate::identity::{BadSignature, Party};
use crate::offer::Offer;
use crate::receipt::{Equivocation, Receipt};

use super::Header;

/// Something to remember.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// I am the provider of this offer.
    OfferMade(Offer),
    /// I am the consumer of this offer and have given, or am about to give, a receipt under it.
    OfferAccepted(Offer),
    /// I am the provider: somebody owes me this.
    ReceiptReceived(Receipt),
    /// I am the consumer: I owe this.
    ReceiptGiven(Receipt),
    /// A consumer contradicted itself.
    Equivocation(Box<Equivocation>),
}

impl Record {
    /// What the record is about; of an equivocation, what both receipts are about.
    pub const fn heading(&self) -> &Heading {
        match self {
            Self::OfferMade(offer) | Self::OfferAccepted(offer) => offer.heading(),
            Self::ReceiptReceived(receipt) | Self::ReceiptGiven(receipt) => receipt.heading(),
            Self::Equivocation(proof) => proof.receipts().0.heading(),
        }
    }

    /// The other side of the account, as seen by the owner of the log; for an equivocation the
    /// one who signed it.
    pub const fn peer(&self) -> Party {
        match self {
            Self::OfferMade(_) | Self::ReceiptReceived(_) | Self::Equivocation(_) => {
                self.heading().consumer
            }
            Self::OfferAccepted(_) | Self::ReceiptGiven(_) => self.heading().provider,
        }
    }

    /// Whether it must be on disk before anything else is sent to [`Self::peer`].
    ///
    /// That an epoch exists must not be forgotten: a node signs only in epochs that were opened in
    /// its present run, so it then signs no place twice, whatever receipts a power cut takes. Those
    /// may wait; the neighbor has the newest, too. Proofs are rare, and nobody else has them.
    pub const fn is_urgent(&self) -> bool {
        match self {
            Self::OfferMade(_) | Self::OfferAccepted(_) | Self::Equivocation(_) => true,
            Self::ReceiptReceived(_) | Self::ReceiptGiven(_) => false,
        }
    }

    /// Whether this record can stand in the log with this header.
    pub fn belongs_to(&self, log: &Header) -> bool {
        let heading = self.heading();
        let is_provider = heading.provider == log.owner;
        let is_consumer = heading.consumer == log.owner;
        let is_owned = match self {
            Self::OfferMade(_) | Self::ReceiptReceived(_) => is_provider,
            Self::OfferAccepted(_) | Self::ReceiptGiven(_) => is_consumer,
            Self::Equivocation(_) => is_provider || is_consumer,
        };
        heading.network == log.network && is_owned
    }

    /// Checks every signature in the record.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self) -> Result<(), BadSignature> {
        self.verify_by(&self.signer().key()?)
    }

    /// Who has signed all that is signed in it.
    pub(super) const fn signer(&self) -> Party {
        match self {
            Self::OfferMade(_) | Self::OfferAccepted(_) => self.heading().provider,
            Self::ReceiptReceived(_) | Self::ReceiptGiven(_) | Self::Equivocation(_) => {
                self.heading().consumer
            }
        }
    }

    /// Checks every signature with the point of the signer's key.
    pub(super) fn verify_by(&self, key: &VerifyingKey) -> Result<(), BadSignature> {
        match self {
            Self::OfferMade(offer) | Self::OfferAccepted(offer) => offer.verify_by(key),
            Self::ReceiptReceived(receipt) | Self::ReceiptGiven(receipt) => receipt.verify_by(key),
            Self::Equivocation(proof) => proof.verify_by(key),
        }
    }

    pub(super) const fn kind(&self) -> u8 {
        match self {
            Self::OfferMade(_) => 1,
            Self::OfferAccepted(_) => 2,
            Self::ReceiptReceived(_) => 3,
            Self::ReceiptGiven(_) => 4,
            Self::Equivocation(_) => 5,
        }
    }

    /// Every kind has one length, so that a damaged length cannot lead a reader astray.
    pub(super) const fn payload_len(kind: u8) -> Option<usize> {
        match kind {
            1 | 2 => Some(Offer::LEN),
            3 | 4 => Some(Receipt::LEN),
            5 => Some(Equivocation::LEN),
            _ => None,
        }
    }

    pub(super) fn payload(&self) -> Vec<u8> {
        match self {
            Self::OfferMade(offer) | Self::OfferAccepted(offer) => offer.to_bytes(),
            Self::ReceiptReceived(receipt) | Self::ReceiptGiven(receipt) => receipt.to_bytes(),
            Self::Equivocation(proof) => proof.to_bytes(),
        }
    }

    pub(super) fn parse(kind: u8, payload: &[u8]) -> Result<Self, ParseError> {
        match kind {
            1 => Offer::parse(payload).map(Self::OfferMade),
            2 => Offer::parse(payload).map(Self::OfferAccepted),
            3 => Receipt::parse(payload).map(Self::ReceiptReceived),
            4 => Receipt::parse(payload).map(Self::ReceiptGiven),
            5 => Equivocation::parse(payload).map(|proof| Self::Equivocation(Box::new(proof))),
            other => Err(ParseError::Kind(other)),
        }
    }
}
