//! Which gateway is used: a pure function of what is known.

use crate::{GatewayOffer, Metric, OriginatorId};

/// How much better, in percent, another gateway must be before traffic moves to it. A switch
/// breaks the flows that the old gateway translates, so more is asked than of a route.
pub const SWITCH_GAIN_PERCENT: u32 = 25;

/// A gateway in reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who it is.
    pub id: OriginatorId,
    /// The distance to it.
    pub path: Metric,
    /// What its uplink costs, see [`uplink_cost`].
    pub uplink: Metric,
}

impl Candidate {
    /// The whole cost of the way to the Internet: the path and the uplink behind it.
    pub const fn cost(&self) -> Metric {
        self.path.plus(self.uplink)
    }
}

/// The time a 1500-byte packet takes through the uplink at its announced download bandwidth, in
/// the unit of route metrics, so that the two add up.
pub fn uplink_cost(offer: &GatewayOffer) -> Metric {
    const BITS: u64 = 1500 * 8;
    let us = BITS * 1_000_000 / offer.down_bps.max(1);
    u32::try_from(us).map_or(Metric::INFINITE, Metric::from_us)
}

/// Selects a gateway: the lowest cost, among equals the lowest id; the one in use stays unless
/// it is beaten by [`SWITCH_GAIN_PERCENT`] or out of reach.
pub fn select(
    candidates: impl IntoIterator<Item = Candidate>,
    in_use: Option<OriginatorId>,
) -> Option<Candidate> {
    let usable: Vec<_> = candidates
        .into_iter()
        .filter(|c| c.cost().is_finite())
        .collect();
    let best = usable.iter().min_by_key(|c| (c.cost(), c.id))?;
    let current = usable.iter().find(|c| Some(c.id) == in_use);
    match current {
        Some(current) if !best.cost().beats(current.cost(), SWITCH_GAIN_PERCENT) => Some(*current),
        _ => Some(*best),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(byte: u8, path: u32, uplink: u32) -> Candidate {
        Candidate {
            id: OriginatorId::from_bytes([byte; 10]),
            path: Metric::from_us(path),
            uplink: Metric::from_us(uplink),
        }
    }

    #[test]
    fn path_and_uplink_count_together() {
        let near_but_slow = gateway(1, 600, 12_000);
        let far_but_fast = gateway(2, 2400, 600);
        assert_eq!(
            select([near_but_slow, far_but_fast], None),
            Some(far_but_fast)
        );
    }

    #[test]
    fn the_gateway_in_use_stays_unless_clearly_beaten_or_gone() {
        let (old, better) = (gateway(1, 2000, 600), gateway(2, 1400, 600));
        assert_eq!(select([old, better], Some(old.id)), Some(old));
        let much_better = gateway(2, 1300, 600);
        assert_eq!(select([old, much_better], Some(old.id)), Some(much_better));
        assert_eq!(select([better], Some(old.id)), Some(better));
        let gone = Candidate {
            path: Metric::INFINITE,
            ..old
        };
        assert_eq!(select([gone, better], Some(old.id)), Some(better));
        assert_eq!(select([], Some(old.id)), None);
    }
}
