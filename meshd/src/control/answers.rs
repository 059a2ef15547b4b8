//! The state of the daemon in the words of `control-api`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use control_api::{
    Answer, Counters, ErrorCode, Internet, Method, Neighbor, Neighbors, NodeRef, Originator,
    Originators, Quality, Route, RouteTo, Routes, RpcError, SCHEMA, Settings, Status, TunnelKind,
};
use ipnet::IpNet;
use mesh_proto::gateway_policy::Allowed;
use mesh_proto::router::{LinkId, NeighborView, OriginatorView};
use mesh_proto::{IfIndex, Metric, OriginatorId, Router, SignedRecord, Target, Tunnel};
use receipts::Ledger;

use crate::carried::Carried;
use crate::config::Config;
use crate::driver::internet::{Internet as Ways, Way};
use crate::driver::radios::Radios;
use crate::history::History;
use crate::kernel::Link;
use crate::kernel::radio::Problem;
use crate::store::Progress;
use crate::uplink::{DefaultRoutes, Shared, Watcher};
use crate::usage::Usage;

/// What a good link costs, to tell TQ from metrics: a hop without loss.
const PERFECT_LINK_US: u64 = 600;

/// Everything answers are made of, at one moment.
pub(crate) struct View<'a> {
    pub(crate) now: Instant,
    pub(crate) started: Instant,
    pub(crate) router: &'a Router,
    pub(crate) ledger: &'a Ledger,
    pub(crate) config: &'a Config,
    pub(crate) links: &'a BTreeMap<IfIndex, Link>,
    pub(crate) link_locals: &'a BTreeMap<IfIndex, Ipv6Addr>,
    pub(crate) radios: &'a Radios,
    pub(crate) usage: &'a Usage,
    pub(crate) shared: Option<&'a Shared>,
    pub(crate) default_routes: &'a DefaultRoutes,
    pub(crate) watcher: &'a Watcher,
    pub(crate) internet: &'a Ways,
    pub(crate) history: &'a History,
    pub(crate) carried: &'a Carried,
    /// The gateway that was selected at run time.
    pub(crate) selected: Option<&'a Allowed>,
    pub(crate) saving: &'a Progress,
    pub(crate) warnings: Vec<String>,
}

