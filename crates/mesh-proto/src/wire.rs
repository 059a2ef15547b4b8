//! The wire format: packets of authenticated, typed parts (TLVs).
//!
//! All integers are big-endian. A packet is a header, parts, and an authentication code
//! ([`packet`]); each kind of part has a file of its own with its layout. Parts of an unknown
//! type are skipped, so a type is never reused; a known type has exactly the stated layout.

pub mod echo;
pub mod hello;
pub mod map;
pub mod packet;
pub mod path_check;
pub mod payload;
pub mod probe;
pub mod reader;
pub mod record_request;
pub mod reminder;
pub mod report;
pub mod seqno_request;
pub mod suspicion;
pub mod sync_request;
pub mod throughput;
pub mod update;

pub use echo::{Echo, EchoReply, NextHop};
pub use hello::Hello;
pub use map::{MapDigest, MapRequest};
pub use packet::{Header, KeyKind, PacketBuilder, Sealed, Sender};
pub use path_check::PathCheck;
pub use payload::Payload;
pub use probe::{Probe, ProbeAnswer};
pub use record_request::RecordRequest;
pub use reminder::Reminder;
pub use report::{LinkReport, ReportEntry};
pub use seqno_request::SeqnoRequest;
pub use suspicion::Suspicion;
pub use sync_request::SyncRequest;
pub use throughput::{ThroughputAnswer, ThroughputRequest};
pub use update::{Binding, Ogm, OgmIndex, Update};

use crate::SignedRecord;
use crate::map::SignedMapEntry;
use reader::Reader;

/// Why a packet was dropped. Each reason is counted on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum ParseError {
    /// It ends before what its header or a part announces.
    #[error("truncated")]
    Truncated,
    /// It is not a packet of this protocol, or a part has values that cannot be.
    #[error("malformed")]
    Malformed,
    /// It has another version of this protocol.
    #[error("unknown version")]
    UnknownVersion,
    /// It belongs to another network.
    #[error("foreign network")]
    ForeignNetwork,
    /// Its authentication code is wrong: damaged, forged, or of a network with another secret.
    #[error("bad authentication code")]
    BadMac,
}

/// A part of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tlv {
    /// "I am here."
    Hello(Hello),
    /// "This is how well I hear you."
    LinkReport(LinkReport),
    /// "This is who can be reached through me."
    Update(Update),
    /// "This is who that node is."
    Record(Box<SignedRecord>),
    /// "Who are those nodes?"
    RecordRequest(RecordRequest),
    /// Something for an application of the receiver.
    Payload(Payload),
    /// "What have I missed?"
    SyncRequest(SyncRequest),
    /// "This you said before you were restarted."
    Reminder(Reminder),
    /// "Are you there?"
    Probe(Probe),
    /// "I am."
    ProbeAnswer(ProbeAnswer),
    /// "I need a newer number of that originator."
    SeqnoRequest(SeqnoRequest),
    /// "Traffic is coming your way."
    PathCheck(PathCheck),
    /// "That node may be dead."
    Suspicion(Suspicion),
    /// "Are you there?", from anywhere in the mesh.
    Echo(Echo),
    /// "I am."
    EchoReply(EchoReply),
    /// "That is where that node stands, and whom it hears."
    MapEntry(Box<SignedMapEntry>),
    /// "This is what all that I know of the map comes to."
    MapDigest(MapDigest),
    /// "What of the map do I miss?"
    MapRequest(MapRequest),
    /// "Let us measure what there is between us."
    ThroughputRequest(ThroughputRequest),
    /// "Come", or why not.
    ThroughputAnswer(ThroughputAnswer),
}

impl Tlv {
    /// Bytes of type and length in front of every value.
    pub const HEADER_LEN: usize = 3;

    // 3 was an OGM of version 1.
    const HELLO: u8 = 1;
    const LINK_REPORT: u8 = 2;
    const RECORD: u8 = 4;
    const RECORD_REQUEST: u8 = 5;
    const PAYLOAD: u8 = 6;
    const UPDATE: u8 = 7;
    const SYNC_REQUEST: u8 = 8;
    const REMINDER: u8 = 9;
    const PROBE: u8 = 10;
    const PROBE_ANSWER: u8 = 11;
    const SEQNO_REQUEST: u8 = 12;
    const PATH_CHECK: u8 = 13;
    const SUSPICION: u8 = 14;
    const ECHO: u8 = 15;
    const ECHO_REPLY: u8 = 16;
    const MAP_ENTRY: u8 = 17;
    const MAP_DIGEST: u8 = 18;
    const MAP_REQUEST: u8 = 19;
    const THROUGHPUT_REQUEST: u8 = 20;
    const THROUGHPUT_ANSWER: u8 = 21;

