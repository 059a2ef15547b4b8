//! How good a link is, learned from the hellos that arrive and those that do not.

use std::time::{Duration, Instant};

use crate::Metric;
use crate::wire::Hello;

/// Hellos that the quality is taken from: on an idle link two minutes, in which the loss of a link
/// that loses a third is known to within 8 %.
const WINDOW: u32 = 32;
/// Hellos that the usual loss is taken from, by which a link is judged when it falls silent: so
/// many that a link of 10 % loss passes for one without loss once in 800 times.
const LONG_WINDOW: u32 = 63;
/// A link of fewer hellos than this is taken for one that loses some.
const YOUNG: u32 = 8;
/// How likely a living neighbor may be asked in vain whether it is there, in parts per million per
/// hello: it costs a packet and its answer, so one in ten is cheap.
const DOUBT_PPM: u64 = 100_000;
/// More misses than this are never waited for.
const MAX_MISSES: u32 = 16;
/// How late a hello may be before it is missed.
const LONGEST_DELAY: Duration = Duration::from_millis(250);
/// Airtime of a 1500-byte packet on a link of unknown speed, µs: 24 Mbit/s, a usual rate of
/// outdoor radios.
const ASSUMED_AIRTIME_US: u32 = 500;

/// Which of the last signs of life arrived, and which did not.
#[derive(Clone, Copy, Debug)]
pub(super) struct History {
    /// Newest in the lowest bit; a set bit arrived.
    heard: u64,
    /// Those expected so far, at most [`LONG_WINDOW`].
    expected: u32,
}

impl History {
    /// One that arrived.
    pub(super) const fn new() -> Self {
        Self {
            heard: 1,
            expected: 1,
        }
    }

    /// `misses`, and then one that arrived.
    pub(super) fn note(&mut self, misses: u32) {
        let shift = misses.min(LONG_WINDOW - 1) + 1;
        self.heard = self.heard << shift | 1;
        self.expected = (self.expected + shift).min(LONG_WINDOW);
    }

    /// How many of all expected were lost, and how many were expected.
    pub(super) const fn lost(&self) -> (u32, u32) {
        let heard = newest(self.heard, self.expected);
        (self.expected - heard, self.expected)
    }

    /// The share that arrived of the newest [`WINDOW`], 0 to 255, if `overdue` more were lost.
    fn quality(&self, overdue: u32) -> u8 {
        let overdue = overdue.min(WINDOW);
        let expected = (self.expected + overdue).min(WINDOW);
        let heard = newest(self.heard << overdue, expected);
        // heard ≤ expected, so the share is at most 255.
        u8::try_from(heard * 255 / expected).unwrap_or(u8::MAX)
    }
}

/// How many of the newest `expected`, at most [`LONG_WINDOW`], arrived.
const fn newest(heard: u64, expected: u32) -> u32 {
    let mask = (1 << expected) - 1;
    (heard & mask).count_ones()
}

/// A neighbor's hellos.
#[derive(Debug)]
pub(super) struct HelloWindow {
    history: History,
    last_seqno: u16,
    last_at: Instant,
    interval: Duration,
}

impl HelloWindow {
    pub(super) fn new(now: Instant, hello: &Hello) -> Self {
        Self {
            history: History::new(),
            last_seqno: hello.seqno,
            last_at: now,
            interval: hello.interval(),
        }
    }

    /// Takes note of a hello. One far ahead or behind means that the sender's count began anew;
    /// what was learned of the link stays.
    pub(super) fn hear(&mut self, now: Instant, hello: &Hello) {
        let gap = u32::from(hello.seqno.wrapping_sub(self.last_seqno));
        match gap {
            // The last one again, to go with something else.
            0 => {}
            1..=WINDOW => self.history.note(gap - 1),
            _ => self.history.note(0),
        }
        self.last_seqno = hello.seqno;
        self.last_at = now;
        self.interval = hello.interval();
    }

    /// The share of hellos that arrive, 0 to 255; those overdue at `now` count as lost.
    pub(super) fn quality(&self, now: Instant) -> u8 {
        self.history.quality(self.overdue(now))
    }

