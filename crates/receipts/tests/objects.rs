//! Offers, receipts and messages as bytes: golden values, round trips, truncation, flipped bits.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod common;

use common::{MIB, key, network, offer, offer_of, party, receipts, totals};
use proptest::prelude::*;
use receipts::message::Head;
use receipts::{
    CompactReceipt, Equivocation, Message, Offer, ParseError, Position, Price, Receipt,
    ReceiptError, Refusal, RefusalReason, Request, Terms,
};

// Both were made by another implementation, from the layouts in the module documentation.
const GOLDEN_OFFER: &str = concat!(
    "4d45534850415901ca0d656d0af869b45992c1ff89f462118a88e3dd7409f195fd52db2d3cba5d72",
    "ca6709bf1d94121bf3748801b40f6f5c8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a2",
    "5df60f5b8fc9b394070000000000000000000000fd1724385aa0c75b64fb78cd602fa1d991fdebf7",
    "6b13c58ed702eac835e9f618e8030000000000000000800000000000000000000000000000000000",
    "000000000000000000000000000000008e18eae65379c76b9ffa7042c669edac2b3f3328795904ce",
    "e73d99b6aeb4e9df06981037c3194f722753d50dd57bf37c2c2880f61c6632ed9855d2d657e0f609",
);
const GOLDEN_RECEIPT: &str = concat!(
    "4d45534850415902ca0d656d0af869b45992c1ff89f462118a88e3dd7409f195fd52db2d3cba5d72",
    "ca6709bf1d94121bf3748801b40f6f5c8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a2",
    "5df60f5b8fc9b39407000000000000000200000006000000d0070000000000000000200000000000",
    "d1070000000000000000000000000000224053fcd50443feee030b92e3b044fa96762df8962f99da",
    "8831d6e4dfc54ac27b1027e9c49c3b97050309c2df92c613d1dbfc0f465f0a35a34e072fdf2469cb",
    "a8c02abea568f866a8f2b52a9480d3d3c77930953519ecbca59b52cb0bd1b9b435a87fc7f152be55",
    "83e1e4d1d7a9563813d084687e513c0f",
);

fn every_message() -> Vec<Message> {
    let chain = receipts(2);
    let position = Position { epoch: 7, seq: 3 };
    let request = Request {
        position,
        totals: totals(1, 2, 3),
        offer: offer().hash().short(),
    };
    let refusal = Refusal {
        position,
        confirmed: totals(5, 6, 7),
        reason: RefusalReason::Unconfirmed,
    };
    vec![
        Message::Offer(offer()),
        Message::Request(request),
        Message::Receipt(CompactReceipt::from(&chain[1])),
        Message::Refusal(refusal),
        Message::Head(Box::new(Head::new(offer(), None).unwrap())),
        Message::Head(Box::new(
            Head::new(offer(), Some(chain[1].clone())).unwrap(),
        )),
    ]
}

/// Every copy of `bytes` with one bit flipped.
fn flipped(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> + '_ {
    (0..bytes.len() * 8).map(|bit| {
        let mut copy = bytes.to_vec();
        copy[bit / 8] ^= 1 << (bit % 8);
        (bit, copy)
    })
}

#[test]
fn layouts_are_those_of_the_specification() {
    assert_eq!(hex::encode(offer().to_bytes()), GOLDEN_OFFER);
    assert_eq!(hex::encode(receipts(2)[1].to_bytes()), GOLDEN_RECEIPT);
}

#[test]
fn lengths_are_those_of_the_specification() {
    let chain = receipts(1);
    assert_eq!((Offer::LEN, offer().to_bytes().len()), (240, 240));
    assert_eq!((Receipt::LEN, chain[0].to_bytes().len()), (256, 256));
    assert_eq!(Equivocation::LEN, 512);
    let lengths: Vec<usize> = every_message().iter().map(|m| m.to_bytes().len()).collect();
    assert_eq!(lengths, [242, 42, 126, 35, 242, 498]);
}

#[test]
fn objects_survive_a_round_trip() {
    let receipt = receipts(2).remove(1);
    assert_eq!(Offer::parse(&offer().to_bytes()), Ok(offer()));
    assert_eq!(Receipt::parse(&receipt.to_bytes()).as_ref(), Ok(&receipt));
    for message in every_message() {
        assert_eq!(Message::parse(&message.to_bytes()), Ok(message));
    }
}

