//! What keeps receipts from being paid twice, and debts from being left behind.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::sync::LazyLock;

use alloy_primitives::Address;
use ed25519_dalek::SigningKey;
use ethereum::key::PrivateKey;
use receipts::log::{Header, Record, SegmentHeader, Writer};
use receipts::{
    Amount, ContentHash, MIB, NetworkId, Offer, Party, Price, Receipt, Terms as Offered, Totals,
};
use redeemd::claim::{Claim, PairClaim};
use redeemd::room::{Limit, Standing, View};
use redeemd::store::{
    Book, Cheque, Finding, MOST_UNCASHED, MOST_UNSETTLED, MOST_UNUSED, Place, Registered,
    Registration, Settled, Store, Terms,
};
use redeemd::tariff::{Ppm, Tariff};
use tempfile::TempDir;

const PAYER: Address = Address::repeat_byte(1);
const EARNER: Address = Address::repeat_byte(2);
const SERVICE: Address = Address::repeat_byte(3);

static FIRST: LazyLock<Place> = LazyLock::new(Place::default);

fn provider() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn consumer() -> SigningKey {
    SigningKey::from_bytes(&[2; 32])
}

/// A receipt for so many MiB at 1 atto-SMT each.
fn claim(mib: u64) -> Claim {
    claim_of(&provider(), mib)
}

fn claim_of(provider: &SigningKey, mib: u64) -> Claim {
    claim_in("village", provider, mib)
}

fn claim_in(network: &str, provider: &SigningKey, mib: u64) -> Claim {
    let network = NetworkId::from_name(network);
    let terms = Offered {
        gateway: Party::of(provider),
        price: Price::new(1),
        credit_bytes: 0,
        previous: ContentHash::NONE,
    };
    let offer = Offer::sign(provider, network, Party::of(&consumer()), 1, terms);
    let totals = Totals {
        up_bytes: mib * MIB,
        ..Totals::ZERO
    };
    let receipt = Receipt::sign(&consumer(), &offer, None, totals).unwrap();
    let (mut writer, mut bytes) = Writer::create(&SegmentHeader::first(Header {
        network,
        owner: Party::of(provider),
    }));
    bytes.extend(writer.append(&Record::OfferMade(offer)));
    bytes.extend(writer.append(&Record::ReceiptReceived(receipt)));
    bytes.extend(writer.end(2));
    Claim::read(&bytes).unwrap()
}

async fn store(directory: &TempDir) -> Store {
    let url = format!("sqlite:{}", directory.path().join("redeemd.db").display());
    let book = Book {
        chain_id: 1,
        address: Address::repeat_byte(0xbb),
        settlement_key: Address::repeat_byte(0xcc),
    };
    let store = Store::open(&url, &book).await.unwrap();
    store.add_payer(PAYER).await.unwrap();
    for (node, account) in [(consumer(), PAYER), (provider(), EARNER)] {
        register(&store, &node, account, 1).await;
    }
    store
}

async fn register(store: &Store, node: &SigningKey, account: Address, sequence: u64) -> Registered {
    let registration = Registration {
        node: Party::of(node),
        account,
        sequence,
        node_signature: [0; 64],
        account_signature: [0; 64],
    };
    store.register(&registration).await.unwrap()
}

/// By whose terms all of it is settled.
fn terms(takes_over: bool) -> Terms {
    let tariff = Tariff {
        maximum_price: Price::MAX,
        minimum_amount: Amount::ZERO,
        fee: Ppm::ZERO,
        bonus_per_second: 0,
        bonus_share: Ppm::ZERO,
    };
    Terms {
        tariffs: BTreeMap::new(),
        others: Some(tariff),
        fee_account: SERVICE,
        takes_over,
    }
}

/// A block in which so much can be relied on, and so much has been paid to the earner.
async fn view(store: &Store, block: u64, reliable: u128, paid: u128) -> View {
    let asked = store.beneficiaries(PAYER, SERVICE, &FIRST);
    let asked = asked.await.unwrap();
    let paid_to = |to: &Address| if *to == EARNER { paid } else { 0 };
    View {
        block,
        standing: Standing {
            reliable: Amount::new(reliable),
            allowance: Amount::new(1_000_000),
            names_us: true,
        },
        paid: asked
            .iter()
            .map(|to| (*to, Amount::new(paid_to(to))))
            .collect(),
    }
}

