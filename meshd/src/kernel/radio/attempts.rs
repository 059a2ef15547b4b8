//! How long an interface may take to join, time after time.

use std::time::{Duration, Instant};

/// How long the first attempt may take. On a slow router, the arithmetic of SAE begins before
/// there is anything to hear.
const FIRST: Duration = Duration::from_secs(20);

/// Each attempt may take twice as long as the one before, so often: eleven minutes in the end.
const MAX_DOUBLINGS: u32 = 5;

/// Attempts to join, one after the other, until one succeeds.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    failed: u32,
    /// When the current one began.
    since: Option<Instant>,
}

impl Attempts {
    /// Whether the current attempt has failed. With the first question after it did, the next
    /// begins.
    pub(super) fn has_failed(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let patience = FIRST * 2_u32.pow(self.failed.min(MAX_DOUBLINGS));
        let failed = now.duration_since(since) >= patience;
        if failed {
            self.failed = self.failed.saturating_add(1);
            self.since = None;
        }
        failed
    }

    /// It cannot succeed at the moment, for other reasons.
    pub(super) const fn interrupt(&mut self) {
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attempt_has_twice_the_time_up_to_a_bound() {
        let mut now = Instant::now();
        let mut attempts = Attempts::default();
        let patience = [20, 40, 80, 160, 320, 640, 640].map(Duration::from_secs);
        for patience in patience {
            assert!(!attempts.has_failed(now));
            assert!(!attempts.has_failed(now + patience - Duration::from_millis(1)));
            now += patience;
            assert!(attempts.has_failed(now), "{patience:?}");
        }
    }

    #[test]
    fn time_in_which_it_could_not_succeed_does_not_count() {
        let now = Instant::now();
        let mut attempts = Attempts::default();
        assert!(!attempts.has_failed(now));
        attempts.interrupt();
        assert!(!attempts.has_failed(now + FIRST));
        assert!(attempts.has_failed(now + FIRST * 2));
    }
}
