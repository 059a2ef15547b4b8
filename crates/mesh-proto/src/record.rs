//! The node record: who a node is and what it offers, signed with its key.
//!
//! Records are flooded when they change and fetched on demand; an OGM only names the sequence
//! number of the newest. Layout, all integers big-endian:
//!
//! ```text
//! key (32) | epoch (4) | instance (8) | seq (4) | anchor seqno (4) | anchor value (12) |
//! ipv4 (4) | tunnels | MTU (2) | name length (1) | name | prefix count (1) | prefixes |
//! flags (1) | gateway offer if bit 0 | signature (64)
//! tunnels:       kinds (1) | key of WireGuard (32) if bit 1
//! prefix:        family 4 or 6 (1) | length (1) | address (4 or 16)
//! gateway offer: down bit/s (8) | up bit/s (8) | families (1) | DNS count (1) |
//!                DNS servers (16 each, IPv4 mapped)
//! ```
//! The signature (Ed25519, RFC 8032) covers a domain tag, the network's id, and everything
//! before it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::hash_chain::{ChainValue, Link};
use crate::identity::{MESH_IPV4_RANGE, Network, NodeId, OriginatorId};
use crate::seqno::SeqNo;
use crate::wire::ParseError;
use crate::wire::reader::Reader;
use crate::{Family, Tunnels};

/// The most bytes a name has.
pub const MAX_NAME_LEN: usize = 32;
/// The MTU of Ethernet, in bytes.
pub const USUAL_MTU: u16 = 1500;
/// The least that IPv6 asks of a link (RFC 8200 §5), in bytes.
pub const MIN_MTU: u16 = 1280;
/// The most prefixes one node announces.
pub const MAX_PREFIXES: usize = 16;
/// The most DNS servers a gateway names.
pub const MAX_DNS: usize = 4;

const DOMAIN: &[u8] = b"meshd node record v5";
const SIGNATURE_LEN: usize = 64;

/// A share of an uplink, offered to the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayOffer {
    /// Download bandwidth, bit/s.
    pub down_bps: u64,
    /// Upload bandwidth, bit/s.
    pub up_bps: u64,
    /// Whether the uplink carries IPv4.
    pub ipv4: bool,
    /// Whether the uplink carries IPv6.
    pub ipv6: bool,
    /// The uplink's DNS servers, at most [`MAX_DNS`].
    pub dns: Vec<IpAddr>,
}

/// What a node says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    /// The name its operator gave it, at most [`MAX_NAME_LEN`] bytes.
    pub name: String,
    /// Rises with every start of the node's daemon.
    pub epoch: u32,
    /// Drawn at random at every start: tells two nodes with one key apart.
    pub instance: u64,
    /// Rises with every change.
    pub seq: SeqNo,
    /// Where the chain begins that proves its sequence numbers.
    pub anchor: Link,
    /// Its IPv4 mesh address.
    pub ipv4: Ipv4Addr,
    /// Which tunnels it can end.
    pub tunnels: Tunnels,
    /// The smallest MTU of its mesh interfaces, in bytes.
    pub mtu: u16,
    /// Prefixes behind it that the mesh may reach, at most [`MAX_PREFIXES`].
    pub prefixes: Vec<IpNet>,
    /// Its uplink, if it has one that works.
    pub gateway: Option<GatewayOffer>,
}

