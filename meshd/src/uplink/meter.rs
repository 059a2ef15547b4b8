//! How much of an uplink is left: what the operator says it carries, or what it was seen to carry, less
//! what it carries at the time.

use std::time::{Duration, Instant};

/// What is offered of an uplink whose bandwidth the operator did not state and that was not seen to
/// carry more, bit/s down and up: a slow mobile connection. Too low a guess costs little; too high a one
/// draws the village's traffic to a line that cannot carry it.
const ASSUMED: Bps = Bps {
    down: 10_000_000,
    up: 2_000_000,
};
/// Between two readings of the interface's counters.
pub(super) const INTERVAL: Duration = Duration::from_secs(10);
/// The load is the mean of about so long: gateways are not changed for one download.
const LOAD_TIME: Duration = Duration::from_secs(60);
/// After so long, about half of what was seen is forgotten: the line may have become a slower one.
const HALF_LIFE: Duration = Duration::from_secs(3600);
/// A line that is full is offered with this part of what it carries, so that it is used where it is the
/// only one.
const LEAST_PART: u64 = 8;
/// Bits per second that make no difference.
const MURMUR: u64 = 100_000;
/// What is told is not told again for so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bits per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bps {
    /// From the Internet.
    pub down: u64,
    /// To the Internet.
    pub up: u64,
}

impl Bps {
    fn with(self, other: Self, both: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            down: both(self.down, other.down),
            up: both(self.up, other.up),
        }
    }

    fn each(self, one: impl Fn(u64) -> u64) -> Self {
        self.with(self, |it, _| one(it))
    }
}

/// What was seen of an uplink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    /// What it carries, about a minute's mean.
    load: Bps,
    /// The most it carried in the last hours.
    peak: Bps,
}

impl Reading {
    /// What others may count on.
    pub(super) fn offer(self, stated: Option<Bps>) -> Bps {
        let seen = || ASSUMED.with(self.peak.each(round), u64::max);
        let capacity = stated.unwrap_or_else(seen);
        capacity.with(self.load, |capacity, load| {
            let is_idle = load < capacity / 4;
            let left = capacity.saturating_sub(load).max(capacity / LEAST_PART);
            if is_idle { capacity } else { round(left) }
        })
    }
}

impl Reading {
    fn differs_from(self, other: Self) -> bool {
        let pairs = [(self.load, other.load), (self.peak, other.peak)];
        let rates = pairs.map(|(a, b)| [(a.down, b.down), (a.up, b.up)]);
        rates.as_flattened().iter().any(|&(a, b)| differ(a, b))
    }
}

/// Whether rates differ by more than a quarter of the larger, and by more than a murmur.
const fn differ(a: u64, b: u64) -> bool {
    let larger = if a > b { a } else { b };
    a.abs_diff(b) > larger / 4 && a.abs_diff(b) > MURMUR
}

/// Rounds down, to four steps from one power of two to the next: what changes by less is not worth a
/// message to everybody.
fn round(bps: u64) -> u64 {
    let Some(magnitude) = bps.checked_ilog2().and_then(|it| it.checked_sub(2)) else {
        return bps;
    };
    bps >> magnitude << magnitude
}

/// Watches the counters of an interface.
#[derive(Debug)]
pub(super) struct Meter {
    last: (Instant, Counters),
    reading: Reading,
    told: (Instant, Reading),
}

/// Bytes that an interface has received and sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) received: u64,
    pub(super) sent: u64,
}

impl Counters {
    /// What went through since then, in the direction in which it was more.
    pub(super) fn most_since(self, before: Self) -> u64 {
        let received = self.received.saturating_sub(before.received);
        received.max(self.sent.saturating_sub(before.sent))
    }
}

impl Meter {
    pub(super) fn new(now: Instant, counters: Counters) -> Self {
        Self {
            last: (now, counters),
            reading: Reading::default(),
            told: (now, Reading::default()),
        }
    }

    /// Takes in what the counters say. Returns what was seen if that is worth telling.
    pub(super) fn read(&mut self, now: Instant, counters: Counters) -> Option<Reading> {
        let (then, before) = std::mem::replace(&mut self.last, (now, counters));
        let time = now.saturating_duration_since(then);
        let rate = |now: u64, before: u64| bits_per_second(now.saturating_sub(before), time);
        let rate = Bps {
            down: rate(counters.received, before.received),
            up: rate(counters.sent, before.sent),
        };
        let Reading { load, peak } = &mut self.reading;
        *load = load.with(rate, |load, rate| mean(load, rate, time));
        *peak = peak.each(|peak| peak - part(peak, time, HALF_LIFE) / 2);
        *peak = peak.with(rate, u64::max);
        let (at, told) = self.told;
        let is_due = now.saturating_duration_since(at) >= PATIENCE;
        let is_news = is_due && self.reading.differs_from(told);
        is_news.then(|| {
            self.told = (now, self.reading);
            self.reading
        })
    }
}

