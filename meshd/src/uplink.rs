//! Our own way to the Internet: which interface it is, and whether it works.
//!
//! | room | what lives there |
//! |---|---|
//! | this file | where there could be one, as far as links and default routes tell; which one is used |
//! | `target` | who is asked to find out whether it works |
//! | `ask` | asking, over one interface and no other |
//! | `asker` | the questions of one line |
//! | `checks` | what the answers say |
//! | `circle` | whether it leads back into the mesh |
//! | `resolvers` | which resolvers are offered with it, and where the provider's are learnt |
//! | `loss` | how much is lost on one that works |
//! | `queue` | how long packets wait in front of one |
//! | `meter` | how much of one is left |
//! | `shared` | what the tasks of one interface know of each other |
//! | `watcher` | the tasks that keep asking and reading |

mod ask;
mod asker;
mod checks;
mod circle;
#[cfg(test)]
mod herd;
mod loss;
mod meter;
mod queue;
mod resolvers;
mod shared;
mod target;
mod watcher;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use mesh_proto::{Family, GatewayOffer, IfIndex};

use crate::config::{Config, UplinkInterface};
use crate::kernel::{DefaultRoute, Link};
pub use checks::{Fault, Health};
pub use meter::Bps;
pub(crate) use resolvers::resolvers_of;
pub use resolvers::{Resolver, Resolvers};
pub use target::{Check, Page, Target};
pub(crate) use watcher::Watcher;

/// An interface with carrier and a default route: what could be an uplink, in one address family.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// The interface's name.
    pub interface: String,
    /// The family.
    pub family: Family,
}

impl Line {
    /// The same interface in the other family.
    fn other_family(&self) -> Self {
        Self {
            interface: self.interface.clone(),
            family: self.family.other(),
        }
    }
}

/// What can be used of the uplinks: an interface for each family, often the same. At least one is
/// there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uplink {
    /// The name of the interface that carries IPv4.
    pub ipv4: Option<String>,
    /// The name of the interface that carries IPv6.
    pub ipv6: Option<String>,
}

impl Uplink {
    /// The first interface of these that works, for each family: that of IPv4 carries IPv6 as well
    /// if it can.
    pub fn choose(lines: &[Line], works: impl Fn(&Line) -> bool) -> Option<Self> {
        let of = |family| {
            let lines = lines.iter().filter(move |line| line.family == family);
            lines.filter(|line| works(line)).map(|it| &it.interface)
        };
        let ipv4 = of(Family::Ipv4).next();
        let same = of(Family::Ipv6).find(|it| Some(*it) == ipv4);
        let ipv6 = same.or_else(|| of(Family::Ipv6).next());
        (ipv4.is_some() || ipv6.is_some()).then(|| Self {
            ipv4: ipv4.cloned(),
            ipv6: ipv6.cloned(),
        })
    }

    /// The interface that carries a family.
    pub const fn carries(&self, family: Family) -> Option<&String> {
        match family {
            Family::Ipv4 => self.ipv4.as_ref(),
            Family::Ipv6 => self.ipv6.as_ref(),
        }
    }

    /// The names of the interfaces, without repetition.
    pub fn interfaces(&self) -> impl Iterator<Item = &str> {
        let ipv6 = self
            .ipv6
            .iter()
            .filter(|it| Some(*it) != self.ipv4.as_ref());
        self.ipv4.iter().chain(ipv6).map(String::as_str)
    }
}

impl fmt::Display for Uplink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.interfaces().collect();
        f.write_str(&names.join(" and "))
    }
}

/// Whether an address is one of the Internet's, which every node of the mesh may ask: nothing private
/// is reached through a gateway, and nobody is to be told to ask himself or his neighbors.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let is_shared = a == 100 && (64..128).contains(&b);
            !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || is_shared)
                && (1..224).contains(&a)
        }
        // Global unicast, as far as it is given out (RFC 4291 §2.4).
        IpAddr::V6(v6) => v6.segments().first().is_some_and(|first| first >> 13 == 1),
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("not known yet"),
            Self::Works => f.write_str("works"),
            Self::Fails(fault) => write!(f, "{fault}"),
        }
    }
}

