//! Record request: "send me the records of these originators", unicast to a neighbor that has
//! newer ones.
//!
//! ```text
//! 0            10
//! | originator | … repeated
//! ```

use super::{ParseError, reader::Reader};
use crate::OriginatorId;

/// Asks the receiver for node records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordRequest {
    /// Whose; at most [`RecordRequest::MAX_ORIGINATORS`].
    pub originators: Vec<OriginatorId>,
}

impl RecordRequest {
    /// The most records one asks for: the answer is a dozen packets.
    pub const MAX_ORIGINATORS: usize = 64;

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let mut originators = Vec::new();
        while !reader.is_empty() {
            originators.push(reader.originator_id()?);
        }
        if originators.len() > Self::MAX_ORIGINATORS {
            return Err(ParseError::Malformed);
        }
        Ok(Self { originators })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        for id in &self.originators {
            out.extend_from_slice(id.as_bytes());
        }
    }
}
