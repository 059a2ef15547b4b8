//! Golden bytes, round trips, and what damage does to a packet.

use std::net::Ipv6Addr;

use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::*;
use crate::hash_chain::{ChainValue, Link};
use crate::route_selection::FeasibilityDistance;
use crate::wire::throughput::{Direction, Token, Verdict};
use crate::wire::{
    Binding, Echo, EchoReply, Hello, LinkReport, MapDigest, MapRequest, NextHop, Ogm, OgmIndex,
    PathCheck, Payload, Probe, ProbeAnswer, RecordRequest, Reminder, ReportEntry, SeqnoRequest,
    SyncRequest, ThroughputAnswer, ThroughputRequest, Update,
};
use crate::{MapEntry, MapLink, Metric, NodeId, NodeRecord, Position, Price, SeqNo};

const SOURCE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

fn network() -> Network {
    Network::new("village")
}

fn id(byte: u8) -> OriginatorId {
    OriginatorId::from_bytes([byte; 10])
}

fn sender() -> Sender {
    Sender {
        id: id(1),
        epoch: 0x0102_0304,
        warm: true,
    }
}

/// A key that two nodes share.
fn pair_key() -> MacKey {
    let theirs = SigningKey::from_bytes(&[2; 32]).verifying_key();
    let theirs = NodeId::from_bytes(theirs.to_bytes());
    let ours = SigningKey::from_bytes(&[1; 32]);
    network().pair_key(&ours, theirs).unwrap()
}

fn ogm(index: u16, full: bool) -> Ogm {
    let binding = Binding {
        originator: id(4),
        record_seq: SeqNo::new(5),
    };
    let fresh = Link {
        seqno: SeqNo::new(77),
        value: ChainValue([6; ChainValue::LEN]),
    };
    Ogm {
        index: OgmIndex::new(index).unwrap(),
        binding: full.then_some(binding),
        fresh: full.then_some(fresh),
        metric: Metric::from_us(1234),
        hops: 3,
        price: Price::FREE,
    }
}

/// An update about something that costs something, in short and in full.
fn priced_update() -> Tlv {
    let price = Price::new(0x0102_0304_0506_0708);
    let ogms = [ogm(9, false), ogm(9, true)].map(|ogm| Ogm { price, ..ogm });
    Tlv::Update(Update {
        ogms: ogms.to_vec(),
        ..update()
    })
}

fn update() -> Update {
    let retraction = Ogm {
        metric: Metric::INFINITE,
        hops: 255,
        ..ogm(OgmIndex::LIMIT - 1, false)
    };
    Update {
        from: 8,
        to: 10,
        ogms: vec![ogm(9, true), retraction],
    }
}

fn map_entry() -> Tlv {
    let entry = MapEntry {
        epoch: 2,
        seq: 3,
        position: Position::new(-1_286_389, 36_817_223),
        links: vec![MapLink {
            to: id(9),
            quality: 200,
        }],
    };
    let key = SigningKey::from_bytes(&[3; 32]);
    Tlv::MapEntry(Box::new(entry.sign(&network(), &key)))
}

