//! The first 100 bytes of every signed object: what it is, where it counts, whom it binds, and its
//! place in their account.
//!
//! ```text
//! offset size
//!      0    7  domain tag "MESHPAY": no other signature of a node's key begins like this
//!      7    1  kind: 1 offer, 2 receipt
//!      8   16  network
//!     24   32  provider
//!     56   32  consumer
//!     88    8  epoch, little-endian as all numbers
//!     96    4  seq: 0 for the offer that opens the epoch, 1, 2, … for its receipts
//! ```

use std::fmt;

use crate::codec::{ParseError, Reader};
use crate::identity::{NetworkId, Party};

const TAG: [u8; 7] = *b"MESHPAY";
pub(crate) const KIND_OFFER: u8 = 1;
pub(crate) const KIND_RECEIPT: u8 = 2;

/// The only order there is: by epoch, then by seq within the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Rises by one or more with every new offer of a pair; the first is 1.
    pub epoch: u64,
    /// 0 is the offer, receipts count from 1.
    pub seq: u32,
}

impl Position {
    /// A place that a receipt can have.
    pub(crate) fn read_receipt(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let position = Self {
            epoch: reader.u64()?,
            seq: reader.u32()?,
        };
        match position.seq {
            0 => Err(ParseError::Seq(0)),
            _ => Ok(position),
        }
    }

    pub(crate) fn emit(&self, out: &mut Vec<u8>) {
        out.extend(self.epoch.to_le_bytes());
        out.extend(self.seq.to_le_bytes());
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.seq)
    }
}

/// What an offer or a receipt is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Heading {
    /// The mesh it counts in.
    pub network: NetworkId,
    /// Who carries the bytes and earns.
    pub provider: Party,
    /// Whose bytes are carried and who pays.
    pub consumer: Party,
    /// Place in what these two have had with each other, over all their accounts.
    pub position: Position,
}

impl Heading {
    pub(crate) const LEN: usize = 100;

    pub(crate) fn emit(&self, kind: u8, out: &mut Vec<u8>) {
        out.extend(TAG);
        out.push(kind);
        out.extend(self.network.as_bytes());
        out.extend(self.provider.as_bytes());
        out.extend(self.consumer.as_bytes());
        self.position.emit(out);
    }

    pub(crate) fn parse(kind: u8, reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        if reader.array()? != TAG {
            return Err(ParseError::Tag);
        }
        let found = reader.u8()?;
        if found != kind {
            return Err(ParseError::Kind(found));
        }
        let heading = Self {
            network: NetworkId::new(reader.array()?),
            provider: Party::new(reader.array()?),
            consumer: Party::new(reader.array()?),
            position: Position {
                epoch: reader.u64()?,
                seq: reader.u32()?,
            },
        };
        let is_offer = kind == KIND_OFFER;
        if is_offer != (heading.position.seq == 0) {
            return Err(ParseError::Seq(heading.position.seq));
        }
        Ok(heading)
    }

    /// The same network and the same two parties, in the same epoch.
    pub(crate) fn same_epoch(&self, other: &Self) -> bool {
        self.network == other.network
            && self.provider == other.provider
            && self.consumer == other.consumer
            && self.position.epoch == other.position.epoch
    }
}
