//! Probe and its answer: whether a neighbor is there, by unicast in both directions.
//!
//! ```text
//! probe:  0       4         5              answer: 0       4         5
//!         | nonce | traffic | padding …            | nonce | quality | padding …
//! ```
//! An answer is as long as its probe, as far as its sender's packets may be: so whoever pads a probe
//! finds out whether packets of that size get there and back.

use super::{Hello, PacketBuilder, ParseError, Tlv, reader::Reader};

/// Length of both without padding.
const LEN: usize = 5;

/// "Are you there?"
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What the answer must repeat.
    pub nonce: u32,
    /// The sender has traffic for the receiver, so each should notice when the other falls silent.
    pub traffic: bool,
    /// Bytes of zero behind it.
    pub padding: u16,
}

/// "I am."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeAnswer {
    /// The probe's.
    pub nonce: u32,
    /// The share of the receiver's hellos that arrive, 0 to 255.
    pub quality: u8,
    /// Bytes of zero behind it: as many as the probe's.
    pub padding: u16,
}

impl Probe {
    /// The padding of a probe that fills a packet of at most `max_packet_len` bytes together with a
    /// hello.
    pub fn full_padding(max_packet_len: usize) -> u16 {
        let parts = Tlv::HEADER_LEN + Hello::LEN + Tlv::HEADER_LEN + LEN;
        let room = max_packet_len.saturating_sub(PacketBuilder::OVERHEAD + parts);
        u16::try_from(room).unwrap_or(u16::MAX)
    }

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let (nonce, traffic) = (reader.u32()?, reader.u8()?);
        if traffic > 1 {
            return Err(ParseError::Malformed);
        }
        Ok(Self {
            nonce,
            traffic: traffic == 1,
            padding: padding(reader)?,
        })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.nonce.to_be_bytes());
        out.push(u8::from(self.traffic));
        pad(self.padding, out);
    }
}

impl ProbeAnswer {
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        Ok(Self {
            nonce: reader.u32()?,
            quality: reader.u8()?,
            padding: padding(reader)?,
        })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.nonce.to_be_bytes());
        out.push(self.quality);
        pad(self.padding, out);
    }
}

fn padding(reader: &mut Reader<'_>) -> Result<u16, ParseError> {
    let bytes = reader.take_rest();
    if bytes.iter().any(|byte| *byte != 0) {
        return Err(ParseError::Malformed);
    }
    u16::try_from(bytes.len()).map_err(|_| ParseError::Malformed)
}

fn pad(padding: u16, out: &mut Vec<u8>) {
    out.resize(out.len() + usize::from(padding), 0);
}