/// An uplink as it is offered to the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shared {
    pub(crate) uplink: Uplink,
    /// Resolvers that answer over it, those of IPv4 first: whom this node asks.
    pub(crate) resolvers: Vec<IpAddr>,
    /// Whom the mesh may ask.
    pub(crate) offered: Vec<IpAddr>,
    /// What is left of it.
    pub(crate) bandwidth: Bps,
}

impl Shared {
    /// The offer the mesh gets.
    pub(crate) fn offer(&self) -> GatewayOffer {
        GatewayOffer {
            down_bps: self.bandwidth.down,
            up_bps: self.bandwidth.up,
            ipv4: self.uplink.ipv4.is_some(),
            ipv6: self.uplink.ipv6.is_some(),
            dns: self.offered.clone(),
        }
    }
}

/// The kernel's default routes, as last reported.
#[derive(Clone, Debug, Default)]
pub struct DefaultRoutes {
    ipv4: Vec<DefaultRoute>,
    ipv6: Vec<DefaultRoute>,
}

impl DefaultRoutes {
    /// Takes note of the routes of one family, best first.
    pub fn handle_change(&mut self, family: Family, routes: Vec<DefaultRoute>) {
        match family {
            Family::Ipv4 => self.ipv4 = routes,
            Family::Ipv6 => self.ipv6 = routes,
        }
    }

    /// Where there could be an uplink, in order of preference: the named interfaces, or those of
    /// default routes that all packets ask for, best first. They have carrier and a default route; interfaces of
    /// the mesh and of LANs never are among them.
    pub fn lines(&self, config: &Config, links: &BTreeMap<IfIndex, Link>) -> Vec<Line> {
        let inner = inner_interfaces(config);
        let usable = |route: &DefaultRoute| {
            let link = links.get(&route.ifindex)?;
            (link.carrier && !inner.contains(link.name.as_str())).then_some(link.name.as_str())
        };
        let families = [(Family::Ipv4, &self.ipv4), (Family::Ipv6, &self.ipv6)];
        let all = families.map(|(_, routes)| {
            let for_all = routes.iter().filter(|route| route.for_all);
            for_all.filter_map(usable)
        });
        let mut names: Vec<&str> = match config.uplink().interface() {
            UplinkInterface::Off => Vec::new(),
            UplinkInterface::Named(names) => names.iter().map(|name| name.as_str()).collect(),
            UplinkInterface::Auto => all.into_iter().flatten().collect(),
        };
        let mut seen = BTreeSet::new();
        names.retain(|name| seen.insert(*name));
        let mut lines = Vec::new();
        for name in names {
            for (family, routes) in families {
                if routes.iter().filter_map(usable).any(|it| it == name) {
                    let interface = name.to_owned();
                    lines.push(Line { interface, family });
                }
            }
        }
        lines
    }

    /// The interfaces of LANs that default routes lead over; those of the mesh are not told of.
    pub(crate) fn within<'a>(
        &self,
        config: &Config,
        links: &'a BTreeMap<IfIndex, Link>,
    ) -> BTreeSet<&'a str> {
        let inner = inner_interfaces(config);
        let all = self.ipv4.iter().chain(&self.ipv6);
        let names = all.filter_map(|route| Some(links.get(&route.ifindex)?.name.as_str()));
        names.filter(|name| inner.contains(name)).collect()
    }
}

