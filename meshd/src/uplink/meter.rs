//! How much of an uplink is left: what the operator says it carries, or what it was seen to carry, less
//! what it carries at the time.
//!
//! What a line carried, it can carry. What it carries while it is full is all that it can.

use std::time::{Duration, Instant};

use super::loss::Loss;

/// What is offered of an uplink whose bandwidth the operator did not state and that was not seen to
/// carry more, nor to be full, bit/s down and up: a slow mobile connection. Too low a guess costs little; too
/// high a one draws the village's traffic to a line that cannot carry it, until it is full.
const ASSUMED: Bps = Bps {
    down: 10_000_000,
    up: 2_000_000,
};
/// Between two readings of the interface's counters.
pub(super) const INTERVAL: Duration = Duration::from_secs(10);
/// The load is the mean of about so long: gateways are not changed for one download.
const LOAD_TIME: Duration = Duration::from_secs(60);
/// After so long, about half of what was seen is forgotten: the line may have become another one.
const HALF_LIFE: Duration = Duration::from_secs(3600);
/// A line that is full is offered with this part of what it carries, so that it is used where it is the
/// only one.
const LEAST_PART: u64 = 8;
/// What is less than this part of [`ASSUMED`] does not fill a line: something else does, before us or
/// behind it.
const FILLING_PART: u64 = 64;
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

    /// This is what a line can carry, and it is full at that rate: that is it, in the direction that
    /// is nearer to its end.
    fn limit(&mut self, rate: Self) {
        let share = |rate: u64, of: u64| u128::from(rate) * 1000 / u128::from(of.max(1));
        let is_down = share(rate.down, self.down) >= share(rate.up, self.up);
        let (capacity, rate, assumed) = match is_down {
            true => (&mut self.down, rate.down, ASSUMED.down),
            false => (&mut self.up, rate.up, ASSUMED.up),
        };
        if rate >= assumed / FILLING_PART {
            *capacity = rate;
        }
    }
}

/// What was seen of an uplink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// What it carries, about a minute's mean.
    load: Bps,
    /// What it can carry, as far as was seen in the last hours.
    capacity: Bps,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            load: Bps::default(),
            capacity: ASSUMED,
        }
    }
}

impl Reading {
    /// What others may count on, if so much is lost.
    pub(super) fn offer_with(self, stated: Option<Bps>, loss: Loss) -> Bps {
        let whole = self.offer(stated);
        if loss == Loss::NONE {
            return whole;
        }
        // It is used where it is the only one.
        whole.with(whole, |rate, _| {
            round(loss.left_of(rate).max(rate / LEAST_PART))
        })
    }

    /// What others may count on of a line that loses nothing.
    pub(super) fn offer(self, stated: Option<Bps>) -> Bps {
        let seen = || {
            self.capacity.with(ASSUMED, |seen, assumed| {
                if differ(seen, assumed) {
                    round(seen)
                } else {
                    assumed
                }
            })
        };
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
        let pairs = [(self.load, other.load), (self.capacity, other.capacity)];
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

impl Meter {
    pub(super) fn new(now: Instant, counters: Counters) -> Self {
        Self {
            last: (now, counters),
            reading: Reading::default(),
            told: (now, Reading::default()),
        }
    }

    /// Takes in what the counters say, and whether the line was full since the last time. Returns what
    /// was seen if that is worth telling.
    pub(super) fn read(
        &mut self,
        now: Instant,
        counters: Counters,
        is_full: bool,
    ) -> Option<Reading> {
        let (then, before) = std::mem::replace(&mut self.last, (now, counters));
        let time = now.saturating_duration_since(then);
        let rate = |now: u64, before: u64| bits_per_second(now.saturating_sub(before), time);
        let rate = Bps {
            down: rate(counters.received, before.received),
            up: rate(counters.sent, before.sent),
        };
        let Reading { load, capacity } = &mut self.reading;
        *load = load.with(rate, |load, rate| mean(load, rate, time));
        *capacity = capacity.with(ASSUMED, |seen, assumed| {
            let forgotten = part(seen.abs_diff(assumed), time, HALF_LIFE) / 2;
            if seen > assumed {
                seen - forgotten
            } else {
                seen + forgotten
            }
        });
        *capacity = capacity.with(rate, u64::max);
        if is_full {
            capacity.limit(rate);
        }
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

    impl Bps {
        fn each(self, one: impl Fn(u64) -> u64) -> Self {
            self.with(self, |it, _| one(it))
        }
    }

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
        is_full: bool,
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
                is_full: false,
            }
        }

        fn carry(&mut self, rate: Bps, time: Duration) {
            for _ in 0..time.as_secs() / INTERVAL.as_secs() {
                self.now += INTERVAL;
                self.counters.received += rate.down / 8 * INTERVAL.as_secs();
                self.counters.sent += rate.up / 8 * INTERVAL.as_secs();
                if let Some(reading) = self.meter.read(self.now, self.counters, self.is_full) {
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
    fn what_a_line_carries_while_it_is_full_is_all_it_can() {
        let mut line = Line::new();
        line.carry(mbit(1, 0), Duration::from_secs(60));
        assert_eq!(
            line.reading.offer(None).down,
            ASSUMED.down,
            "it may be idle"
        );
        line.is_full = true;
        line.carry(mbit(1, 0), Duration::from_secs(30));
        let offer = line.reading.offer(None);
        assert!(offer.down <= M / 2, "{offer:?}");
        assert_eq!(offer.up, ASSUMED.up);
        line.is_full = false;
        line.carry(mbit(0, 0), Duration::from_secs(300));
        let offer = line.reading.offer(None);
        assert!((M / 2..=3 * M / 2).contains(&offer.down), "{offer:?}");
        assert_eq!(line.reading.offer(Some(mbit(5, 5))), mbit(5, 5));
        let long = Duration::from_secs(8 * 3600);
        line.carry(mbit(0, 0), long);
        assert_eq!(line.reading.offer(None), ASSUMED, "long ago");
    }

    #[test]
    fn a_line_that_carries_more_was_not_full() {
        let mut line = Line::new();
        line.is_full = true;
        line.carry(mbit(1, 0), Duration::from_secs(60));
        line.is_full = false;
        line.carry(mbit(6, 0), Duration::from_secs(60));
        line.carry(mbit(0, 0), Duration::from_secs(300));
        let offer = line.reading.offer(None);
        assert!((5 * M..=7 * M).contains(&offer.down), "{offer:?}");
    }

    #[test]
    fn a_line_is_full_in_the_direction_that_is_nearer_to_its_end() {
        let mut line = Line::new();
        line.is_full = true;
        line.carry(mbit(1, 1), Duration::from_secs(60));
        line.is_full = false;
        line.carry(mbit(0, 0), Duration::from_secs(300));
        let offer = line.reading.offer(None);
        assert_eq!(offer.down, ASSUMED.down);
        assert!((M / 2..=3 * M / 2).contains(&offer.up), "{offer:?}");
    }

    #[test]
    fn a_murmur_fills_no_line() {
        let mut line = Line::new();
        line.is_full = true;
        let murmur = ASSUMED.each(|assumed| assumed / FILLING_PART / 2);
        line.carry(murmur, Duration::from_secs(600));
        assert_eq!(line.reading.offer(None), ASSUMED);
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
        line.carry(mbit(20, 1), Duration::from_secs(60));
        line.counters = Counters::default();
        line.carry(mbit(0, 0), Duration::from_secs(60));
        assert!(line.reading.capacity.down <= 20 * M, "{:?}", line.reading);
    }
}
