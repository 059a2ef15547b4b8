//! Who is slowed down: neighbors that have used up their credit, and our own local networks before others
//! have to do so.
//!
//! A neighbor's credit is a quota of the kernel's: what it is carried counts against it packet by packet,
//! in both directions, so that no burst passes before somebody looks. It says how many bytes may pass in
//! all; when receipts come it is raised, and goes on counting. Beyond it, a neighbor is slowed down to
//! [`Shaping::free`], each for itself. Another quota, used up halfway there, has the kernel tell us in time
//! to ask for a receipt. Whoever has no quota is nobody we could bill, and all of these together get as much.
//!
//! | chain | packets |
//! |---|---|
//! | `held_up`, `held_down` | before they are counted: those to and from gateways that cost something. Empty where nothing does |
//! | `credit_up`, `credit_down` | of these: beyond somebody's credit |
//! | `throttled` | between local networks and tunnels. Empty unless we owe somebody too much |
//!
//! Only packets in tunnels ever meet them. A neighbor is held in what we carry for it; what it carries for
//! us is its own business.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use mesh_proto::{IfIndex, NodeId};

use super::counters::Neighbor;
use super::nat::{DROP, RECEIVER, SENDER, TABLE, chain, replace_chain};
use super::neighbor::MacKey;
use super::{
    Shaping, TUNNEL_DEVICES, TUNNEL_PORT, VNI_DOWN, VNI_UP, WIREGUARD_GATEWAY_PORT, counting, nat,
};

/// The chains that packets towards gateways and from gateways pass before they are counted.
pub(super) const HELD_UP: &str = "held_up";
pub(super) const HELD_DOWN: &str = "held_down";

const CREDIT_UP: &str = "credit_up";
const CREDIT_DOWN: &str = "credit_down";

/// The chain that packets between local networks and tunnels pass.
pub(super) const THROTTLED: &str = "throttled";

/// The gateways that it costs something to carry to and from.
pub(super) const CHARGED: &str = "charged";

/// Whose quota is whose, and how fast each is beyond it: as packets come from neighbors and go to them.
const CREDIT_RX: &str = "credit_rx";
const CREDIT_TX: &str = "credit_tx";
const HALF_RX: &str = "half_rx";
const HALF_TX: &str = "half_tx";
const FREE_RX: &str = "free_rx";
const FREE_TX: &str = "free_tx";

/// How names of quotas begin.
const WHOLE: &str = "of_";
const HALF: &str = "half_of_";

/// What may pass at once: as much as the longest packet that the kernel makes of merged frames, or such
/// would never pass.
const BURST_BYTES: u32 = 65536;

/// Neighbors at an interface and with an address: more than the routing core takes up.
const SIZE: usize = 4096;

/// The kernel takes no larger quota (`S64_MAX`).
const MAX_QUOTA: u64 = i64::MAX as u64;

/// Whether packets come from a neighbor or go to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Rx,
    Tx,
}

impl Way {
    const BOTH: [Self; 2] = [Self::Rx, Self::Tx];

    /// The maps of quotas: of what there is credit for, and of half of it.
    const fn quotas(self) -> [(&'static str, Part); 2] {
        match self {
            Self::Rx => [(CREDIT_RX, Part::Whole), (HALF_RX, Part::Half)],
            Self::Tx => [(CREDIT_TX, Part::Whole), (HALF_TX, Part::Half)],
        }
    }

    /// The set of limits.
    const fn limits(self) -> &'static str {
        match self {
            Self::Rx => FREE_RX,
            Self::Tx => FREE_TX,
        }
    }

    /// What the sets are about.
    const fn address(self) -> &'static str {
        match self {
            Self::Rx => "ether_addr",
            Self::Tx => "ipv6_addr",
        }
    }

    const fn neighbor(self) -> &'static str {
        match self {
            Self::Rx => SENDER,
            Self::Tx => RECEIVER,
        }
    }
}

/// How much of a neighbor's credit a quota is for.
#[derive(Clone, Copy)]
enum Part {
    Whole,
    Half,
}

/// Where DNS is asked.
const DNS_PORT: u16 = 53;

/// How much each neighbor may be carried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credit {
    /// The mesh addresses of gateways that it costs something to carry to and from. Where there are none,
    /// nobody is slowed down.
    pub charged: BTreeSet<Ipv6Addr>,
    /// Neighbors that can be billed.
    pub neighbors: BTreeMap<NodeId, Allowance>,
}

