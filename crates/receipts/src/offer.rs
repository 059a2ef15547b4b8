//! The provider's word on the terms of an epoch.
//!
//! ```text
//! offset size
//!      0  100  heading (kind 1, seq 0)
//!    100    8  price, atto-SMT per MiB
//!    108    8  credit, bytes that may be unpaid before the provider slows down
//!    116   64  signature of the provider over bytes 0..116
//! ```
//! One epoch has one offer: other terms are a new epoch. So a receipt's amount follows from its
//! epoch and its bytes, and nobody can argue about which bytes were carried at which price.

use ed25519_dalek::SigningKey;

use crate::codec::{ParseError, Reader};
use crate::heading::{Heading, KIND_OFFER, Position};
use crate::identity::{self, BadSignature, ContentHash, NetworkId, Party};
use crate::money::Price;

/// Terms, signed by the provider. 180 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    heading: Heading,
    price: Price,
    credit_bytes: u64,
    signature: [u8; 64],
}

impl Offer {
    /// Length in bytes.
    pub const LEN: usize = Heading::LEN + 8 + 8 + 64;

    /// Opens `epoch` with these terms; the owner of `key` is the provider.
    ///
    /// Ed25519 is deterministic: equal terms give equal bytes, also after a restart.
    pub fn sign(
        key: &SigningKey,
        network: NetworkId,
        consumer: Party,
        epoch: u64,
        price: Price,
        credit_bytes: u64,
    ) -> Self {
        let heading = Heading {
            network,
            provider: Party::of(key),
            consumer,
            position: Position { epoch, seq: 0 },
        };
        let mut offer = Self {
            heading,
            price,
            credit_bytes,
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

    /// What a MiB costs.
    pub const fn price(&self) -> Price {
        self.price
    }

    /// Bytes that may be unpaid.
    pub const fn credit_bytes(&self) -> u64 {
        self.credit_bytes
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
        self.heading
            .provider
            .verify(&self.content(), &self.signature)
    }

    /// Reads the layout above; the signature is not checked.
    ///
    /// # Errors
    /// [`ParseError`] if `bytes` is not exactly one offer.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(bytes);
        let offer = Self {
            heading: Heading::parse(KIND_OFFER, &mut reader)?,
            price: Price::new(reader.u64()?),
            credit_bytes: reader.u64()?,
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
        out.extend(self.price.atto_smt_per_mib().to_le_bytes());
        out.extend(self.credit_bytes.to_le_bytes());
        out
    }
}
