//! A node's entry in the map of the mesh: where it stands, and how well it hears whom, signed with its key.
//!
//! It is no part of the node record: routing works without it, it changes at other times, and it travels in parts
//! of its own, which nodes that do not know them skip. Layout, all integers big-endian:
//!
//! ```text
//! originator (10) | epoch (4) | seq (4) | flags (1) | latitude (4) | longitude (4), both if bit 0 |
//! link count (1) | links | later fields | signature (64)
//! link: originator (10) | quality (1)
//! ```
//! The signature (Ed25519, RFC 8032) covers a domain tag, the network's id, and everything before it. Fields that
//! later versions add are skipped, and passed on as they came.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::identity::{Network, NodeId, OriginatorId, hash};
use crate::wire::ParseError;
use crate::wire::reader::Reader;

/// The most links that an entry names: the best, as far as a drawing shows them.
pub const MAX_LINKS: usize = 16;

const DOMAIN: &[u8] = b"meshd map entry v1";
const SIGNATURE_LEN: usize = 64;
/// The most bytes of an entry, with room for later fields: it fits a packet of every link.
const MAX_LEN: usize = 512;
const HAS_POSITION: u8 = 1;

/// A place on the earth (WGS 84).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    latitude_udeg: i32,
    longitude_udeg: i32,
}

impl Position {
    /// A place by its latitude (north is positive) and longitude (east is positive) in millionths of a degree,
    /// 11 cm at most; `None` beyond 90° or 180°.
    pub const fn new(latitude_udeg: i32, longitude_udeg: i32) -> Option<Self> {
        let is_on_earth = latitude_udeg.unsigned_abs() <= 90_000_000
            && longitude_udeg.unsigned_abs() <= 180_000_000;
        match is_on_earth {
            true => Some(Self {
                latitude_udeg,
                longitude_udeg,
            }),
            false => None,
        }
    }

    /// In millionths of a degree, north is positive.
    pub const fn latitude_udeg(self) -> i32 {
        self.latitude_udeg
    }

    /// In millionths of a degree, east is positive.
    pub const fn longitude_udeg(self) -> i32 {
        self.longitude_udeg
    }
}

/// A neighbor, as the node of the entry hears it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapLink {
    /// The neighbor.
    pub to: OriginatorId,
    /// The share of its hellos that arrive, 0 to 255.
    pub quality: u8,
}

/// What a node says of its place in the mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapEntry {
    /// Rises with every start of the node's daemon.
    pub epoch: u32,
    /// Rises with every change within an epoch.
    pub seq: u32,
    /// Where it stands, if its operator says so.
    pub position: Option<Position>,
    /// Its best links, at most [`MAX_LINKS`], by rising id.
    pub links: Vec<MapLink>,
}

impl MapEntry {
    /// What tells a newer entry of a node from an older one.
    pub const fn stamp(&self) -> (u32, u32) {
        (self.epoch, self.seq)
    }

    /// Signs the entry for `network` with the node's key. Links beyond [`MAX_LINKS`] are left out.
    pub fn sign(mut self, network: &Network, key: &SigningKey) -> SignedMapEntry {
        self.links.sort_by_key(|link| link.to);
        self.links.dedup_by_key(|link| link.to);
        self.links.truncate(MAX_LINKS);
        let originator = NodeId::from_bytes(key.verifying_key().to_bytes()).originator_id();
        let mut bytes = Vec::new();
        self.emit_body(originator, &mut bytes);
        let signature = key.sign(&signed_message(network, &bytes));
        bytes.extend_from_slice(&signature.to_bytes());
        SignedMapEntry {
            originator,
            entry: self,
            bytes,
        }
    }

    fn emit_body(&self, originator: OriginatorId, out: &mut Vec<u8>) {
        out.extend_from_slice(originator.as_bytes());
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.push(self.position.map_or(0, |_| HAS_POSITION));
        if let Some(position) = self.position {
            out.extend_from_slice(&position.latitude_udeg.to_be_bytes());
            out.extend_from_slice(&position.longitude_udeg.to_be_bytes());
        }
        // Cut to MAX_LINKS before.
        out.push(u8::try_from(self.links.len()).unwrap_or(u8::MAX));
        for link in &self.links {
            out.extend_from_slice(link.to.as_bytes());
            out.push(link.quality);
        }
    }

