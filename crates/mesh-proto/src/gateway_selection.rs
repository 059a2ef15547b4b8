//! Which gateways are used, one for each address family, and why: pure functions of what is known.

use crate::gateway_policy::{Refusal, Standing};
use crate::{Family, Metric, OriginatorId};

/// A node that offers an uplink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who it is.
    pub id: OriginatorId,
    /// Whether its uplink carries IPv4.
    pub ipv4: bool,
    /// Whether its uplink carries IPv6.
    pub ipv6: bool,
    /// Where it stands with our policy.
    pub standing: Result<Standing, Refusal>,
}

impl Candidate {
    /// Whether its uplink carries a family.
    pub const fn carries(&self, family: Family) -> bool {
        match family {
            Family::Ipv4 => self.ipv4,
            Family::Ipv6 => self.ipv6,
        }
    }
}

/// The gateways in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Where IPv4 goes.
    pub ipv4: Option<OriginatorId>,
    /// Where IPv6 goes.
    pub ipv6: Option<OriginatorId>,
}

impl Selection {
    /// Where a family goes.
    pub const fn of(self, family: Family) -> Option<OriginatorId> {
        match family {
            Family::Ipv4 => self.ipv4,
            Family::Ipv6 => self.ipv6,
        }
    }

    /// The main one: IPv4's, or without one IPv6's.
    pub fn main(self) -> Option<OriginatorId> {
        self.ipv4.or(self.ipv6)
    }

    /// Those in use.
    pub fn ids(self) -> impl Iterator<Item = OriginatorId> {
        self.ipv4.into_iter().chain(self.ipv6)
    }
}

/// Why a gateway is used or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is used, and none is better.
    Best,
    /// It is used. Another costs less, but not by [`switch_gain_percent`].
    Kept,
    /// It cannot be used.
    Refused(Refusal),
    /// The one in use is of a better class.
    Outranked,
    /// The one in use costs no more than this one.
    CostsMore {
        /// What it costs.
        in_use: Metric,
    },
    /// The one in use costs more, but not enough to leave it.
    NotBetterEnough {
        /// What it costs.
        in_use: Metric,
    },
    /// It carries only IPv6, which goes the way of IPv4.
    FollowsIpv4,
    /// It could be used, but none is: this node has an uplink of its own.
    NotNeeded,
}

/// Selects the gateway for IPv4 among those that carry it. IPv6 takes the same if that carries it,
/// so that one switch moves both, and otherwise the best of those that do. `own` is the id of the node that
/// selects.
pub fn select(own: OriginatorId, candidates: &[Candidate], in_use: Selection) -> Selection {
    let ipv4 = select_for(Family::Ipv4, own, candidates, in_use);
    let both = ipv4.filter(|it| it.ipv6);
    let ipv6 = both.or_else(|| select_for(Family::Ipv6, own, candidates, in_use));
    Selection {
        ipv4: ipv4.map(|it| it.id),
        ipv6: ipv6.map(|it| it.id),
    }
}

/// The best class, in it the lowest cost, among equals the lowest id; but the one in use stays
/// unless it cannot be used any longer, there is one of a better class, or it is beaten by
/// [`switch_gain_percent`].
fn select_for(
    family: Family,
    own: OriginatorId,
    candidates: &[Candidate],
    in_use: Selection,
) -> Option<&Candidate> {
    let carriers = candidates.iter().filter(|it| it.carries(family));
    let usable = carriers.filter_map(|it| it.standing.ok().map(|standing| (standing, it)));
    let usable: Vec<_> = usable.collect();
    let (best, first) = usable
        .iter()
        .min_by_key(|(standing, it)| (*standing, it.id))?;
    let current = usable
        .iter()
        .find(|(_, it)| Some(it.id) == in_use.of(family));
    match current {
        Some((standing, current))
            if standing.class == best.class
                && !best.cost.beats(standing.cost, switch_gain_percent(own)) =>
        {
            Some(current)
        }
        _ => Some(first),
    }
}