/// Settles what is due when the chain says that so much of a large deposit has been paid to the earner.
async fn settle(store: &Store, paid: u128, takes_over: bool) -> Settled {
    let view = view(store, 1, 1_000_000, paid).await;
    let terms = terms(takes_over);
    settle_by(store, view, &terms).await
}

async fn settle_by(store: &Store, view: View, terms: &Terms) -> Settled {
    store.settle(PAYER, &[view], terms, &FIRST).await.unwrap()
}

async fn given(store: &Store) -> u128 {
    let cheques = store.cheques(EARNER, Address::ZERO).await.unwrap();
    cheques
        .first()
        .map_or(0, |cheque| cheque.cumulative.atto_smt())
}

/// What the chain has paid beyond what is known, when everything fits together all the same.
async fn paid_beyond(store: &Store) -> u128 {
    let audit = store.audit().await.unwrap();
    // Registrations are not signed here.
    let fits = |it: &Finding| matches!(it, Finding::Registration { .. });
    assert!(audit.findings.iter().all(fits), "{:?}", audit.findings);
    audit.paid_beyond.atto_smt()
}

#[tokio::test]
async fn receipts_that_a_database_has_lost_are_not_paid_twice_when_they_are_brought_again() {
    let directory = TempDir::new().unwrap();
    let store = store(&directory).await;
    store.accept(&claim(50).pairs).await.unwrap();
    assert_eq!(settle(&store, 0, false).await.debit, Amount::new(50));
    // A newer one had gone on to 100, which was cashed.
    store.accept(&claim(80).pairs).await.unwrap();
    assert_eq!(settle(&store, 100, false).await.limit, None);
    assert_eq!((given(&store).await, paid_beyond(&store).await), (80, 20));
    store.accept(&claim(130).pairs).await.unwrap();
    assert_eq!(settle(&store, 100, false).await.limit, None);
    // Of which 100 are paid.
    assert_eq!((given(&store).await, paid_beyond(&store).await), (130, 0));
}

#[tokio::test]
async fn what_was_paid_takes_nothing_of_a_deposit_and_the_rest_does() {
    // A tenth is the fee: of 110, the earner gets 99, of which 90 are paid, and the service 11, or the earner both.
    for (fee_account, free) in [(SERVICE, 0), (EARNER, 90)] {
        let directory = TempDir::new().unwrap();
        let store = store(&directory).await;
        let mut terms = terms(false);
        terms.fee_account = fee_account;
        terms.others.as_mut().unwrap().fee = Ppm::new(100_000).unwrap();
        store.accept(&claim(1000).pairs).await.unwrap();
        for (reliable, settled) in [(0, free), (20, 110 - free)] {
            let view = view(&store, 1, reliable, 90).await;
            let round = settle_by(&store, view, &terms).await;
            assert_eq!(round.debit, Amount::new(settled));
            assert_eq!(round.limit, Some(Limit::Deposit));
        }
        let uncashed = store.uncashed(PAYER).await.unwrap();
        let outstanding = uncashed.iter().map(|it| it.cumulative.checked_sub(it.paid));
        let outstanding = outstanding.map(|it| it.unwrap().atto_smt()).sum::<u128>();
        assert_eq!(outstanding, 20);
    }
}

#[tokio::test]
async fn an_empty_database_begins_on_top_of_others_only_when_told_so() {
    for (takes_over, expected) in [(false, 50), (true, 120)] {
        let directory = TempDir::new().unwrap();
        let store = store(&directory).await;
        store.accept(&claim(50).pairs).await.unwrap();
        let settled = settle(&store, 70, takes_over).await;
        assert_eq!((settled.debit, settled.limit), (Amount::new(50), None));
        assert_eq!(given(&store).await, expected);
        let beyond = if takes_over { 0 } else { 20 };
        assert_eq!(paid_beyond(&store).await, beyond);
    }
}

#[tokio::test]
async fn a_payer_cannot_stop_a_service_by_paying_it_before() {
    let directory = TempDir::new().unwrap();
    let store = store(&directory).await;
    store.accept(&claim(50).pairs).await.unwrap();
    let mut view = view(&store, 1, 1_000_000, 0).await;
    view.paid.insert(SERVICE, Amount::new(1));
    let settled = settle_by(&store, view, &terms(false)).await;
    assert_eq!((settled.debit, settled.limit), (Amount::new(50), None));
}

