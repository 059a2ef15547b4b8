//! Default routes that others have set: those over our uplinks, and what is attached to them.
//!
//! The kernel leads to the best of the default routes that all packets ask for, whether that works or not,
//! and an IPv6 route may be for some sources only (a delegated prefix). What others set is theirs; so where
//! it does not lead where it should, the right default route is copied into a table of our own, which
//! is asked first. Where it does, that table is empty: rules of others that lead some elsewhere then go on to
//! be asked before the main table.
//!
//! VPN clients take everything without touching the default route that is there. Some set several routes wider
//! than any network, which together lead everywhere (OpenVPN's `def1` has 0.0.0.0/1 and 128.0.0.0/1). Some have
//! a table of their own, and a rule that all packets ask it before the main table (wg-quick). Both are default
//! routes like others, and better than those of the main table.
//!
//! Each line, up to as many as there are marks, has a table with its default route as well, for what
//! stays with it while another is in use ([`lines`](super::lines)).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mesh_proto::{Family, IfIndex, Mark, Table};
use rtnetlink::Handle;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{
    RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteNextHop, RouteNextHopFlags,
    RouteProtocol, RouteType,
};

use super::netlink::{KernelError, ask};
use super::route::{
    delete, dump_table, hops_of, interface_of, metric_of, prefix, source_of, table_of,
};
use super::{Numbers, ROUTE_PROTOCOL, rule};
use crate::uplink::is_public;

const MAIN_TABLE: u32 = RouteHeader::RT_TABLE_MAIN as u32;

/// The default routes that others have set, of both families.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    routes: BTreeMap<Family, Vec<RouteMessage>>,
    /// The tables that all packets ask, in this order; the main one is the last.
    asked: BTreeMap<Family, Vec<u32>>,
}

impl Defaults {
    /// Those of the main table and some others.
    pub(super) async fn read(handle: &Handle, tables: &BTreeSet<u32>) -> Result<Self, KernelError> {
        let mut all = Self::default();
        for family in Family::BOTH {
            let asked = rule::asked_by_all(handle, family).await?;
            all.asked.insert(family, asked);
            let mut routes = Vec::new();
            for table in [MAIN_TABLE].iter().chain(tables) {
                routes.extend(dump_table(handle, address_family(family), *table).await?);
            }
            routes.retain(is_default);
            routes = whole(routes.into_iter().flat_map(each_hop).collect());
            routes.sort_by_key(|route| all.preference(family, route));
            all.routes.insert(family, routes);
        }
        Ok(all)
    }

    /// Those of a family, as the kernel prefers them; those that only some packets ask for come last.
    pub(super) fn of(&self, family: Family) -> impl Iterator<Item = &RouteMessage> {
        self.routes.get(&family).into_iter().flatten()
    }

    /// What the kernel's choice goes by, the lowest first.
    fn preference(&self, family: Family, route: &RouteMessage) -> impl Ord + use<> {
        let table = table_of(route);
        let asked = self.asked.get(&family).into_iter().flatten();
        let turn = asked.clone().position(|asked| *asked == table);
        let turn = turn.unwrap_or_else(|| asked.count());
        (turn, rank(route), interface_of(route))
    }

    /// Whether all packets ask for a route.
    pub(super) fn is_for_all(&self, family: Family, route: &RouteMessage) -> bool {
        let asked = self.asked.get(&family);
        asked.is_some_and(|asked| asked.contains(&table_of(route)))
    }

    /// The tables that take everything before the main one is asked.
    pub(super) fn taking(&self) -> BTreeSet<(Family, u32)> {
        let all = self.routes.iter().flat_map(|(family, routes)| {
            let taking = routes.iter().filter(|it| self.is_for_all(*family, it));
            taking.map(|route| (*family, table_of(route)))
        });
        all.filter(|(_, table)| *table != MAIN_TABLE).collect()
    }

    /// The best over an interface.
    fn over(&self, family: Family, uplink: IfIndex) -> Option<&RouteMessage> {
        let mut routes = self.of(family);
        routes.find(|route| interface_of(route) == Some(uplink))
    }

    /// Whether there are some over an interface, but none that all packets ask for.
    pub(super) fn are_apart(&self, family: Family, uplink: IfIndex) -> bool {
        self.over(family, uplink)
            .is_some_and(|route| !self.is_for_all(family, route))
    }

    /// The interface that a VPN client leads everything into, if one does.
    pub(super) fn taken_by(&self, family: Family) -> Option<IfIndex> {
        let best = self.of(family).next()?;
        let is_part = best.header.destination_prefix_length > 0;
        let is_taken = self.is_for_all(family, best) && (is_part || !is_in_main(best));
        interface_of(best).filter(|_| is_taken)
    }

