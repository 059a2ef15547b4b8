//! What is told to those who listen: how things are now, compared with how they were.
//!
//! While nobody listens, nothing is compared.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use control_api::{
    Answer, AttoSmt, Change, Family as Carried, LinkClass, Method, NodeRef, Role, TunnelKind,
};
use mesh_proto::router::LinkId;
use mesh_proto::{Family, OriginatorId};
use receipts::{Amount, Position};

use super::Driver;
use super::internet::Way;
use crate::uplink::{Health, Line};

/// Qualities of links change slowly, and looking at all of them costs something.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How things were when they were looked at last.
#[derive(Debug, Default)]
pub(super) struct Told {
    gateways: Option<Gateways>,
    links: BTreeMap<LinkId, LinkClass>,
    links_at: Option<Instant>,
    lines: Option<BTreeMap<Line, Result<(), String>>>,
    /// Whether somebody was told that the table is not as it should be.
    is_table_damaged: bool,
}

/// The gateways in use, and the way to each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Gateways {
    used: [Option<OriginatorId>; 2],
    ways: BTreeMap<OriginatorId, Path>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Path {
    next_hop: Option<OriginatorId>,
    hops: Option<u32>,
    tunnel: Option<TunnelKind>,
}

impl Driver {
    /// Tells what has changed since the last time.
    pub(super) fn tell_changes(&mut self, now: Instant) {
        if !self.events.is_heard() {
            self.told = Told::default();
            return;
        }
        self.tell_gateways(now);
        let is_due = |at| now >= at + LOOK_INTERVAL;
        if self.told.links_at.is_none_or(is_due) {
            self.told.links_at = Some(now);
            self.tell_links(now);
        }
    }

    fn tell_gateways(&mut self, now: Instant) {
        let is = self.gateways_now();
        let Some(was) = self.told.gateways.replace(is.clone()) else {
            return;
        };
        if is == was {
            return;
        }
        for change in self.gateway_changes(now, &was, &is) {
            self.events.tell(change);
        }
        for (id, way) in &is.ways {
            let before = was.ways.get(id);
            let gateway = self.view(now).node_ref(*id);
            if before.is_none_or(|it| it.tunnel != way.tunnel) {
                self.events.tell(Change::Tunnel {
                    gateway: gateway.clone(),
                    tunnel: way.tunnel,
                });
            }
            if before.is_none_or(|it| it.next_hop != way.next_hop) {
                let next_hop = way.next_hop.map(|id| self.view(now).node_ref(id));
                self.events.tell(Change::Route {
                    gateway,
                    next_hop,
                    hops: way.hops,
                });
            }
        }
    }

    fn gateways_now(&self) -> Gateways {
        let in_use = self.router.gateways_in_use();
        let used = [Family::Ipv4, Family::Ipv6].map(|family| in_use.of(family));
        let ways = used.iter().flatten().map(|id| (*id, self.way_to(*id)));
        Gateways {
            used,
            ways: ways.collect(),
        }
    }

    fn way_to(&self, id: OriginatorId) -> Path {
        let path = self.router.originator(id);
        let next_hop = path.as_ref().and_then(|path| path.next_hop);
        let hops = path.as_ref().and_then(|path| path.hops);
        Path {
            next_hop: next_hop.map(|link| link.neighbor),
            hops: hops.map(u32::from),
            tunnel: self.router.tunnel_to(id).map(crate::control::tunnel_kind),
        }
    }

    /// One change for both families if it is the same.
    fn gateway_changes(&self, now: Instant, was: &Gateways, is: &Gateways) -> Vec<Change> {
        let mut changes: Vec<(Vec<Carried>, Option<OriginatorId>, Option<OriginatorId>)> =
            Vec::new();
        let families = [Carried::Ipv4, Carried::Ipv6].into_iter();
        for ((family, from), to) in families.zip(was.used).zip(is.used) {
            match changes.iter_mut().find(|it| (it.1, it.2) == (from, to)) {
                _ if from == to => {}
                Some((families, ..)) => families.push(family),
                None => changes.push((vec![family], from, to)),
            }
        }
        let changes = changes.into_iter().map(|(families, from, to)| {
            let node = |id: OriginatorId| self.view(now).node_ref(id);
            let (from, to) = (from.map(node), to.map(node));
            Change::Gateway {
                families,
                reason: Some(self.gateway_reason(now, from.as_ref(), to.as_ref())),
                from,
                to,
            }
        });
        changes.collect()
    }

    /// Why a gateway is used, or is not any more.
    fn gateway_reason(&self, now: Instant, from: Option<&NodeRef>, to: Option<&NodeRef>) -> String {
        let Ok(Answer::Gateways(answer)) = self.view(now).answer(&Method::Gateways) else {
            return String::new();
        };
        let id = to.or(from).map(|node| node.originator_id);
        let mut gateways = answer.gateways.into_iter();
        match gateways.find(|it| Some(it.originator_id) == id) {
            None => "it offers no Internet any more".to_owned(),
            // For the other family.
            Some(gateway) if to.is_none() && gateway.selected => {
                "it does not carry that any more".to_owned()
            }
            Some(gateway) => gateway.reason,
        }
    }

