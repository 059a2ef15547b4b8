//! The consumer's word on what was carried.
//!
//! ```text
//! offset size
//!      0  100  heading (kind 2, seq from 1)
//!    100    4  seconds of service in this epoch
//!    104    8  bytes up in this epoch
//!    112    8  bytes down in this epoch
//!    120   16  amount for this epoch, atto-SMT
//!    136   28  hash of the epoch's offer
//!    164   28  hash of the receipt before (zero in the first of an epoch)
//!    192   64  signature of the consumer over bytes 0..192
//! ```
//! All figures are cumulative, so the newest receipt of an epoch says everything and a lost one
//! loses nothing. The chain of hashes shows that the receipts between were not rewritten.
//!
//! **Compact form**, 124 bytes, for the neighbor who knows the epoch's offer:
//! ```text
//!      0    8  epoch
//!      8    4  seq
//!     12    4  seconds
//!     16    8  bytes up
//!     24    8  bytes down
//!     32   28  hash of the receipt before
//!     60   64  signature
//! ```
//! Network, parties, offer hash and amount follow from the offer. Whoever fills in anything else
//! than the signer meant finds the signature invalid.

use ed25519_dalek::{SigningKey, VerifyingKey};

use crate::codec::{ParseError, Reader};
use crate::heading::{Heading, KIND_RECEIPT, Position};
use crate::identity::{self, BadSignature, ContentHash, Party};
use crate::money::{Amount, Overflow, Totals};
use crate::offer::Offer;

/// Cumulative service of one epoch, signed by the consumer. 256 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    heading: Heading,
    totals: Totals,
    amount: Amount,
    offer_hash: ContentHash,
    previous_hash: ContentHash,
    signature: [u8; 64],
}

/// Why a receipt does not fit its offer or the receipt before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// It is about another network, other parties or another epoch.
    #[error("belongs to another account or epoch")]
    OtherAccount,
    /// The key is not the consumer's.
    #[error("only the consumer signs receipts")]
    NotTheConsumer,
    /// It was given for other terms.
    #[error("names another offer")]
    OtherOffer,
    /// The amount is not price × bytes.
    #[error("amount does not follow from price and bytes")]
    Amount,
    /// It does not come after the receipt before.
    #[error("seq does not rise")]
    Seq,
    /// A cumulative figure is below that of the receipt before.
    #[error("cumulative figures fall")]
    Falling,
    /// It directly follows a receipt but names another as its predecessor.
    #[error("hash chain is broken")]
    Chain,
    /// Figures out of range.
    #[error(transparent)]
    Overflow(#[from] Overflow),
}

impl Receipt {
    /// Length in bytes, as stored.
    pub const LEN: usize = Heading::LEN + 4 + 8 + 8 + 16 + 2 * ContentHash::LEN + 64;

    /// Signs the successor of `previous` (or the epoch's first receipt) under `offer`.
    ///
    /// # Errors
    /// [`ReceiptError`] if `key` is not the consumer's, `previous` is of another epoch, a figure
    /// would fall, or one is out of range. What would not verify is not signed.
    pub fn sign(
        key: &SigningKey,
        offer: &Offer,
        previous: Option<&Self>,
        totals: Totals,
    ) -> Result<Self, ReceiptError> {
        let last_seq = previous.map_or(0, |receipt| receipt.position().seq);
        let position = Position {
            epoch: offer.epoch(),
            seq: last_seq.checked_add(1).ok_or(Overflow)?,
        };
        let mut receipt = Self {
            heading: Heading {
                position,
                ..*offer.heading()
            },
            totals,
            amount: offer.price().charge(&totals)?,
            offer_hash: offer.hash(),
            previous_hash: previous.map_or(ContentHash::NONE, Self::hash),
            signature: [0; 64],
        };
        if receipt.heading.consumer != Party::of(key) {
            return Err(ReceiptError::NotTheConsumer);
        }
        if let Some(previous) = previous {
            receipt.check_follows(previous)?;
        }
        receipt.signature = identity::sign(key, &receipt.content());
        Ok(receipt)
    }

