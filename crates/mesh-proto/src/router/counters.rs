//! What went through the router, and what was dropped and why.

use std::collections::BTreeMap;

use crate::wire::ParseError;

/// Why something that was received had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// The packet could not be parsed.
    Parse(ParseError),
    /// It did not come from a link-local address, not over an interface of the mesh, or not from
    /// where its sender is on this link.
    NotFromLink,
    /// A part that is said between mesh addresses came from a link-local one.
    NotFromAfar,
    /// It carries our own id: a copy of ours that came back, or a node with our key.
    Own,
    /// Its sender's record is not known yet, or not the one of its present life.
    UnknownSender,
    /// It is of an earlier life of its sender.
    Stale,
    /// It was taken before, or is too old to tell.
    Replayed,
    /// It claims the key of a pair, and there is none with its sender.
    NoKey,
    /// A part that has to come with the key of the pair came with the network's.
    WrongKey,
    /// Its parts presume a hello that has not been heard.
    UnknownNeighbor,
    /// An OGM whose originator was never named.
    UnknownIndex,
    /// An OGM whose sequence number is not proven to be its originator's.
    BadProof,
    /// A record whose signature is wrong.
    BadSignature,
    /// An entry of the map is about a node that is not known.
    UnknownNode,
    /// A table has no room for another node.
    TableFull,
    /// It asks for more answers than a node is given, or all nodes together are.
    TooMany,
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
            Self::NotFromAfar => "not_from_afar",
            Self::Own => "own",
            Self::UnknownSender => "unknown_sender",
            Self::Stale => "stale",
            Self::Replayed => "replayed",
            Self::NoKey => "no_key",
            Self::WrongKey => "wrong_key",
            Self::UnknownNeighbor => "unknown_neighbor",
            Self::UnknownIndex => "unknown_index",
            Self::BadProof => "bad_proof",
            Self::BadSignature => "bad_signature",
            Self::UnknownNode => "unknown_node",
            Self::TableFull => "table_full",
            Self::TooMany => "too_many",
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
    /// OGMs sent to everybody, own and others'.
    pub sent_ogms: u64,
    /// Probes sent, answers not counted.
    pub sent_probes: u64,
    /// Requests for newer sequence numbers sent, own and passed on.
    pub seqno_requests: u64,
    /// How often traffic to an originator moved from one next hop to another.
    pub switches: u64,
    /// What was dropped, by reason.
    pub drops: BTreeMap<DropReason, u64>,
}

impl Counters {
    pub(super) fn drop(&mut self, reason: DropReason) {
        let count = self.drops.entry(reason).or_default();
        *count = count.saturating_add(1);
    }
}
