//! Addresses: the mesh addresses on the tunnel device, the link-local ones everywhere.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "netlink attributes are an open set"
)]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use mesh_proto::IfIndex;
use rtnetlink::Handle;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage,
};

use super::netlink::{KernelError, ask, dump};

/// A link-local address as a message has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LinkLocal {
    pub(super) ifindex: IfIndex,
    pub(super) address: Ipv6Addr,
    /// Whether packets can carry it as their source: duplicate address detection is over and
    /// found none.
    pub(super) usable: bool,
}

impl LinkLocal {
    /// Reads an address message; none for other addresses.
    pub(super) fn from_message(message: &AddressMessage) -> Option<Self> {
        let IpAddr::V6(address) = address(message)? else {
            return None;
        };
        let unusable = AddressFlags::Tentative | AddressFlags::Dadfailed;
        address.is_unicast_link_local().then(|| Self {
            ifindex: IfIndex(message.header.index),
            address,
            usable: !flags(message).intersects(unusable),
        })
    }
}

fn address(message: &AddressMessage) -> Option<IpAddr> {
    message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
}

/// The flags attribute has all flags; the header, from the time before it, only the low ones.
fn flags(message: &AddressMessage) -> AddressFlags {
    let attribute = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            AddressAttribute::Flags(flags) => Some(*flags),
            _ => None,
        });
    let header = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
    attribute.unwrap_or(header)
}

/// Lists all addresses.
pub(super) async fn list(handle: &Handle) -> Result<Vec<AddressMessage>, KernelError> {
    dump("list addresses", handle.address().get().execute()).await
}

/// Adds what is missing of `wanted` to the host addresses of a device. Returns what is too much,
/// link-local addresses aside.
pub(super) async fn add_missing(
    handle: &Handle,
    device: IfIndex,
    wanted: &BTreeSet<IpAddr>,
) -> Result<Vec<AddressMessage>, KernelError> {
    let mut present = BTreeSet::new();
    let mut surplus = Vec::new();
    for message in list(handle).await? {
        let Some(found) = address(&message).filter(|_| message.header.index == device.0) else {
            continue;
        };
        if wanted.contains(&found) && message.header.prefix_len == host_prefix(found) {
            present.insert(found);
        } else if LinkLocal::from_message(&message).is_none() {
            surplus.push(message);
        }
    }
    for &address in wanted.difference(&present) {
        add(handle, device, address).await?;
    }
    Ok(surplus)
}

/// Removes addresses; the kernel then removes routes that use them as their source.
pub(super) async fn remove(
    handle: &Handle,
    surplus: Vec<AddressMessage>,
) -> Result<(), KernelError> {
    for message in surplus {
        let request = handle.address().del(message).execute();
        ask(|| "remove an address".to_owned(), request).await?;
    }
    Ok(())
}

/// Adds an address, without duplicate address detection: it follows from a key, and on the tunnel
/// device there is nobody to ask.
async fn add(handle: &Handle, device: IfIndex, address: IpAddr) -> Result<(), KernelError> {
    let mut request = handle
        .address()
        .add(device.0, address, host_prefix(address));
    if address.is_ipv6() {
        request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
    }
    ask(
        || format!("add address {address} to interface {device}"),
        request.execute(),
    )
    .await
}

fn host_prefix(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}