    /// The best over an interface, if the kernel by itself does not lead there, or not everything.
    fn missing(&self, family: Family, uplink: IfIndex) -> Option<&RouteMessage> {
        let best = self.of(family).next()?;
        // Between those that are alike it chooses for each flow.
        let alike =
            |route: &&RouteMessage| table_of(route) == table_of(best) && rank(route) == rank(best);
        let leads_there = |route: &RouteMessage| {
            let is_for_all_sources = route.header.source_prefix_length == 0;
            let is_asked = self.is_for_all(family, route);
            is_asked && is_for_all_sources && interface_of(route) == Some(uplink)
        };
        match self.of(family).take_while(alike).all(leads_there) {
            true => None,
            false => self.over(family, uplink),
        }
    }
}

/// What the kernel's choice goes by within a table, the lowest first.
fn rank(route: &RouteMessage) -> (Reverse<u8>, u32) {
    let longest = Reverse(route.header.destination_prefix_length);
    (longest, metric_of(route))
}

/// A route for each next hop of one that may have several.
fn each_hop(mut route: RouteMessage) -> Vec<RouteMessage> {
    let Some(hops) = hops_of(&route) else {
        return vec![route];
    };
    let is_kept = |it: &RouteAttribute| !matches!(it, RouteAttribute::MultiPath(_));
    route.attributes.retain(is_kept);
    let over = |hop: RouteNextHop| {
        let mut route = route.clone();
        if hop.flags.contains(RouteNextHopFlags::Onlink) {
            route.header.flags |= RouteFlags::Onlink;
        }
        let interface = RouteAttribute::Oif(hop.interface_index);
        route.attributes.push(interface);
        route.attributes.extend(hop.attributes);
        route
    };
    hops.into_iter().map(over).collect()
}

/// The longest prefix of parts of a default route: OpenVPN sets 0.0.0.0/1 and 128.0.0.0/1, and of IPv6
/// `::/3`, `2000::/4` and `3000::/4`. Of IPv4 there is nothing to be found in /4 but multicast.
pub(super) const fn longest_part(family: Family) -> u8 {
    match family {
        Family::Ipv4 => 3,
        Family::Ipv6 => 4,
    }
}

/// One for each table and interface that they lead everywhere over: parts of which others are missing are
/// no default route.
fn whole(routes: Vec<RouteMessage>) -> Vec<RouteMessage> {
    let (mut whole, parts): (Vec<_>, Vec<_>) = routes
        .into_iter()
        .partition(|route| route.header.destination_prefix_length == 0);
    let mut by_way: BTreeMap<_, Vec<RouteMessage>> = BTreeMap::new();
    let for_all = |route: &RouteMessage| route.header.source_prefix_length == 0;
    for part in parts.into_iter().filter(for_all) {
        let way = (table_of(&part), interface_of(&part));
        by_way.entry(way).or_default().push(part);
    }
    let complete = by_way
        .into_values()
        .filter(|parts| lead_everywhere(parts))
        .filter_map(|parts| parts.into_iter().min_by_key(rank));
    whole.extend(complete);
    whole
}

/// What is given out of the Internet of IPv6 (RFC 4291 §2.4).
const GIVEN_OUT: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Whether routes lead to the whole Internet.
fn lead_everywhere(parts: &[RouteMessage]) -> bool {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for part in parts.iter().filter_map(prefix) {
        match part {
            IpNet::V4(part) => v4.push(part),
            IpNet::V6(part) => v6.push(part),
        }
    }
    let v6 = Ipv6Net::aggregate(&v6);
    Ipv4Net::aggregate(&v4).contains(&Ipv4Net::default())
        || v6.iter().any(|it| it.contains(&GIVEN_OUT))
}

fn is_in_main(route: &RouteMessage) -> bool {
    table_of(route) == MAIN_TABLE
}

/// Makes the tables of lines what leads over them.
pub(super) async fn reconcile_lines(
    handle: &Handle,
    numbers: &Numbers,
    defaults: &Defaults,
    lines: &BTreeMap<Mark, IfIndex>,
) -> Result<(), KernelError> {
    for mark in Mark::spare() {
        let table = numbers.table(Table::Marked(mark));
        let line = lines.get(&mark);
        for family in Family::BOTH {
            let wanted = line.and_then(|line| defaults.over(family, *line));
            settle(handle, family, table, wanted).await?;
        }
    }
    Ok(())
}