    /// The share of broadcasts that usually get lost, in parts per million.
    pub(super) const fn usual_loss_ppm(&self) -> u64 {
        let (lost, expected) = self.history.lost();
        lost as u64 * 1_000_000 / expected as u64
    }

    /// When the neighbor is to be asked whether it is there if no further hello arrives.
    pub(super) fn doubtful_at(&self) -> Instant {
        let misses = usize::try_from(self.misses_allowed()).unwrap_or(usize::MAX);
        let due = self.due().nth(misses - 1).unwrap_or(self.interval);
        self.last_at + due + LONGEST_DELAY.min(self.interval / 2)
    }

    /// The least number of misses in a row that is unlikely on a living link.
    fn misses_allowed(&self) -> u32 {
        let (lost, expected) = self.history.lost();
        // A young link is judged as if it had lost one more of as many as make it grown.
        let (lost, expected) = match expected < YOUNG {
            true => (lost + 1, YOUNG),
            false => (lost, expected),
        };
        unlikely_misses(lost.into(), expected.into(), DOUBT_PPM).max(1)
    }

    /// Hellos that should have come since the last one; half an interval is forgiven as jitter.
    fn overdue(&self, now: Instant) -> u32 {
        let waited = now.saturating_duration_since(self.last_at);
        let forgiven = self.interval / 2;
        let due = self
            .due()
            .take(usize::try_from(WINDOW).unwrap_or(usize::MAX));
        let overdue = due.take_while(|due| *due + forgiven <= waited).count();
        u32::try_from(overdue).unwrap_or(WINDOW)
    }

    /// How long after the last hello the next ones are due at the latest: intervals may double
    /// from one to the next (see [`Hello`]).
    fn due(&self) -> impl Iterator<Item = Duration> {
        let first = (self.interval, self.interval);
        let steps = std::iter::successors(Some(first), |(due, interval)| {
            let interval = (*interval * 2).min(Hello::LONGEST.max(*interval));
            Some((*due + interval, interval))
        });
        steps.map(|(due, _)| due)
    }
}

/// How many misses in a row happen with a chance of less than `ppm` millionths, where `lost` of
/// `expected` get lost usually (an accrual failure detector: Hayashibara et al., The φ Accrual
/// Failure Detector, 2004).
pub(super) fn unlikely_misses(lost: u64, expected: u64, ppm: u64) -> u32 {
    const ONE: u64 = 1_000_000_000;
    let mut chance = ONE;
    let mut misses = 0;
    while chance > ppm * (ONE / 1_000_000) && misses < MAX_MISSES {
        chance = chance * lost / expected;
        misses += 1;
    }
    misses
}

/// The airtime of a 1500-byte packet at `bits_per_second`, µs: what a driver or a wire promises;
/// without it what is usual.
pub(super) fn airtime_us(bits_per_second: Option<u64>) -> u32 {
    const PACKET_BITS: u64 = 1500 * 8;
    let known = bits_per_second.filter(|speed| *speed > 0);
    known.map_or(ASSUMED_AIRTIME_US, |speed| {
        u32::try_from(PACKET_BITS * 1_000_000 / speed).unwrap_or(u32::MAX)
    })
}

