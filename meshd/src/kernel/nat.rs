//! The nftables table `inet meshd`: filter, address translation, MSS clamping and the counters.
//!
//! Applying it is one transaction. On a table that is there, it drops all rules and adds them
//! anew, but leaves the counter sets alone, so nothing that was counted is lost.
//!
//! | chain | hook, priority | what it does |
//! |---|---|---|
//! | `untracked_in`, `untracked_out` | prerouting, output, -300 | no conntrack entry for tunnel packets: each flow inside has an outer flow of its own, and relays would track them all |
//! | `clamp` | forward, -150 | TCP connections through the tunnel learn its MTU |
//! | `input` | input, 0 | tunnel packets only from the mesh, over the mesh |
//! | `forward` | forward, 0 | who may reach whom; sends packets on to one of the chains below |
//! | `from_mesh` | | other nodes, routed local networks, and answers |
//! | `from_tunnel` | | the uplink, and answers |
//! | `from_lan` | | everything but the inside of the tunnel |
//! | `from_uplink` | | answers, and what the operator's own rules redirect |
//! | `translate` | postrouting, 100 | masquerading local networks, and what leaves the uplink |
//! | `count_in`, `count_on`, `count_out` | input, forward, output, 250 | after all filters, so that only what really goes on is counted |
//! | `traffic_in`, `traffic_out` | prerouting, postrouting, 300 | remembers which neighbors carry traffic |
//!
//! Packets that come from or go to none of our interfaces pass untouched.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use ipnet::IpNet;
use serde_json::{Value, json};

use super::counters::{self, Flow};
use super::netlink::KernelError;
use super::nfnetlink::Nfnetlink;
use super::{Base, LanMode, Setup, TUNNEL_DEVICE, TUNNEL_PORT, Warning, nft, traffic};

/// The name of the table, of family `inet`.
pub(super) const TABLE: &str = "meshd";

/// The set of all gateways' mesh addresses.
const GATEWAYS: &str = "gateways";

/// Neighbors per set: more than any radio can have.
const NEIGHBOR_SET_SIZE: u32 = 4096;

const AFTER_FILTERS: i32 = 250;

/// Where it disturbs nobody: nothing is decided by it.
const LAST: i32 = 300;

/// Makes the table what `base` asks for. `gateways` replaces the addresses in the set, if given.
///
/// # Errors
/// When `nft` is missing or refuses; the table is then as it was.
pub(super) async fn apply(
    setup: &Setup,
    base: &Base,
    gateways: Option<&BTreeSet<Ipv6Addr>>,
    nfnetlink: &mut Nfnetlink,
) -> Result<Option<Warning>, KernelError> {
    let found = nfnetlink.sets()?;
    let had_counters = Flow::ALL
        .iter()
        .any(|flow| found.contains_key(flow.set_name()));
    let commands = table(setup, base, gateways, |set| found.contains_key(set));
    let error = match nft::apply(&setup.nft, commands).await {
        Err(error @ KernelError::NftRefused(_)) => error,
        result => return result.map(|()| None),
    };
    // What is there can't be changed to what is wanted: it is another version's table, or
    // somebody meddled with it.
    let mut commands = vec![
        add("table", json!({})),
        json!({"delete": {"table": named(TABLE)}}),
    ];
    commands.extend(table(setup, base, gateways, |_| false));
    nft::apply(&setup.nft, commands).await?;
    Ok(had_counters.then_some(Warning::CountersReset(error)))
}

/// Replaces the addresses of gateways.
pub(super) async fn set_gateways(
    setup: &Setup,
    gateways: &BTreeSet<Ipv6Addr>,
) -> Result<(), KernelError> {
    nft::apply(&setup.nft, gateway_elements(gateways)).await
}

/// Removes the table, if it is there.
pub(super) async fn remove(setup: &Setup) -> Result<(), KernelError> {
    let commands = vec![
        add("table", json!({})),
        json!({"delete": {"table": named(TABLE)}}),
    ];
    nft::apply(&setup.nft, commands).await
}