/// How much one neighbor may be carried before it is slowed down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Where it is: interfaces, and its link-local addresses there.
    pub links: BTreeSet<(IfIndex, Ipv6Addr)>,
    /// Bytes in all, as [`Counters::spent`](super::Counters::spent) counts them.
    pub limit: u64,
}

/// Bytes that counted against each quota so far: what passed, and what was dropped beyond it. Packets as
/// the kernel passes them on, so merged frames have the headers of one.
pub type Spent = BTreeMap<NodeId, u64>;

/// Who is slowed down.
#[derive(Clone, Debug, Default)]
pub(super) struct Shape {
    credit: Credit,
    /// Whether the credit is what a predecessor granted, and as it is in the table.
    is_adopted: bool,
    /// Whose Ethernet addresses are whose.
    senders: BTreeMap<MacKey, NodeId>,
    /// What was read last, and so what limits are made from.
    spent: Spent,
    /// Whether our own local networks are.
    pub(super) is_throttled: bool,
    /// What the table was made for, if it was by us.
    applied: Option<Applied>,
}

/// What the table was made for.
#[derive(Clone, Debug, Default)]
struct Applied {
    charged: BTreeSet<Ipv6Addr>,
    limits: BTreeMap<NodeId, u64>,
    keys: BTreeSet<Key>,
    is_throttled: bool,
}

/// A place that packets of a neighbor come from or go to, as the sets have it.
type Key = (Way, String, NodeId);

/// The match for what exceeds a rate in bytes per second.
pub(super) fn over(rate: u32) -> String {
    // Not 0, which nft refuses.
    let rate = rate.max(1);
    format!("limit rate over {rate} bytes/second burst {BURST_BYTES} bytes")
}

/// The sets, as part of the table.
pub(super) fn sets(shaping: &Shaping) -> String {
    let sets = Way::BOTH.map(|way| {
        let key = format!("type iface_index . {}", way.address());
        let maps = way
            .quotas()
            .map(|(name, _)| format!("map {name} {{ {key} : quota; size {SIZE}; }}\n"));
        // Without the limit in the definition, nft refuses it in elements.
        let (limits, limit) = (way.limits(), over(shaping.free));
        maps.concat() + &format!("set {limits} {{ {key}; size {SIZE}; {limit}; }}\n")
    });
    format!("set {CHARGED} {{ type ipv6_addr; }}\n{}", sets.concat())
}

/// The name of a neighbor's quota.
fn quota(node: NodeId, part: Part) -> String {
    let prefix = match part {
        Part::Whole => WHOLE,
        Part::Half => HALF,
    };
    format!("{prefix}{}", hex::encode(node.as_bytes()))
}

/// Whose whole credit has a quota of this name.
pub(super) fn owner(quota: &str) -> Option<NodeId> {
    let bytes = hex::decode(quota.strip_prefix(WHOLE)?).ok()?;
    Some(NodeId::from_bytes(bytes.try_into().ok()?))
}

/// Has what comes from or goes to a place count against a neighbor's quotas.
fn assign((way, key, node): &Key) -> String {
    let elements = way.quotas().map(|(map, part)| {
        let name = quota(*node, part);
        format!("add element inet {TABLE} {map} {{ {key} : \"{name}\" }}\n")
    });
    elements.concat()
}

/// Has it count no longer.
fn release((way, key, _): &Key) -> String {
    let elements = way
        .quotas()
        .map(|(map, _)| format!("delete element inet {TABLE} {map} {{ {key} }}\n"));
    elements.concat()
}

/// Has it a limit of its own beyond the quota.
fn limit((way, key, _): &Key, shaping: &Shaping) -> String {
    let (limits, limit) = (way.limits(), over(shaping.free));
    format!("add element inet {TABLE} {limits} {{ {key} {limit} }}\n")
}

/// Has it none any longer.
fn unlimit((way, key, _): &Key) -> String {
    let limits = way.limits();
    format!("delete element inet {TABLE} {limits} {{ {key} }}\n")
}

/// Removes a neighbor's quotas.
fn forget(node: NodeId) -> String {
    let quotas = [Part::Whole, Part::Half].map(|part| quota(node, part));
    let commands = quotas.map(|name| format!("delete quota inet {TABLE} {name}\n"));
    commands.concat()
}