/// The interfaces of the mesh and of local networks.
pub(crate) fn inner_interfaces(config: &Config) -> BTreeSet<&str> {
    let mesh = config.mesh().iter().map(|mesh| mesh.interface().as_str());
    mesh.chain(config.lan().iter().map(|lan| lan.interface().as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(uplink: &str) -> Config {
        let text = format!(
            "network: village\nmesh: [{{interface: mesh0}}]\nlan: [{{interface: lan0}}]\n\
             uplink: {{interface: {uplink}}}\n"
        );
        Config::parse(&text, "test").unwrap()
    }

    fn links(carrier: bool) -> BTreeMap<IfIndex, Link> {
        ["mesh0", "lan0", "wan0", "wan1"]
            .into_iter()
            .zip(1..)
            .map(|(name, index)| {
                let link = Link {
                    ifindex: IfIndex(index),
                    name: name.to_owned(),
                    up: true,
                    carrier,
                    mtu: 1500,
                    mac: None,
                    speed_mbps: None,
                };
                (IfIndex(index), link)
            })
            .collect()
    }

    fn routes(ipv4: &[u32], ipv6: &[u32]) -> DefaultRoutes {
        let over = |indexes: &[u32]| {
            indexes
                .iter()
                .map(|index| DefaultRoute {
                    ifindex: IfIndex(*index),
                    name: format!("if{index}"),
                    metric: 0,
                    for_all: true,
                })
                .collect()
        };
        let mut routes = DefaultRoutes::default();
        routes.handle_change(Family::Ipv4, over(ipv4));
        routes.handle_change(Family::Ipv6, over(ipv6));
        routes
    }

    fn found(uplink: &str, routes: &DefaultRoutes, links: &BTreeMap<IfIndex, Link>) -> Vec<String> {
        let lines = routes.lines(&config(uplink), links).into_iter();
        lines
            .map(|line| format!("{} {}", line.interface, line.family))
            .collect()
    }

    #[test]
    fn auto_takes_the_default_routes_outside_the_mesh_best_first() {
        let routes = routes(&[1, 4, 3], &[4]);
        let links = links(true);
        let all = ["wan1 IPv4", "wan1 IPv6", "wan0 IPv4"];
        assert_eq!(found("auto", &routes, &links), all);
        assert_eq!(found("wan0", &routes, &links), ["wan0 IPv4"]);
        let turned = ["wan0 IPv4", "wan1 IPv4", "wan1 IPv6"];
        assert_eq!(found("[wan0, wan1]", &routes, &links), turned);
        assert!(found("off", &routes, &links).is_empty());
    }

    #[test]
    fn what_only_other_tables_lead_to_is_an_uplink_if_it_is_named() {
        let mut routes = routes(&[3, 4], &[]);
        routes.ipv4[1].for_all = false;
        let links = links(true);
        assert_eq!(found("auto", &routes, &links), ["wan0 IPv4"]);
        let named = ["wan1 IPv4", "wan0 IPv4"];
        assert_eq!(found("[wan1, wan0]", &routes, &links), named);
    }

    #[test]
    fn no_carrier_or_no_default_route_is_no_uplink() {
        assert!(found("auto", &routes(&[3], &[3]), &links(false)).is_empty());
        assert!(found("wan0", &routes(&[], &[]), &links(true)).is_empty());
        assert!(found("auto", &routes(&[2], &[1]), &links(true)).is_empty());
        assert!(found("auto", &routes(&[3], &[3]), &BTreeMap::new()).is_empty());
    }

    #[test]
    fn each_family_takes_the_first_interface_on_which_it_works() {
        let lines = routes(&[3, 4], &[3, 4]).lines(&config("auto"), &links(true));
        let choose = |dead: &[&str]| {
            let works = |line: &Line| {
                let line = format!("{} {}", line.interface, line.family);
                !dead.contains(&line.as_str())
            };
            let uplink = Uplink::choose(&lines, works)?;
            let name = uplink.to_string();
            Some((uplink.ipv4, uplink.ipv6, name))
        };
        let uplink = |ipv4: &str, ipv6: &str, name: &str| {
            let some = |name: &str| (!name.is_empty()).then(|| name.to_owned());
            Some((some(ipv4), some(ipv6), name.to_owned()))
        };
        assert_eq!(choose(&[]), uplink("wan0", "wan0", "wan0"));
        // Together where they can be, apart where they can't.
        assert_eq!(choose(&["wan0 IPv4"]), uplink("wan1", "wan1", "wan1"));
        let half = ["wan0 IPv4", "wan1 IPv6"];
        assert_eq!(choose(&half), uplink("wan1", "wan0", "wan1 and wan0"));
        assert_eq!(
            choose(&["wan0 IPv6"]),
            uplink("wan0", "wan1", "wan0 and wan1")
        );
        let wan0 = ["wan0 IPv4", "wan0 IPv6"];
        assert_eq!(choose(&wan0), uplink("wan1", "wan1", "wan1"));
        let v4 = ["wan0 IPv4", "wan1 IPv4"];
        assert_eq!(choose(&v4), uplink("", "wan0", "wan0"));
        assert_eq!(
            choose(&[&v4[..], &["wan1 IPv6", "wan0 IPv6"]].concat()),
            None
        );
    }
}
