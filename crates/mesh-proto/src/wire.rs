//! The wire format: packets of authenticated, typed parts (TLVs).
//!
//! All integers are big-endian. A packet is a header, parts, and an authentication code
//! ([`packet`]); each kind of part has a file of its own with its layout. Parts of an unknown
//! type are skipped, so a type is never reused; a known type has exactly the stated layout.

pub mod hello;
pub mod ogm;
pub mod packet;
pub mod payload;
pub mod reader;
pub mod record_request;
pub mod report;

pub use hello::Hello;
pub use ogm::Ogm;
pub use packet::{Packet, PacketBuilder};
pub use payload::Payload;
pub use record_request::RecordRequest;
pub use report::{LinkReport, ReportEntry};

use crate::SignedRecord;
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
    /// Its authentication code is wrong: damaged or forged.
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
    /// "I can reach this originator."
    Ogm(Ogm),
    /// "This is who that node is."
    Record(Box<SignedRecord>),
    /// "Who is that node?"
    RecordRequest(RecordRequest),
    /// Something for an application of the receiver.
    Payload(Payload),
}

impl Tlv {
    /// Bytes of type and length in front of every value.
    pub const HEADER_LEN: usize = 3;

    const HELLO: u8 = 1;
    const LINK_REPORT: u8 = 2;
    const OGM: u8 = 3;
    const RECORD: u8 = 4;
    const RECORD_REQUEST: u8 = 5;
    const PAYLOAD: u8 = 6;

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
            Self::OGM => Self::Ogm(Ogm::parse(&mut value)?),
            Self::RECORD => Self::Record(Box::new(SignedRecord::parse(&mut value)?)),
            Self::RECORD_REQUEST => Self::RecordRequest(RecordRequest::parse(&mut value)?),
            Self::PAYLOAD => Self::Payload(Payload::parse(&mut value)?),
            _ => return Ok(None),
        };
        value.finish()?;
        Ok(Some(tlv))
    }

    /// Appends the part to `out`.
    pub fn emit(&self, out: &mut Vec<u8>) {
        let mut value = Vec::new();
        let kind = match self {
            Self::Hello(hello) => {
                hello.emit(&mut value);
                Self::HELLO
            }
            Self::LinkReport(report) => {
                report.emit(&mut value);
                Self::LINK_REPORT
            }
            Self::Ogm(ogm) => {
                ogm.emit(&mut value);
                Self::OGM
            }
            Self::Record(record) => {
                record.emit(&mut value);
                Self::RECORD
            }
            Self::RecordRequest(request) => {
                request.emit(&mut value);
                Self::RECORD_REQUEST
            }
            Self::Payload(payload) => {
                payload.emit(&mut value);
                Self::PAYLOAD
            }
        };
        out.push(kind);
        // Every value is bounded far below 64 KiB by its own parser and constructor.
        out.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend_from_slice(&value);
    }
}
