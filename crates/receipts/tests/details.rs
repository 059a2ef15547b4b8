//! What an operator is told of accounts: sums over epochs, the last receipts, refusals, holds, proofs.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use receipts::log::{Header, Record};
use receipts::{
    AccountView, Amount, ContentHash, Equivocation, Event, Ledger, LedgerConfig, MIB, NetworkId,
    Offer, Output, PairDetails, Party, Price, Receipt, RefusalReason, Role, Standing, State, Terms,
    Totals, Usage,
};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn party(seed: u8) -> Party {
    Party::of(&key(seed))
}

fn network() -> NetworkId {
    NetworkId::from_name("village")
}

fn header(seed: u8) -> Header {
    Header {
        network: network(),
        owner: party(seed),
    }
}

/// An arbitrary beginning of virtual time.
#[expect(
    clippy::disallowed_methods,
    reason = "an Instant cannot be made in another way"
)]
fn beginning() -> Instant {
    Instant::now()
}

/// Provider 1 at 1000 atto-SMT per MiB, and consumer 2.
struct Pair {
    now: Instant,
    provider: Ledger,
    consumer: Ledger,
    events: Vec<Event>,
}

impl Pair {
    fn new(provider: State) -> Self {
        let config = LedgerConfig {
            max_price: Price::MAX,
            ..LedgerConfig::new(network())
        };
        let ledger = |seed, state| Ledger::new(config.clone(), key(seed), state).unwrap();
        Self {
            now: beginning(),
            provider: ledger(1, provider),
            consumer: ledger(2, State::new(header(2))),
            events: Vec::new(),
        }
    }

    /// What the consumer and then the provider count down from the gateway.
    fn carry(&mut self, consumer_bytes: u64, provider_bytes: u64, price: u64) {
        let usage = |peer, role, down_bytes| Usage {
            peer,
            role,
            gateway: party(9),
            price: Some(Price::new(price)),
            up_bytes: 0,
            down_bytes,
        };
        let consumed = usage(party(1), Role::Consumer, consumer_bytes);
        let provided = usage(party(2), Role::Provider, provider_bytes);
        self.consumer.handle_usage(self.now, consumed).unwrap();
        self.provider.handle_usage(self.now, provided).unwrap();
        self.settle();
    }

