//! The rules and sets that count what is carried in tunnels, by neighbor and by gateway.
//!
//! Each packet is counted where it comes from a neighbor and where it is sent to one: at both ends of a
//! hop the same packets. Whether it is on its way to a gateway or comes from one its sender says: VXLAN by
//! the network identifier, WireGuard by the port at which only ends of gateways are. The gateway is the
//! address at that end.
//!
//! | chain | packets |
//! |---|---|
//! | `received`, `passed_on`, `sent` | at the hooks: those from or to the mesh |
//! | `arrived`, `passing`, `leaving` | tunnel packets are counted; then neighbors are told of that something is sent to |
//! | `count_received`, `count_passing`, `count_sent` | those of VXLAN |
//! | `…_wireguard` | those of WireGuard |
//! | `…_merged`, `…_merged6` | of VXLAN, several frames that the kernel has merged, once more by what is inside |
//! | `unaccounted` | what nobody can bill: to and from nodes that are no gateways, without a direction, or without room for another counter. It passes at the rate of who does not pay |

use mesh_proto::Family;

use super::counters::{self, Flow};
use super::nat::{DROP, GATEWAYS, RECEIVER, SENDER, base_chain, chain};
use super::{
    Setup, Shaping, TUNNEL_DEVICES, TUNNEL_PORT, VNI_DOWN, VNI_UP, WIREGUARD_GATEWAY_PORT, shape,
};

/// After all filters.
const PRIORITY: i32 = 250;

/// VXLAN's network identifier: 4 bytes behind the header of UDP.
pub(super) const VNI: &str = "@th,96,24";

/// The match for IPv6 inside VXLAN: the type of the Ethernet frame (`ETH_P_IPV6`), behind the headers of UDP
/// and VXLAN and two addresses. What is in WireGuard is never merged.
const INNER_IS_IPV6: &str = "@th,224,16 0x86dd";

/// A chain of the counting and what it counts: received packets, sent ones, or both.
struct Place {
    name: &'static str,
    is_counted: fn(Flow) -> bool,
}

const PLACES: [Place; 3] = [
    Place {
        name: "count_received",
        is_counted: Flow::is_received,
    },
    Place {
        name: "count_passing",
        is_counted: |_| true,
    },
    Place {
        name: "count_sent",
        is_counted: |flow| !flow.is_received(),
    },
];

/// The sets of counters, and the counter of them all.
pub(super) fn sets() -> String {
    let of_flow = |flow: Flow| {
        let neighbor = match flow.is_received() {
            true => "ether_addr",
            false => "ipv6_addr",
        };
        let spec = format!(
            "type iface_index . {neighbor} . ipv6_addr; size {}; flags dynamic; counter;",
            counters::SET_SIZE
        );
        let merged = Family::BOTH.map(|family| flow.merged_set_name(family));
        let names = [flow.set_name().to_owned()].into_iter().chain(merged);
        let sets = names.map(|name| format!("set {name} {{ {spec} }}\n"));
        sets.collect::<String>()
    };
    let sets = Flow::ALL.map(of_flow).concat();
    format!("counter {} {{ }}\n{sets}", counters::COUNTER)
}

/// The chains, for packets at the interfaces `mesh`. What does not fit into one frame of so many bytes are
/// several.
pub(super) fn chains(setup: &Setup, frame: u16, shaping: &Shaping, mesh: &str) -> String {
    let tunnels = |verb: &str, place: &str| {
        [
            format!("udp dport {TUNNEL_PORT} {verb} {place}"),
            format!("udp dport {} {verb} {place}_wireguard", wireguard_ports()),
        ]
    };
    let arrived = tunnels("goto", "count_received");
    let told = ["goto tell_sent".to_owned()];
    let [passing, leaving] =
        ["count_passing", "count_sent"].map(|place| [&tunnels("jump", place)[..], &told].concat());
    let to_mesh = |chain| [format!("oifname {mesh} goto {chain}")];
    let received = [format!("iifname {mesh} goto arrived")];
    let prefix = setup.mesh_prefix.trunc();
    let between_nodes = format!("ip6 saddr {prefix} ip6 daddr {prefix}");
    let unaccounted = [format!(
        "{between_nodes} {} {DROP}",
        shape::over(shaping.free)
    )];
    [
        chain("unaccounted", &unaccounted),
        PLACES.map(|place| place.chains(frame)).concat(),
        chain("arrived", &arrived),
        chain("passing", &passing),
        chain("leaving", &leaving),
        base_chain("received", "filter", "input", PRIORITY, &received),
        base_chain(
            "passed_on",
            "filter",
            "forward",
            PRIORITY,
            &to_mesh("passing"),
        ),
        base_chain("sent", "filter", "output", PRIORITY, &to_mesh("leaving")),
    ]
    .concat()
}

