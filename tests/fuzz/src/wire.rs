//! Packets of the routing protocol, before and behind their authentication code.

use std::net::Ipv6Addr;

use mesh_proto::Network;
use mesh_proto::wire::reader::Reader;
use mesh_proto::wire::{PacketBuilder, Sealed, Sender, Tlv};

/// Any bytes as a packet, and as the parts of one with a right code: what parses is emitted as it
/// was, and arrives as it was sent.
pub fn packet(data: &[u8]) {
    let network = Network::new("village");
    let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    if let Ok(sealed) = Sealed::parse(&network, data) {
        let _ = sealed.open(network.key(), source);
    }
    let tlvs = parts(data);
    let sender = Sender {
        id: mesh_proto::OriginatorId::from_bytes([7; 10]),
        epoch: 1,
        warm: false,
    };
    let mut builder = PacketBuilder::new(&network, None, sender, source, 1232, 0);
    tlvs.iter().for_each(|tlv| builder.push(tlv));
    let (packets, last) = builder.finish();
    assert_eq!(last, packets.len() as u64);
    let opened = packets.iter().flat_map(|packet| {
        let sealed = Sealed::parse(&network, packet).expect("ours");
        sealed.open(network.key(), source).expect("sealed right")
    });
    assert_eq!(opened.collect::<Vec<_>>(), tlvs);
}

/// The parts that `data` is, up to the first that is none.
pub(crate) fn parts(data: &[u8]) -> Vec<Tlv> {
    let mut reader = Reader::new(data);
    let mut tlvs = Vec::new();
    loop {
        let before = reader.clone();
        match Tlv::parse(&mut reader) {
            Ok(Some(tlv)) => {
                assert_emitted_as_it_was(&tlv, before);
                tlvs.push(tlv);
            }
            Ok(None) => {}
            Err(_) => return tlvs,
        }
    }
}

fn assert_emitted_as_it_was(tlv: &Tlv, mut before: Reader<'_>) {
    let mut bytes = Vec::new();
    tlv.emit(&mut bytes);
    assert_eq!(before.take(bytes.len()), Ok(bytes.as_slice()), "{tlv:?}");
}
