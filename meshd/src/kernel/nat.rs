//! The nftables table `inet meshd`: filter, address translation, MSS clamping and the counters.
//!
//! Applying it is one transaction. On a table that is there, it drops all rules and adds them
//! anew, but leaves the counter sets alone, so nothing that was counted is lost.
//!
//! | chain | hook, priority | what it does |
//! |---|---|---|
//! | `arriving` (`coming`), `beginning` | prerouting, output, -300 | no conntrack entry for what only passes on its way between other nodes, or relays would track every flow of the village; nor for tunnel packets, as each flow inside has an outer flow of its own; nor for the routing protocol's |
//! | `flows` and those it sends to | prerouting, -150 | each flow stays with its gateway or uplink, see [`marks`](super::marks) |
//! | `input` | input, 0 | tunnel packets only from the mesh, over the mesh; and from there this node under its mesh addresses only, which are not for who is outside |
//! | `forward` | forward, 0 | who may reach whom; sends packets on to one of the chains below |
//! | `from_mesh` | | other nodes, routed local networks, and answers |
//! | `from_tunnel` | | the Internet, and answers |
//! | `to_internet` | | the uplink, but nothing private behind it or attached to it |
//! | `from_lan` | | everything but the inside of the tunnel |
//! | `from_uplink` | | answers, and what the operator's own rules redirect |
//! | `translate` | postrouting, 99 | masquerading local networks, and what leaves the uplink; only where there is one of them; says which uplink a flow stays with, see [`lines`](super::lines) |
//! | `received`, `passed_on`, `sent` and those they send to | input, forward, output, 250 | after all filters, so that only what really goes on is counted, see [`counting`](super::counting) |
//! | `held_up`, `held_down`, `throttled` and those they send to | | who is slowed down, if anybody is, see [`shape`](super::shape) |
//! | `tell_received`, `tell_sent` | | tell of neighbors that carry traffic, once a second |
//!
//! A relay's packets pass three chains of the kernel's hooks: each costs, also if nothing matches. So does
//! each look at the name of an interface; a chain asks once.
//!
//! Packets that come from or go to none of our interfaces pass untouched.
//!
//! Prefixes are matched by a rule each, never in a set: while rules are replaced, the kernel looks
//! into a new set of intervals before it finds anything there (measured on Linux 6.18 for up to 2 ms),
//! and packets would meet the rule after it.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mesh_proto::identity::MESH_IPV4_RANGE;

use super::counters::Flow;
use super::lines::Lines;
use super::netlink::KernelError;
use super::nfnetlink::Nfnetlink;
use super::shape::{self, Shape, Spent};
use super::uplink::Surroundings;
use super::{
    Base, Lan, LanMode, Setup, TUNNEL_DEVICES, TUNNEL_PORT, Warning, counting, marks, nft, traffic,
};
use crate::udp;

/// The name of the table, of family `inet`.
pub(super) const TABLE: &str = "meshd";

/// The chain that translates addresses.
const TRANSLATE: &str = "translate";

/// The set of all gateways' mesh addresses.
pub(super) const GATEWAYS: &str = "gateways";

/// Neighbors that are told of: as many as the routing core takes up, on two interfaces. The kernel sets
/// room aside for all of them, and looks through it when they are read.
const NEIGHBOR_SET_SIZE: u32 = 1024;

/// Whom a packet comes from: an interface and an Ethernet address.
pub(super) const SENDER: &str = "iif . ether saddr";

/// Whom an IPv6 packet is sent to: an interface and a link-local address.
pub(super) const RECEIVER: &str = "oif . rt ip6 nexthop";

/// Where the Internet is not, though an uplink may lead there: the provider's own network or that of
/// the gateway's owner (RFC 6890, with the address ranges of multicast and the future).
const PRIVATE_V4: [Ipv4Net; 10] = [
    Ipv4Net::new_assert(Ipv4Addr::new(0, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10),
    Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16),
    Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 0, 0, 0), 24),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16),
    Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 15),
    Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 3),
];

/// The same of IPv6 (RFC 6890; site-local addresses are RFC 3879's). Not all of [`NAT64`].
const PRIVATE_V6: [&str; 6] = [
    "::/96",
    // Local translators to IPv4 (RFC 8215).
    "64:ff9b:1::/48",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
];

/// Where an uplink without IPv4 has that Internet: the last 32 bits of an address (RFC 6052).
const NAT64: Ipv6Addr = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0);

