//! `receipts.stats`: how much was carried and earned, hour by hour.

use serde::{Deserialize, Serialize};

use crate::AttoSmt;

/// The last 168 hours, as far as the daemon remembers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// [`crate::SCHEMA`].
    pub schema: u32,
    /// Every hour since the daemon started, the present one first.
    pub hours: Vec<StatsHour>,
}

/// One hour: bytes as they were counted, money as it was signed for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatsHour {
    /// Its distance from the present hour, which is 0 and not over.
    pub hours_ago: u32,
    /// Bytes that this node carried for neighbors.
    pub carried_bytes: u64,
    /// Bytes that neighbors carried for this node.
    pub consumed_bytes: u64,
    /// What neighbors signed for, in atto-SMT, as a string of digits.
    pub earned_atto: AttoSmt,
    /// What this node signed for, in atto-SMT, as a string of digits.
    pub paid_atto: AttoSmt,
}