impl NodeRecord {
    /// The record of a node that offers nothing.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            epoch: 0,
            instance: 0,
            seq: SeqNo::new(0),
            anchor: Link {
                seqno: SeqNo::new(0),
                value: ChainValue::default(),
            },
            ipv4: MESH_IPV4_RANGE.network(),
            tunnels: Tunnels::VXLAN,
            mtu: USUAL_MTU,
            prefixes: Vec::new(),
            gateway: None,
        }
    }

    /// Signs the record for `network` with the node's key. What exceeds the stated limits is
    /// left out, so that others accept what is sent.
    pub fn sign(mut self, network: &Network, key: &SigningKey) -> SignedRecord {
        truncate_name(&mut self.name);
        self.prefixes.truncate(MAX_PREFIXES);
        if let Some(gateway) = &mut self.gateway {
            gateway.dns.truncate(MAX_DNS);
        }
        let node = NodeId::from_bytes(key.verifying_key().to_bytes());
        let mut bytes = Vec::new();
        self.emit_body(node, &mut bytes);
        let signature = key.sign(&signed_message(network, &bytes));
        bytes.extend_from_slice(&signature.to_bytes());
        SignedRecord {
            node,
            originator: node.originator_id(),
            record: self,
            bytes,
        }
    }

    fn emit_body(&self, node: NodeId, out: &mut Vec<u8>) {
        out.extend_from_slice(node.as_bytes());
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out.extend_from_slice(&self.instance.to_be_bytes());
        out.extend_from_slice(&self.seq.value().to_be_bytes());
        out.extend_from_slice(&self.anchor.seqno.value().to_be_bytes());
        out.extend_from_slice(&self.anchor.value.0);
        out.extend_from_slice(&self.ipv4.octets());
        self.tunnels.emit(out);
        out.extend_from_slice(&self.mtu.to_be_bytes());
        push_len(self.name.len(), out);
        out.extend_from_slice(self.name.as_bytes());
        push_len(self.prefixes.len(), out);
        for prefix in &self.prefixes {
            emit_prefix(prefix, out);
        }
        out.push(u8::from(self.gateway.is_some()));
        if let Some(gateway) = &self.gateway {
            gateway.emit(out);
        }
    }

    fn parse_body(reader: &mut Reader<'_>) -> Result<(NodeId, Self), ParseError> {
        let node = NodeId::from_bytes(reader.array()?);
        let epoch = reader.u32()?;
        let instance = reader.u64()?;
        let seq = reader.seqno()?;
        let anchor = Link {
            seqno: reader.seqno()?,
            value: ChainValue(reader.array()?),
        };
        let ipv4 = Ipv4Addr::from(reader.array::<4>()?);
        if !MESH_IPV4_RANGE.contains(&ipv4) {
            return Err(ParseError::Malformed);
        }
        let tunnels = Tunnels::parse(reader)?;
        let mtu = reader.u16()?;
        let name = parse_name(reader)?;
        let prefixes = parse_list(reader, MAX_PREFIXES, parse_prefix)?;
        let gateway = match reader.u8()? {
            0 => None,
            1 => Some(GatewayOffer::parse(reader)?),
            _ => return Err(ParseError::Malformed),
        };
        Ok((
            node,
            Self {
                name,
                epoch,
                instance,
                seq,
                anchor,
                ipv4,
                tunnels,
                mtu,
                prefixes,
                gateway,
            },
        ))
    }
}

impl GatewayOffer {
    const IPV4: u8 = 1;
    const IPV6: u8 = 2;

    /// Whether the uplink carries a family.
    pub const fn carries(&self, family: Family) -> bool {
        match family {
            Family::Ipv4 => self.ipv4,
            Family::Ipv6 => self.ipv6,
        }
    }

    fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.down_bps.to_be_bytes());
        out.extend_from_slice(&self.up_bps.to_be_bytes());
        let ipv4 = if self.ipv4 { Self::IPV4 } else { 0 };
        let ipv6 = if self.ipv6 { Self::IPV6 } else { 0 };
        out.push(ipv4 | ipv6);
        push_len(self.dns.len(), out);
        for server in &self.dns {
            let mapped = match server {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => *v6,
            };
            out.extend_from_slice(&mapped.octets());
        }
    }

    fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let down_bps = reader.u64()?;
        let up_bps = reader.u64()?;
        let families = reader.u8()?;
        if families == 0 || families > (Self::IPV4 | Self::IPV6) {
            return Err(ParseError::Malformed);
        }
        let dns = parse_list(reader, MAX_DNS, |reader| {
            let address = Ipv6Addr::from(reader.array::<16>()?);
            Ok(address
                .to_ipv4_mapped()
                .map_or(IpAddr::V6(address), IpAddr::V4))
        })?;
        let (ipv4, ipv6) = (families & Self::IPV4 != 0, families & Self::IPV6 != 0);
        Ok(Self {
            down_bps,
            up_bps,
            ipv4,
            ipv6,
            dns,
        })
    }
}

/// A record with its signature, as it travels. Parsing checks the form; whether the signature is
/// right only [`SignedRecord::verify`] says, because it costs a thousand times as much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRecord {
    node: NodeId,
    /// The hash of `node`, which is asked for all the time.
    originator: OriginatorId,
    record: NodeRecord,
    bytes: Vec<u8>,
}

impl SignedRecord {
    /// The node whose key signed it.
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// What it says.
    pub const fn record(&self) -> &NodeRecord {
        &self.record
    }