#[tokio::test]
async fn nobody_leaves_an_account_that_was_paid_more_than_is_known() {
    let directory = TempDir::new().unwrap();
    let store = store(&directory).await;
    let other = Address::repeat_byte(9);
    store.accept(&claim(50).pairs).await.unwrap();
    settle(&store, 100, false).await;
    for node in [provider(), consumer()] {
        let moved = register(&store, &node, other, 2).await;
        assert_eq!(moved, Registered::PaidBeyond);
    }
    // A new node may, and one that stays.
    let stranger = SigningKey::from_bytes(&[3; 32]);
    assert_eq!(
        register(&store, &stranger, EARNER, 1).await,
        Registered::Done
    );
    assert_eq!(
        register(&store, &provider(), EARNER, 2).await,
        Registered::Done
    );
    store.accept(&claim(100).pairs).await.unwrap();
    settle(&store, 100, false).await;
    for node in [provider(), consumer()] {
        let moved = register(&store, &node, other, 3).await;
        assert_eq!(moved, Registered::Done);
    }
}

/// Registers so many nodes of whom nobody has heard, behind the store's back: it would take minutes.
async fn crowd(directory: &TempDir, nodes: i64) {
    let url = format!("sqlite:{}", directory.path().join("redeemd.db").display());
    let pool = sqlx::AnyPool::connect(&url).await.unwrap();
    let statement = format!(
        "INSERT INTO registration \
         WITH RECURSIVE crowd (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM crowd WHERE n < {nodes}) \
         SELECT unhex(printf('%064x', n)), zeroblob(20), 1, zeroblob(64), zeroblob(64), \
         n + (SELECT MAX(place) FROM registration) FROM crowd"
    );
    sqlx::query(&statement).execute(&pool).await.unwrap();
}

#[tokio::test]
async fn who_registers_and_brings_nothing_is_forgotten_when_many_have_come_since() {
    let directory = TempDir::new().unwrap();
    let store = store(&directory).await;
    store.accept(&claim(50).pairs).await.unwrap();
    let key = |seed| SigningKey::from_bytes(&[seed; 32]);
    for seed in [3, 4] {
        register(&store, &key(seed), EARNER, 1).await;
    }
    crowd(&directory, MOST_UNUSED - 4).await;
    let known = async |node: &SigningKey| store.registration(Party::of(node)).await.unwrap();
    // Those of the claim have the first two places, then these.
    for (seed, left) in [
        (5, [true, true]),
        (6, [true, true]),
        (7, [false, true]),
        (8, [false; 2]),
    ] {
        register(&store, &key(seed), EARNER, 1).await;
        let is = [
            known(&key(3)).await.is_some(),
            known(&key(4)).await.is_some(),
        ];
        assert_eq!(is, left, "{seed}");
    }
    for node in [provider(), consumer(), key(8)] {
        assert!(known(&node).await.is_some());
    }
    // Nothing is lost by it.
    assert_eq!(register(&store, &key(3), EARNER, 1).await, Registered::Done);
    assert!(known(&key(3)).await.is_some());
}

#[tokio::test]
async fn who_owes_cannot_leave_its_account() {
    let directory = TempDir::new().unwrap();
    let store = store(&directory).await;
    let other = Address::repeat_byte(9);
    store.accept(&claim(50).pairs).await.unwrap();
    assert_eq!(
        register(&store, &consumer(), other, 2).await,
        Registered::Owes
    );
    assert_eq!(
        register(&store, &consumer(), PAYER, 3).await,
        Registered::Done
    );
    assert_eq!(
        register(&store, &provider(), other, 2).await,
        Registered::Done
    );
    register(&store, &provider(), EARNER, 3).await;
    settle(&store, 0, false).await;
    assert_eq!(
        register(&store, &consumer(), other, 4).await,
        Registered::Done
    );
    let parties = BTreeSet::from([Party::of(&consumer())]);
    let accounts = store.accounts(&parties).await.unwrap();
    assert_eq!(accounts.values().copied().collect::<Vec<_>>(), [other]);
}

/// The same receipt in so many epochs: the store has no doubt about what was verified.
fn repeated(epochs: std::ops::Range<u64>) -> PairClaim {
    let mut claim = claim(1).pairs.remove(0);
    let signed = claim.receipts.pop_first().unwrap().1;
    claim.receipts = epochs.map(|epoch| (epoch, signed.clone())).collect();
    claim
}

