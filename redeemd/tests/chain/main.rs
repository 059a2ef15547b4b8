//! What the chain is asked, and how often.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod node;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::Address;
use ed25519_dalek::SigningKey;
use ethereum::key::PrivateKey;
use node::{BOOK, CHAIN_ID, FakeNode, Mood};
use receipts::log::{Header, Record, SegmentHeader, Writer};
use receipts::{
    Amount, BadSignature, ContentHash, Equivocation, MIB, NetworkId, Offer, Party, Price, Receipt,
    Terms as Offered, Totals,
};
use redeem_api::{CLAIM_TYPE, CONSUMERS, ClaimAnswer, PairState};
use redeemd::chain::{Chain, ChainError};
use redeemd::claim::ClaimError;
use redeemd::config::Limits;
use redeemd::http::{self, Shared};
use redeemd::service::{Service, ServiceError};
use redeemd::store::{Book, Registered, Registration, Store, Terms};
use redeemd::tariff::{Ppm, Tariff};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn key() -> PrivateKey {
    PrivateKey::from_bytes(&[7; 32]).unwrap()
}

fn key_of(number: u16) -> SigningKey {
    let seed = number.to_be_bytes().repeat(16);
    SigningKey::from_bytes(&seed.try_into().unwrap())
}

async fn service(directory: &TempDir, chain: Chain) -> Service {
    let url = format!("sqlite:{}", directory.path().join("redeemd.db").display());
    let book = Book {
        chain_id: CHAIN_ID,
        address: BOOK,
        settlement_key: key().address(),
    };
    let store = Store::open(&url, &book).await.unwrap();
    let tariff = Tariff {
        maximum_price: Price::MAX,
        minimum_amount: Amount::ZERO,
        fee: Ppm::ZERO,
        bonus_per_second: 0,
        bonus_share: Ppm::ZERO,
    };
    let terms = Terms {
        tariffs: BTreeMap::new(),
        others: Some(tariff),
        fee_account: Address::repeat_byte(0xfe),
        takes_over: false,
    };
    Service::new(store, chain, CHAIN_ID, key(), terms)
}

/// Brings an export for somebody who may ask for as many accounts as it likes.
async fn claim(service: &Service, export: Vec<u8>) -> Result<ClaimAnswer, ServiceError> {
    service.claim(export.into(), |_| Ok(())).await
}

/// What a receipt of [`export`] is for.
const MIB_PRICE: u128 = 1;

/// Gives a node an account.
async fn register(service: &Service, number: u16, account: Address) {
    let registration = Registration {
        node: Party::of(&key_of(number)),
        account,
        sequence: 1,
        node_signature: [0; 64],
        account_signature: [0; 64],
    };
    let registered = service.store.register(&registration).await.unwrap();
    assert_eq!(registered, Registered::Done);
}

/// What node 0 has carried for others: a MiB each.
fn export(consumers: impl Iterator<Item = u16>) -> Vec<u8> {
    let network = NetworkId::from_name("village");
    let (mut writer, mut bytes) = Writer::create(&SegmentHeader::first(Header {
        network,
        owner: Party::of(&key_of(0)),
    }));
    let mut records = 0;
    for consumer in consumers {
        let terms = Offered {
            gateway: Party::of(&key_of(0)),
            price: Price::new(1),
            credit_bytes: 0,
            previous: ContentHash::NONE,
        };
        let offer = Offer::sign(&key_of(0), network, Party::of(&key_of(consumer)), 1, terms);
        let totals = Totals {
            up_bytes: MIB,
            ..Totals::ZERO
        };
        let receipt = Receipt::sign(&key_of(consumer), &offer, None, totals).unwrap();
        bytes.extend(writer.append(&Record::OfferMade(offer)));
        bytes.extend(writer.append(&Record::ReceiptReceived(receipt)));
        records += 2;
    }
    bytes.extend(writer.end(records));
    bytes
}

