//! What went through the router, and what was dropped and why.

use std::collections::BTreeMap;

use crate::wire::ParseError;

/// Why something that was received had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// The packet could not be parsed.
    Parse(ParseError),
    /// It did not come from a link-local address, or not over an interface of the mesh.
    NotFromLink,
    /// It carries our own id: a copy of ours that came back.
    Own,
    /// Its parts presume a hello that has not been heard.
    UnknownNeighbor,
    /// A record whose signature is wrong.
    BadSignature,
    /// A payload for somebody else.
    NotForUs,
    /// A table has no room for another node.
    TableFull,
}

impl DropReason {
    /// The name of its counter.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Parse(ParseError::Truncated) => "truncated",
            Self::Parse(ParseError::Malformed) => "malformed",
            Self::Parse(ParseError::UnknownVersion) => "unknown_version",
            Self::Parse(ParseError::ForeignNetwork) => "foreign_network",
            Self::Parse(ParseError::BadMac) => "bad_mac",
            Self::NotFromLink => "not_from_link",
            Self::Own => "own",
            Self::UnknownNeighbor => "unknown_neighbor",
            Self::BadSignature => "bad_signature",
            Self::NotForUs => "not_for_us",
            Self::TableFull => "table_full",
        }
    }
}

/// Counters since the start of the router.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Packets received, good and bad.
    pub received_packets: u64,
    /// Their bytes, UDP payload.
    pub received_bytes: u64,
    /// Packets sent.
    pub sent_packets: u64,
    /// Their bytes, UDP payload.
    pub sent_bytes: u64,
    /// OGMs sent, own and others'.
    pub sent_ogms: u64,
    /// What was dropped, by reason.
    pub drops: BTreeMap<DropReason, u64>,
}

impl Counters {
    pub(super) fn drop(&mut self, reason: DropReason) {
        let count = self.drops.entry(reason).or_default();
        *count = count.saturating_add(1);
    }
}
