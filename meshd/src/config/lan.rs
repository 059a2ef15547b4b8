//! LAN interfaces and the prefixes behind them.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mesh_proto::Network;
use mesh_proto::identity::MESH_IPV4_RANGE;
use mesh_proto::record::MAX_PREFIXES;

use super::error::quoted;
use super::fields::{Fields, Value, scalar};
use super::path::{Fault, Path};
use super::values::{InterfaceName, ModeWord, NetworkName};

pub(super) const KEYS: &[&str] = &["interface", "mode", "prefixes"];

/// An interface with people's devices behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lan {
    interface: InterfaceName,
    mode: LanMode,
}

/// How the devices of a LAN appear in the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LanMode {
    /// Behind the node's own mesh address: every router may use the same private range.
    Masquerade,
    /// With their own addresses, out of these prefixes, which the node announces. There is at
    /// least one, all are in canonical form, and no two prefixes of a configuration overlap.
    Routed {
        /// What is announced.
        prefixes: Vec<IpNet>,
    },
}

/// These are not for hosts, or mean the host itself; whoever announced them would harm others.
const SPECIAL_IPV4: &[(Ipv4Net, &str)] = &[
    (
        Ipv4Net::new_assert(Ipv4Addr::new(0, 0, 0, 0), 8),
        "\"this network\" (RFC 1122)",
    ),
    (MESH_IPV4_RANGE, "the mesh's own range"),
    (
        Ipv4Net::new_assert(Ipv4Addr::LOCALHOST, 8),
        "the loopback range",
    ),
    (
        Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16),
        "the link-local range",
    ),
    (
        Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4),
        "the multicast range",
    ),
    (
        Ipv4Net::new_assert(Ipv4Addr::new(240, 0, 0, 0), 4),
        "a reserved range",
    ),
];

const UNICAST_IPV6: [Ipv6Net; 2] = [
    Ipv6Net::new_assert(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3),
    Ipv6Net::new_assert(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
];

/// Half the Internet is as bad as a default route; other nodes refuse anything shorter too.
const MIN_IPV4_LEN: u8 = 8;
const MIN_IPV6_LEN: u8 = 16;

impl Lan {
    /// The interface.
    pub const fn interface(&self) -> &InterfaceName {
        &self.interface
    }

    /// How it is connected.
    pub const fn mode(&self) -> &LanMode {
        &self.mode
    }

    /// What is announced for it; nothing if it is masqueraded.
    pub fn prefixes(&self) -> &[IpNet] {
        match &self.mode {
            LanMode::Masquerade => &[],
            LanMode::Routed { prefixes } => prefixes,
        }
    }

    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, Fault> {
        let interface = fields.required("interface")?;
        let prefixes = fields
            .list(
                "prefixes",
                MAX_PREFIXES,
                "a list such as [10.1.2.0/24, fd12::/64]",
            )?
            .into_iter()
            .map(|(path, node)| scalar::<IpNet>(node, path))
            .collect::<Result<Vec<_>, _>>()?;
        let mode = fields.optional("mode")?.unwrap_or(ModeWord::Masquerade);
        let mode = match (mode, prefixes.is_empty()) {
            (ModeWord::Masquerade, true) => LanMode::Masquerade,
            (ModeWord::Routed, false) => LanMode::Routed { prefixes },
            (ModeWord::Routed, true) => {
                let allowed = "at least one prefix where mode is routed";
                return Err(fields.missing("prefixes", allowed));
            }
            (ModeWord::Masquerade, false) => {
                let what = "are not announced for a masqueraded LAN";
                return Err(Fault::new(
                    fields.path_of("prefixes"),
                    what,
                    "only with mode: routed",
                ));
            }
        };
        Ok(Self { interface, mode })
    }
}

impl Value for IpNet {
    const ALLOWED: &'static str = "a private, unique local or global unicast prefix, from /8 \
        (IPv6: /16) on, without host bits, such as 10.1.2.0/24 or fd12::/64";

    fn from_text(text: &str) -> Result<Self, String> {
        let Some(prefix) = parse_prefix(text) else {
            return Err(format!("{} is not a prefix", quoted(text)));
        };
        if prefix != prefix.trunc() {
            return Err(format!(
                "{prefix} has host bits, did you mean {}?",
                prefix.trunc()
            ));
        }
        match &prefix {
            Self::V4(net) => check_ipv4(net)?,
            Self::V6(net) => check_ipv6(net)?,
        }
        Ok(prefix)
    }
}

/// Stricter than [`IpNet`]'s own parser, which reads `010.0.0.0` as 10.0.0.0 where C reads octal.
fn parse_prefix(text: &str) -> Option<IpNet> {
    let (address, len) = text.split_once('/')?;
    let decimal = len.bytes().all(|b| b.is_ascii_digit()) && (len == "0" || !len.starts_with('0'));
    let len = decimal.then(|| len.parse().ok())??;
    IpNet::new(address.parse().ok()?, len).ok()
}

fn check_ipv4(net: &Ipv4Net) -> Result<(), String> {
    if net.prefix_len() < MIN_IPV4_LEN {
        return Err(format!("{net} is too large"));
    }
    let overlapping = |(special, _): &&(Ipv4Net, _)| overlap(&(*special).into(), &(*net).into());
    match SPECIAL_IPV4.iter().find(overlapping) {
        Some((_, name)) => Err(format!("{net} is in {name}")),
        None => Ok(()),
    }
}

fn check_ipv6(net: &Ipv6Net) -> Result<(), String> {
    if net.prefix_len() < MIN_IPV6_LEN {
        return Err(format!("{net} is too large"));
    }
    match UNICAST_IPV6.iter().any(|unicast| unicast.contains(net)) {
        true => Ok(()),
        false => Err(format!("{net} is neither unique local nor global unicast")),
    }
}

/// Prefixes are aligned, so they overlap exactly if one contains the other.
fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

/// Checks what can be said only about all prefixes of a configuration together.
pub(super) fn check_prefixes(
    network: &NetworkName,
    lans: &[Lan],
    path: &Path,
) -> Result<(), Fault> {
    let mesh = IpNet::from(Network::new(network.as_str()).prefix());
    let mut seen: Vec<(Path, &IpNet)> = Vec::new();
    for (index, lan) in lans.iter().enumerate() {
        let path = path.index(index).key("prefixes");
        for (index, prefix) in lan.prefixes().iter().enumerate() {
            let path = path.index(index);
            check_prefix(prefix, &path, &mesh, &seen)?;
            seen.push((path, prefix));
        }
        if seen.len() > MAX_PREFIXES {
            let what = format!("with it {} prefixes are announced", seen.len());
            return Err(Fault::new(
                path,
                what,
                format!("at most {MAX_PREFIXES} on one node"),
            ));
        }
    }
    Ok(())
}

fn check_prefix(
    prefix: &IpNet,
    path: &Path,
    mesh: &IpNet,
    seen: &[(Path, &IpNet)],
) -> Result<(), Fault> {
    if overlap(prefix, mesh) {
        let what = format!("{prefix} overlaps the mesh's own addresses, {mesh}");
        return Err(Fault::new(path.clone(), what, "another prefix"));
    }
    match seen.iter().find(|(_, other)| overlap(prefix, other)) {
        Some((earlier, other)) => {
            let what = format!("{prefix} overlaps {other} of {earlier}");
            Err(Fault::new(
                path.clone(),
                what,
                "prefixes that do not overlap",
            ))
        }
        None => Ok(()),
    }
}
