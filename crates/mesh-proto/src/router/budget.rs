//! A budget for news: what changes often must not fill the air (a token bucket: Turner, New
//! Directions in Communications, 1986).

use std::time::{Duration, Instant};

/// Bytes a second that may be spent on news for long: 2 % of the airtime of a radio that
/// broadcasts at 6 Mbit/s.
const RATE: u64 = 16 * 1024;
/// What may be spent at once: records and OGMs of a mesh of some hundred nodes.
const BURST: u64 = 128 * 1024;

/// What is left to spend.
#[derive(Debug)]
pub(super) struct Budget {
    /// Bytes; what was sent beyond the budget is owed.
    left: i64,
    at: Instant,
}

impl Budget {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            left: BURST.cast_signed(),
            at: now,
        }
    }

    /// Takes note of bytes that were sent.
    pub(super) fn spend(&mut self, now: Instant, bytes: usize) {
        let earned = now.duration_since(self.at).as_micros() * u128::from(RATE) / 1_000_000;
        let earned = i64::try_from(earned).unwrap_or(i64::MAX);
        if earned > 0 {
            self.at = now;
        }
        let left = self.left.saturating_add(earned).min(BURST.cast_signed());
        self.left = left.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// From when on something may be sent.
    pub(super) fn ready_at(&self) -> Instant {
        let owed = self.left.min(0).unsigned_abs();
        self.at + Duration::from_micros(owed.saturating_mul(1_000_000) / RATE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "the start of virtual time")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_burst_is_free_and_the_rest_takes_its_time() {
        let now = start();
        let mut budget = Budget::new(now);
        budget.spend(now, BURST as usize);
        assert_eq!(budget.ready_at(), now);
        budget.spend(now, RATE as usize);
        assert_eq!(budget.ready_at(), now + Duration::from_secs(1));
        budget.spend(now + Duration::from_secs(2), 0);
        assert!(budget.ready_at() <= now + Duration::from_secs(2));
    }
}