/// Where IPv4 addresses have networks of IPv6: in the 32 bits behind these 16 (RFC 3056).
const SIX_TO_FOUR: Ipv6Addr = Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0);

/// The end of a rule for packets that must not go on.
pub(super) const DROP: &str = "counter name dropped drop";

/// The match for packets that belong to a connection that was let through.
const IS_ANSWER: &str = "ct state established,related";

/// What became of the counters when the table was made.
#[derive(Debug)]
pub(super) enum Made {
    /// They go on.
    Kept,
    /// They are new, as there were none.
    New,
    /// They had to be made anew.
    Replaced(Warning),
}

/// What the table is made of.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) setup: &'a Setup,
    pub(super) base: &'a Base,
    /// What is around uplinks.
    pub(super) surroundings: &'a Surroundings,
    pub(super) lines: &'a Lines,
    /// The addresses of gateways.
    pub(super) gateways: &'a BTreeSet<Ipv6Addr>,
    pub(super) flows: &'a marks::Flows,
    pub(super) shape: &'a Shape,
}

/// Makes the table what it should be.
///
/// # Errors
/// When `nft` is missing or refuses; the table is then as it was.
pub(super) async fn apply(
    wanted: Wanted<'_>,
    nfnetlink: &mut Nfnetlink,
) -> Result<(Made, Option<u32>), KernelError> {
    let found = nfnetlink.sets()?;
    let had_counters = Flow::ALL
        .iter()
        .any(|flow| found.contains_key(flow.set_name()));
    let setup = wanted.setup;
    let quotas = nfnetlink.quotas()?;
    let begin = format!("table inet {TABLE}\nflush table inet {TABLE}\n");
    let error = match nft::apply(&setup.nft, &(begin + &table(wanted, &quotas))).await {
        Ok(process) if had_counters => return Ok((Made::Kept, process)),
        Ok(process) => return Ok((Made::New, process)),
        Err(error @ KernelError::NftRefused(_)) => error,
        Err(error) => return Err(error),
    };
    // What is there can't be changed to what is wanted: it is another version's table, or
    // somebody meddled with it.
    let table = table(wanted, &Spent::new());
    let process = nft::apply(&setup.nft, &(delete() + &table)).await?;
    let made = match had_counters {
        true => Made::Replaced(Warning::CountersReset(error)),
        false => Made::New,
    };
    Ok((made, process))
}

/// Removes the table, if it is there.
pub(super) async fn remove(setup: &Setup) -> Result<(), KernelError> {
    nft::apply(&setup.nft, &delete()).await.map(drop)
}

fn delete() -> String {
    format!("table inet {TABLE}\ndelete table inet {TABLE}\n")
}

/// Commands that replace the addresses of gateways.
pub(super) fn gateway_elements(gateways: &BTreeSet<Ipv6Addr>) -> String {
    replace_elements(GATEWAYS, gateways.iter().map(Ipv6Addr::to_string))
}

/// Commands that replace the elements of a set.
pub(super) fn replace_elements(name: &str, elements: impl Iterator<Item = String>) -> String {
    replace("set", name, elements)
}

/// Commands that replace the elements of a set or a map.
pub(super) fn replace(kind: &str, name: &str, elements: impl Iterator<Item = String>) -> String {
    let set = format!("inet {TABLE} {name}");
    let flush = format!("flush {kind} {set}\n");
    let elements: Vec<String> = elements.collect();
    if elements.is_empty() {
        return flush;
    }
    format!("{flush}add element {set} {{ {} }}\n", elements.join(", "))
}

/// The whole table, as nft(8) reads it, where there are these quotas.
fn table(wanted: Wanted<'_>, quotas: &Spent) -> String {
    let Wanted { setup, base, .. } = wanted;
    let names = Names::new(base);
    let translate = translate(wanted, &names);
    let chains = [
        tell_traffic(),
        untracked(setup, base, &names),
        flows(wanted, &names),
        input(setup, base, &names),
        wanted.shape.chains(&base.shaping),
        forward(setup, base, wanted.surroundings, &names),
        translate.clone().unwrap_or_default(),
        counting::chains(setup, base.mesh_mtu, &base.shaping, &names.mesh),
    ];
    let sets = [
        format!("counter dropped {{ }}\nset {GATEWAYS} {{ type ipv6_addr; }}\n"),
        counting::sets(),
        shape::sets(&base.shaping),
        traffic_sets(),
    ];
    let (sets, rules) = (sets.concat(), chains.concat());
    // One of an earlier configuration would go on having everything tracked.
    let removed = match translate {
        Some(_) => String::new(),
        None => ["add", "delete"]
            .map(|verb| format!("{verb} chain inet {TABLE} {TRANSLATE}\n"))
            .concat(),
    };
    let shape = wanted.shape.elements(&base.shaping, quotas);
    let elements = gateway_elements(wanted.gateways) + &shape;
    format!("table inet {TABLE} {{\n{sets}{rules}}}\n{removed}{elements}")
}

