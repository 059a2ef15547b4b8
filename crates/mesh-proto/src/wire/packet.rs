//! Packets: a header, parts, and an authentication code.
//!
//! ```text
//! 0       1         2        4             8        18      19      23        29
//! | magic | version | length | network tag | sender | flags | epoch | counter | parts … | code (16) |
//! ```
//! `length` is that of the whole packet. Flags: bit 0, the key is that of sender and receiver
//! alone, else the network's; bit 1, the sender took the routes of its life before over. `epoch`
//! rises with every start of the sender, `counter` with every packet within one.
//!
//! The code is HMAC-SHA-256, cut to 16 bytes (RFC 2104 §5). It covers everything before it and, as
//! a pseudo-header, the IPv6 address the packet is sent from: who sends a recorded packet again
//! cannot put another address in place of the sender's. With the network's key it tells packets
//! of strangers and damage from ours, but a node inside the network can pass for another; with
//! the key of a pair it cannot.

use std::net::Ipv6Addr;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::{ParseError, Tlv, reader::Reader};
use crate::identity::MacKey;
use crate::{Network, OriginatorId};

/// First byte of every packet.
pub const MAGIC: u8 = 0x6d;
/// The version of the protocol this module speaks.
pub const VERSION: u8 = 3;

const HEADER_LEN: usize = 29;
const CODE_LEN: usize = 16;
const COUNTER_LEN: usize = 6;

/// Which key a packet is authenticated with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// The network's: packets to everybody, and to those who do not know us yet.
    Network,
    /// That of sender and receiver.
    Pair,
}

/// The version of a packet of this protocol, whatever it is: magic and version are where they are in all of them.
pub fn version_of(bytes: &[u8]) -> Option<u8> {
    match bytes {
        [MAGIC, version, ..] => Some(*version),
        _ => None,
    }
}

/// What stays the same in all packets of a node's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The node.
    pub id: OriginatorId,
    /// Rises with every start.
    pub epoch: u32,
    /// It kept the routes of its life before in its kernel, so what leads through it still
    /// works. Otherwise it began with none, and everything through it must be learned anew.
    pub warm: bool,
}

/// What stands before the parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The node that sent it over the link.
    pub sender: Sender,
    /// Which key it claims to be authenticated with.
    pub key: KeyKind,
    /// Rises with every packet of the sender's epoch; 48 bits.
    pub counter: u64,
}

impl Header {
    const PAIR: u8 = 1;
    const WARM: u8 = 2;

    fn parse(network: &Network, bytes: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(bytes);
        let (magic, version) = (reader.u8()?, reader.u8()?);
        if magic != MAGIC {
            return Err(ParseError::Malformed);
        }
        if version != VERSION {
            return Err(ParseError::UnknownVersion);
        }
        let length = usize::from(reader.u16()?);
        if length > bytes.len() || length < PacketBuilder::OVERHEAD {
            return Err(ParseError::Truncated);
        }
        if length < bytes.len() {
            return Err(ParseError::Malformed);
        }
        if reader.array()? != network.tag() {
            return Err(ParseError::ForeignNetwork);
        }
        let id = reader.originator_id()?;
        let flags = reader.u8()?;
        let epoch = reader.u32()?;
        let [a, b, c, d, e, f] = reader.array::<COUNTER_LEN>()?;
        if flags & !(Self::PAIR | Self::WARM) != 0 {
            return Err(ParseError::Malformed);
        }
        let warm = flags & Self::WARM != 0;
        Ok(Self {
            sender: Sender { id, epoch, warm },
            key: match flags & Self::PAIR {
                0 => KeyKind::Network,
                _ => KeyKind::Pair,
            },
            counter: u64::from_be_bytes([0, 0, a, b, c, d, e, f]),
        })
    }

    fn emit(&self, network: &Network, out: &mut Vec<u8>) {
        out.extend_from_slice(&[MAGIC, VERSION, 0, 0]);
        out.extend_from_slice(&network.tag());
        out.extend_from_slice(self.sender.id.as_bytes());
        let pair = match self.key {
            KeyKind::Network => 0,
            KeyKind::Pair => Self::PAIR,
        };
        out.push(pair | if self.sender.warm { Self::WARM } else { 0 });
        out.extend_from_slice(&self.sender.epoch.to_be_bytes());
        out.extend(self.counter.to_be_bytes().iter().skip(8 - COUNTER_LEN));
    }
}

