//! Which of the routes to an originator is used: a pure function of what is known.

use crate::{Metric, SeqNo};

/// How much better, in percent, another route must be before traffic moves to it. Less would
/// make traffic swing with the noise of the links' measured loss.
pub const SWITCH_GAIN_PERCENT: u32 = 15;

/// The best this node ever advertised for an originator (RFC 8966 §2.4): a route is safe while
/// the neighbor's own distance is below it, because then the neighbor's path cannot lead
/// through us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeasibilityDistance {
    /// The sequence number the distance belongs to.
    pub seqno: SeqNo,
    /// The lowest metric advertised with it.
    pub metric: Metric,
}

impl FeasibilityDistance {
    /// The feasibility condition (RFC 8966 §3.5.1) for a route that the neighbor advertises with
    /// `seqno` at a distance of `metric` from the neighbor.
    pub fn admits(&self, seqno: SeqNo, metric: Metric) -> bool {
        seqno.is_newer_than(self.seqno) || (seqno == self.seqno && metric < self.metric)
    }

    /// Takes into account that `seqno` and `metric` are about to be advertised
    /// (RFC 8966 §3.7.3).
    pub fn lower_to(&mut self, seqno: SeqNo, metric: Metric) {
        if self.admits(seqno, metric) {
            *self = Self { seqno, metric };
        }
    }
}

/// A route on offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<K> {
    /// Which link it goes over.
    pub link: K,
    /// Sequence number the neighbor advertises.
    pub seqno: SeqNo,
    /// The neighbor's distance to the originator.
    pub advertised: Metric,
    /// The cost of the link to the neighbor.
    pub link_cost: Metric,
    /// Whether the neighbor is the originator itself: a route that ends where it arrives cannot
    /// lead in a circle, whatever was advertised before.
    pub direct: bool,
}

impl<K> Candidate<K> {
    /// The distance from here.
    pub const fn metric(&self) -> Metric {
        self.advertised.plus(self.link_cost)
    }
}

/// Selects a route.
///
/// 1. Only usable routes count: finite, and direct or admitted by the feasibility distance if
///    there is one.
/// 2. The lowest metric wins; among equals the lowest link, so that the choice is stable.
/// 3. The route in use stays unless the winner beats it by [`SWITCH_GAIN_PERCENT`], or it is no
///    longer usable.
pub fn select<K: Copy + Ord>(
    candidates: impl IntoIterator<Item = Candidate<K>>,
    feasibility: Option<FeasibilityDistance>,
    in_use: Option<K>,
) -> Option<Candidate<K>> {
    let usable: Vec<_> = candidates
        .into_iter()
        .filter(|c| c.metric().is_finite())
        .filter(|c| c.direct || feasibility.is_none_or(|fd| fd.admits(c.seqno, c.advertised)))
        .collect();
    let best = usable.iter().min_by_key(|c| (c.metric(), c.link))?;
    let current = usable.iter().find(|c| Some(c.link) == in_use);
    match current {
        Some(current) if !best.metric().beats(current.metric(), SWITCH_GAIN_PERCENT) => {
            Some(*current)
        }
        _ => Some(*best),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(link: u8, seqno: u32, advertised: u32) -> Candidate<u8> {
        Candidate {
            link,
            seqno: SeqNo::new(seqno),
            advertised: Metric::from_us(advertised),
            link_cost: Metric::from_us(600),
            direct: false,
        }
    }

    fn distance(seqno: u32, metric: u32) -> Option<FeasibilityDistance> {
        Some(FeasibilityDistance {
            seqno: SeqNo::new(seqno),
            metric: Metric::from_us(metric),
        })
    }

    #[test]
    fn infeasible_routes_are_never_used_however_short() {
        let routes = [candidate(1, 7, 500), candidate(2, 6, 0)];
        assert_eq!(select(routes, distance(7, 500), None), None);
        assert_eq!(
            select(routes, distance(7, 501), None).map(|c| c.link),
            Some(1)
        );
        assert_eq!(select(routes, None, None).map(|c| c.link), Some(2));
    }

    #[test]
    fn a_newer_seqno_is_feasible_at_any_distance() {
        let routes = [candidate(1, 8, 100_000)];
        assert_eq!(
            select(routes, distance(7, 1), None).map(|c| c.link),
            Some(1)
        );
    }

    #[test]
    fn the_originator_itself_is_always_a_feasible_next_hop() {
        let direct = Candidate {
            direct: true,
            ..candidate(1, 2, 0)
        };
        assert_eq!(select([direct], distance(7, 500), None), Some(direct));
    }

    #[test]
    fn the_route_in_use_stays_unless_clearly_beaten() {
        let routes = [candidate(1, 7, 1000), candidate(2, 7, 800)];
        assert_eq!(select(routes, None, Some(1)).map(|c| c.link), Some(1));
        assert_eq!(select(routes, None, None).map(|c| c.link), Some(2));
        let routes = [candidate(1, 7, 1000), candidate(2, 7, 700)];
        assert_eq!(select(routes, None, Some(1)).map(|c| c.link), Some(2));
    }

    #[test]
    fn retracted_routes_do_not_count() {
        let retracted = Candidate {
            advertised: Metric::INFINITE,
            ..candidate(1, 9, 0)
        };
        assert_eq!(select([retracted], None, Some(1)), None);
    }

    #[test]
    fn the_feasibility_distance_only_falls_within_a_seqno() {
        let mut fd = distance(7, 500).unwrap();
        fd.lower_to(SeqNo::new(7), Metric::from_us(900));
        assert_eq!(fd, distance(7, 500).unwrap());
        fd.lower_to(SeqNo::new(7), Metric::from_us(400));
        assert_eq!(fd, distance(7, 400).unwrap());
        fd.lower_to(SeqNo::new(8), Metric::from_us(900));
        assert_eq!(fd, distance(8, 900).unwrap());
        fd.lower_to(SeqNo::new(7), Metric::from_us(1));
        assert_eq!(fd, distance(8, 900).unwrap());
    }
}