#[test]
fn every_refusal_reason_survives_a_round_trip() {
    for code in 1..=5 {
        let mut bytes = every_message()[3].to_bytes();
        *bytes.last_mut().unwrap() = code;
        assert_eq!(Message::parse(&bytes).unwrap().to_bytes(), bytes);
    }
}

#[test]
fn truncation_at_every_length_is_an_error() {
    let receipt = receipts(1).remove(0);
    for len in 0..Offer::LEN {
        assert_eq!(
            Offer::parse(&offer().to_bytes()[..len]),
            Err(ParseError::Truncated)
        );
    }
    for len in 0..Receipt::LEN {
        assert_eq!(
            Receipt::parse(&receipt.to_bytes()[..len]),
            Err(ParseError::Truncated)
        );
    }
    for message in every_message() {
        let bytes = message.to_bytes();
        for len in 0..bytes.len() {
            // A head cut right behind the offer is a head without a receipt: it means what it says.
            let cut_to_offer = matches!(message, Message::Head(_)) && len == 2 + Offer::LEN;
            assert_eq!(
                Message::parse(&bytes[..len]).is_ok(),
                cut_to_offer,
                "{message:?} at {len}"
            );
        }
    }
}

#[test]
fn a_byte_too_many_is_an_error() {
    for message in every_message() {
        let mut bytes = message.to_bytes();
        bytes.push(0);
        assert!(Message::parse(&bytes).is_err(), "{message:?}");
    }
}

#[test]
fn every_flipped_bit_of_an_offer_is_rejected() {
    for (bit, bytes) in flipped(&offer().to_bytes()) {
        let accepted = Offer::parse(&bytes).is_ok_and(|offer| offer.verify().is_ok());
        assert!(!accepted, "bit {bit}");
    }
    assert_eq!(offer().verify(), Ok(()));
}

#[test]
fn every_flipped_bit_of_a_receipt_is_rejected() {
    let receipt = receipts(2).remove(1);
    for (bit, bytes) in flipped(&receipt.to_bytes()) {
        let accepted = Receipt::parse(&bytes).is_ok_and(|receipt| receipt.verify().is_ok());
        assert!(!accepted, "bit {bit}");
    }
    assert_eq!(receipt.verify(), Ok(()));
}

#[test]
fn every_flipped_bit_of_a_compact_receipt_is_rejected() {
    let message = Message::Receipt(CompactReceipt::from(&receipts(2)[1]));
    for (bit, bytes) in flipped(&message.to_bytes()) {
        let Ok(Message::Receipt(compact)) = Message::parse(&bytes) else {
            continue;
        };
        let accepted = compact
            .complete(&offer())
            .is_ok_and(|receipt| receipt.verify().is_ok());
        assert!(!accepted, "bit {bit}");
    }
}

#[test]
fn every_flipped_bit_of_a_message_is_rejected_or_means_what_it_says() {
    for message in every_message() {
        for (bit, bytes) in flipped(&message.to_bytes()) {
            if let Ok(other) = Message::parse(&bytes) {
                assert_eq!(other.to_bytes(), bytes, "bit {bit} of {message:?}");
                assert_ne!(other, message, "bit {bit}");
            }
        }
    }
}

#[test]
fn a_compact_receipt_is_completed_from_its_offer_only() {
    let receipt = receipts(2).remove(1);
    let compact = CompactReceipt::from(&receipt);
    assert_eq!(compact.complete(&offer()).as_ref(), Ok(&receipt));

    let dearer = offer_of(1, 2, 7, Price::new(1001));
    assert!(compact.complete(&dearer).unwrap().verify().is_err());
    let other_epoch = offer_of(1, 2, 8, Price::new(1000));
    assert_eq!(
        compact.complete(&other_epoch),
        Err(ReceiptError::OtherAccount)
    );
}

