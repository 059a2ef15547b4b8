//! What the driver of a radio says of a neighbor (linux/nl80211.h, `enum nl80211_sta_info`).

use std::time::{Duration, Instant};

/// Frames to a neighbor between two reports, two seconds, from which on the rate of the last is
/// believed. A driver begins at the lowest rate and climbs while it has something to send: what
/// we send ourselves to watch a link, twenty frames, says nothing of what traffic would get.
const ENOUGH_FRAMES: u64 = 50;
/// How long a rate is believed after the last traffic. It must not be for ever: on a link that
/// was bad once there may be no traffic that would find it better.
const RATE_LIFETIME: Duration = Duration::from_secs(300);
/// What of a rate gets through: half of the air, and more, goes into preambles, acknowledgements
/// and waiting. The same third as in batman-adv (`batadv_v_elp_get_throughput`), and what the
/// kernel's own estimate comes to where there are both: 18.1 of 54 Mbit/s.
const RATE_PER_THROUGHPUT: u64 = 3;

/// What the driver knows of a neighbor's radio. `None` is what it does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StationReport {
    /// What it expects to get through, bit/s; 0 if it does not know.
    pub expected_throughput_bps: Option<u64>,
    /// At what rate the last frame was sent, bit/s.
    pub tx_bitrate_bps: Option<u64>,
    /// Frames sent so far.
    pub tx_frames: Option<u64>,
    /// Frames given up so far, as nobody acknowledged them.
    pub tx_failed: Option<u64>,
    /// How long it has heard no frame, acknowledgements included.
    pub inactive: Option<Duration>,
}

/// What was learned from the reports on one neighbor.
#[derive(Clone, Debug, Default)]
pub(super) struct Station {
    last: StationReport,
    /// The last rates at which there was traffic, bit/s.
    rates: [Option<u64>; 3],
    /// When the last of them was seen.
    rated_at: Option<Instant>,
}

impl Station {
    /// Takes in the next report. Returns whether frames were given up since the one before.
    pub(super) fn take_in(&mut self, now: Instant, report: StationReport) -> bool {
        let rise = |of: fn(&StationReport) -> Option<u64>| {
            let (before, after) = of(&self.last).zip(of(&report))?;
            // Fewer are those of a station that the driver has forgotten and met again.
            after.checked_sub(before)
        };
        let sent = rise(|it| it.tx_frames).unwrap_or_default();
        let failed = rise(|it| it.tx_failed).unwrap_or_default();
        let rate = report.tx_bitrate_bps.filter(|_| sent >= ENOUGH_FRAMES);
        if rate.is_some() {
            let [_, second, third] = self.rates;
            self.rates = [second, third, rate];
            self.rated_at = Some(now);
        }
        let is_old = |at| now.saturating_duration_since(at) > RATE_LIFETIME;
        if self.rated_at.is_some_and(is_old) {
            (self.rates, self.rated_at) = ([None; 3], None);
        }
        self.last = report;
        failed > 0
    }

    /// What gets through to the neighbor, bit/s: what its driver expects, or what the rates come
    /// to at which traffic was sent.
    pub(super) fn throughput_bps(&self) -> Option<u64> {
        let expected = self.last.expected_throughput_bps.filter(|&bps| bps > 0);
        expected.or_else(|| Some(self.usual_rate()? / RATE_PER_THROUGHPUT))
    }

    /// The middle one of three rates: drivers try others now and then, faster and slower ones.
    fn usual_rate(&self) -> Option<u64> {
        let [Some(mut a), Some(mut b), Some(c)] = self.rates else {
            return None;
        };
        if a > b {
            (a, b) = (b, a);
        }
        Some(c.clamp(a, b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MBIT: u64 = 1_000_000;

    /// Reports on one neighbor, two seconds apart.
    struct Reports {
        now: Instant,
        station: Station,
        report: StationReport,
    }

    impl Reports {
        #[expect(clippy::disallowed_methods, reason = "the start of virtual time")]
        fn new() -> Self {
            let report = StationReport {
                tx_frames: Some(0),
                tx_failed: Some(0),
                ..StationReport::default()
            };
            let mut reports = Self {
                now: Instant::now(),
                station: Station::default(),
                report,
            };
            reports.next(6 * MBIT, 0);
            reports
        }

        /// This many more frames were sent, the last at this rate.
        fn next(&mut self, rate: u64, frames: u64) -> Option<u64> {
            self.now += Duration::from_secs(2);
            self.report.tx_bitrate_bps = Some(rate);
            self.report.tx_frames = self.report.tx_frames.map(|sent| sent + frames);
            self.station.take_in(self.now, self.report);
            self.station.throughput_bps()
        }
    }

    #[test]
    fn a_third_of_the_rate_gets_through_where_the_driver_expects_nothing() {
        let mut reports = Reports::new();
        reports.next(54 * MBIT, 1000);
        reports.next(54 * MBIT, 1000);
        assert_eq!(reports.next(54 * MBIT, 1000), Some(18 * MBIT));
        reports.report.expected_throughput_bps = Some(20 * MBIT);
        assert_eq!(reports.next(54 * MBIT, 1000), Some(20 * MBIT));
        reports.report.expected_throughput_bps = Some(0);
        assert_eq!(reports.next(54 * MBIT, 1000), Some(18 * MBIT));
    }

    #[test]
    fn the_rate_of_an_idle_link_means_nothing() {
        let mut reports = Reports::new();
        for _ in 0..10 {
            assert_eq!(reports.next(6 * MBIT, 20), None, "probes are no traffic");
        }
        for _ in 0..3 {
            reports.next(150 * MBIT, 1000);
        }
        for _ in 0..10 {
            let throughput = reports.next(6 * MBIT, 20);
            assert_eq!(throughput, Some(50 * MBIT), "what traffic got counts");
        }
    }

    #[test]
    fn a_rate_that_was_tried_once_is_none() {
        let mut reports = Reports::new();
        for rate in [54, 54, 54, 6, 54, 300, 54] {
            reports.next(rate * MBIT, 1000);
            let throughput = reports.station.throughput_bps();
            assert!(throughput.is_none_or(|bps| bps == 18 * MBIT), "{rate}");
        }
        reports.next(12 * MBIT, 1000);
        assert_eq!(reports.next(12 * MBIT, 1000), Some(4 * MBIT));
    }

    #[test]
    fn a_rate_is_forgotten_some_time_after_the_traffic() {
        let mut reports = Reports::new();
        for _ in 0..3 {
            reports.next(6 * MBIT, 1000);
        }
        reports.now += RATE_LIFETIME - Duration::from_secs(4);
        assert_eq!(reports.next(6 * MBIT, 0), Some(2 * MBIT));
        reports.now += Duration::from_secs(2);
        assert_eq!(reports.next(6 * MBIT, 0), None);
    }

    #[test]
    fn only_what_failed_since_the_last_report_is_news() {
        let mut reports = Reports::new();
        let mut failed = |count| {
            reports.report.tx_failed = count;
            reports.station.take_in(reports.now, reports.report)
        };
        assert!(failed(Some(3)));
        assert!(!failed(Some(3)));
        assert!(!failed(Some(1)), "another station of that address");
        assert!(failed(Some(2)));
        assert!(!failed(None));
        assert!(!failed(Some(9)), "it may be from long ago");
    }
}
