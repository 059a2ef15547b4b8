//! Messages of WireGuard's generic netlink family (linux/wireguard.h), there and back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddrV6};

use ipnet::IpNet;
use mesh_proto::{IfIndex, WireguardKey};
use zeroize::Zeroizing;

use super::WireguardSecret;
use crate::kernel::genl::{Genl, NLA_F_NESTED};
use crate::kernel::netlink::KernelError;
use crate::kernel::raw::{Attributes, push};

/// The family's name.
pub(super) const FAMILY: &str = "wireguard";

const WG_CMD_GET_DEVICE: u8 = 0;
const WG_CMD_SET_DEVICE: u8 = 1;

const WGDEVICE_A_IFINDEX: u16 = 1;
const WGDEVICE_A_PRIVATE_KEY: u16 = 3;
const WGDEVICE_A_PUBLIC_KEY: u16 = 4;
const WGDEVICE_A_LISTEN_PORT: u16 = 6;
const WGDEVICE_A_PEERS: u16 = 8;

const WGPEER_A_PUBLIC_KEY: u16 = 1;
const WGPEER_A_FLAGS: u16 = 3;
const WGPEER_A_ENDPOINT: u16 = 4;
const WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL: u16 = 5;
const WGPEER_A_ALLOWEDIPS: u16 = 9;

const WGPEER_F_REMOVE_ME: u32 = 1;
const WGPEER_F_REPLACE_ALLOWEDIPS: u32 = 2;

const WGALLOWEDIP_A_FAMILY: u16 = 1;
const WGALLOWEDIP_A_IPADDR: u16 = 2;
const WGALLOWEDIP_A_CIDR_MASK: u16 = 3;

const AF_INET: u16 = nix::libc::AF_INET as u16;
const AF_INET6: u16 = nix::libc::AF_INET6 as u16;

/// A device as the kernel has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Device {
    /// `None` if it has no key.
    pub(super) key: Option<WireguardKey>,
    pub(super) port: u16,
    pub(super) peers: BTreeMap<WireguardKey, Peer>,
}

/// Who is at the other end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Peer {
    /// Where packets to it go; a device that does not know waits for one of it.
    pub(super) endpoint: Option<SocketAddrV6>,
    /// The prefixes that packets to it go to, and those from it come from.
    pub(super) allowed: BTreeSet<IpNet>,
}

/// What becomes of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is there, with these prefixes as well: others lose them.
    Add,
    /// It has these prefixes only.
    Replace,
    /// It is gone.
    Remove,
}

/// Reads a device.
pub(super) fn get(genl: &mut Genl, ifindex: IfIndex) -> Result<Device, KernelError> {
    let mut request = Vec::new();
    push(&mut request, WGDEVICE_A_IFINDEX, &ifindex.0.to_ne_bytes());
    let action = format!("read WireGuard's device {ifindex}");
    let mut device = Device::default();
    for message in genl.dump(&action, WG_CMD_GET_DEVICE, &request)? {
        take_in(&mut device, message.attributes());
    }
    Ok(device)
}

/// Reads the secret of a device; `None` if it has none.
pub(super) fn secret(
    genl: &mut Genl,
    ifindex: IfIndex,
) -> Result<Option<WireguardSecret>, KernelError> {
    let mut request = Vec::new();
    push(&mut request, WGDEVICE_A_IFINDEX, &ifindex.0.to_ne_bytes());
    let action = format!("read the key of WireGuard's device {ifindex}");
    let messages = genl.dump(&action, WG_CMD_GET_DEVICE, &request)?;
    let mut secrets = messages.iter().filter_map(|message| {
        let attributes = message.attributes();
        let secret = attributes.bytes(WGDEVICE_A_PRIVATE_KEY)?;
        Some(WireguardSecret {
            secret: Zeroizing::new(secret.try_into().ok()?),
            public: attributes.bytes(WGDEVICE_A_PUBLIC_KEY).and_then(key)?,
        })
    });
    Ok(secrets.next())
}

/// A device with many peers comes in several messages, and so does a peer with many prefixes.
fn take_in(device: &mut Device, attributes: Attributes<'_>) {
    let own_key = attributes.bytes(WGDEVICE_A_PUBLIC_KEY).and_then(key);
    device.key = device.key.or(own_key);
    if let Some(port) = attributes.u16(WGDEVICE_A_LISTEN_PORT) {
        device.port = port;
    }
    let peers = attributes.nested(WGDEVICE_A_PEERS).into_iter();
    for attributes in peers.flat_map(Attributes::each) {
        let Some(key) = attributes.bytes(WGPEER_A_PUBLIC_KEY).and_then(key) else {
            continue;
        };
        let peer = device.peers.entry(key).or_default();
        let endpoint = attributes.bytes(WGPEER_A_ENDPOINT).and_then(endpoint);
        peer.endpoint = peer.endpoint.or(endpoint);
        let allowed = attributes.nested(WGPEER_A_ALLOWEDIPS).into_iter();
        let allowed = allowed.flat_map(Attributes::each).filter_map(prefix);
        peer.allowed.extend(allowed);
    }
}

