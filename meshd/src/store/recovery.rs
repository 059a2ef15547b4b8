//! What was found wrong with the log when it was read, as data.

use std::fmt;

use receipts::log::Cut;

/// One thing that was not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The end of the last segment could not be used: what was being written when power failed.
    TornEnd {
        /// Which segment.
        segment: u64,
        /// What was wrong.
        cut: Cut,
    },
    /// A part of a segment could not be used.
    Damaged {
        /// Which segment.
        segment: u64,
        /// What was wrong.
        cut: Cut,
        /// Records behind the damage that could be used all the same.
        salvaged: usize,
    },
    /// Segments are not there.
    Missing {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
    },
    /// A segment does not follow the one before: one of the two was replaced.
    Unchained {
        /// The later one.
        segment: u64,
    },
    /// A record would take an account out of range; it was not taken over.
    OutOfRange {
        /// Where it stands.
        segment: u64,
    },
    /// A log of the first version, which is not read.
    OldLog,
}

impl Finding {
    /// Whether power failing explains it, so that nothing has to be done.
    pub const fn is_ordinary(&self) -> bool {
        matches!(self, Self::TornEnd { .. })
    }

    /// What an operator can do.
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::TornEnd { .. } => "nothing: neighbors have the newest receipts, too",
            Self::Damaged { .. } => {
                "replace the disk or flash if it happens again; the damaged file is kept beside it"
            }
            Self::Missing { .. } | Self::Unchained { .. } => {
                "put the missing file back while meshd is stopped, if there is a copy"
            }
            Self::OutOfRange { .. } => "report it: prices this high were not foreseen",
            Self::OldLog => "move it away",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TornEnd { segment, cut } => write!(
                f,
                "the end of segment {segment} of the receipt log was cut off: {}, {} bytes",
                cut.reason, cut.lost_bytes
            ),
            Self::Damaged {
                segment,
                cut,
                salvaged,
            } => write!(
                f,
                "segment {segment} of the receipt log is damaged: {}; {} bytes could not be used, \
                 {salvaged} records behind them could",
                cut.reason, cut.lost_bytes
            ),
            Self::Missing { first, last } if first == last => {
                write!(f, "segment {first} of the receipt log is missing")
            }
            Self::Missing { first, last } => {
                write!(f, "segments {first} to {last} of the receipt log are missing")
            }
            Self::Unchained { segment } => write!(
                f,
                "segment {segment} of the receipt log does not follow the one before"
            ),
            Self::OutOfRange { segment } => write!(
                f,
                "segment {segment} of the receipt log has figures out of range"
            ),
            Self::OldLog => f.write_str(
                "receipts.log in the state directory is a log of an earlier version, which is not read",
            ),
        }
    }
}
