//! Links, link-local addresses and default routes as last reported to the driver: it is told
//! what changed, and nothing twice.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv6Addr;

use mesh_proto::{Family, IfIndex};
use rtnetlink::Handle;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::neighbour::NeighbourMessage;
use rtnetlink::packet_route::route::{RouteHeader, RouteMessage};

use super::address::{self, LinkLocal};
use super::link::{self, Link};
use super::netlink::KernelError;
use super::speed::Speeds;
use super::uplink::Defaults;
use super::{KernelEvent, neighbor, route, rule, uplink};

/// A default route that others have set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultRoute {
    /// The interface it leads to.
    pub ifindex: IfIndex,
    /// That interface's name.
    pub name: String,
    /// Its metric: the lowest is used.
    pub metric: u32,
    /// Whether all packets ask for it: those of VRFs, say, are for some only.
    pub for_all: bool,
}

/// What the driver was told.
pub(super) struct Monitor {
    speeds: Speeds,
    links: BTreeMap<IfIndex, Link>,
    link_locals: BTreeMap<IfIndex, BTreeSet<Ipv6Addr>>,
    default_routes: BTreeMap<Family, Vec<DefaultRoute>>,
    /// The tables beside the main one that had default routes.
    tables: BTreeSet<u32>,
}

/// What a notification means.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) events: Vec<KernelEvent>,
    /// Default routes and what is attached to uplinks must be read again: the kernel does not tell
    /// which went with an interface.
    pub(super) uplinks_changed: bool,
}