fn table(
    setup: &Setup,
    base: &Base,
    gateways: Option<&BTreeSet<Ipv6Addr>>,
    has_set: impl Fn(&str) -> bool,
) -> Vec<Value> {
    let interfaces = Interfaces::new(base);
    let mut commands = vec![
        add("table", json!({})),
        json!({"flush": {"table": named(TABLE)}}),
        add("counter", json!({"name": "dropped"})),
        add("counter", json!({"name": counters::COUNTER})),
        add("counter", json!({"name": traffic::COUNTER})),
        add("set", json!({"name": GATEWAYS, "type": "ipv6_addr"})),
    ];
    // nft adds the flag `dynamic` to sets in JSON by itself, but only where the rule that fills
    // them is in the same transaction, and a set that is there can't be added without it.
    commands.extend(
        Flow::ALL
            .into_iter()
            .filter(|flow| !has_set(flow.set_name()))
            .map(counter_set),
    );
    let traffic_sets = [(traffic::RECEIVED, MAC), (traffic::SENT, ADDRESS)];
    let missing = traffic_sets.into_iter().filter(|(set, _)| !has_set(set));
    commands.extend(missing.map(|(set, address)| traffic_set(set, address)));
    commands.extend(gateways.into_iter().flat_map(gateway_elements));
    commands.extend(untracked(setup, &interfaces));
    commands.extend(clamp());
    commands.extend(input(setup, &interfaces));
    commands.extend(forward(setup, base, &interfaces));
    commands.extend(translate(setup, base, &interfaces));
    commands.extend(count(&interfaces));
    commands.extend(remember_traffic(&interfaces));
    commands
}

/// How nftables calls Ethernet addresses.
const MAC: &str = "ether_addr";

/// How nftables calls IPv6 addresses.
const ADDRESS: &str = "ipv6_addr";

fn traffic_set(name: &str, address: &str) -> Value {
    add(
        "set",
        json!({
            "name": name,
            "type": ["iface_index", address],
            "size": NEIGHBOR_SET_SIZE,
            "flags": ["timeout"],
            "timeout": traffic::MEMORY_SECONDS,
        }),
    )
}

fn counter_set(flow: Flow) -> Value {
    let address = if flow.is_received() { MAC } else { ADDRESS };
    add(
        "set",
        json!({
            "name": flow.set_name(),
            "type": ["iface_index", address],
            "size": NEIGHBOR_SET_SIZE,
            "stmt": [{"counter": null}],
        }),
    )
}

fn gateway_elements(gateways: &BTreeSet<Ipv6Addr>) -> Vec<Value> {
    let flush = json!({"flush": {"set": {"family": "inet", "table": TABLE, "name": GATEWAYS}}});
    let elements = add("element", json!({"name": GATEWAYS, "elem": gateways}));
    if gateways.is_empty() {
        vec![flush]
    } else {
        vec![flush, elements]
    }
}

/// Our interfaces by what they are for.
struct Interfaces<'a> {
    mesh: Vec<&'a str>,
    /// The mesh interfaces and the tunnel: where local networks are translated.
    mesh_and_tunnel: Vec<&'a str>,
    lan: Vec<&'a str>,
    uplink: Option<&'a str>,
}

impl<'a> Interfaces<'a> {
    fn new(base: &'a Base) -> Self {
        let mesh: Vec<&str> = base.mesh.iter().map(String::as_str).collect();
        Self {
            mesh_and_tunnel: mesh.iter().copied().chain([TUNNEL_DEVICE]).collect(),
            mesh,
            lan: base.lan.iter().map(|lan| lan.interface.as_str()).collect(),
            uplink: base.uplink.as_deref(),
        }
    }
}

fn untracked(setup: &Setup, interfaces: &Interfaces<'_>) -> Vec<Value> {
    let tunnel_packet = |interface: Value| {
        let prefix = IpNet::V6(setup.mesh_prefix);
        vec![
            interface,
            within("saddr", prefix),
            within("daddr", prefix),
            to_tunnel_port(),
        ]
    };
    vec![
        base_chain("untracked_in", "filter", "prerouting", -300),
        rule(
            "untracked_in",
            tunnel_packet(from(&interfaces.mesh)),
            json!({"notrack": null}),
        ),
        base_chain("untracked_out", "filter", "output", -300),
        rule(
            "untracked_out",
            tunnel_packet(to(&interfaces.mesh)),
            json!({"notrack": null}),
        ),
    ]
}

fn clamp() -> Vec<Value> {
    let syn = json!({"match": {
        "op": "==",
        "left": {"&": [{"payload": {"protocol": "tcp", "field": "flags"}}, ["syn", "rst"]]},
        "right": "syn",
    }});
    // The kernel looks at the way back too, and never raises the value (net/netfilter/nft_rt.c,
    // nft_exthdr.c).
    let clamp = json!({"mangle": {
        "key": {"tcp option": {"name": "maxseg", "field": "size"}},
        "value": {"rt": {"key": "mtu"}},
    }});
    vec![
        base_chain("clamp", "filter", "forward", -150),
        rule(
            "clamp",
            vec![from(&[TUNNEL_DEVICE]), syn.clone()],
            clamp.clone(),
        ),
        rule("clamp", vec![to(&[TUNNEL_DEVICE]), syn], clamp),
    ]
}

