//! Links to neighbors.

use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use super::feed::Feed;
use super::link_quality::{HelloWindow, airtime_us, link_cost};
use super::liveness::{Liveness, Watch};
use super::station::Station;
use crate::route_selection::FeasibilityDistance;
use crate::wire::{Hello, Sender};
use crate::{IfIndex, Metric, OriginatorId};

/// How long a neighbor's word on how it hears us counts. On an idle link reports come with every
/// second hello, and at once if something changed; this is four of those.
const REPORT_LIFETIME: Duration = Duration::from_secs(32);
/// A link's cost follows what is measured only when they differ by this much, and half of what is
/// lost of what goes there and back on top: the noise of a lossy link should not become news for the
/// whole mesh.
const NOTABLE_COST_PERCENT: u64 = 25;
/// A neighbor of which something is missing is asked this often whether it is there.
const DOUBT_INTERVAL: Duration = Hello::LONGEST;
/// A neighbor that has never answered is forgotten when it is silent for so long.
const LONGEST_COURTSHIP: Duration = Duration::from_secs(16);
/// Who was silent for longer, or slept as we did, is not asked: what it said may be forgotten where
/// it came from (see [`super::originator`]).
const LONGEST_SILENCE: Duration = Duration::from_secs(36);

/// A link: a neighbor as heard on one of our interfaces. A neighbor in reach of two interfaces
/// has two links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId {
    /// Our interface.
    pub ifindex: IfIndex,
    /// The node at the other end.
    pub neighbor: OriginatorId,
}

#[derive(Debug)]
pub(super) struct Neighbor {
    pub(super) address: Ipv6Addr,
    pub(super) epoch: u32,
    /// Whether it was started with routes of an earlier life, which it may not speak of yet.
    pub(super) warm: bool,
    pub(super) since: Instant,
    pub(super) last_heard: Instant,
    pub(super) liveness: Liveness,
    pub(super) feed: Feed,
    /// What it told us in its life before, so that it can be reminded of it.
    pub(super) past: Vec<(OriginatorId, FeasibilityDistance)>,
    /// What its radio or wire promises, bit/s.
    pub(super) speed: Option<u64>,
    pub(super) station: Station,
    /// What the link costs, infinite until it is known to work in both directions.
    cost: Metric,
    hellos: HelloWindow,
    /// Until when what is missing is forgiven, because it has just been asked.
    forgiven_until: Option<Instant>,
    /// How well it says it hears us, and when it said so.
    reported: Option<(u8, Instant)>,
}

impl Neighbor {
    /// A neighbor whose first `hello` came, with random nonces from `nonce`.
    pub(super) fn new(
        now: Instant,
        address: Ipv6Addr,
        sender: &Sender,
        hello: &Hello,
        nonce: u32,
    ) -> Self {
        Self {
            address,
            epoch: sender.epoch,
            warm: sender.warm,
            since: now,
            last_heard: now,
            liveness: Liveness::new(now, nonce),
            feed: Feed::default(),
            past: Vec::new(),
            speed: None,
            station: Station::default(),
            cost: Metric::INFINITE,
            hellos: HelloWindow::new(now, hello),
            forgiven_until: None,
            reported: None,
        }
    }

    pub(super) fn handle_hello(&mut self, now: Instant, hello: &Hello) {
        self.hellos.hear(now, hello);
        self.feed.note_version(now, hello.version);
    }

    /// Its daemon was restarted and took its routes over: the link goes on, but what it says is
    /// counted from the beginning.
    pub(super) fn restart(&mut self, epoch: u32, past: Vec<(OriginatorId, FeasibilityDistance)>) {
        self.epoch = epoch;
        self.warm = true;
        self.feed = Feed::default();
        self.past = past;
    }

    pub(super) fn handle_report(&mut self, now: Instant, quality: u8) {
        self.reported = Some((quality, now));
    }

    /// When its hellos, or its reports, are no longer waited for.
    fn missed_at(&self) -> Instant {
        if !self.liveness.is_confirmed() {
            return self.last_heard + LONGEST_COURTSHIP;
        }
        let reports = self.reported.map(|(_, at)| at + REPORT_LIFETIME * 3 / 4);
        let hellos = self.hellos.doubtful_at();
        let missed = reports.map_or(hellos, |reports| reports.min(hellos));
        self.forgiven_until.map_or(missed, |it| it.max(missed))
    }

    /// When there is something to do for the link.
    pub(super) fn deadline(&self) -> Instant {
        let watch = self.liveness.deadline();
        // Before the link is confirmed, what it says is not taken, so not asked for either.
        let feed = self.feed.deadline();
        let feed = feed.filter(|_| self.liveness.is_confirmed());
        watch
            .into_iter()
            .chain(feed)
            .fold(self.missed_at(), Instant::min)
    }

    /// What the watch over the link asks for at this moment.
    pub(super) fn watch(&mut self, now: Instant) -> Watch {
        if now >= self.missed_at() {
            let silence = now.saturating_duration_since(self.last_heard);
            if !self.liveness.is_confirmed() || silence > LONGEST_SILENCE {
                return Watch::Lost;
            }
            // Broadcasts get lost by chance often enough. Unicasts, which the radio repeats, tell
            // whether it is gone, and their answers how it hears us.
            self.liveness.doubt(now);
            self.forgiven_until = Some(now + DOUBT_INTERVAL);
        }
        self.liveness.watch(now, self.hellos.usual_loss_ppm())
    }

    /// The share of its hellos that arrive here, 0 to 255.
    pub(super) fn rx_quality(&self, now: Instant) -> u8 {
        self.hellos.quality(now)
    }

    /// The share of our hellos that arrive there, 0 to 255.
    pub(super) fn tx_quality(&self, now: Instant) -> u8 {
        match self.reported {
            Some((quality, at)) if now.duration_since(at) <= REPORT_LIFETIME => quality,
            _ => 0,
        }
    }

    /// What the link costs.
    pub(super) const fn cost(&self) -> Metric {
        self.cost
    }

    /// Takes into account what was measured since. Returns the cost before, if it changed.
    pub(super) fn settle_cost(&mut self, now: Instant) -> Option<Metric> {
        let measured = self.measured_cost(now);
        let before = self.cost;
        let difference = u64::from(before.as_us().abs_diff(measured.as_us()));
        let delivered = u64::from(self.rx_quality(now)) * u64::from(self.tx_quality(now));
        let lost_percent = 100 - delivered * 100 / (255 * 255);
        let notable_percent = NOTABLE_COST_PERCENT + lost_percent / 2;
        let notable = difference * 100 > u64::from(before.as_us()) * notable_percent;
        if !notable && before.is_finite() == measured.is_finite() {
            return None;
        }
        self.cost = measured;
        Some(before)
    }

    fn measured_cost(&self, now: Instant) -> Metric {
        if !self.liveness.is_confirmed() {
            return Metric::INFINITE;
        }
        let (rx, tx) = (self.rx_quality(now), self.tx_quality(now));
        link_cost(rx, tx, airtime_us(self.speed))
    }
}