/// What a link costs when `rx` of the neighbor's hellos arrive here and `tx` of ours there, both
/// 0 to 255: the cost of one transmission, which is the fixed one of a hop and the airtime, times
/// the expected number of them (ETX: De Couto et al., A High-Throughput Path Metric for Multi-Hop
/// Wireless Routing, 2003).
pub(super) fn link_cost(rx: u8, tx: u8, airtime_us: u32) -> Metric {
    let once = u64::from(Metric::HOP.plus(Metric::from_us(airtime_us)).as_us());
    let delivered = u64::from(rx) * u64::from(tx);
    let cost = (once * 255 * 255).checked_div(delivered);
    cost.map_or(Metric::INFINITE, |us| {
        Metric::from_us(u32::try_from(us).unwrap_or(u32::MAX))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(2);

    fn hello(seqno: u16) -> Hello {
        Hello {
            seqno,
            interval_ms: 2000,
            version: 0,
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the start of virtual time")]
    fn start() -> Instant {
        Instant::now()
    }

    /// A window fed with hellos `0..count`, of which every `lose_every`th is lost.
    fn window(count: u16, lose_every: u16) -> (HelloWindow, Instant) {
        let start = start();
        let mut now = start;
        let mut window = HelloWindow::new(now, &hello(0));
        for seqno in 1..count {
            now = start + INTERVAL * u32::from(seqno);
            if lose_every == 0 || seqno % lose_every != 0 {
                window.hear(now, &hello(seqno));
            }
        }
        (window, now)
    }

    #[test]
    fn quality_is_the_share_that_arrives() {
        let (clean, now) = window(40, 0);
        assert_eq!(clean.quality(now), 255);
        let (half, now) = window(40, 2);
        assert_eq!(half.quality(now), 127);
        let (new, now) = window(1, 0);
        assert_eq!(new.quality(now), 255);
    }

    #[test]
    fn overdue_hellos_lower_the_quality_before_the_next_arrives() {
        let (window, now) = window(40, 0);
        let late = window.quality(now + INTERVAL * 4 / 3);
        assert_eq!(late, 255, "one late hello is jitter");
        assert_eq!(
            window.quality(now + INTERVAL * 7),
            231,
            "29 of 32, as intervals may grow"
        );
        assert_eq!(window.quality(now + INTERVAL * 400), 0);
    }

    #[test]
    fn a_lossy_link_is_given_more_time() {
        let (clean, now) = window(40, 0);
        assert_eq!(clean.doubtful_at() - now, INTERVAL + LONGEST_DELAY);
        let (lossy, now) = window(40, 3);
        assert!(lossy.doubtful_at() - now > INTERVAL * 2);
    }

    #[test]
    fn the_usual_loss_outlasts_a_lucky_streak() {
        let (mut window, mut now) = window(40, 3);
        for seqno in 40..72 {
            now += INTERVAL;
            window.hear(now, &hello(seqno));
        }
        assert_eq!(window.quality(now), 255);
        assert_eq!(window.misses_allowed(), 2);
    }

    #[test]
    fn a_young_link_is_taken_for_one_that_loses_some() {
        let (young, _) = window(3, 0);
        assert_eq!(young.misses_allowed(), 2);
        let (grown, _) = window(8, 0);
        assert_eq!(grown.misses_allowed(), 1);
    }

    #[test]
    fn intervals_that_grow_while_hellos_get_lost_are_not_taken_for_silence() {
        let now = start();
        let fast = Hello {
            interval_ms: 200,
            ..hello(0)
        };
        let mut window = HelloWindow::new(now, &fast);
        let due: Vec<_> = window.due().take(6).collect();
        let ms = Duration::from_millis;
        assert_eq!(due, [200, 600, 1400, 3000, 6200, 10_200].map(ms));
        (1..8).for_each(|seqno| window.hear(now, &Hello { seqno, ..fast }));
        assert_eq!(window.doubtful_at() - now, ms(300), "one, and half of one");
    }

    #[test]
    fn a_restarted_count_is_not_taken_for_loss() {
        let (mut window, now) = window(40, 0);
        window.hear(now + INTERVAL, &hello(0));
        assert_eq!(window.quality(now + INTERVAL), 255);
    }

    #[test]
    fn cost_grows_with_loss_in_either_direction() {
        let cost = |rx, tx| link_cost(rx, tx, airtime_us(None));
        assert_eq!(cost(255, 255), Metric::from_us(600));
        assert!(cost(128, 255) > Metric::from_us(1000));
        assert_eq!(cost(128, 255), cost(255, 128));
        assert_eq!(cost(0, 255), Metric::INFINITE);
        assert_eq!(cost(255, 0), Metric::INFINITE);
    }

    #[test]
    fn a_known_speed_counts_and_a_hop_is_never_free() {
        let wire = link_cost(255, 255, airtime_us(Some(1_000_000_000)));
        assert_eq!(wire, Metric::from_us(112));
        assert!(link_cost(255, 255, airtime_us(Some(u64::MAX))) >= Metric::HOP);
        assert_eq!(
            airtime_us(Some(0)),
            airtime_us(None),
            "0 is a driver that does not know"
        );
        assert!(
            link_cost(128, 255, 0) > Metric::from_us(190),
            "loss counts on wires too"
        );
    }
}