#[tokio::test]
async fn who_does_not_pay_fills_no_more_of_the_disk() {
    let directory = TempDir::new().unwrap();
    let store = store(&directory).await;
    let taken = async |claim: &PairClaim| {
        let accepted = store.accept([claim]).await.unwrap().pairs.remove(0);
        accepted.map(|pair| pair.news as u64)
    };
    assert_eq!(
        taken(&repeated(0..MOST_UNSETTLED - 1)).await,
        Some(MOST_UNSETTLED - 1)
    );
    let next = repeated(MOST_UNSETTLED..MOST_UNSETTLED + 1);
    assert_eq!(taken(&next).await, Some(1));
    let more = repeated(MOST_UNSETTLED + 1..MOST_UNSETTLED + 2);
    assert_eq!(taken(&more).await, None);
    settle(&store, 0, false).await;
    for epoch in MOST_UNSETTLED + 1..MOST_UNSETTLED + 3 {
        assert_eq!(taken(&repeated(epoch..epoch + 1)).await, Some(1));
    }
}

#[tokio::test]
async fn what_is_settled_in_part_makes_room_for_as_much() {
    let directory = TempDir::new().unwrap();
    let store = store(&directory).await;
    let takes = async |epochs| {
        let claim = repeated(epochs);
        store.accept([&claim]).await.unwrap().pairs[0].is_some()
    };
    assert!(takes(0..MOST_UNSETTLED).await);
    assert!(!takes(MOST_UNSETTLED..MOST_UNSETTLED + 1).await);
    // All but 100 of them, for one atto-SMT each.
    let reliable = u128::from(MOST_UNSETTLED - 100);
    settle_by(&store, view(&store, 1, reliable, 0).await, &terms(false)).await;
    assert!(takes(MOST_UNSETTLED..2 * MOST_UNSETTLED - 100).await);
    assert!(!takes(2 * MOST_UNSETTLED..2 * MOST_UNSETTLED + 1).await);
}

#[tokio::test]
async fn receipts_of_who_is_no_payer_are_not_kept() {
    let directory = TempDir::new().unwrap();
    let store = store(&directory).await;
    // It leaves its account after that was asked for.
    register(&store, &consumer(), Address::repeat_byte(9), 2).await;
    let accepted = store.accept(&claim(50).pairs).await.unwrap();
    assert_eq!(accepted.pairs, [None]);
    assert_eq!(store.audit().await.unwrap().pairs, 0);
}

#[tokio::test]
async fn a_view_that_is_older_than_what_is_noted_signs_nothing() {
    let directory = TempDir::new().unwrap();
    let store = store(&directory).await;
    let terms = terms(false);
    let settle = async |view: &View| {
        let settled = store.settle(PAYER, std::slice::from_ref(view), &terms, &FIRST);
        settled.await.unwrap()
    };
    store.accept(&claim(50).pairs).await.unwrap();
    settle(&view(&store, 10, 50, 0).await).await;
    // Another process has seen that all of it was cashed, when this one has looked and not settled yet.
    let mut old = view(&store, 11, 50, 0).await;
    old.paid.remove(&EARNER);
    let new = view(&store, 12, 0, 50).await;
    store.accept(&claim(100).pairs).await.unwrap();
    assert_eq!(settle(&new).await.limit, Some(Limit::Deposit));
    let settled = settle(&old).await;
    assert_eq!(
        (settled.debit, settled.limit),
        (Amount::ZERO, Some(Limit::OldView))
    );
    assert_eq!(given(&store).await, 50);
    // The same block is not older.
    assert_eq!(
        settle(&View { block: 12, ..new }).await.limit,
        Some(Limit::Deposit)
    );
}

