//! Link report: how well the sender hears its neighbors on this link.
//!
//! ```text
//! 0      4         5
//! | node | quality | … repeated
//! ```

use super::{ParseError, reader::Reader};
use crate::OriginatorId;

/// How well one neighbor is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportEntry {
    /// The first bytes of the neighbor's id: enough to tell those in reach of one radio apart.
    pub node: [u8; 4],
    /// The share of its hellos that arrive, 0 to 255.
    pub quality: u8,
}

impl ReportEntry {
    pub(crate) const LEN: usize = 5;

    /// An entry for `neighbor`.
    pub const fn new(neighbor: OriginatorId, quality: u8) -> Self {
        Self {
            node: Self::node(neighbor),
            quality,
        }
    }

    /// What a node is called in reports.
    pub const fn node(id: OriginatorId) -> [u8; 4] {
        let [a, b, c, d, ..] = *id.as_bytes();
        [a, b, c, d]
    }
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
                node: reader.array()?,
                quality: reader.u8()?,
            });
        }
        Ok(Self { entries })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        for entry in &self.entries {
            out.extend_from_slice(&entry.node);
            out.push(entry.quality);
        }
    }
}
