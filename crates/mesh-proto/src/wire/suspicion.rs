//! Suspicion: "that node may be dead", to everybody within a few hops.
//!
//! ```text
//! 0           1      11
//! | hop limit | node |
//! ```

use super::{ParseError, reader::Reader};
use crate::OriginatorId;

/// Says that a node does not answer one of its neighbors. Its other neighbors, whose links to it may
/// be idle, look at once instead of finding out one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// How many more neighbors it is passed on by.
    pub hop_limit: u8,
    /// The silent node.
    pub node: OriginatorId,
}

impl Suspicion {
    /// Hop limit of a new suspicion: two neighbors of a node are seldom farther apart without it.
    pub const HOP_LIMIT: u8 = 3;

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        Ok(Self {
            hop_limit: reader.u8()?,
            node: reader.originator_id()?,
        })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.push(self.hop_limit);
        out.extend_from_slice(self.node.as_bytes());
    }
}
