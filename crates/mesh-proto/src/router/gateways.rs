//! Gateways: which one is used.

use std::net::Ipv6Addr;
use std::time::Instant;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Event, Router};
use crate::gateway_selection::{Candidate, select, uplink_cost};
use crate::record::Tunnels;
use crate::{Metric, OriginatorId};

/// The gateway in use.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChosenGateway {
    pub(super) id: OriginatorId,
    pub(super) since: Instant,
}

impl Router {
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
        self.records
            .gateways()
            .filter(|id| *id != self.id)
            .filter_map(move |id| {
                let offer = self.records.get(id)?.record().gateway.as_ref()?;
                let path = self.distance(id);
                let usable = offer.tunnels.contains(Tunnels::VXLAN);
                let uplink = if usable {
                    uplink_cost(offer)
                } else {
                    Metric::INFINITE
                };
                Some(Candidate { id, path, uplink })
            })
    }

    /// Chooses the gateway anew, and does what follows from a change.
    pub(super) fn choose_gateway(&mut self, now: Instant) {
        let before = self.chosen_gateway.map(|gateway| gateway.id);
        let after = match self.is_gateway() {
            true => None,
            false => select(self.gateway_candidates(), before).map(|candidate| candidate.id),
        };
        if before != after {
            self.chosen_gateway = after.map(|id| ChosenGateway { id, since: now });
            // Its way was idle until now.
            self.moved.extend(after);
            self.event(Event::GatewayChanged {
                from: before,
                to: after,
            });
        }
        // Also without a change of gateway: it may offer another family now.
        self.settle_own_claims();
    }

    /// The default routes that the gateway in use can serve.
    pub(super) fn default_prefixes(&self) -> Vec<IpNet> {
        let chosen = self
            .chosen_gateway
            .and_then(|gateway| self.records.get(gateway.id));
        let Some(offer) = chosen.and_then(|signed| signed.record().gateway.as_ref()) else {
            return Vec::new();
        };
        let ipv4 = offer.ipv4.then(|| IpNet::V4(Ipv4Net::default()));
        let ipv6 = offer.ipv6.then(|| IpNet::V6(Ipv6Net::default()));
        ipv4.into_iter().chain(ipv6).collect()
    }
}