impl Place {
    fn chains(&self, frame: u16) -> String {
        let name = self.name;
        let (wireguard, merged, merged6) = (
            format!("{name}_wireguard"),
            format!("{name}_merged"),
            format!("{name}_merged6"),
        );
        let total = format!("counter name {} return", counters::COUNTER);
        let all = |flow: Flow| flow.set_name().to_owned();
        let held = self.held();
        let is_longer = [format!("meta length > {frame} jump {merged}")];
        let (vxlan, by_port) = (self.vxlan(&all, &total), self.wireguard(&all, &total));
        let of_merged = |family: Family| self.vxlan(&|flow| flow.merged_set_name(family), "return");
        let is_ipv6 = [format!("{INNER_IS_IPV6} goto {merged6}")];
        let others = ["goto unaccounted".to_owned()];
        [
            chain(&merged6, &of_merged(Family::Ipv6)),
            chain(&merged, &[&is_ipv6[..], &of_merged(Family::Ipv4)].concat()),
            chain(&wireguard, &[&held[..], &by_port, &others].concat()),
            chain(name, &[&held[..], &is_longer, &vxlan, &others].concat()),
        ]
        .concat()
    }

    /// What is sent to us is nobody's debt, and what we send nobody else's.
    fn held(&self) -> Vec<String> {
        let ways = [
            (Flow::UpRx, shape::HELD_UP),
            (Flow::DownTx, shape::HELD_DOWN),
        ];
        let ways = ways
            .into_iter()
            .filter(|(flow, _)| (self.is_counted)(*flow));
        ways.map(|(_, chain)| format!("jump {chain}")).collect()
    }

    fn vxlan(&self, set_name: &dyn Fn(Flow) -> String, end: &str) -> [String; 2] {
        [(VNI_UP, true), (VNI_DOWN, false)].map(|(vni, is_up)| {
            let count = self.count(is_up, set_name);
            format!("{VNI} {vni} {count} {end}")
        })
    }

    fn wireguard(&self, set_name: &dyn Fn(Flow) -> String, end: &str) -> [String; 2] {
        [("dport", true), ("sport", false)].map(|(field, is_up)| {
            let count = self.count(is_up, set_name);
            format!("th {field} {WIREGUARD_GATEWAY_PORT} {count} {end}")
        })
    }

    /// Counts packets of one direction, if the node at the gateway's end is one. A rule ends where a
    /// set is full.
    fn count(&self, is_up: bool, set_name: &dyn Fn(Flow) -> String) -> String {
        let gateway = if is_up { "ip6 daddr" } else { "ip6 saddr" };
        let flows = Flow::ALL.into_iter().filter(|flow| flow.is_up() == is_up);
        let counters = flows.filter(|flow| (self.is_counted)(*flow)).map(|flow| {
            let neighbor = if flow.is_received() { SENDER } else { RECEIVER };
            format!(" add @{} {{ {neighbor} . {gateway} }}", set_name(flow))
        });
        let counters: String = counters.collect();
        format!("{gateway} @{GATEWAYS}{counters}")
    }
}

/// The ports of all ends of WireGuard, in one comparison.
fn wireguard_ports() -> String {
    let last = usize::from(TUNNEL_PORT) + TUNNEL_DEVICES.len() - 1;
    format!("{WIREGUARD_GATEWAY_PORT}-{last}")
}
