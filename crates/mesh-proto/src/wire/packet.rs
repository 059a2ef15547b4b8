//! Packets: a header, parts, and an authentication code.
//!
//! ```text
//! 0       1         2        4             8        18         20
//! | magic | version | length | network tag | sender | reserved | parts … | code (16) |
//! ```
//! `length` is that of the whole packet. The code is HMAC-SHA-256, cut to 16 bytes (RFC 2104 §5),
//! keyed from the network's name: it tells damaged packets and those of strangers from ours. It
//! covers everything before it and, as a pseudo-header, the IPv6 address the packet is sent from:
//! a stranger who sends a recorded packet again cannot put its own address in place of the
//! sender's. A node inside the network can still lie about itself.

use std::net::Ipv6Addr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{ParseError, Tlv, reader::Reader};
use crate::{Network, OriginatorId};

/// First byte of every packet.
pub const MAGIC: u8 = 0x6d;
/// The version of the protocol this module speaks.
pub const VERSION: u8 = 1;

const HEADER_LEN: usize = 20;
const CODE_LEN: usize = 16;

/// A packet that passed every check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The node that sent it over the link.
    pub sender: OriginatorId,
    /// Its parts, in order, without those of unknown types.
    pub tlvs: Vec<Tlv>,
}

impl Packet {
    /// Bytes that header and code add to the parts.
    pub const OVERHEAD: usize = HEADER_LEN + CODE_LEN;

    /// Parses a packet of `network` that came from the address `source`. The code is checked before any part is looked at.
    ///
    /// # Errors
    /// The first thing that is wrong, in the order of [`ParseError`]'s use here: end, magic,
    /// version, length, network, code, parts.
    pub fn parse(network: &Network, source: Ipv6Addr, bytes: &[u8]) -> Result<Self, ParseError> {
        let mut header = Reader::new(bytes);
        let (magic, version) = (header.u8()?, header.u8()?);
        if magic != MAGIC {
            return Err(ParseError::Malformed);
        }
        if version != VERSION {
            return Err(ParseError::UnknownVersion);
        }
        let length = usize::from(header.u16()?);
        if length > bytes.len() || length < Self::OVERHEAD {
            return Err(ParseError::Truncated);
        }
        if length < bytes.len() {
            return Err(ParseError::Malformed);
        }
        if header.array()? != network.tag() {
            return Err(ParseError::ForeignNetwork);
        }
        let (signed, code) = bytes.split_at(length - CODE_LEN);
        authenticator(network, source, signed)
            .verify_truncated_left(code)
            .map_err(|_| ParseError::BadMac)?;
        Self::parse_authentic(signed)
    }

    fn parse_authentic(signed: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(signed);
        reader.take(8)?;
        let sender = reader.originator_id()?;
        reader.u16()?;
        let mut tlvs = Vec::new();
        while !reader.is_empty() {
            tlvs.extend(Tlv::parse(&mut reader)?);
        }
        Ok(Self { sender, tlvs })
    }
}

fn authenticator(network: &Network, source: Ipv6Addr, signed: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new(network.mac_key().into());
    mac.update(&source.octets());
    mac.update(signed);
    mac
}

/// Packs parts into as few packets as the link's MTU allows.
#[derive(Debug)]
pub struct PacketBuilder<'a> {
    network: &'a Network,
    sender: OriginatorId,
    source: Ipv6Addr,
    max_len: usize,
    open: Vec<u8>,
    done: Vec<Vec<u8>>,
}

impl<'a> PacketBuilder<'a> {
    /// A builder of packets that `sender` sends from the address `source`, of at most `max_len`
    /// bytes of UDP payload each.
    pub fn new(
        network: &'a Network,
        sender: OriginatorId,
        source: Ipv6Addr,
        max_len: usize,
    ) -> Self {
        let max_len = max_len.min(usize::from(u16::MAX));
        Self {
            network,
            sender,
            source,
            max_len,
            open: Vec::new(),
            done: Vec::new(),
        }
    }

    /// Adds a part, in a new packet if the open one is full. A part is never split; one that is
    /// larger than a packet gets a packet of its own, which the network layer fragments.
    pub fn push(&mut self, tlv: &Tlv) {
        let mut part = Vec::new();
        tlv.emit(&mut part);
        if !self.open.is_empty() && self.open.len() + part.len() + CODE_LEN > self.max_len {
            self.seal();
        }
        if self.open.is_empty() {
            self.open.extend_from_slice(&[MAGIC, VERSION, 0, 0]);
            self.open.extend_from_slice(&self.network.tag());
            self.open.extend_from_slice(self.sender.as_bytes());
            self.open.extend_from_slice(&[0, 0]);
        }
        self.open.extend_from_slice(&part);
    }

    /// The packets, none if nothing was pushed.
    pub fn finish(mut self) -> Vec<Vec<u8>> {
        if !self.open.is_empty() {
            self.seal();
        }
        self.done
    }

    fn seal(&mut self) {
        let mut packet = std::mem::take(&mut self.open);
        let length = u16::try_from(packet.len() + CODE_LEN)
            .unwrap_or(u16::MAX)
            .to_be_bytes();
        for (byte, value) in packet.iter_mut().skip(2).zip(length) {
            *byte = value;
        }
        let code = authenticator(self.network, self.source, &packet)
            .finalize()
            .into_bytes();
        packet.extend(code.iter().take(CODE_LEN));
        self.done.push(packet);
    }
}

#[cfg(test)]
mod tests;
