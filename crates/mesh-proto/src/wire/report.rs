//! Link report: how well the sender hears its neighbors on this link.
//!
//! ```text
//! 0            10     14        15
//! | originator | boot | quality | … repeated
//! ```

use super::{ParseError, reader::Reader};
use crate::OriginatorId;

/// How well one neighbor is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportEntry {
    /// The neighbor.
    pub neighbor: OriginatorId,
    /// The boot that its last hello named. A neighbor that was restarted since learns from it
    /// that this node does not know yet.
    pub boot: u32,
    /// The share of its hellos that arrive, 0 to 255.
    pub quality: u8,
}

impl ReportEntry {
    pub(crate) const LEN: usize = OriginatorId::LEN + 5;
}

/// How well the sender of a packet hears its neighbors on the link it was sent over. Large
/// neighborhoods take several reports; who is not in one may be in the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkReport {
    /// One entry for each neighbor.
    pub entries: Vec<ReportEntry>,
}

impl LinkReport {
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let mut entries = Vec::new();
        while !reader.is_empty() {
            entries.push(ReportEntry {
                neighbor: reader.originator_id()?,
                boot: reader.u32()?,
                quality: reader.u8()?,
            });
        }
        Ok(Self { entries })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        for entry in &self.entries {
            out.extend_from_slice(entry.neighbor.as_bytes());
            out.extend_from_slice(&entry.boot.to_be_bytes());
            out.push(entry.quality);
        }
    }
}