fn one_of_each() -> Vec<Tlv> {
    let key = SigningKey::from_bytes(&[3; 32]);
    let record = NodeRecord::new("router-1").sign(&network(), &key);
    let said = FeasibilityDistance {
        seqno: SeqNo::new(76),
        metric: Metric::from_us(600),
    };
    vec![
        Tlv::Hello(Hello {
            seqno: 7,
            interval_ms: 500,
            version: 0xdead_beef,
        }),
        Tlv::LinkReport(LinkReport {
            entries: vec![ReportEntry::new(id(9), 200)],
        }),
        Tlv::Update(update()),
        Tlv::Record(Box::new(record)),
        Tlv::RecordRequest(RecordRequest {
            originators: vec![id(8), id(7)],
        }),
        Tlv::Payload(Payload {
            channel: 1,
            bytes: b"receipt".to_vec(),
        }),
        Tlv::SyncRequest(SyncRequest { since: 12 }),
        Tlv::Reminder(Reminder {
            entries: vec![(id(4), said)],
        }),
        Tlv::Probe(Probe {
            nonce: 0xfeed_f00d,
            traffic: true,
            padding: 0,
        }),
        Tlv::ProbeAnswer(ProbeAnswer {
            nonce: 0xfeed_f00d,
            quality: 200,
            padding: 3,
        }),
        Tlv::SeqnoRequest(SeqnoRequest {
            originator: id(4),
            seqno: SeqNo::new(78),
            hop_limit: 64,
        }),
        Tlv::PathCheck(PathCheck {
            hop_limit: 32,
            originators: vec![id(4)],
        }),
        priced_update(),
        Tlv::Echo(Echo {
            nonce: 0x0102_0304_0506_0708,
            towards: id(4),
        }),
        Tlv::EchoReply(EchoReply {
            nonce: 0x0102_0304_0506_0708,
            next_hop: Some(NextHop {
                node: id(5),
                rx_quality: 250,
                tx_quality: 200,
            }),
        }),
        map_entry(),
        Tlv::MapDigest(MapDigest {
            digest: 0x0102_0304_0506_0708,
        }),
        Tlv::MapRequest(MapRequest {
            first: id(0),
            last: id(0xff),
            known: vec![(id(4), (2, 3)), (id(5), (1, 0))],
        }),
        Tlv::ThroughputRequest(ThroughputRequest {
            token: Token::from_bytes([9; 16]),
            direction: Direction::Down,
            seconds: 5,
        }),
        Tlv::ThroughputAnswer(ThroughputAnswer {
            token: Token::from_bytes([9; 16]),
            verdict: Verdict::Busy,
        }),
    ]
}

fn build(key: Option<&MacKey>, tlvs: &[Tlv], max_len: usize) -> Vec<Vec<u8>> {
    let network = network();
    let mut builder = PacketBuilder::new(&network, key, sender(), SOURCE, max_len, 0xff);
    tlvs.iter().for_each(|tlv| builder.push(tlv));
    let (packets, last) = builder.finish();
    assert_eq!(last, 0xff + packets.len() as u64);
    packets
}

