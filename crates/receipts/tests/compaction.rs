//! What is kept of a log, and what waits to be written.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod common;

use common::{MIB, key, network, party, state_of, terms, totals};
use proptest::prelude::*;
use receipts::log::{Buffer, Header, Heads, Record, SegmentHeader, Writer, verify};
use receipts::{Equivocation, Offer, Price, Receipt, State, Terms};

const OWNER: u8 = 1;

fn header() -> Header {
    Header {
        network: network(),
        owner: party(OWNER),
    }
}

fn log_of<'a>(records: impl IntoIterator<Item = &'a Record>) -> Vec<u8> {
    let (mut writer, mut log) = Writer::create(&SegmentHeader::first(header()));
    for record in records {
        log.extend(writer.append(record));
    }
    log
}

fn heads(records: &[Record]) -> Heads<usize> {
    let mut heads = Heads::default();
    for (at, record) in records.iter().enumerate() {
        heads.note(record, at);
    }
    heads
}

fn kept(records: &[Record]) -> Vec<Record> {
    let selection = heads(records).to_keep();
    let kept: Vec<Record> = selection.at.iter().map(|at| records[*at].clone()).collect();
    let stored_bytes = log_of(&kept).len() - SegmentHeader::LEN;
    assert_eq!(selection.stored_bytes, stored_bytes);
    kept
}

fn proved(records: &[Record]) -> Vec<Record> {
    let selection = heads(records).to_prove();
    selection.at.iter().map(|at| records[*at].clone()).collect()
}

/// A pair of which the owner is one side, with an account for each of two gateways.
#[derive(Debug)]
struct Pair {
    provides: bool,
    peer: u8,
    epoch: u64,
    accounts: [Account; 2],
}

#[derive(Debug, Default)]
struct Account {
    offer: Option<Offer>,
    last: Option<Receipt>,
}

impl Pair {
    fn new(provides: bool, peer: u8) -> Self {
        Self {
            provides,
            peer,
            epoch: 0,
            accounts: [Account::default(), Account::default()],
        }
    }

    fn sides(&self) -> (u8, u8) {
        match self.provides {
            true => (OWNER, self.peer),
            false => (self.peer, OWNER),
        }
    }

    fn offer(&mut self, gateway: usize) -> Record {
        self.epoch += 1;
        let (provider, consumer) = self.sides();
        let terms = Terms {
            gateway: party(20 + u8::try_from(gateway).unwrap()),
            ..terms(Price::new(self.epoch * 1000))
        };
        let consumer = party(consumer);
        let offer = Offer::sign(&key(provider), network(), consumer, self.epoch, terms);
        let account = &mut self.accounts[gateway];
        account.offer = Some(offer.clone());
        account.last = None;
        match self.provides {
            true => Record::OfferMade(offer),
            false => Record::OfferAccepted(offer),
        }
    }

    fn receipt(&mut self, gateway: usize) -> Option<Record> {
        let consumer = self.sides().1;
        let account = &mut self.accounts[gateway];
        let known = account
            .last
            .as_ref()
            .map_or(totals(0, 0, 0), |last| *last.totals());
        let more = totals(
            known.up_bytes + MIB,
            known.down_bytes + 7,
            known.seconds + 1,
        );
        let offer = account.offer.as_ref()?;
        let receipt = Receipt::sign(&key(consumer), offer, account.last.as_ref(), more).unwrap();
        account.last = Some(receipt.clone());
        Some(match self.provides {
            true => Record::ReceiptReceived(receipt),
            false => Record::ReceiptGiven(receipt),
        })
    }

    /// The consumer contradicts its last receipt.
    fn cheat(&self, gateway: usize) -> Option<Record> {
        let account = &self.accounts[gateway];
        let last = account
            .last
            .as_ref()
            .filter(|last| last.position().seq == 1)?;
        let other = Receipt::sign(
            &key(self.sides().1),
            account.offer.as_ref()?,
            None,
            totals(0, 1, 0),
        );
        let proof = Equivocation::between(last, &other.unwrap())?;
        self.provides.then(|| Record::Equivocation(Box::new(proof)))
    }
}

