//! A cheque book on a chain of its own, with tokens in the hands of those who may deposit them.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use alloy_primitives::{Address, Bytes, U256, hex};
use alloy_sol_types::{SolCall, SolConstructor, SolError};
use anyhow::{Context, Result, anyhow, bail, ensure};
use mesh_tests::chain::{Chain, Receipt, Reverted};
use mesh_tests::contracts::SmtChequeBook::{
    Account, accountOfCall, applyChangeCall, authorizeCall, cashCall, cashManyCall,
    constructorCall, depositCall, requestWithdrawalCall, withdrawCall,
};
use mesh_tests::contracts::{self, Cheque, SettlementKey, Signature, SmtChequeBook, SmtToken};
use mesh_tests::sandbox;

/// 10^18 of the smallest unit: what people call one SMT.
pub(crate) const SMT: u128 = 1_000_000_000_000_000_000;

/// What each payer has before it deposits anything.
pub(crate) const PURSE: u128 = 1_000 * SMT;

/// `LOCK` and `EPOCH` of the contract, in seconds.
pub(crate) const LOCK: u64 = 3 * EPOCH;
pub(crate) const EPOCH: u64 = 86_400;

/// The contract's `Verdict`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Verdict {
    NotSigned = 1,
    NoBeneficiary,
    NothingDue,
    AllowanceSpent,
    DepositSpent,
}

/// The chain, the contracts, and who is there: payers have tokens, others have none.
pub(crate) struct Book {
    pub(crate) chain: Chain,
    pub(crate) token: Address,
    pub(crate) address: Address,
    /// The key that payers name if the test does not want another.
    pub(crate) key: SettlementKey,
    /// Somebody without tokens, who owns nothing here, and does what anybody may do.
    pub(crate) anybody: Address,
    pub(crate) payer: Address,
    pub(crate) other_payer: Address,
    pub(crate) provider: Address,
    pub(crate) other_provider: Address,
}

impl Book {
    /// With the token that is committed.
    pub(crate) fn new() -> Result<Self> {
        Self::with_token(&SmtToken::BYTECODE)
    }

    /// With one of the tokens of `contracts/test`.
    pub(crate) fn with_hostile(name: &str) -> Result<Self> {
        Self::with_token(&hostile_bytecode(name)?)
    }

    fn with_token(bytecode: &[u8]) -> Result<Self> {
        let chain = Chain::start()?;
        let supply = U256::from(1_000_000 * SMT);
        let owner = chain.account(0)?;
        let arguments = SmtToken::constructorCall { supply }.abi_encode();
        let token = chain.deploy(owner, [bytecode, &arguments].concat())?;
        let arguments = constructorCall { token_: token }.abi_encode();
        let code = [SmtChequeBook::BYTECODE.as_ref(), &arguments].concat();
        let book = Self {
            address: chain.deploy(owner, code)?,
            token,
            key: SettlementKey::from_seed("settlement key")?,
            anybody: chain.account(1)?,
            payer: chain.account(2)?,
            other_payer: chain.account(3)?,
            provider: chain.account(4)?,
            other_provider: chain.account(5)?,
            chain,
        };
        for payer in [book.payer, book.other_payer] {
            book.fund(payer, PURSE)?;
        }
        Ok(book)
    }

    /// Gives somebody tokens.
    pub(crate) fn give(&self, to: Address, amount: u128) -> Result<()> {
        let value = U256::from(amount);
        let transfer = SmtToken::transferCall { to, value };
        let owner = self.chain.account(0)?;
        self.chain.send(owner, self.token, &transfer).map(drop)
    }

    /// Gives somebody tokens, and has it allow the cheque book to collect all.
    pub(crate) fn fund(&self, payer: Address, amount: u128) -> Result<()> {
        self.give(payer, amount)?;
        let approve = SmtToken::approveCall {
            spender: self.address,
            value: U256::MAX,
        };
        self.chain.send(payer, self.token, &approve).map(drop)
    }

    /// A payer that has deposited something, with the usual key.
    pub(crate) fn enroll(&self, payer: Address, deposit: u128, allowance: u128) -> Result<()> {
        self.deposit(payer, payer, deposit)?;
        self.authorize(payer, self.key.address(), allowance)?;
        Ok(())
    }

    pub(crate) fn deposit(&self, from: Address, payer: Address, amount: u128) -> Result<Receipt> {
        let amount = U256::from(amount);
        self.send(from, &depositCall { payer, amount })
    }

    pub(crate) fn authorize(&self, payer: Address, key: Address, most: u128) -> Result<Receipt> {
        let call = authorizeCall {
            settlementKey: key,
            allowance: most.try_into()?,
        };
        self.send(payer, &call)
    }

    pub(crate) fn apply_change(&self, payer: Address) -> Result<Receipt> {
        self.send(payer, &applyChangeCall {})
    }

    pub(crate) fn request_withdrawal(&self, payer: Address, amount: u128) -> Result<Receipt> {
        let amount = amount.try_into()?;
        self.send(payer, &requestWithdrawalCall { amount })
    }