#[tokio::test]
async fn a_claim_of_many_strangers_is_one_question() {
    let directory = TempDir::new().unwrap();
    let chain = FakeNode::new(0, key().address());
    let service = service(&directory, chain.start(12).await).await;
    register(&service, 0, Address::repeat_byte(0xaa)).await;
    for number in 1..=90_u16 {
        let account = Address::left_padding_from(&number.to_be_bytes());
        register(&service, number, account).await;
    }
    service.chain.check().await.unwrap();
    chain.requests();
    let answer = claim(&service, export(1..=90)).await.unwrap();
    let states: BTreeSet<_> = answer
        .pairs
        .iter()
        .map(|pair| format!("{:?}", pair.state))
        .collect();
    assert_eq!((answer.pairs.len(), answer.new), (90, 0));
    assert_eq!(
        states,
        BTreeSet::from([format!("{:?}", PairState::NoDeposit)])
    );
    // The newest block, and the accounts in it: none is left to be asked for in the one that is final.
    let asked = chain.requests();
    assert_eq!(asked.len(), 3, "{asked:?}");
    // It is known of all but one now.
    register(&service, 91, Address::left_padding_from(&[91])).await;
    for (consumers, accounts) in [(1..=90, 0), (1..=91, 1)] {
        claim(&service, export(consumers)).await.unwrap();
        let asked = chain.requests();
        let calls = asked.iter().filter_map(|it| it.as_array());
        let calls = calls.map(Vec::len).collect::<Vec<_>>();
        assert_eq!(calls, vec![1; 2 * accounts], "{asked:?}");
        assert_eq!(asked.len(), 1 + calls.len(), "{asked:?}");
    }
}

#[tokio::test]
async fn nobody_has_more_strangers_looked_up_than_a_client_may() {
    let directory = TempDir::new().unwrap();
    let node = FakeNode::new(0, key().address());
    let service = service(&directory, node.start(0).await).await;
    register(&service, 0, Address::repeat_byte(0xaa)).await;
    for number in 1..=90_u16 {
        let account = Address::left_padding_from(&number.to_be_bytes());
        register(&service, number, account).await;
    }
    let limits = Limits {
        strangers_per_minute: 50,
        ..Limits::default()
    };
    let address = serve(Arc::new(service), limits).await;
    for (consumers, status) in [(1..=40, "200"), (41..=80, "429"), (1..=40, "200")] {
        let answer = post_claim(address, &export(consumers.clone())).await;
        assert_eq!(status_of(&answer), status, "{consumers:?}: {answer}");
        assert_eq!(
            answer.contains("retry-after: "),
            status == "429",
            "{answer}"
        );
    }
    let accounts = |request: &Value| request.as_array().map_or(0, Vec::len);
    let asked = node.requests();
    // The account of each, and what is reliable.
    assert_eq!(asked.iter().map(accounts).sum::<usize>(), 2 * 40);
}

#[tokio::test]
async fn of_too_many_consumers_nobody_is_asked() {
    let directory = TempDir::new().unwrap();
    let chain = FakeNode::new(5, key().address());
    let service = service(&directory, chain.start(12).await).await;
    let most = u16::try_from(CONSUMERS).unwrap();
    let taken = claim(&service, export(1..=most)).await.unwrap();
    assert_eq!(taken.pairs.len(), CONSUMERS);
    let refused = claim(&service, export(1..=most + 1)).await;
    assert!(matches!(
        refused,
        Err(ServiceError::Claim(ClaimError::Consumers))
    ));
    assert_eq!(chain.requests().len(), 0);
}

