//! The log: torn writes, flipped bits, damage in the middle, verification and export.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod common;

use common::{
    MIB, gateway, key, network, offer, offer_of, party, receipts, repair, resigned, state_of,
    totals,
};
use proptest::prelude::*;
use receipts::log::{
    ChainHash, CutReason, Fault, Header, HeaderError, Record, Recovered, SegmentHeader,
    VerifyError, Writer, verify,
};
use receipts::{Amount, Equivocation, NetworkId, Offer, Position, Price, Receipt, ReceiptError};

/// The log of party 1, and the length of every sound prefix that ends between records.
struct Sample {
    records: Vec<Record>,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

fn header() -> Header {
    Header {
        network: network(),
        owner: party(1),
    }
}

fn first() -> SegmentHeader {
    SegmentHeader::first(header())
}

fn recover(segment: &[u8]) -> Recovered {
    receipts::log::recover(segment, &first()).unwrap()
}

fn state(recovered: &Recovered) -> receipts::State {
    state_of(
        header(),
        recovered.records.iter().chain(&recovered.salvaged),
    )
}

fn log_of(header: Header, records: Vec<Record>) -> Sample {
    let (mut writer, mut bytes) = Writer::create(&SegmentHeader::first(header));
    let mut ends = vec![bytes.len()];
    for record in &records {
        bytes.extend(writer.append(record));
        ends.push(bytes.len());
    }
    Sample {
        records,
        bytes,
        ends,
    }
}

/// What party 1 wrote as provider of party 2.
fn provided() -> Vec<Record> {
    let received = receipts(3).into_iter().map(Record::ReceiptReceived);
    std::iter::once(Record::OfferMade(offer()))
        .chain(received)
        .collect()
}

/// What party 1 wrote as consumer of party 3.
fn consumed() -> Vec<Record> {
    let terms = offer_of(3, 1, 1, Price::new(5));
    let first = Receipt::sign(&key(1), &terms, None, totals(MIB, 0, 1)).unwrap();
    let second = Receipt::sign(&key(1), &terms, Some(&first), totals(MIB, MIB, 2)).unwrap();
    vec![
        Record::OfferAccepted(terms),
        Record::ReceiptGiven(first),
        Record::ReceiptGiven(second),
    ]
}

fn proof() -> Equivocation {
    let chain = receipts(2);
    let other = Receipt::sign(&key(2), &offer(), Some(&chain[0]), totals(2000, 9 * MIB, 6));
    Equivocation::between(&chain[1], &other.unwrap()).unwrap()
}

fn sample() -> Sample {
    let mut records = provided();
    records.extend(consumed());
    records.push(Record::Equivocation(Box::new(proof())));
    log_of(header(), records)
}

fn small() -> Sample {
    log_of(header(), provided().into_iter().take(2).collect())
}

fn head_positions(state: &receipts::State) -> (Option<Position>, Option<Position>) {
    let provided = state
        .providing()
        .get(&party(2))
        .and_then(|pair| pair.accounts()[&gateway()].receipt());
    let consumed = state
        .consuming()
        .get(&party(3))
        .and_then(|pair| pair.accounts()[&gateway()].receipt());
    (
        provided.map(Receipt::position),
        consumed.map(Receipt::position),
    )
}

/// Repairs the file and checks that it is sound afterwards.
fn check_repaired(mut log: Vec<u8>) {
    let recovered = recover(&log);
    let writer = repair(&mut log, &recovered);
    let again = recover(&log);
    assert_eq!(again.cut, None);
    let records = [recovered.records.clone(), recovered.salvaged.clone()].concat();
    assert_eq!(again.records, records);
    assert_eq!(again.writer, writer);
}

#[test]
fn a_segment_begins_with_its_header() {
    let recovered = recover(&[]);
    assert_eq!((recovered.valid_len, recovered.cut), (0, None));
    assert_eq!(recovered.header, first());
    assert_eq!(SegmentHeader::parse(&first().to_bytes()), Ok(first()));
}

#[test]
fn the_header_is_laid_out_as_specified() {
    let header = SegmentHeader {
        number: 0x0102,
        previous: ChainHash::new([0xab; 32]),
        ..first()
    };
    let bytes = header.to_bytes();
    assert_eq!(bytes.len(), SegmentHeader::LEN);
    assert_eq!(&bytes[..12], b"MESHLOG\0\x02\0\0\0");
    assert_eq!(&bytes[12..28], network().as_bytes());
    assert_eq!(&bytes[28..60], party(1).as_bytes());
    assert_eq!(&bytes[60..68], [2, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(&bytes[68..100], [0xab; 32]);
    assert_eq!(hex::encode(&bytes[100..]), "b8c9f770");
    assert_eq!(SegmentHeader::parse(&bytes), Ok(header));
}

#[test]
fn a_record_is_laid_out_as_specified() {
    let sample = small();
    let record = &sample.bytes[sample.ends[0]..sample.ends[1]];
    assert_eq!(&record[..4], &[240, 0, 1, 0]);
    assert_eq!(hex::encode(&record[4..8]), "a362c18a");
    assert_eq!(
        hex::encode(&record[8..40]),
        "951d0d67e6fb35fdd5581f1f357867006a4ee114da451769273fc0045f3a5c3b"
    );
    assert_eq!(&record[40..], &offer().to_bytes()[..]);
}

#[test]
fn a_sound_log_gives_back_its_records() {
    let sample = sample();
    let recovered = recover(&sample.bytes);
    assert_eq!(recovered.records, sample.records);
    assert_eq!(
        (recovered.cut, recovered.valid_len),
        (None, sample.bytes.len())
    );
    let state = state(&recovered);
    let seen = head_positions(&state);
    let expected = (Position { epoch: 7, seq: 3 }, Position { epoch: 1, seq: 2 });
    assert_eq!(seen, (Some(expected.0), Some(expected.1)));
    assert!(state.equivocators().contains_key(&party(2)));
}

#[test]
fn a_cut_at_any_byte_loses_the_incomplete_record_only() {
    let sample = sample();
    for len in 0..=sample.bytes.len() {
        let recovered = recover(&sample.bytes[..len]);
        let whole = sample.ends.iter().filter(|end| **end <= len).count();
        assert_eq!(
            recovered.records,
            sample.records[..whole.saturating_sub(1)],
            "cut at {len}"
        );
        let sound = sample.ends[..whole].last().copied().unwrap_or(0);
        assert_eq!(recovered.valid_len, sound, "cut at {len}");
        match recovered.cut {
            None => assert_eq!(sound, len),
            Some(cut) => {
                assert_eq!(cut.reason, CutReason::Incomplete, "cut at {len}");
                assert_eq!(cut.lost_bytes, len - sound);
            }
        }
        assert!(recovered.salvaged.is_empty(), "cut at {len}");
        check_repaired(sample.bytes[..len].to_vec());
    }
}

#[test]
fn a_tail_of_zeros_is_cut_off() {
    // A file system that knew the new length and not yet the new content.
    let sample = sample();
    let log = [sample.bytes.clone(), vec![0; 300]].concat();
    let recovered = recover(&log);
    assert_eq!(recovered.records, sample.records);
    let cut = recovered.cut.unwrap();
    assert_eq!((cut.reason, cut.lost_bytes), (CutReason::NotARecord, 300));
}

#[test]
fn every_flipped_bit_is_detected() {
    let sample = small();
    for bit in 0..sample.bytes.len() * 8 {
        let mut log = sample.bytes.clone();
        log[bit / 8] ^= 1 << (bit % 8);
        assert!(verify(&log).is_err(), "bit {bit} verifies");
        assert!(recover(&log).cut.is_some(), "bit {bit} is not noticed");
    }
}

#[test]
fn damage_anywhere_keeps_the_records_behind_it() {
    let sample = sample();
    for byte in 0..sample.bytes.len() {
        let mut log = sample.bytes.clone();
        log[byte] ^= 1 << (byte % 8);
        let recovered = recover(&log);
        let cut = recovered.cut.unwrap();
        let hit = sample.ends.iter().position(|end| byte < *end).unwrap();
        let (sound, behind) = match hit {
            0 => (0, 0),
            hit => (hit - 1, hit),
        };
        assert_eq!(
            recovered.records,
            sample.records[..sound],
            "byte {byte}: {cut:?}"
        );
        assert_eq!(
            recovered.salvaged,
            sample.records[behind..],
            "byte {byte}: {cut:?}"
        );
        check_repaired(log);
    }
}

#[test]
fn a_record_taken_out_is_noticed_and_costs_nothing_else() {
    let sample = sample();
    let without = [
        &sample.bytes[..sample.ends[1]],
        &sample.bytes[sample.ends[2]..],
    ]
    .concat();
    let recovered = recover(&without);
    assert_eq!(recovered.cut.unwrap().reason, CutReason::Chain);
    assert_eq!(recovered.records, sample.records[..1]);
    assert_eq!(recovered.salvaged, sample.records[2..]);
    let fault = Fault::Frame(CutReason::Chain);
    assert_eq!(
        verify(&without),
        Err(VerifyError::Record {
            index: 1,
            offset: sample.ends[1],
            fault
        })
    );
}

#[test]
fn a_forged_record_behind_a_damage_is_not_believed() {
    let mut sample = sample();
    // Own check sum, own place, a receipt nobody signed: what an attacker could write at most.
    let mut forged = receipts(3)[2].to_bytes();
    forged[104] ^= 1;
    let forged = Record::ReceiptReceived(Receipt::parse(&forged).unwrap());
    let tail = log_of(header(), vec![forged])
        .bytes
        .split_off(SegmentHeader::LEN);
    sample.bytes.push(0xff);
    sample.bytes.extend(tail);
    let recovered = recover(&sample.bytes);
    assert_eq!(recovered.records, sample.records);
    assert_eq!(recovered.cut.unwrap().reason, CutReason::NotARecord);
    assert!(recovered.salvaged.is_empty());
}

#[test]
fn the_log_of_another_node_or_network_is_not_touched() {
    let sample = sample();
    for other in [
        Header {
            owner: party(9),
            ..header()
        },
        Header {
            network: NetworkId::from_name("elsewhere"),
            ..header()
        },
    ] {
        let expected = SegmentHeader::first(other);
        let refused = receipts::log::recover(&sample.bytes, &expected).map(|_| ());
        assert_eq!(refused, Err(HeaderError::Foreign(header())));
    }
}

#[test]
fn a_log_of_a_later_version_is_not_touched_and_one_of_an_earlier_is_named() {
    let mut later = first().to_bytes();
    later[8] = 3;
    let sum = crc32fast::hash(&later[..100]).to_le_bytes();
    later[100..].copy_from_slice(&sum);
    let refused = receipts::log::recover(&later, &first()).map(|_| ());
    assert_eq!(refused, Err(HeaderError::Version(3)));
    assert_eq!(SegmentHeader::parse(&later), Err(HeaderError::Version(3)));

    let mut earlier = first().to_bytes();
    earlier[8] = 1;
    assert_eq!(SegmentHeader::parse(&earlier), Err(HeaderError::Version(1)));
}

#[test]
fn a_segment_under_the_number_of_another_is_not_taken_for_it() {
    let sample = sample();
    let second = SegmentHeader {
        number: 2,
        ..first()
    };
    let recovered = receipts::log::recover(&sample.bytes, &second).unwrap();
    assert_eq!(recovered.cut.unwrap().reason, CutReason::Header);
    assert_eq!(recovered.header, second);
    assert_eq!(recovered.salvaged, sample.records, "their signatures hold");
}

#[test]
fn each_record_stands_where_it_is_said_to() {
    let mut log = sample().bytes;
    log[sample().ends[2] - 1] ^= 1;
    let recovered = recover(&log);
    assert!(!recovered.salvaged.is_empty());
    for (offset, record) in recovered.into_records() {
        assert_eq!(Record::read(&log[offset..]), Ok(record));
    }
}

#[test]
fn a_verified_log_reports_its_totals() {
    let report = verify(&sample().bytes).unwrap();
    assert_eq!(
        (report.header, report.offers, report.receipts),
        (header(), 2, 5)
    );
    assert_eq!(report.equivocations, [proof()]);
    let pairs = report.pairs().unwrap();
    let find = |provider| pairs.iter().find(|pair| pair.provider == provider).unwrap();
    assert_eq!(pairs.len(), 2);
    assert_eq!(find(party(1)).totals, totals(3000, 3 * MIB, 9));
    assert_eq!(find(party(1)).amount, Amount::new(3002));
    assert_eq!(find(party(3)).amount, Amount::new(10));
}

fn fault_of(records: Vec<Record>) -> Fault {
    match verify(&log_of(header(), records).bytes) {
        Err(VerifyError::Record { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn whatever_is_wrong_in_a_well_framed_log_is_found() {
    let chain = receipts(3);
    let received = |n: usize| Record::ReceiptReceived(chain[n].clone());
    let made = Record::OfferMade(offer());
    assert_eq!(fault_of(vec![received(0)]), Fault::NoOffer);
    assert_eq!(
        fault_of(vec![made.clone(), received(1), received(0)]),
        Fault::Receipt(ReceiptError::Seq)
    );
    assert_eq!(
        fault_of(vec![made.clone(), received(0), received(0)]),
        Fault::Receipt(ReceiptError::Seq)
    );

    let fork = Receipt::sign(&key(2), &offer(), None, totals(1, 1, 1)).unwrap();
    let on_fork = Receipt::sign(&key(2), &offer(), Some(&fork), totals(3000, 3 * MIB, 9)).unwrap();
    assert_eq!(
        fault_of(vec![
            made.clone(),
            received(0),
            Record::ReceiptReceived(on_fork)
        ]),
        Fault::Receipt(ReceiptError::Chain)
    );

    let mut forged = chain[0].to_bytes();
    forged[120] ^= 1;
    let forged = Receipt::parse(&forged).unwrap();
    assert!(matches!(
        fault_of(vec![made.clone(), Record::ReceiptReceived(forged)]),
        Fault::Signature(_)
    ));

    let not_mine = Record::ReceiptGiven(chain[0].clone());
    assert_eq!(
        fault_of(vec![made, not_mine]),
        Fault::Frame(CutReason::Foreign)
    );
}

#[test]
fn an_amount_that_does_not_follow_from_the_offer_is_found() {
    // A consumer and a provider who agree can sign any amount.
    let dearer = resigned(&receipts(1)[0], 2, |content| content[120] += 1);
    assert_eq!(dearer.verify(), Ok(()));
    let records = vec![Record::OfferMade(offer()), Record::ReceiptReceived(dearer)];
    assert_eq!(fault_of(records), Fault::Receipt(ReceiptError::Amount));
}

#[test]
fn a_first_receipt_with_a_predecessor_is_found() {
    let odd = resigned(&receipts(1)[0], 2, |content| content[164] = 1);
    let records = vec![Record::OfferMade(offer()), Record::ReceiptReceived(odd)];
    assert_eq!(fault_of(records), Fault::Receipt(ReceiptError::Chain));
}

#[test]
fn heads_never_move_back() {
    let mut state = receipts::State::new(header());
    let mut records = provided();
    records[1..].reverse();
    for record in records {
        state.apply(&record).unwrap();
    }
    let account =
        |state: &receipts::State| state.providing()[&party(2)].accounts()[&gateway()].clone();
    let known = account(&state);
    assert_eq!(known.position(), Some(Position { epoch: 7, seq: 3 }));
    assert_eq!(known.amount(), receipts(3)[2].amount());
    let earlier = offer_of(1, 2, 6, Price::FREE);
    state.apply(&Record::OfferMade(earlier)).unwrap();
    assert_eq!(account(&state), known);
}

#[test]
fn a_receipt_without_its_offer_says_that_its_epoch_was() {
    let mut state = receipts::State::new(header());
    state.apply(&provided()[1]).unwrap();
    let pair = &state.providing()[&party(2)];
    assert_eq!((pair.newest_epoch(), pair.has_receipt()), (7, true));
    assert!(pair.accounts().is_empty());
}

#[test]
fn a_receipt_that_comes_to_light_late_counts_in_its_epoch() {
    let mut state = receipts::State::new(header());
    let next = offer_of(1, 2, 8, Price::new(1000));
    state.apply(&Record::OfferMade(next.clone())).unwrap();
    for record in provided() {
        state.apply(&record).unwrap();
    }
    let account = &state.providing()[&party(2)].accounts()[&gateway()];
    assert_eq!(account.offer(), Some(&next));
    assert_eq!(account.earlier_amount(), receipts(3)[2].amount());
}

#[test]
fn offers_without_receipts_do_not_push_out_one_that_has() {
    let mut state = receipts::State::new(header());
    for epoch in 7..30 {
        let offer = offer_of(1, 2, epoch, Price::new(1000));
        state.apply(&Record::OfferMade(offer)).unwrap();
    }
    for record in provided() {
        state.apply(&record).unwrap();
    }
    let account = &state.providing()[&party(2)].accounts()[&gateway()];
    assert_eq!(account.receipt(), receipts(3).last());
    assert_eq!(account.offer().map(Offer::epoch), Some(29));
}

#[test]
fn what_must_not_be_lost_is_urgent() {
    let urgent = sample()
        .records
        .iter()
        .map(Record::is_urgent)
        .collect::<Vec<_>>();
    assert_eq!(
        urgent,
        [true, false, false, false, true, false, false, true]
    );
}

#[test]
fn receipts_under_two_offers_of_one_epoch_are_found() {
    let cheap = offer_of(1, 2, 7, Price::new(1));
    let first = Receipt::sign(&key(2), &cheap, None, totals(0, 1, 0)).unwrap();
    let records = vec![
        Record::OfferMade(cheap),
        Record::OfferMade(offer()),
        Record::ReceiptReceived(first),
        Record::ReceiptReceived(receipts(2)[1].clone()),
    ];
    assert_eq!(fault_of(records), Fault::Receipt(ReceiptError::OtherOffer));
}

/// A sample with an end, and the length of every sound prefix.
fn export() -> (Vec<u8>, Vec<usize>) {
    let Sample { bytes, ends, .. } = sample();
    let writer = recover(&bytes).writer;
    let records = u64::try_from(ends.len() - 1).unwrap();
    ([bytes, writer.end(records)].concat(), ends)
}

#[test]
fn an_export_that_is_cut_anywhere_is_not_a_whole_one() {
    let (export, ends) = export();
    assert!(verify(&export).unwrap().has_end);
    for len in 0..export.len() {
        let cut = verify(&export[..len]);
        assert!(
            !cut.as_ref().is_ok_and(|report| report.has_end),
            "cut at {len}"
        );
        assert_eq!(cut.is_ok(), ends.contains(&len), "cut at {len}");
    }
    for bit in ends.last().unwrap() * 8..export.len() * 8 {
        let mut changed = export.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(verify(&changed).is_err(), "bit {bit}");
    }
}

#[test]
fn an_end_is_that_of_what_stands_before_it_and_nothing_follows() {
    let (export, ends) = export();
    let fault = |bytes: &[u8]| match verify(bytes) {
        Err(VerifyError::Record { fault, .. }) => Some(fault),
        Ok(_) | Err(VerifyError::Header(_)) => None,
    };
    let end = &export[*ends.last().unwrap()..];
    let shorter = [&export[..ends[ends.len() - 2]], end].concat();
    assert_eq!(fault(&shorter), Some(Fault::Frame(CutReason::Chain)));

    let sample = sample();
    let miscounted = recover(&sample.bytes).writer.end(1);
    let miscounted = [sample.bytes, miscounted].concat();
    assert_eq!(fault(&miscounted), Some(Fault::Count(1)));

    for more in [end, &export[ends[0]..ends[1]], &[0]] {
        assert_eq!(fault(&[&export, more].concat()), Some(Fault::BehindEnd));
    }
}

#[test]
fn an_export_in_the_place_of_a_segment_loses_no_record() {
    let (export, ends) = export();
    let recovered = recover(&export);
    assert_eq!(recovered.records.len(), ends.len() - 1);
    assert_eq!(recovered.valid_len, *ends.last().unwrap());
    assert_eq!(recovered.salvaged, []);
    assert_eq!(recovered.cut.unwrap().reason, CutReason::NotARecord);
    check_repaired(export);
}

#[test]
fn both_sides_of_an_account_count_once() {
    let given: Vec<Record> = std::iter::once(Record::OfferAccepted(offer()))
        .chain(receipts(2).into_iter().map(Record::ReceiptGiven))
        .collect();
    let consumer = log_of(
        Header {
            owner: party(2),
            ..header()
        },
        given,
    );
    let mut report = verify(&consumer.bytes).unwrap();
    report
        .merge(verify(&log_of(header(), provided()).bytes).unwrap())
        .unwrap();
    let pairs = report.pairs().unwrap();
    assert_eq!(pairs.len(), 1);
    assert_eq!(
        pairs[0].totals,
        totals(3000, 3 * MIB, 9),
        "the newer receipt counts"
    );
    assert!(report.equivocations.is_empty());
}

#[test]
fn a_contradiction_between_two_logs_comes_to_light() {
    let (_, other) = (proof().receipts().0.clone(), proof().receipts().1.clone());
    let mine: Vec<Record> = provided().into_iter().take(3).collect();
    let theirs = vec![Record::OfferAccepted(offer()), Record::ReceiptGiven(other)];
    let theirs = log_of(
        Header {
            owner: party(2),
            ..header()
        },
        theirs,
    );
    let mut report = verify(&log_of(header(), mine).bytes).unwrap();
    report.merge(verify(&theirs.bytes).unwrap()).unwrap();
    assert_eq!(report.equivocations, [proof()]);
}

#[test]
fn logs_of_two_networks_are_not_added_up() {
    let elsewhere = Header {
        network: NetworkId::from_name("elsewhere"),
        ..header()
    };
    let mut report = verify(&first().to_bytes()).unwrap();
    let other = verify(&SegmentHeader::first(elsewhere).to_bytes()).unwrap();
    assert_eq!(report.merge(other), Err(HeaderError::Foreign(elsewhere)));
}

#[test]
fn amounts_are_exact_where_shown_sums_stop_at_their_limits() {
    let dear = |epoch| offer_of(1, 2, epoch, Price::MAX);
    let most = totals(0, u64::MAX, u32::MAX);
    let receipt = |epoch| Receipt::sign(&key(2), &dear(epoch), None, most).unwrap();
    let records = vec![
        Record::OfferMade(dear(1)),
        Record::ReceiptReceived(receipt(1)),
        Record::OfferMade(dear(2)),
        Record::ReceiptReceived(receipt(2)),
    ];
    let pairs = verify(&log_of(header(), records).bytes)
        .unwrap()
        .pairs()
        .unwrap();
    let one = receipt(1).amount();
    assert_eq!(pairs[0].totals, most);
    assert_eq!(pairs[0].amount, one.checked_add(one).unwrap());
}

proptest! {
    #[test]
    fn any_bytes_behind_a_log_lose_nothing_of_it(
        junk in proptest::collection::vec(any::<u8>(), 1..600),
    ) {
        let sample = small();
        let log = [sample.bytes.clone(), junk].concat();
        let recovered = recover(&log);
        prop_assert_eq!(&recovered.records, &sample.records);
        prop_assert_eq!(recovered.valid_len, sample.bytes.len());
        prop_assert!(verify(&log).is_err());
    }

    #[test]
    fn any_bytes_are_no_log_and_no_crash(
        bytes in proptest::collection::vec(any::<u8>(), 1..600),
    ) {
        prop_assert!(verify(&bytes).is_err());
        let recovered = recover(&bytes);
        prop_assert!(recovered.cut.is_some());
        prop_assert!(recovered.records.is_empty());
    }
}

#[test]
fn the_parts_of_a_report_say_the_same_and_each_is_whole() {
    let (export, _) = export();
    let whole = verify(&export).unwrap();
    for most_bytes in [0, 900, 1_500, 100_000] {
        let parts = whole.parts(most_bytes);
        let mut reports = parts.iter().map(|part| verify(part).unwrap());
        assert!(parts.iter().all(|part| verify(part).unwrap().has_end));
        let mut merged = reports.next().unwrap();
        for report in reports {
            merged.merge(report).unwrap();
        }
        assert_eq!(merged.newest, whole.newest, "{most_bytes}");
        assert_eq!(merged.equivocations, whole.equivocations);
        let longest = parts.iter().map(Vec::len).max().unwrap();
        assert!(longest <= most_bytes.max(900), "{longest} of {most_bytes}");
    }
    assert!(whole.parts(0).len() > 1);
    assert_eq!(whole.parts(100_000).len(), 1);
}
