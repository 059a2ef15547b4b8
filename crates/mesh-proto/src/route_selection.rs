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
    /// Whether the operator does not pay so much. What stays in the mesh is free and may use it.
    pub dear: bool,
}

impl<K> Candidate<K> {
    /// The distance from here.
    pub const fn metric(&self) -> Metric {
        self.advertised.plus(self.link_cost)
    }
}

/// What [`select`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection<K> {
    /// The route to use now.
    pub chosen: Candidate<K>,
    /// Another that beats it by [`SWITCH_GAIN_PERCENT`], and should take its place if it goes on
    /// to do so.
    pub challenger: Option<K>,
    /// The best of the others (a feasible successor): it can be used at once if the chosen one
    /// dies.
    pub backup: Option<K>,
}

/// Selects a route.
///
/// 1. Only usable routes count: finite, and direct or admitted by the feasibility distance if
///    there is one.
/// 2. The lowest metric wins, but any that is dear loses to any that is not; among equals the
///    lowest link, so that the choice is stable.
/// 3. The route in use stays while it is usable, unless it is dear and the winner is not. A winner
///    that beats it by [`SWITCH_GAIN_PERCENT`] is its challenger.
pub fn select<K: Copy + Ord>(
    candidates: impl IntoIterator<Item = Candidate<K>>,
    feasibility: Option<FeasibilityDistance>,
    in_use: Option<K>,
) -> Option<Selection<K>> {
    let rank = |c: &Candidate<K>| (c.dear, c.metric(), c.link);
    let better = |a: Option<Candidate<K>>, b: Candidate<K>| match a {
        Some(a) if rank(&a) < rank(&b) => Some(a),
        _ => Some(b),
    };
    let (mut best, mut second, mut current) = (None, None, None);
    for candidate in candidates {
        let feasible =
            feasibility.is_none_or(|fd| fd.admits(candidate.seqno, candidate.advertised));
        if !candidate.metric().is_finite() || !(candidate.direct || feasible) {
            continue;
        }
        if Some(candidate.link) == in_use {
            current = Some(candidate);
        }
        let winner = better(best, candidate);
        let loser = if winner == best {
            Some(candidate)
        } else {
            best
        };
        second = loser.map_or(second, |loser| better(second, loser));
        best = winner;
    }
    let best: Candidate<K> = best?;
    let stays = current.filter(|current| current.dear == best.dear);
    let chosen = stays.unwrap_or(best);
    let challenges = best.metric().beats(chosen.metric(), SWITCH_GAIN_PERCENT);
    let others = if chosen.link == best.link {
        second
    } else {
        Some(best)
    };
    Some(Selection {
        chosen,
        challenger: (chosen.link != best.link && challenges).then_some(best.link),
        backup: others.map(|other| other.link),
    })
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
            dear: false,
        }
    }

    fn chosen(
        routes: impl IntoIterator<Item = Candidate<u8>>,
        feasibility: Option<FeasibilityDistance>,
        in_use: Option<u8>,
    ) -> Option<u8> {
        select(routes, feasibility, in_use).map(|selection| selection.chosen.link)
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
        assert_eq!(chosen(routes, distance(7, 501), None), Some(1));
        assert_eq!(chosen(routes, None, None), Some(2));
    }

    #[test]
    fn a_newer_seqno_is_feasible_at_any_distance() {
        let routes = [candidate(1, 8, 100_000)];
        assert_eq!(chosen(routes, distance(7, 1), None), Some(1));
    }

    #[test]
    fn the_originator_itself_is_always_a_feasible_next_hop() {
        let direct = Candidate {
            direct: true,
            ..candidate(1, 2, 0)
        };
        assert_eq!(chosen([direct], distance(7, 500), None), Some(1));
    }

    #[test]
    fn the_route_in_use_stays_and_is_challenged_by_what_clearly_beats_it() {
        let routes = [candidate(1, 7, 1000), candidate(2, 7, 800)];
        let found = select(routes, None, Some(1)).unwrap();
        assert_eq!((found.chosen.link, found.challenger), (1, None));
        assert_eq!(chosen(routes, None, None), Some(2));
        let routes = [candidate(1, 7, 1000), candidate(2, 7, 700)];
        let found = select(routes, None, Some(1)).unwrap();
        assert_eq!((found.chosen.link, found.challenger), (1, Some(2)));
    }

    #[test]
    fn a_dear_route_is_used_only_while_there_is_no_other() {
        let dear = Candidate {
            dear: true,
            ..candidate(1, 7, 100)
        };
        let affordable = candidate(2, 7, 900);
        for in_use in [None, Some(1), Some(2)] {
            let found = select([dear, affordable], None, in_use).unwrap();
            assert_eq!((found.chosen.link, found.backup), (2, Some(1)));
            assert_eq!(found.challenger, None);
            assert_eq!(chosen([dear], None, in_use), Some(1));
        }
        let infeasible = [dear, affordable];
        assert_eq!(chosen(infeasible, distance(7, 900), Some(1)), Some(1));
    }

    #[test]
    fn the_backup_is_the_best_of_the_other_usable_routes() {
        let routes = [4, 3, 1, 2].map(|link| candidate(link, 7, 100 * u32::from(link)));
        let backup = |feasibility, in_use| select(routes, feasibility, in_use).unwrap().backup;
        assert_eq!(backup(None, None), Some(2), "after 1");
        assert_eq!(backup(None, Some(3)), Some(1));
        assert_eq!(backup(distance(7, 150), None), None, "1 alone is feasible");
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
