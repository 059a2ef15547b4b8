//! Gateways: which are used.

use std::net::Ipv6Addr;
use std::time::Instant;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Event, Router};
use crate::gateway_policy::{Allowed, Policy, Refusal};
use crate::gateway_selection::{Candidate, Selection, select};
use crate::rib::RouteKey;
use crate::{Family, Mark, NodeId, OriginatorId, Price, Table, Target};

/// The gateways in use.
#[derive(Clone, Debug)]
pub(super) struct SelectedGateways {
    pub(super) selection: Selection,
    /// Those that are used next if these end. Their routes are there already, and with them their tunnels.
    pub(super) reserve: Selection,
    /// Since when the main one is used, or none is.
    pub(super) since: Instant,
    /// The default routes: each family's, and those of flows that began through one, now or earlier.
    pub(super) routes: Vec<(RouteKey, Target)>,
}

impl SelectedGateways {
    /// None.
    pub(super) const fn none(now: Instant) -> Self {
        const NONE: Selection = Selection {
            ipv4: None,
            ipv6: None,
        };
        Self {
            selection: NONE,
            reserve: NONE,
            since: now,
            routes: Vec::new(),
        }
    }
}

impl Router {
    /// Changes which gateways may be used and which come first.
    pub fn set_gateway_policy(&mut self, now: Instant, policy: Policy) {
        if self.gateway_policy == policy {
            return;
        }
        self.gateway_policy = policy;
        self.settle_prices(now);
        self.select_gateways(now);
        self.announce_moved_traffic(now);
    }

    /// The gateway with the cheapest way to it, if nothing but its price keeps us from the Internet, and
    /// that price: [`Price::TOO_DEAR`] if it is not for sale.
    pub fn too_dear(&self) -> Option<(OriginatorId, Price)> {
        if self.is_gateway() || self.gateway().is_some() {
            return None;
        }
        let dear = self.gateway_candidates();
        let dear = dear.filter(|it| it.standing == Err(Refusal::TooDear));
        let priced = dear.map(|it| (self.price_asked(it.id).unwrap_or(Price::TOO_DEAR), it.id));
        priced.min().map(|(price, id)| (id, price))
    }

    /// The mesh addresses of all nodes that offer an uplink, ourselves included, and whose they are:
    /// traffic to and from them is what receipts are about.
    pub fn gateway_addresses(&self) -> impl Iterator<Item = (Ipv6Addr, NodeId)> {
        self.records.gateways().filter_map(|id| {
            let address = self.config.network.mesh_ipv6(id);
            Some((address, self.records.get(id)?.node()))
        })
    }

    /// Whether we offer an uplink ourselves.
    pub(super) fn is_gateway(&self) -> bool {
        self.records.own().record().gateway.is_some()
    }

    pub(super) fn gateway_candidates(&self) -> impl Iterator<Item = Candidate> {
        let others = self.records.gateways().filter(|id| *id != self.id);
        others.filter_map(|id| {
            let record = self.records.get(id)?.record();
            let offer = record.gateway.as_ref()?;
            let way = (self.distance(id), self.price_asked(id).unwrap_or_default());
            let judge = |_| self.gateway_policy.judge(id, &record.name, offer, way);
            let tunnel = self.records.tunnel_to(id).ok_or(Refusal::NoTunnel);
            Some(Candidate {
                id,
                ipv4: offer.ipv4,
                ipv6: offer.ipv6,
                standing: tunnel.and_then(judge),
            })
        })
    }

    /// Selects the gateways anew, and does what follows from a change.
    pub(super) fn select_gateways(&mut self, now: Instant) {
        let before = self.gateways_in_use.selection;
        let candidates: Vec<_> = self.gateway_candidates().collect();
        let best = select(self.id, &candidates, before);
        // What our own uplink carries needs no other.
        let own = self.records.own().record().gateway.as_ref();
        let has = |family| own.is_some_and(|own| own.carries(family));
        let after = Selection {
            ipv4: best.ipv4.filter(|_| !has(Family::Ipv4)),
            ipv6: best.ipv6.filter(|_| !has(Family::Ipv6)),
        };
        let others = candidates.into_iter();
        let others: Vec<_> = others
            .filter(|it| after.ids().all(|id| id != it.id))
            .collect();
        let reserve = select(self.id, &others, self.gateways_in_use.reserve);
        self.gateways_in_use.reserve = reserve;
        for id in reserve.ids().chain(after.ids()) {
            self.marks.of_used(id);
        }
        let routes = self.default_routes(after);
        if before == after && routes == self.gateways_in_use.routes {
            return;
        }
        self.gateways_in_use.selection = after;
        self.gateways_in_use.routes = routes;
        // Their ways were idle until now.
        let new = after.ids().filter(|id| before.ids().all(|it| it != *id));
        self.moved.extend(new);
        let (from, to) = (before.main(), after.main());
        if from != to {
            self.gateways_in_use.since = now;
            self.event(Event::GatewayChanged { from, to });
        }
        self.settle_own_claims();
    }

    /// The mark of the gateway that new flows of a family go through, perhaps since an earlier life.
    pub fn mark(&self, family: Family) -> Option<Mark> {
        let path = self.rib.path((Table::Tunnel, default_prefix(family)))?;
        match path.target {
            Target::Tunnel { peer, .. } => self.marks.of(peer),
            Target::NextHop { .. } => None,
        }
    }

    /// The routes of flows that go on through the gateway they began with. One that is not the best any
    /// longer, or not the one that is asked for, still serves those it has: there is a reason to leave
    /// it, but none to break them.
    fn gateways_of_flows(&self) -> impl Iterator<Item = (RouteKey, OriginatorId)> {
        let goes_on = |candidate: &Candidate| match candidate.standing {
            Ok(_) => true,
            Err(Refusal::NotAllowed) => self.gateway_policy.allowed != Allowed::Nobody,
            Err(_) => false,
        };
        let marked = |it: Candidate| Some((self.marks.of(it.id)?, it));
        let routes = |(mark, candidate): (Mark, Candidate)| {
            let carried = Family::BOTH
                .into_iter()
                .filter(move |it| candidate.carries(*it));
            let key = move |family| (Table::Marked(mark), default_prefix(family));
            carried.map(move |family| (key(family), candidate.id))
        };
        let candidates = self.gateway_candidates().filter(goes_on);
        candidates.filter_map(marked).flat_map(routes)
    }

    fn default_routes(&self, selection: Selection) -> Vec<(RouteKey, Target)> {
        let of_new = Family::BOTH.into_iter().filter_map(|family| {
            let key = (Table::Tunnel, default_prefix(family));
            Some((key, selection.of(family)?))
        });
        let all = of_new.chain(self.gateways_of_flows());
        all.filter_map(|(key, peer)| Some((key, self.tunnel_target(peer)?)))
            .collect()
    }

    /// The way into the tunnel to another node.
    pub(super) fn tunnel_target(&self, peer: OriginatorId) -> Option<Target> {
        let tunnel = self.records.tunnel_to(peer)?;
        Some(Target::Tunnel { peer, tunnel })
    }
}

fn default_prefix(family: Family) -> IpNet {
    match family {
        Family::Ipv4 => IpNet::V4(Ipv4Net::default()),
        Family::Ipv6 => IpNet::V6(Ipv6Net::default()),
    }
}