    fn parse_body(reader: &mut Reader<'_>) -> Result<(OriginatorId, Self), ParseError> {
        let originator = reader.originator_id()?;
        let (epoch, seq) = (reader.u32()?, reader.u32()?);
        let position = match reader.u8()? {
            0 => None,
            HAS_POSITION => Some(parse_position(reader)?),
            _ => return Err(ParseError::Malformed),
        };
        let count = usize::from(reader.u8()?);
        if count > MAX_LINKS {
            return Err(ParseError::Malformed);
        }
        let link = |reader: &mut Reader<'_>| {
            Ok(MapLink {
                to: reader.originator_id()?,
                quality: reader.u8()?,
            })
        };
        let links: Vec<MapLink> = (0..count)
            .map(|_| link(reader))
            .collect::<Result<_, ParseError>>()?;
        // One way to write each entry, and none that names a neighbor twice, or the node itself.
        let is_sorted = links.is_sorted_by(|one, next| one.to < next.to);
        if !is_sorted || links.iter().any(|link| link.to == originator) {
            return Err(ParseError::Malformed);
        }
        let entry = Self {
            epoch,
            seq,
            position,
            links,
        };
        Ok((originator, entry))
    }
}

fn parse_position(reader: &mut Reader<'_>) -> Result<Position, ParseError> {
    let latitude = i32::from_be_bytes(reader.array()?);
    let longitude = i32::from_be_bytes(reader.array()?);
    Position::new(latitude, longitude).ok_or(ParseError::Malformed)
}

/// An entry with its signature, as it travels. Parsing checks the form, [`SignedMapEntry::verify`] the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedMapEntry {
    originator: OriginatorId,
    entry: MapEntry,
    bytes: Vec<u8>,
}

impl SignedMapEntry {
    /// The node it is about.
    pub const fn originator(&self) -> OriginatorId {
        self.originator
    }

    /// What it says.
    pub const fn entry(&self) -> &MapEntry {
        &self.entry
    }

    /// Whether `node`, which the entry has to be about, signed it for this network. Strict, as for records.
    pub fn verify(&self, network: &Network, node: NodeId) -> bool {
        let Some((body, signature)) = self.bytes.split_last_chunk::<SIGNATURE_LEN>() else {
            return false;
        };
        let Ok(key) = VerifyingKey::from_bytes(node.as_bytes()) else {
            return false;
        };
        let signature = Signature::from_bytes(signature);
        node.originator_id() == self.originator
            && key
                .verify_strict(&signed_message(network, body), &signature)
                .is_ok()
    }

    /// What stands for it in a digest of the map.
    pub(crate) fn digest(&self) -> u64 {
        let (epoch, seq) = self.entry.stamp();
        let parts: [&[u8]; 3] = [
            self.originator.as_bytes(),
            &epoch.to_be_bytes(),
            &seq.to_be_bytes(),
        ];
        let hash = hash(b"meshd map digest v1", &parts);
        hash.first_chunk().map_or(0, |it| u64::from_be_bytes(*it))
    }

    pub(crate) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let bytes = reader.take_rest();
        if bytes.len() > MAX_LEN {
            return Err(ParseError::Malformed);
        }
        let Some((body, _)) = bytes.split_last_chunk::<SIGNATURE_LEN>() else {
            return Err(ParseError::Truncated);
        };
        let (originator, entry) = MapEntry::parse_body(&mut Reader::new(body))?;
        Ok(Self {
            originator,
            entry,
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[3; 32])
    }

    fn node() -> NodeId {
        NodeId::from_bytes(key().verifying_key().to_bytes())
    }

    fn network() -> Network {
        Network::new("village")
    }

    fn id(byte: u8) -> OriginatorId {
        OriginatorId::from_bytes([byte; 10])
    }

    fn entry() -> MapEntry {
        MapEntry {
            epoch: 3,
            seq: 9,
            position: Position::new(52_520_008, -13_404_954),
            links: [1, 2]
                .map(|byte| MapLink {
                    to: id(byte),
                    quality: 250 - byte,
                })
                .to_vec(),
        }
    }

    fn reparse(bytes: &[u8]) -> Result<SignedMapEntry, ParseError> {
        SignedMapEntry::parse(&mut Reader::new(bytes))
    }

    fn signed_body(body: &[u8]) -> Vec<u8> {
        let signature = key().sign(&signed_message(&network(), body)).to_bytes();
        [body, &signature].concat()
    }