#[tokio::test]
async fn a_view_is_of_one_block_whatever_becomes_of_the_chain() {
    let chain = FakeNode::new(5, key().address());
    let asks = chain.start(12).await;
    asks.check().await.unwrap();
    chain.requests();
    let beneficiaries = (1..=150)
        .map(|n| Address::left_padding_from(&[n]))
        .collect();
    let views = asks
        .views(Address::repeat_byte(1), &beneficiaries)
        .await
        .unwrap();
    let blocks: Vec<_> = views.iter().map(|view| view.block).collect();
    assert_eq!(blocks, [1000, 988]);
    let mut asked = BTreeMap::new();
    for request in chain.requests() {
        let single = std::slice::from_ref(&request);
        for call in request.as_array().map_or(single, Vec::as_slice) {
            if call["method"] == "eth_call" {
                *asked.entry(call["params"][1].to_string()).or_insert(0) += 1;
            }
        }
    }
    // Of each: the account, what is reliable, and 150 payments.
    let at = |number: u64| format!(r#"{{"blockHash":"0x{number:064x}","requireCanonical":true}}"#);
    assert_eq!(asked, BTreeMap::from([(at(1000), 152), (at(988), 152)]));
}

#[tokio::test]
async fn who_has_a_deposit_is_found_among_many() {
    let chain = FakeNode::new(5, key().address()).start(12).await;
    let accounts: BTreeSet<_> = (1..=250)
        .map(|n| Address::left_padding_from(&[n]))
        .collect();
    let payers = chain.payers(&accounts, |_| Ok::<_, ChainError>(()));
    assert_eq!(payers.await.unwrap(), accounts);
}

#[tokio::test]
async fn a_restored_database_learns_what_was_paid_on_cheques_that_it_knows_to_be_cashed() {
    let directory = TempDir::new().unwrap();
    let mut node = FakeNode::new(5 * MIB_PRICE, key().address());
    let payer = Address::repeat_byte(1);
    let before = service(&directory, node.start(12).await).await;
    register(&before, 0, Address::repeat_byte(0xaa)).await;
    register(&before, 1, payer).await;
    claim(&before, export(1..=1)).await.unwrap();
    node.paid = MIB_PRICE;
    let cashed = service(&directory, node.start(12).await).await;
    cashed.watch_payers().await;
    assert!(cashed.store.uncashed(payer).await.unwrap().is_empty());
    // What was signed and cashed since is not in this copy.
    node.paid = 3 * MIB_PRICE;
    let restored = service(&directory, node.start(12).await).await;
    assert!(restored.look_at_all().await);
    let beyond = restored.store.audit().await.unwrap().paid_beyond;
    assert_eq!(beyond, Amount::new(2 * MIB_PRICE));
}

#[tokio::test]
async fn nothing_is_signed_by_a_node_that_has_stopped_following_the_chain() {
    let directory = TempDir::new().unwrap();
    let mut node = FakeNode::new(5 * MIB_PRICE, key().address());
    let payer = Address::repeat_byte(1);
    for (age, settled, status) in [(890, 1, "200"), (910, 1, "503"), (0, 2, "200")] {
        node.age = Duration::from_secs(age);
        let service = Arc::new(service(&directory, node.start(0).await).await);
        register(&service, 0, Address::repeat_byte(0xaa)).await;
        let consumer = 1 + u16::from(age > 890);
        register(&service, consumer, payer).await;
        claim(&service, export(consumer..=consumer)).await.unwrap();
        service.watch_chain().await;
        service.settle_all().await;
        let debits = service.store.audit().await.unwrap().debits;
        assert_eq!(debits, Amount::new(settled * MIB_PRICE), "{age}");
        assert_eq!(health(service).await, status, "{age}");
    }
}

/// The same with a signature that does not fit.
fn forged<T, E: std::fmt::Debug>(bytes: Vec<u8>, parse: fn(&[u8]) -> Result<T, E>) -> T {
    let mut bytes = bytes;
    // Signatures are the last thing.
    *bytes.last_mut().unwrap() ^= 1;
    parse(&bytes).unwrap()
}

/// Exports of one offer, one receipt and one proof, in each of which another signature does not fit.
fn forgeries() -> [Vec<u8>; 3] {
    let (offer, receipt) = signed(1, 5, MIB);
    let other = forged(signed(1, 5, 2 * MIB).1.to_bytes(), Receipt::parse);
    let proof = Box::new(Equivocation::between(&receipt, &other).unwrap());
    let forged_offer = forged(offer.to_bytes(), Offer::parse);
    let forged_receipt = forged(receipt.to_bytes(), Receipt::parse);
    let (offer, receipt) = (Record::OfferMade(offer), Record::ReceiptReceived(receipt));
    [
        vec![Record::OfferMade(forged_offer), receipt.clone()],
        vec![offer.clone(), Record::ReceiptReceived(forged_receipt)],
        vec![offer, receipt, Record::Equivocation(proof)],
    ]
    .map(log)
}

#[tokio::test]
async fn no_signature_is_verified_for_whom_nobody_pays() {
    let directory = TempDir::new().unwrap();
    let poor = service(&directory, FakeNode::new(0, key().address()).start(0).await).await;
    register(&poor, 0, Address::repeat_byte(0xaa)).await;
    let tell = async |state: PairState| {
        for export in forgeries() {
            let told = claim(&poor, export).await.unwrap();
            assert_eq!(told.pairs[0].state, state);
            assert_eq!(told.pairs[0].claimed_atto.atto(), 0);
        }
    };
    tell(PairState::ConsumerUnknown).await;
    register(&poor, 1, Address::repeat_byte(1)).await;
    tell(PairState::NoDeposit).await;
    let rich = FakeNode::new(5, key().address()).start(0).await;
    let rich = service(&directory, rich).await;
    for export in forgeries() {
        let refused = claim(&rich, export).await;
        let is_forged = |it: &ServiceError| {
            matches!(it, ServiceError::Claim(ClaimError::Signature(BadSignature)))
        };
        assert!(refused.as_ref().is_err_and(is_forged), "{refused:?}");
    }
    assert_eq!(rich.store.audit().await.unwrap().receipts, 0);
}

#[tokio::test]
async fn nobody_has_more_bytes_verified_than_a_client_may() {
    let directory = TempDir::new().unwrap();
    let node = FakeNode::new(0, key().address());
    let service = service(&directory, node.start(0).await).await;
    let export = export(1..=1);
    let limits = Limits {
        claim_bytes_per_minute: u32::try_from(3 * export.len() - 1).unwrap(),
        ..Limits::default()
    };
    let address = serve(Arc::new(service), limits).await;
    for status in ["200", "200", "429"] {
        let answer = post_claim(address, &export).await;
        assert_eq!(status_of(&answer), status, "{answer}");
    }
}

#[tokio::test]
async fn no_claim_waits_for_each_payer_while_the_chain_hangs() {
    let directory = TempDir::new().unwrap();
    let node = FakeNode::new(5, key().address());
    let mut service = service(&directory, node.start(0).await).await;
    // So long that nobody could wait for two of them, and so short that nobody has to.
    service.chain_patience = Duration::from_secs(1);
    register(&service, 0, Address::repeat_byte(0xaa)).await;
    for number in 1..=9_u16 {
        let account = Address::left_padding_from(&number.to_be_bytes());
        register(&service, number, account).await;
    }
    claim(&service, export(1..=1)).await.unwrap();
    for number in 2..=8_u16 {
        let account = Address::left_padding_from(&number.to_be_bytes());
        service.store.add_payer(account).await.unwrap();
    }
    node.set(Mood::Hangs);
    let begin = Instant::now();
    // Payers, and one of whom nothing is known.
    let told = claim(&service, export(2..=9)).await.unwrap();
    let states = |state| told.pairs.iter().filter(|pair| pair.state == state).count();
    assert_eq!(states(PairState::Pending), 7, "{told:?}");
    assert_eq!(states(PairState::ChainUnreachable), 1, "{told:?}");
    let address = serve(Arc::new(service), Limits::default()).await;
    let answer = post_claim(address, &export(9..=9)).await;
    assert_eq!(status_of(&answer), "503", "{answer}");
    assert!(answer.contains("retry-after: "), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
    assert!(
        begin.elapsed() < Duration::from_secs(10),
        "{:?}",
        begin.elapsed()
    );
}

/// The status of `/healthz`.
async fn health(service: Arc<Service>) -> String {
    let address = serve(service, Limits::default()).await;
    let answer = ask(address, "GET /healthz", "", &[]).await;
    status_of(&answer).to_owned()
}

/// Serves until the test ends.
async fn serve(service: Arc<Service>, limits: Limits) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shared = Shared::new(service, limits);
    tokio::spawn(http::serve(listener, shared, std::future::pending()));
    address
}

async fn post_claim(service: SocketAddr, export: &[u8]) -> String {
    let fields = format!(
        "Content-Type: {CLAIM_TYPE}\r\nContent-Length: {}\r\n",
        export.len()
    );
    ask(service, "POST /v1/claims", &fields, export).await
}

/// The whole answer.
async fn ask(service: SocketAddr, path: &str, fields: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(service).await.unwrap();
    let head = format!("{path} HTTP/1.1\r\nHost: redeemd\r\nConnection: close\r\n{fields}\r\n");
    let request = [head.as_bytes(), body].concat();
    stream.write_all(&request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn status_of(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap()
}

/// What node 1 has signed for node 0, and whatever else is in the log.
fn log(records: Vec<Record>) -> Vec<u8> {
    let network = NetworkId::from_name("village");
    let (mut writer, mut bytes) = Writer::create(&SegmentHeader::first(Header {
        network,
        owner: Party::of(&key_of(0)),
    }));
    let count = records.len() as u64;
    for record in records {
        bytes.extend(writer.append(&record));
    }
    bytes.extend(writer.end(count));
    bytes
}

/// A receipt for so many bytes of an epoch, and its offer.
fn signed(epoch: u64, price: u64, bytes: u64) -> (Offer, Receipt) {
    let terms = Offered {
        gateway: Party::of(&key_of(0)),
        price: Price::new(price),
        credit_bytes: 0,
        previous: ContentHash::NONE,
    };
    let network = NetworkId::from_name("village");
    let offer = Offer::sign(&key_of(0), network, Party::of(&key_of(1)), epoch, terms);
    let totals = Totals {
        up_bytes: bytes,
        ..Totals::ZERO
    };
    let receipt = Receipt::sign(&key_of(1), &offer, None, totals).unwrap();
    (offer, receipt)
}

#[tokio::test]
async fn what_is_not_taken_of_a_pair_is_told() {
    let directory = TempDir::new().unwrap();
    let node = FakeNode::new(500, key().address());
    let mut service = service(&directory, node.start(0).await).await;
    service.terms.others.as_mut().unwrap().maximum_price = Price::new(5);
    register(&service, 0, Address::repeat_byte(0xaa)).await;
    register(&service, 1, Address::repeat_byte(1)).await;
    let claim = async |export: Vec<u8>| {
        let answer = claim(&service, export).await.unwrap();
        let pair = answer.pairs[0].clone();
        (pair.state, pair.refused, pair.is_kept())
    };
    let records = |(offer, receipt)| [Record::OfferMade(offer), Record::ReceiptReceived(receipt)];
    let (cheap, dear) = (records(signed(1, 5, MIB)), records(signed(2, 6, MIB)));
    let [one, other] = [MIB, 2 * MIB].map(|bytes| signed(1, 5, bytes).1);
    let proof = Record::Equivocation(Box::new(Equivocation::between(&one, &other).unwrap()));
    // There is no receipt to keep it with.
    let alone = claim(log(vec![proof.clone()])).await;
    assert_eq!(alone, (PairState::Free, 1, false));
    let both = claim(log([cheap.clone(), dear.clone()].concat())).await;
    assert_eq!(both, (PairState::Settled, 1, false));
    assert_eq!(
        claim(log(dear.to_vec())).await,
        (PairState::TooDear, 0, false)
    );
    assert_eq!(
        claim(log(cheap.to_vec())).await,
        (PairState::Settled, 0, true)
    );
    let url = format!("sqlite:{}", directory.path().join("redeemd.db").display());
    let pool = sqlx::AnyPool::connect(&url).await.unwrap();
    let proofs = async || {
        let count = sqlx::query_scalar("SELECT COUNT(*) FROM contradiction");
        let count: i64 = count.fetch_one(&pool).await.unwrap();
        count
    };
    assert_eq!(proofs().await, 0);
    assert_eq!(claim(log(vec![proof])).await, (PairState::Settled, 0, true));
    assert_eq!(proofs().await, 1);
}