    /// The short name of the node it is about.
    pub const fn originator(&self) -> OriginatorId {
        self.originator
    }

    /// Whether the signature is the node's, over this record, for this network. Strict: weak
    /// keys and malleable signatures are refused.
    pub fn verify(&self, network: &Network) -> bool {
        let Some((body, signature)) = self.bytes.split_last_chunk::<SIGNATURE_LEN>() else {
            return false;
        };
        let Ok(key) = VerifyingKey::from_bytes(self.node.as_bytes()) else {
            return false;
        };
        let signature = Signature::from_bytes(signature);
        key.verify_strict(&signed_message(network, body), &signature)
            .is_ok()
    }

    pub(crate) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let bytes = reader.take_rest();
        let Some((body, _)) = bytes.split_last_chunk::<SIGNATURE_LEN>() else {
            return Err(ParseError::Truncated);
        };
        let mut body = Reader::new(body);
        let (node, record) = NodeRecord::parse_body(&mut body)?;
        body.finish()?;
        Ok(Self {
            node,
            originator: node.originator_id(),
            record,
            bytes: bytes.to_vec(),
        })
    }

    pub(crate) fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes);
    }
}

fn signed_message(network: &Network, body: &[u8]) -> Vec<u8> {
    [DOMAIN, network.id(), body].concat()
}

/// Shortens a name to [`MAX_NAME_LEN`] bytes at a character boundary.
fn truncate_name(name: &mut String) {
    name.truncate(name.floor_char_boundary(MAX_NAME_LEN));
}

fn push_len(len: usize, out: &mut Vec<u8>) {
    // Lists and names are cut to far fewer than 255 before they get here.
    out.push(u8::try_from(len).unwrap_or(u8::MAX));
}

fn parse_name(reader: &mut Reader<'_>) -> Result<String, ParseError> {
    let len = usize::from(reader.u8()?);
    let name = std::str::from_utf8(reader.take(len)?).map_err(|_| ParseError::Malformed)?;
    // Names end up on terminals and in logs.
    if len > MAX_NAME_LEN || name.chars().any(char::is_control) {
        return Err(ParseError::Malformed);
    }
    Ok(name.to_owned())
}