/// Whatever is sent to the tunnel's port ends in our device, which believes everything.
fn input(setup: &Setup, interfaces: &Interfaces<'_>) -> Vec<Value> {
    let from_the_mesh = vec![
        to_tunnel_port(),
        from(&interfaces.mesh),
        within("saddr", IpNet::V6(setup.mesh_prefix)),
        within(
            "daddr",
            IpNet::from(std::net::IpAddr::V6(setup.mesh_ipv6())),
        ),
    ];
    vec![
        base_chain("input", "filter", "input", 0),
        rule("input", from_the_mesh, accept()),
        dropped("input", vec![to_tunnel_port()]),
    ]
}

fn forward(setup: &Setup, base: &Base, interfaces: &Interfaces<'_>) -> Vec<Value> {
    let mut commands = vec![base_chain("forward", "filter", "forward", 0)];
    for chain in ["from_mesh", "from_tunnel", "from_lan", "from_uplink"] {
        commands.push(add("chain", json!({"name": chain})));
    }
    let uplink: Vec<&str> = interfaces.uplink.into_iter().collect();
    let tunnel = vec![TUNNEL_DEVICE];
    for (names, chain) in [
        (&interfaces.mesh, "from_mesh"),
        (&tunnel, "from_tunnel"),
        (&interfaces.lan, "from_lan"),
        (&uplink, "from_uplink"),
    ] {
        if !names.is_empty() {
            commands.push(rule(
                "forward",
                vec![from(names)],
                json!({"goto": {"target": chain}}),
            ));
        }
    }
    // Only our own local networks may use the mesh.
    commands.push(dropped("forward", vec![to(&interfaces.mesh_and_tunnel)]));
    commands.extend(from_mesh(base, interfaces));
    commands.extend(from_tunnel(interfaces));
    // A local host must not speak to other nodes' tunnels: it would appear there as this node.
    let into_a_tunnel = vec![
        within("daddr", IpNet::V6(setup.mesh_prefix)),
        to_tunnel_port(),
    ];
    commands.push(dropped("from_lan", into_a_tunnel));
    commands.extend(from_uplink(interfaces));
    commands
}

fn from_mesh(base: &Base, interfaces: &Interfaces<'_>) -> Vec<Value> {
    let mut commands = vec![rule("from_mesh", vec![to(&interfaces.mesh)], accept())];
    commands.extend(answers_to_lan("from_mesh", interfaces));
    for lan in &base.lan {
        let LanMode::Routed { prefixes } = &lan.mode else {
            continue;
        };
        for &prefix in prefixes {
            let matches = vec![to(&[&lan.interface]), within("daddr", prefix)];
            commands.push(rule("from_mesh", matches, accept()));
        }
    }
    commands.push(dropped("from_mesh", vec![]));
    commands
}

fn from_tunnel(interfaces: &Interfaces<'_>) -> Vec<Value> {
    let uplink = interfaces
        .uplink
        .map(|uplink| rule("from_tunnel", vec![to(&[uplink])], accept()));
    uplink
        .into_iter()
        .chain(answers_to_lan("from_tunnel", interfaces))
        .chain([dropped("from_tunnel", vec![])])
        .collect()
}

fn answers_to_lan(chain: &str, interfaces: &Interfaces<'_>) -> Option<Value> {
    let lan = &interfaces.lan;
    (!lan.is_empty()).then(|| rule(chain, vec![to(lan), is_answer()], accept()))
}

fn from_uplink(interfaces: &Interfaces<'_>) -> Vec<Value> {
    let mut ours = interfaces.mesh_and_tunnel.clone();
    ours.extend(&interfaces.lan);
    let redirected = compare("in", json!({"ct": {"key": "status"}}), json!("dnat"));
    vec![
        rule("from_uplink", vec![is_answer()], accept()),
        rule("from_uplink", vec![redirected], accept()),
        dropped("from_uplink", vec![to(&ours)]),
    ]
}

