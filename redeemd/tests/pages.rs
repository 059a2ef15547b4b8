//! More cheques than one answer has.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::Address;
use ethereum::key::PrivateKey;
use ethereum::rpc::{Limits as Patience, Node};
use redeem_api::CHEQUES;
use redeem_api::client::Service as Client;
use redeemd::chain::Chain;
use redeemd::config::Limits;
use redeemd::http::{self, Shared};
use redeemd::service::Service;
use redeemd::store::{Book, Store, Terms};
use tempfile::TempDir;

const BOOK: Address = Address::repeat_byte(0xbb);
const EARNER: Address = Address::repeat_byte(2);
/// Two whole answers, and a part.
const PAYERS: usize = 2 * CHEQUES + 3;

/// Writes a cheque of each payer for the earner.
async fn fill(url: &str) {
    let pool = sqlx::AnyPool::connect(url).await.unwrap();
    let statement = format!(
        "INSERT INTO cheque (issuer, beneficiary, base, cumulative, paid) \
         WITH RECURSIVE payer (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM payer WHERE n < {PAYERS}) \
         SELECT unhex(printf('%040x', n)), $1, zeroblob(16), unhex(printf('%032x', n)), zeroblob(16) \
         FROM payer"
    );
    let filled = sqlx::query(&statement).bind(EARNER.as_slice());
    filled.execute(&pool).await.unwrap();
}

async fn serve(url: &str) -> Client {
    let key = PrivateKey::from_bytes(&[7; 32]).unwrap();
    let book = Book {
        chain_id: 1,
        address: BOOK,
        settlement_key: key.address(),
    };
    let store = Store::open(url, &book).await.unwrap();
    fill(url).await;
    let nobody = "http://127.0.0.1:1".parse().unwrap();
    let node = Node::new(nobody, Patience::default()).unwrap();
    let chain = Chain::new(node, 1, BOOK, key.address(), 0, Duration::MAX);
    let terms = Terms {
        tariffs: BTreeMap::new(),
        others: None,
        fee_account: Address::repeat_byte(0xfe),
        takes_over: false,
    };
    let service = Service::new(store, chain, 1, key, terms);
    let shared = Shared::new(Arc::new(service), Limits::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(http::serve(listener, shared, std::future::pending()));
    Client::new(url.parse().unwrap(), Patience::default()).unwrap()
}

#[tokio::test]
async fn all_cheques_are_fetched_in_as_many_answers_as_it_takes() {
    let directory = TempDir::new().unwrap();
    let url = format!("sqlite:{}", directory.path().join("redeemd.db").display());
    let client = serve(&url).await;
    let file = client.cheques(&EARNER.to_string()).await.unwrap().unwrap();
    let issuers: BTreeSet<_> = file.cheques.iter().map(|it| it.cheque.issuer).collect();
    assert_eq!((file.cheques.len(), issuers.len()), (PAYERS, PAYERS));
}