fn parse_list<T>(
    reader: &mut Reader<'_>,
    max: usize,
    item: impl Fn(&mut Reader<'_>) -> Result<T, ParseError>,
) -> Result<Vec<T>, ParseError> {
    let count = usize::from(reader.u8()?);
    if count > max {
        return Err(ParseError::Malformed);
    }
    (0..count).map(|_| item(reader)).collect()
}

fn emit_prefix(prefix: &IpNet, out: &mut Vec<u8>) {
    match prefix {
        IpNet::V4(net) => {
            out.extend_from_slice(&[4, net.prefix_len()]);
            out.extend_from_slice(&net.network().octets());
        }
        IpNet::V6(net) => {
            out.extend_from_slice(&[6, net.prefix_len()]);
            out.extend_from_slice(&net.network().octets());
        }
    }
}

fn parse_prefix(reader: &mut Reader<'_>) -> Result<IpNet, ParseError> {
    let (family, len) = (reader.u8()?, reader.u8()?);
    let net = match family {
        4 => Ipv4Net::new(Ipv4Addr::from(reader.array::<4>()?), len).map(IpNet::V4),
        6 => Ipv6Net::new(Ipv6Addr::from(reader.array::<16>()?), len).map(IpNet::V6),
        _ => return Err(ParseError::Malformed),
    }
    .map_err(|_| ParseError::Malformed)?;
    if net != net.trunc() {
        Err(ParseError::Malformed)
    } else {
        Ok(net)
    }
}

/// Whether a mesh of `network` takes a route to `prefix` from a stranger's announcement. Not the
/// default route and nothing near it, nothing a host keeps for itself, and nothing of the mesh's
/// own ranges, whose addresses follow from keys.
pub fn is_announceable(network: &Network, prefix: &IpNet) -> bool {
    match prefix {
        IpNet::V4(net) => {
            let first = net.network();
            let special = first.is_loopback()
                || first.is_link_local()
                || first.is_multicast()
                || first.is_unspecified();
            let of_the_mesh = MESH_IPV4_RANGE.contains(net) || net.contains(&MESH_IPV4_RANGE);
            net.prefix_len() >= 8 && !special && !of_the_mesh
        }
        IpNet::V6(net) => {
            let first = net.network();
            let mesh = network.prefix();
            let unicast = first.is_unique_local() || first.segments()[0] & 0xe000 == 0x2000;
            let of_the_mesh = mesh.contains(net) || net.contains(&mesh);
            net.prefix_len() >= 16 && unicast && !of_the_mesh
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WireguardKey;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[3; 32])
    }

    fn network() -> Network {
        Network::new("village")
    }

    fn full_record() -> NodeRecord {
        NodeRecord {
            epoch: 3,
            instance: 0x1234_5678_9abc_def0,
            seq: SeqNo::new(9),
            anchor: Link {
                seqno: SeqNo::new(77),
                value: ChainValue([6; ChainValue::LEN]),
            },
            ipv4: Ipv4Addr::new(100, 64, 1, 2),
            tunnels: Tunnels::wireguard(WireguardKey::from_bytes([8; 32])).or_vxlan(),
            mtu: 1400,
            prefixes: vec!["10.1.2.0/24".parse().unwrap(), "fd12::/64".parse().unwrap()],
            gateway: Some(GatewayOffer {
                down_bps: 20_000_000,
                up_bps: 5_000_000,
                ipv4: true,
                ipv6: false,
                dns: vec![
                    "192.0.2.1".parse().unwrap(),
                    "2001:db8::53".parse().unwrap(),
                ],
            }),
            ..NodeRecord::new("路由器-1")
        }
    }

    fn reparse(bytes: &[u8]) -> Result<SignedRecord, ParseError> {
        SignedRecord::parse(&mut Reader::new(bytes))
    }

    #[test]
    fn round_trip_with_everything() {
        let signed = full_record().sign(&network(), &key());
        let again = reparse(&signed.bytes).unwrap();
        assert_eq!(again, signed);
        assert_eq!(again.record(), &full_record());
        assert!(again.verify(&network()));
    }

    #[test]
    fn a_record_is_not_valid_in_another_network() {
        let signed = full_record().sign(&network(), &key());
        assert!(!signed.verify(&Network::new("other")));
    }

    #[test]
    fn no_flipped_bit_leaves_a_valid_record() {
        let signed = full_record().sign(&network(), &key());
        for bit in 0..signed.bytes.len() * 8 {
            let mut damaged = signed.bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if let Ok(record) = reparse(&damaged) {
                assert!(!record.verify(&network()), "bit {bit}");
            }
        }
    }

    #[test]
    fn no_truncated_record_is_valid() {
        let signed = full_record().sign(&network(), &key());
        for len in 0..signed.bytes.len() {
            if let Ok(record) = reparse(&signed.bytes[..len]) {
                assert!(!record.verify(&network()), "{len} bytes");
            }
        }
    }

    #[test]
    fn what_exceeds_the_limits_is_left_out_before_signing() {
        let mut record = full_record();
        record.name = "路".repeat(20);
        record.prefixes = vec!["10.1.2.0/24".parse().unwrap(); 40];
        let signed = record.sign(&network(), &key());
        assert_eq!(signed.record().name, "路".repeat(10));
        assert_eq!(signed.record().prefixes.len(), MAX_PREFIXES);
        assert!(reparse(&signed.bytes).unwrap().verify(&network()));
    }

    #[test]
    fn names_cannot_drive_a_terminal() {
        let mut record = full_record();
        record.name = "evil\u{1b}[2J".to_owned();
        assert_eq!(
            reparse(&record.sign(&network(), &key()).bytes),
            Err(ParseError::Malformed)
        );
    }

    #[test]
    fn announcements_cannot_take_what_is_not_theirs() {
        let network = network();
        let allowed = |prefix: &str| is_announceable(&network, &prefix.parse().unwrap());
        for good in [
            "10.1.2.0/24",
            "192.168.7.0/24",
            "203.0.113.0/24",
            "fd12::/64",
            "2001:db8::/32",
        ] {
            assert!(allowed(good), "{good}");
        }
        let mesh = format!("{}", network.prefix());
        for bad in [
            "0.0.0.0/0",
            "0.0.0.0/1",
            "128.0.0.0/1",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "224.0.0.0/8",
            "100.64.0.0/10",
            "100.64.1.2/32",
            "100.0.0.0/8",
            "::/0",
            "2000::/3",
            "fe80::/64",
            "ff02::/16",
            "::1/128",
            mesh.as_str(),
            "fc00::/7",
        ] {
            assert!(!allowed(bad), "{bad}");
        }
    }
}