/// Gives a device its key and its port.
pub(super) fn set(
    genl: &mut Genl,
    ifindex: IfIndex,
    secret: &WireguardSecret,
    port: u16,
) -> Result<(), KernelError> {
    // Room for all of it: growing would leave copies of the key behind.
    let mut request = Zeroizing::new(Vec::with_capacity(64));
    push(&mut request, WGDEVICE_A_IFINDEX, &ifindex.0.to_ne_bytes());
    push(&mut request, WGDEVICE_A_PRIVATE_KEY, &*secret.secret);
    push(&mut request, WGDEVICE_A_LISTEN_PORT, &port.to_ne_bytes());
    let action = format!("set up WireGuard's device {ifindex}");
    genl.change(&action, WG_CMD_SET_DEVICE, &request)
}

/// Changes a peer.
pub(super) fn set_peer(
    genl: &mut Genl,
    ifindex: IfIndex,
    key: WireguardKey,
    peer: &Peer,
    change: Change,
) -> Result<(), KernelError> {
    let action = format!("set WireGuard's peer {key:?} of device {ifindex}");
    let request = peer_request(ifindex, key, peer, change);
    genl.change(&action, WG_CMD_SET_DEVICE, &request)
}

/// Sends a peer an empty packet at once, and before it what begins a session if there is none.
pub(super) fn greet(
    genl: &mut Genl,
    ifindex: IfIndex,
    key: WireguardKey,
) -> Result<(), KernelError> {
    keep_alive(genl, ifindex, key, 1)?;
    keep_alive(genl, ifindex, key, 0)
}

/// Sends a peer an empty packet whenever nothing else was sent to it for so many seconds; never for 0. The
/// kernel sends the first one at once where it sent none before.
pub(super) fn keep_alive(
    genl: &mut Genl,
    ifindex: IfIndex,
    key: WireguardKey,
    every_s: u16,
) -> Result<(), KernelError> {
    let mut attributes = Vec::new();
    push(&mut attributes, WGPEER_A_PUBLIC_KEY, key.as_bytes());
    push(
        &mut attributes,
        WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL,
        &every_s.to_ne_bytes(),
    );
    let action = format!("keep the session with WireGuard's peer {key:?} of device {ifindex}");
    let request = device_request(ifindex, &attributes);
    genl.change(&action, WG_CMD_SET_DEVICE, &request)
}

fn peer_request(ifindex: IfIndex, key: WireguardKey, peer: &Peer, change: Change) -> Vec<u8> {
    let mut attributes = Vec::new();
    push(&mut attributes, WGPEER_A_PUBLIC_KEY, key.as_bytes());
    let flags = match change {
        Change::Add => 0,
        Change::Replace => WGPEER_F_REPLACE_ALLOWEDIPS,
        Change::Remove => WGPEER_F_REMOVE_ME,
    };
    push(&mut attributes, WGPEER_A_FLAGS, &flags.to_ne_bytes());
    if change != Change::Remove {
        if let Some(endpoint) = peer.endpoint {
            push(&mut attributes, WGPEER_A_ENDPOINT, &sockaddr(endpoint));
        }
        let mut allowed = Vec::new();
        for prefix in &peer.allowed {
            push(&mut allowed, NLA_F_NESTED, &allowed_ip(*prefix));
        }
        push(
            &mut attributes,
            WGPEER_A_ALLOWEDIPS | NLA_F_NESTED,
            &allowed,
        );
    }
    device_request(ifindex, &attributes)
}

/// What is said of a device with one peer.
fn device_request(ifindex: IfIndex, peer: &[u8]) -> Vec<u8> {
    let mut peers = Vec::new();
    push(&mut peers, NLA_F_NESTED, peer);
    let mut request = Vec::new();
    push(&mut request, WGDEVICE_A_IFINDEX, &ifindex.0.to_ne_bytes());
    push(&mut request, WGDEVICE_A_PEERS | NLA_F_NESTED, &peers);
    request
}

