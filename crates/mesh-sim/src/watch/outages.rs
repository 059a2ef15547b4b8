//! How long pairs were without a path.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::NodeIndex;

/// A pair had no path although one was possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// Who wanted to send.
    pub from: NodeIndex,
    /// To whom; nobody in particular where any gateway will do.
    pub to: Option<NodeIndex>,
    /// Since when, after the start of the run.
    pub since: Duration,
    /// Until when: it was routed again, or a path was no longer possible.
    pub until: Duration,
}

/// How many outages lasted how long, to the millisecond.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    by_ms: BTreeMap<u32, u64>,
    open: u64,
}

impl Histogram {
    /// Counts an outage; what is begun of a millisecond counts whole.
    pub(crate) fn add(&mut self, lasted: Duration) {
        let ms = lasted.as_nanos().div_ceil(1_000_000);
        let ms = u32::try_from(ms).unwrap_or(u32::MAX);
        *self.by_ms.entry(ms).or_default() += 1;
    }

    /// Counts an outage that lasts still.
    pub(crate) fn add_open(&mut self, so_far: Duration) {
        self.add(so_far);
        self.open += 1;
    }

    /// Adds what another counted.
    pub fn merge(&mut self, other: &Self) {
        for (ms, count) in &other.by_ms {
            *self.by_ms.entry(*ms).or_default() += count;
        }
        self.open += other.open;
    }

    /// Outages.
    pub fn count(&self) -> u64 {
        self.by_ms.values().sum()
    }

    /// Those of them that were not over at the end of the run; they are counted by what they
    /// had lasted until then.
    pub const fn open(&self) -> u64 {
        self.open
    }

    /// What `percent` of the outages did not exceed, ms; `None` if there were none.
    pub fn percentile_ms(&self, percent: u64) -> Option<u32> {
        let rank = (self.count() * percent).div_ceil(100).max(1);
        let mut passed = 0;
        self.by_ms.iter().find_map(|(ms, count)| {
            passed += count;
            (passed >= rank).then_some(*ms)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_list() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile_ms(50), None);
        for ms in (1..=200).rev() {
            histogram.add(Duration::from_millis(ms));
        }
        let percentiles = [50, 90, 99, 100].map(|p| histogram.percentile_ms(p).unwrap());
        assert_eq!(percentiles, [100, 180, 198, 200]);
        let mut odd = Histogram::default();
        (1..=3).for_each(|ms| odd.add(Duration::from_millis(ms)));
        assert_eq!(
            [50, 67, 99].map(|p| odd.percentile_ms(p)),
            [2, 3, 3].map(Some)
        );
        let mut other = Histogram::default();
        other.add_open(Duration::from_micros(999_001));
        histogram.merge(&other);
        assert_eq!(histogram.percentile_ms(100), Some(1000));
        assert_eq!((histogram.count(), histogram.open()), (201, 1));
    }
}
