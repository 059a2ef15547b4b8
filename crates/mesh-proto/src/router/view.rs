//! The state of the router as operators see it.

use std::net::Ipv6Addr;
use std::time::Instant;

use ipnet::IpNet;

use super::counters::Counters;
use super::neighbor::LinkId;
use super::originator::Originator;
use super::{Interface, Router};
use crate::gateway_policy::Standing;
use crate::gateway_selection::{Candidate, Selection, Verdict, explain};
use crate::route_selection::FeasibilityDistance;
use crate::{
    IfIndex, Metric, Network, OriginatorId, Price, Route, SeqNo, SignedRecord, Table, Tunnel,
};

/// A link to a neighbor.
#[derive(Clone, Debug)]
pub struct NeighborView {
    /// The link.
    pub link: LinkId,
    /// The neighbor's link-local address.
    pub address: Ipv6Addr,
    /// The share of its hellos that arrive here, 0 to 255.
    pub rx_quality: u8,
    /// The share of our hellos that arrive there, 0 to 255.
    pub tx_quality: u8,
    /// What the link costs.
    pub cost: Metric,
    /// Whether it has to give signs of life: traffic flows to it or from it, or somebody misses it.
    pub watched: bool,
    /// Whether it answers, but packets as long as the interface's MTU allows do not get there and back.
    pub narrow: bool,
    /// When it was last heard.
    pub last_heard: Instant,
    /// Since when it is heard.
    pub since: Instant,
}

/// A node somewhere in the mesh.
#[derive(Clone, Debug)]
pub struct OriginatorView {
    /// Who it is.
    pub id: OriginatorId,
    /// Its mesh address.
    pub ipv6: Ipv6Addr,
    /// The distance to it; infinite if it cannot be reached.
    pub metric: Metric,
    /// Hops to it.
    pub hops: Option<u8>,
    /// The link its traffic takes.
    pub next_hop: Option<LinkId>,
    /// The link its traffic takes if that fails.
    pub backup: Option<LinkId>,
    /// Sequence number of the route in use.
    pub seqno: Option<SeqNo>,
    /// The best we ever advertised.
    pub feasibility: Option<FeasibilityDistance>,
    /// When any neighbor last spoke of it.
    pub last_heard: Instant,
    /// Since when it is reachable, or is not.
    pub since: Instant,
}

/// A node that offers an uplink.
#[derive(Clone, Debug)]
pub struct GatewayView {
    /// Who it is.
    pub id: OriginatorId,
    /// The distance to it.
    pub path: Metric,
    /// What the way to it costs; `None` without one, or if it is not for sale.
    pub price: Option<Price>,
    /// The tunnel to it, if there is a kind that both know.
    pub tunnel: Option<Tunnel>,
    /// Where it stands with our policy, if it can be used.
    pub standing: Option<Standing>,
    /// Why it is used or not.
    pub verdict: Verdict,
}

impl Router {
    /// Our own id.
    pub const fn id(&self) -> OriginatorId {
        self.id
    }

    /// The mesh we belong to.
    pub const fn network(&self) -> &Network {
        &self.config.network
    }

    /// What went through and what was dropped.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The record of a node, or our own.
    pub fn record(&self, id: OriginatorId) -> Option<&SignedRecord> {
        self.records.get(id)
    }

    /// The main gateway in use, and since when.
    pub fn gateway(&self) -> Option<(OriginatorId, Instant)> {
        let main = self.gateways_in_use.selection.main();
        main.map(|id| (id, self.gateways_in_use.since))
    }

    /// How packets to a gateway are wrapped, if there is a kind that both know.
    pub fn tunnel_to(&self, gateway: OriginatorId) -> Option<Tunnel> {
        self.records.tunnel_to(gateway)
    }

    /// The gateways in use for each family.
    pub const fn gateways_in_use(&self) -> Selection {
        self.gateways_in_use.selection
    }

    /// The interfaces in use.
    pub fn interfaces(&self) -> impl Iterator<Item = IfIndex> {
        self.interfaces
            .iter()
            .map(|(ifindex, Interface { .. })| *ifindex)
    }

    /// All links.
    pub fn neighbors(&self, now: Instant) -> impl Iterator<Item = NeighborView> {
        self.neighbors
            .iter()
            .map(move |(link, neighbor)| NeighborView {
                link: *link,
                address: neighbor.address,
                rx_quality: neighbor.rx_quality(now),
                tx_quality: neighbor.tx_quality(now),
                cost: neighbor.cost(),
                watched: neighbor.liveness.is_watched(now),
                narrow: neighbor.liveness.is_narrow(),
                last_heard: neighbor.last_heard,
                since: neighbor.since,
            })
    }

    /// All other nodes.
    pub fn originators(&self) -> impl Iterator<Item = OriginatorView> {
        self.originators
            .iter()
            .map(move |(id, known)| self.originator_view(*id, known))
    }

    /// One other node.
    pub fn originator(&self, id: OriginatorId) -> Option<OriginatorView> {
        self.originators
            .get(&id)
            .map(|known| self.originator_view(id, known))
    }

    fn originator_view(&self, id: OriginatorId, known: &Originator) -> OriginatorView {
        let in_use = known.in_use();
        OriginatorView {
            id,
            ipv6: self.config.network.mesh_ipv6(id),
            metric: self.distance(id),
            hops: in_use.map(|route| route.hops.saturating_add(1)),
            next_hop: in_use.map(|route| route.link),
            backup: known.backup,
            seqno: in_use.map(|route| route.proof.seqno),
            feasibility: known.feasibility,
            last_heard: known.last_heard,
            since: known.since,
        }
    }

    /// All other nodes that offer an uplink, the best first.
    pub fn gateways(&self) -> Vec<GatewayView> {
        let mut all: Vec<Candidate> = self.gateway_candidates().collect();
        all.sort_by_key(|it| (it.standing, it.id));
        let selected = self.gateways_in_use.selection;
        let views = all.iter().map(|candidate| GatewayView {
            id: candidate.id,
            path: self.distance(candidate.id),
            price: self.price_asked(candidate.id).filter(|it| it.is_payable()),
            tunnel: self.records.tunnel_to(candidate.id),
            standing: candidate.standing.ok(),
            verdict: explain(candidate, &all, selected),
        });
        views.collect()
    }

    /// How often the node was started, as far as it knows.
    pub const fn epoch(&self) -> u32 {
        self.sender.epoch
    }

    /// When another node with our key was last noticed.
    pub const fn duplicate_identity(&self) -> Option<Instant> {
        self.double_seen
    }

    /// The routes the kernel should have.
    pub fn routes(&self) -> impl Iterator<Item = Route> {
        self.rib.routes()
    }

    /// Whose prefix a route leads to; nobody's if it was adopted and not confirmed yet.
    pub fn owner(&self, route: &Route) -> Option<OriginatorId> {
        self.rib.claimants(route.key()).next()
    }

    /// Prefixes of ours that another node claims too, and who: the lower id has them.
    pub fn prefix_conflicts(&self) -> impl Iterator<Item = (IpNet, OriginatorId)> {
        let own = self.records.own().record().prefixes.iter();
        own.flat_map(move |prefix| {
            let claimants = self.rib.claimants((Table::Mesh, *prefix));
            claimants
                .filter(|id| *id != self.id)
                .map(move |id| (*prefix, id))
        })
    }
}
