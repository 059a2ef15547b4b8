//! Reminder: "this you told me before you were restarted", unicast to a neighbor.
//!
//! ```text
//! 0            10      14       18
//! | originator | seqno | metric | … repeated
//! ```

use super::{ParseError, reader::Reader};
use crate::route_selection::FeasibilityDistance;
use crate::{Metric, OriginatorId, SeqNo};

/// What the receiver had advertised, so that it knows which routes may lead back to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reminder {
    /// What was said of each originator.
    pub entries: Vec<(OriginatorId, FeasibilityDistance)>,
}

impl Reminder {
    pub(crate) const ENTRY_LEN: usize = OriginatorId::LEN + 8;

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let mut entries = Vec::new();
        while !reader.is_empty() {
            let originator = reader.originator_id()?;
            let seqno = reader.seqno()?;
            let metric = reader.u32().map(Metric::from_us)?;
            entries.push((originator, FeasibilityDistance { seqno, metric }));
        }
        Ok(Self { entries })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        for (originator, FeasibilityDistance { seqno, metric }) in &self.entries {
            out.extend_from_slice(originator.as_bytes());
            out.extend_from_slice(&SeqNo::value(*seqno).to_be_bytes());
            out.extend_from_slice(&metric.as_us().to_be_bytes());
        }
    }
}
