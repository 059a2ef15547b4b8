//! Routes: to neighbors in one table of ours, by reference to next hop objects, which serve both
//! families; into tunnels in the others.
//!
//! Replacing is one message, so there is no moment without a route. It works because all our
//! routes are alike in what the kernel matches them by, metric and type of service, and no prefix
//! has two (IPv6 looks first for a route of the same kind, with an object or with a gateway of its
//! own, and if there is none takes the other: `fib6_add_rt2node` in net/ipv6/ip6_fib.c).

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "netlink attributes are an open set"
)]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mesh_proto::rib::RouteKey;
use mesh_proto::{IfIndex, OriginatorId, Table, Target, Tunnel};
use nix::errno::Errno;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteIp6Tunnel, RouteLwEnCapType, RouteLwTunnelEncap,
    RouteMessage, RouteNextHop, RouteProtocol, RouteScope, RouteType, RouteVia,
};
use rtnetlink::{Handle, RouteMessageBuilder};

use super::netlink::{KernelError, ask, dump};
use super::nexthop::ObjectId;
use super::tunnel::Tunnels;
use super::{Numbers, ROUTE_PROTOCOL, Setup, VNI_DOWN, VNI_UP, uplink};

/// The metric of all our routes: the kernel's own default for IPv6, spelled out for both families.
const METRIC: u32 = 1024;

/// How many relays a tunnel may pass: the kernel's default is 0, with which packets are dropped
/// without a word.
const TUNNEL_HOP_LIMIT: u8 = 64;

const FAMILIES: [AddressFamily; 2] = [AddressFamily::Inet, AddressFamily::Inet6];

/// A route as it stands in the kernel: with the source address that was ours when it was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Present {
    pub(super) target: Target,
    pub(super) source: IpAddr,
    /// The object it refers to; earlier versions of the daemon set routes without.
    pub(super) object: Option<ObjectId>,
}

/// How a route leads to its target.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// By reference to a next hop object.
    Object(ObjectId),
    /// Through the device of VXLAN, encapsulated.
    Vxlan {
        /// The other end.
        peer: OriginatorId,
        /// The device.
        device: IfIndex,
    },
    /// Into a device that knows whom packets are for.
    Device(IfIndex),
}

/// What a dump found in our tables under our protocol number.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Routes as we would set them.
    pub(super) routes: Vec<(RouteKey, Present)>,
    /// Everything else.
    pub(super) unknown: Vec<RouteMessage>,
}

/// What is known of where routes lead.
#[derive(Clone, Copy)]
pub(super) struct Ends<'a> {
    pub(super) setup: &'a Setup,
    /// Where our next hop objects lead.
    pub(super) objects: &'a BTreeMap<ObjectId, Target>,
    pub(super) tunnels: &'a Tunnels,
}

/// Lists our routes.
pub(super) async fn list(handle: &Handle, ends: Ends<'_>) -> Result<Found, KernelError> {
    let mut found = Found::default();
    for family in FAMILIES {
        for message in dump_ours(handle, family).await? {
            let Some(table) = ends.setup.numbers.table_at(table_of(&message)) else {
                continue;
            };
            match parse(&message, table, ends) {
                Some(route) => found.routes.push(route),
                None => found.unknown.push(message),
            }
        }
    }
    Ok(found)
}

/// Lists what has our protocol number, in whatever table.
async fn dump_ours(
    handle: &Handle,
    family: AddressFamily,
) -> Result<Vec<RouteMessage>, KernelError> {
    let mut filter = RouteMessage::default();
    filter.header.address_family = family;
    filter.header.protocol = RouteProtocol::from(ROUTE_PROTOCOL);
    let mut messages = dump("list routes", handle.route().get(filter).execute()).await?;
    messages.retain(|message| message.header.protocol == RouteProtocol::from(ROUTE_PROTOCOL));
    Ok(messages)
}