    fn tell_links(&mut self, now: Instant) {
        let view = self.view(now);
        let links = self.router.neighbors(now);
        let usable = links.filter(|it| it.cost.is_finite());
        let mut changes = Vec::new();
        let mut classes = BTreeMap::new();
        for neighbor in usable {
            let tq = crate::control::tq_of_link(&neighbor);
            let before = self.told.links.get(&neighbor.link).copied();
            let class = before.map_or(LinkClass::of(tq), |before| before.then(tq));
            classes.insert(neighbor.link, class);
            if let Some(from) = before.filter(|from| *from != class) {
                changes.push(Change::Link {
                    node: view.node_ref(neighbor.link.neighbor),
                    interface: self.name_of(neighbor.link.ifindex).to_owned(),
                    from,
                    to: class,
                    tq,
                });
            }
        }
        for change in changes {
            self.events.tell(change);
        }
        self.told.links = classes;
    }

    /// Tells which uplinks work now that did not, or the other way round.
    pub(super) fn tell_uplinks(&mut self, lines: &[Line]) {
        if !self.events.is_heard() {
            return;
        }
        let mut is = BTreeMap::new();
        for line in lines {
            let health = match self.watcher.health(line) {
                Health::Unknown => continue,
                Health::Works => Ok(()),
                Health::Fails(fault) => Err(fault.to_string()),
            };
            is.insert(line.clone(), health);
        }
        let Some(was) = self.told.lines.replace(is.clone()) else {
            return;
        };
        let gone = was.keys().filter(|line| !lines.contains(line));
        let gone = gone.map(|line| (line, Err("its default route is gone".to_owned())));
        let changed = is
            .iter()
            .filter(|(line, health)| was.get(line) != Some(health));
        let changed = changed.map(|(line, health)| (line, health.clone()));
        for (line, health) in gone.chain(changed) {
            self.events.tell(Change::Uplink {
                interface: line.interface.clone(),
                family: match line.family {
                    Family::Ipv4 => Carried::Ipv4,
                    Family::Ipv6 => Carried::Ipv6,
                },
                works: health.is_ok(),
                reason: health.err(),
            });
        }
    }

    /// A neighbor came or went.
    pub(super) fn tell_neighbor(&self, now: Instant, link: LinkId, is_up: bool) {
        if !self.events.is_heard() {
            return;
        }
        let node = self.view(now).node_ref(link.neighbor);
        let interface = self.name_of(link.ifindex).to_owned();
        self.events.tell(match is_up {
            true => Change::NeighborUp { node, interface },
            false => Change::NeighborDown { node, interface },
        });
    }

    /// What an operator should read.
    pub(super) fn tell_warning(&self, text: &str) {
        self.events.tell(Change::Warning {
            text: text.to_owned(),
        });
    }

    /// Once: the kernel tells of each piece that is gone.
    pub(super) fn tell_table_damaged(&mut self) {
        if self.events.is_heard() && !std::mem::replace(&mut self.told.is_table_damaged, true) {
            self.events.tell(Change::TableDamaged);
        }
    }

    pub(super) fn tell_table_restored(&mut self) {
        if std::mem::take(&mut self.told.is_table_damaged) {
            self.events.tell(Change::TableRestored);
        }
    }

    pub(super) fn tell_internet(&self, now: Instant) {
        let way = self.internet.way();
        self.events.tell(Change::Internet {
            online: way.is_some(),
            via: match way {
                Some(Way::Gateway(id)) => Some(self.view(now).node_ref(*id)),
                Some(Way::Own(_)) | None => None,
            },
            own_uplink: match way {
                Some(Way::Own(interface)) => Some(interface.clone()),
                Some(Way::Gateway(_)) | None => None,
            },
        });
    }

    /// What was signed, and what is in dispute.
    pub(super) fn tell_receipts(&self, now: Instant, event: &receipts::Event) {
        use receipts::Event as E;
        if !self.events.is_heard() {
            return;
        }
        let view = self.view(now);
        let called = |peer| {
            let party = view.party(peer);
            party.name.unwrap_or_else(|| party.node_id.to_string())
        };
        let signed = |role, peer, position: &Position, amount: Amount, added: Amount| {
            self.events.tell(Change::Receipt {
                role,
                neighbor: view.party(peer),
                epoch: position.epoch,
                number: position.seq.into(),
                amount_atto: AttoSmt::new(amount.atto_smt()),
                added_atto: AttoSmt::new(added.atto_smt()),
            });
        };
        let text = match event {
            E::ReceiptReceived {
                peer,
                position,
                amount,
                added,
                ..
            } => return signed(Role::Provider, *peer, position, *amount, *added),
            E::ReceiptGiven {
                peer,
                position,
                amount,
                added,
                ..
            } => return signed(Role::Consumer, *peer, position, *amount, *added),
            E::Refused { peer, refusal, .. } => {
                format!("receipt with {} refused: {refusal:?}", called(*peer))
            }
            E::Disputed { peer, bytes } => {
                format!("{} does not confirm {bytes} bytes", called(*peer))
            }
            E::Held { peer, .. } => format!("{} has used up its credit", called(*peer)),
            E::Equivocation(_) => {
                "a neighbor signed two different receipts of one number".to_owned()
            }
            E::OfferMade { .. }
            | E::OfferAccepted { .. }
            | E::Adopted { .. }
            | E::Released { .. } => {
                return;
            }
        };
        self.tell_warning(&text);
    }
}
