//! How much may be unpaid, and when a neighbor is slowed down. Pure figures, no accounts.
//!
//! - A neighbor that signs has the whole **window**. One that never has is a stranger and has a
//!   small one; one that contradicted itself has none.
//! - All strangers together have a **pool**, so that new keys bring no new windows.
//! - **Exposure** is what a neighbor has had and not signed for. Of what it disputes, as much is
//!   forgiven as honest neighbors differ by.
//! - A neighbor is held from its window on, and released below half of it. Community mode, price 0,
//!   holds nobody.

/// How many strangers can use their whole window at a time.
const STRANGERS: u64 = 8;

/// A share of what a neighbor signs that it may dispute, in hundredths: the loss of a good radio
/// link, and what a consumer's tolerance is.
const FORGIVEN_PERCENT: u128 = 1;

/// What it may dispute on top: as a consumer's tolerance.
const FORGIVEN_BYTES: u128 = 64 << 10;

/// What is known of a neighbor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// Has signed a receipt.
    Known,
    /// Has never signed one, in this run or in the log.
    Stranger,
    /// Has signed two receipts for one place.
    Cheat,
}

/// Bytes that may be unpaid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Credit {
    /// By a neighbor that has signed before; offered to everybody.
    pub known_bytes: u64,
    /// By a stranger, until it signs.
    pub stranger_bytes: u64,
}

impl Credit {
    /// 8 MiB; 1 MiB for a stranger.
    pub const fn new() -> Self {
        Self {
            known_bytes: 8 << 20,
            stranger_bytes: 1 << 20,
        }
    }

    /// The window of one neighbor, in bytes.
    pub const fn window(&self, standing: Standing) -> u64 {
        match standing {
            Standing::Known => self.known_bytes,
            Standing::Stranger => self.stranger_bytes,
            Standing::Cheat => 0,
        }
    }

    /// The window that is left for one stranger while others have had `others` bytes.
    pub(super) fn stranger_window(&self, others: u128) -> u64 {
        self.pool_left(others).min(self.stranger_bytes)
    }

    /// What is left for strangers while all of them have had `had` bytes.
    pub(super) fn pool_left(&self, had: u128) -> u64 {
        let pool = u128::from(self.stranger_bytes) * u128::from(STRANGERS);
        u64::try_from(pool.saturating_sub(had)).unwrap_or(u64::MAX)
    }
}

impl Default for Credit {
    fn default() -> Self {
        Self::new()
    }
}

/// What a neighbor has had of this node at a price, and what became of it in this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Carried {
    pub(super) unsigned: u128,
    pub(super) disputed: u128,
    pub(super) signed: u128,
}

impl Carried {
    pub(super) const fn add(&mut self, other: &Self) {
        self.unsigned = self.unsigned.saturating_add(other.unsigned);
        self.disputed = self.disputed.saturating_add(other.disputed);
        self.signed = self.signed.saturating_add(other.signed);
    }

    /// Bytes that are neither signed nor forgiven.
    pub(super) const fn exposure(&self) -> u128 {
        let forgiven = self.signed / 100 * FORGIVEN_PERCENT + FORGIVEN_BYTES;
        self.unsigned
            .saturating_add(self.disputed.saturating_sub(forgiven))
    }
}

/// Whether a neighbor is held, or this node throttles itself, given whether it was before.
pub(super) fn is_over(before: bool, exposure: u128, hold_at: u64, release_below: u64) -> bool {
    exposure >= u128::from(if before { release_below } else { hold_at })
}

/// New bytes after which a receipt is asked for: early enough to be answered before the window is
/// used up.
pub(super) const fn ask_after(every_bytes: u64, window: u64) -> u64 {
    let quarter = window / 4;
    if quarter < every_bytes {
        quarter
    } else {
        every_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn held_from_the_window_on_and_released_below_half() {
        let is_over = |before, exposure| is_over(before, exposure, 8, 4);
        assert!(!is_over(false, 7));
        assert!(is_over(false, 8));
        assert!(is_over(true, 4));
        assert!(!is_over(true, 3));
    }

    #[test]
    fn a_cheat_has_no_window_and_is_never_released() {
        assert_eq!(Credit::new().window(Standing::Cheat), 0);
        assert!(is_over(false, 0, 0, 0));
        assert!(is_over(true, 0, 0, 0));
    }

    #[test]
    fn strangers_share_one_pool() {
        let credit = Credit::new();
        let left = |others: u64| credit.stranger_window(u128::from(others));
        assert_eq!(left(0), MIB);
        assert_eq!(left(7 * MIB), MIB);
        assert_eq!(left(7 * MIB + 1), MIB - 1);
        assert_eq!(left(9 * MIB), 0);
    }

    #[test]
    fn what_is_disputed_is_forgiven_up_to_one_percent_and_64_kib() {
        let carried = |disputed| Carried {
            unsigned: 10,
            disputed,
            signed: 1_000_000,
        };
        assert_eq!(carried(0).exposure(), 10);
        assert_eq!(carried(10_000 + 65_536).exposure(), 10);
        assert_eq!(carried(10_000 + 65_536 + 7).exposure(), 17);
    }

    #[test]
    fn receipts_are_asked_for_within_a_quarter_of_the_window() {
        assert_eq!(ask_after(2 * MIB, 8 * MIB), 2 * MIB);
        assert_eq!(ask_after(2 * MIB, MIB), MIB / 4);
        assert_eq!(ask_after(2 * MIB, 0), 0);
    }
}
