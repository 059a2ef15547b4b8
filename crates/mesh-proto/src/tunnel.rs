//! Kinds of tunnel, and which one is between two nodes.

use std::fmt;

use crate::NodeId;

/// A set of kinds of tunnel that a node can end; unknown bits are kept for nodes that know them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnels(u8);

impl Tunnels {
    /// VXLAN (RFC 7348) over IPv6, without encryption.
    pub const VXLAN: Self = Self(1);
    /// WireGuard, with keys that follow from the nodes'.
    pub const WIREGUARD: Self = Self(2);

    /// The set as it stands in a record.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// As it stands in a record.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether all kinds of `other` are among these.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These and those.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The tunnel between a node that can end these, and `peer` that can end those: the best kind
    /// that both know. Both ends know both sets, so they agree without asking each other.
    pub fn between(self, theirs: Self, peer: NodeId) -> Option<Tunnel> {
        let both = Self(self.0 & theirs.0);
        let wireguard = both.contains(Self::WIREGUARD);
        let key = wireguard.then(|| peer.wireguard_key()).flatten();
        let vxlan = both.contains(Self::VXLAN).then_some(Tunnel::Vxlan);
        key.map(Tunnel::Wireguard).or(vxlan)
    }
}

/// How packets are wrapped on their way to another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tunnel {
    /// In VXLAN (RFC 7348).
    Vxlan,
    /// In WireGuard, for the node with this key.
    Wireguard(WireguardKey),
}

impl Tunnel {
    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vxlan => "vxlan",
            Self::Wireguard(_) => "wireguard",
        }
    }
}

/// The public key of a WireGuard peer: a point of Curve25519 (RFC 7748).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WireguardKey([u8; Self::LEN]);

impl WireguardKey {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// Takes a key as the kernel has it.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The key's bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Debug for WireguardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WireguardKey(")?;
        self.0
            .iter()
            .take(4)
            .try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("…)")
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;

    fn peer() -> NodeId {
        let key = SigningKey::from_bytes(&[3; 32]);
        NodeId::from_bytes(key.verifying_key().to_bytes())
    }

    #[test]
    fn the_best_kind_that_both_know_is_used() {
        let (vxlan, wireguard) = (Tunnels::VXLAN, Tunnels::WIREGUARD);
        let both = vxlan.union(wireguard);
        let future = Tunnels::from_bits(0x80);
        for (ours, theirs, expected) in [
            (both, both, Some("wireguard")),
            (both, vxlan, Some("vxlan")),
            (wireguard, both, Some("wireguard")),
            (wireguard, vxlan, None),
            (both, future, None),
            (both, future.union(vxlan), Some("vxlan")),
        ] {
            for (ours, theirs) in [(ours, theirs), (theirs, ours)] {
                let tunnel = ours.between(theirs, peer()).map(Tunnel::name);
                assert_eq!(tunnel, expected, "{ours:?} {theirs:?}");
            }
        }
    }

    #[test]
    fn a_node_whose_key_is_no_point_gets_no_key_of_wireguard() {
        let both = Tunnels::VXLAN.union(Tunnels::WIREGUARD);
        // No y of a point on the curve is 2 (RFC 8032 §5.1.3).
        let mut bytes = [0; 32];
        bytes[0] = 2;
        let tunnel = both.between(both, NodeId::from_bytes(bytes));
        assert_eq!(tunnel, Some(Tunnel::Vxlan));
    }
}