fn traffic_sets() -> String {
    let seconds = traffic::MEMORY.as_secs();
    let sets = [
        (traffic::RECEIVED, "ether_addr"),
        (traffic::SENT, "ipv6_addr"),
    ];
    let sets = sets.map(|(name, address)| {
        format!(
            "set {name} {{ type iface_index . {address}; size {NEIGHBOR_SET_SIZE}; \
             flags dynamic,timeout; timeout {seconds}s; }}\n"
        )
    });
    sets.concat()
}

/// Our interfaces by what they are for, as sets of names. By name: an interface may come later, or
/// come again with another index.
struct Names {
    mesh: String,
    tunnels: String,
    /// The mesh interfaces and the tunnels: where local networks are translated.
    mesh_and_tunnels: String,
    /// `None` if there is no local network.
    lan: Option<String>,
    uplink: Option<String>,
    /// Whatever leads out, the uplink included.
    outside: Option<String>,
    /// All of them but the uplink.
    inside: String,
}

impl Names {
    fn new(base: &Base) -> Self {
        let mesh: Vec<&str> = base.mesh.iter().map(String::as_str).collect();
        let lan: Vec<&str> = base.lan.iter().map(|lan| lan.interface.as_str()).collect();
        let uplinks = base.uplinks.names();
        let mut outside = uplinks.clone();
        outside.extend(base.outside.iter().map(String::as_str));
        let some = |names: BTreeSet<&str>| {
            let names: Vec<&str> = names.into_iter().collect();
            (!names.is_empty()).then(|| set_of(&names))
        };
        let mesh_and_tunnels = [mesh.as_slice(), &TUNNEL_DEVICES].concat();
        Self {
            inside: set_of(&[mesh_and_tunnels.as_slice(), &lan].concat()),
            mesh_and_tunnels: set_of(&mesh_and_tunnels),
            tunnels: set_of(&TUNNEL_DEVICES),
            mesh: set_of(&mesh),
            lan: (!lan.is_empty()).then(|| set_of(&lan)),
            uplink: some(uplinks),
            outside: some(outside),
        }
    }
}

pub(super) fn set_of(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    format!("{{ {} }}", quoted.join(", "))
}

/// A chain at a hook of the kernel's.
pub(super) fn base_chain(
    name: &str,
    kind: &str,
    hook: &str,
    priority: i32,
    rules: &[String],
) -> String {
    let hook = format!("type {kind} hook {hook} priority {priority}; policy accept;");
    chain(name, &[&[hook], rules].concat())
}

pub(super) fn chain(name: &str, rules: &[String]) -> String {
    format!("chain {name} {{\n{}\n}}\n", rules.join("\n"))
}

/// Commands that replace the rules of a chain.
pub(super) fn replace_chain(name: &str, rules: &[String]) -> String {
    let rules = chain(name, rules);
    format!("flush chain inet {TABLE} {name}\ntable inet {TABLE} {{\n{rules}}}\n")
}

fn untracked(setup: &Setup, base: &Base, names: &Names) -> String {
    let (mesh, prefix) = (&names.mesh, setup.mesh_prefix.trunc());
    let between = |family: &str, range: &str, own: &str| {
        let range = format!("{family} saddr {range} {family} daddr {range}");
        format!("{range} {family} daddr != {own} notrack return")
    };
    let v4 = (MESH_IPV4_RANGE.to_string(), base.mesh_ipv4.to_string());
    let v6 = (prefix.to_string(), setup.mesh_ipv6().to_string());
    let packets = [
        format!(
            "ip6 saddr {prefix} ip6 daddr {prefix} udp dport {} notrack return",
            tunnel_ports()
        ),
        format!("ip6 saddr fe80::/10 udp dport {} notrack return", udp::PORT),
    ];
    // Almost every packet of a relay ends with the second rule.
    let heard = [
        "jump tell_received".to_owned(),
        between("ip6", &v6.0, &v6.1),
    ];
    let coming = [&heard[..], &packets, &[between("ip", &v4.0, &v4.1)]].concat();
    let arriving = [format!("iifname {mesh} goto coming")];
    let beginning = packets.map(|it| format!("oifname {mesh} {it}"));
    chain("coming", &coming)
        + &base_chain("arriving", "filter", "prerouting", -300, &arriving)
        + &base_chain("beginning", "filter", "output", -300, &beginning)
}

