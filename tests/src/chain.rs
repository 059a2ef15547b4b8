//! A chain of our own: anvil, which is an Ethereum node without peers, in the sandbox.

mod rpc;

use std::fmt;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use alloy_primitives::{Address, Bytes, LogData, U256};
use alloy_sol_types::{SolCall, SolEvent};
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::wait::wait_for;
use crate::{command, contracts, sandbox};

/// What anvil calls itself, unless told otherwise.
pub const CHAIN_ID: u64 = 31337;

/// When the first block was made: the beginning of a day, so that no test meets midnight by chance.
pub const GENESIS: u64 = 20_000 * 86_400;

/// The rules whose prices of gas `docs/gas.md` is about.
const HARDFORK: &str = "osaka";

/// It takes 50 ms, on a machine that has nothing else to do.
const PATIENCE: Duration = Duration::from_secs(10);

/// Enough for everything that is sent here, so that nothing has to be estimated: what is estimated is not sent
/// when it would fail.
const GAS_LIMIT: u64 = 16_000_000;

/// A running chain, which ends with the value.
#[derive(Debug)]
pub struct Chain {
    process: Child,
    rpc: SocketAddr,
    accounts: Vec<Address>,
}

/// What became of a transaction.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    #[serde(deserialize_with = "rpc::quantity")]
    status: u64,
    /// What it cost.
    #[serde(deserialize_with = "rpc::quantity")]
    pub gas_used: u64,
    contract_address: Option<Address>,
    logs: Vec<Log>,
}

#[derive(Clone, Debug, Deserialize)]
struct Log {
    address: Address,
    #[serde(flatten)]
    data: LogData,
}

impl Receipt {
    /// The events of this kind that one contract told of, in order.
    #[must_use]
    pub fn events<E: SolEvent>(&self, contract: Address) -> Vec<E> {
        let logs = self.logs.iter().filter(|log| log.address == contract);
        logs.filter_map(|log| E::decode_log_data(&log.data).ok())
            .collect()
    }

    /// How many events one contract told of, of whatever kind.
    #[must_use]
    pub fn event_count(&self, contract: Address) -> usize {
        let logs = self.logs.iter();
        logs.filter(|log| log.address == contract).count()
    }
}

/// A contract refused, and this is what it said.
#[derive(Debug)]
pub struct Reverted(pub Bytes);

impl fmt::Display for Reverted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reverted with {}", self.0)
    }
}

impl std::error::Error for Reverted {}

impl Chain {
    /// Starts a chain with some accounts that have ether and whose keys it holds.
    ///
    /// # Errors
    /// anvil is not installed, or does not listen in time: its output is part of the text.
    pub fn start() -> Result<Self> {
        command::run("ip", "link set lo up")?;
        let program = contracts::anvil()?;
        let output = output_file();
        let process = Command::new(&program)
            .args(["--host", "127.0.0.1", "--port", "0", "--accounts", "60"])
            .args(["--hardfork", HARDFORK, "--threads", "1"])
            .args(["--timestamp", &GENESIS.to_string()])
            .stdin(Stdio::null())
            .stdout(File::create(&output).with_context(|| format!("create {output}"))?)
            .stderr(Stdio::inherit())
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        // From here on, whatever fails ends the process.
        let mut chain = Self {
            process,
            rpc: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            accounts: Vec::new(),
        };
        chain.rpc = wait_for("anvil to listen", PATIENCE, || listening(&output))?;
        chain.accounts = serde_json::from_value(chain.request("eth_accounts", &json!([]))?)?;
        Ok(chain)
    }

    /// Where it is asked, by JSON-RPC over HTTP.
    #[must_use]
    pub fn rpc(&self) -> SocketAddr {
        self.rpc
    }

    /// The number of the process.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// One of the accounts that have ether.
    ///
    /// # Errors
    /// There are not so many.
    pub fn account(&self, index: usize) -> Result<Address> {
        let account = self.accounts.get(index).copied();
        account.with_context(|| format!("no account {index} in {:?}", self.accounts))
    }

    /// Lets an account whose key is elsewhere send transactions, and gives it ether for them.
    ///
    /// # Errors
    /// The chain does not answer.
    pub fn adopt(&self, account: Address) -> Result<()> {
        self.request("anvil_impersonateAccount", &json!([account]))?;
        let ether = "0x3635c9adc5dea00000";
        self.request("anvil_setBalance", &json!([account, ether]))
            .map(drop)
    }

    /// Creates a contract: its bytecode, followed by what its constructor is given.
    ///
    /// # Errors
    /// [`Reverted`], or the chain does not answer.
    pub fn deploy(&self, from: Address, code: Vec<u8>) -> Result<Address> {
        let receipt = self.transact(from, None, &Bytes::from(code))?;
        receipt.contract_address.context("no contract was created")
    }

    /// What a function would return now, called by somebody.
    ///
    /// # Errors
    /// [`Reverted`], or the chain does not answer.
    pub fn call<C: SolCall>(&self, from: Address, to: Address, call: &C) -> Result<C::Return> {
        let data = Bytes::from(call.abi_encode());
        let request = json!({"from": from, "to": to, "data": data});
        let answer = self.request("eth_call", &json!([request, "pending"]))?;
        let answer: Bytes = serde_json::from_value(answer)?;
        C::abi_decode_returns(&answer).with_context(|| format!("decode {answer}"))
    }

    /// Sends a transaction that calls a function, in a block of its own.
    ///
    /// # Errors
    /// [`Reverted`], which is in a block all the same, or the chain does not answer.
    pub fn send<C: SolCall>(&self, from: Address, to: Address, call: &C) -> Result<Receipt> {
        self.transact(from, Some(to), &Bytes::from(call.abi_encode()))
    }

