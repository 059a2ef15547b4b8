//! What is known of each originator: the routes on offer, the one in use, and what was said of
//! it to others.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::neighbor::LinkId;
use crate::route_selection::FeasibilityDistance;
use crate::wire::Ogm;
use crate::{Metric, SeqNo};

/// How long a route lives without an OGM that confirms it: eight intervals, so that a path over
/// which every third OGM is lost goes stale by chance once in two hours.
pub(super) const ROUTE_LIFETIME: Duration = Duration::from_secs(8);
/// How long the feasibility distance outlives the last route (RFC 8966 §3.5.1 recommends
/// minutes): as long as stale advertisements of ours can be about.
const MEMORY: Duration = Duration::from_secs(60);
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
}

#[derive(Debug)]
pub(super) struct Originator {
    pub(super) routes: BTreeMap<LinkId, Offered>,
    pub(super) feasibility: Option<FeasibilityDistance>,
    pub(super) selected: Option<LinkId>,
    pub(super) advertised: Option<Advertised>,
    pub(super) since: Instant,
    pub(super) last_heard: Instant,
}

impl Originator {
    pub(super) fn new(now: Instant, feasibility: Option<FeasibilityDistance>) -> Self {
        Self {
            routes: BTreeMap::new(),
            feasibility,
            selected: None,
            advertised: None,
            since: now,
            last_heard: now,
        }
    }

    pub(super) fn offer(&mut self, now: Instant, link: LinkId, ogm: &Ogm) {
        let Ogm {
            seqno,
            metric,
            hops,
            ..
        } = *ogm;
        self.routes.insert(
            link,
            Offered {
                seqno,
                metric,
                hops,
                heard: now,
            },
        );
        self.last_heard = now;
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
