//! Routes: selection for each originator, and what follows for the RIB.

use std::collections::BTreeMap;
use std::time::Instant;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::neighbor::LinkId;
use super::originator::Advertised;
use super::{Event, Router};
use crate::record::is_announceable;
use crate::rib::RouteKey;
use crate::route_selection::{Candidate, select};
use crate::{Metric, OriginatorId, Table, Target};

/// Links whose cost changed by less than this are not worth a new selection.
const NOTABLE_COST_PERCENT: u32 = 10;

impl Router {
    /// Gives a link up: everything over it is void.
    pub(super) fn drop_neighbor(&mut self, now: Instant, link: LinkId) {
        let Some(neighbor) = self.neighbors.remove(&link) else {
            return;
        };
        if neighbor.settled_cost.is_finite() {
            self.event(Event::NeighborDown(link));
        }
        self.records.forget_link(link);
        let affected = self.originators_through(link);
        for id in affected {
            if let Some(originator) = self.originators.get_mut(&id) {
                originator.routes.remove(&link);
            }
            self.select_route(now, id);
        }
    }

    /// Takes a link's new cost into account if it changed notably.
    pub(super) fn settle_link(&mut self, now: Instant, link: LinkId) {
        let Some(neighbor) = self.neighbors.get_mut(&link) else {
            return;
        };
        let (old, new) = (neighbor.settled_cost, neighbor.cost(now));
        let difference = u64::from(old.as_us().abs_diff(new.as_us()));
        if difference * 100 <= u64::from(old.as_us()) * u64::from(NOTABLE_COST_PERCENT) {
            return;
        }
        neighbor.settled_cost = new;
        match (old.is_finite(), new.is_finite()) {
            (false, true) => self.event(Event::NeighborUp(link)),
            (true, false) => self.event(Event::NeighborDown(link)),
            _ => {}
        }
        for id in self.originators_through(link) {
            self.select_route(now, id);
        }
    }

    fn originators_through(&self, link: LinkId) -> Vec<OriginatorId> {
        let all = self.originators.iter();
        all.filter(|(_, o)| o.routes.contains_key(&link))
            .map(|(id, _)| *id)
            .collect()
    }

    /// Selects the route to `id` anew, and does what follows from a change.
    pub(super) fn select_route(&mut self, now: Instant, id: OriginatorId) {
        let Some(originator) = self.originators.get(&id) else {
            return;
        };
        let candidates = originator.routes.iter().map(|(link, route)| Candidate {
            link: *link,
            seqno: route.seqno,
            advertised: route.metric,
            link_cost: self
                .neighbors
                .get(link)
                .map_or(Metric::INFINITE, |n| n.cost(now)),
            direct: link.neighbor == id,
        });
        let listening = self.caution.is_listening();
        let candidates = candidates.filter(|candidate| candidate.direct || !listening);
        let before = originator.selected;
        let after = select(candidates, originator.feasibility, before).map(|c| c.link);
        if let Some(originator) = self.originators.get_mut(&id) {
            originator.selected = after;
            if before.is_some() != after.is_some() {
                originator.since = now;
            }
        }
        if before != after {
            match (before, after) {
                (None, Some(_)) => self.event(Event::OriginatorUp(id)),
                (Some(_), None) => self.event(Event::OriginatorDown(id)),
                _ => {}
            }
            self.settle_claims(now, id);
        }
        self.tell_if_notable(now, id);
    }

    /// Listening is over: uses what was heard, or waits for something newer if we may have said
    /// the same in an earlier life.
    pub(super) fn choose_first_routes(&mut self, now: Instant) {
        let cautious = self.caution.asks_for_newer(now);
        let ids: Vec<_> = self.originators.keys().copied().collect();
        for id in ids {
            if let Some(originator) = self.originators.get_mut(&id).filter(|_| cautious) {
                originator.ask_for_newer();
            }
            self.select_route(now, id);
        }
    }

    /// The truth about our route to an originator at this moment, `None` if there never was one.
    pub(super) fn now_true(&self, now: Instant, id: OriginatorId) -> Option<Advertised> {
        let originator = self.originators.get(&id)?;
        let cost = |link| {
            self.neighbors
                .get(&link)
                .map_or(Metric::INFINITE, |n| n.cost(now))
        };
        match originator.in_use() {
            Some((link, route)) => Some(Advertised {
                seqno: route.seqno,
                metric: route.metric.plus(cost(link)),
            }),
            None => {
                let seqno = originator.feasibility?.seqno;
                Some(Advertised {
                    seqno,
                    metric: Metric::INFINITE,
                })
            }
        }
    }

