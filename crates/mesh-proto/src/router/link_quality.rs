//! How good a link is, learned from the hellos that arrive and those that do not.

use std::time::{Duration, Instant};

use crate::Metric;
use crate::wire::Hello;

/// Hellos that the quality is taken from. At two a second: eight seconds, enough to tell 6 % of
/// loss from none.
const WINDOW: u32 = 16;
/// Hellos that the usual loss is taken from, by which a link is given up: so many that a link of
/// 10 % loss passes for one without loss once in 800 times.
const LONG_WINDOW: u32 = 63;
/// A link of fewer hellos than this is taken for one that loses some, or links of much loss would
/// be given up before it is known.
const YOUNG: u32 = 8;
/// Hellos in a row that a link without loss may miss before it is given up: one collision, one
/// late timer, and the one that proves it.
const MIN_MISSES: u32 = 3;
/// How likely a living link may be given up by chance, in parts per million per hello. The usual
/// loss of the link decides how many misses that takes (an accrual failure detector: Hayashibara
/// et al., The φ Accrual Failure Detector, 2004).
const GIVE_UP_PPM: u64 = 10;
/// Airtime of a 1500-byte packet on a link of unknown speed, µs: 24 Mbit/s, a usual rate of
/// outdoor radios.
const ASSUMED_AIRTIME_US: u32 = 500;

/// Which of a neighbor's last hellos arrived.
#[derive(Debug)]
pub(super) struct HelloWindow {
    /// Newest in the lowest bit; a set bit arrived.
    heard: u64,
    /// Hellos expected so far, at most [`LONG_WINDOW`].
    expected: u32,
    last_seqno: u16,
    last_at: Instant,
    interval: Duration,
}

impl HelloWindow {
    pub(super) fn new(now: Instant, hello: &Hello) -> Self {
        Self {
            heard: 1,
            expected: 1,
            last_seqno: hello.seqno,
            last_at: now,
            interval: hello.interval(),
        }
    }

    /// Takes note of a hello. One out of order, or far ahead, means that the sender's count
    /// began anew; what was learned of the link stays.
    pub(super) fn hear(&mut self, now: Instant, hello: &Hello) {
        let gap = u32::from(hello.seqno.wrapping_sub(self.last_seqno));
        match gap {
            0 => {}
            1..=WINDOW => self.take(now, hello, gap),
            _ => self.take(now, hello, 1),
        }
    }

    /// Takes note of the first hello after the sender's restart, whatever its number.
    pub(super) fn hear_anew(&mut self, now: Instant, hello: &Hello) {
        self.take(now, hello, 1);
    }

    fn take(&mut self, now: Instant, hello: &Hello, shift: u32) {
        self.heard = self.heard << shift | 1;
        self.expected = (self.expected + shift).min(LONG_WINDOW);
        self.last_seqno = hello.seqno;
        self.last_at = now;
        self.interval = hello.interval();
    }

    /// The share of hellos that arrive, 0 to 255; those overdue at `now` count as lost.
    pub(super) fn quality(&self, now: Instant) -> u8 {
        let overdue = self.overdue(now);
        let expected = (self.expected + overdue).min(WINDOW);
        let heard = newest(self.heard << overdue, expected);
        // heard ≤ expected, so the share is at most 255.
        u8::try_from(heard * 255 / expected).unwrap_or(u8::MAX)
    }

    /// When the link is given up if no further hello arrives.
    pub(super) fn deadline(&self) -> Instant {
        self.last_at + self.interval * self.misses_allowed() + self.interval / 2
    }

    /// The least number of misses in a row that is unlikely on a living link.
    fn misses_allowed(&self) -> u32 {
        let lost = self.expected - newest(self.heard, self.expected);
        // A young link is judged as if it had lost one more of as many as make it grown.
        let (lost, expected) = match self.expected < YOUNG {
            true => (lost + 1, YOUNG),
            false => (lost, self.expected),
        };
        let mut chance_ppm: u64 = 1_000_000;
        let mut misses = 0;
        while chance_ppm > GIVE_UP_PPM && misses < WINDOW {
            chance_ppm = chance_ppm * u64::from(lost) / u64::from(expected);
            misses += 1;
        }
        misses.max(MIN_MISSES)
    }

