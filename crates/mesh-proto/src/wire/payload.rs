//! Payload: bytes for an application of a neighbor, such as receipts.
//!
//! ```text
//! 0         1
//! | channel | bytes …
//! ```

use super::{ParseError, reader::Reader};

/// Bytes from one neighbor's application to another's; the core does not look inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
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
        let channel = reader.u8()?;
        let bytes = reader.take_rest().to_vec();
        if bytes.len() > Self::MAX_LEN {
            return Err(ParseError::Malformed);
        }
        Ok(Self { channel, bytes })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.push(self.channel);
        out.extend_from_slice(&self.bytes);
    }
}