impl View<'_> {
    /// Answers a question about the state; what changes or reads something else is not for here.
    pub(crate) fn answer(&self, method: &Method) -> Result<Answer, RpcError> {
        match method {
            Method::Status => Ok(self.status().into()),
            Method::Interfaces => Ok(self.interfaces().into()),
            Method::Neighbors => Ok(self.neighbors().into()),
            Method::Originators => Ok(self.originators().into()),
            Method::Map => Ok(self.map().into()),
            Method::Routes { dest } => {
                let routes = self.routes();
                let routes = match dest {
                    Some(dest) => dest.select(routes)?,
                    None => routes,
                };
                Ok(Routes {
                    schema: SCHEMA,
                    routes,
                }
                .into())
            }
            Method::Gateways => Ok(self.gateways().into()),
            Method::ReceiptsList => Ok(self.accounts().into()),
            Method::ReceiptsShow { node } => Ok(self.node_accounts(node)?.into()),
            Method::ReceiptsStats => Ok(self.stats().into()),
            Method::ReceiptsCarried => Ok(self.carried_files()?.into()),
            Method::ReceiptsExportCarried { owner, offset } => {
                Ok(self.carried_chunk(*owner, *offset)?.into())
            }
            Method::ConfigShow => Ok(Settings {
                schema: SCHEMA,
                settings: self.config.shown(),
            }
            .into()),
            Method::Doctor { .. }
            | Method::ReceiptsImport { .. }
            | Method::ReceiptsExport { .. }
            | Method::GatewaysSelect { .. }
            | Method::Probe(_)
            | Method::Throughput(_)
            | Method::ConfigDiff { .. }
            | Method::LogLevel { .. }
            | Method::Monitor
            | Method::ReloadTry { .. }
            | Method::ReloadConfirm
            | Method::ReloadRevert
            | Method::Reload => Err(RpcError::new(
                ErrorCode::Internal,
                "not a question about the state",
            )),
        }
    }

    fn status(&self) -> Status {
        let own = self.own_record();
        let counters = self.router.counters();
        let reachable = self.router.originators().filter(|o| o.metric.is_finite());
        let usable = self
            .router
            .neighbors(self.now)
            .filter(|n| n.cost.is_finite());
        Status {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            network: self.router.network().name().to_owned(),
            name: own.map(|own| own.record().name.clone()).unwrap_or_default(),
            node_id: own.map_or([0; 32], |own| *own.node().as_bytes()).into(),
            originator_id: originator_id(self.router.id()),
            mesh_ipv6: self.router.network().mesh_ipv6(self.router.id()),
            mesh_ipv4: own.map_or(Ipv4Addr::UNSPECIFIED, |own| own.record().ipv4),
            uptime_s: self.age_s(self.started),
            internet: self.internet(),
            neighbors: count(usable),
            originators: count(reachable),
            gateways: count(self.router.gateways().iter().filter(|g| g.path.is_finite()))
                + u32::from(self.shared.is_some()),
            counters: Counters {
                rx_packets: counters.received_packets,
                rx_bytes: counters.received_bytes,
                tx_packets: counters.sent_packets,
                tx_bytes: counters.sent_bytes,
                drops: self.drops(),
            },
            warnings: (self.warnings().into_iter())
                .chain((self.priced_out()).map(|(problem, advice)| format!("{problem}: {advice}")))
                .chain(self.radio_warnings())
                .chain(
                    self.other_versions()
                        .map(|(interface, problem)| format!("{interface}: {problem}")),
                )
                .chain(self.prefix_conflicts().map(|(_, problem)| problem))
                .chain(self.saving_warnings())
                .collect(),
        }
    }

    /// What was dropped by the router, and receipt messages dropped by the ledger.
    fn drops(&self) -> BTreeMap<String, u64> {
        let routing = self
            .router
            .counters()
            .drops
            .iter()
            .map(|(why, n)| (why.name(), *n));
        let ledger = self.ledger.counters();
        let receipts = [
            ("receipt_malformed", ledger.malformed),
            ("receipt_foreign", ledger.foreign),
            ("receipt_forged", ledger.forged),
            ("receipt_stale", ledger.stale),
            ("receipt_inconsistent", ledger.inconsistent),
            ("receipt_busy", ledger.busy),
            ("receipt_crowded", ledger.crowded),
            ("receipt_uncountable", ledger.uncountable),
        ];
        let all = routing.chain(receipts).filter(|(_, count)| *count > 0);
        all.map(|(reason, count)| (reason.to_owned(), count))
            .collect()
    }

    fn internet(&self) -> Internet {
        let since_s = self.age_s(self.internet.since());
        let last = self.internet.last();
        let offline = || {
            let last_via = last.and_then(|(way, _)| match way {
                Way::Gateway(id) => Some(self.node_ref(*id)),
                Way::Own(_) => None,
            });
            Internet::offline(since_s, last.map(|(_, until)| self.age_s(*until)), last_via)
        };
        match self.internet.way() {
            Some(Way::Own(interface)) => Internet::through_own_uplink(interface.clone(), since_s),
            Some(Way::Gateway(id)) => {
                let Some(path) = self.router.originator(*id) else {
                    return offline();
                };
                let (Some(hops), Some(link)) = (path.hops, path.next_hop) else {
                    return offline();
                };
                let next_hop = self.node_ref(link.neighbor);
                let ipv6 = self.router.gateways_in_use().ipv6.filter(|ipv6| ipv6 != id);
                Internet {
                    ipv6_via: ipv6.map(|id| self.node_ref(id)),
                    ..Internet::through_gateway(self.node_ref(*id), hops.into(), next_hop, since_s)
                }
            }
            None => offline(),
        }
    }

    fn warnings(&self) -> Vec<String> {
        let off = (self.is_switched_off())
            .then(|| "no gateway is used: meshctl gateways select auto".to_owned());
        let own = self.warnings.iter().cloned();
        own.chain(self.double()).chain(off).collect()
    }

    /// What is to be said of another node with our key, if there is one.
    pub(super) fn double(&self) -> Option<String> {
        self.router.duplicate_identity().map(|at| {
            format!(
                "another node uses the key of this one (noticed {} s ago): one of them needs a key \
                 of its own",
                self.age_s(at)
            )
        })
    }

    /// Whether no gateway is to be used, by what was selected at run time.
    pub(super) fn is_switched_off(&self) -> bool {
        self.selected == Some(&Allowed::Nobody)
    }

    /// The prefixes of ours that other nodes announce too: which, and who has it.
    pub(super) fn prefix_conflicts(&self) -> impl Iterator<Item = (IpNet, String)> {
        self.router.prefix_conflicts().map(|(prefix, other)| {
            let own = self.router.id();
            let (winner, loser) = (own.min(other), own.max(other));
            let problem = format!(
                "{prefix} is announced by {} and by {}: the first has it, as its id is lower",
                self.display(winner),
                self.display(loser)
            );
            (prefix, problem)
        })
    }

    /// The doctor has more of them, and what to do about it.
    fn saving_warnings(&self) -> impl Iterator<Item = String> {
        let problem = self.saving.problem.iter();
        let problem = problem.map(|problem| format!("receipts cannot be saved: {problem}"));
        let findings = self.saving.findings.iter();
        let findings = findings.filter(|finding| !finding.is_ordinary());
        problem.chain(findings.map(ToString::to_string))
    }

    /// The doctor has them too, with what to do about it.
    fn radio_warnings(&self) -> impl Iterator<Item = String> {
        let problems = self.radios.report.problems.iter();
        let warning = |(name, problem): (&String, &Problem)| format!("{name}: {}", problem.what);
        problems.map(warning)
    }

    fn neighbors(&self) -> Neighbors {
        let neighbors = self
            .router
            .neighbors(self.now)
            .map(|neighbor| self.neighbor(&neighbor));
        Neighbors {
            schema: SCHEMA,
            neighbors: neighbors.collect(),
        }
    }

    fn neighbor(&self, neighbor: &NeighborView) -> Neighbor {
        let id = neighbor.link.neighbor;
        let record = self.router.record(id);
        let carried = self.usage.total(neighbor.link.ifindex, neighbor.address);
        let usable = neighbor.cost.is_finite();
        Neighbor {
            originator_id: originator_id(id),
            node_id: record.map(node_id),
            name: record.map(name),
            interface: self.interface(neighbor.link.ifindex),
            link_local: neighbor.address,
            rx_quality: quality(neighbor.rx_quality),
            tx_quality: quality(neighbor.tx_quality),
            signal_dbm: self.signal_dbm(neighbor),
            tq: tq_of_link(neighbor),
            cost_us: usable.then(|| neighbor.cost.as_us().into()),
            last_heard_ms: self.age_ms(neighbor.last_heard),
            up_since_s: usable.then(|| self.age_s(neighbor.since)),
            bytes_up: carried.up_bytes,
            bytes_down: carried.down_bytes,
        }
    }

    /// What the driver of the radio says, if it is one.
    fn signal_dbm(&self, neighbor: &NeighborView) -> Option<i32> {
        let mut stations = self.stations_at(neighbor.link.ifindex).iter();
        let seen = stations.find(|seen| seen.address == Some(neighbor.address))?;
        seen.station.signal_dbm
    }

    fn originators(&self) -> Originators {
        let originators = self.router.originators().map(|o| self.originator(&o));
        Originators {
            schema: SCHEMA,
            originators: originators.collect(),
        }
    }

    fn originator(&self, originator: &OriginatorView) -> Originator {
        let record = self.router.record(originator.id);
        let said = record.map(SignedRecord::record);
        let feasibility = originator.feasibility;
        Originator {
            originator_id: originator_id(originator.id),
            node_id: record.map(node_id),
            name: record.map(name),
            mesh_ipv6: originator.ipv6,
            mesh_ipv4: said.map(|record| record.ipv4),
            metric_us: finite_us(originator.metric),
            tq: tq_of_path(originator),
            hops: originator.hops.map(u32::from),
            next_hop: originator.next_hop.map(|link| self.node_ref(link.neighbor)),
            interface: originator.next_hop.map(|link| self.interface(link.ifindex)),
            seqno: originator.seqno.map_or(0, |seqno| seqno.value()),
            feasibility_distance_us: feasibility.map(|fd| fd.metric.as_us().into()),
            prefixes: said
                .map(|record| record.prefixes.clone())
                .unwrap_or_default(),
            gateway: said.is_some_and(|record| record.gateway.is_some()),
            last_heard_ms: self.age_ms(originator.last_heard),
        }
    }

    fn routes(&self) -> Vec<Route> {
        self.router
            .routes()
            .map(|route| self.route(&route))
            .collect()
    }

    fn route(&self, route: &mesh_proto::Route) -> Route {
        let table = self.config.numbers().table(route.table);
        let claimant = self.router.owner(route);
        let (owner, to, interface) = match route.target {
            Target::NextHop { via, ifindex } => {
                let neighbor = self.neighbor_at(ifindex, via);
                let node = neighbor.map_or_else(unknown_node, |link| self.node_ref(link.neighbor));
                let owner = claimant.map_or_else(unknown_node, |id| self.node_ref(id));
                (
                    owner,
                    RouteTo::Neighbor { via, node },
                    Some(self.interface(ifindex)),
                )
            }
            Target::Tunnel { peer, tunnel } => {
                let remote = self.router.network().mesh_ipv6(peer);
                let to = RouteTo::Tunnel {
                    remote,
                    node: self.node_ref(peer),
                    tunnel: tunnel_kind(tunnel),
                };
                (self.node_ref(peer), to, None)
            }
        };
        let destination = match route.target {
            Target::Tunnel { peer, .. } => Some(peer),
            Target::NextHop { .. } => claimant,
        };
        let metric = destination.and_then(|id| self.router.originator(id));
        let metric_us = metric.and_then(|originator| finite_us(originator.metric));
        Route {
            table,
            prefix: route.prefix,
            owner,
            to,
            interface,
            metric_us,
        }
    }

    pub(super) fn neighbor_at(&self, ifindex: IfIndex, address: Ipv6Addr) -> Option<LinkId> {
        let mut neighbors = self.router.neighbors(self.now);
        neighbors
            .find(|n| n.link.ifindex == ifindex && n.address == address)
            .map(|n| n.link)
    }

    pub(super) fn own_record(&self) -> Option<&SignedRecord> {
        self.router.record(self.router.id())
    }

    pub(crate) fn node_ref(&self, id: OriginatorId) -> NodeRef {
        NodeRef {
            originator_id: originator_id(id),
            name: self.router.record(id).map(name),
        }
    }

    pub(crate) fn display(&self, id: OriginatorId) -> String {
        let known = self.router.record(id);
        known.map_or_else(
            || id.to_string(),
            |record| format!("{} ({id})", name(record)),
        )
    }

    pub(super) fn interface(&self, ifindex: IfIndex) -> String {
        self.links
            .get(&ifindex)
            .map(|link| link.name.clone())
            .unwrap_or_default()
    }

    fn age(&self, then: Instant) -> Duration {
        self.now.saturating_duration_since(then)
    }

    pub(super) fn age_s(&self, then: Instant) -> u64 {
        self.age(then).as_secs()
    }

    fn age_ms(&self, then: Instant) -> u64 {
        u64::try_from(self.age(then).as_millis()).unwrap_or(u64::MAX)
    }
}

