//! How much was carried and earned, hour by hour, in the last week.
//!
//! In memory only, and by a clock that nobody sets: hours have no dates, only a distance from now.
//! The driver calls [`History::add`] with each count of the kernel's bytes and with each receipt.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A week.
const MAX_HOURS: usize = 7 * 24;

const HOUR: Duration = Duration::from_secs(3600);

/// What happened in one hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hour {
    /// Bytes that this node carried for neighbors.
    pub carried_bytes: u64,
    /// Bytes that neighbors carried for this node.
    pub consumed_bytes: u64,
    /// atto-SMT that neighbors signed for.
    pub earned_atto: u128,
    /// atto-SMT that this node signed for.
    pub paid_atto: u128,
}

impl Hour {
    /// For people to look at; nothing is paid by it, so sums may stop at their limits.
    const fn add(&mut self, other: &Self) {
        self.carried_bytes = self.carried_bytes.saturating_add(other.carried_bytes);
        self.consumed_bytes = self.consumed_bytes.saturating_add(other.consumed_bytes);
        self.earned_atto = self.earned_atto.saturating_add(other.earned_atto);
        self.paid_atto = self.paid_atto.saturating_add(other.paid_atto);
    }
}

/// The hours since the daemon started, at most the last 168. 10 KiB.
#[derive(Debug)]
pub struct History {
    since: Instant,
    /// The number of the hour that stands first, from 0.
    newest: u64,
    /// The newest first. Never empty.
    hours: VecDeque<Hour>,
}

impl History {
    /// Begins with the first hour.
    pub fn new(now: Instant) -> Self {
        Self {
            since: now,
            newest: 0,
            hours: VecDeque::from([Hour::default()]),
        }
    }

    /// Adds what has just happened to the present hour. What is not meant stays at its default.
    pub fn add(&mut self, now: Instant, happened: &Hour) {
        for _ in 0..self.idle_hours(now) {
            self.hours.push_front(Hour::default());
        }
        self.hours.truncate(MAX_HOURS);
        self.newest = self.newest.max(self.number(now));
        if let Some(present) = self.hours.front_mut() {
            present.add(happened);
        }
    }

    /// The hours, the present one first: the hour at index `n` was `n` hours ago.
    pub fn hours(&self, now: Instant) -> impl Iterator<Item = Hour> + '_ {
        let idle = std::iter::repeat_n(Hour::default(), self.idle_hours(now));
        idle.chain(self.hours.iter().copied()).take(MAX_HOURS)
    }

    fn number(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.since).as_secs() / HOUR.as_secs()
    }

    /// How many hours have begun since anything was added, as far as they matter.
    fn idle_hours(&self, now: Instant) -> usize {
        let idle = self.number(now).saturating_sub(self.newest);
        usize::try_from(idle).unwrap_or(MAX_HOURS).min(MAX_HOURS)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn carried(bytes: u64) -> Hour {
        Hour {
            carried_bytes: bytes,
            ..Hour::default()
        }
    }

    fn bytes(history: &History, now: Instant) -> Vec<u64> {
        history.hours(now).map(|hour| hour.carried_bytes).collect()
    }

    #[test]
    fn what_happens_in_an_hour_adds_up() {
        let start = Instant::now();
        let mut history = History::new(start);
        let happened = Hour {
            carried_bytes: 1,
            consumed_bytes: 2,
            earned_atto: 3,
            paid_atto: 4,
        };
        history.add(start, &happened);
        history.add(start + Duration::from_secs(3599), &happened);

        let hours: Vec<Hour> = history.hours(start).collect();

        let twice = Hour {
            carried_bytes: 2,
            consumed_bytes: 4,
            earned_atto: 6,
            paid_atto: 8,
        };
        assert_eq!(hours, [twice]);
    }

    #[test]
    fn hours_move_into_the_past_with_or_without_traffic() {
        let start = Instant::now();
        let mut history = History::new(start);
        history.add(start, &carried(7));
        assert_eq!(bytes(&history, start + 2 * HOUR), [0, 0, 7]);
        history.add(start + 3 * HOUR, &carried(9));
        assert_eq!(bytes(&history, start + 3 * HOUR), [9, 0, 0, 7]);
        assert_eq!(bytes(&history, start + 4 * HOUR), [0, 9, 0, 0, 7]);
    }

    #[test]
    fn more_than_a_week_is_forgotten() {
        let start = Instant::now();
        let mut history = History::new(start);
        history.add(start, &carried(1));
        history.add(start + HOUR, &carried(2));
        let later = bytes(&history, start + 168 * HOUR);
        assert_eq!((later.len(), later.last()), (168, Some(&2)));
        assert_eq!(bytes(&history, start + 10_000 * HOUR), [0; 168]);
        history.add(start + 10_000 * HOUR, &carried(3));
        let hours = bytes(&history, start + 10_000 * HOUR);
        assert_eq!((hours.len(), hours.iter().sum()), (168, 3));
    }

    proptest! {
        #[test]
        fn every_hour_is_as_in_a_list_without_limit(
            steps in prop::collection::vec((0..20_000_u64, 0..100_u64), 1..200)
        ) {
            let start = Instant::now();
            let (mut history, mut now) = (History::new(start), start);
            let mut all = vec![0; 1];
            for (seconds, count) in steps {
                now += Duration::from_secs(seconds);
                let number = usize::try_from((now - start).as_secs() / 3600).unwrap();
                all.resize(number + 1, 0);
                all[number] += count;
                history.add(now, &carried(count));
                let expected: Vec<u64> = all.iter().rev().take(168).copied().collect();
                prop_assert_eq!(bytes(&history, now), expected);
            }
        }
    }
}
