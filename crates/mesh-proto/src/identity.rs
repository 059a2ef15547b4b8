//! Networks, node and originator ids, and the addresses made from them.
//!
//! Nobody configures an address: everything follows from the network's name and a node's key.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use ed25519_dalek::{SigningKey, VerifyingKey};
use hmac::{Hmac, KeyInit, Mac};
use ipnet::{Ipv4Net, Ipv6Net};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::SeqNo;

/// The IPv4 range mesh addresses are taken from: shared address space between customers and
/// their provider's NAT (RFC 6598), which is what a gateway is to the nodes behind it.
pub const MESH_IPV4_RANGE: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10);

/// The index the kernel gives a network interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfIndex(pub u32);

impl fmt::Display for IfIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An Ed25519 public key: who a node is (32 bytes).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; 32]);

impl NodeId {
    /// Takes a public key as it stands in a record; whether it is a point on the curve shows
    /// when a signature is checked with it.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The public key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The short name routing uses for this node.
    pub fn originator_id(&self) -> OriginatorId {
        let mut id = [0; OriginatorId::LEN];
        id.copy_from_slice(&hash(b"meshd originator v1", &[&self.0])[..OriginatorId::LEN]);
        OriginatorId(id)
    }

    /// The node's IPv4 mesh address after `moves` collisions with nodes of a lower id.
    ///
    /// The range has 4 million addresses, so two of 1,000 nodes share one with probability 0.11;
    /// the node with the higher id then moves on (see [`crate::router`]).
    pub fn mesh_ipv4(&self, moves: u8) -> Ipv4Addr {
        let digest = hash(b"meshd ipv4 v1", &[&self.0, &[moves]]);
        let mut word = [0; 4];
        word.copy_from_slice(&digest[..4]);
        let host = u32::from_be_bytes(word) & u32::from(MESH_IPV4_RANGE.hostmask());
        Ipv4Addr::from(u32::from(MESH_IPV4_RANGE.network()) | host)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

/// What routing calls a node: the first 80 bits of its key's hash, which are also the host part
/// of its mesh address. An OGM therefore routes the address without any other message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OriginatorId([u8; Self::LEN]);

impl OriginatorId {
    /// Length in bytes.
    pub const LEN: usize = 10;

    /// Takes an id as it stands in a packet.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The id's bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The Ethernet address of this node's tunnel device: locally administered, unicast.
    pub const fn tunnel_mac(&self) -> [u8; 6] {
        let [a, b, c, d, e, ..] = self.0;
        [0x02, a, b, c, d, e]
    }

    /// The next hop inside the tunnel to this node: the link-local address its tunnel device's
    /// Ethernet address gives (modified EUI-64, RFC 4291 appendix A).
    pub const fn tunnel_next_hop(&self) -> Ipv6Addr {
        let [_, a, b, c, d, e] = self.tunnel_mac();
        Ipv6Addr::new(
            0xfe80,
            0,
            0,
            0,
            u16::from_be_bytes([0x00, a]),
            u16::from_be_bytes([b, 0xff]),
            u16::from_be_bytes([0xfe, c]),
            u16::from_be_bytes([d, e]),
        )
    }
}

impl fmt::Display for OriginatorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for OriginatorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OriginatorId({self})")
    }
}

/// A mesh network: its name, and the keys and addresses that follow from it.
#[derive(Clone)]
pub struct Network {
    name: String,
    id: [u8; 32],
    key: MacKey,
}

impl Network {
    /// The network called `name`. All nodes of a mesh must spell it alike. Its key follows from
    /// the name, so it keeps out damage and other networks, but nobody who knows the name.
    pub fn new(name: &str) -> Self {
        Self::with_secret(name, b"")
    }

    /// The network called `name` that only nodes with the same `secret` can take part in. Its
    /// addresses are those of [`Network::new`].
    pub fn with_secret(name: &str, secret: &[u8]) -> Self {
        let key = match secret {
            [] => hash(b"meshd network key v1", &[name.as_bytes()]),
            _ => hash(
                b"meshd network key v2",
                &[
                    &hash(b"meshd network secret v1", &[secret]),
                    name.as_bytes(),
                ],
            ),
        };
        Self {
            name: name.to_owned(),
            id: hash(b"meshd network id v1", &[name.as_bytes()]),
            key: MacKey::new(&Zeroizing::new(key)),
        }
    }

    /// The network's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tells this network from others in signatures and receipts.
    pub const fn id(&self) -> &[u8; 32] {
        &self.id
    }

    /// The key of the authentication code of packets to everybody.
    pub const fn key(&self) -> &MacKey {
        &self.key
    }

    /// The key that only the nodes `ours` and `theirs` can compute: X25519 (RFC 7748) between
    /// their identities, as Montgomery points, mixed with the network's key. `None` if theirs is
    /// no point, or one of so small an order that everybody could compute it.
    pub fn pair_key(&self, ours: &SigningKey, theirs: NodeId) -> Option<MacKey> {
        let point = VerifyingKey::from_bytes(theirs.as_bytes()).ok()?;
        let scalar = Zeroizing::new(ours.to_scalar_bytes());
        let shared = point.to_montgomery().mul_clamped(*scalar);
        let shared = Zeroizing::new(shared.to_bytes());
        if *shared == [0; 32] {
            return None;
        }
        let us = ours.verifying_key().to_bytes();
        let (low, high) = if us < theirs.0 {
            (us, theirs.0)
        } else {
            (theirs.0, us)
        };
        let mut mac = self.key.authenticator();
        for part in [b"meshd pair key v1".as_slice(), &*shared, &low, &high] {
            mac.update(part);
        }
        let key = Zeroizing::new(<[u8; 32]>::from(mac.finalize().into_bytes()));
        Some(MacKey::new(&key))
    }

