//! A chain with the cheque book, people with nodes and accounts, and the settings of a service for them.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use alloy_primitives::{Address, U256, keccak256};
use alloy_sol_types::SolConstructor;
use anyhow::{Context, Result, anyhow, ensure};
use control_api::NodeId;
use ed25519_dalek::SigningKey;
use ethereum::cheque::{ChequeFile, SignedCheque};
use ethereum::key::PrivateKey;
use libtest_mimic::Trial;
use mesh_tests::chain::{CHAIN_ID, Chain};
use mesh_tests::contracts::SmtChequeBook::{
    authorizeCall, cashCall, constructorCall, depositCall, paidCall,
};
use mesh_tests::contracts::{SmtChequeBook, SmtToken};
use mesh_tests::postgres::{self, Postgres};
use mesh_tests::redeemd::{self, Redeemd, Settings};
use mesh_tests::{harness, sandbox};
use receipts::Party;
use redeem_api::{NodeAnswer, RegistrationRequest, Statement};
use serde_json::json;

use crate::exports::FEE_PPM;

/// More than anybody owes here.
pub(crate) const PLENTY: u128 = 1_000_000_000_000_000_000;

/// A day of the chain's clock.
pub(crate) const EPOCH: u64 = 86_400;

/// Where receipts are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Database {
    Sqlite,
    Postgres,
}

impl Database {
    pub(crate) const ALL: [Self; 2] = [Self::Sqlite, Self::Postgres];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }

    /// An empty database.
    pub(crate) fn create(self) -> Result<String> {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        match self {
            Self::Sqlite => Ok(format!("sqlite:{}/redeemd-{number}.db", sandbox::FILES)),
            Self::Postgres => server()?.create(&format!("redeemd_{number}")),
        }
    }
}

/// One server for all tests: to start one takes longer than most of them.
pub(crate) fn server() -> Result<&'static Postgres> {
    static SERVER: OnceLock<Result<Postgres, String>> = OnceLock::new();
    let started = SERVER.get_or_init(|| {
        let server = Postgres::start(&postgres::place("tests"));
        server.map_err(|error| format!("{error:#}"))
    });
    started.as_ref().map_err(|error| anyhow!("{error}"))
}

/// The same test with each kind of database.
pub(crate) fn with_both(name: &str, body: fn(&Valley) -> Result<()>) -> Vec<Trial> {
    let trials = Database::ALL.map(|database| {
        let name = format!("{name}_in_{}", database.name());
        harness::plain(name, move || body(&Valley::new(database)?))
    });
    trials.into()
}

/// A test that has nothing to do with the kind of database.
pub(crate) fn with_sqlite(name: &str, body: fn(&Valley) -> Result<()>) -> Trial {
    harness::plain(name, move || body(&Valley::new(Database::Sqlite)?))
}

pub(crate) struct Valley {
    pub(crate) chain: Chain,
    pub(crate) token: Address,
    pub(crate) book: Address,
    pub(crate) settings: Settings,
    pub(crate) database: Database,
    /// The account of the settlement key.
    pub(crate) key: Address,
}

/// Somebody with a node and an account.
pub(crate) struct Person {
    pub(crate) node: SigningKey,
    pub(crate) wallet: PrivateKey,
}

impl Person {
    pub(crate) fn new(name: &str) -> Result<Self> {
        let secret = |of: &str| keccak256(format!("{of} of {name}")).0;
        let wallet = PrivateKey::from_bytes(&secret("wallet"));
        Ok(Self {
            node: SigningKey::from_bytes(&secret("node")),
            wallet: wallet.context("a key")?,
        })
    }

    pub(crate) fn account(&self) -> Address {
        self.wallet.address()
    }

    pub(crate) fn id(&self) -> NodeId {
        NodeId::new(*Party::of(&self.node).as_bytes())
    }
}

impl Valley {
    pub(crate) fn new(database: Database) -> Result<Self> {
        let chain = Chain::start()?;
        let owner = chain.account(0)?;
        let supply = U256::from(1000 * PLENTY);
        let arguments = SmtToken::constructorCall { supply }.abi_encode();
        let token = chain.deploy(owner, [SmtToken::BYTECODE.as_ref(), &arguments].concat())?;
        let arguments = constructorCall { token_: token }.abi_encode();
        let code = [SmtChequeBook::BYTECODE.as_ref(), &arguments].concat();
        let book = chain.deploy(owner, code)?;
        let value = U256::MAX;
        chain.send(
            owner,
            token,
            &SmtToken::approveCall {
                spender: book,
                value,
            },
        )?;
        let (key_file, key) = new_key()?;
        let settings = Settings {
            rpc: format!("http://{}", chain.rpc()),
            chain_id: CHAIN_ID,
            book,
            key: key_file,
            fee_account: chain.account(1)?,
            database: database.create()?,
            tariffs: json!([{ "minimum_amount": 0, "fee_ppm": FEE_PPM }]),
            limits: json!({"requests_per_minute": 1_000_000, "claims_per_minute": 1_000_000}),
            confirmations: 0,
        };
        Ok(Self {
            chain,
            token,
            book,
            settings,
            database,
            key,
        })
    }

    pub(crate) fn start(&self) -> Result<Redeemd> {
        Redeemd::start(&self.settings)
    }

