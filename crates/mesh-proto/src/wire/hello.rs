//! Hello: "I am here", sent so that the receiver can count what it misses.
//!
//! ```text
//! 0       2            4         8
//! | seqno | interval ms | version |
//! ```

use std::time::Duration;

use super::{ParseError, reader::Reader};

/// A hello of the packet's sender on the link it was sent over.
///
/// From one hello to the next the interval at most doubles, and it never exceeds
/// [`Hello::LONGEST`], so a receiver that missed one still knows when the next ones are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Counts the hellos on this interface; wraps around.
    pub seqno: u16,
    /// Milliseconds until the next one at the latest; never 0.
    pub interval_ms: u16,
    /// How often the sender has changed what it says of originators (see [`super::Update`]).
    pub version: u32,
}

impl Hello {
    /// The longest interval between hellos. Where nothing flows, it is what the death of a neighbor
    /// goes unnoticed for; each hello wakes everybody in reach.
    pub const LONGEST: Duration = Duration::from_secs(4);

    /// Length in bytes.
    pub(super) const LEN: usize = 8;

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let seqno = reader.u16()?;
        let interval_ms = reader.u16()?;
        let version = reader.u32()?;
        let hello = Self {
            seqno,
            interval_ms,
            version,
        };
        if interval_ms == 0 || hello.interval() > Self::LONGEST {
            return Err(ParseError::Malformed);
        }
        Ok(hello)
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.seqno.to_be_bytes());
        out.extend_from_slice(&self.interval_ms.to_be_bytes());
        out.extend_from_slice(&self.version.to_be_bytes());
    }

    /// The time until the next hello at the latest.
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms.into())
    }
}
