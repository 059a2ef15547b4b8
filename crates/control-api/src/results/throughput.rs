//! `throughput`: a node of the mesh is asked to measure what the way to it carries.
//!
//! The daemon only arranges it. Who asked then connects from `own_address` to `address` at `port` within
//! [`CONNECT_WITHIN_S`], says the token, and reads one byte, 1. What follows depends on the direction:
//!
//! | | who sends, for `seconds` | what comes back |
//! |---|---|---|
//! | `down` | the node: any bytes | nothing |
//! | `up` | who asked: any bytes | [`Report`]s about what has arrived, the last one when the time is over |
//!
//! The time begins with the first byte that arrives.

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use super::{NodeRef, probe};
use crate::{HexBytes, RpcError};

/// The longest measurement in one direction, in seconds.
pub const MAX_THROUGHPUT_S: u8 = 30;

/// How long the node waits for the connection, in seconds.
pub const CONNECT_WITHIN_S: u64 = 5;

/// Whom to ask, and what for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Throughput {
    /// A name, eight or more of the first digits of an originator id or a public key, or a mesh address.
    pub node: String,
    /// Who is to send.
    pub direction: Direction,
    /// For how long, 1 to [`MAX_THROUGHPUT_S`].
    pub seconds: u8,
    /// How long to wait for the answer, at most [`crate::MAX_PROBE_WAIT_MS`].
    pub wait_ms: u32,
}

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The other node.
    Down,
    /// This node.
    Up,
}

impl Throughput {
    /// # Errors
    /// It would last, or wait, for nothing or too long.
    pub(crate) fn checked(self) -> Result<Self, RpcError> {
        if !(1..=MAX_THROUGHPUT_S).contains(&self.seconds) {
            let message = format!("seconds: expected 1 to {MAX_THROUGHPUT_S}");
            return Err(RpcError::invalid_params(message));
        }
        probe::check_wait(self.wait_ms)?;
        Ok(self)
    }
}

/// What the node said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arranged {
    /// [`crate::SCHEMA`].
    pub schema: u32,
    /// Who was asked.
    pub node: NodeRef,
    /// Its mesh address.
    pub address: Ipv6Addr,
    /// The TCP port where it waits.
    pub port: u16,
    /// The address that it expects the connection from: this node's.
    pub own_address: Ipv6Addr,
    /// What the connection has to say first; `null` if no answer came.
    pub token: Option<HexBytes>,
}

/// What has arrived so far, as it is said over the connection: 16 bytes, big-endian.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The time since the first byte, in microseconds.
    pub time_us: u64,
    /// The bytes.
    pub bytes: u64,
}

impl Report {
    /// Its length in bytes.
    pub const LEN: usize = 16;

    /// As it is said.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let both = u128::from(self.time_us) << 64 | u128::from(self.bytes);
        both.to_be_bytes()
    }

    /// As it was said.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let both = u128::from_be_bytes(bytes);
        Self {
            time_us: (both >> 64) as u64,
            bytes: both as u64,
        }
    }

    /// In bit/s; 0 while no time has passed.
    #[must_use]
    pub fn bps(self) -> u64 {
        let bits = u128::from(self.bytes) * 8 * 1_000_000;
        let bps = bits.checked_div(self.time_us.into()).unwrap_or_default();
        u64::try_from(bps).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_it_says() {
        let report = Report {
            time_us: 2_500_000,
            bytes: 6_250_000,
        };
        assert_eq!(Report::from_bytes(report.to_bytes()), report);
        assert_eq!(report.to_bytes()[..8], 2_500_000_u64.to_be_bytes());
        assert_eq!(report.bps(), 20_000_000);
        assert_eq!(Report::default().bps(), 0);
    }
}
