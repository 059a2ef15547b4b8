//! Our end of VXLAN: the other ends are named by the routes into it.
//!
//! `external` (collect metadata) means that one device serves every peer: a route's encapsulation
//! says where the packet goes.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "netlink attributes are an open set"
)]

use std::net::IpAddr;

use mesh_proto::{IfIndex, OriginatorId};
use nix::errno::Errno;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::link::{
    InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkInfo, LinkMessage,
};
use rtnetlink::packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec};

use crate::kernel::link::{self, Link};
use crate::kernel::netlink::{KernelError, ask};
use crate::kernel::{Setup, TUNNEL_DEVICE, TUNNEL_PORT};

/// What VXLAN adds to a packet: outer IPv6 (40), UDP (8), VXLAN (8), inner Ethernet (14).
pub(super) const OVERHEAD: u32 = 70;

/// What distinguishes our device from other VXLAN devices. UDP checksums are left out on the
/// way out, which the kernel does for encapsulating routes without the `csum` flag, so they must
/// not be demanded on the way in (RFC 6935 allows it for tunnels: what is inside has its own).
const PARAMETERS: [InfoVxlan; 4] = [
    InfoVxlan::CollectMetadata(true),
    InfoVxlan::Port(TUNNEL_PORT),
    InfoVxlan::Learning(false),
    InfoVxlan::UDPZeroCsumRX(true),
];

/// Creates the device, or adopts it; a device with other parameters is replaced. Returns its
/// index.
pub(super) async fn ensure(
    handle: &Handle,
    setup: &Setup,
    mtu: u32,
) -> Result<IfIndex, KernelError> {
    let present = match find(handle).await? {
        Some(message) if has_parameters(&message) => message,
        old => {
            if let Some(old) = old {
                remove_device(handle, old.header.index).await?;
            }
            create(handle, setup, mtu).await?;
            find(handle).await?.ok_or_else(|| KernelError::Unexpected {
                action: format!("create {TUNNEL_DEVICE}"),
                detail: "it is not there".to_owned(),
            })?
        }
    };
    let ifindex = IfIndex(present.header.index);
    if !is_set(&present, setup, mtu) {
        adjust(handle, setup, ifindex, mtu).await?;
    }
    Ok(ifindex)
}

/// Whether the device has what can be changed while it is in use.
fn is_set(message: &LinkMessage, setup: &Setup, mtu: u32) -> bool {
    Link::from_message(message)
        .is_some_and(|link| link.up && link.mtu == mtu && link.mac == Some(setup.id.tunnel_mac()))
}

/// Removes the device, and with it its addresses, routes and neighbors.
pub(super) async fn remove(handle: &Handle) -> Result<(), KernelError> {
    match find(handle).await? {
        Some(message) => remove_device(handle, message.header.index).await,
        None => Ok(()),
    }
}

/// The device, if there is one.
async fn find(handle: &Handle) -> Result<Option<LinkMessage>, KernelError> {
    let found = link::list(handle).await?.into_iter().find(|message| {
        message
            .attributes
            .contains(&LinkAttribute::IfName(TUNNEL_DEVICE.to_owned()))
    });
    if found
        .as_ref()
        .is_some_and(|message| vxlan_data(message).is_none())
    {
        return Err(KernelError::ForeignDevice {
            name: TUNNEL_DEVICE.to_owned(),
        });
    }
    Ok(found)
}

fn vxlan_data(message: &LinkMessage) -> Option<Vec<InfoVxlan>> {
    let info = link::find(message, |attribute| match attribute {
        LinkAttribute::LinkInfo(info) => Some(info.clone()),
        _ => None,
    })?;
    info.into_iter().find_map(|part| match part {
        LinkInfo::Data(InfoData::Vxlan(data)) => Some(data),
        _ => None,
    })
}

fn has_parameters(message: &LinkMessage) -> bool {
    let data = vxlan_data(message).unwrap_or_default();
    PARAMETERS.iter().all(|parameter| data.contains(parameter))
}

async fn create(handle: &Handle, setup: &Setup, mtu: u32) -> Result<(), KernelError> {
    let message = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::Vxlan)
        .name(TUNNEL_DEVICE)
        .address(setup.id.tunnel_mac().to_vec())
        .mtu(mtu)
        .up()
        .set_info_data(InfoData::Vxlan(PARAMETERS.to_vec()))
        .build();
    ask(
        || format!("create {TUNNEL_DEVICE}"),
        handle.link().add(message).execute(),
    )
    .await
}

async fn adjust(
    handle: &Handle,
    setup: &Setup,
    ifindex: IfIndex,
    mtu: u32,
) -> Result<(), KernelError> {
    let message = LinkUnspec::new_with_index(ifindex.0)
        .address(setup.id.tunnel_mac().to_vec())
        .mtu(mtu)
        .up()
        .build();
    ask(
        || format!("set up {TUNNEL_DEVICE}"),
        handle.link().change(message).execute(),
    )
    .await
}

async fn remove_device(handle: &Handle, index: u32) -> Result<(), KernelError> {
    ask(
        || format!("remove {TUNNEL_DEVICE}"),
        handle.link().del(index).execute(),
    )
    .await
}

/// Tells the device the Ethernet address of a peer, which nobody inside the tunnel could ask for.
pub(super) async fn add_peer(
    handle: &Handle,
    device: IfIndex,
    peer: OriginatorId,
) -> Result<(), KernelError> {
    let request = handle
        .neighbours()
        .add(device.0, IpAddr::V6(peer.tunnel_next_hop()))
        .link_layer_address(&peer.tunnel_mac())
        .replace();
    ask(|| format!("add tunnel peer {peer}"), request.execute()).await
}

/// Forgets a peer.
pub(super) async fn remove_peer(
    handle: &Handle,
    device: IfIndex,
    peer: OriginatorId,
) -> Result<(), KernelError> {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.header.ifindex = device.0;
    let next_hop = NeighbourAddress::Inet6(peer.tunnel_next_hop());
    message
        .attributes
        .push(NeighbourAttribute::Destination(next_hop));
    let request = handle.neighbours().del(message).execute();
    match ask(|| format!("remove tunnel peer {peer}"), request).await {
        Err(error) if error.is_errno(&[Errno::ENOENT, Errno::ENODEV]) => Ok(()),
        result => result,
    }
}
