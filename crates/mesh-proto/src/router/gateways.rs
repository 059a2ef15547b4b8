//! Gateways: which are used.

use std::net::Ipv6Addr;
use std::time::Instant;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Event, Router};
use crate::OriginatorId;
use crate::gateway_policy::Policy;
use crate::gateway_selection::{Candidate, Family, Selection, select};

/// The gateways in use.
#[derive(Clone, Copy, Debug)]
pub(super) struct SelectedGateways {
    pub(super) selection: Selection,
    /// Since when the main one is used, or none is.
    pub(super) since: Instant,
}

impl Router {
    /// Changes which gateways may be used and which come first.
    pub fn set_gateway_policy(&mut self, now: Instant, policy: Policy) {
        if self.gateway_policy == policy {
            return;
        }
        self.gateway_policy = policy;
        self.select_gateways(now);
        self.announce_moved_traffic(now);
    }

    /// The mesh addresses of all nodes that offer an uplink, ourselves included: traffic to and
    /// from them is what receipts are about.
    pub fn gateway_addresses(&self) -> impl Iterator<Item = Ipv6Addr> {
        self.records
            .gateways()
            .map(|id| self.config.network.mesh_ipv6(id))
    }

    /// Whether we offer an uplink ourselves, and so use no other.
    pub(super) fn is_gateway(&self) -> bool {
        self.records.own().record().gateway.is_some()
    }

    pub(super) fn gateway_candidates(&self) -> impl Iterator<Item = Candidate> {
        let others = self.records.gateways().filter(|id| *id != self.id);
        others.filter_map(|id| {
            let record = self.records.get(id)?.record();
            let offer = record.gateway.as_ref()?;
            let path = self.distance(id);
            Some(Candidate {
                id,
                ipv4: offer.ipv4,
                ipv6: offer.ipv6,
                standing: self.gateway_policy.judge(id, &record.name, offer, path),
            })
        })
    }

    /// Selects the gateways anew, and does what follows from a change.
    pub(super) fn select_gateways(&mut self, now: Instant) {
        let before = self.gateways_in_use.selection;
        let after = match self.is_gateway() {
            true => Selection::default(),
            false => select(&self.gateway_candidates().collect::<Vec<_>>(), before),
        };
        if before == after {
            return;
        }
        self.gateways_in_use.selection = after;
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

    /// The default routes, each with the gateway that it leads to.
    pub(super) fn default_routes(&self) -> impl Iterator<Item = (IpNet, OriginatorId)> {
        let selection = self.gateways_in_use.selection;
        Family::BOTH.into_iter().filter_map(move |family| {
            let prefix = match family {
                Family::Ipv4 => IpNet::V4(Ipv4Net::default()),
                Family::Ipv6 => IpNet::V6(Ipv6Net::default()),
            };
            Some((prefix, selection.of(family)?))
        })
    }
}
