//! Network interfaces.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "netlink attributes are an open set"
)]

use mesh_proto::IfIndex;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::{Handle, LinkUnspec};

use super::netlink::{KernelError, ask, dump};

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub ifindex: IfIndex,
    /// Its name.
    pub name: String,
    /// Whether it is switched on.
    pub up: bool,
    /// Whether it is switched on and has a link partner (a cable, an access point).
    pub carrier: bool,
    /// The largest packet it takes, in bytes.
    pub mtu: u32,
    /// Its Ethernet address, if it has one.
    pub mac: Option<[u8; 6]>,
    /// How fast it is, in Mbit/s, if it is a wire with a link partner and its driver says.
    pub speed_mbps: Option<u32>,
}

impl Link {
    /// Reads a link message, which does not tell the speed; none for those that tell of something else about an
    /// interface: its place in a bridge, or news from its wireless driver.
    pub(super) fn from_message(message: &LinkMessage) -> Option<Self> {
        if message.header.interface_family != AddressFamily::Unspec {
            return None;
        }
        let name = find(message, |attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.clone()),
            _ => None,
        })?;
        let mtu = find(message, |attribute| match attribute {
            LinkAttribute::Mtu(mtu) => Some(*mtu),
            _ => None,
        })?;
        Some(Self {
            ifindex: IfIndex(message.header.index),
            name,
            up: message.header.flags.contains(LinkFlags::Up),
            carrier: message
                .header
                .flags
                .contains(LinkFlags::Up | LinkFlags::LowerUp),
            mtu,
            mac: mac(message),
            speed_mbps: None,
        })
    }
}

/// The first attribute of a link message that `pick` picks.
pub(super) fn find<T>(
    message: &LinkMessage,
    pick: impl FnMut(&LinkAttribute) -> Option<T>,
) -> Option<T> {
    message.attributes.iter().find_map(pick)
}

fn mac(message: &LinkMessage) -> Option<[u8; 6]> {
    find(message, |attribute| match attribute {
        LinkAttribute::Address(address) => address.as_slice().try_into().ok(),
        _ => None,
    })
}

/// Lists all interfaces.
pub(super) async fn list(handle: &Handle) -> Result<Vec<LinkMessage>, KernelError> {
    dump("list interfaces", handle.link().get().execute()).await
}

/// Switches an interface on.
pub(super) async fn set_up(handle: &Handle, link: &Link) -> Result<(), KernelError> {
    let message = LinkUnspec::new_with_index(link.ifindex.0).up().build();
    let request = handle.link().change(message).execute();
    ask(|| format!("switch on {}", link.name), request).await
}