    /// The secret of the chain of `ours` that begins at `base`, of the life that drew `instance`:
    /// as hard to guess as the node's key.
    pub(crate) fn chain_secret(
        &self,
        ours: &SigningKey,
        instance: u64,
        base: SeqNo,
    ) -> Zeroizing<[u8; 32]> {
        let scalar = Zeroizing::new(ours.to_scalar_bytes());
        let parts: [&[u8]; 4] = [
            &*scalar,
            &self.id,
            &instance.to_be_bytes(),
            &base.value().to_be_bytes(),
        ];
        Zeroizing::new(hash(b"meshd chain secret v1", &parts))
    }

    /// Tells packets of other networks from damaged ones of ours.
    pub(crate) const fn tag(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.id;
        [a, b, c, d]
    }

    /// The prefix of all mesh addresses: a unique local /48 (RFC 4193).
    pub fn prefix(&self) -> Ipv6Net {
        let [_, _, _, _, a, b, c, d, e, ..] = self.id;
        let network = Ipv6Addr::new(
            u16::from_be_bytes([0xfd, a]),
            u16::from_be_bytes([b, c]),
            u16::from_be_bytes([d, e]),
            0,
            0,
            0,
            0,
            0,
        );
        Ipv6Net::new_assert(network, 48)
    }

    /// The mesh address of a node.
    pub fn mesh_ipv6(&self, id: OriginatorId) -> Ipv6Addr {
        let mut octets = self.prefix().network().octets();
        octets[6..].copy_from_slice(id.as_bytes());
        Ipv6Addr::from(octets)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Network({})", self.name)
    }
}

/// A key of authentication codes: HMAC-SHA-256 (RFC 2104) that has taken its key in.
#[derive(Clone)]
pub struct MacKey(Hmac<Sha256>);

impl MacKey {
    fn new(key: &[u8; 32]) -> Self {
        // As long as the hash's block, padded with zeros (RFC 2104 §2).
        let mut block = Zeroizing::new([0; 64]);
        block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
        Self(Hmac::<Sha256>::new((&*block).into()))
    }

    /// A code to feed.
    pub(crate) fn authenticator(&self) -> Hmac<Sha256> {
        self.0.clone()
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey(…)")
    }
}

pub(crate) fn hash(domain: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(domain);
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: NodeId = NodeId::from_bytes([7; 32]);

    fn code(key: &MacKey) -> [u8; 32] {
        key.authenticator().finalize().into_bytes().into()
    }

    #[test]
    fn addresses_are_stable_and_in_their_ranges() {
        let network = Network::new("village");
        let id = KEY.originator_id();
        let address = network.mesh_ipv6(id);
        // Golden values: a change here renumbers every mesh in the field.
        assert_eq!(id.to_string(), "c7f0322daea724ef6aed");
        assert_eq!(
            address.to_string(),
            "fd3d:8656:4fc9:c7f0:322d:aea7:24ef:6aed"
        );
        assert!(network.prefix().contains(&address));
        for moves in 0..=255 {
            assert!(MESH_IPV4_RANGE.contains(&KEY.mesh_ipv4(moves)));
        }
        assert_ne!(KEY.mesh_ipv4(0), KEY.mesh_ipv4(1));
    }

    #[test]
    fn networks_differ_in_everything_that_follows_from_the_name() {
        let (a, b) = (Network::new("village"), Network::new("village2"));
        assert_ne!(a.id(), b.id());
        assert_ne!(a.prefix(), b.prefix());
        assert_ne!(code(a.key()), code(b.key()));
    }

    #[test]
    fn a_secret_changes_the_key_and_nothing_else() {
        let open = Network::new("village");
        let closed = Network::with_secret("village", b"long and random");
        assert_eq!(open.id(), closed.id());
        assert_eq!(open.prefix(), closed.prefix());
        assert_ne!(code(open.key()), code(closed.key()));
        let other = Network::with_secret("village", b"other");
        assert_ne!(code(other.key()), code(closed.key()));
    }

    #[test]
    fn two_nodes_share_a_key_that_a_third_has_not() {
        let network = Network::new("village");
        let [a, b, c] = [1, 2, 3].map(|byte| SigningKey::from_bytes(&[byte; 32]));
        let id = |key: &SigningKey| NodeId::from_bytes(key.verifying_key().to_bytes());
        let pair = |ours, theirs| code(&network.pair_key(ours, id(theirs)).unwrap());
        assert_eq!(pair(&a, &b), pair(&b, &a));
        assert_ne!(pair(&a, &b), pair(&a, &c));
        assert_ne!(pair(&a, &b), code(network.key()));
        let other = Network::with_secret("village", b"secret");
        assert_ne!(code(&other.pair_key(&a, id(&b)).unwrap()), pair(&a, &b));
    }

    #[test]
    fn a_key_of_small_order_shares_nothing() {
        let ours = SigningKey::from_bytes(&[1; 32]);
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let network = Network::new("village");
        assert!(
            network
                .pair_key(&ours, NodeId::from_bytes(neutral))
                .is_none()
        );
    }

    #[test]
    fn tunnel_next_hop_is_the_eui64_of_the_tunnel_mac() {
        let id = OriginatorId::from_bytes([0xa1, 0xb2, 0xc3, 0xd4, 0xe5, 0, 0, 0, 0, 0]);
        assert_eq!(id.tunnel_mac(), [0x02, 0xa1, 0xb2, 0xc3, 0xd4, 0xe5]);
        assert_eq!(id.tunnel_next_hop().to_string(), "fe80::a1:b2ff:fec3:d4e5");
    }
}
