//! Networks that are at two places.

use std::fs;
use std::net::Ipv6Addr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Findings, Machine};

/// A local network and one at an uplink that have addresses in common: the kernel looks for each in one of them.
pub(super) fn same_at_uplink(machine: &Machine, findings: &mut Findings) {
    let Some(base) = &machine.base else {
        return;
    };
    let attached = attached();
    let of = |name: &str| {
        let name = name.to_owned();
        attached
            .iter()
            .filter(move |(at, _)| *at == name)
            .map(|(_, network)| *network)
    };
    for lan in &base.lan {
        let lan = lan.interface.as_str();
        for outside in &base.outside {
            let mut pairs = of(lan).flat_map(|inner| of(outside).map(move |outer| (inner, outer)));
            let Some((inner, outer)) = pairs.find(|(inner, outer)| overlap(*inner, *outer)) else {
                continue;
            };
            let problem = format!(
                "it has {inner}, and {outer} is at {outside}: hosts of one are looked for in the other"
            );
            let advice = format!(
                "give {lan} another network: on OpenWrt uci set network.lan.ipaddr=192.168.77.1, uci commit \
                 network, service network restart; else in the configuration of its addresses and DHCP server"
            );
            findings.error(lan, problem, advice);
        }
    }
}

fn overlap(one: IpNet, other: IpNet) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

/// The networks that interfaces are attached to, by their names.
fn attached() -> Vec<(String, IpNet)> {
    let ipv4 = fs::read_to_string("/proc/net/route").unwrap_or_default();
    let ipv6 = fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
    let ipv4 = ipv4.lines().filter_map(ipv4_route);
    ipv4.chain(ipv6.lines().filter_map(ipv6_route)).collect()
}

/// A line of `/proc/net/route`, if its route has no gateway and is no default route.
fn ipv4_route(line: &str) -> Option<(String, IpNet)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    // The kernel prints words that have the bytes of addresses, however the machine orders them.
    let address = |index: usize| {
        let word = u32::from_str_radix(fields.get(index)?, 16).ok()?;
        Some(word.to_ne_bytes().into())
    };
    let network = Ipv4Net::with_netmask(address(1)?, address(7)?).ok()?;
    let is_attached = *fields.get(2)? == "00000000" && network.prefix_len() > 0;
    is_attached.then(|| {
        (
            fields.first().copied().unwrap_or_default().to_owned(),
            network.into(),
        )
    })
}

/// The same of `/proc/net/ipv6_route`, without link-local addresses and multicast.
fn ipv6_route(line: &str) -> Option<(String, IpNet)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let address = |index: usize| {
        let digits = u128::from_str_radix(fields.get(index)?, 16).ok()?;
        Some(Ipv6Addr::from_bits(digits))
    };
    let length = u8::from_str_radix(fields.get(1)?, 16).ok()?;
    let network = Ipv6Net::new(address(0)?, length).ok()?;
    let is_near = network.network().is_unicast_link_local() || network.network().is_multicast();
    let is_attached = address(4)?.is_unspecified() && length > 0 && !is_near;
    is_attached.then(|| {
        (
            fields.last().copied().unwrap_or_default().to_owned(),
            network.into(),
        )
    })
}

/// Default routes over interfaces of the mesh, as of a router advertisement that somebody believed: that is no uplink.
pub(super) fn default_on_the_mesh(machine: &Machine, findings: &mut Findings) {
    let [ipv4, ipv6] = ["route", "ipv6_route"].map(|file| {
        std::fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default()
    });
    for mesh in machine.config.mesh() {
        let name = mesh.interface().as_str();
        let ipv4 = ipv4.lines().any(|line| ipv4_default(line) == Some(name));
        let ipv6 = ipv6.lines().any(|line| ipv6_default(line) == Some(name));
        if !ipv4 && !ipv6 {
            continue;
        }
        let problem = "a default route leads over it, and it is a `mesh` interface: what this router sends itself is \
                       lost there, and no uplink is used";
        let advice = if ipv4 {
            format!("ip route del default dev {name}; no DHCP client belongs on a mesh interface")
        } else {
            format!(
                "sysctl -w net.ipv6.conf.{name}.accept_ra=0 and ip -6 route del default dev {name}; if the provider's \
                 line is there, give it an interface of its own"
            )
        };
        findings.warning(name, problem, advice);
    }
}

/// The interface of a default route in `/proc/net/route`.
fn ipv4_default(line: &str) -> Option<&str> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let is_zero = |index: usize| fields.get(index) == Some(&"00000000");
    (is_zero(1) && is_zero(7)).then(|| fields.first().copied())?
}

/// The interface of a default route through a router in `/proc/net/ipv6_route`.
fn ipv6_default(line: &str) -> Option<&str> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let is_zero = |index: usize| {
        fields
            .get(index)
            .is_some_and(|it| it.bytes().all(|it| it == b'0'))
    };
    (is_zero(0) && is_zero(1) && !is_zero(4)).then(|| fields.last().copied())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attached_networks_are_read_from_what_the_kernel_prints() {
        let word = |bytes: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(bytes));
        let (lan, mask, none) = (
            word([192, 168, 1, 0]),
            word([255, 255, 255, 0]),
            word([0; 4]),
        );
        let line = format!("lan0\t{lan}\t{none}\t0001\t0\t0\t0\t{mask}\t0\t0\t0");
        let network = "192.168.1.0/24".parse().unwrap();
        assert_eq!(ipv4_route(&line), Some(("lan0".to_owned(), network)));
        let default = format!("wan0\t{none}\t{lan}\t0003\t0\t0\t0\t{none}\t0\t0\t0");
        let heading = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU";
        assert_eq!([ipv4_route(&default), ipv4_route(heading)], [None, None]);

        let zero = "0".repeat(32);
        let line = |address: &str, hop: &str| {
            format!("{address} 40 {zero} 00 {hop} 00000100 00000001 00000000 00000001     lan0")
        };
        let ula = "fd000001000000000000000000000000";
        let network = "fd00:1::/64".parse().unwrap();
        assert_eq!(
            ipv6_route(&line(ula, &zero)),
            Some(("lan0".to_owned(), network))
        );
        assert_eq!(ipv6_route(&line(ula, ula)), None);
        assert_eq!(
            ipv6_route(&line("fe800000000000000000000000000000", &zero)),
            None
        );
    }

    #[test]
    fn default_routes_are_told_from_networks() {
        let line = "mesh0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0";
        assert_eq!(ipv4_default(line), Some("mesh0"));
        let half = "mesh0\t00000000\t010011AC\t0003\t0\t0\t0\t00000080\t0\t0\t0";
        assert_eq!(ipv4_default(half), None);
        let (zero, router) = ("0".repeat(32), format!("fe80{}1", "0".repeat(27)));
        let line = |length: &str, hop: &str| {
            format!("{zero} {length} {zero} 00 {hop} 00000400 00000001 00000000 00000003    mesh0")
        };
        assert_eq!(ipv6_default(&line("00", &router)), Some("mesh0"));
        assert_eq!(ipv6_default(&line("08", &router)), None);
        assert_eq!(ipv6_default(&line("00", &zero)), None);
    }

    #[test]
    fn networks_overlap_when_one_is_within_the_other() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        assert!(overlap(net("192.168.1.0/24"), net("192.168.0.0/16")));
        assert!(overlap(net("192.168.0.0/16"), net("192.168.1.0/24")));
        assert!(!overlap(net("192.168.1.0/24"), net("192.168.2.0/24")));
        assert!(!overlap(net("192.168.1.0/24"), net("fd00::/8")));
    }
}
