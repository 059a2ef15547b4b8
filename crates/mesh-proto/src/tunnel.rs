//! Kinds of tunnel, and which one is between two nodes.

use std::fmt;

use crate::wire::ParseError;
use crate::wire::reader::Reader;

/// A set of kinds of tunnel that a node can end; unknown bits are kept for nodes that know them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnels {
    /// All kinds but WireGuard.
    bits: u8,
    /// The key of the node's ends of WireGuard, if it has any.
    wireguard: Option<WireguardKey>,
}

impl Tunnels {
    /// VXLAN (RFC 7348) over IPv6, without encryption.
    pub const VXLAN: Self = Self {
        bits: 1,
        wireguard: None,
    };
    /// The bit that says that a key of WireGuard follows.
    const WIREGUARD: u8 = 2;

    /// WireGuard, with ends that have this key.
    pub const fn wireguard(key: WireguardKey) -> Self {
        Self {
            bits: 0,
            wireguard: Some(key),
        }
    }

    /// These, and VXLAN.
    #[must_use]
    pub const fn or_vxlan(self) -> Self {
        Self {
            bits: self.bits | Self::VXLAN.bits,
            ..self
        }
    }

    /// Whether VXLAN is among them.
    pub const fn has_vxlan(self) -> bool {
        self.bits & Self::VXLAN.bits != 0
    }

    /// The tunnel from a node that can end these to one that can end those: the best kind that both know.
    /// Both ends know both sets, so they agree without asking each other.
    pub fn to(self, theirs: Self) -> Option<Tunnel> {
        let key = self.wireguard.and(theirs.wireguard);
        let vxlan = (self.has_vxlan() && theirs.has_vxlan()).then_some(Tunnel::Vxlan);
        key.map(Tunnel::Wireguard).or(vxlan)
    }

    /// Writes the set as it stands in a record: kinds (1) | key of WireGuard (32) if bit 1.
    pub(crate) fn emit(self, out: &mut Vec<u8>) {
        let wireguard = self.wireguard.map_or(0, |_| Self::WIREGUARD);
        out.push(self.bits | wireguard);
        if let Some(key) = &self.wireguard {
            out.extend_from_slice(key.as_bytes());
        }
    }

    pub(crate) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let bits = reader.u8()?;
        let wireguard = match bits & Self::WIREGUARD {
            0 => None,
            _ => Some(WireguardKey::from_bytes(reader.array()?)),
        };
        Ok(Self {
            bits: bits & !Self::WIREGUARD,
            wireguard,
        })
    }
}

/// How packets are wrapped on their way to another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tunnel {
    /// In VXLAN (RFC 7348).
    Vxlan,
    /// In WireGuard, for the end with this key.
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
    use super::*;

    #[test]
    fn the_best_kind_that_both_know_is_used() {
        let vxlan = Tunnels::VXLAN;
        let wireguard = Tunnels::wireguard(WireguardKey::from_bytes([3; 32]));
        let both = wireguard.or_vxlan();
        let future = Tunnels {
            bits: 0x80,
            wireguard: None,
        };
        for (ours, theirs, expected) in [
            (both, both, Some("wireguard")),
            (both, vxlan, Some("vxlan")),
            (wireguard, both, Some("wireguard")),
            (wireguard, vxlan, None),
            (both, future, None),
            (both, future.or_vxlan(), Some("vxlan")),
        ] {
            for (ours, theirs) in [(ours, theirs), (theirs, ours)] {
                let tunnel = ours.to(theirs).map(Tunnel::name);
                assert_eq!(tunnel, expected, "{ours:?} {theirs:?}");
            }
        }
    }

    #[test]
    fn packets_are_for_the_key_at_the_other_end() {
        let [ours, theirs] = [3, 4].map(|byte| WireguardKey::from_bytes([byte; 32]));
        let tunnel = Tunnels::wireguard(ours).to(Tunnels::wireguard(theirs));
        assert_eq!(tunnel, Some(Tunnel::Wireguard(theirs)));
    }
}
