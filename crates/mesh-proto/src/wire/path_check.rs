//! Path check: "traffic for these originators moves to you", unicast along its new way.
//!
//! ```text
//! 0           1            11
//! | hop limit | originator | … repeated
//! ```

use super::{ParseError, reader::Reader};
use crate::OriginatorId;

/// Announces traffic on a way that was idle, so that its links are probed before the first packet
/// is lost on a dead one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathCheck {
    /// How many more neighbors it may be passed on by.
    pub hop_limit: u8,
    /// Where the traffic goes.
    pub originators: Vec<OriginatorId>,
}

impl PathCheck {
    /// Hop limit of a new check.
    pub const HOP_LIMIT: u8 = 32;
    /// The most originators one names; it then fits the smallest MTU of IPv6.
    pub const MAX_ORIGINATORS: usize = 100;

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let hop_limit = reader.u8()?;
        let mut originators = Vec::new();
        while !reader.is_empty() {
            originators.push(reader.originator_id()?);
        }
        Ok(Self {
            hop_limit,
            originators,
        })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.push(self.hop_limit);
        for id in &self.originators {
            out.extend_from_slice(id.as_bytes());
        }
    }
}
