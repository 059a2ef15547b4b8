//! The provider's word on the terms of an epoch.
//!
//! ```text
//! offset size
//!      0  100  heading (kind 1, seq 0)
//!    100   32  gateway: the node to which the bytes are carried
//!    132    8  price, atto-SMT per MiB
//!    140    8  credit, bytes that may be unpaid before the provider slows down
//!    148   28  hash of the last receipt of the account's epoch before (zero if there is none)
//!    176   64  signature of the provider over bytes 0..176
//! ```
//! One epoch has one offer: other terms are a new epoch. So a receipt's amount follows from its
//! epoch and its bytes, and nobody can argue about which bytes were carried at which price. By
//! naming the last receipt before, the provider countersigns where the epoch before ended.

use ed25519_dalek::{SigningKey, VerifyingKey};

use crate::codec::{ParseError, Reader};
use crate::heading::{Heading, KIND_OFFER, Position};
use crate::identity::{self, BadSignature, ContentHash, NetworkId, Party};
use crate::money::Price;

/// What an offer says, beside whom it binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The node to which the bytes are carried: what they cost depends on the way there.
    pub gateway: Party,
    /// What a MiB costs.
    pub price: Price,
    /// Bytes that may be unpaid.
    pub credit_bytes: u64,
    /// The last receipt of the account's epoch before, [`ContentHash::NONE`] if there is none.
    pub previous: ContentHash,
}

/// Terms, signed by the provider. 240 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    heading: Heading,
    terms: Terms,
    signature: [u8; 64],
}

impl Offer {
    /// Length in bytes.
    pub const LEN: usize = Heading::LEN + 32 + 8 + 8 + ContentHash::LEN + 64;

    /// Opens `epoch` with these terms; the owner of `key` is the provider.
    ///
    /// Ed25519 is deterministic: equal terms give equal bytes, also after a restart.
    pub fn sign(
        key: &SigningKey,
        network: NetworkId,
        consumer: Party,
        epoch: u64,
        terms: Terms,
    ) -> Self {
        let heading = Heading {
            network,
            provider: Party::of(key),
            consumer,
            position: Position { epoch, seq: 0 },
        };
        let mut offer = Self {
            heading,
            terms,
            signature: [0; 64],
        };
        offer.signature = identity::sign(key, &offer.content());
        offer
    }

    /// Network, parties and position (whose seq is 0).
    pub const fn heading(&self) -> &Heading {
        &self.heading
    }

    /// The epoch this offer opens.
    pub const fn epoch(&self) -> u64 {
        self.heading.position.epoch
    }

    /// All that it offers.
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The node to which the bytes are carried.
    pub const fn gateway(&self) -> Party {
        self.terms.gateway
    }

    /// What a MiB costs.
    pub const fn price(&self) -> Price {
        self.terms.price
    }

    /// Bytes that may be unpaid.
    pub const fn credit_bytes(&self) -> u64 {
        self.terms.credit_bytes
    }

    /// Names the content; a receipt carries it.
    pub fn hash(&self) -> ContentHash {
        ContentHash::of(&self.content())
    }

    /// Checks the provider's signature.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self) -> Result<(), BadSignature> {
        self.verify_by(&self.heading.provider.key()?)
    }

    /// The same with the point of the provider's key.
    pub(crate) fn verify_by(&self, key: &VerifyingKey) -> Result<(), BadSignature> {
        identity::verify(key, &self.content(), &self.signature)
    }

    /// Reads the layout above; the signature is not checked.
    ///
    /// # Errors
    /// [`ParseError`] if `bytes` is not exactly one offer.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(bytes);
        let offer = Self {
            heading: Heading::parse(KIND_OFFER, &mut reader)?,
            terms: Terms {
                gateway: Party::new(reader.array()?),
                price: Price::new(reader.u64()?),
                credit_bytes: reader.u64()?,
                previous: ContentHash::new(reader.array()?),
            },
            signature: reader.array()?,
        };
        reader.finish()?;
        Ok(offer)
    }

    /// The layout above.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.content();
        out.extend(self.signature);
        out
    }

    fn content(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::LEN);
        self.heading.emit(KIND_OFFER, &mut out);
        out.extend(self.terms.gateway.as_bytes());
        out.extend(self.terms.price.atto_smt_per_mib().to_le_bytes());
        out.extend(self.terms.credit_bytes.to_le_bytes());
        out.extend(self.terms.previous.as_bytes());
        out
    }
}
