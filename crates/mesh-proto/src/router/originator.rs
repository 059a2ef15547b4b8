//! What is known of each originator: the routes on offer, the one in use, and what was said of
//! it to others.

use std::time::{Duration, Instant};

use super::book::{Advertised, Said};
use super::neighbor::LinkId;
use crate::hash_chain::Link;
use crate::route_selection::{FeasibilityDistance, Selection};
use crate::{Metric, OriginatorId, Price, SeqNo};

/// How long the feasibility distance outlives the last route (RFC 8966 §3.5.1 recommends
/// minutes): as long as stale advertisements of ours can be about.
const MEMORY: Duration = Duration::from_secs(60);
/// A route whose sequence number has not risen for so long leads to a ghost: originators raise
/// theirs every minute at least. Neighbors say when they lose a route, so this only guards against
/// mistakes, our own included.
const LONGEST_LIFE: Duration = Duration::from_secs(300);
/// A route that became shorter by less than this share is not worth a message before the next
/// OGM.
const NOTABLE_PERCENT: u32 = 25;

/// A route as a neighbor offers it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offered {
    pub(super) link: LinkId,
    pub(super) proof: Link,
    pub(super) metric: Metric,
    pub(super) hops: u8,
    /// What the neighbor takes for carrying there.
    pub(super) price: Price,
    /// The neighbor began anew at this time, for example because it was restarted and took its
    /// routes over, and has not said yet whether this is still one of them.
    pub(super) unconfirmed_since: Option<Instant>,
}

/// A request for a newer sequence number that we made or passed on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) seqno: SeqNo,
    pub(super) at: Instant,
    /// How often we asked ourselves.
    pub(super) tries: u32,
    /// How many hops further it may go.
    pub(super) hop_limit: u8,
    /// The neighbor whose request was passed on.
    pub(super) on_behalf_of: Option<OriginatorId>,
}

#[derive(Debug)]
pub(super) struct Originator {
    /// In the order of their links.
    routes: Vec<Offered>,
    pub(super) feasibility: Option<FeasibilityDistance>,
    pub(super) selected: Option<LinkId>,
    /// The best of the other usable routes.
    pub(super) backup: Option<LinkId>,
    /// The backup that the kernel's routes are grouped by: an older value of `backup`, because it
    /// comes and goes with every wave of OGMs.
    pub(super) announced_backup: Option<LinkId>,
    /// A route that is better than the one in use, and since when.
    pub(super) challenger: Option<(LinkId, Instant)>,
    pub(super) said: Option<Said>,
    pub(super) asked: Option<Asked>,
    /// Traffic lost its way, and takes another as soon as there is one.
    pub(super) moving: bool,
    pub(super) since: Instant,
    pub(super) last_heard: Instant,
    /// When its sequence number last rose.
    fresh: Instant,
}