impl Monitor {
    /// Nothing is known yet.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            speeds: Speeds::open()?,
            links: BTreeMap::new(),
            link_locals: BTreeMap::new(),
            default_routes: BTreeMap::new(),
            tables: BTreeSet::new(),
        })
    }

    /// An interface by its name.
    pub(super) fn link(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|link| link.name == name)
    }

    /// An interface by its index.
    pub(super) fn name(&self, ifindex: IfIndex) -> Option<&str> {
        self.links.get(&ifindex).map(|link| link.name.as_str())
    }

    /// Whether an interface is there, switched on, and has a link partner.
    pub(super) fn has_carrier(&self, ifindex: IfIndex) -> bool {
        self.links.get(&ifindex).is_some_and(|link| link.carrier)
    }

    /// The tables beside the main one that may have default routes of others.
    pub(super) const fn tables(&self) -> &BTreeSet<u32> {
        &self.tables
    }

    fn note_table(&mut self, route: &RouteMessage) {
        if uplink::is_default(route) {
            self.tables.insert(route::table_of(route));
        }
        self.tables.remove(&u32::from(RouteHeader::RT_TABLE_MAIN));
    }

    /// Takes in a notification.
    pub(super) fn handle_message(&mut self, message: &RouteNetlinkMessage) -> Outcome {
        let mut outcome = Outcome::default();
        if let RouteNetlinkMessage::NewLink(message) = message {
            outcome
                .events
                .extend(Link::from_message(message).and_then(|link| self.update(link)));
            outcome.uplinks_changed = !outcome.events.is_empty();
        } else if let RouteNetlinkMessage::DelLink(message) = message {
            if let Some(link) = Link::from_message(message) {
                outcome.events.extend(self.remove(link.ifindex));
                outcome.uplinks_changed = true;
            }
        } else if let RouteNetlinkMessage::NewAddress(message) = message {
            outcome
                .events
                .extend(LinkLocal::from_message(message).and_then(|it| self.set(it)));
        } else if let RouteNetlinkMessage::DelAddress(message) = message {
            let gone = LinkLocal::from_message(message).map(|it| LinkLocal {
                usable: false,
                ..it
            });
            outcome.events.extend(gone.and_then(|it| self.set(it)));
        } else if let RouteNetlinkMessage::NewRoute(message)
        | RouteNetlinkMessage::DelRoute(message) = message
        {
            self.note_table(message);
            outcome.uplinks_changed = uplink::concerns(message);
        } else if let RouteNetlinkMessage::NewRule(message)
        | RouteNetlinkMessage::DelRule(message) = message
        {
            outcome.uplinks_changed = rule::is_for_all(message);
        } else if let RouteNetlinkMessage::NewNeighbour(message) = message {
            outcome.events.extend(neighbor_failed(message));
        }
        outcome
    }

    /// Reads everything again, for the first time or because notifications were lost.
    pub(super) async fn resync(
        &mut self,
        handle: &Handle,
    ) -> Result<Vec<KernelEvent>, KernelError> {
        let links = link::list(handle).await?;
        let links: Vec<Link> = links.iter().filter_map(Link::from_message).collect();
        let present: BTreeSet<IfIndex> = links.iter().map(|link| link.ifindex).collect();
        let gone: Vec<IfIndex> = self
            .links
            .keys()
            .filter(|ifindex| !present.contains(ifindex))
            .copied()
            .collect();
        let mut events: Vec<KernelEvent> = gone
            .into_iter()
            .flat_map(|ifindex| self.remove(ifindex))
            .collect();
        events.extend(links.into_iter().filter_map(|link| self.update(link)));

        let addresses = address::list(handle).await?;
        let usable: Vec<LinkLocal> = addresses
            .iter()
            .filter_map(LinkLocal::from_message)
            .filter(|address| address.usable)
            .collect();
        let stale: Vec<LinkLocal> = self.stale_link_locals(&usable);
        events.extend(
            stale
                .into_iter()
                .chain(usable)
                .filter_map(|address| self.set(address)),
        );
        let routes = route::dump_defaults(handle).await?;
        routes.iter().for_each(|route| self.note_table(route));
        Ok(events)
    }

    /// Takes in the default routes.
    pub(super) fn set_default_routes(
        &mut self,
        defaults: &Defaults,
        is_mesh: impl Fn(&str) -> bool,
    ) -> Vec<KernelEvent> {
        let mut events = Vec::new();
        for family in Family::BOTH {
            let routes = defaults.of(family).filter_map(|route| {
                let for_all = defaults.is_for_all(family, route);
                self.default_route(route, for_all)
            });
            let routes: Vec<DefaultRoute> = routes.filter(|it| !is_mesh(&it.name)).collect();
            if self.default_routes.get(&family) != Some(&routes) {
                self.default_routes.insert(family, routes.clone());
                events.push(KernelEvent::DefaultRoutesChanged { family, routes });
            }
        }
        events
    }

    fn update(&mut self, mut link: Link) -> Option<KernelEvent> {
        // A wire has another speed only after its link was lost.
        let before = self.links.get(&link.ifindex).filter(|link| link.carrier);
        link.speed_mbps = match before {
            _ if !link.carrier => None,
            Some(before) => before.speed_mbps,
            None => self.speeds.of(link.ifindex),
        };
        if self.links.get(&link.ifindex) == Some(&link) {
            return None;
        }
        self.links.insert(link.ifindex, link.clone());
        Some(KernelEvent::LinkChanged(link))
    }

    fn remove(&mut self, ifindex: IfIndex) -> Option<KernelEvent> {
        self.link_locals.remove(&ifindex);
        let link = self.links.remove(&ifindex)?;
        Some(KernelEvent::LinkRemoved {
            ifindex,
            name: link.name,
        })
    }

    /// Takes in a link-local address; there is news if it makes a difference to which one is
    /// used, the lowest.
    fn set(&mut self, it: LinkLocal) -> Option<KernelEvent> {
        let addresses = self.link_locals.entry(it.ifindex).or_default();
        let before = addresses.first().copied();
        if it.usable {
            addresses.insert(it.address);
        } else {
            addresses.remove(&it.address);
        }
        let address = addresses.first().copied();
        (address != before).then_some(KernelEvent::LinkLocalChanged {
            ifindex: it.ifindex,
            address,
        })
    }

    fn stale_link_locals(&self, usable: &[LinkLocal]) -> Vec<LinkLocal> {
        let known = self.link_locals.iter().flat_map(|(&ifindex, addresses)| {
            addresses.iter().map(move |&address| LinkLocal {
                ifindex,
                address,
                usable: true,
            })
        });
        known
            .filter(|address| !usable.contains(address))
            .map(|address| LinkLocal {
                usable: false,
                ..address
            })
            .collect()
    }

    fn default_route(&self, message: &RouteMessage, for_all: bool) -> Option<DefaultRoute> {
        let ifindex = route::interface_of(message)?;
        let name = self.links.get(&ifindex)?.name.clone();
        Some(DefaultRoute {
            ifindex,
            name,
            metric: route::metric_of(message),
            for_all,
        })
    }
}

fn neighbor_failed(message: &NeighbourMessage) -> Option<KernelEvent> {
    let (ifindex, address) = neighbor::unanswering(message)?;
    Some(KernelEvent::NeighborFailed { ifindex, address })
}