/// What an honest owner writes, by a choice for each step: which pair, which gateway, and what.
fn history(steps: &[(usize, usize, u8)]) -> Vec<Record> {
    let mut pairs = [Pair::new(true, 2), Pair::new(true, 3), Pair::new(false, 2)];
    let mut records = Vec::new();
    for &(pair, gateway, what) in steps {
        let pair = &mut pairs[pair];
        records.extend(match what {
            0 => Some(pair.offer(gateway)),
            1 => pair.cheat(gateway),
            _ => pair.receipt(gateway),
        });
    }
    records
}

/// What a ledger writes behind `kept`: an offer that was taken out comes again with its first receipt.
fn after(kept: Vec<Record>, late: &[Record], all: &[Record]) -> Vec<Record> {
    let mut records = kept;
    for record in late {
        let offer = all.iter().find(|it| is_offer_of(it, record));
        records.extend(offer.filter(|offer| !records.contains(offer)).cloned());
        records.push(record.clone());
    }
    records
}

fn is_offer_of(offer: &Record, receipt: &Record) -> bool {
    matches!((offer, receipt), (Record::OfferMade(offer), Record::ReceiptReceived(receipt))
        if offer.hash() == receipt.offer_hash())
}

fn steps() -> impl Strategy<Value = Vec<(usize, usize, u8)>> {
    proptest::collection::vec((0..3usize, 0..2usize, 0..5u8), 0..80)
}

fn state(records: &[Record]) -> State {
    state_of(header(), records)
}