    fn tell_if_notable(&mut self, now: Instant, id: OriginatorId) {
        let Some(truth) = self.now_true(now, id) else {
            return;
        };
        let said = self
            .originators
            .get(&id)
            .and_then(|originator| originator.advertised);
        let news = match said {
            Some(said) => said.is_outdated_by(&truth),
            None => truth.metric.is_finite(),
        };
        if news {
            self.pending_ogms.insert(id);
            self.flush_soon(now);
        }
    }

    /// Forgets routes and originators nobody speaks of anymore.
    pub(super) fn expire_originators(&mut self, now: Instant) {
        let mut affected = Vec::new();
        for (id, originator) in &mut self.originators {
            if originator.expire(now) {
                affected.push(*id);
            }
        }
        for id in affected {
            self.select_route(now, id);
        }
        self.forget_originators(now);
    }

    fn forget_originators(&mut self, now: Instant) {
        let records = &mut self.records;
        let pending = &self.pending_ogms;
        let mut lost_gateway = false;
        self.originators.retain(|id, originator| {
            let keep = !originator.is_forgettable(now) || pending.contains(id);
            if !keep {
                lost_gateway |= records.offers_gateway(*id);
                records.forget(*id);
            }
            keep
        });
        if lost_gateway {
            self.event(Event::GatewaysChanged);
        }
    }

    /// Puts the claims of an originator into the RIB: what its record says, while it can be
    /// reached, through the next hop in use.
    pub(super) fn settle_claims(&mut self, now: Instant, id: OriginatorId) {
        let claims = self.claims(id);
        self.rib.set_claims(id, claims);
        self.move_if_ipv4_taken(now);
        if self.records.offers_gateway(id) {
            self.choose_gateway(now);
        }
    }

    /// The same for all originators, after something of ours changed that their claims rest on.
    pub(super) fn settle_all_claims(&mut self) {
        let ids: Vec<_> = self.originators.keys().copied().collect();
        for id in ids {
            let claims = self.claims(id);
            self.rib.set_claims(id, claims);
        }
    }

    /// The same for all originators reached over `link`, whose address changed.
    pub(super) fn settle_claims_through(&mut self, link: LinkId) {
        for id in self.originators_through(link) {
            let claims = self.claims(id);
            self.rib.set_claims(id, claims);
        }
    }

    fn claims(&self, id: OriginatorId) -> BTreeMap<RouteKey, Option<Target>> {
        let mut claims = BTreeMap::new();
        let Some((link, _)) = self.originators.get(&id).and_then(|o| o.in_use()) else {
            return claims;
        };
        let Some(neighbor) = self.neighbors.get(&link) else {
            return claims;
        };
        let target = Target::NextHop {
            via: neighbor.address,
            ifindex: link.ifindex,
        };
        let ipv6 = IpNet::V6(Ipv6Net::from(self.config.network.mesh_ipv6(id)));
        claims.insert((Table::Mesh, ipv6), Some(target));
        let Some(record) = self.records.get(id).map(|signed| signed.record()) else {
            return claims;
        };
        let ipv4 = IpNet::V4(Ipv4Net::from(record.ipv4));
        claims.insert((Table::Mesh, ipv4), Some(target));
        for prefix in &record.prefixes {
            if is_announceable(&self.config.network, prefix) {
                claims.insert((Table::Mesh, *prefix), Some(target));
            }
        }
        if self.is_gateway() {
            // Answers from the Internet go back through the tunnel that the packets came by.
            let answers: Vec<_> = claims.keys().map(|(_, prefix)| *prefix).collect();
            for prefix in answers {
                claims.insert((Table::Tunnel, prefix), Some(Target::Tunnel { peer: id }));
            }
        }
        claims
    }

    /// Puts our own claims into the RIB: prefixes of ours, which need no route, and the default
    /// routes through the gateway in use.
    pub(super) fn settle_own_claims(&mut self) {
        let mut claims = BTreeMap::new();
        let own = self.records.own().record();
        claims.insert((Table::Mesh, IpNet::V4(Ipv4Net::from(own.ipv4))), None);
        for prefix in &own.prefixes {
            claims.insert((Table::Mesh, *prefix), None);
        }
        for prefix in self.default_prefixes() {
            let target = self
                .chosen_gateway
                .as_ref()
                .map(|g| Target::Tunnel { peer: g.id });
            claims.insert((Table::Tunnel, prefix), target);
        }
        self.rib.set_claims(self.id, claims);
    }

    /// Leaves our IPv4 address to a node of a lower id that has it too.
    fn move_if_ipv4_taken(&mut self, now: Instant) {
        let key = (
            Table::Mesh,
            IpNet::V4(Ipv4Net::from(self.records.own().record().ipv4)),
        );
        if self.rib.claimants(key).next() == Some(self.id) {
            return;
        }
        let ipv4 = self.records.move_ipv4();
        self.pending_records.insert(self.id);
        self.flush_by(now);
        self.settle_own_claims();
        self.event(Event::Ipv4Moved(ipv4));
    }
}