    /// Network, parties and position.
    pub const fn heading(&self) -> &Heading {
        &self.heading
    }

    /// Place in the account.
    pub const fn position(&self) -> Position {
        self.heading.position
    }

    /// Service in this epoch.
    pub const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Price of that service.
    pub const fn amount(&self) -> Amount {
        self.amount
    }

    /// The offer it was given under.
    pub const fn offer_hash(&self) -> ContentHash {
        self.offer_hash
    }

    /// The receipt before, [`ContentHash::NONE`] for the first of an epoch.
    pub const fn previous_hash(&self) -> ContentHash {
        self.previous_hash
    }

    /// Names the content; the next receipt carries it.
    pub fn hash(&self) -> ContentHash {
        ContentHash::of(&self.content())
    }

    /// Checks the consumer's signature.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self) -> Result<(), BadSignature> {
        self.verify_by(&self.heading.consumer.key()?)
    }

    /// The same with the point of the consumer's key.
    pub(crate) fn verify_by(&self, key: &VerifyingKey) -> Result<(), BadSignature> {
        identity::verify(key, &self.content(), &self.signature)
    }

    /// Checks that the receipt was given under `offer` and that the amount follows from it.
    ///
    /// # Errors
    /// [`ReceiptError`].
    pub fn check_offer(&self, offer: &Offer) -> Result<(), ReceiptError> {
        if !self.heading.same_epoch(offer.heading()) {
            return Err(ReceiptError::OtherAccount);
        }
        if self.offer_hash != offer.hash() {
            return Err(ReceiptError::OtherOffer);
        }
        if self.amount != offer.price().charge(&self.totals)? {
            return Err(ReceiptError::Amount);
        }
        Ok(())
    }

    /// Checks that the receipt comes after `previous` in the same epoch, and if directly after it,
    /// that it names it as its predecessor.
    ///
    /// # Errors
    /// [`ReceiptError`].
    pub fn check_follows(&self, previous: &Self) -> Result<(), ReceiptError> {
        if !self.heading.same_epoch(&previous.heading) {
            return Err(ReceiptError::OtherAccount);
        }
        if self.position() <= previous.position() {
            return Err(ReceiptError::Seq);
        }
        if self.offer_hash != previous.offer_hash {
            return Err(ReceiptError::OtherOffer);
        }
        if !self.totals.covers(&previous.totals) {
            return Err(ReceiptError::Falling);
        }
        let is_next = previous.position().seq.checked_add(1) == Some(self.position().seq);
        if is_next && self.previous_hash != previous.hash() {
            return Err(ReceiptError::Chain);
        }
        Ok(())
    }

    /// Checks what an epoch's first receipt must be; nothing for a later one.
    ///
    /// # Errors
    /// [`ReceiptError::Chain`] if it has seq 1 and names a predecessor.
    pub fn check_first(&self) -> Result<(), ReceiptError> {
        if self.position().seq == 1 && self.previous_hash != ContentHash::NONE {
            return Err(ReceiptError::Chain);
        }
        Ok(())
    }

    /// Reads the stored layout; the signature is not checked.
    ///
    /// # Errors
    /// [`ParseError`] if `bytes` is not exactly one receipt.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(bytes);
        let heading = Heading::parse(KIND_RECEIPT, &mut reader)?;
        let receipt = Self {
            heading,
            totals: read_totals(&mut reader)?,
            amount: Amount::new(reader.u128()?),
            offer_hash: ContentHash::new(reader.array()?),
            previous_hash: ContentHash::new(reader.array()?),
            signature: reader.array()?,
        };
        reader.finish()?;
        Ok(receipt)
    }

    /// The stored layout.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.content();
        out.extend(self.signature);
        out
    }

    fn content(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::LEN);
        self.heading.emit(KIND_RECEIPT, &mut out);
        emit_totals(&self.totals, &mut out);
        out.extend(self.amount.atto_smt().to_le_bytes());
        out.extend(self.offer_hash.as_bytes());
        out.extend(self.previous_hash.as_bytes());
        out
    }
}

