//! Routes: selection for each originator, and what follows for the RIB.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::book::Advertised;
use super::neighbor::{LinkId, Neighbor};
use super::originator::is_news;
use super::{Event, Router};
use crate::record::is_announceable;
use crate::rib::RouteKey;
use crate::route_selection::{Candidate, SWITCH_GAIN_PERCENT, select};
use crate::wire::Suspicion;
use crate::{Metric, OriginatorId, Path, Price, Table, Target};

/// How long a route must go on to beat the one in use before traffic moves to it. What is told
/// in a wave arrives from different sides at different times; this outlasts the wave.
const DWELL: Duration = Duration::from_secs(5);
/// Reachability that was lost is told within this time.
const RETRACTION_DELAY: Duration = Duration::from_millis(4);
/// How long neighbors have to say again what they offered before they began anew.
const CONFIRMATION_TIME: Duration = Duration::from_secs(10);

impl Router {
    /// Gives up a neighbor that fell silent. Traffic that went to it is on its way to another.
    pub(super) fn lose_neighbor(&mut self, now: Instant, link: LinkId) {
        if self.carries_traffic(now, link) {
            for originator in self.originators.values_mut() {
                originator.moving |= originator.selected == Some(link);
            }
            self.suspect(now, link.neighbor, Suspicion::HOP_LIMIT);
        }
        self.lost_neighbors.insert(link, now);
        self.drop_neighbor(now, link);
    }

    fn carries_traffic(&self, now: Instant, link: LinkId) -> bool {
        let neighbor = self.neighbors.get(&link);
        neighbor.is_some_and(|neighbor| neighbor.liveness.is_watched(now))
    }

    /// Gives a link up: everything over it is void.
    pub(super) fn drop_neighbor(&mut self, now: Instant, link: LinkId) {
        let Some(neighbor) = self.neighbors.remove(&link) else {
            return;
        };
        if neighbor.cost().is_finite() {
            self.event(Event::NeighborDown(link));
        }
        self.report_soon(link.ifindex);
        self.records.forget_link(link);
        self.withdraw_routes(now, link);
    }

    /// Everything a neighbor offered has to be said again, or it is void.
    pub(super) fn doubt_routes(&mut self, now: Instant, link: LinkId) {
        for originator in self.originators.values_mut() {
            originator.doubt(now, link);
        }
    }

    /// Gives up routes of our earlier life through a neighbor that was restarted as well, and has
    /// since said all it knows without mentioning them: they may lead back here. One that took its
    /// own routes over may still find them again.
    pub(super) fn disown_routes(&mut self, link: LinkId) {
        let Some(neighbor) = self.neighbors.get(&link) else {
            return;
        };
        let is_waiting = || self.waiting.keys().any(|(_, from)| *from == link);
        if !self.rib.has_adopted() || neighbor.warm || !neighbor.feed.is_complete() || is_waiting()
        {
            return;
        }
        let Some(target) = self.next_hop(link) else {
            return;
        };
        let all = self.originators.iter();
        let offered = all.filter(|(_, it)| it.route(link).is_some_and(|it| it.metric.is_finite()));
        let prefixes = offered.flat_map(|(id, _)| self.prefixes(*id));
        let offered = prefixes.map(|prefix| (Table::Mesh, prefix)).collect();
        self.rib.purge_adopted_through(target, &offered);
    }

    /// Takes a link's new cost into account if it changed notably.
    pub(super) fn settle_link(&mut self, now: Instant, link: LinkId) {
        let Some(neighbor) = self.neighbors.get_mut(&link) else {
            return;
        };
        let Some(before) = neighbor.settle_cost(now) else {
            return;
        };
        match (before.is_finite(), neighbor.cost().is_finite()) {
            (false, true) => {
                self.report_soon(link.ifindex);
                self.event(Event::NeighborUp(link));
                // What it has to say is asked for at once.
                self.sync_with(now, link);
            }
            (true, false) => self.event(Event::NeighborDown(link)),
            _ => {}
        }
        for id in self.originators_through(link) {
            self.select_route(now, id);
        }
    }

    pub(super) fn originators_through(&self, link: LinkId) -> Vec<OriginatorId> {
        let all = self.originators.iter();
        all.filter(|(_, o)| o.route(link).is_some())
            .map(|(id, _)| *id)
            .collect()
    }