pub(super) fn originator_id(id: OriginatorId) -> control_api::OriginatorId {
    (*id.as_bytes()).into()
}

pub(super) fn node_id(signed: &SignedRecord) -> control_api::NodeId {
    (*signed.node().as_bytes()).into()
}

pub(super) fn name(signed: &SignedRecord) -> String {
    signed.record().name.clone()
}

/// An adopted route whose owner has not been heard of in this run.
fn unknown_node() -> NodeRef {
    NodeRef {
        originator_id: [0; 10].into(),
        name: None,
    }
}

pub(crate) fn quality(of_255: u8) -> Quality {
    Quality::new(f64::from(of_255) / 255.0)
}

fn finite_us(metric: Metric) -> Option<u64> {
    metric.is_finite().then(|| metric.as_us().into())
}

/// Both directions together, as B.A.T.M.A.N. counts: the product of the shares.
pub(crate) fn tq_of_link(neighbor: &NeighborView) -> u8 {
    let product = u16::from(neighbor.rx_quality) * u16::from(neighbor.tx_quality) / 255;
    u8::try_from(product).unwrap_or(u8::MAX)
}

/// How the path compares with one of as many perfect links.
fn tq_of_path(originator: &OriginatorView) -> u8 {
    let (Some(us), Some(hops)) = (finite_us(originator.metric), originator.hops) else {
        return 0;
    };
    let share = PERFECT_LINK_US * u64::from(hops) * 255 / us.max(1);
    u8::try_from(share).unwrap_or(u8::MAX)
}

fn count(items: impl Iterator) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

pub(crate) const fn tunnel_kind(tunnel: Tunnel) -> TunnelKind {
    match tunnel {
        Tunnel::Vxlan => TunnelKind::Vxlan,
        Tunnel::Wireguard(_) => TunnelKind::Wireguard,
    }
}
