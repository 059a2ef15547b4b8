//! Payload: bytes for an application of a neighbor, such as receipts.
//!
//! ```text
//! 0          10        11
//! | receiver | channel | bytes …
//! ```

use super::{ParseError, reader::Reader};
use crate::OriginatorId;

/// Bytes from one neighbor's application to another's; the core does not look inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Whom it is for.
    pub receiver: OriginatorId,
    /// Which application it is for.
    pub channel: u8,
    /// What it says; at most [`Payload::MAX_LEN`] bytes.
    pub bytes: Vec<u8>,
}

impl Payload {
    /// The most bytes a payload carries: with all headers it fits the smallest MTU of IPv6
    /// (1280, RFC 8200 §5).
    pub const MAX_LEN: usize = 1024;

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let receiver = reader.originator_id()?;
        let channel = reader.u8()?;
        let bytes = reader.take_rest().to_vec();
        if bytes.len() > Self::MAX_LEN {
            return Err(ParseError::Malformed);
        }
        Ok(Self {
            receiver,
            channel,
            bytes,
        })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.receiver.as_bytes());
        out.push(self.channel);
        out.extend_from_slice(&self.bytes);
    }
}