    /// Selects the route to `id` anew, and does what follows from a change.
    pub(super) fn select_route(&mut self, now: Instant, id: OriginatorId) {
        let (neighbors, listening) = (&self.neighbors, self.caution.is_listening());
        // Only to the Internet anything has a price.
        let policy = Some(&self.gateway_policy).filter(|_| self.records.offers_gateway(id));
        let Some(originator) = self.originators.get_mut(&id) else {
            return;
        };
        let before = (originator.selected, originator.backup);
        let candidates = originator.routes().iter().map(|route| Candidate {
            link: route.link,
            seqno: route.proof.seqno,
            advertised: route.metric,
            link_cost: neighbors
                .get(&route.link)
                .map_or(Metric::INFINITE, Neighbor::cost),
            direct: route.link.neighbor == id,
            dear: policy.is_some_and(|policy| policy.is_too_dear(route.price)),
        });
        let candidates = candidates.filter(|candidate| candidate.direct || !listening);
        let selection = select(candidates, originator.feasibility, originator.selected);
        originator.choose(now, selection);
        let after = (originator.selected, originator.backup);
        if originator.challenger.is_some() {
            self.contested.insert(id);
        }
        if before.0 != after.0 {
            self.follow_selection(now, id, before.0, after.0);
        } else if before.1 != after.1 && after.1.is_some() {
            self.new_backups.entry(id).or_insert(now + DWELL);
        }
        self.ask_if_starved(now, id);
        self.ask_if_dear(now, id);
        self.tell_if_notable(now, id);
    }

    fn follow_selection(
        &mut self,
        now: Instant,
        id: OriginatorId,
        before: Option<LinkId>,
        after: Option<LinkId>,
    ) {
        match (before, after) {
            (None, Some(_)) => self.event(Event::OriginatorUp(id)),
            (Some(_), None) => self.event(Event::OriginatorDown(id)),
            _ => self.counters.switches += 1,
        }
        // It moves also if the way it took is still there, but leads nowhere any longer.
        let carried = before.is_some_and(|link| self.carries_traffic(now, link));
        if let Some(originator) = self.originators.get_mut(&id) {
            originator.moving |= carried;
            if after.is_some() && std::mem::take(&mut originator.moving) {
                self.moved.insert(id);
            }
            if before.is_some() != after.is_some() {
                originator.since = now;
            }
            originator.announced_backup = originator.backup;
        }
        if before.is_some() {
            self.ask_again(now, id);
        }
        self.settle_claims(now, id);
    }