/// The interfaces that the tables of lines lead to.
pub(super) async fn lines(
    handle: &Handle,
    numbers: &Numbers,
) -> Result<BTreeMap<Mark, IfIndex>, KernelError> {
    let mut lines = BTreeMap::new();
    for mark in Mark::spare() {
        let table = numbers.table(Table::Marked(mark));
        for family in Family::BOTH {
            let routes = present(handle, family, table).await?;
            lines.extend(
                routes
                    .iter()
                    .filter_map(|route| Some((mark, interface_of(route)?))),
            );
        }
    }
    Ok(lines)
}

/// Makes the table of the uplink in use, of each family, what the kernel lacks otherwise.
pub(super) async fn reconcile(
    handle: &Handle,
    numbers: &Numbers,
    defaults: &Defaults,
    uplinks: [(Family, Option<IfIndex>); 2],
) -> Result<(), KernelError> {
    for (family, uplink) in uplinks {
        let wanted = uplink.and_then(|uplink| defaults.missing(family, uplink));
        settle(handle, family, numbers.uplink_table(), wanted).await?;
    }
    Ok(())
}

/// Empties all tables of uplinks.
pub(super) async fn remove_everything(
    handle: &Handle,
    numbers: &Numbers,
) -> Result<(), KernelError> {
    let (none, no_uplinks) = (Defaults::default(), Family::BOTH.map(|it| (it, None)));
    reconcile(handle, numbers, &none, no_uplinks).await?;
    reconcile_lines(handle, numbers, &none, &BTreeMap::new()).await
}

/// Whether a route is in a table of uplinks.
pub(super) fn is_in_table_of_ours(numbers: &Numbers, route: &RouteMessage) -> bool {
    let table = table_of(route);
    let mut lines = Mark::spare().map(|mark| numbers.table(Table::Marked(mark)));
    table == numbers.uplink_table() || lines.any(|line| line == table)
}

/// Makes a copy of a default route all that a table has of ours, or empties it.
async fn settle(
    handle: &Handle,
    family: Family,
    table: u32,
    wanted: Option<&RouteMessage>,
) -> Result<(), KernelError> {
    let is_wanted = |route: &RouteMessage| wanted.is_some_and(|wanted| way(wanted) == way(route));
    let mut present = present(handle, family, table).await?;
    if let Some(wanted) = wanted
        && !present.iter().any(is_wanted)
    {
        let action = || "set the default route over an uplink".to_owned();
        let request = handle.route().add(copy(table, wanted)).replace().execute();
        ask(action, request).await?;
        present = self::present(handle, family, table).await?;
    }
    present.retain(|route| !is_wanted(route));
    for route in present {
        let action = || "remove a default route over an uplink".to_owned();
        delete(handle, route, action).await?;
    }
    Ok(())
}

/// What a table has of ours.
async fn present(
    handle: &Handle,
    family: Family,
    table: u32,
) -> Result<Vec<RouteMessage>, KernelError> {
    let mut present = dump_table(handle, address_family(family), table).await?;
    present.retain(is_ours);
    Ok(present)
}

fn is_ours(route: &RouteMessage) -> bool {
    route.header.protocol == RouteProtocol::from(ROUTE_PROTOCOL)
}

/// Whether a route is a default route that others have set, or part of one, in whatever table.
pub(super) fn is_default(route: &RouteMessage) -> bool {
    is_wide(route) && route.header.kind == RouteType::Unicast && !is_ours(route)
}

/// Whether a route leads to more than any network has.
fn is_wide(route: &RouteMessage) -> bool {
    let mut families = Family::BOTH.into_iter();
    let family = families.find(|it| address_family(*it) == route.header.address_family);
    let length = route.header.destination_prefix_length;
    family.is_some_and(|family| length <= longest_part(family))
}

pub(super) const fn address_family(family: Family) -> AddressFamily {
    match family {
        Family::Ipv4 => AddressFamily::Inet,
        Family::Ipv6 => AddressFamily::Inet6,
    }
}

/// What is around uplinks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Surroundings {
    /// The networks that are attached to them, as far as the main table tells: hosts there are reached
    /// without a router that could keep anybody out.
    pub(super) attached: BTreeSet<IpNet>,
    /// What their providers delegated to this node, by the name of the uplink: what its default route is
    /// for, as others would not answer there (RFC 8028 §3.1), and of a single uplink the prefixes whose
    /// rest leads nowhere.
    pub(super) delegated: BTreeSet<(String, Ipv6Net)>,
    /// The networks of these that this node has itself: nobody in the mesh has them.
    pub(super) own: BTreeSet<Ipv6Net>,
}