#[tokio::test]
async fn who_comes_first_is_paid_first_and_then_waits_for_the_others() {
    let directory = TempDir::new().unwrap();
    let store = store(&directory).await;
    let providers: Vec<_> = (10..18).map(|n| SigningKey::from_bytes(&[n; 32])).collect();
    let account = |n: usize| Address::repeat_byte(u8::try_from(100 + n).unwrap());
    for (n, provider) in providers.iter().enumerate() {
        register(&store, provider, account(n), 1).await;
        let claim = claim_of(provider, 50);
        assert!(
            store
                .accept(&claim.pairs)
                .await
                .unwrap()
                .pairs
                .remove(0)
                .is_some()
        );
    }
    // Whoever brings more has no later place, and no earlier one.
    store
        .accept(&claim_of(&providers[0], 80).pairs)
        .await
        .unwrap();
    let given = async || {
        let mut given = Vec::new();
        for n in 0..providers.len() {
            let cheques = store.cheques(account(n), Address::ZERO).await.unwrap();
            given.push(
                cheques
                    .first()
                    .map_or(0, |cheque| cheque.cumulative.atto_smt()),
            );
        }
        given
    };
    let settle = async |deposited: u128| {
        let view = view(&store, 1, deposited, 0).await;
        let terms = terms(false);
        settle_by(&store, view, &terms).await;
    };
    settle(30).await;
    assert_eq!(given().await, [30, 0, 0, 0, 0, 0, 0, 0]);
    settle(30 + 7 * 50 - 20).await;
    assert_eq!(given().await, [30, 50, 50, 50, 50, 50, 50, 30]);
    settle(30 + 7 * 50 + 10).await;
    assert_eq!(given().await, [60, 50, 50, 50, 50, 50, 50, 30]);
    settle(30 + 7 * 50 + 50).await;
    assert_eq!(given().await, [80, 50, 50, 50, 50, 50, 50, 50]);
}

#[tokio::test]
async fn pairs_that_cannot_be_settled_are_in_nobodys_way() {
    let directory = TempDir::new().unwrap();
    let store = store(&directory).await;
    // More than one transaction looks at, in a network that is settled no more.
    let mut stuck = Vec::new();
    for n in 0..250 {
        let seed = u64::to_be_bytes(n).repeat(4).try_into().unwrap();
        let provider = SigningKey::from_bytes(&seed);
        register(&store, &provider, Address::repeat_byte(9), 1).await;
        stuck.extend(claim_in("valley", &provider, 1).pairs);
    }
    stuck.sort_by_key(|claim| claim.pair.id());
    store.accept(&stuck).await.unwrap();
    store.accept(&claim(50).pairs).await.unwrap();
    let mut terms = terms(false);
    let tariff = terms.others.take().unwrap();
    let village = NetworkId::from_name("village");
    terms.tariffs.insert(village, tariff);
    settle_all(&store, &terms, &[]).await;
    assert_eq!(given(&store).await, 50);
}

/// Settles in as many rounds as it takes, when the chain says that these were cashed.
async fn settle_all(store: &Store, terms: &Terms, cashed: &[Cheque]) -> Option<Limit> {
    let (mut place, mut limit) = (Place::default(), None);
    for _round in 0..10 {
        let asked = store.beneficiaries(PAYER, SERVICE, &place).await.unwrap();
        let mut view = view(store, 1, 1_000_000, 0).await;
        view.paid = asked.iter().map(|to| (*to, Amount::ZERO)).collect();
        for cheque in cashed {
            view.paid.insert(cheque.beneficiary, cheque.cumulative);
        }
        let settled = store.settle(PAYER, &[view], terms, &place).await.unwrap();
        limit = settled.limit.or(limit);
        let Some(next) = settled.next else {
            return limit;
        };
        place = next;
    }
    panic!("it begins again and again");
}

#[tokio::test]
async fn no_payer_has_more_cheques_out_than_can_be_looked_after() {
    let directory = TempDir::new().unwrap();
    let store = store(&directory).await;
    let mut claims = Vec::new();
    for n in 0..1300_u64 {
        let seed = n.to_be_bytes().repeat(4).try_into().unwrap();
        let provider = SigningKey::from_bytes(&seed);
        let account = Address::left_padding_from(&(n + 1).to_be_bytes());
        register(&store, &provider, account, 1).await;
        claims.extend(claim_of(&provider, 1).pairs);
    }
    claims.sort_by_key(|claim| claim.pair.id());
    store.accept(&claims).await.unwrap();
    let terms = terms(false);
    let uncashed = async || store.uncashed(PAYER).await.unwrap().len();
    assert_eq!(settle_all(&store, &terms, &[]).await, Some(Limit::Cheques));
    assert_eq!(uncashed().await, MOST_UNCASHED);
    assert_eq!(settle_all(&store, &terms, &[]).await, Some(Limit::Cheques));
    assert_eq!(uncashed().await, MOST_UNCASHED);
    // All are cashed: the others follow, and of them alone the chain has to be asked.
    let cashed = store.uncashed(PAYER).await.unwrap();
    assert_eq!(settle_all(&store, &terms, &cashed).await, None);
    assert_eq!(uncashed().await, 300);
    let asked = store.beneficiaries(PAYER, SERVICE, &FIRST).await.unwrap();
    assert_eq!(asked.len(), 300 + 1);
}

