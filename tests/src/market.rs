//! Where receipts become SMT: a chain with the cheque book, a settlement service, and a wallet for each router,
//! all used as people use them, by meshctl.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use alloy_primitives::{Address, U256};
use alloy_sol_types::SolConstructor;
use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::chain::{CHAIN_ID, Chain};
use crate::contracts::SmtChequeBook::constructorCall;
use crate::contracts::{SmtChequeBook, SmtToken};
use crate::daemon::run;
use crate::lab::Node;
use crate::redeemd::{self, Redeemd, Settings};

/// 10⁻¹⁸ SMT, or wei, in one.
const ONE: u128 = 1_000_000_000_000_000_000;

/// A chain, and a service that keeps nothing for itself.
#[derive(Debug)]
pub struct Market {
    chain: Chain,
    token: Address,
    book: Address,
    owner: Address,
    settlement_key: Address,
    service: Redeemd,
}

/// A router's wallet.
#[derive(Debug)]
pub struct Purse {
    /// Its account.
    pub account: Address,
    keystore: PathBuf,
    passphrase: PathBuf,
}

impl Market {
    /// Starts a chain with token and cheque book, and a service beside it with its files in a directory.
    ///
    /// # Errors
    /// The contracts' programs are not installed, or something does not start.
    pub fn open(directory: &Path) -> Result<Self> {
        let chain = Chain::start()?;
        let owner = chain.account(0)?;
        let supply = U256::from(1_000_000 * ONE);
        let arguments = SmtToken::constructorCall { supply }.abi_encode();
        let token = chain.deploy(owner, [SmtToken::BYTECODE.as_ref(), &arguments].concat())?;
        let arguments = constructorCall { token_: token }.abi_encode();
        let code = [SmtChequeBook::BYTECODE.as_ref(), &arguments].concat();
        let book = chain.deploy(owner, code)?;
        let key = directory.join("settlement.key");
        let settlement_key = redeemd::new_key(&key)?;
        let service = Redeemd::start(&Settings {
            rpc: format!("http://{}", chain.rpc()),
            chain_id: CHAIN_ID,
            book,
            key,
            fee_account: owner,
            database: format!("sqlite:{}", directory.join("redeemd.db").display()),
            tariffs: serde_json::json!([{"minimum_amount": 0, "fee_ppm": 0}]),
            limits: serde_json::json!({}),
            confirmations: 0,
        })?;
        Ok(Self {
            chain,
            token,
            book,
            owner,
            settlement_key,
            service,
        })
    }

    /// Makes a wallet for a router, gives it ether for fees, and tells the service that the router earns for it.
    ///
    /// # Errors
    /// meshctl failed.
    pub fn join(&self, node: &Node) -> Result<Purse> {
        let directory = node.files().directory();
        let passphrase = directory.join("passphrase");
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&passphrase)?;
        writeln!(file, "a passphrase of {}", node.name())?;
        let mut purse = Purse {
            account: Address::ZERO,
            keystore: directory.join("wallet.json"),
            passphrase,
        };
        self.wallet(&purse, "new --light")?;
        let address = self.wallet(&purse, "address")?;
        purse.account = address.trim().parse().with_context(|| address.clone())?;
        self.chain.give_ether(self.owner, purse.account, ONE)?;
        let statement = directory.join("account.json");
        let identity = directory.join("identity.key");
        meshctl(&format!(
            "account {} {} --identity {} --service {}",
            purse.account,
            statement.display(),
            identity.display(),
            self.url(),
        ))?;
        let register = format!("register {} --service {}", statement.display(), self.url());
        self.wallet(&purse, &register)?;
        Ok(purse)
    }

    /// Has a router's wallet deposit SMT, which it is given, and let the service sign for so much a day.
    ///
    /// # Errors
    /// meshctl failed, or the chain does not answer.
    pub fn deposit(&self, purse: &Purse, smt: u128) -> Result<()> {
        let transfer = SmtToken::transferCall {
            to: purse.account,
            value: U256::from(smt * ONE),
        };
        self.chain.send(self.owner, self.token, &transfer)?;
        self.wallet(purse, &format!("deposit {smt} --yes"))?;
        let authorize = format!("authorize {} {smt} --yes", self.settlement_key);
        self.wallet(purse, &authorize).map(drop)
    }

    /// Has a router redeem its receipts, and returns what meshctl says, in JSON.
    ///
    /// # Errors
    /// meshctl failed, or something waits.
    pub fn redeem(&self, node: &Node) -> Result<Value> {
        let queue = node.files().directory().join("redeem");
        let said = meshctl(&format!(
            "--json --socket {} redeem --queue {} --service {}",
            node.files().socket().display(),
            queue.display(),
            self.url(),
        ))?;
        serde_json::from_str(&said).with_context(|| said.clone())
    }

    /// Cashes the cheques that [`Self::redeem`] brought.
    ///
    /// # Errors
    /// There are none, or meshctl failed.
    pub fn cash(&self, purse: &Purse, redeemed: &Value) -> Result<()> {
        let cheques = redeemed.pointer("/files/0/cheques").and_then(Value::as_str);
        let cheques = cheques.with_context(|| format!("no cheques in {redeemed}"))?;
        self.wallet(purse, &format!("cash {cheques} --yes"))
            .map(drop)
    }

    /// SMT in an account, in 10⁻¹⁸.
    ///
    /// # Errors
    /// The chain does not answer.
    pub fn balance(&self, account: Address) -> Result<u128> {
        let call = SmtToken::balanceOfCall { account };
        let balance = self.chain.call(self.owner, self.token, &call)?;
        Ok(balance.to())
    }

    /// What cheques have drawn on a payer for a beneficiary, in 10⁻¹⁸ SMT.
    ///
    /// # Errors
    /// The chain does not answer.
    pub fn paid(&self, issuer: Address, beneficiary: Address) -> Result<u128> {
        let call = SmtChequeBook::paidCall {
            issuer,
            beneficiary,
        };
        Ok(self.chain.call(self.owner, self.book, &call)?.to())
    }

    fn url(&self) -> String {
        format!("http://{}", self.service.address)
    }

    fn wallet(&self, purse: &Purse, command: &str) -> Result<String> {
        meshctl(&format!(
            "wallet --keystore {} --passphrase-file {} --rpc http://{} --book {} --token {} --confirmations 1 {command}",
            purse.keystore.display(),
            purse.passphrase.display(),
            self.chain.rpc(),
            self.book,
            self.token,
        ))
    }
}

fn meshctl(arguments: &str) -> Result<String> {
    let finished = run("meshctl", arguments)?;
    ensure!(finished.code == 0, "meshctl {arguments}: {finished:?}");
    Ok(finished.out)
}

/// Whether everything is installed that [`Market::open`] starts.
#[must_use]
pub fn is_installed() -> bool {
    crate::contracts::anvil().is_ok_and(|anvil| fs::metadata(anvil).is_ok())
}