    /// Deposits for somebody, who need not have tokens.
    pub(crate) fn deposit(&self, payer: &Person, amount: u128) -> Result<()> {
        let deposit = depositCall {
            payer: payer.account(),
            amount: U256::from(amount),
        };
        let owner = self.chain.account(0)?;
        self.chain.send(owner, self.book, &deposit).map(drop)
    }

    /// Lets a key sign cheques that draw on somebody's deposit.
    pub(crate) fn authorize(&self, payer: &Person, key: Address, allowance: u128) -> Result<()> {
        self.chain.adopt(payer.account())?;
        let authorize = authorizeCall {
            settlementKey: key,
            allowance: allowance.try_into()?,
        };
        let sent = self.chain.send(payer.account(), self.book, &authorize);
        sent.map(drop)
    }

    /// A payer with more than it needs, who names the service.
    pub(crate) fn enroll(&self, payer: &Person) -> Result<()> {
        self.deposit(payer, PLENTY)?;
        self.authorize(payer, self.key, PLENTY)
    }

    /// What says that a node belongs to an account.
    pub(crate) fn registration(&self, of: &Person, sequence: u64) -> RegistrationRequest {
        self.registration_to(&of.node, &of.wallet, sequence)
    }

    pub(crate) fn registration_to(
        &self,
        node: &SigningKey,
        wallet: &PrivateKey,
        sequence: u64,
    ) -> RegistrationRequest {
        let statement = Statement {
            chain_id: CHAIN_ID,
            book: self.book,
            node: Party::of(node),
            account: wallet.address(),
            sequence,
        };
        RegistrationRequest {
            node: NodeId::new(*statement.node.as_bytes()),
            account: statement.account,
            sequence,
            node_signature: statement.sign_as_node(node),
            account_signature: statement.sign_as_account(wallet),
        }
    }

    pub(crate) fn register(&self, service: &Redeemd, of: &Person) -> Result<()> {
        let answer = service.post("/v1/registrations", &self.registration(of, 1))?;
        ensure!(answer.status == 200, "{}", answer.text());
        Ok(())
    }

    /// The cheques of an account, whose signatures have been checked.
    pub(crate) fn cheques(&self, service: &Redeemd, account: Address) -> Result<Vec<SignedCheque>> {
        let answer = service.get(&format!("/v1/cheques/{account}"))?;
        ensure!(answer.status == 200, "{}", answer.text());
        let file = ChequeFile::parse(&answer.body)?;
        ensure!((file.chain_id, file.book) == (CHAIN_ID, self.book));
        let domain = ethereum::bindings::domain(CHAIN_ID, self.book);
        for cheque in &file.cheques {
            ensure!(cheque.signer(&domain).context("no signature")? == self.key);
        }
        Ok(file.cheques)
    }

    /// The one cheque of an account.
    pub(crate) fn cheque(&self, service: &Redeemd, account: Address) -> Result<SignedCheque> {
        let mut cheques = self.cheques(service, account)?;
        ensure!(cheques.len() == 1, "{cheques:?}");
        cheques.pop().context("no cheque")
    }

    /// Anybody may.
    pub(crate) fn cash(&self, signed: &SignedCheque) -> Result<()> {
        let cash = cashCall {
            cheque: SmtChequeBook::Cheque {
                issuer: signed.cheque.issuer,
                beneficiary: signed.cheque.beneficiary,
                cumulative: signed.cheque.cumulative,
            },
            signature: SmtChequeBook::Signature {
                r: signed.signature.r,
                vs: signed.signature.vs,
            },
        };
        let anybody = self.chain.account(2)?;
        self.chain.send(anybody, self.book, &cash).map(drop)
    }

    /// What has been paid on cheques of this payer to somebody.
    pub(crate) fn paid(&self, issuer: Address, beneficiary: Address) -> Result<u128> {
        let paid = paidCall {
            issuer,
            beneficiary,
        };
        let anybody = self.chain.account(2)?;
        Ok(self.chain.call(anybody, self.book, &paid)?.try_into()?)
    }

    pub(crate) fn tokens(&self, of: Address) -> Result<u128> {
        let call = SmtToken::balanceOfCall { account: of };
        let anybody = self.chain.account(2)?;
        Ok(self.chain.call(anybody, self.token, &call)?.try_into()?)
    }

    /// Has everything in the database checked, and returns what was found in it.
    pub(crate) fn audit(&self) -> Result<String> {
        audit(&self.settings)
    }
}

/// Has everything in a database checked, and returns what was found in it.
pub(crate) fn audit(settings: &Settings) -> Result<String> {
    let output = redeemd::audit(settings)?;
    let found = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{found}{complaint}");
    ensure!(found.contains("everything fits together"), "{found}");
    Ok(found)
}

/// A settlement key in a file of its own, and its account.
pub(crate) fn new_key() -> Result<(std::path::PathBuf, Address)> {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let file = Path::new(sandbox::FILES).join(format!("settlement-{number}.key"));
    let account = redeemd::new_key(&file)?;
    ensure!(fs::metadata(&file)?.len() == 64, "64 digits");
    Ok((file, account))
}

/// What a service knows of somebody's node.
pub(crate) fn node(service: &Redeemd, of: &Person) -> Result<NodeAnswer> {
    service.get(&format!("/v1/nodes/{}", of.id()))?.json()
}