fn translate(setup: &Setup, base: &Base, interfaces: &Interfaces<'_>) -> Vec<Value> {
    let mut commands = vec![base_chain("translate", "nat", "postrouting", 100)];
    for lan in &base.lan {
        let prefixes = match &lan.mode {
            LanMode::Masquerade => &[],
            LanMode::Routed { prefixes } => prefixes.as_slice(),
        };
        let into_the_mesh = [from(&[&lan.interface]), to(&interfaces.mesh_and_tunnel)];
        let is_v4 = |prefix: &IpNet| matches!(prefix, IpNet::V4(_));
        let (v4, v6): (Vec<IpNet>, Vec<IpNet>) = prefixes.iter().copied().partition(is_v4);
        // Mesh interfaces have no IPv4 address, and only link-local ones of IPv6: the address
        // must be given.
        for (prefixes, family, address) in [
            (v4, "ip", base.mesh_ipv4.to_string()),
            (v6, "ip6", setup.mesh_ipv6().to_string()),
        ] {
            let own = prefixes.iter().map(|&prefix| outside("saddr", prefix));
            let matches = into_the_mesh.iter().cloned().chain(own).collect();
            let translate = json!({"snat": {"family": family, "addr": address}});
            commands.push(rule("translate", matches, translate));
        }
    }
    commands.extend(
        interfaces
            .uplink
            .into_iter()
            .flat_map(|uplink| to_uplink(uplink, interfaces)),
    );
    commands
}

fn to_uplink(uplink: &str, interfaces: &Interfaces<'_>) -> Vec<Value> {
    let masquerade = || json!({"masquerade": null});
    let from_tunnel = vec![from(&[TUNNEL_DEVICE]), to(&[uplink])];
    let mut commands = vec![rule("translate", from_tunnel, masquerade())];
    if !interfaces.lan.is_empty() {
        let ipv4 = compare("==", json!({"meta": {"key": "nfproto"}}), json!("ipv4"));
        // Local networks with global addresses keep them: they are reached directly (RFC 4193
        // has the range of those that are not).
        let unique_local = compare(
            "==",
            json!({"payload": {"protocol": "ip6", "field": "saddr"}}),
            json!({"prefix": {"addr": "fc00::", "len": 7}}),
        );
        for source in [ipv4, unique_local] {
            let matches = vec![from(&interfaces.lan), to(&[uplink]), source];
            commands.push(rule("translate", matches, masquerade()));
        }
    }
    commands
}

/// Counts tunnel packets to (`up`) and from (`down`) gateways, where they come from a neighbor
/// and where they are sent to one: at both ends of a hop the same packets.
fn count(interfaces: &Interfaces<'_>) -> Vec<Value> {
    let mut commands = vec![
        add("chain", json!({"name": "count_received"})),
        add("chain", json!({"name": "count_sent"})),
        base_chain("count_in", "filter", "input", AFTER_FILTERS),
        base_chain("count_on", "filter", "forward", AFTER_FILTERS),
        base_chain("count_out", "filter", "output", AFTER_FILTERS),
    ];
    let received = || vec![from(&interfaces.mesh), to_tunnel_port()];
    let sent = || vec![to(&interfaces.mesh), to_tunnel_port()];
    let jump = |chain: &str| json!({"jump": {"target": chain}});
    commands.push(rule("count_in", received(), jump("count_received")));
    commands.push(rule("count_on", received(), jump("count_received")));
    commands.push(rule("count_on", sent(), jump("count_sent")));
    commands.push(rule("count_out", sent(), jump("count_sent")));
    for flow in Flow::ALL {
        let (chain, key) = if flow.is_received() {
            ("count_received", sender())
        } else {
            ("count_sent", receiver())
        };
        let field = if flow.is_up() { "daddr" } else { "saddr" };
        let gateway = compare(
            "==",
            json!({"payload": {"protocol": "ip6", "field": field}}),
            json!(format!("@{GATEWAYS}")),
        );
        let set = format!("@{}", flow.set_name());
        let count = json!({"set": {"op": "add", "elem": {"concat": key}, "set": set}});
        let total = json!({"counter": counters::COUNTER});
        commands.push(rule(chain, vec![gateway.clone(), count], total));
        if flow.is_up() {
            // Between two gateways it is up at both ends, and nowhere both.
            commands.push(rule(chain, vec![gateway], json!({"return": null})));
        }
    }
    commands
}