    /// Hellos that should have come since the last one; half an interval is forgiven as jitter.
    fn overdue(&self, now: Instant) -> u32 {
        let waited = now.saturating_duration_since(self.last_at) + self.interval / 2;
        let due = waited.as_micros() / self.interval.as_micros().max(1);
        u32::try_from(due.saturating_sub(1))
            .unwrap_or(u32::MAX)
            .min(WINDOW)
    }
}

/// How many of the newest `expected` hellos, at most [`LONG_WINDOW`], were heard.
const fn newest(heard: u64, expected: u32) -> u32 {
    let mask = (1 << expected) - 1;
    (heard & mask).count_ones()
}

/// What a link costs when `rx` of the neighbor's hellos arrive here and `tx` of ours there, both
/// 0 to 255: the airtime of one transmission times the expected number of them (ETX: De Couto et
/// al., A High-Throughput Path Metric for Multi-Hop Wireless Routing, 2003), plus the fixed cost
/// of a hop.
pub(super) fn link_cost(rx: u8, tx: u8) -> Metric {
    let delivered = u32::from(rx) * u32::from(tx);
    let Some(airtime) = (ASSUMED_AIRTIME_US * 255 * 255).checked_div(delivered) else {
        return Metric::INFINITE;
    };
    Metric::HOP.plus(Metric::from_us(airtime))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(500);

    fn hello(seqno: u16) -> Hello {
        Hello {
            seqno,
            interval_ms: 500,
            boot: 1,
            warm: false,
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
        assert_eq!(
            window.quality(now + INTERVAL * 4 / 3),
            255,
            "one late hello is jitter"
        );
        assert_eq!(window.quality(now + INTERVAL * 4), 207, "13 of 16");
        assert_eq!(window.quality(now + INTERVAL * 400), 0);
    }

    #[test]
    fn a_lossy_link_is_given_more_time() {
        let (clean, now) = window(40, 0);
        assert_eq!(clean.deadline() - now, INTERVAL * 3 + INTERVAL / 2);
        let (lossy, _) = window(40, 3);
        assert!(lossy.misses_allowed() >= 8, "{}", lossy.misses_allowed());
        assert!(lossy.misses_allowed() <= WINDOW);
    }

    #[test]
    fn the_usual_loss_outlasts_a_lucky_streak() {
        let (mut window, mut now) = window(40, 3);
        for seqno in 40..60 {
            now += INTERVAL;
            window.hear(now, &hello(seqno));
        }
        assert_eq!(window.quality(now), 255);
        assert!(window.misses_allowed() >= 6, "{}", window.misses_allowed());
    }

    #[test]
    fn a_young_link_is_not_given_up_for_its_first_losses() {
        let (young, _) = window(3, 0);
        assert_eq!(young.misses_allowed(), 6);
        let (grown, _) = window(8, 0);
        assert_eq!(grown.misses_allowed(), MIN_MISSES);
    }

    #[test]
    fn a_restarted_count_is_not_taken_for_loss() {
        let (mut window, now) = window(40, 0);
        window.hear(now + INTERVAL, &hello(0));
        assert_eq!(window.quality(now + INTERVAL), 255);
    }

    #[test]
    fn cost_grows_with_loss_in_either_direction() {
        assert_eq!(link_cost(255, 255), Metric::from_us(600));
        assert!(link_cost(128, 255) > Metric::from_us(1000));
        assert_eq!(link_cost(128, 255), link_cost(255, 128));
        assert_eq!(link_cost(0, 255), Metric::INFINITE);
        assert_eq!(link_cost(255, 0), Metric::INFINITE);
    }
}