    fn settle(&mut self) {
        loop {
            let from_provider = drain(&mut self.provider, &mut self.events);
            let from_consumer = drain(&mut self.consumer, &mut self.events);
            for payload in &from_provider {
                let _ = self.consumer.handle_message(self.now, party(1), payload);
            }
            for payload in &from_consumer {
                let _ = self.provider.handle_message(self.now, party(2), payload);
            }
            if from_provider.is_empty() && from_consumer.is_empty() {
                return;
            }
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.consumer.handle_reading(self.now, self.now);
        self.now += Duration::from_secs(seconds);
        self.provider.handle_timeout(self.now);
        self.consumer.handle_timeout(self.now);
        self.settle();
    }

    fn accounts(&self) -> [AccountView; 2] {
        [&self.provider, &self.consumer].map(|ledger| ledger.accounts().next().unwrap())
    }

    fn details(&self) -> [PairDetails; 2] {
        [(&self.provider, 2), (&self.consumer, 1)]
            .map(|(ledger, peer)| ledger.pairs_with(party(peer)).next().unwrap())
    }
}

fn drain(ledger: &mut Ledger, events: &mut Vec<Event>) -> Vec<Vec<u8>> {
    let mut sent = Vec::new();
    while let Some(output) = ledger.poll_output() {
        match output {
            Output::Send { payload, .. } => sent.push(payload),
            Output::Event(event) => events.push(event),
            Output::Persist(_) | Output::Hold { .. } | Output::Throttle(_) => {}
        }
    }
    sent
}

#[test]
fn bytes_and_amounts_of_earlier_epochs_add_up() {
    let mut pair = Pair::new(State::new(header(1)));
    pair.carry(2 * MIB, 2 * MIB, 1000);
    pair.pass(10);
    pair.carry(2 * MIB, 2 * MIB, 2000);
    pair.pass(10);
    pair.carry(2 * MIB, 2 * MIB, 3000);

    for account in pair.accounts() {
        assert_eq!(account.position.unwrap().epoch, 3, "{account:?}");
        assert_eq!(account.signed.bytes(), u128::from(2 * MIB));
        assert_eq!(account.earlier_bytes, u128::from(4 * MIB), "{account:?}");
        assert_eq!(account.earlier_amount, Amount::new(6000));
        assert_eq!(account.signed_at, Some(pair.now));
        assert_eq!(account.unpaid, Some(Amount::ZERO));
    }
    let added = pair.events.iter().filter_map(|event| {
        let Event::ReceiptReceived { added, .. } = event else {
            return None;
        };
        Some(added.atto_smt())
    });
    assert_eq!(added.sum::<u128>(), 12_000, "each MiB is earned once");
}

#[test]
fn what_is_unpaid_has_the_price_of_its_epoch() {
    let mut pair = Pair::new(State::new(header(1)));
    pair.carry(MIB, MIB, 1000);
    let signed_at = Some(pair.now);
    pair.pass(10);
    pair.carry(MIB / 8, MIB / 8, 1000);

    for account in pair.accounts() {
        assert_eq!(account.unsigned_bytes, u128::from(MIB / 8));
        assert_eq!(account.unpaid, Some(Amount::new(125)));
        assert_eq!(account.signed_at, signed_at);
    }
}

#[test]
fn the_last_16_receipts_are_remembered_the_newest_at_the_end() {
    let mut pair = Pair::new(State::new(header(1)));
    for _ in 0..20 {
        pair.carry(2 * MIB, 2 * MIB, 1000);
        pair.pass(10);
    }

    for (details, account) in pair.details().into_iter().zip(pair.accounts()) {
        let receipts = &details.accounts[0].receipts;
        let places: Vec<u32> = receipts.iter().map(|one| one.position.seq).collect();
        assert_eq!(places, (5..=20).collect::<Vec<_>>());
        assert_eq!(receipts.last().map(|one| one.hash), account.last_hash);
        assert_eq!(receipts.last().map(|one| one.amount), Some(account.amount));
        let opened = details.accounts[0].offered_at.unwrap();
        assert_eq!(pair.now - opened, Duration::from_secs(200));
    }
}

#[test]
fn a_refusal_says_what_both_sides_counted_and_stays_known() {
    let mut pair = Pair::new(State::new(header(1)));
    pair.carry(3 * MIB, 4 * MIB, 1000);
    let asked_at = pair.now;
    pair.pass(4);
    assert!(pair.accounts().iter().all(|one| one.last_hash.is_some()));

    for details in pair.details() {
        let refused = details.accounts[0].refused.unwrap();
        assert_eq!(refused.asked.down_bytes, 4 * MIB);
        assert_eq!(refused.refusal.confirmed.down_bytes, 3 * MIB);
        assert_eq!(refused.refusal.reason, RefusalReason::Unconfirmed);
        assert_eq!(refused.at, asked_at + Duration::from_secs(4));
        assert_eq!(
            details.accounts[0].account.last_refusal, None,
            "signed since"
        );
    }
}

#[test]
fn a_hold_says_why_and_until_when() {
    let mut pair = Pair::new(State::new(header(1)));
    pair.carry(0, MIB, 1000);
    let since = pair.now;
    let [provider, _] = pair.details();
    let hold = provider.hold.unwrap();
    assert_eq!((hold.since, hold.until), (since, None));
    assert_eq!(hold.exposure_bytes, u128::from(MIB));
    assert_eq!(hold.window_bytes, MIB);
    assert_eq!(hold.standing, Standing::Stranger);
    assert_eq!(pair.accounts()[0].window_bytes, Some(MIB));

    pair.carry(2 * MIB, 0, 1000);
    pair.pass(1);
    for _ in 0..10 {
        pair.pass(60);
    }

    let [provider, _] = pair.details();
    let hold = provider.hold.unwrap();
    assert_eq!(hold.since, since);
    assert!(hold.until.is_some(), "{hold:?}");
}

fn offer() -> Offer {
    let terms = Terms {
        gateway: party(9),
        price: Price::new(1000),
        credit_bytes: 8 * MIB,
        previous: ContentHash::NONE,
    };
    Offer::sign(&key(1), network(), party(2), 1, terms)
}

fn receipt(down_bytes: u64) -> Receipt {
    let totals = Totals {
        down_bytes,
        ..Totals::ZERO
    };
    Receipt::sign(&key(2), &offer(), None, totals).unwrap()
}

#[test]
fn a_proof_in_the_log_is_shown_after_a_restart() {
    let proof = Equivocation::between(&receipt(MIB), &receipt(2 * MIB)).unwrap();
    let mut state = State::new(header(1));
    for record in [
        Record::OfferMade(offer()),
        Record::ReceiptReceived(receipt(MIB)),
        Record::Equivocation(Box::new(proof.clone())),
    ] {
        state.apply(&record).unwrap();
    }

    let pair = Pair::new(state);
    let details = pair.provider.pairs_with(party(2)).next().unwrap();

    assert_eq!(details.proof, Some(proof));
    assert_eq!(details.accounts[0].receipts.len(), 1);
    assert_eq!(details.accounts[0].offered_at, None, "of an earlier run");
    assert_eq!(details.accounts[0].account.standing, Standing::Cheat);
}