/// TCP connections through the tunnel and over uplinks learn the smallest MTU on this node, in case
/// nobody tells them where a packet is too large. The kernel looks at the way back too, and never
/// raises the value (net/netfilter/nft_rt.c, nft_exthdr.c).
const CLAMP: &str = "tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu";

fn flows(wanted: Wanted<'_>, names: &Names) -> String {
    let lines = wanted.lines.working(wanted.base);
    let (numbers, lan) = (&wanted.setup.numbers, names.lan.as_deref());
    marks::chains(numbers, lan, wanted.flows, &names.tunnels, &lines)
}

/// Whatever is sent to VXLAN's port ends in our device, which believes everything, and nobody outside
/// the mesh has a tunnel here. Addresses of other interfaces are for those who are attached there: the mesh has its own to this node.
fn input(setup: &Setup, base: &Base, names: &Names) -> String {
    let (mesh, prefix, own) = (&names.mesh, setup.mesh_prefix, setup.mesh_ipv6());
    let ports = tunnel_ports();
    let vxlan = format!("udp dport {TUNNEL_PORT} {DROP}");
    let to_tunnels = [
        (!setup.vxlan).then_some(vxlan),
        Some(format!(
            "udp dport {ports} iifname {mesh} ip6 saddr {prefix} ip6 daddr {own} accept"
        )),
        Some(format!("udp dport {ports} {DROP}")),
    ];
    let own4 = base.mesh_ipv4;
    // Nobody out there can say of a datagram that the mesh has brought it (`uplink::circle`).
    let from_outside = names.outside.iter().flat_map(|outside| {
        [format!("ip daddr {own4}"), format!("ip6 daddr {own}")]
            .map(|it| format!("iifname {outside} {it} {DROP}"))
    });
    let neighbors = ["fe80::/10", "ff00::/8"].map(|range| format!("ip6 daddr {range}"));
    let own_addresses = [format!("ip6 daddr {own}"), format!("ip daddr {own4}")];
    let routed = base.lan.iter().flat_map(routed_prefixes).map(to_prefix);
    let reached = own_addresses.into_iter().chain(neighbors).chain(routed);
    let from_mesh = reached.map(|it| format!("iifname {mesh} {it} accept"));
    let others = [
        format!("iifname {mesh} {DROP}"),
        format!("iifname {} ip6 daddr != {own} {DROP}", names.tunnels),
        format!("iifname {} ip daddr != {own4} {DROP}", names.tunnels),
    ];
    let rules: Vec<String> = to_tunnels
        .into_iter()
        .flatten()
        .chain(from_mesh)
        .chain(others)
        .chain(from_outside)
        .collect();
    base_chain("input", "filter", "input", 0, &rules)
}

fn forward(setup: &Setup, base: &Base, around: &Surroundings, names: &Names) -> String {
    let sources = [
        (Some(&names.mesh), "from_mesh"),
        (Some(&names.tunnels), "from_tunnel"),
        (names.lan.as_ref(), "from_lan"),
        (names.outside.as_ref(), "from_uplink"),
    ];
    let jumps = sources
        .into_iter()
        .filter_map(|(from, chain)| Some(format!("iifname {} goto {chain}", from?)));
    // Only our own local networks may use the mesh.
    let others = format!("oifname {} {DROP}", names.mesh_and_tunnels);
    let rules: Vec<String> = jumps.chain([others]).collect();
    // A local host must not speak to other nodes' tunnels: it would appear there as this node.
    let into_a_tunnel = format!(
        "ip6 daddr {} udp dport {} {DROP}",
        setup.mesh_prefix,
        tunnel_ports()
    );
    [
        base_chain("forward", "filter", "forward", 0, &rules),
        from_mesh(base, names),
        from_tunnel(names, &around.own),
        to_internet(&around.attached, names),
        chain("from_lan", &[into_a_tunnel, CLAMP.to_owned(), throttle()]),
        from_uplink(names),
    ]
    .concat()
}