    /// Gives somebody ether, in wei.
    ///
    /// # Errors
    /// There is not so much, or the chain does not answer.
    pub fn give_ether(&self, from: Address, to: Address, wei: u128) -> Result<()> {
        let transaction = json!({"from": from, "to": to, "value": format!("{wei:#x}")});
        let receipt = self.request("eth_sendTransactionSync", &json!([transaction]))?;
        let receipt: Receipt = serde_json::from_value(receipt)?;
        ensure!(receipt.status == 1, "no ether was given: {receipt:?}");
        Ok(())
    }

    /// Somebody's ether, in wei.
    ///
    /// # Errors
    /// The chain does not answer.
    pub fn ether(&self, of: Address) -> Result<U256> {
        let balance = self.request("eth_getBalance", &json!([of, "latest"]))?;
        Ok(serde_json::from_value(balance)?)
    }

    /// From now on transactions wait until a block is asked for ([`Chain::pass`]), or do not.
    ///
    /// # Errors
    /// The chain does not answer.
    pub fn hold_transactions(&self, hold: bool) -> Result<()> {
        self.request("evm_setAutomine", &json!([!hold])).map(drop)
    }

    /// How many transactions wait for a block.
    ///
    /// # Errors
    /// The chain does not answer.
    pub fn waiting(&self) -> Result<u64> {
        let status = self.request("txpool_status", &json!([]))?;
        let pending = status.get("pending").cloned().unwrap_or_default();
        Ok(rpc::quantity(pending)?)
    }

    /// Gives it a signed transaction, of whoever has one.
    ///
    /// # Errors
    /// It is refused, or the chain does not answer.
    pub fn publish(&self, raw: &Value) -> Result<()> {
        self.request("eth_sendRawTransaction", &json!([raw]))
            .map(drop)
    }

    /// Forgets the transactions that wait, as nodes do that are started again.
    ///
    /// # Errors
    /// The chain does not answer.
    pub fn forget_waiting(&self) -> Result<()> {
        let none = json!([]);
        self.request("anvil_dropAllTransactions", &none).map(drop)
    }

    /// What a unit of gas costs at least in the next block, in wei.
    ///
    /// # Errors
    /// The chain does not answer.
    pub fn next_base_fee(&self, wei: u64) -> Result<()> {
        let parameters = json!([format!("{wei:#x}")]);
        self.request("anvil_setNextBlockBaseFeePerGas", &parameters)
            .map(drop)
    }

    /// Lets so many seconds pass.
    ///
    /// # Errors
    /// The chain does not answer.
    pub fn pass(&self, seconds: u64) -> Result<()> {
        self.pass_until(self.now()? + seconds)
    }

    /// The next block is made at this second, and the clock goes on from there.
    ///
    /// # Errors
    /// It is over, or the chain does not answer.
    pub fn pass_until(&self, second: u64) -> Result<()> {
        self.request("evm_setNextBlockTimestamp", &json!([second]))?;
        self.request("evm_mine", &json!([])).map(drop)
    }

    /// The next transaction is in a block of this second.
    ///
    /// # Errors
    /// It is over, or the chain does not answer.
    pub fn next_at(&self, second: u64) -> Result<()> {
        self.request("evm_setNextBlockTimestamp", &json!([second]))
            .map(drop)
    }

    /// The second of the last block.
    ///
    /// # Errors
    /// The chain does not answer.
    pub fn now(&self) -> Result<u64> {
        let block = self.request("eth_getBlockByNumber", &json!(["latest", false]))?;
        let second = block.get("timestamp").cloned().unwrap_or_default();
        Ok(rpc::quantity(second)?)
    }

    fn transact(&self, from: Address, to: Option<Address>, data: &Bytes) -> Result<Receipt> {
        let mut transaction = json!({
            "from": from, "data": data, "gas": format!("{GAS_LIMIT:#x}"),
        });
        if let (Some(to), Some(fields)) = (to, transaction.as_object_mut()) {
            fields.insert("to".to_owned(), json!(to));
        }
        let receipt = self.request("eth_sendTransactionSync", &json!([transaction]))?;
        let receipt: Receipt = serde_json::from_value(receipt)?;
        if receipt.status == 1 {
            return Ok(receipt);
        }
        // What a transaction says when it fails is not in its receipt. It changed nothing, so that
        // it can be asked for.
        match self.request("eth_call", &json!([transaction, "latest"])) {
            Ok(_) => bail!(
                "a transaction failed, and would not again: {}",
                beginning(&transaction)
            ),
            Err(error) => Err(error),
        }
    }

    fn request(&self, method: &str, parameters: &Value) -> Result<Value> {
        match rpc::request(self.rpc, method, parameters, PATIENCE)? {
            Ok(result) => Ok(result),
            Err(error) => match error.reverted() {
                Some(data) => Err(anyhow!(Reverted(data))),
                None => Err(anyhow!(
                    "{method} {}: {}",
                    beginning(parameters),
                    error.message
                )),
            },
        }
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// There may be several chains, one after the other or side by side.
fn output_file() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("{}/chain-{number}.log", sandbox::FILES)
}

/// Enough to see what it was: the bytecode of a contract fills pages.
fn beginning(value: &Value) -> String {
    value.to_string().chars().take(200).collect()
}

fn listening(output: &str) -> Result<SocketAddr> {
    let text = fs::read_to_string(Path::new(output))?;
    let mut lines = text.lines();
    let address = lines.find_map(|line| line.strip_prefix("Listening on "));
    let address = address.ok_or_else(|| anyhow!("{text}"))?;
    address.parse().with_context(|| address.to_owned())
}