impl Surroundings {
    /// Looks around the interfaces with these indexes and names.
    pub(super) async fn read(
        handle: &Handle,
        defaults: &Defaults,
        uplinks: &BTreeMap<IfIndex, &str>,
    ) -> Result<Self, KernelError> {
        let mut found = Self::default();
        let (mut inside, mut nowhere) = (BTreeSet::new(), BTreeSet::new());
        for family in Family::BOTH.map(address_family) {
            for route in dump_table(handle, family, MAIN_TABLE).await? {
                let is_outside = interface_of(&route).is_some_and(|it| uplinks.contains_key(&it));
                match prefix(&route) {
                    Some(prefix) if is_attached(&route) && is_outside => {
                        found.attached.insert(prefix);
                    }
                    Some(IpNet::V6(prefix)) if is_way(&route) && !is_outside => {
                        inside.insert(prefix);
                    }
                    Some(IpNet::V6(prefix)) if leads_nowhere(&route) => {
                        nowhere.insert(prefix);
                    }
                    Some(_) | None => {}
                }
            }
        }
        let mut providers: BTreeSet<&str> = BTreeSet::new();
        for route in defaults.of(Family::Ipv6) {
            let uplink = interface_of(route).and_then(|index| uplinks.get(&index));
            providers.extend(uplink);
            let delegated = uplink.zip(source_of(route));
            let delegated = delegated.map(|(name, prefix)| ((*name).to_owned(), prefix));
            found.delegated.extend(delegated);
        }
        // Not every DHCP client says for which of several.
        if let (Some(only), None) = (providers.first(), providers.iter().nth(1)) {
            let nowhere = nowhere.into_iter();
            found
                .delegated
                .extend(nowhere.map(|prefix| ((*only).to_owned(), prefix)));
        }
        let attached = &found.attached;
        found.delegated.retain(|(_, prefix)| {
            let mut attached = attached.iter();
            is_delegation(prefix) && !attached.any(|it| overlap(it, &IpNet::V6(*prefix)))
        });
        let is_delegated = |it: &Ipv6Net| {
            let mut delegated = found.delegated.iter();
            delegated.any(|(_, prefix)| prefix.contains(it))
        };
        found.own = inside.into_iter().filter(is_delegated).collect();
        Ok(found)
    }
}

/// Whether a prefix may be one that a provider has delegated: a global one, not larger than what a
/// provider has itself, and not smaller than a network.
fn is_delegation(prefix: &Ipv6Net) -> bool {
    (32..=64).contains(&prefix.prefix_len()) && is_public(prefix.network().into())
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

/// Whether a route ends here: of a delegated prefix, what is in use nowhere (RFC 7084 WPD-5).
fn leads_nowhere(route: &RouteMessage) -> bool {
    let kinds = [
        RouteType::Unreachable,
        RouteType::BlackHole,
        RouteType::Prohibit,
    ];
    is_in_main(route) && kinds.contains(&route.header.kind) && !is_ours(route)
}

/// Whether a route of the main table leads somewhere, and not everything.
fn is_way(route: &RouteMessage) -> bool {
    is_in_main(route) && route.header.kind == RouteType::Unicast && !is_wide(route)
}

/// Whether uplinks may be others, or have other surroundings, with another route of this kind.
pub(super) fn concerns(route: &RouteMessage) -> bool {
    is_default(route) || is_attached(route) || leads_nowhere(route)
}

/// Whether a route leads to a network without a router in between.
fn is_attached(route: &RouteMessage) -> bool {
    let by_router = |attribute: &RouteAttribute| {
        matches!(
            attribute,
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_)
        )
    };
    is_way(route) && !route.attributes.iter().any(by_router)
}

fn copy(table: u32, route: &RouteMessage) -> RouteMessage {
    let mut copy = RouteMessage::default();
    copy.header.address_family = route.header.address_family;
    copy.header.protocol = RouteProtocol::from(ROUTE_PROTOCOL);
    copy.header.scope = route.header.scope;
    copy.header.kind = route.header.kind;
    copy.header.flags = route.header.flags & RouteFlags::Onlink;
    copy.attributes = way(route);
    copy.attributes.push(RouteAttribute::Table(table));
    copy
}

/// What says where a route leads, and what may be sent there: the MTU that a provider told, say.
fn way(route: &RouteMessage) -> Vec<RouteAttribute> {
    let leads = |attribute: &&RouteAttribute| {
        matches!(
            attribute,
            RouteAttribute::Oif(_)
                | RouteAttribute::Gateway(_)
                | RouteAttribute::Via(_)
                | RouteAttribute::PrefSource(_)
                | RouteAttribute::Metrics(_)
        )
    };
    let mut way: Vec<RouteAttribute> = route.attributes.iter().filter(leads).cloned().collect();
    way.sort_by_key(rtnetlink::packet_core::Nla::kind);
    way
}