    /// Groups the kernel's routes by backups that have lasted for a while.
    pub(super) fn settle_backups(&mut self, now: Instant) {
        let due = self.new_backups.iter().filter(|(_, at)| **at <= now);
        for id in due.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.new_backups.remove(&id);
            if let Some(originator) = self.originators.get_mut(&id)
                && originator.backup.is_some()
                && originator.backup != originator.announced_backup
            {
                originator.announced_backup = originator.backup;
                self.settle_claims(now, id);
            }
        }
    }

    /// Looks whether challengers have been better for long enough.
    pub(super) fn settle_contests(&mut self, now: Instant) {
        for id in std::mem::take(&mut self.contested) {
            if let Some(originator) = self.originators.get_mut(&id)
                && let Some((link, since)) = originator.challenger
                && now.duration_since(since) >= DWELL
            {
                // As if nothing was in use: the best is chosen.
                let before = originator.selected;
                originator.challenger = None;
                originator.selected = Some(link);
                self.follow_selection(now, id, before, Some(link));
            }
            self.select_route(now, id);
        }
    }

    /// Listening is over: uses what was heard.
    pub(super) fn choose_first_routes(&mut self, now: Instant) {
        let ids: Vec<_> = self.originators.keys().copied().collect();
        for id in ids {
            self.select_route(now, id);
        }
    }

    /// The truth about our route to an originator at this moment, `None` if there never was one.
    pub(super) fn now_true(&self, id: OriginatorId) -> Option<Advertised> {
        let originator = self.originators.get(&id)?;
        match originator.in_use() {
            Some(route) => {
                let cost = self.neighbors.get(&route.link).map(Neighbor::cost);
                Some(Advertised {
                    link: route.proof,
                    metric: route.metric.plus(cost.unwrap_or(Metric::INFINITE)),
                    hops: route.hops.saturating_add(1),
                    price: self.price_through_us(id, route.price),
                })
            }
            None => Some(Advertised {
                metric: Metric::INFINITE,
                hops: u8::MAX,
                price: Price::FREE,
                ..*originator.advertised()?
            }),
        }
    }

    /// The distance to an originator.
    pub(super) fn distance(&self, id: OriginatorId) -> Metric {
        self.now_true(id)
            .map_or(Metric::INFINITE, |truth| truth.metric)
    }

    fn tell_if_notable(&mut self, now: Instant, id: OriginatorId) {
        let Some(truth) = self.now_true(id) else {
            return;
        };
        let Some(originator) = self.originators.get(&id) else {
            return;
        };
        let (said, in_use) = (originator.advertised().copied(), originator.selected);
        if is_news(said.as_ref(), &truth) {
            self.pending_ogms.insert(id);
            match truth.metric.is_finite() {
                true => self.flush_soon(now),
                false => self.flush_within(now, RETRACTION_DELAY),
            }
            return;
        }
        let Some(said) = said.filter(|said| said.metric.is_finite()) else {
            return;
        };
        if truth.link.seqno.is_newer_than(said.link.seqno) {
            // It can wait for the next hello, unless somebody cannot.
            self.pending_ogms.insert(id);
            if self.is_awaited(now, id, truth.link.seqno) {
                self.flush_within(now, RETRACTION_DELAY);
            }
        } else if let Some(link) = in_use
            && said.metric.beats(truth.metric, SWITCH_GAIN_PERCENT)
        {
            self.ask_lazily(now, id, link);
        }
    }

    /// Forgets routes and originators nobody speaks of anymore.
    pub(super) fn expire_originators(&mut self, now: Instant) {
        let mut affected = Vec::new();
        for (id, originator) in &mut self.originators {
            if originator.expire(now, CONFIRMATION_TIME) {
                affected.push(*id);
            }
        }
        for id in affected {
            self.select_route(now, id);
        }
        self.forget_originators(now);
    }

    fn forget_originators(&mut self, now: Instant) {
        let pending = &self.pending_ogms;
        let book = &mut self.book;
        self.originators.retain(|id, originator| {
            let keep = !originator.is_forgettable(now) || pending.contains(id);
            if !keep && let Some(said) = &originator.said {
                book.forget(said);
            }
            keep
        });
        self.forget_records();
    }

    /// Puts the claims of an originator into the RIB: what its record says, while it can be
    /// reached, through the next hop in use.
    pub(super) fn settle_claims(&mut self, now: Instant, id: OriginatorId) {
        let claims = self.claims(id);
        self.rib.set_claims(id, claims);
        self.move_if_ipv4_taken(now);
        if self.records.offers_gateway(id) {
            self.select_gateways(now);
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

    fn claims(&self, id: OriginatorId) -> BTreeMap<RouteKey, Option<Path>> {
        let mut claims = BTreeMap::new();
        let Some(originator) = self.originators.get(&id) else {
            return claims;
        };
        let Some(target) = originator.selected.and_then(|link| self.next_hop(link)) else {
            return claims;
        };
        let backup = originator.announced_backup;
        let path = Some(Path {
            target,
            backup: backup.and_then(|link| self.next_hop(link)),
        });
        let prefixes = self.prefixes(id);
        claims.extend(prefixes.iter().map(|it| ((Table::Mesh, *it), path)));
        if self.is_gateway() {
            // Answers from the Internet go back through the tunnel that the packets came by.
            if let Some(tunnel) = self.tunnel_target(id) {
                let path = Some(Path::from(tunnel));
                claims.extend(prefixes.iter().map(|it| ((Table::Tunnel, *it), path)));
            }
        }
        claims
    }

    /// What an originator may claim: its addresses, and what its record announces.
    fn prefixes(&self, id: OriginatorId) -> Vec<IpNet> {
        let network = &self.config.network;
        let mut prefixes = vec![IpNet::V6(Ipv6Net::from(network.mesh_ipv6(id)))];
        if let Some(record) = self.records.get(id).map(|signed| signed.record()) {
            prefixes.push(IpNet::V4(Ipv4Net::from(record.ipv4)));
            let announced = record.prefixes.iter().copied();
            prefixes.extend(announced.filter(|prefix| is_announceable(network, prefix)));
        }
        prefixes
    }

    fn next_hop(&self, link: LinkId) -> Option<Target> {
        let neighbor = self.neighbors.get(&link)?;
        Some(Target::NextHop {
            via: neighbor.address,
            ifindex: link.ifindex,
        })
    }

    /// Puts our own claims into the RIB: prefixes of ours, which need no route, and the default
    /// routes through the gateways in use.
    pub(super) fn settle_own_claims(&mut self) {
        let mut claims = BTreeMap::new();
        let own = self.records.own().record();
        claims.insert((Table::Mesh, IpNet::V4(Ipv4Net::from(own.ipv4))), None);
        for prefix in &own.prefixes {
            claims.insert((Table::Mesh, *prefix), None);
        }
        for &(key, target) in &self.gateways_in_use.routes {
            claims.insert(key, Some(Path::from(target)));
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
        self.pending_ogms.insert(self.id);
        self.flush_by(now);
        self.settle_own_claims();
        self.event(Event::Ipv4Moved(ipv4));
    }
}
