//! Sync request: "tell me what you said after this", unicast to a neighbor.
//!
//! ```text
//! 0       4
//! | since |
//! ```

use super::{ParseError, reader::Reader};

/// Asks the receiver for updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncRequest {
    /// What the sender has seen of the receiver's changes (see [`super::Update`]).
    pub since: u32,
}

impl SyncRequest {
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        Ok(Self {
            since: reader.u32()?,
        })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.since.to_be_bytes());
    }
}
