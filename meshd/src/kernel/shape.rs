//! Who is slowed down: neighbors that have used up their credit, and our own local networks before others
//! have to do so.
//!
//! Each neighbor has a limit of its own, in the element of a set, so that it is only elements that
//! change. Two chains hold the rules, which are there only while they have anything to do: a relay's
//! packets would look for themselves in empty sets otherwise. Only packets in tunnels ever meet them.
//! A neighbor is held in what we carry for it; what it carries for us is its own business.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use mesh_proto::IfIndex;

use super::counters::Neighbor;
use super::nat::{DROP, RECEIVER, SENDER, TABLE, chain};
use super::{
    Shaping, TUNNEL_DEVICES, TUNNEL_PORT, VNI_DOWN, VNI_UP, WIREGUARD_GATEWAY_PORT, counting, nat,
};

/// The chain that tunnel packets pass before they are counted.
pub(super) const HELD: &str = "held";

/// The chain that packets between local networks and tunnels pass.
pub(super) const THROTTLED: &str = "throttled";

/// The sets of neighbors that are held, as packets come from them and go to them.
const HELD_RX: &str = "held_rx";
const HELD_TX: &str = "held_tx";

/// What may pass at once: as much as the longest packet that the kernel makes of merged frames, or such
/// would never pass.
const BURST_BYTES: u32 = 65536;

/// Neighbors that may be held at an interface and by an address of theirs.
const SIZE: u32 = 4096;

/// Where DNS is asked.
const DNS_PORT: u16 = 53;

/// Neighbors that are held: tunnel packets from them to gateways, and from gateways to them, are slowed
/// down to [`Shaping::free`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// As packets come from them.
    pub senders: BTreeSet<(IfIndex, [u8; 6])>,
    /// As packets are sent to them: by link-local address.
    pub receivers: BTreeSet<(IfIndex, Ipv6Addr)>,
}

/// Who is slowed down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) held: Held,
    /// Whether our own local networks are.
    pub(super) is_throttled: bool,
}

/// The match for what exceeds a rate in bytes per second.
pub(super) fn over(rate: u32) -> String {
    // Not 0, which nft refuses.
    let rate = rate.max(1);
    format!("limit rate over {rate} bytes/second burst {BURST_BYTES} bytes")
}

/// The sets, as part of the table.
pub(super) fn sets(shaping: &Shaping) -> String {
    // Without it in the definition, nft refuses it in elements.
    let limit = over(shaping.free);
    let set = |name, neighbor| {
        format!("set {name} {{ type iface_index . {neighbor}; size {SIZE}; {limit}; }}\n")
    };
    set(HELD_RX, "ether_addr") + &set(HELD_TX, "ipv6_addr")
}

impl Shape {
    /// The chains, as part of the table.
    pub(super) fn chains(&self, shaping: &Shaping) -> String {
        chain(HELD, &self.held.rules()) + &chain(THROTTLED, &self.throttling(shaping))
    }

    /// Commands that make the sets what they should be.
    pub(super) fn elements(&self, shaping: &Shaping) -> String {
        let limit = over(shaping.free);
        let Held { senders, receivers } = &self.held;
        let senders = senders
            .iter()
            .map(|&(ifindex, mac)| (ifindex, Neighbor::Mac(mac)));
        let receivers = receivers
            .iter()
            .map(|&(ifindex, address)| (ifindex, Neighbor::LinkLocal(address)));
        let element = |(ifindex, neighbor)| format!("{ifindex} . {neighbor} {limit}");
        nat::replace_elements(HELD_RX, senders.map(element))
            + &nat::replace_elements(HELD_TX, receivers.map(element))
    }

    /// Commands that make sets and chains what they should be, in a table that is there.
    pub(super) fn commands(&self, shaping: &Shaping) -> String {
        let flush = [HELD, THROTTLED].map(|chain| format!("flush chain inet {TABLE} {chain}\n"));
        let chains = self.chains(shaping);
        let elements = self.elements(shaping);
        format!(
            "{}table inet {TABLE} {{\n{chains}}}\n{elements}",
            flush.concat()
        )
    }

    fn throttling(&self, shaping: &Shaping) -> Vec<String> {
        if !self.is_throttled {
            return Vec::new();
        }
        let passes = |it: String| format!("{it} return");
        let dns = ["sport", "dport"]
            .map(|field| passes(format!("meta l4proto {{ tcp, udp }} th {field} {DNS_PORT}")));
        let settlement = shaping.settlement.iter().flat_map(|address| {
            let family = match address {
                IpAddr::V4(_) => "ip",
                IpAddr::V6(_) => "ip6",
            };
            ["saddr", "daddr"].map(|field| passes(format!("{family} {field} {address}")))
        });
        // What DNS and settlement need is left.
        let rate = shaping.free / 4 * 3;
        let limits = ["iifname", "oifname"].map(|way| {
            let tunnels = nat::set_of(&TUNNEL_DEVICES);
            format!("{way} {tunnels} {} {DROP}", over(rate))
        });
        dns.into_iter().chain(settlement).chain(limits).collect()
    }
}

impl Held {
    fn rules(&self) -> Vec<String> {
        if self.senders.is_empty() && self.receivers.is_empty() {
            return Vec::new();
        }
        let vxlan = |vni| format!("th dport {TUNNEL_PORT} {} {vni}", counting::VNI);
        let port = WIREGUARD_GATEWAY_PORT;
        let (sender, receiver) = (
            format!("{SENDER} @{HELD_RX}"),
            format!("{RECEIVER} @{HELD_TX}"),
        );
        [
            (vxlan(VNI_UP), &sender),
            (format!("th dport {port}"), &sender),
            (vxlan(VNI_DOWN), &receiver),
            (
                format!("th dport != {TUNNEL_PORT} th sport {port}"),
                &receiver,
            ),
        ]
        .map(|(direction, neighbor)| format!("{direction} {neighbor} {DROP}"))
        .to_vec()
    }
}