/// The same without the offers made to those who never signed anything.
fn state_with_known(records: &[Record]) -> State {
    let pair = |record: &Record| (record.heading().provider, record.heading().consumer);
    let is_receipt = |it: &&Record| matches!(it, Record::ReceiptReceived(_));
    let known: Vec<_> = records.iter().filter(is_receipt).map(pair).collect();
    let is_strange = |it: &Record| matches!(it, Record::OfferMade(_)) && !known.contains(&pair(it));
    state_of(header(), records.iter().filter(|it| !is_strange(it)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn compaction_changes_no_account_but_of_strangers(steps in steps()) {
        let records = history(&steps);
        let kept = kept(&records);
        prop_assert_eq!(state(&kept), state_with_known(&records));
        // What was already kept, with what came later, is kept alike; and so is what stands twice.
        prop_assert_eq!(&self::kept(&kept), &kept);
        let twice = [records.clone(), kept.clone()].concat();
        prop_assert_eq!(state(&self::kept(&twice)), state_with_known(&records));
    }

    #[test]
    fn compaction_changes_nothing_that_is_proved(steps in steps()) {
        let records = history(&steps);
        let whole = verify(&log_of(&records)).unwrap();
        for short in [kept(&records), proved(&records)] {
            let short = verify(&log_of(&short)).unwrap();
            prop_assert_eq!(&short.newest, &whole.newest);
            prop_assert_eq!(short.pairs(), whole.pairs());
            for proof in &whole.equivocations {
                prop_assert!(short.equivocations.contains(proof));
            }
        }
    }

    #[test]
    fn compaction_in_parts_proves_the_same_as_at_once(steps in steps(), cut in 0..80usize) {
        let records = history(&steps);
        let (early, late) = records.split_at(cut.min(records.len()));
        let in_parts = kept(&after(kept(early), late, &records));
        let whole = verify(&log_of(&records)).unwrap();
        prop_assert_eq!(verify(&log_of(&in_parts)).unwrap().newest, whole.newest);
        prop_assert_eq!(&kept(&in_parts), &in_parts);
    }

    #[test]
    fn a_lost_record_never_moves_an_account_back_below_the_rest(
        steps in steps(),
        lost in 0..80usize,
    ) {
        let mut records = history(&steps);
        if lost < records.len() {
            records.remove(lost);
        }
        let (kept, proved) = (kept(&records), proved(&records));
        let (after, before) = (state(&kept), state_with_known(&records));
        for (peer, pair) in before.providing().iter().chain(before.consuming()) {
            let pairs = after.providing().get(peer).into_iter().chain(after.consuming().get(peer));
            let newest = pairs.map(receipts::PairState::newest_epoch).max();
            prop_assert!(newest >= Some(pair.newest_epoch()));
        }
        prop_assert!(verify(&log_of(&proved)).is_ok(), "what is handed out can be checked");
    }

    #[test]
    fn what_is_buffered_ends_where_the_records_end(steps in steps(), failures in any::<u64>()) {
        let records = history(&steps);
        let mut buffer = Buffer::default();
        let mut written = Vec::new();
        for (n, record) in records.iter().enumerate() {
            buffer.push(record.clone());
            match failures >> (n % 64) & 3 {
                // Written.
                0 => written.extend(std::mem::take(&mut buffer).records().to_vec()),
                // It failed, and something came again meanwhile.
                1 => buffer.push(record.clone()),
                _ => {}
            }
        }
        written.extend(buffer.records().to_vec());
        prop_assert_eq!(state(&written), state(&records));
        prop_assert!(verify(&log_of(&written)).is_ok());
    }
}

#[test]
fn what_waits_is_bounded_by_epochs_and_not_by_receipts() {
    let mut pair = Pair::new(true, 2);
    let mut buffer = Buffer::default();
    buffer.push(pair.offer(0));
    assert!(buffer.is_urgent());
    for _ in 0..100 {
        buffer.push(pair.receipt(0).unwrap());
    }
    let newest = buffer.records()[1].heading().position;
    assert_eq!((buffer.records().len(), newest.seq), (2, 100));
    let older = buffer.records()[1].clone();
    buffer.push(pair.receipt(0).unwrap());
    buffer.push(older);
    assert_eq!(buffer.records()[1].heading().position.seq, 101);
}

#[test]
fn offers_since_the_newest_receipt_are_forgotten_but_the_newest() {
    let mut pair = Pair::new(true, 2);
    let signed = [pair.offer(0), pair.receipt(0).unwrap()];
    let offers: Vec<Record> = (0..100).map(|_| pair.offer(0)).collect();
    let records = [signed.to_vec(), offers.clone()].concat();
    let kept = kept(&records);
    assert_eq!(kept, [&signed, &offers[92..]].concat());
    // The state counts the one of the receipt with them.
    let newest = |records: &[Record]| state(records).providing()[&party(2)].newest_epoch();
    assert_eq!(newest(&kept), newest(&records));
}

#[test]
fn offers_made_to_strangers_are_forgotten_and_accepted_ones_are_not() {
    let (mut consumer, mut provider) = (Pair::new(true, 2), Pair::new(false, 3));
    let made: Vec<Record> = (0..3).map(|_| consumer.offer(0)).collect();
    assert_eq!(kept(&made), []);
    assert_eq!(proved(&made), []);
    // Its receipt was lost, so this node may have signed.
    let accepted: Vec<Record> = (0..3).map(|_| provider.offer(0)).collect();
    assert_eq!(kept(&accepted), accepted);
    // A receipt for one gateway makes the neighbor known for all of them.
    let other = consumer.offer(1);
    let known = [made[2].clone(), consumer.receipt(0).unwrap(), other];
    assert_eq!(kept(&known), known);
}

#[test]
fn offers_before_the_newest_receipt_are_forgotten() {
    let mut pair = Pair::new(true, 2);
    let records = [pair.offer(0), pair.offer(0), pair.receipt(0).unwrap()];
    assert_eq!(kept(&records), records[1..]);
}

#[test]
fn a_receipt_without_its_offer_is_kept_but_not_handed_out() {
    let mut pair = Pair::new(true, 2);
    let offer = pair.offer(0);
    let receipt = pair.receipt(0).unwrap();
    let alone = std::slice::from_ref(&receipt);
    assert_eq!(kept(alone), alone);
    assert_eq!(proved(alone), []);
    // The neighbor has shown it since.
    let again = [receipt.clone(), offer.clone(), receipt.clone()];
    assert_eq!(kept(&again), [offer, receipt]);
}
