//! Our own way to the Internet: which interface it is, as far as links and default routes tell.

use std::collections::{BTreeMap, BTreeSet};

use mesh_proto::GatewayOffer;
use mesh_proto::IfIndex;
use mesh_proto::record::Tunnels;

use crate::config::{Bandwidth, Config, UplinkInterface};
use crate::kernel::{DefaultRoute, Family, Link};

/// What is offered of an uplink whose bandwidth the operator did not state, bit/s down and up:
/// a slow mobile connection. Too low a guess costs little; too high a one draws the village's
/// traffic to a line that cannot carry it.
const ASSUMED_BANDWIDTH: (u64, u64) = (10_000_000, 2_000_000);

/// An uplink that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uplink {
    /// The interface's name.
    pub interface: String,
    /// Whether it has an IPv4 default route.
    pub ipv4: bool,
    /// Whether it has an IPv6 default route.
    pub ipv6: bool,
}

impl Uplink {
    /// The offer the mesh gets.
    pub fn offer(&self, bandwidth: Option<Bandwidth>, price: u64) -> GatewayOffer {
        let (down_bps, up_bps) =
            bandwidth.map_or(ASSUMED_BANDWIDTH, |b| (b.down_bps(), b.up_bps()));
        GatewayOffer {
            down_bps,
            up_bps,
            price,
            ipv4: self.ipv4,
            ipv6: self.ipv6,
            tunnels: Tunnels::VXLAN,
            dns: Vec::new(),
        }
    }
}

/// The default routes of the kernel's main table, as last reported.
#[derive(Clone, Debug, Default)]
pub struct DefaultRoutes {
    ipv4: Vec<DefaultRoute>,
    ipv6: Vec<DefaultRoute>,
}

impl DefaultRoutes {
    /// Takes note of the routes of one family, best first.
    pub fn handle_change(&mut self, family: Family, routes: Vec<DefaultRoute>) {
        match family {
            Family::V4 => self.ipv4 = routes,
            Family::V6 => self.ipv6 = routes,
        }
    }

    /// The uplink: the named interface, or the one the best default route uses, IPv4 first. It
    /// must have carrier and a default route; interfaces of the mesh and of LANs never are it.
    pub fn uplink(&self, config: &Config, links: &BTreeMap<IfIndex, Link>) -> Option<Uplink> {
        let inner = inner_interfaces(config);
        let usable = |route: &DefaultRoute| {
            let link = links.get(&route.ifindex)?;
            (link.carrier && !inner.contains(link.name.as_str())).then_some(link.name.as_str())
        };
        let interface = match config.uplink().interface() {
            UplinkInterface::Off => return None,
            UplinkInterface::Named(name) => name.as_str(),
            UplinkInterface::Auto => self.ipv4.iter().chain(&self.ipv6).find_map(usable)?,
        };
        let over = |routes: &[DefaultRoute]| {
            routes
                .iter()
                .any(|route| usable(route).is_some_and(|name| name == interface))
        };
        let (ipv4, ipv6) = (over(&self.ipv4), over(&self.ipv6));
        (ipv4 || ipv6).then(|| Uplink {
            interface: interface.to_owned(),
            ipv4,
            ipv6,
        })
    }
}

fn inner_interfaces(config: &Config) -> BTreeSet<&str> {
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
                })
                .collect()
        };
        let mut routes = DefaultRoutes::default();
        routes.handle_change(Family::V4, over(ipv4));
        routes.handle_change(Family::V6, over(ipv6));
        routes
    }

    fn uplink(interface: &str, ipv4: bool, ipv6: bool) -> Option<Uplink> {
        Some(Uplink {
            interface: interface.to_owned(),
            ipv4,
            ipv6,
        })
    }

    #[test]
    fn auto_takes_the_best_default_route_outside_the_mesh() {
        let routes = routes(&[1, 4, 3], &[4]);
        assert_eq!(
            routes.uplink(&config("auto"), &links(true)),
            uplink("wan1", true, true)
        );
        assert_eq!(
            routes.uplink(&config("wan0"), &links(true)),
            uplink("wan0", true, false)
        );
        assert_eq!(routes.uplink(&config("off"), &links(true)), None);
    }

    #[test]
    fn no_carrier_or_no_default_route_is_no_uplink() {
        assert_eq!(
            routes(&[3], &[3]).uplink(&config("auto"), &links(false)),
            None
        );
        assert_eq!(routes(&[], &[]).uplink(&config("wan0"), &links(true)), None);
        assert_eq!(
            routes(&[2], &[1]).uplink(&config("auto"), &links(true)),
            None
        );
        assert_eq!(
            routes(&[3], &[3]).uplink(&config("auto"), &BTreeMap::new()),
            None
        );
    }

    #[test]
    fn an_ipv6_only_line_is_an_uplink() {
        assert_eq!(
            routes(&[], &[3]).uplink(&config("auto"), &links(true)),
            uplink("wan0", false, true)
        );
    }
}
