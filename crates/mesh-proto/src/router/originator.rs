//! What is known of each originator: the routes on offer, the one in use, and what was said of
//! it to others.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::neighbor::LinkId;
use crate::route_selection::FeasibilityDistance;
use crate::wire::Ogm;
use crate::{Metric, SeqNo};

/// How long a route lives without an OGM that confirms it: eight intervals. Each hop confirms its
/// routes in every interval whatever happens upstream, so only the last link's loss counts: one
/// of a third makes a route go stale by chance once in two hours.
pub(super) const ROUTE_LIFETIME: Duration = Duration::from_secs(8);
/// How long the feasibility distance outlives the last route (RFC 8966 §3.5.1 recommends
/// minutes): as long as stale advertisements of ours can be about.
const MEMORY: Duration = Duration::from_secs(60);
/// How often it is said again that an originator can be reached, or no longer: three broadcasts
/// in a row get lost on a bad link of 30 % loss once in forty times, and then there is still the
/// next OGM, or the route expires.
const REPEATS: u8 = 2;
/// What is said again waits for the next hello after this time, so as not to share the fate of
/// the packet before.
const REPEAT_DELAY: Duration = Duration::from_millis(250);
/// A route that became shorter by less than this share is not worth a message before the next
/// OGM.
const NOTABLE_PERCENT: u32 = 25;

/// A route as a neighbor offers it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offered {
    pub(super) seqno: SeqNo,
    pub(super) metric: Metric,
    pub(super) hops: u8,
    pub(super) heard: Instant,
    /// The neighbor was restarted since and may know nothing of this offer: whatever it says now
    /// counts.
    pub(super) from_earlier_life: bool,
}

/// What was last said of an originator to the neighbors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Advertised {
    pub(super) seqno: SeqNo,
    pub(super) metric: Metric,
}

impl Advertised {
    /// Whether `now_true` differs enough to be said at once.
    ///
    /// A route that became longer can wait for the originator's next OGM: with the same sequence
    /// number, neighbors could find it infeasible and be left without one, while going on to use
    /// it is safe, because loop-freedom rests on the lowest metric ever said.
    pub(super) fn is_outdated_by(&self, now_true: &Self) -> bool {
        self.seqno != now_true.seqno
            || self.metric.is_finite() != now_true.metric.is_finite()
            || (now_true.metric.is_finite() && now_true.metric.beats(self.metric, NOTABLE_PERCENT))
    }

    /// What to say when the truth is `now_true`: that, but for a route that became longer the
    /// same as before, for the reason above.
    pub(super) fn updated_to(self, now_true: Self) -> Self {
        let longer = now_true.metric.is_finite() && now_true.metric > self.metric;
        if longer && now_true.seqno == self.seqno {
            self
        } else {
            now_true
        }
    }
}

#[derive(Debug)]
pub(super) struct Originator {
    pub(super) routes: BTreeMap<LinkId, Offered>,
    pub(super) feasibility: Option<FeasibilityDistance>,
    pub(super) selected: Option<LinkId>,
    pub(super) advertised: Option<Advertised>,
    last_said: Option<Instant>,
    repeats_left: u8,
    pub(super) since: Instant,
    pub(super) last_heard: Instant,
}

impl Originator {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            routes: BTreeMap::new(),
            feasibility: None,
            selected: None,
            advertised: None,
            last_said: None,
            repeats_left: 0,
            since: now,
            last_heard: now,
        }
    }

    /// Takes what a neighbor offers. A number older than that of its last offer is not news: the
    /// packet was overtaken by another, or the neighbor was restarted and has to learn it anew.
    pub(super) fn offer(&mut self, now: Instant, link: LinkId, ogm: &Ogm) {
        let Ogm {
            seqno,
            metric,
            hops,
            ..
        } = *ogm;
        let last = self.routes.get(&link);
        let overtaken = last.is_some_and(|last| last.seqno.is_newer_than(seqno))
            && last.is_some_and(|last| !last.from_earlier_life);
        if metric.is_finite() && overtaken {
            return;
        }
        self.routes.insert(
            link,
            Offered {
                seqno,
                metric,
                hops,
                heard: now,
                from_earlier_life: false,
            },
        );
        self.last_heard = now;
    }

    /// From now on only routes with a number newer than all on offer are feasible, unless what
    /// we said ourselves asks for more.
    pub(super) fn ask_for_newer(&mut self) {
        let newest = |a: SeqNo, b: SeqNo| if b.is_newer_than(a) { b } else { a };
        if let Some(seqno) = self.routes.values().map(|route| route.seqno).reduce(newest) {
            let metric = Metric::ZERO;
            self.feasibility
                .get_or_insert(FeasibilityDistance { seqno, metric });
        }
    }

    /// Takes note of what is being said to the neighbors.
    pub(super) fn say(&mut self, now: Instant, advertised: Advertised) {
        let Advertised { seqno, metric } = advertised;
        if metric.is_finite() {
            self.feasibility
                .get_or_insert(FeasibilityDistance { seqno, metric })
                .lower_to(seqno, metric);
        }
        let was_finite = self.advertised.is_some_and(|said| said.metric.is_finite());
        self.repeats_left = if was_finite == metric.is_finite() {
            self.repeats_left.saturating_sub(1)
        } else {
            REPEATS
        };
        self.advertised = Some(advertised);
        self.last_said = Some(now);
    }

    /// Whether what was said has to be said again: soon if it was a change, because its loss
    /// leaves packets going nowhere; after `interval` if it is a route, because neighbors forget
    /// what nobody confirms.
    pub(super) fn needs_repeating(&self, now: Instant, interval: Duration) -> bool {
        let (Some(advertised), Some(at)) = (self.advertised, self.last_said) else {
            return false;
        };
        let silence = now.duration_since(at);
        let again = self.repeats_left > 0 && silence >= REPEAT_DELAY;
        again || (advertised.metric.is_finite() && silence >= interval)
    }

    /// The route in use.
    pub(super) fn in_use(&self) -> Option<(LinkId, &Offered)> {
        let link = self.selected?;
        self.routes.get(&link).map(|offered| (link, offered))
    }

    /// Forgets routes that nobody has confirmed for long. Returns whether any was forgotten.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let before = self.routes.len();
        self.routes
            .retain(|_, route| now.duration_since(route.heard) < ROUTE_LIFETIME);
        self.routes.len() != before
    }

    /// Whether nothing about the originator is worth keeping.
    pub(super) fn is_forgettable(&self, now: Instant) -> bool {
        self.routes.is_empty() && now.duration_since(self.last_heard) >= MEMORY
    }
}