/// Remembers whom packets come from and go to, but for what neighbors say to each other: the
/// routing protocol, neighbor discovery.
fn remember_traffic(interfaces: &Interfaces<'_>) -> Vec<Value> {
    let address = |field: &str, prefix: Value| {
        let field = json!({"payload": {"protocol": "ip6", "field": field}});
        compare("==", field, json!({"prefix": prefix}))
    };
    let among_neighbors = [
        address("saddr", json!({"addr": "fe80::", "len": 10})),
        address("daddr", json!({"addr": "ff00::", "len": 8})),
    ];
    let mut commands = Vec::new();
    for (chain, hook, at_mesh, key, set) in [
        (
            "traffic_in",
            "prerouting",
            from(&interfaces.mesh),
            sender(),
            traffic::RECEIVED,
        ),
        (
            "traffic_out",
            "postrouting",
            to(&interfaces.mesh),
            receiver(),
            traffic::SENT,
        ),
    ] {
        commands.push(base_chain(chain, "filter", hook, LAST));
        for among_neighbors in &among_neighbors {
            let matches = vec![at_mesh.clone(), among_neighbors.clone()];
            commands.push(rule(chain, matches, json!({"return": null})));
        }
        let set = format!("@{set}");
        let remember = json!({"set": {"op": "update", "elem": {"concat": key}, "set": set}});
        let counted = json!({"counter": traffic::COUNTER});
        commands.push(rule(chain, vec![at_mesh, remember], counted));
    }
    commands
}

// What the rules are made of.

/// Whom a packet comes from: an interface and an Ethernet address.
fn sender() -> Value {
    let source = json!({"payload": {"protocol": "ether", "field": "saddr"}});
    json!([{"meta": {"key": "iif"}}, source])
}

/// Whom an IPv6 packet is sent to: an interface and a link-local address.
fn receiver() -> Value {
    let next_hop = json!({"rt": {"key": "nexthop", "family": "ip6"}});
    json!([{"meta": {"key": "oif"}}, next_hop])
}

fn add(kind: &str, mut object: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.insert("family".to_owned(), json!("inet"));
        let table = if kind == "table" { "name" } else { "table" };
        fields.insert(table.to_owned(), json!(TABLE));
    }
    json!({"add": {kind: object}})
}

fn named(name: &str) -> Value {
    json!({"family": "inet", "name": name})
}

fn base_chain(name: &str, kind: &str, hook: &str, priority: i32) -> Value {
    add(
        "chain",
        json!({"name": name, "type": kind, "hook": hook, "prio": priority, "policy": "accept"}),
    )
}

fn rule(chain: &str, mut matches: Vec<Value>, verdict: Value) -> Value {
    matches.push(verdict);
    add("rule", json!({"chain": chain, "expr": matches}))
}

fn dropped(chain: &str, mut matches: Vec<Value>) -> Value {
    matches.push(json!({"counter": "dropped"}));
    rule(chain, matches, json!({"drop": null}))
}

fn accept() -> Value {
    json!({"accept": null})
}

fn compare(op: &str, left: Value, right: Value) -> Value {
    json!({"match": {"op": op, "left": left, "right": right}})
}

/// Packets that came in at one of these interfaces. By name: an interface may come later, or
/// come again with another index.
fn from(interfaces: &[&str]) -> Value {
    compare(
        "==",
        json!({"meta": {"key": "iifname"}}),
        json!({"set": interfaces}),
    )
}

/// Packets that go out at one of these interfaces.
fn to(interfaces: &[&str]) -> Value {
    compare(
        "==",
        json!({"meta": {"key": "oifname"}}),
        json!({"set": interfaces}),
    )
}

fn to_tunnel_port() -> Value {
    let port = json!({"payload": {"protocol": "udp", "field": "dport"}});
    compare("==", port, json!(TUNNEL_PORT))
}

fn is_answer() -> Value {
    compare(
        "in",
        json!({"ct": {"key": "state"}}),
        json!(["established", "related"]),
    )
}

fn within(field: &str, prefix: IpNet) -> Value {
    address("==", field, prefix)
}

fn outside(field: &str, prefix: IpNet) -> Value {
    address("!=", field, prefix)
}

fn address(op: &str, field: &str, prefix: IpNet) -> Value {
    let protocol = match prefix {
        IpNet::V4(_) => "ip",
        IpNet::V6(_) => "ip6",
    };
    let network = json!({"prefix": {"addr": prefix.network(), "len": prefix.prefix_len()}});
    compare(
        op,
        json!({"payload": {"protocol": protocol, "field": field}}),
        network,
    )
}
