//! The default routes over the uplink in use, copied into a table of their own.
//!
//! The main table leads to the best of its default routes, whether that works or not. What others
//! set there is theirs; so what goes to the Internet from here asks our table first.

use mesh_proto::IfIndex;
use rtnetlink::Handle;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{
    RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol,
};

use super::monitor::is_default;
use super::netlink::{KernelError, ask};
use super::route::{delete, dump_table, interface_of, metric_of};
use super::{ROUTE_PROTOCOL, UPLINK_TABLE};

/// Makes the table what belongs to an interface, or empties it.
pub(super) async fn reconcile(handle: &Handle, uplink: Option<IfIndex>) -> Result<(), KernelError> {
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let wanted = match uplink {
            Some(uplink) => copy_of_best(handle, family, uplink).await?,
            None => None,
        };
        let mut present = dump_table(handle, family, UPLINK_TABLE).await?;
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

async fn copy_of_best(
    handle: &Handle,
    family: AddressFamily,
    uplink: IfIndex,
) -> Result<Option<RouteMessage>, KernelError> {
    let main = u32::from(RouteHeader::RT_TABLE_MAIN);
    let routes = dump_table(handle, family, main).await?.into_iter();
    let over_it = routes.filter(|route| is_default(route) && interface_of(route) == Some(uplink));
    Ok(over_it.min_by_key(metric_of).map(|route| copy(&route)))
}

fn copy(route: &RouteMessage) -> RouteMessage {
    let mut copy = RouteMessage::default();
    copy.header.address_family = route.header.address_family;
    copy.header.protocol = RouteProtocol::from(ROUTE_PROTOCOL);
    copy.header.scope = route.header.scope;
    copy.header.kind = route.header.kind;
    copy.header.flags = route.header.flags & RouteFlags::Onlink;
    copy.attributes = way(route);
    copy.attributes.push(RouteAttribute::Table(UPLINK_TABLE));
    copy
}

/// What says where a route leads.
fn way(route: &RouteMessage) -> Vec<RouteAttribute> {
    let leads = |attribute: &&RouteAttribute| {
        matches!(
            attribute,
            RouteAttribute::Oif(_)
                | RouteAttribute::Gateway(_)
                | RouteAttribute::Via(_)
                | RouteAttribute::PrefSource(_)
        )
    };
    let mut way: Vec<RouteAttribute> = route.attributes.iter().filter(leads).cloned().collect();
    way.sort_by_key(rtnetlink::packet_core::Nla::kind);
    way
}
