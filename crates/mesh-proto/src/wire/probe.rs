//! Probe and its answer: whether a neighbor is there, by unicast in both directions.
//!
//! ```text
//! probe:  0       4         5    answer: 0       4         5
//!         | nonce | traffic |            | nonce | quality |
//! ```

use super::{ParseError, reader::Reader};

/// "Are you there?"
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What the answer must repeat.
    pub nonce: u32,
    /// The sender has traffic for the receiver, so each should notice when the other falls silent.
    pub traffic: bool,
}

/// "I am."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeAnswer {
    /// The probe's.
    pub nonce: u32,
    /// The share of the receiver's hellos that arrive, 0 to 255.
    pub quality: u8,
}

impl Probe {
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let (nonce, traffic) = (reader.u32()?, reader.u8()?);
        if traffic > 1 {
            return Err(ParseError::Malformed);
        }
        let traffic = traffic == 1;
        Ok(Self { nonce, traffic })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.nonce.to_be_bytes());
        out.push(u8::from(self.traffic));
    }
}

impl ProbeAnswer {
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        Ok(Self {
            nonce: reader.u32()?,
            quality: reader.u8()?,
        })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.nonce.to_be_bytes());
        out.push(self.quality);
    }
}
