//! Originator message: "I can reach this originator, at this distance."
//!
//! ```text
//! 0            10      14       18           22     23
//! | originator | seqno | metric | record seq | hops |
//! ```

use super::{ParseError, reader::Reader};
use crate::{Metric, OriginatorId, SeqNo};

/// An originator message as its sender passes it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ogm {
    /// Who can be reached.
    pub originator: OriginatorId,
    /// The originator's sequence number; only the originator raises it.
    pub seqno: SeqNo,
    /// The sender's distance; infinite is a retraction.
    pub metric: Metric,
    /// Sequence number of the newest record of the originator that the sender has.
    pub record_seq: SeqNo,
    /// Hops from the sender to the originator, for people to read; 255 is "many".
    pub hops: u8,
}

impl Ogm {
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        Ok(Self {
            originator: reader.originator_id()?,
            seqno: reader.seqno()?,
            metric: reader.u32().map(Metric::from_us)?,
            record_seq: reader.seqno()?,
            hops: reader.u8()?,
        })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.originator.as_bytes());
        out.extend_from_slice(&self.seqno.value().to_be_bytes());
        out.extend_from_slice(&self.metric.as_us().to_be_bytes());
        out.extend_from_slice(&self.record_seq.value().to_be_bytes());
        out.push(self.hops);
    }
}
