//! Uplinks in the main table: the default routes over the one in use, and what is attached to it.
//!
//! The main table leads to the best of its default routes, whether that works or not, and an IPv6
//! route may be for some sources only (a delegated prefix). What others set there is theirs; so where
//! it does not lead where it should, the right default route is copied into a table of our own, which
//! is asked first. Where it does, that table is empty: rules of others that lead elsewhere, as into a
//! VPN, then go on to be asked before the main table.

use std::collections::BTreeSet;

use ipnet::IpNet;
use mesh_proto::{Family, IfIndex};
use rtnetlink::Handle;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{
    RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteType,
};

use super::monitor::is_default;
use super::netlink::{KernelError, ask};
use super::route::{delete, dump_table, interface_of, metric_of, prefix, table_of};
use super::{Numbers, ROUTE_PROTOCOL};

/// Makes the table what belongs to the interface of each family, or empties it.
pub(super) async fn reconcile(
    handle: &Handle,
    numbers: &Numbers,
    uplinks: [(Family, Option<IfIndex>); 2],
) -> Result<(), KernelError> {
    for (family, uplink) in uplinks {
        let family = address_family(family);
        let wanted = match uplink {
            Some(uplink) => missing_in_main(handle, numbers, family, uplink).await?,
            None => None,
        };
        let mut present = dump_table(handle, family, numbers.uplink_table()).await?;
        present.retain(|route| route.header.protocol == RouteProtocol::from(ROUTE_PROTOCOL));
        let is_same = |route: &RouteMessage| {
            wanted
                .as_ref()
                .is_some_and(|wanted| way(wanted) == way(route))
        };
        let (same, others): (Vec<_>, Vec<_>) = present.into_iter().partition(is_same);
        for route in others {
            let action = || "remove a default route over an uplink".to_owned();
            delete(handle, route, action).await?;
        }
        if let Some(wanted) = wanted.filter(|_| same.is_empty()) {
            let request = handle.route().add(wanted).replace().execute();
            ask(
                || "set the default route over the uplink".to_owned(),
                request,
            )
            .await?;
        }
    }
    Ok(())
}

const fn address_family(family: Family) -> AddressFamily {
    match family {
        Family::Ipv4 => AddressFamily::Inet,
        Family::Ipv6 => AddressFamily::Inet6,
    }
}

/// The best default route over an interface, if the main table itself does not lead there.
async fn missing_in_main(
    handle: &Handle,
    numbers: &Numbers,
    family: AddressFamily,
    uplink: IfIndex,
) -> Result<Option<RouteMessage>, KernelError> {
    let main = u32::from(RouteHeader::RT_TABLE_MAIN);
    let mut routes = dump_table(handle, family, main).await?;
    routes.retain(is_default);
    let is_over_it = |route: &&RouteMessage| interface_of(route) == Some(uplink);
    let best = routes.iter().min_by_key(|route| metric_of(route));
    let is_for_all = |route: &&RouteMessage| route.header.source_prefix_length == 0;
    if best.filter(is_over_it).filter(is_for_all).is_some() {
        return Ok(None);
    }
    let best_over_it = routes
        .iter()
        .filter(is_over_it)
        .min_by_key(|it| metric_of(it));
    Ok(best_over_it.map(|route| copy(numbers, route)))
}

/// The networks that are attached to interfaces, as far as the main table tells: hosts there are
/// reached without a router that could keep anybody out.
pub(super) async fn attached(
    handle: &Handle,
    interfaces: &BTreeSet<IfIndex>,
) -> Result<BTreeSet<IpNet>, KernelError> {
    let main = u32::from(RouteHeader::RT_TABLE_MAIN);
    let mut networks = BTreeSet::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let routes = dump_table(handle, family, main).await?;
        let routes = routes.iter().filter(|route| is_attached(route));
        let of_them =
            routes.filter(|it| interface_of(it).is_some_and(|it| interfaces.contains(&it)));
        networks.extend(of_them.filter_map(prefix));
    }
    Ok(networks)
}

/// Whether a route leads to a network without a router in between.
pub(super) fn is_attached(route: &RouteMessage) -> bool {
    let by_router = |attribute: &RouteAttribute| {
        matches!(
            attribute,
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_)
        )
    };
    table_of(route) == u32::from(RouteHeader::RT_TABLE_MAIN)
        && route.header.kind == RouteType::Unicast
        && route.header.destination_prefix_length > 0
        && !route.attributes.iter().any(by_router)
}

fn copy(numbers: &Numbers, route: &RouteMessage) -> RouteMessage {
    let mut copy = RouteMessage::default();
    copy.header.address_family = route.header.address_family;
    copy.header.protocol = RouteProtocol::from(ROUTE_PROTOCOL);
    copy.header.scope = route.header.scope;
    copy.header.kind = route.header.kind;
    copy.header.flags = route.header.flags & RouteFlags::Onlink;
    copy.attributes = way(route);
    copy.attributes
        .push(RouteAttribute::Table(numbers.uplink_table()));
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