impl Shape {
    /// Leaves what a predecessor granted as it is, until something else is wanted. It has these gateways
    /// charged.
    pub(super) fn adopt(&mut self, charged: BTreeSet<Ipv6Addr>) {
        self.credit.charged = charged;
        self.is_adopted = true;
    }

    /// Has neighbors carried as much as this.
    pub(super) fn set_credit(&mut self, credit: Credit) {
        self.credit = credit;
        if std::mem::take(&mut self.is_adopted) {
            self.applied = None;
        }
    }

    /// Where neighbors are.
    pub(super) fn links(&self) -> BTreeSet<(IfIndex, Ipv6Addr)> {
        let neighbors = self.credit.neighbors.values();
        neighbors.flat_map(|it| it.links.iter().copied()).collect()
    }

    /// Takes note of whose Ethernet addresses are whose; says whether that is new.
    pub(super) fn note_senders(
        &mut self,
        address: impl IntoIterator<Item = (MacKey, Ipv6Addr)>,
    ) -> bool {
        let links = self.credit.neighbors.iter().flat_map(|(node, it)| {
            let links = it.links.iter();
            links.map(|link| (*link, *node))
        });
        let nodes: BTreeMap<_, _> = links.collect();
        let senders = address.into_iter().filter_map(|(mac, address)| {
            let node = nodes.get(&(mac.0, address))?;
            Some((mac, *node))
        });
        let senders = senders.collect();
        std::mem::replace(&mut self.senders, senders) != self.senders
    }

    /// This is what was counted when limits are made next.
    pub(super) fn note_spent(&mut self, spent: &Spent) {
        self.spent.clone_from(spent);
    }

    /// The chains, as part of the table.
    pub(super) fn chains(&self, shaping: &Shaping) -> String {
        let beyond = |way: Way| {
            let (neighbor, limits) = (way.neighbor(), way.limits());
            let [(whole, _), (half, _)] = way.quotas();
            [
                format!("quota name {neighbor} map @{half}"),
                format!("quota name {neighbor} map @{whole} {neighbor} @{limits} {DROP}"),
                format!("{neighbor} != @{limits} {} {DROP}", over(shaping.free)),
            ]
        };
        let [up, down] = self.charged();
        [
            chain(CREDIT_UP, &beyond(Way::Rx)),
            chain(CREDIT_DOWN, &beyond(Way::Tx)),
            chain(HELD_UP, &up),
            chain(HELD_DOWN, &down),
            chain(THROTTLED, &self.throttling(shaping)),
        ]
        .concat()
    }

    /// What costs something, towards gateways and from them.
    fn charged(&self) -> [Vec<String>; 2] {
        if self.credit.charged.is_empty() {
            return [Vec::new(), Vec::new()];
        }
        let vxlan = |vni| format!("th dport {TUNNEL_PORT} {} {vni}", counting::VNI);
        let port = WIREGUARD_GATEWAY_PORT;
        let up = [vxlan(VNI_UP), format!("th dport {port}")];
        let down = [
            vxlan(VNI_DOWN),
            format!("th dport != {TUNNEL_PORT} th sport {port}"),
        ];
        [
            up.map(|it| format!("{it} ip6 daddr @{CHARGED} goto {CREDIT_UP}"))
                .to_vec(),
            down.map(|it| format!("{it} ip6 saddr @{CHARGED} goto {CREDIT_DOWN}"))
                .to_vec(),
        ]
    }

    /// Commands that make sets and quotas what they should be in a table that was made for something else,
    /// or in a new one, where there are the quotas `existing`.
    pub(super) fn elements(&self, shaping: &Shaping, existing: &Spent) -> String {
        if self.is_adopted {
            return String::new();
        }
        let empty = Way::BOTH.map(|way| {
            let maps = way
                .quotas()
                .map(|(name, _)| nat::replace("map", name, std::iter::empty()));
            maps.concat() + &nat::replace_elements(way.limits(), std::iter::empty())
        });
        let keys = self.keys();
        let nodes = self.credit.neighbors.keys();
        [
            self.charged_elements(),
            empty.concat(),
            existing.keys().map(|node| forget(*node)).collect(),
            nodes.map(|node| self.quotas(*node, existing)).collect(),
            keys.iter().map(assign).collect(),
            keys.iter().map(|key| limit(key, shaping)).collect(),
        ]
        .concat()
    }

