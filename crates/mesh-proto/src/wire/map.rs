//! What keeps the maps of two neighbors the same: a digest to everybody, and a request to a neighbor whose differs.
//!
//! ```text
//! digest:  0        8        request: 0       10     20           30      34    38
//!          | digest |                 | first | last | originator | epoch | seq | … repeated
//! ```
//! The entries themselves are in `crate::map`.

use super::{ParseError, reader::Reader};
use crate::OriginatorId;

/// "All entries of nodes that I reach, and mine, come to this": the sum of the first 64 bits of the hashes of
/// their stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapDigest {
    /// The sum.
    pub digest: u64,
}

/// "Of nodes from this id to that one I have these: send me what is newer, and what I have not."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapRequest {
    /// The first id it is about.
    pub first: OriginatorId,
    /// The last.
    pub last: OriginatorId,
    /// Which entries the sender has, by node: their epochs and numbers. At most [`MapRequest::MAX_KNOWN`].
    pub known: Vec<(OriginatorId, (u32, u32))>,
}

impl MapDigest {
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        Ok(Self {
            digest: reader.u64()?,
        })
    }

    pub(super) fn emit(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.digest.to_be_bytes());
    }
}

impl MapRequest {
    /// The most entries that one names, so that it fits a packet of every link.
    pub const MAX_KNOWN: usize = 48;

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let (first, last) = (reader.originator_id()?, reader.originator_id()?);
        let mut known = Vec::new();
        while !reader.is_empty() {
            if known.len() == Self::MAX_KNOWN {
                return Err(ParseError::Malformed);
            }
            known.push((reader.originator_id()?, (reader.u32()?, reader.u32()?)));
        }
        Ok(Self { first, last, known })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.first.as_bytes());
        out.extend_from_slice(self.last.as_bytes());
        for (id, (epoch, seq)) in &self.known {
            out.extend_from_slice(id.as_bytes());
            out.extend_from_slice(&epoch.to_be_bytes());
            out.extend_from_slice(&seq.to_be_bytes());
        }
    }
}