    fn body() -> Vec<u8> {
        let bytes = entry().sign(&network(), &key()).bytes;
        bytes[..bytes.len() - SIGNATURE_LEN].to_vec()
    }

    #[test]
    fn golden_bytes() {
        let hex: String = body().iter().map(|byte| format!("{byte:02x}")).collect();
        let id: String = node().originator_id().to_string();
        let position = "03216448ff3374e6";
        let links = "01010101010101010101f902020202020202020202f8";
        assert_eq!(hex, format!("{id}000000030000000901{position}02{links}"));
    }

    #[test]
    fn only_its_node_for_its_network_signs_it() {
        let signed = entry().sign(&network(), &key());
        assert!(signed.verify(&network(), node()));
        assert!(!signed.verify(&Network::new("town"), node()));
        let other = SigningKey::from_bytes(&[4; 32]);
        let stranger = NodeId::from_bytes(other.verifying_key().to_bytes());
        assert!(!signed.verify(&network(), stranger));
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        let bytes = entry().sign(&network(), &key()).bytes;
        for len in 0..bytes.len() {
            let cut = reparse(&bytes[..len]);
            assert!(!cut.is_ok_and(|it| it.verify(&network(), node())), "{len}");
        }
    }

    #[test]
    fn every_bit_counts() {
        let bytes = entry().sign(&network(), &key()).bytes;
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let flipped = reparse(&bytes);
            assert!(
                !flipped.is_ok_and(|it| it.verify(&network(), node())),
                "{bit}"
            );
        }
    }

    #[test]
    fn positions_are_on_earth_and_links_few_and_in_order() {
        let body = body();
        let changed = |at: usize, with: &[u8]| {
            let mut body = body.clone();
            body[at..at + with.len()].copy_from_slice(with);
            reparse(&signed_body(&body))
        };
        assert!(changed(19, &90_000_000_i32.to_be_bytes()).is_ok());
        assert!(changed(19, &90_000_001_i32.to_be_bytes()).is_err());
        assert!(changed(19, &i32::MIN.to_be_bytes()).is_err());
        assert!(changed(23, &(-180_000_001_i32).to_be_bytes()).is_err());
        assert!(changed(18, &[2]).is_err(), "an unknown flag");
        assert!(changed(28, &[2; 10]).is_err(), "twice the same neighbor");
        assert!(changed(28, &[3; 10]).is_err(), "not in order");
        assert!(
            changed(28, node().originator_id().as_bytes()).is_err(),
            "itself"
        );

        let many = |count: u8| {
            let mut bytes = body[..27].to_vec();
            bytes.push(count);
            (0..count)
                .for_each(|it| bytes.extend_from_slice(&[[it; 10].as_slice(), &[9]].concat()));
            reparse(&signed_body(&bytes))
        };
        assert_eq!(many(16).unwrap().entry().links.len(), MAX_LINKS);
        assert!(many(17).is_err());
    }

    #[test]
    fn later_fields_are_passed_on_and_bounded() {
        let later = [body(), vec![7; 100]].concat();
        let signed = reparse(&signed_body(&later)).unwrap();
        assert_eq!(signed.entry(), &entry());
        assert!(signed.verify(&network(), node()));
        let mut out = Vec::new();
        signed.emit(&mut out);
        assert_eq!(out, signed_body(&later));
        assert!(reparse(&signed_body(&[body(), vec![7; 500]].concat())).is_err());
    }

    proptest! {
        #[test]
        fn what_is_signed_comes_back(
            epoch: u32,
            seq: u32,
            place in prop::option::of((-90_000_000..=90_000_000, -180_000_000..=180_000_000)),
            links in prop::collection::btree_map(prop::array::uniform10(any::<u8>()), any::<u8>(), 0..=MAX_LINKS),
        ) {
            let links = links.into_iter().map(|(to, quality)| MapLink {
                to: OriginatorId::from_bytes(to),
                quality,
            });
            let entry = MapEntry {
                epoch,
                seq,
                position: place.and_then(|(latitude, longitude)| Position::new(latitude, longitude)),
                links: links.collect(),
            };
            let signed = entry.clone().sign(&network(), &key());
            let again = reparse(&signed.bytes).unwrap();
            prop_assert_eq!(again.entry(), &entry);
            prop_assert_eq!(&again, &signed);
            prop_assert!(again.verify(&network(), node()));
        }
    }
}