/// Lists what is in one table, whoever put it there.
pub(super) async fn dump_table(
    handle: &Handle,
    family: AddressFamily,
    table: u32,
) -> Result<Vec<RouteMessage>, KernelError> {
    let mut filter = RouteMessage::default();
    filter.header.address_family = family;
    filter.attributes.push(RouteAttribute::Table(table));
    match dump("list routes", handle.route().get(filter).execute()).await {
        // A table without routes may not exist.
        Err(error) if error.is_errno(&[Errno::ENOENT]) => Ok(Vec::new()),
        Err(error) => Err(error),
        Ok(mut messages) => {
            messages.retain(|message| table_of(message) == table);
            Ok(messages)
        }
    }
}

/// Lists the default routes of all tables that others have set.
pub(super) async fn dump_defaults(handle: &Handle) -> Result<Vec<RouteMessage>, KernelError> {
    let mut all = Vec::new();
    for family in FAMILIES {
        let mut filter = RouteMessage::default();
        filter.header.address_family = family;
        all.extend(dump("list routes", handle.route().get(filter).execute()).await?);
        all.retain(uplink::is_default);
    }
    Ok(all)
}

/// What a route under our protocol number in our tables is found by.
pub(super) fn key_of(numbers: &Numbers, message: &RouteMessage) -> Option<RouteKey> {
    let table = numbers.table_at(table_of(message))?;
    let is_ours = message.header.protocol == RouteProtocol::from(ROUTE_PROTOCOL);
    Some((table, prefix(message)?)).filter(|_| is_ours)
}

/// The table a route stands in.
pub(super) fn table_of(message: &RouteMessage) -> u32 {
    find(message, |attribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    })
    .unwrap_or(u32::from(message.header.table))
}

/// The first attribute of a route message that `pick` picks.
pub(super) fn find<T>(
    message: &RouteMessage,
    pick: impl FnMut(&RouteAttribute) -> Option<T>,
) -> Option<T> {
    message.attributes.iter().find_map(pick)
}

/// The interface a route leads to.
pub(super) fn interface_of(message: &RouteMessage) -> Option<IfIndex> {
    find(message, |attribute| match attribute {
        RouteAttribute::Oif(index) => Some(IfIndex(*index)),
        _ => None,
    })
}

/// The next hops of a route with several.
pub(super) fn hops_of(message: &RouteMessage) -> Option<Vec<RouteNextHop>> {
    find(message, |attribute| match attribute {
        RouteAttribute::MultiPath(hops) => Some(hops.clone()),
        _ => None,
    })
}

/// The metric of a route; without an attribute it is 0.
pub(super) fn metric_of(message: &RouteMessage) -> u32 {
    find(message, |attribute| match attribute {
        RouteAttribute::Priority(metric) => Some(*metric),
        _ => None,
    })
    .unwrap_or_default()
}

/// The sources that a route is for, if it is for some only. The kernel knows such of IPv6 only.
pub(super) fn source_of(message: &RouteMessage) -> Option<Ipv6Net> {
    let source = find(message, |attribute| match attribute {
        RouteAttribute::Source(RouteAddress::Inet6(source)) => Some(*source),
        _ => None,
    })?;
    let prefix = Ipv6Net::new(source, message.header.source_prefix_length).ok()?;
    Some(prefix.trunc())
}

/// Adds a route, or replaces the one for its prefix.
pub(super) async fn set(
    handle: &Handle,
    setup: &Setup,
    key: RouteKey,
    way: Way,
    source: IpAddr,
) -> Result<(), KernelError> {
    let message = emit(setup, key, way, source);
    let request = handle.route().add(message).replace().execute();
    ask(|| setting(&setup.numbers, key), request).await
}

/// What is done when a route is set, for errors.
pub(super) fn setting(numbers: &Numbers, key: RouteKey) -> String {
    format!("set route {}", describe(numbers, key))
}