/// How much better than the one in use, in percent, another gateway must be before a node changes to it:
/// from 25 to 60. Flows stay with their gateway for as long as they last, so more is asked than of a
/// route. It is another number for each node: when a gateway gets busy some nodes leave it, and what they
/// leave is seen before the others do. With one number for all, the village goes from gateway to gateway,
/// each of them full when its turn comes.
pub fn switch_gain_percent(own: OriginatorId) -> u32 {
    const LEAST: u32 = 25;
    const MOST: u32 = 60;
    let [.., high, low] = *own.as_bytes();
    LEAST + u32::from(u16::from_be_bytes([high, low])) % (MOST - LEAST + 1)
}

/// Why `candidate` is used or not, where `selected` was selected of `all`: in the family that it is
/// used for, or else in the first one that it carries.
pub fn explain(candidate: &Candidate, all: &[Candidate], selected: Selection) -> Verdict {
    let standing = match candidate.standing {
        Ok(standing) => standing,
        Err(refusal) => return Verdict::Refused(refusal),
    };
    let carried = || Family::BOTH.into_iter().filter(|it| candidate.carries(*it));
    let used = carried().find(|family| selected.of(*family) == Some(candidate.id));
    if let Some(family) = used {
        let rivals = all.iter().filter(|it| it.carries(family));
        let mut standings = rivals.filter_map(|it| it.standing.ok());
        return match standings.all(|rival| standing <= rival) {
            true => Verdict::Best,
            false => Verdict::Kept,
        };
    }
    if !candidate.ipv4 && selected.ipv4.is_some() && selected.ipv4 == selected.ipv6 {
        return Verdict::FollowsIpv4;
    }
    let in_use = carried().find_map(|family| selected.of(family));
    let in_use = all.iter().find(|it| Some(it.id) == in_use);
    match in_use.and_then(|it| it.standing.ok()) {
        None => Verdict::NotNeeded,
        Some(in_use) if in_use.class < standing.class => Verdict::Outranked,
        Some(Standing { cost, .. }) if cost <= standing.cost => Verdict::CostsMore { in_use: cost },
        Some(Standing { cost, .. }) => Verdict::NotBetterEnough { in_use: cost },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway_policy::Class;

    const fn id(byte: u8) -> OriginatorId {
        OriginatorId::from_bytes([byte; 10])
    }

    /// One that carries IPv4 alone.
    fn gateway(byte: u8, us: u32) -> Candidate {
        Candidate {
            id: id(byte),
            ipv4: true,
            ipv6: false,
            standing: Ok(Standing {
                class: Class::Ordinary,
                cost: Metric::from_us(us),
            }),
        }
    }

    fn of_class(class: Class, gateway: Candidate) -> Candidate {
        let standing = gateway.standing.map(|it| Standing { class, ..it });
        Candidate {
            standing,
            ..gateway
        }
    }

    fn with_ipv6(gateway: Candidate) -> Candidate {
        Candidate {
            ipv6: true,
            ..gateway
        }
    }

    fn ipv6_alone(gateway: Candidate) -> Candidate {
        Candidate {
            ipv4: false,
            ..with_ipv6(gateway)
        }
    }

    const fn ipv4(byte: u8) -> Selection {
        Selection {
            ipv4: Some(id(byte)),
            ipv6: None,
        }
    }

    const fn both(ipv4: u8, ipv6: u8) -> Selection {
        Selection {
            ipv4: Some(id(ipv4)),
            ipv6: Some(id(ipv6)),
        }
    }

    const NONE: Selection = Selection {
        ipv4: None,
        ipv6: None,
    };

    const OWN: OriginatorId = id(0);

    fn select(candidates: &[Candidate], in_use: Selection) -> Selection {
        super::select(OWN, candidates, in_use)
    }

    #[test]
    fn nodes_do_not_all_leave_a_gateway_at_the_same_moment() {
        let gain = |low: u16| {
            let mut bytes = [7; OriginatorId::LEN];
            bytes[OriginatorId::LEN - 2..].copy_from_slice(&low.to_be_bytes());
            switch_gain_percent(OriginatorId::from_bytes(bytes))
        };
        let mut counts = std::collections::BTreeMap::new();
        for low in 0..=u16::MAX {
            *counts.entry(gain(low)).or_insert(0_u32) += 1;
        }
        assert!(counts.keys().copied().eq(25..=60));
        assert!(counts.values().all(|count| count.abs_diff(1820) <= 1));
    }

    #[test]
    fn the_gateway_in_use_stays_unless_clearly_beaten_or_gone() {
        let enough = 10_000 * (100 - switch_gain_percent(OWN)) / 100;
        let (old, better) = (gateway(1, 10_000), gateway(2, enough + 1));
        assert_eq!(select(&[old, better], NONE), ipv4(2));
        assert_eq!(select(&[old, better], ipv4(1)), ipv4(1));
        assert_eq!(select(&[old, gateway(2, enough)], ipv4(1)), ipv4(2));
        assert_eq!(select(&[better], ipv4(1)), ipv4(2));
        let gone = Candidate {
            standing: Err(Refusal::Unreachable),
            ..old
        };
        assert_eq!(select(&[gone, better], ipv4(1)), ipv4(2));
        assert_eq!(select(&[gone], ipv4(1)), NONE);
    }

    #[test]
    fn a_better_class_wins_at_any_cost_and_at_once() {
        let ordinary = gateway(3, 1000);
        let avoided = of_class(Class::Avoided, gateway(4, 10));
        let first = of_class(Class::Preferred(0), gateway(1, 9000));
        let second = of_class(Class::Preferred(1), gateway(2, 5000));
        let mut all = vec![avoided, ordinary, second, first];
        for expected in [1, 2, 3, 4] {
            for in_use in [NONE, ipv4(1), ipv4(2), ipv4(3), ipv4(4)] {
                assert_eq!(select(&all, in_use), ipv4(expected), "{in_use:?}");
            }
            all.pop();
        }
    }

    #[test]
    fn ipv6_goes_the_way_of_ipv4_or_else_the_best_that_carries_it() {
        let (near, far) = (gateway(1, 1000), gateway(2, 3000));
        let six = ipv6_alone(gateway(3, 2000));
        let dual = with_ipv6(near);
        let cheaper = ipv6_alone(gateway(3, 10));
        assert_eq!(select(&[dual, far, cheaper], both(1, 3)), both(1, 1));
        assert_eq!(select(&[near, with_ipv6(far), six], NONE), both(1, 3));
        let kept = both(1, 2);
        let hardly_better = ipv6_alone(gateway(3, 2900));
        assert_eq!(select(&[near, with_ipv6(far), hardly_better], kept), kept);
        assert_eq!(select(&[near, far], kept), ipv4(1));
        let ipv6 = Selection {
            ipv6: Some(id(3)),
            ..NONE
        };
        assert_eq!(select(&[six], both(1, 1)), ipv6);
        assert_eq!(ipv6.main(), Some(id(3)));
        assert_eq!(both(1, 3).main(), Some(id(1)));
    }

    #[test]
    fn the_verdict_says_why() {
        let used = gateway(1, 2000);
        let all = [
            used,
            gateway(2, 1900),
            gateway(3, 2500),
            of_class(Class::Avoided, gateway(4, 10)),
            Candidate {
                standing: Err(Refusal::TooDear),
                ..gateway(5, 0)
            },
            ipv6_alone(gateway(6, 9000)),
        ];
        let in_use = Metric::from_us(2000);
        let expected = [
            Verdict::Kept,
            Verdict::NotBetterEnough { in_use },
            Verdict::CostsMore { in_use },
            Verdict::Outranked,
            Verdict::Refused(Refusal::TooDear),
            Verdict::Best,
        ];
        let verdicts = |all: &[Candidate], selected| -> Vec<Verdict> {
            all.iter().map(|it| explain(it, all, selected)).collect()
        };
        assert_eq!(verdicts(&all, select(&all, ipv4(1))), expected);

        let dual = [with_ipv6(used), ipv6_alone(gateway(6, 10))];
        let expected = [Verdict::Best, Verdict::FollowsIpv4];
        assert_eq!(verdicts(&dual, both(1, 1)), expected);
        assert_eq!(verdicts(&[used], NONE), [Verdict::NotNeeded]);
    }
}