pub(crate) fn emit_totals(totals: &Totals, out: &mut Vec<u8>) {
    out.extend(totals.seconds.to_le_bytes());
    out.extend(totals.up_bytes.to_le_bytes());
    out.extend(totals.down_bytes.to_le_bytes());
}

pub(crate) fn read_totals(reader: &mut Reader<'_>) -> Result<Totals, ParseError> {
    Ok(Totals {
        seconds: reader.u32()?,
        up_bytes: reader.u64()?,
        down_bytes: reader.u64()?,
    })
}

/// A receipt without what its reader knows from the offer. 124 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompactReceipt {
    position: Position,
    totals: Totals,
    previous_hash: ContentHash,
    signature: [u8; 64],
}

impl CompactReceipt {
    /// Length in bytes.
    pub const LEN: usize = 8 + 4 + 4 + 8 + 8 + ContentHash::LEN + 64;

    /// Place in the account.
    pub const fn position(&self) -> Position {
        self.position
    }

    /// The full receipt, if it was given under `offer`; the signature tells.
    ///
    /// # Errors
    /// [`ReceiptError`] if it is of another epoch or the amount is out of range.
    pub fn complete(&self, offer: &Offer) -> Result<Receipt, ReceiptError> {
        if self.position.epoch != offer.epoch() {
            return Err(ReceiptError::OtherAccount);
        }
        Ok(Receipt {
            heading: Heading {
                position: self.position,
                ..*offer.heading()
            },
            totals: self.totals,
            amount: offer.price().charge(&self.totals)?,
            offer_hash: offer.hash(),
            previous_hash: self.previous_hash,
            signature: self.signature,
        })
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        Ok(Self {
            position: Position::read_receipt(reader)?,
            totals: read_totals(reader)?,
            previous_hash: ContentHash::new(reader.array()?),
            signature: reader.array()?,
        })
    }

    pub(crate) fn emit(&self, out: &mut Vec<u8>) {
        self.position.emit(out);
        emit_totals(&self.totals, out);
        out.extend(self.previous_hash.as_bytes());
        out.extend(self.signature);
    }
}

impl From<&Receipt> for CompactReceipt {
    fn from(receipt: &Receipt) -> Self {
        Self {
            position: receipt.position(),
            totals: receipt.totals,
            previous_hash: receipt.previous_hash,
            signature: receipt.signature,
        }
    }
}

/// Two receipts for one place of a pair, with different content and both signed: proof that the
/// consumer cheats, or that it lost its whole log and was led to use an epoch again. 512 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Equivocation {
    first: Receipt,
    second: Receipt,
}

impl Equivocation {
    /// Length in bytes: both receipts, the one known earlier first.
    pub const LEN: usize = 2 * Receipt::LEN;

    /// Takes two receipts as a proof, if they are one; signatures are for [`Self::verify`].
    pub fn between(first: &Receipt, second: &Receipt) -> Option<Self> {
        let conflict = first.heading == second.heading && first.hash() != second.hash();
        conflict.then(|| Self {
            first: first.clone(),
            second: second.clone(),
        })
    }

    /// Both receipts, the one known earlier first.
    pub const fn receipts(&self) -> (&Receipt, &Receipt) {
        (&self.first, &self.second)
    }

    /// Checks both signatures.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self) -> Result<(), BadSignature> {
        self.verify_by(&self.first.heading.consumer.key()?)
    }

    /// The same with the point of the consumer's key.
    pub(crate) fn verify_by(&self, key: &VerifyingKey) -> Result<(), BadSignature> {
        self.first.verify_by(key)?;
        self.second.verify_by(key)
    }

    /// Reads two stored receipts.
    ///
    /// # Errors
    /// [`ParseError`], also if the two do not contradict each other.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(bytes);
        let first = Receipt::parse(reader.bytes(Receipt::LEN)?)?;
        let second = Receipt::parse(reader.bytes(Receipt::LEN)?)?;
        reader.finish()?;
        Self::between(&first, &second).ok_or(ParseError::Mismatched)
    }

    /// Both stored receipts.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.first.to_bytes();
        out.extend(self.second.to_bytes());
        out
    }
}
