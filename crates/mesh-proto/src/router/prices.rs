//! Prices: what it costs to be carried to the Internet, and what we take for it.
//!
//! The OGM of a gateway starts with the gateway's fee, and each node that passes it on adds its own:
//! what a neighbor announces is what it is paid. Other originators have no price, as what stays in the
//! mesh is free.

use std::time::Instant;

use super::Router;
use super::neighbor::{LinkId, Neighbor};
use super::originator::Originator;
use crate::{Metric, NodeId, OriginatorId, Price};

impl Router {
    /// What neighbors pay us for what we carry between them and the uplink of `gateway`, our own fee
    /// included, as we last announced it; `gateway` may be ourselves. `None` if it has no uplink,
    /// cannot be reached, or is too dear for anybody to come this way.
    pub fn price_to(&self, gateway: NodeId) -> Option<Price> {
        let id = gateway.originator_id();
        let said = self.said(id)?.advertised;
        let serves = said.metric.is_finite() && self.records.offers_gateway(id);
        Some(said.price).filter(|price| serves && price.is_payable())
    }

    /// What we pay `neighbor` for what it carries between us and the uplink of `gateway`, as it last
    /// announced it. `None` if it announced no way there, or one that is not for sale.
    pub fn price_via(&self, neighbor: NodeId, gateway: NodeId) -> Option<Price> {
        let (neighbor, id) = (neighbor.originator_id(), gateway.originator_id());
        let offered = self.originators.get(&id)?.routes().iter();
        let offered = offered.filter(|it| it.link.neighbor == neighbor && it.metric.is_finite());
        // Over several links it says the same, but not all of it may have arrived.
        let price = offered.map(|it| it.price).max()?;
        Some(price).filter(|price| price.is_payable() && self.records.offers_gateway(id))
    }

    /// What the next hop takes for carrying to an originator; `None` without a route.
    pub(super) fn price_asked(&self, id: OriginatorId) -> Option<Price> {
        let in_use = self.originators.get(&id)?.in_use()?;
        Some(in_use.price)
    }

    /// What we take for carrying to an originator if we pay `price` ourselves. We cannot sell what we
    /// do not buy.
    pub(super) fn price_through_us(&self, id: OriginatorId, price: Price) -> Price {
        if !self.records.offers_gateway(id) {
            Price::FREE
        } else if self.gateway_policy.is_too_dear(price) {
            Price::TOO_DEAR
        } else {
            price.plus(self.fee)
        }
    }

    /// Changes our fee. Everybody who comes this way has to know.
    pub(super) fn set_fee(&mut self, now: Instant, fee: Price) {
        if self.fee != fee {
            self.fee = fee;
            self.pending_ogms.extend(self.records.gateways());
            self.flush_by(now);
        }
    }

    /// Selects the routes to all gateways anew, after it changed what is too dear.
    pub(super) fn settle_prices(&mut self, now: Instant) {
        let ids: Vec<_> = self.records.gateways().collect();
        for id in ids {
            self.select_route(now, id);
        }
        self.send_gathered_requests(now);
    }

    /// The prices that were announced for a node count from now on, or no longer, as its record says
    /// that it is a gateway, or is none.
    pub(super) fn settle_prices_to(&mut self, now: Instant, id: OriginatorId) {
        let originator = self.originators.get(&id);
        let mut offers = originator.into_iter().flat_map(Originator::routes);
        if offers.any(|it| it.price != Price::FREE) {
            self.select_route(now, id);
        }
    }

    /// The route in use is too dear, and an affordable one is on offer that is not feasible: a newer
    /// sequence number that comes over it makes it so.
    pub(super) fn ask_if_dear(&mut self, now: Instant, id: OriginatorId) {
        let is_dear = |price| self.gateway_policy.is_too_dear(price);
        let serves = self.records.offers_gateway(id) && !self.caution.is_listening();
        if serves
            && self.price_asked(id).is_some_and(is_dear)
            && let Some(link) = self.affordable_offer(id)
        {
            self.ask_lazily(now, id, link);
        }
    }

    /// The shortest route on offer that is not too dear, feasible or not.
    fn affordable_offer(&self, id: OriginatorId) -> Option<LinkId> {
        let offers = self.originators.get(&id)?.routes().iter();
        let offers = offers.filter(|it| !self.gateway_policy.is_too_dear(it.price));
        let distances = offers.map(|it| {
            let cost = self.neighbors.get(&it.link).map(Neighbor::cost);
            (it.metric.plus(cost.unwrap_or(Metric::INFINITE)), it.link)
        });
        let reachable = distances.filter(|(metric, _)| metric.is_finite());
        reachable.min().map(|(_, link)| link)
    }
}