fn from_mesh(base: &Base, names: &Names) -> String {
    let mut rules = vec![format!("oifname {} accept", names.mesh)];
    rules.extend(answers_to_lan(names));
    for lan in &base.lan {
        let to = format!("oifname \"{}\"", lan.interface);
        let routed = routed_prefixes(lan).iter();
        rules.extend(routed.map(|it| format!("{to} {} accept", to_prefix(it))));
    }
    rules.push(DROP.to_owned());
    chain("from_mesh", &rules)
}

/// `own` are networks of ours whose hosts the Internet knows by their own addresses.
fn from_tunnel(names: &Names, own: &BTreeSet<Ipv6Net>) -> String {
    let uplink = names.uplink.iter();
    let to_internet = uplink.map(|uplink| format!("oifname {uplink} goto to_internet"));
    let own = own.iter().map(|own| format!("ip6 saddr {own} {DROP}"));
    let rules = [CLAMP.to_owned()].into_iter().chain(own);
    let rules = rules.chain(to_internet);
    let rules = rules.chain([throttle()]).chain(answers_to_lan(names));
    let rules = rules.chain([DROP.to_owned()]);
    chain("from_tunnel", &rules.collect::<Vec<_>>())
}

fn to_internet(attached: &BTreeSet<IpNet>, names: &Names) -> String {
    // As in `from_uplink`.
    if names.uplink.is_none() {
        return String::new();
    }
    // Whoever asks is told, and need not wait.
    let refuse = "counter name dropped reject with icmpx admin-prohibited";
    let v4 = PRIVATE_V4.iter().flat_map(|range| {
        let (bits, length) = (u128::from(range.network().to_bits()), range.prefix_len());
        let behind_nat64 = Ipv6Addr::from_bits(NAT64.to_bits() | bits);
        let by_6to4 = Ipv6Addr::from_bits(SIX_TO_FOUR.to_bits() | bits << 80);
        [
            format!("ip daddr {range}"),
            format!("ip6 daddr {behind_nat64}/{}", 96 + length),
            format!("ip6 daddr {by_6to4}/{}", 16 + length),
        ]
    });
    let v6 = PRIVATE_V6.iter().map(|range| format!("ip6 daddr {range}"));
    let hidden = v4.chain(v6).chain(attached.iter().map(to_prefix));
    let refused = hidden.map(|it| format!("{it} {refuse}"));
    // Almost every packet ends with the first rule.
    let first = ["ct state established accept".to_owned()].into_iter();
    let rules = first.chain(refused).chain(["accept".to_owned()]);
    chain("to_internet", &rules.collect::<Vec<_>>())
}

/// What is between local networks and tunnels may be slowed down.
fn throttle() -> String {
    format!("jump {}", shape::THROTTLED)
}

fn answers_to_lan(names: &Names) -> Option<String> {
    let lan = names.lan.as_ref()?;
    Some(format!("oifname {lan} {IS_ANSWER} accept"))
}

fn from_uplink(names: &Names) -> String {
    // A rule that nothing comes to would have every connection tracked as well.
    if names.outside.is_none() {
        return String::new();
    }
    let rules = [
        CLAMP.to_owned(),
        format!("{IS_ANSWER} accept"),
        "ct status dnat accept".to_owned(),
        format!("oifname {} {DROP}", names.inside),
    ];
    chain("from_uplink", &rules)
}

/// Where there is nothing to translate there must be no such chain: an empty one has the kernel
/// track every connection. Only the first packet of a flow passes it, and no chain behind it if it is
/// translated here: so it comes before those of others (at 100), who do not say which line a flow has.
fn translate(wanted: Wanted<'_>, names: &Names) -> Option<String> {
    let Wanted { setup, base, .. } = wanted;
    let into_the_mesh = |lan| lan_to_mesh(setup, base, names, lan);
    let mut rules: Vec<String> = base.lan.iter().flat_map(into_the_mesh).collect();
    rules.extend(to_uplink(wanted, names));
    let is_needed = !rules.is_empty();
    is_needed.then(|| base_chain(TRANSLATE, "nat", "postrouting", 99, &rules))
}