    fn charged_elements(&self) -> String {
        let charged = self.credit.charged.iter().map(Ipv6Addr::to_string);
        nat::replace_elements(CHARGED, charged)
    }

    /// Commands that change what is other than the table was made for, where there are the quotas
    /// `existing`. Whoever nothing changed for keeps its limit: a new one would let it pass a burst.
    ///
    /// Quotas are made anew: the kernel goes on counting beyond one, and nobody learns how far, so that
    /// a higher one could be used up from the beginning.
    pub(super) fn changes(&self, shaping: &Shaping, existing: &Spent) -> String {
        let Some(before) = &self.applied else {
            return self.elements(shaping, existing) + &self.rules(None, shaping);
        };
        let keys = self.keys();
        let neighbors = self.credit.neighbors.iter();
        let made = neighbors.filter(|(node, it)| before.limits.get(node) != Some(&it.limit));
        let made: BTreeSet<NodeId> = made.map(|(node, _)| *node).collect();
        let forgotten = before
            .limits
            .keys()
            .filter(|node| made.contains(node) || !self.credit.neighbors.contains_key(node));
        let (gone, new) = (before.keys.difference(&keys), keys.difference(&before.keys));
        let kept = keys.intersection(&before.keys);
        let moved = kept.filter(|(_, _, node)| made.contains(node));
        [
            gone.clone().chain(moved.clone()).map(release).collect(),
            gone.map(unlimit).collect(),
            forgotten.map(|node| forget(*node)).collect(),
            made.iter()
                .map(|node| self.quotas(*node, existing))
                .collect(),
            moved.chain(new.clone()).map(assign).collect(),
            new.map(|key| limit(key, shaping)).collect(),
            self.rules(Some(before), shaping),
        ]
        .concat()
    }

    /// Commands that change rules where they are others than `before`, which is nothing where a predecessor
    /// made them.
    fn rules(&self, before: Option<&Applied>, shaping: &Shaping) -> String {
        let mut commands = String::new();
        if before.is_none_or(|it| it.charged != self.credit.charged) {
            let [up, down] = self.charged();
            commands += &self.charged_elements();
            commands += &replace_chain(HELD_UP, &up);
            commands += &replace_chain(HELD_DOWN, &down);
        }
        if before.is_none_or(|it| it.is_throttled != self.is_throttled) {
            commands += &replace_chain(THROTTLED, &self.throttling(shaping));
        }
        commands
    }

    /// The table is as it should be now.
    pub(super) fn note_applied(&mut self) {
        if self.is_adopted {
            return;
        }
        let neighbors = self.credit.neighbors.iter();
        self.applied = Some(Applied {
            charged: self.credit.charged.clone(),
            limits: neighbors.map(|(node, it)| (*node, it.limit)).collect(),
            keys: self.keys(),
            is_throttled: self.is_throttled,
        });
    }

    /// Makes quotas that go on where the ones before were. What is used is never told beyond the limit.
    fn quotas(&self, node: NodeId, existing: &Spent) -> String {
        let allowance = self.credit.neighbors.get(&node);
        let used = existing.get(&node).or_else(|| self.spent.get(&node));
        let used = used.copied().unwrap_or_default().min(MAX_QUOTA);
        // The kernel refuses one that more was used of than there is.
        let limit = allowance.map_or(0, |it| it.limit);
        let limit = limit.clamp(used, MAX_QUOTA);
        let half = used + limit.saturating_sub(used) / 2;
        let limits = [(Part::Whole, limit), (Part::Half, half)];
        let commands = limits.map(|(part, limit)| {
            let name = quota(node, part);
            format!("add quota inet {TABLE} {name} {{ over {limit} bytes used {used} bytes ; }}\n")
        });
        commands.concat()
    }

    /// Where packets of neighbors come from and go to, as far as there is room.
    fn keys(&self) -> BTreeSet<Key> {
        let senders = self.senders.iter();
        let senders = senders.map(|(&(ifindex, mac), node)| {
            let mac = Neighbor::Mac(mac);
            (Way::Rx, format!("{ifindex} . {mac}"), *node)
        });
        let neighbors = self.credit.neighbors.iter();
        let receivers = neighbors.flat_map(|(node, it)| {
            let links = it.links.iter();
            links.map(|(ifindex, address)| (Way::Tx, format!("{ifindex} . {address}"), *node))
        });
        senders.take(SIZE).chain(receivers.take(SIZE)).collect()
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