/// Reads a packet as a receiver does that has `pair` as its key with the sender.
fn read(bytes: &[u8], pair: &MacKey) -> Result<(Header, Vec<Tlv>), ParseError> {
    let network = network();
    let sealed = Sealed::parse(&network, bytes)?;
    let key = match sealed.header().key {
        KeyKind::Network => network.key(),
        KeyKind::Pair => pair,
    };
    Ok((*sealed.header(), sealed.open(key, SOURCE)?))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A part of this kind and value.
fn part(kind: u8, value: &[u8]) -> Vec<u8> {
    let len = (value.len() as u16).to_be_bytes();
    [&[kind], &len[..], value].concat()
}

fn parse_part(bytes: &[u8]) -> Result<Option<Tlv>, ParseError> {
    Tlv::parse(&mut Reader::new(bytes))
}

/// A change here is a new version of the protocol: nodes in the field do not understand it.
#[test]
fn golden_bytes_of_a_packet_of_each_kind() {
    let key = pair_key();
    let packets = one_of_each().into_iter().map(|tlv| {
        let key = matches!(tlv, Tlv::Probe(_)).then_some(&key);
        hex(&build(key, &[tlv], 1200)[0])
    });
    let packets: Vec<_> = packets.collect();
    let golden: Vec<_> = include_str!("golden.txt").lines().collect();
    assert_eq!(packets, golden);
}

#[test]
fn every_part_survives_the_round_trip() {
    let pair = pair_key();
    for (key, kind) in [(None, KeyKind::Network), (Some(&pair), KeyKind::Pair)] {
        let packets = build(key, &one_of_each(), 1200);
        assert_eq!(packets.len(), 1);
        let (header, tlvs) = read(&packets[0], &pair).unwrap();
        assert_eq!(tlvs, one_of_each());
        let (sender, counter) = (sender(), 0x100);
        let expected = Header {
            sender,
            key: kind,
            counter,
        };
        assert_eq!(header, expected);
    }
}

#[test]
fn parts_spread_over_packets_of_the_link_s_mtu() {
    let hello = one_of_each()[0].clone();
    let packets = build(None, &vec![hello; 100], 300);
    assert!(packets.iter().all(|p| p.len() <= 300));
    assert_eq!(packets.len(), 5, "(300 - 45) / 11 = 23 in a packet");
    let parsed = packets.iter().map(|p| read(p, &pair_key()).unwrap());
    let (headers, tlvs): (Vec<_>, Vec<_>) = parsed.unzip();
    assert_eq!(tlvs.concat().len(), 100);
    let counters: Vec<_> = headers.iter().map(|header| header.counter).collect();
    assert_eq!(counters, [0x100, 0x101, 0x102, 0x103, 0x104]);
}

#[test]
fn a_metric_too_large_for_the_packet_is_a_retraction() {
    for (us, arrives) in [
        (0x00ff_fffe, Metric::from_us(0x00ff_fffe)),
        (0x00ff_ffff, Metric::INFINITE),
        (0x0100_0000, Metric::INFINITE),
    ] {
        let metric = Metric::from_us(us);
        let ogms = vec![Ogm {
            metric,
            ..ogm(1, true)
        }];
        let update = Tlv::Update(Update { ogms, ..update() });
        let (_, tlvs) = read(&build(None, &[update], 1200)[0], &pair_key()).unwrap();
        assert!(matches!(&tlvs[0], Tlv::Update(it) if it.ogms[0].metric == arrives));
    }
}

#[test]
fn a_cut_at_any_byte_is_truncation() {
    let pair = pair_key();
    for key in [None, Some(&pair)] {
        let packet = build(key, &one_of_each(), 1200).remove(0);
        for len in 0..packet.len() {
            let error = read(&packet[..len], &pair).unwrap_err();
            assert_eq!(error, ParseError::Truncated, "{len} bytes");
        }
    }
}

/// Behind the code, where only a node of the network can cut.
#[test]
fn a_part_cut_at_any_byte_is_refused_or_says_what_it_says() {
    for tlv in one_of_each() {
        let mut whole = Vec::new();
        tlv.emit(&mut whole);
        for len in 0..whole.len() - 3 {
            let cut = part(whole[0], &whole[3..3 + len]);
            if let Ok(shorter) = parse_part(&cut) {
                let mut again = Vec::new();
                shorter.unwrap().emit(&mut again);
                assert_eq!(again, cut, "lists may be shorter");
            }
            let unfinished = parse_part(&whole[..3 + len]);
            assert_eq!(unfinished, Err(ParseError::Truncated));
        }
    }
}

#[test]
fn every_single_flipped_bit_is_rejected() {
    let pair = pair_key();
    for key in [None, Some(&pair)] {
        let packet = build(key, &one_of_each(), 1200).remove(0);
        for bit in 0..packet.len() * 8 {
            let mut damaged = packet.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let error = read(&damaged, &pair).expect_err("accepted");
            match bit / 8 {
                0 => assert_eq!(error, ParseError::Malformed),
                1 => assert_eq!(error, ParseError::UnknownVersion),
                2 | 3 => assert!(matches!(
                    error,
                    ParseError::Truncated | ParseError::Malformed
                )),
                4..8 => assert_eq!(error, ParseError::ForeignNetwork),
                18 if bit % 8 > 1 => assert_eq!(error, ParseError::Malformed, "no such flag"),
                _ => assert_eq!(error, ParseError::BadMac, "bit {bit}"),
            }
        }
    }
}

#[test]
fn a_packet_counts_only_with_its_key_and_from_its_sender_s_address() {
    let (network, pair) = (network(), pair_key());
    let secret = Network::with_secret("village", b"long and random");
    let elsewhere = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
    let packet = build(Some(&pair), &one_of_each(), 1200).remove(0);
    let sealed = Sealed::parse(&network, &packet).unwrap();
    assert!(sealed.open(&pair, SOURCE).is_ok());
    for (key, source) in [
        (network.key(), SOURCE),
        (secret.key(), SOURCE),
        (&pair, elsewhere),
    ] {
        assert_eq!(sealed.open(key, source), Err(ParseError::BadMac));
    }
}

#[test]
fn packets_of_another_network_are_told_from_damaged_ones() {
    let packet = build(None, &one_of_each(), 1200).remove(0);
    let error = Sealed::parse(&Network::new("other village"), &packet).unwrap_err();
    assert_eq!(error, ParseError::ForeignNetwork);
}

#[test]
fn parts_of_unknown_types_are_skipped() {
    let network = network();
    let mut builder = PacketBuilder::new(&network, None, sender(), SOURCE, 1200, 0);
    builder.push(&one_of_each()[0]);
    builder.open.extend(part(200, &[1, 2]));
    builder.open.extend(part(3, &[7; 23]));
    builder.push(&one_of_each()[6]);
    let packet = builder.finish().0.remove(0);
    let (_, tlvs) = read(&packet, &pair_key()).unwrap();
    assert_eq!(tlvs, [one_of_each()[0].clone(), one_of_each()[6].clone()]);
}

/// The content of an update whose only OGM says that its price is 0, and nothing more.
fn free_with_a_price() -> Vec<u8> {
    let mut value = vec![0; 22];
    value[8] = 0x20;
    value
}

/// A request to measure in a direction, for so many seconds.
fn throughput(direction: u8, seconds: u8) -> Vec<u8> {
    part(20, &[&[0; 16][..], &[direction, seconds]].concat())
}

#[test]
fn what_costs_nothing_takes_no_bytes() {
    let lengths = [false, true].map(|full| {
        let priced = Ogm {
            price: Price::new(1),
            ..ogm(9, full)
        };
        (ogm(9, full).wire_len(), priced.wire_len())
    });
    assert_eq!(lengths, [(6, 14), (36, 44)]);
}

#[test]
fn values_that_cannot_be_are_refused() {
    let hello_of = |interval: u16| {
        let interval = interval.to_be_bytes();
        part(1, &[&[0, 1], &interval[..], &[0; 4]].concat())
    };
    assert!(parse_part(&hello_of(2000)).is_ok());
    for (what, bytes) in [
        ("a hello without interval", hello_of(0)),
        ("an interval longer than the longest", hello_of(4001)),
        ("an update back in time", part(7, &[0, 0, 0, 2, 0, 0, 0, 1])),
        ("a price of nothing", part(7, &free_with_a_price())),
        ("traffic neither there nor not", part(10, &[0, 0, 0, 1, 2])),
        ("more records than one asks for", part(5, &[4; 650])),
        ("a payload beyond its limit", part(6, &[4; 1026])),
        ("a sync request and something", part(8, &[0; 5])),
        ("padding that is something", part(11, &[0, 0, 0, 0, 0, 1])),
        ("a seqno request and something", part(12, &[0; 16])),
        ("a digest and something", part(18, &[0; 9])),
        (
            "more of the map than one names",
            part(19, &[0; 20 + 49 * 18]),
        ),
        ("a measurement of no time", throughput(0, 0)),
        ("a measurement of too long", throughput(0, 31)),
        ("a measurement of a third direction", throughput(2, 5)),
        ("a verdict that is none", part(21, &[5; 17])),
    ] {
        assert_eq!(parse_part(&bytes), Err(ParseError::Malformed), "{what}");
    }
    assert!(parse_part(&throughput(1, 30)).is_ok());
    let mut priced = free_with_a_price();
    priced[21] = 1;
    assert!(parse_part(&part(7, &priced)).is_ok());
    assert!(parse_part(&part(5, &[4; 640])).is_ok());
    assert!(parse_part(&part(6, &[4; 1025])).is_ok());
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = read(&bytes, &pair_key());
    }

    /// Behind the code, where fuzzing from outside does not reach.
    #[test]
    fn arbitrary_parts_never_panic(kind in 0_u8..24, bytes: Vec<u8>) {
        let part = part(kind, &bytes);
        if let Ok(Some(tlv)) = parse_part(&part) {
            let mut again = Vec::new();
            tlv.emit(&mut again);
            prop_assert_eq!(again, part, "what parses is emitted as it was");
        }
    }
}