#[test]
fn only_a_consistent_receipt_is_signed() {
    let first = receipts(1).remove(0);
    let sign = |seed, previous, total| Receipt::sign(&key(seed), &offer(), previous, total);
    assert_eq!(
        sign(3, None, totals(1, 1, 1)),
        Err(ReceiptError::NotTheConsumer)
    );
    assert_eq!(
        sign(2, Some(&first), totals(999, MIB, 3)),
        Err(ReceiptError::Falling)
    );
    let other = offer_of(1, 2, 8, Price::new(1000));
    let misplaced = Receipt::sign(&key(2), &other, Some(&first), totals(1000, MIB, 3));
    assert_eq!(misplaced, Err(ReceiptError::OtherAccount));
    let dear = offer_of(1, 2, 7, Price::MAX);
    let boundless = Receipt::sign(&key(2), &dear, None, totals(u64::MAX, u64::MAX, 0));
    assert!(matches!(boundless, Err(ReceiptError::Overflow(_))));
}

#[test]
fn receipts_are_chained() {
    let chain = receipts(3);
    assert_eq!(chain[0].check_first(), Ok(()));
    assert_eq!(chain[1].check_follows(&chain[0]), Ok(()));
    assert_eq!(
        chain[2].check_follows(&chain[0]),
        Ok(()),
        "a gap is no break"
    );
    assert_eq!(chain[0].check_follows(&chain[1]), Err(ReceiptError::Seq));

    let stranger = Receipt::sign(&key(2), &offer(), None, totals(1001, MIB, 3)).unwrap();
    let behind = Receipt::sign(&key(2), &offer(), Some(&stranger), totals(2000, 2 * MIB, 6));
    assert_eq!(
        behind.unwrap().check_follows(&chain[0]),
        Err(ReceiptError::Chain)
    );
}

#[test]
fn a_key_of_small_order_signs_nothing() {
    // The identity point as key and as R with s = 0 satisfies the equation of RFC 8032 for every
    // message; only the strict rules refuse it.
    let identity = [[1].as_slice(), &[0; 31]].concat();
    let mut bytes = offer().to_bytes();
    bytes[24..56].copy_from_slice(&identity);
    bytes[176..208].copy_from_slice(&identity);
    bytes[208..240].fill(0);
    let weak = Offer::parse(&bytes).unwrap();
    assert!(weak.verify().is_err());
}

#[test]
fn an_offer_has_seq_0_and_a_receipt_has_not() {
    let mut bytes = offer().to_bytes();
    bytes[96] = 1;
    assert_eq!(Offer::parse(&bytes), Err(ParseError::Seq(1)));
    let mut bytes = receipts(1)[0].to_bytes();
    bytes[96] = 0;
    assert_eq!(Receipt::parse(&bytes), Err(ParseError::Seq(0)));
    for message in &every_message()[1..4] {
        let mut bytes = message.to_bytes();
        bytes[10] = 0;
        assert_eq!(Message::parse(&bytes), Err(ParseError::Seq(0)));
    }
}

#[test]
fn two_receipts_for_one_place_are_a_proof() {
    let chain = receipts(2);
    let other =
        Receipt::sign(&key(2), &offer(), Some(&chain[0]), totals(2000, 3 * MIB, 6)).unwrap();
    assert_eq!(Equivocation::between(&chain[1], &chain[1]), None);
    assert_eq!(Equivocation::between(&chain[0], &chain[1]), None);
    let proof = Equivocation::between(&chain[1], &other).unwrap();
    assert_eq!(proof.verify(), Ok(()));
    assert_eq!(Equivocation::parse(&proof.to_bytes()).as_ref(), Ok(&proof));

    let twice = [chain[1].to_bytes(), chain[1].to_bytes()].concat();
    assert_eq!(Equivocation::parse(&twice), Err(ParseError::Mismatched));
}

