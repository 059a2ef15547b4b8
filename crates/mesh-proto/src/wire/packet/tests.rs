//! Golden bytes, round trips, and what damage does to a packet.

use std::net::Ipv6Addr;

use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::*;
use crate::wire::{Hello, LinkReport, Ogm, Payload, RecordRequest, ReportEntry};
use crate::{Metric, NodeRecord, SeqNo};

const SOURCE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

fn network() -> Network {
    Network::new("village")
}

fn id(byte: u8) -> OriginatorId {
    OriginatorId::from_bytes([byte; 10])
}

fn one_of_each() -> Vec<Tlv> {
    let key = SigningKey::from_bytes(&[3; 32]);
    let record = NodeRecord::new("router-1").sign(&network(), &key);
    vec![
        Tlv::Hello(Hello {
            seqno: 7,
            interval_ms: 500,
            boot: 0xdead_beef,
            warm: true,
        }),
        Tlv::LinkReport(LinkReport {
            entries: vec![ReportEntry {
                neighbor: id(9),
                boot: 0xfeed_f00d,
                quality: 200,
            }],
        }),
        Tlv::Ogm(Ogm {
            originator: id(4),
            seqno: SeqNo::new(77),
            metric: Metric::from_us(1234),
            record_seq: SeqNo::new(5),
            hops: 3,
        }),
        Tlv::Record(Box::new(record)),
        Tlv::RecordRequest(RecordRequest { originator: id(8) }),
        Tlv::Payload(Payload {
            receiver: id(2),
            channel: 1,
            bytes: b"receipt".to_vec(),
        }),
    ]
}

fn build(tlvs: &[Tlv], max_len: usize) -> Vec<Vec<u8>> {
    let network = network();
    let mut builder = PacketBuilder::new(&network, id(1), SOURCE, max_len);
    tlvs.iter().for_each(|tlv| builder.push(tlv));
    builder.finish()
}

#[test]
fn golden_bytes_of_a_hello() {
    let hello = Tlv::Hello(Hello {
        seqno: 7,
        interval_ms: 500,
        boot: 1,
        warm: false,
    });
    let hex: String = build(&[hello], 1200)[0]
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(
        hex,
        "6d01003021859bd2010101010101010101010000010009000701f4000000\
         0100c97afb301db352ddb08cf96c54818b45"
    );
}

#[test]
fn every_part_survives_the_round_trip() {
    let packets = build(&one_of_each(), 1200);
    assert_eq!(packets.len(), 1);
    let packet = Packet::parse(&network(), SOURCE, &packets[0]).unwrap();
    assert_eq!(
        packet,
        Packet {
            sender: id(1),
            tlvs: one_of_each()
        }
    );
}

#[test]
fn parts_spread_over_packets_of_the_link_s_mtu() {
    let ogm = one_of_each()[2].clone();
    let packets = build(&vec![ogm.clone(); 100], 300);
    assert!(packets.iter().all(|p| p.len() <= 300));
    assert_eq!(packets.len(), 10, "(300 - 36) / 26 = 10 in a packet");
    let parsed = packets
        .iter()
        .flat_map(|p| Packet::parse(&network(), SOURCE, p).unwrap().tlvs);
    assert_eq!(parsed.count(), 100);
}

#[test]
fn a_cut_at_any_byte_is_truncation() {
    let packet = build(&one_of_each(), 1200).remove(0);
    for len in 0..packet.len() {
        let cut = &packet[..len];
        assert_eq!(
            Packet::parse(&network(), SOURCE, cut),
            Err(ParseError::Truncated),
            "{len} bytes"
        );
    }
}

#[test]
fn every_single_flipped_bit_is_rejected() {
    let packet = build(&one_of_each(), 1200).remove(0);
    for bit in 0..packet.len() * 8 {
        let mut damaged = packet.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let error = Packet::parse(&network(), SOURCE, &damaged).expect_err("accepted");
        match bit / 8 {
            0 => assert_eq!(error, ParseError::Malformed),
            1 => assert_eq!(error, ParseError::UnknownVersion),
            2 | 3 => assert!(matches!(
                error,
                ParseError::Truncated | ParseError::Malformed
            )),
            4..8 => assert_eq!(error, ParseError::ForeignNetwork),
            _ => assert_eq!(error, ParseError::BadMac, "bit {bit}"),
        }
    }
}

#[test]
fn packets_of_another_network_are_told_from_damaged_ones() {
    let packet = build(&one_of_each(), 1200).remove(0);
    let other = Network::new("other village");
    assert_eq!(
        Packet::parse(&other, SOURCE, &packet),
        Err(ParseError::ForeignNetwork)
    );
}

#[test]
fn parts_of_unknown_types_are_skipped_and_bad_ones_are_not() {
    let network = network();
    let seal = |part: &[u8]| {
        let mut builder = PacketBuilder::new(&network, id(1), SOURCE, 1200);
        builder.push(&one_of_each()[0]);
        builder.open.extend_from_slice(part);
        builder.finish().remove(0)
    };
    let unknown = Packet::parse(&network, SOURCE, &seal(&[200, 0, 2, 1, 2])).unwrap();
    assert_eq!(unknown.tlvs, one_of_each()[..1]);
    let too_short_for_an_ogm = seal(&[Tlv::OGM_TYPE, 0, 2, 1, 2]);
    assert_eq!(
        Packet::parse(&network, SOURCE, &too_short_for_an_ogm),
        Err(ParseError::Truncated)
    );
    let zero_interval = seal(&[1, 0, 9, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(
        Packet::parse(&network, SOURCE, &zero_interval),
        Err(ParseError::Malformed)
    );
}

impl Tlv {
    const OGM_TYPE: u8 = 3;
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = Packet::parse(&network(), SOURCE, &bytes);
    }

    /// Behind the code, where fuzzing from outside does not reach.
    #[test]
    fn arbitrary_parts_never_panic(kind in 0_u8..8, bytes: Vec<u8>) {
        let mut part = vec![kind];
        part.extend((bytes.len() as u16).to_be_bytes());
        part.extend(&bytes);
        if let Ok(Some(tlv)) = Tlv::parse(&mut Reader::new(&part)) {
            let mut again = Vec::new();
            tlv.emit(&mut again);
            prop_assert_eq!(again, part, "what parses is emitted as it was");
        }
    }
}