/// Removes a route, if it is there.
pub(super) async fn remove(
    handle: &Handle,
    numbers: &Numbers,
    key: RouteKey,
) -> Result<(), KernelError> {
    let action = || format!("remove route {}", describe(numbers, key));
    match delete(handle, header(numbers, key), action).await {
        Err(error) if error.is_errno(&[Errno::ESRCH]) => Ok(()),
        result => result,
    }
}

/// Removes a route as a dump had it.
pub(super) async fn delete(
    handle: &Handle,
    mut message: RouteMessage,
    action: impl Fn() -> String,
) -> Result<(), KernelError> {
    let is_reference = |attribute: &RouteAttribute| matches!(attribute, RouteAttribute::NhId(_));
    if message.attributes.iter().any(is_reference) {
        // Where the object leads is in a dump, but refused in a request.
        message.attributes.retain(|attribute| {
            !matches!(
                attribute,
                RouteAttribute::Via(_) | RouteAttribute::Gateway(_) | RouteAttribute::Oif(_)
            )
        });
    }
    ask(action, handle.route().del(message).execute()).await
}

fn describe(numbers: &Numbers, (table, prefix): RouteKey) -> String {
    format!("{prefix} in table {}", numbers.table(table))
}

fn header(numbers: &Numbers, (table, prefix): RouteKey) -> RouteMessage {
    let message = match prefix {
        IpNet::V4(prefix) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(prefix.network(), prefix.prefix_len())
            .build(),
        IpNet::V6(prefix) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(prefix.network(), prefix.prefix_len())
            .build(),
    };
    let mut message = message;
    message.header.table = 0;
    message.header.protocol = RouteProtocol::from(ROUTE_PROTOCOL);
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    message
        .attributes
        .push(RouteAttribute::Table(numbers.table(table)));
    message.attributes.push(RouteAttribute::Priority(METRIC));
    message
}

fn emit(setup: &Setup, key: RouteKey, way: Way, source: IpAddr) -> RouteMessage {
    let mut message = header(&setup.numbers, key);
    message.attributes.extend(match way {
        Way::Object(id) => vec![RouteAttribute::NhId(id.number())],
        Way::Vxlan { peer, device } => through_vxlan(setup, key, peer, device),
        Way::Device(device) => vec![RouteAttribute::Oif(device.0)],
    });
    message
        .attributes
        .push(RouteAttribute::PrefSource(match source {
            IpAddr::V4(address) => RouteAddress::Inet(address),
            IpAddr::V6(address) => RouteAddress::Inet6(address),
        }));
    message
}

fn through_vxlan(
    setup: &Setup,
    (_, prefix): RouteKey,
    peer: OriginatorId,
    device: IfIndex,
) -> Vec<RouteAttribute> {
    let via = peer.tunnel_next_hop();
    let encap = parameters(setup, peer, prefix);
    vec![
        RouteAttribute::EncapType(RouteLwEnCapType::Ip6),
        RouteAttribute::Encap(encap.map(RouteLwTunnelEncap::Ip6).to_vec()),
        match prefix {
            IpNet::V4(_) => RouteAttribute::Via(RouteVia::Inet6(via)),
            IpNet::V6(_) => RouteAttribute::Gateway(RouteAddress::Inet6(via)),
        },
        RouteAttribute::Oif(device.0),
    ]
}

fn parameters(setup: &Setup, peer: OriginatorId, prefix: IpNet) -> [RouteIp6Tunnel; 4] {
    [
        RouteIp6Tunnel::Id(u64::from(vni(prefix))),
        RouteIp6Tunnel::Destination(setup.mesh_address_of(peer)),
        RouteIp6Tunnel::Source(setup.mesh_ipv6()),
        RouteIp6Tunnel::Hoplimit(TUNNEL_HOP_LIMIT),
    ]
}

/// What tells nodes on the way the direction: only the Internet is behind a gateway, and only a gateway has
/// tunnels to anything else.
fn vni(prefix: IpNet) -> u32 {
    match prefix.prefix_len() {
        0 => VNI_UP,
        _ => VNI_DOWN,
    }
}