fn bits_per_second(bytes: u64, time: Duration) -> u64 {
    let bits = u128::from(bytes) * 8 * 1000;
    u64::try_from(bits / time.as_millis().max(1)).unwrap_or(u64::MAX)
}

/// A mean that goes over to what is new in about [`LOAD_TIME`].
fn mean(before: u64, new: u64, time: Duration) -> u64 {
    let all = time + LOAD_TIME;
    before - part(before, time, all) + part(new, time, all)
}

/// The part of a number that a time is of another, at most all of it.
fn part(of: u64, time: Duration, all: Duration) -> u64 {
    let part = u128::from(of) * time.min(all).as_millis() / all.as_millis().max(1);
    u64::try_from(part).unwrap_or(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    const M: u64 = 1_000_000;

    fn mbit(down: u64, up: u64) -> Bps {
        Bps {
            down: down * M,
            up: up * M,
        }
    }

    struct Line {
        meter: Meter,
        now: Instant,
        counters: Counters,
        reading: Reading,
        told: usize,
    }

    impl Line {
        fn new() -> Self {
            let (now, counters) = (Instant::now(), Counters::default());
            Self {
                meter: Meter::new(now, counters),
                now,
                counters,
                reading: Reading::default(),
                told: 0,
            }
        }

        fn carry(&mut self, rate: Bps, time: Duration) {
            for _ in 0..time.as_secs() / INTERVAL.as_secs() {
                self.now += INTERVAL;
                self.counters.received += rate.down / 8 * INTERVAL.as_secs();
                self.counters.sent += rate.up / 8 * INTERVAL.as_secs();
                if let Some(reading) = self.meter.read(self.now, self.counters) {
                    self.reading = reading;
                    self.told += 1;
                }
            }
        }
    }

    #[test]
    fn what_is_idle_is_offered_whole() {
        let nothing = Reading::default();
        assert_eq!(nothing.offer(None), ASSUMED);
        assert_eq!(nothing.offer(Some(mbit(17, 3))), mbit(17, 3));
    }

    #[test]
    fn what_was_seen_is_believed_for_hours() {
        let mut line = Line::new();
        line.carry(mbit(100, 1), Duration::from_secs(60));
        line.carry(mbit(0, 0), Duration::from_secs(600));
        let offer = line.reading.offer(None);
        assert!((80 * M..=100 * M).contains(&offer.down), "{offer:?}");
        assert_eq!(offer.up, ASSUMED.up);
        line.carry(mbit(0, 0), Duration::from_secs(8 * 3600));
        assert_eq!(line.reading.offer(None), ASSUMED);
        // The operator knows better.
        assert_eq!(line.reading.offer(Some(mbit(5, 5))), mbit(5, 5));
    }

    #[test]
    fn what_is_busy_is_offered_as_far_as_it_is_free() {
        let mut line = Line::new();
        let stated = Some(mbit(20, 4));
        line.carry(mbit(12, 0), Duration::from_secs(600));
        let offer = line.reading.offer(stated);
        assert!((6 * M..=9 * M).contains(&offer.down), "{offer:?}");
        assert_eq!(offer.up, 4 * M);
        line.carry(mbit(20, 0), Duration::from_secs(600));
        let offer = line.reading.offer(stated);
        assert!((2 * M..=3 * M).contains(&offer.down), "{offer:?}");
        line.carry(mbit(0, 0), Duration::from_secs(600));
        assert_eq!(line.reading.offer(stated), mbit(20, 4));
    }

    #[test]
    fn little_is_told() {
        let mut line = Line::new();
        line.carry(mbit(8, 1), Duration::from_secs(3600));
        let begun = line.told;
        assert!(begun <= 20, "{begun}");
        for _ in 0..60 {
            line.carry(mbit(8, 1), Duration::from_secs(30));
            line.carry(mbit(9, 1), Duration::from_secs(30));
        }
        assert!(line.told - begun <= 10, "{}", line.told - begun);
    }

    #[test]
    fn counters_that_begin_anew_are_no_rate() {
        let mut line = Line::new();
        line.carry(mbit(8, 1), Duration::from_secs(60));
        line.counters = Counters::default();
        line.carry(mbit(0, 0), Duration::from_secs(60));
        assert!(line.reading.peak.down <= 8 * M, "{:?}", line.reading);
    }
}