impl Originator {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            routes: Vec::new(),
            feasibility: None,
            selected: None,
            backup: None,
            announced_backup: None,
            challenger: None,
            said: None,
            asked: None,
            moving: false,
            since: now,
            last_heard: now,
            fresh: now,
        }
    }

    /// The routes on offer.
    pub(super) fn routes(&self) -> &[Offered] {
        &self.routes
    }

    /// The route on offer over `link`.
    pub(super) fn route(&self, link: LinkId) -> Option<&Offered> {
        let place = self.place(link).ok()?;
        self.routes.get(place)
    }

    /// Takes what a neighbor offers.
    pub(super) fn offer(&mut self, now: Instant, offered: Offered) {
        let newest = self.routes.iter().all(|known| {
            let known = known.proof.seqno;
            offered.proof.seqno.is_newer_than(known)
        });
        if newest {
            self.fresh = now;
        }
        match self.place(offered.link) {
            Ok(place) => {
                if let Some(known) = self.routes.get_mut(place) {
                    *known = offered;
                }
            }
            Err(place) => self.routes.insert(place, offered),
        }
        self.last_heard = now;
    }

    /// Forgets what was offered over `link`. Returns whether anything was.
    pub(super) fn withdraw(&mut self, link: LinkId) -> bool {
        let place = self.place(link);
        place.is_ok_and(|place| {
            self.routes.remove(place);
            true
        })
    }

    /// What was offered over `link` waits for the neighbor to say it again.
    pub(super) fn doubt(&mut self, now: Instant, link: LinkId) {
        if let Ok(place) = self.place(link)
            && let Some(route) = self.routes.get_mut(place)
        {
            route.unconfirmed_since = Some(now);
        }
    }

    fn place(&self, link: LinkId) -> Result<usize, usize> {
        self.routes.binary_search_by_key(&link, |route| route.link)
    }

    /// Takes over what selection found.
    pub(super) fn choose(&mut self, now: Instant, selection: Option<Selection<LinkId>>) {
        self.selected = selection.map(|found| found.chosen.link);
        self.backup = selection.and_then(|found| found.backup);
        let challenger = selection.and_then(|found| found.challenger);
        self.challenger = challenger.map(|link| match self.challenger {
            Some((same, since)) if same == link => (link, since),
            _ => (link, now),
        });
    }

    /// The route in use.
    pub(super) fn in_use(&self) -> Option<&Offered> {
        self.route(self.selected?)
    }

    /// What was last said.
    pub(super) fn advertised(&self) -> Option<&Advertised> {
        self.said.as_ref().map(|said| &said.advertised)
    }

    /// Takes note that this is about to be said (RFC 8966 §3.7.3).
    pub(super) fn lower_feasibility(&mut self, seqno: SeqNo, metric: Metric) {
        if metric.is_finite() {
            self.feasibility
                .get_or_insert(FeasibilityDistance { seqno, metric })
                .lower_to(seqno, metric);
        }
    }

    /// Forgets routes that nobody stands behind any longer: those of restarted neighbors that did
    /// not confirm them within `patience`, and all if the originator has been silent for too
    /// long. Returns whether any was forgotten.
    pub(super) fn expire(&mut self, now: Instant, patience: Duration) -> bool {
        let before = self.routes.len();
        let is_ghost = now.duration_since(self.fresh) >= LONGEST_LIFE;
        self.routes.retain(|route| {
            let doubted = route.unconfirmed_since;
            !is_ghost && doubted.is_none_or(|since| now.duration_since(since) < patience)
        });
        self.routes.len() != before
    }

    /// Whether nothing about the originator is worth keeping.
    pub(super) fn is_forgettable(&self, now: Instant) -> bool {
        self.routes.iter().all(|route| !route.metric.is_finite())
            && now.duration_since(self.last_heard) >= MEMORY
    }
}

/// Whether `truth` differs enough from what was said to be said at once.
///
/// A route that became longer can wait: with the same sequence number, neighbors could find it
/// infeasible and be left without one, while going on to use it is safe, because loop-freedom
/// rests on the lowest metric ever said. A newer sequence number alone is no news either, unless
/// somebody asked for it. Another price is: whoever comes this way pays what was said.
pub(super) fn is_news(said: Option<&Advertised>, truth: &Advertised) -> bool {
    let finite = truth.metric.is_finite();
    said.map_or(finite, |said| {
        said.metric.is_finite() != finite
            || (finite && truth.metric.beats(said.metric, NOTABLE_PERCENT))
            || (finite && truth.price != said.price)
    })
}

/// What to say when this is the truth: that, but for a route that became longer the same as
/// before, for the reason above. The price is no part of that reason.
pub(super) fn to_say(said: Option<&Advertised>, truth: Advertised) -> Advertised {
    match said {
        Some(said)
            if said.link.seqno == truth.link.seqno
                && truth.metric.is_finite()
                && truth.metric > said.metric
                && said.metric.is_finite() =>
        {
            Advertised {
                price: truth.price,
                ..*said
            }
        }
        _ => truth,
    }
}