/// A packet whose header has been read, and nothing been believed.
#[derive(Clone, Copy, Debug)]
pub struct Sealed<'a> {
    header: Header,
    authenticated: &'a [u8],
    code: &'a [u8],
}

impl<'a> Sealed<'a> {
    /// Reads the header of a packet of `network`.
    ///
    /// # Errors
    /// The first thing that is wrong: end, magic, version, length, network, flags.
    pub fn parse(network: &Network, bytes: &'a [u8]) -> Result<Self, ParseError> {
        let header = Header::parse(network, bytes)?;
        let (authenticated, code) = bytes
            .split_at_checked(bytes.len().saturating_sub(CODE_LEN))
            .ok_or(ParseError::Truncated)?;
        Ok(Self {
            header,
            authenticated,
            code,
        })
    }

    /// What it claims about itself.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Checks the code with `key`, for a packet that came from `source`, and reads the parts, in
    /// order, without those of unknown types.
    ///
    /// # Errors
    /// A wrong code, before any part is looked at; then the first part that is wrong.
    pub fn open(&self, key: &MacKey, source: Ipv6Addr) -> Result<Vec<Tlv>, ParseError> {
        authenticator(key, source, self.authenticated)
            .verify_truncated_left(self.code)
            .map_err(|_| ParseError::BadMac)?;
        let mut reader = Reader::new(self.authenticated);
        reader.take(HEADER_LEN)?;
        let mut tlvs = Vec::new();
        while !reader.is_empty() {
            tlvs.extend(Tlv::parse(&mut reader)?);
        }
        Ok(tlvs)
    }
}

fn authenticator(key: &MacKey, source: Ipv6Addr, authenticated: &[u8]) -> Hmac<Sha256> {
    let mut mac = key.authenticator();
    mac.update(&source.octets());
    mac.update(authenticated);
    mac
}

/// Packs parts into as few packets as the link's MTU allows.
#[derive(Debug)]
pub struct PacketBuilder<'a> {
    network: &'a Network,
    key: (KeyKind, &'a MacKey),
    sender: Sender,
    source: Ipv6Addr,
    max_len: usize,
    /// That of the last packet.
    counter: u64,
    open: Vec<u8>,
    done: Vec<Vec<u8>>,
}

impl<'a> PacketBuilder<'a> {
    /// Bytes that header and code add to the parts.
    pub const OVERHEAD: usize = HEADER_LEN + CODE_LEN;

    /// A builder of packets that `sender` sends from the address `source`, of at most `max_len`
    /// bytes of UDP payload each, with counters after `counter`; to the node that `pair_key` is
    /// shared with, or to everybody.
    pub fn new(
        network: &'a Network,
        pair_key: Option<&'a MacKey>,
        sender: Sender,
        source: Ipv6Addr,
        max_len: usize,
        counter: u64,
    ) -> Self {
        let key = match pair_key {
            Some(key) => (KeyKind::Pair, key),
            None => (KeyKind::Network, network.key()),
        };
        Self {
            network,
            key,
            sender,
            source,
            max_len: max_len.min(usize::from(u16::MAX)),
            counter,
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
            self.counter += 1;
            let header = Header {
                sender: self.sender,
                key: self.key.0,
                counter: self.counter,
            };
            header.emit(self.network, &mut self.open);
        }
        self.open.extend_from_slice(&part);
    }

    /// The packets, none if nothing was pushed, and the counter of the last one.
    pub fn finish(mut self) -> (Vec<Vec<u8>>, u64) {
        if !self.open.is_empty() {
            self.seal();
        }
        (self.done, self.counter)
    }

    fn seal(&mut self) {
        let mut packet = std::mem::take(&mut self.open);
        let length = u16::try_from(packet.len() + CODE_LEN)
            .unwrap_or(u16::MAX)
            .to_be_bytes();
        for (byte, value) in packet.iter_mut().skip(2).zip(length) {
            *byte = value;
        }
        let code = authenticator(self.key.1, self.source, &packet)
            .finalize()
            .into_bytes();
        packet.extend(code.iter().take(CODE_LEN));
        self.done.push(packet);
    }
}

#[cfg(test)]
mod tests;
