//! A node of a chain that says what a test wants, and remembers what it was asked.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use alloy_primitives::{Address, Bytes, U256, hex};
use alloy_sol_types::SolCall;
use axum::Router;
use axum::extract::State;
use axum::routing::post;
use ethereum::bindings::SmtChequeBook::{
    Account, accountOfCall, paidCall, reliableCall, tokenCall,
};
use ethereum::rpc::{Limits, Node};
use redeemd::chain::Chain;
use serde_json::{Value, json};

pub(crate) const MAX_BLOCK_AGE: Duration = Duration::from_secs(900);
pub(crate) const CHAIN_ID: u64 = 31337;
pub(crate) const BOOK: Address = Address::repeat_byte(0xbb);

/// A chain of many blocks, in all of which every account has the same deposit.
#[derive(Clone)]
pub(crate) struct FakeNode {
    pub(crate) deposit: u128,
    pub(crate) settlement_key: Address,
    /// To everybody, by everybody.
    pub(crate) paid: u128,
    /// Of its blocks.
    pub(crate) age: Duration,
    requests: Arc<Mutex<Vec<Value>>>,
    mood: Arc<Mutex<Mood>>,
}

/// Whether a node does its work.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Answers,
    Hangs,
}

impl FakeNode {
    pub(crate) fn new(deposit: u128, settlement_key: Address) -> Self {
        Self {
            deposit,
            settlement_key,
            paid: 0,
            age: Duration::ZERO,
            requests: Arc::default(),
            mood: Arc::new(Mutex::new(Mood::Answers)),
        }
    }

    /// Answers until the test ends.
    pub(crate) async fn start(&self, confirmations: u64) -> Chain {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/", post(answer))
            .with_state(self.clone());
        tokio::spawn(async { axum::serve(listener, router).await });
        let node = Node::new(url.parse().unwrap(), Limits::default()).unwrap();
        let us = self.settlement_key;
        Chain::new(node, CHAIN_ID, BOOK, us, confirmations, MAX_BLOCK_AGE)
    }

    /// What it was asked since the last time: single requests, and batches.
    pub(crate) fn requests(&self) -> Vec<Value> {
        std::mem::take(&mut *self.requests.lock().unwrap())
    }

    /// From now on.
    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn block_time(&self) -> u64 {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
        (now - self.age).as_secs()
    }

    fn result(&self, request: &Value) -> Value {
        match request["method"].as_str().unwrap() {
            "eth_chainId" => json!(format!("{CHAIN_ID:#x}")),
            "eth_getBlockByNumber" => {
                let number = request["params"][0].as_str().unwrap();
                let number = match number {
                    "latest" => 1000,
                    number => u64::from_str_radix(number.trim_start_matches("0x"), 16).unwrap(),
                };
                json!({"number": format!("{number:#x}"), "hash": format!("0x{number:064x}"),
                    "timestamp": format!("{:#x}", self.block_time()), "baseFeePerGas": "0x1"})
            }
            "eth_call" => {
                let data: Bytes = request["params"][0]["data"]
                    .as_str()
                    .unwrap()
                    .parse()
                    .unwrap();
                json!(hex::encode_prefixed(self.call(&data)))
            }
            other => panic!("{other}"),
        }
    }

    fn call(&self, data: &[u8]) -> Vec<u8> {
        match data.first_chunk::<4>().copied().unwrap() {
            accountOfCall::SELECTOR => accountOfCall::abi_encode_returns(&Account {
                balance: self.deposit.try_into().unwrap(),
                spent: U256::ZERO.to(),
                epoch: 0,
                settlementKey: self.settlement_key,
                allowance: self.deposit.try_into().unwrap(),
                nextSettlementKey: Address::ZERO,
                nextAllowance: U256::ZERO.to(),
                withdrawing: U256::ZERO.to(),
                withdrawAt: 0,
                changeAt: 0,
            }),
            reliableCall::SELECTOR => reliableCall::abi_encode_returns(&U256::from(self.deposit)),
            paidCall::SELECTOR => paidCall::abi_encode_returns(&U256::from(self.paid)),
            tokenCall::SELECTOR => tokenCall::abi_encode_returns(&Address::repeat_byte(0x70)),
            other => panic!("{other:?}"),
        }
    }
}

async fn answer(State(node): State<FakeNode>, body: String) -> String {
    let asked: Value = serde_json::from_str(&body).unwrap();
    node.requests.lock().unwrap().push(asked.clone());
    let mood = *node.mood.lock().unwrap();
    match mood {
        Mood::Answers => {}
        Mood::Hangs => std::future::pending().await,
    }
    let one = |it: &Value| json!({"jsonrpc": "2.0", "id": it["id"], "result": node.result(it)});
    match asked.as_array() {
        Some(all) => Value::Array(all.iter().map(one).collect()).to_string(),
        None => one(&asked).to_string(),
    }
}
