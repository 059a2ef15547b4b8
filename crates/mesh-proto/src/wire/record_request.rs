//! Record request: "send me the record of this originator", unicast to a neighbor that has a
//! newer one.
//!
//! ```text
//! 0            10
//! | originator |
//! ```

use super::{ParseError, reader::Reader};
use crate::OriginatorId;

/// Asks the receiver for a node record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRequest {
    /// Whose record is wanted.
    pub originator: OriginatorId,
}

impl RecordRequest {
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        reader.originator_id().map(|originator| Self { originator })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.originator.as_bytes());
    }
}