/// What does not keep its own address gets one of ours. Mesh interfaces have no IPv4 address, and
/// only link-local ones of IPv6, so it must be given there. Tunnels have both; and a flow that is
/// masqueraded begins anew when its way leads elsewhere, instead of taking the address along.
fn lan_to_mesh(setup: &Setup, base: &Base, names: &Names, lan: &Lan) -> [String; 4] {
    let (from, mesh) = (&lan.interface, &names.mesh);
    let others = |of: &str| {
        let kept = routed_prefixes(lan).iter().filter(|it| family(it) == of);
        let others = kept.map(|it| format!("{of} saddr != {} ", it.trunc()));
        others.collect::<String>()
    };
    let (others4, others6) = (others("ip"), others("ip6"));
    let (own4, own6) = (base.mesh_ipv4, setup.mesh_ipv6());
    let into_tunnel = format!("iifname \"{from}\" oifname {}", names.tunnels);
    [
        format!("{into_tunnel} meta nfproto ipv4 {others4}masquerade"),
        format!("{into_tunnel} meta nfproto ipv6 {others6}masquerade"),
        format!("iifname \"{from}\" oifname {mesh} {others4}snat ip to {own4}"),
        format!("iifname \"{from}\" oifname {mesh} {others6}snat ip6 to {own6}"),
    ]
}

fn to_uplink(wanted: Wanted<'_>, names: &Names) -> Vec<String> {
    let tunnels = &names.tunnels;
    let marking = |from: &str| wanted.lines.marking(&wanted.setup.numbers, from);
    let marking = names.uplink.iter().flat_map(|_| {
        let from = [Some(tunnels), names.lan.as_ref()];
        from.into_iter().flatten().flat_map(|from| marking(from))
    });
    // What the provider delegated to us it sends back to us.
    let delegated = wanted.surroundings.delegated.iter();
    let kept = delegated.map(|(uplink, prefix)| {
        format!("iifname {tunnels} oifname \"{uplink}\" ip6 saddr {prefix} accept")
    });
    let uplink = names.uplink.iter();
    let from_tunnel = uplink.map(|uplink| format!("iifname {tunnels} oifname {uplink} masquerade"));
    // Local networks with global addresses keep them: they are reached directly (RFC 4193 has the
    // range of those that are not). Also over what is not known to work: the main table leads there.
    let private = ["meta nfproto ipv4", "ip6 saddr fc00::/7"];
    let lan = names.lan.iter().zip(&names.outside);
    let from_lan = lan.flat_map(|(lan, outside)| {
        private.map(|it| format!("iifname {lan} oifname {outside} {it} masquerade"))
    });
    let rules = marking.chain(kept).chain(from_tunnel);
    rules.chain(from_lan).collect()
}

/// Tells whom packets come from and go to, but for what neighbors say to each other: the routing
/// protocol, neighbor discovery. Once for each neighbor, until its set has forgotten it.
fn tell_traffic() -> String {
    let rules = |key: &str, set: &str| {
        [
            // Almost every packet ends here.
            format!("{key} @{set} return"),
            "ip6 saddr fe80::/10 return".to_owned(),
            "ip6 daddr ff00::/8 return".to_owned(),
            format!(
                "add @{set} {{ {key} }} log group {} queue-threshold 1",
                traffic::GROUP
            ),
        ]
    };
    chain("tell_received", &rules(SENDER, traffic::RECEIVED))
        + &chain("tell_sent", &rules(RECEIVER, traffic::SENT))
}

/// The ports of all ends of tunnels, in one comparison.
fn tunnel_ports() -> String {
    let last = usize::from(TUNNEL_PORT) + TUNNEL_DEVICES.len() - 1;
    format!("{TUNNEL_PORT}-{last}")
}

/// The prefixes of a local network whose hosts keep their addresses in the mesh.
fn routed_prefixes(lan: &Lan) -> &[IpNet] {
    match &lan.mode {
        LanMode::Masquerade => &[],
        LanMode::Routed { prefixes } => prefixes,
    }
}

/// The match for packets to a prefix.
fn to_prefix(prefix: &IpNet) -> String {
    format!("{} daddr {}", family(prefix), prefix.trunc())
}

/// How nftables calls the family of a prefix.
const fn family(prefix: &IpNet) -> &'static str {
    match prefix {
        IpNet::V4(_) => "ip",
        IpNet::V6(_) => "ip6",
    }
}