#[tokio::test]
async fn what_adds_next_to_nothing_is_not_counted() {
    let directory = TempDir::new().unwrap();
    let store = store(&directory).await;
    let taken = async |mib: u64| {
        let mut pair = claim(mib).pairs.remove(0);
        pair.minimum = Amount::new(10);
        let accepted = store.accept([&pair]).await.unwrap().pairs.remove(0);
        settle(&store, 0, false).await;
        accepted.unwrap().news
    };
    assert_eq!(taken(50).await, 1);
    assert_eq!(taken(59).await, 0);
    assert_eq!(taken(60).await, 1);
    let audit = store.audit().await.unwrap();
    assert_eq!((audit.settlements, audit.debits), (2, Amount::new(60)));
}

#[tokio::test]
async fn what_is_in_blocks_that_may_vanish_is_neither_counted_on_nor_written_off() {
    let directory = TempDir::new().unwrap();
    let store = store(&directory).await;
    let terms = terms(false);
    let settle = async |newest: View, last: View| {
        let views = [newest, last];
        let settled = store.settle(PAYER, &views, &terms, &FIRST);
        settled.await.unwrap().debit
    };
    let view = async |block, reliable, paid| view(&store, block, reliable, paid).await;
    let is_asked = async || {
        let asked = store.beneficiaries(PAYER, SERVICE, &FIRST);
        asked.await.unwrap().contains(&EARNER)
    };
    store.accept(&claim(50).pairs).await.unwrap();
    let deposited = settle(view(2, 50, 0).await, view(1, 0, 0).await).await;
    assert_eq!(deposited, Amount::ZERO);
    let given = settle(view(3, 50, 0).await, view(2, 50, 0).await).await;
    assert_eq!(given, Amount::new(50));
    // It is cashed. Where that may vanish, the chain is asked about it still.
    settle(view(4, 0, 50).await, view(3, 50, 0).await).await;
    assert!(is_asked().await);
    settle(view(5, 0, 50).await, view(4, 0, 50).await).await;
    assert!(!is_asked().await);
}

/// Runs a command on a database, and returns its status and what it said.
fn run(directory: &TempDir, command: &[&str], database: &str) -> (Option<i32>, String) {
    let key = directory.path().join("key");
    if !key.exists() {
        let mut options = OpenOptions::new();
        let created = options.write(true).create_new(true).mode(0o600).open(&key);
        let digits = "07".repeat(32);
        created.unwrap().write_all(digits.as_bytes()).unwrap();
    }
    let example = include_str!("../../config/redeemd.yaml");
    let config = example
        .replace("/etc/redeemd/settlement.key", key.to_str().unwrap())
        .replace("sqlite:/var/lib/redeemd/redeemd.db", database);
    let file = directory.path().join("redeemd.yaml");
    std::fs::write(&file, config).unwrap();
    let mut redeemd = Command::new(env!("CARGO_BIN_EXE_redeemd"));
    let output = redeemd.args(command).arg("--config").arg(&file).output();
    let output = output.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[tokio::test]
async fn who_looks_into_a_database_that_is_not_there_makes_none() {
    let directory = TempDir::new().unwrap();
    let payer = PAYER.to_string();
    let file = directory.path().join("redeemd.db");
    let url = format!("sqlite:{}", file.display());
    let commands: [&[&str]; 2] = [&["audit"], &["cheques", &payer]];
    for command in commands {
        for url in [url.clone(), format!("{url}?mode=rwc")] {
            let (status, said) = run(&directory, command, &url);
            assert_eq!(status, Some(2), "{said}");
            let _ = std::fs::remove_file(&file);
        }
        let (_, said) = run(&directory, command, &url);
        assert!(!file.exists(), "{said}");
    }
    let key = PrivateKey::from_bytes(&[7; 32]).unwrap();
    let book = Book {
        chain_id: 1,
        address: Address::left_padding_from(&[0xb0]),
        settlement_key: key.address(),
    };
    assert!(Store::open(&url, &book).await.unwrap().is_new());
    assert!(!Store::open(&url, &book).await.unwrap().is_new());
    for command in commands {
        let (status, said) = run(&directory, command, &url);
        assert_eq!(status, Some(0), "{said}");
    }
}