    /// Parses the part at the front of `reader`; `None` if its type is unknown.
    ///
    /// # Errors
    /// If the part is cut off, or its value is not laid out as its type says.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Option<Self>, ParseError> {
        let kind = reader.u8()?;
        let len = usize::from(reader.u16()?);
        let mut value = Reader::new(reader.take(len)?);
        let tlv = match kind {
            Self::HELLO => Self::Hello(Hello::parse(&mut value)?),
            Self::LINK_REPORT => Self::LinkReport(LinkReport::parse(&mut value)?),
            Self::UPDATE => Self::Update(Update::parse(&mut value)?),
            Self::RECORD => Self::Record(Box::new(SignedRecord::parse(&mut value)?)),
            Self::RECORD_REQUEST => Self::RecordRequest(RecordRequest::parse(&mut value)?),
            Self::PAYLOAD => Self::Payload(Payload::parse(&mut value)?),
            Self::SYNC_REQUEST => Self::SyncRequest(SyncRequest::parse(&mut value)?),
            Self::REMINDER => Self::Reminder(Reminder::parse(&mut value)?),
            Self::PROBE => Self::Probe(Probe::parse(&mut value)?),
            Self::PROBE_ANSWER => Self::ProbeAnswer(ProbeAnswer::parse(&mut value)?),
            Self::SEQNO_REQUEST => Self::SeqnoRequest(SeqnoRequest::parse(&mut value)?),
            Self::PATH_CHECK => Self::PathCheck(PathCheck::parse(&mut value)?),
            Self::SUSPICION => Self::Suspicion(Suspicion::parse(&mut value)?),
            Self::ECHO => Self::Echo(Echo::parse(&mut value)?),
            Self::ECHO_REPLY => Self::EchoReply(EchoReply::parse(&mut value)?),
            Self::MAP_ENTRY => Self::MapEntry(Box::new(SignedMapEntry::parse(&mut value)?)),
            Self::MAP_DIGEST => Self::MapDigest(MapDigest::parse(&mut value)?),
            Self::MAP_REQUEST => Self::MapRequest(MapRequest::parse(&mut value)?),
            Self::THROUGHPUT_REQUEST => {
                Self::ThroughputRequest(ThroughputRequest::parse(&mut value)?)
            }
            Self::THROUGHPUT_ANSWER => Self::ThroughputAnswer(ThroughputAnswer::parse(&mut value)?),
            _ => return Ok(None),
        };
        value.finish()?;
        Ok(Some(tlv))
    }

    /// Appends the part to `out`.
    pub fn emit(&self, out: &mut Vec<u8>) {
        out.push(self.kind());
        let length_at = out.len();
        out.extend_from_slice(&[0, 0]);
        match self {
            Self::Hello(it) => it.emit(out),
            Self::LinkReport(it) => it.emit(out),
            Self::Update(it) => it.emit(out),
            Self::Record(it) => it.emit(out),
            Self::RecordRequest(it) => it.emit(out),
            Self::Payload(it) => it.emit(out),
            Self::SyncRequest(it) => it.emit(out),
            Self::Reminder(it) => it.emit(out),
            Self::Probe(it) => it.emit(out),
            Self::ProbeAnswer(it) => it.emit(out),
            Self::SeqnoRequest(it) => it.emit(out),
            Self::PathCheck(it) => it.emit(out),
            Self::Suspicion(it) => it.emit(out),
            Self::Echo(it) => it.emit(out),
            Self::EchoReply(it) => it.emit(out),
            Self::MapEntry(it) => it.emit(out),
            Self::MapDigest(it) => it.emit(out),
            Self::MapRequest(it) => it.emit(out),
            Self::ThroughputRequest(it) => it.emit(out),
            Self::ThroughputAnswer(it) => it.emit(out),
        }
        // Every value is bounded far below 64 KiB by its own parser and constructor.
        let len = u16::try_from(out.len() - length_at - 2).unwrap_or(u16::MAX);
        for (byte, value) in out.iter_mut().skip(length_at).zip(len.to_be_bytes()) {
            *byte = value;
        }
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Hello(_) => Self::HELLO,
            Self::LinkReport(_) => Self::LINK_REPORT,
            Self::Update(_) => Self::UPDATE,
            Self::Record(_) => Self::RECORD,
            Self::RecordRequest(_) => Self::RECORD_REQUEST,
            Self::Payload(_) => Self::PAYLOAD,
            Self::SyncRequest(_) => Self::SYNC_REQUEST,
            Self::Reminder(_) => Self::REMINDER,
            Self::Probe(_) => Self::PROBE,
            Self::ProbeAnswer(_) => Self::PROBE_ANSWER,
            Self::SeqnoRequest(_) => Self::SEQNO_REQUEST,
            Self::PathCheck(_) => Self::PATH_CHECK,
            Self::Suspicion(_) => Self::SUSPICION,
            Self::Echo(_) => Self::ECHO,
            Self::EchoReply(_) => Self::ECHO_REPLY,
            Self::MapEntry(_) => Self::MAP_ENTRY,
            Self::MapDigest(_) => Self::MAP_DIGEST,
            Self::MapRequest(_) => Self::MAP_REQUEST,
            Self::ThroughputRequest(_) => Self::THROUGHPUT_REQUEST,
            Self::ThroughputAnswer(_) => Self::THROUGHPUT_ANSWER,
        }
    }
}
