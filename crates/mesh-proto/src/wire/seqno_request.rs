//! Seqno request: "I need a newer sequence number of this originator" (RFC 8966 §3.8.1.2),
//! unicast from neighbor to neighbor towards it.
//!
//! ```text
//! 0            10      14         15
//! | originator | seqno | hop limit |
//! ```

use super::{ParseError, reader::Reader};
use crate::{OriginatorId, SeqNo};

/// Asks for a sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeqnoRequest {
    /// Whose number.
    pub originator: OriginatorId,
    /// The least that helps.
    pub seqno: SeqNo,
    /// How many more neighbors it may be passed on by.
    pub hop_limit: u8,
}

impl SeqnoRequest {
    /// Hop limit of a new request (RFC 8966 recommends 64; our meshes are wider than that only
    /// when they are a thousand nodes in a line).
    pub const HOP_LIMIT: u8 = 64;

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        Ok(Self {
            originator: reader.originator_id()?,
            seqno: reader.seqno()?,
            hop_limit: reader.u8()?,
        })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.originator.as_bytes());
        out.extend_from_slice(&self.seqno.value().to_be_bytes());
        out.push(self.hop_limit);
    }
}