proptest! {
    #[test]
    fn any_bytes_parse_to_what_they_say_or_not_at_all(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..520),
        typed in 0_u8..7,
    ) {
        if bytes.len() > 1 && typed < 6 {
            bytes[0] = 2;
            bytes[1] = typed;
        }
        if let Ok(message) = Message::parse(&bytes) {
            prop_assert_eq!(message.to_bytes(), bytes);
        }
    }

    #[test]
    fn any_request_survives_a_round_trip(
        epoch: u64, seq in 1..=u32::MAX, up: u64, down: u64, seconds: u32, offer: [u8; 8],
    ) {
        let message = Message::Request(Request {
            position: Position { epoch, seq },
            totals: totals(up, down, seconds),
            offer,
        });
        prop_assert_eq!(Message::parse(&message.to_bytes()), Ok(message));
    }

    #[test]
    fn receipts_for_the_same_bytes_cost_the_same_in_any_slices(
        price: u64, slices in proptest::collection::vec(0_u64..1 << 40, 1..30),
    ) {
        let terms = offer_of(1, 2, 1, Price::new(price));
        let mut last: Option<Receipt> = None;
        let mut carried = 0;
        for bytes in slices {
            carried += bytes;
            let next = Receipt::sign(&key(2), &terms, last.as_ref(), totals(0, carried, 0));
            last = Some(next.unwrap());
        }
        let at_once = Receipt::sign(&key(2), &terms, None, totals(carried, 0, 0)).unwrap();
        prop_assert_eq!(last.unwrap().amount(), at_once.amount());
        let exact = u128::from(price) * u128::from(carried);
        prop_assert_eq!(at_once.amount().atto_smt(), exact >> 20);
    }

    #[test]
    fn encoding_is_bijective_and_every_flipped_bit_is_refused(
        place: (u64, u32), figures: (u32, u32, u32), price: u64, credit: u64, bit: usize,
    ) {
        let terms = Terms {
            gateway: party(4),
            price: Price::new(price),
            credit_bytes: credit,
            previous: receipts(1)[0].hash(),
        };
        let offer = Offer::sign(&key(1), network(), party(2), place.0, terms);
        let figures = totals(figures.0.into(), figures.1.into(), figures.2);
        let receipt = Receipt::sign(&key(2), &offer, None, figures).unwrap();
        let fork = Receipt::sign(&key(2), &offer, None, totals(1, u64::MAX, 9)).unwrap();
        let proof = Equivocation::between(&receipt, &fork).unwrap();

        let flip = |mut bytes: Vec<u8>| {
            let bit = bit % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        };
        let bytes = offer.to_bytes();
        prop_assert_eq!(Offer::parse(&bytes), Ok(offer.clone()));
        let flipped = Offer::parse(&flip(bytes));
        prop_assert!(flipped.is_err() || flipped.unwrap().verify().is_err());
        let bytes = receipt.to_bytes();
        prop_assert_eq!(Receipt::parse(&bytes), Ok(receipt.clone()));
        let flipped = Receipt::parse(&flip(bytes));
        prop_assert!(flipped.is_err() || flipped.unwrap().verify().is_err());
        let bytes = proof.to_bytes();
        prop_assert_eq!(Equivocation::parse(&bytes), Ok(proof));
        let flipped = Equivocation::parse(&flip(bytes));
        prop_assert!(flipped.is_err() || flipped.unwrap().verify().is_err());

        let head = Head::new(offer.clone(), Some(receipt.clone())).unwrap();
        let position = Position { epoch: place.0, seq: place.1.max(1) };
        let messages = [
            Message::Offer(offer.clone()),
            Message::Receipt(CompactReceipt::from(&receipt)),
            Message::Head(Box::new(head)),
            Message::Request(Request { position, totals: figures, offer: offer.hash().short() }),
            Message::Refusal(Refusal {
                position,
                confirmed: figures,
                reason: RefusalReason::Price,
            }),
        ];
        for message in messages {
            let bytes = message.to_bytes();
            prop_assert_eq!(Message::parse(&bytes), Ok(message.clone()));
            let bytes = flip(bytes);
            match Message::parse(&bytes) {
                Err(_) => {}
                Ok(Message::Offer(other)) => prop_assert!(other.verify().is_err()),
                // An offer whose type is flipped is a head without a receipt: the same offer.
                Ok(Message::Head(other)) if other.receipt().is_none() => {
                    prop_assert_eq!(&Message::Offer(other.offer().clone()), &message);
                }
                Ok(Message::Head(other)) => prop_assert!(other.verify().is_err()),
                Ok(Message::Receipt(other)) => {
                    let completed = other.complete(&offer);
                    prop_assert!(completed.is_err() || completed.unwrap().verify().is_err());
                }
                // Not signed: it says something else, and that in one way only.
                Ok(other @ (Message::Request(_) | Message::Refusal(_))) => {
                    prop_assert_eq!(other.to_bytes(), bytes);
                    prop_assert_ne!(other, message);
                }
            }
        }
    }
}