    pub(crate) fn withdraw(&self, payer: Address) -> Result<Receipt> {
        self.send(payer, &withdrawCall {})
    }

    /// Cashes what a payer's settlement key says a provider was given in all.
    pub(crate) fn cash(&self, issuer: Address, to: Address, cumulative: u128) -> Result<Receipt> {
        let (cheque, signature) = self.cheque(issuer, to, cumulative);
        self.send(self.anybody, &cashCall { cheque, signature })
    }

    /// A cheque signed with the usual key.
    pub(crate) fn cheque(
        &self,
        issuer: Address,
        to: Address,
        cumulative: u128,
    ) -> (Cheque, Signature) {
        let cheque = cheque(issuer, to, cumulative);
        let signature = self.key.sign(self.address, &cheque);
        (cheque, signature)
    }

    pub(crate) fn cash_many(&self, signed: Vec<(Cheque, Signature)>) -> Result<Receipt> {
        let (cheques, signatures) = signed.into_iter().unzip();
        self.send(
            self.anybody,
            &cashManyCall {
                cheques,
                signatures,
            },
        )
    }

    pub(crate) fn send<C: SolCall>(&self, from: Address, call: &C) -> Result<Receipt> {
        self.chain.send(from, self.address, call)
    }

    /// What a function of the cheque book that changes nothing returns.
    pub(crate) fn ask<C: SolCall>(&self, call: &C) -> Result<C::Return> {
        self.chain.call(self.anybody, self.address, call)
    }

    pub(crate) fn account(&self, payer: Address) -> Result<Account> {
        self.ask(&accountOfCall { payer })
    }

    /// What a payer has deposited and not spent.
    pub(crate) fn balance(&self, payer: Address) -> Result<u128> {
        Ok(self.account(payer)?.balance.to())
    }

    /// What somebody has outside of the cheque book, or the cheque book itself for all payers.
    pub(crate) fn tokens(&self, of: Address) -> Result<u128> {
        let call = SmtToken::balanceOfCall { account: of };
        let tokens = self.chain.call(self.anybody, self.token, &call)?;
        u128::try_from(tokens).map_err(|_| anyhow!("{tokens} tokens"))
    }

    /// The cheque book has what it owes to payers, and nothing else.
    pub(crate) fn is_balanced(&self) -> Result<()> {
        let owed = self.balance(self.payer)? + self.balance(self.other_payer)?;
        let has = self.tokens(self.address)?;
        ensure!(has == owed, "the book has {has}, and owes {owed}");
        Ok(())
    }
}

/// A cheque that nobody has signed.
pub(crate) fn cheque(issuer: Address, beneficiary: Address, cumulative: u128) -> Cheque {
    Cheque {
        issuer,
        beneficiary,
        cumulative: U256::from(cumulative),
    }
}

/// Makes sure that a transaction was refused, for exactly this reason.
pub(crate) fn ensure_refused<T>(result: Result<T>, reason: &impl SolError) -> Result<()> {
    let error = result.err().context("it was not refused")?;
    let Some(Reverted(said)) = error.downcast_ref() else {
        return Err(error);
    };
    let expected = Bytes::from(reason.abi_encode());
    ensure!(*said == expected, "refused with {said}, and not {expected}");
    Ok(())
}

/// Makes sure that a cheque was not paid, for exactly this reason.
pub(crate) fn ensure_unpaid<T>(result: Result<T>, verdict: Verdict) -> Result<()> {
    let verdict = verdict as u8;
    let reason = SmtChequeBook::DoesNotPay { verdict };
    ensure_refused(result, &reason).with_context(|| format!("verdict {verdict}"))
}

/// The only event of this kind that the cheque book told of in a transaction, which told of nothing else.
pub(crate) fn only_event<E: alloy_sol_types::SolEvent>(
    book: &Book,
    receipt: &Receipt,
) -> Result<E> {
    let count = receipt.event_count(book.address);
    let mut events = receipt.events::<E>(book.address);
    match events.pop() {
        Some(event) if count == 1 => Ok(event),
        _ => bail!(
            "{count} events, of which {} are {}",
            events.len(),
            E::SIGNATURE
        ),
    }
}

/// Everything in `contracts`, compiled once, in a directory of the sandbox.
pub(crate) fn compiled() -> Result<&'static Path> {
    static COMPILED: OnceLock<Result<std::path::PathBuf, String>> = OnceLock::new();
    let compiled = COMPILED.get_or_init(|| {
        let out = Path::new(sandbox::FILES).join("contracts");
        match contracts::compile(&out) {
            Ok(()) => Ok(out),
            Err(error) => Err(format!("{error:#}")),
        }
    });
    compiled.as_deref().map_err(|text| anyhow!("{text}"))
}

fn hostile_bytecode(name: &str) -> Result<Vec<u8>> {
    let path = compiled()?.join(format!("test/{name}.json"));
    let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let artifact: serde_json::Value = serde_json::from_slice(&text)?;
    let bytecode = artifact.get("bytecode").and_then(|code| code.as_str());
    Ok(hex::decode(bytecode.unwrap_or_default())?)
}