fn allowed_ip(prefix: IpNet) -> Vec<u8> {
    let mut attributes = Vec::new();
    let (family, address) = match prefix.network() {
        IpAddr::V4(address) => (AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (AF_INET6, address.octets().to_vec()),
    };
    push(&mut attributes, WGALLOWEDIP_A_FAMILY, &family.to_ne_bytes());
    push(&mut attributes, WGALLOWEDIP_A_IPADDR, &address);
    push(
        &mut attributes,
        WGALLOWEDIP_A_CIDR_MASK,
        &[prefix.prefix_len()],
    );
    attributes
}

fn prefix(attributes: Attributes<'_>) -> Option<IpNet> {
    let address = attributes.bytes(WGALLOWEDIP_A_IPADDR)?;
    let address = match attributes.u16(WGALLOWEDIP_A_FAMILY)? {
        AF_INET => IpAddr::from(<[u8; 4]>::try_from(address).ok()?),
        AF_INET6 => IpAddr::from(<[u8; 16]>::try_from(address).ok()?),
        _ => return None,
    };
    IpNet::new(address, attributes.u8(WGALLOWEDIP_A_CIDR_MASK)?).ok()
}

fn key(bytes: &[u8]) -> Option<WireguardKey> {
    let bytes: [u8; WireguardKey::LEN] = bytes.try_into().ok()?;
    Some(WireguardKey::from_bytes(bytes))
}

/// `struct sockaddr_in6`.
fn sockaddr(address: SocketAddrV6) -> Vec<u8> {
    let mut bytes = AF_INET6.to_ne_bytes().to_vec();
    bytes.extend(address.port().to_be_bytes());
    bytes.extend(address.flowinfo().to_be_bytes());
    bytes.extend(address.ip().octets());
    bytes.extend(address.scope_id().to_ne_bytes());
    bytes
}

/// The other way round; none for an address of IPv4, where no node is.
fn endpoint(bytes: &[u8]) -> Option<SocketAddrV6> {
    let (family, rest) = bytes.split_first_chunk()?;
    let (port, rest) = rest.split_first_chunk()?;
    let (flow, rest) = rest.split_first_chunk()?;
    let (address, rest) = rest.split_first_chunk::<16>()?;
    let scope = rest.first_chunk()?;
    let endpoint = SocketAddrV6::new(
        Ipv6Addr::from(*address),
        u16::from_be_bytes(*port),
        u32::from_be_bytes(*flow),
        u32::from_ne_bytes(*scope),
    );
    (u16::from_ne_bytes(*family) == AF_INET6).then_some(endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: WireguardKey = WireguardKey::from_bytes([7; 32]);

    fn peer() -> Peer {
        Peer {
            endpoint: Some("[fd00::1]:5527".parse().unwrap()),
            allowed: ["0.0.0.0/0", "100.64.1.2/32", "fd00::2/128", "::/0"]
                .map(|it| it.parse().unwrap())
                .into(),
        }
    }

    fn reread(messages: &[Vec<u8>]) -> Device {
        let mut device = Device::default();
        for message in messages {
            take_in(&mut device, Attributes::of(message, 0));
        }
        device
    }

    #[test]
    fn what_is_said_of_a_peer_is_understood_again() {
        let request = peer_request(IfIndex(3), KEY, &peer(), Change::Add);
        assert_eq!(reread(&[request]).peers, BTreeMap::from([(KEY, peer())]));
    }

    #[test]
    fn a_peer_in_several_messages_is_one() {
        let mut rest = Peer {
            endpoint: None,
            ..peer()
        };
        let first = Peer {
            allowed: rest.allowed.pop_first().into_iter().collect(),
            ..peer()
        };
        let messages = [first, rest].map(|it| peer_request(IfIndex(3), KEY, &it, Change::Add));
        assert_eq!(reread(&messages).peers, BTreeMap::from([(KEY, peer())]));
    }

    #[test]
    fn what_is_cut_short_is_left_out() {
        let request = peer_request(IfIndex(3), KEY, &peer(), Change::Add);
        for length in 0..request.len() {
            let cut = request.get(..length).unwrap_or_default().to_vec();
            let device = reread(&[cut]);
            assert!(device.peers.len() <= 1 && device.key.is_none(), "{length}");
        }
        assert_eq!(endpoint(&sockaddr("[::1]:9".parse().unwrap())[..27]), None);
        assert_eq!(endpoint(&[2, 0, 0, 9]), None);
    }

    #[test]
    fn a_peer_that_is_removed_has_only_its_name() {
        let request = peer_request(IfIndex(3), KEY, &peer(), Change::Remove);
        let device = reread(&[request]);
        assert_eq!(device.peers, BTreeMap::from([(KEY, Peer::default())]));
    }
}
