//! Hello: "I am here", sent at a steady pace so that the receiver can count what it misses.
//!
//! ```text
//! 0       2            4       8       9
//! | seqno | interval ms | boot  | flags |
//! ```

use std::time::Duration;

use super::{ParseError, reader::Reader};

/// A hello of the packet's sender on the link it was sent over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Counts the hellos on this interface; wraps around.
    pub seqno: u16,
    /// Milliseconds until the next one at the latest; never 0.
    pub interval_ms: u16,
    /// Differs from start to start of the sender's daemon.
    pub boot: u32,
    /// The sender kept the routes of its run before in its kernel, so what leads through it
    /// still works. Otherwise it has none and everything through it must be learned anew.
    pub warm: bool,
}

impl Hello {
    const WARM: u8 = 1;

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let seqno = reader.u16()?;
        let interval_ms = reader.u16()?;
        let boot = reader.u32()?;
        let flags = reader.u8()?;
        if interval_ms == 0 || flags > Self::WARM {
            return Err(ParseError::Malformed);
        }
        Ok(Self {
            seqno,
            interval_ms,
            boot,
            warm: flags == Self::WARM,
        })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.seqno.to_be_bytes());
        out.extend_from_slice(&self.interval_ms.to_be_bytes());
        out.extend_from_slice(&self.boot.to_be_bytes());
        out.push(if self.warm { Self::WARM } else { 0 });
    }

    /// The time until the next hello at the latest.
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms.into())
    }
}