/// Reads a route of ours back; none if we would not have set it like this.
fn parse(message: &RouteMessage, table: Table, ends: Ends<'_>) -> Option<(RouteKey, Present)> {
    let usual = message.header.kind == RouteType::Unicast
        && message.header.tos == 0
        && metric_of(message) == METRIC;
    let prefix = prefix(message).filter(|_| usual)?;
    let source = find(message, |attribute| match attribute {
        RouteAttribute::PrefSource(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::PrefSource(RouteAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    })?;
    let reference = find(message, |attribute| match attribute {
        RouteAttribute::NhId(number) => Some(*number),
        _ => None,
    });
    // Whether the kernel also says where an object leads depends on a sysctl
    // (net.ipv4.nexthop_compat_mode).
    let (target, object) = match reference {
        Some(number) => {
            let object = ObjectId::of_route(number)?;
            (*ends.objects.get(&object)?, Some(object))
        }
        None => (own_target(message, prefix, ends)?, None),
    };
    let present = Present {
        target,
        source,
        object,
    };
    let source_is_ours = source.is_ipv4() || source == IpAddr::V6(ends.setup.mesh_ipv6());
    source_is_ours.then_some(((table, prefix), present))
}

/// Where a route leads that refers to no object.
fn own_target(message: &RouteMessage, prefix: IpNet, ends: Ends<'_>) -> Option<Target> {
    let ifindex = interface_of(message)?;
    if let Some((peer, key)) = ends.tunnels.peer_behind(ifindex, prefix) {
        let tunnel = Tunnel::Wireguard(key);
        return Some(Target::Tunnel { peer, tunnel });
    }
    let setup = ends.setup;
    let via = find(message, |attribute| match attribute {
        RouteAttribute::Via(RouteVia::Inet6(via))
        | RouteAttribute::Gateway(RouteAddress::Inet6(via)) => Some(*via),
        _ => None,
    })?;
    let Some(encap) = encap_of(message) else {
        return Some(Target::NextHop { via, ifindex });
    };
    let to = |part: &RouteIp6Tunnel| match part {
        RouteIp6Tunnel::Destination(address) => Some(*address),
        _ => None,
    };
    let peer = setup.node_at(encap.iter().find_map(to)?)?;
    let wanted = parameters(setup, peer, prefix);
    let ours = wanted.iter().all(|it| encap.contains(it)) && via == peer.tunnel_next_hop();
    let tunnel = Tunnel::Vxlan;
    ours.then_some(Target::Tunnel { peer, tunnel })
}

/// What a route leads to.
pub(super) fn prefix(message: &RouteMessage) -> Option<IpNet> {
    let length = message.header.destination_prefix_length;
    let destination = find(message, |attribute| match attribute {
        RouteAttribute::Destination(address) => Some(address.clone()),
        _ => None,
    });
    match (message.header.address_family, destination) {
        (AddressFamily::Inet, Some(RouteAddress::Inet(address))) => {
            Ipv4Net::new(address, length).ok().map(IpNet::V4)
        }
        (AddressFamily::Inet6, Some(RouteAddress::Inet6(address))) => {
            Ipv6Net::new(address, length).ok().map(IpNet::V6)
        }
        (AddressFamily::Inet, None) if length == 0 => Some(IpNet::V4(Ipv4Net::default())),
        (AddressFamily::Inet6, None) if length == 0 => Some(IpNet::V6(Ipv6Net::default())),
        _ => None,
    }
}

/// How a route encapsulates packets, if it does.
fn encap_of(message: &RouteMessage) -> Option<Vec<RouteIp6Tunnel>> {
    let encap = find(message, |attribute| match attribute {
        RouteAttribute::Encap(encap) => Some(encap.clone()),
        _ => None,
    })?;
    // Another kind of encapsulation has no addresses to compare, and is not ours.
    let parts = encap.into_iter().filter_map(|part| match part {
        RouteLwTunnelEncap::Ip6(part) => Some(part),
        _ => None,
    });
    Some(parts.collect())
}
