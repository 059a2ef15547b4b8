//! Sending a transaction at most once, whatever breaks on the way.
//!
//! A node that does not answer may have taken a transaction all the same. So whoever sends one
//!
//! 1. [`prepare`]s it and signs it: [`Pending::sign`];
//! 2. keeps the [`Pending`] where it outlives the program, and only then
//! 3. gives it to the node: [`Pending::broadcast`], as often as it takes. It is the same transaction with the
//!    same number (nonce) each time, so that it is in one block at most;
//! 4. waits: [`Pending::confirm`]; and forgets it when it is confirmed, or another one has its number.
//!
//! After a crash it goes on with step 3. Nothing new is signed while there is a pending one.
//!
//! | what the node says | what it means |
//! |---|---|
//! | already known | it has it: as good as taken |
//! | nonce too low | the number is used, by this transaction or another: [`Pending::confirm`] tells |
//! | underpriced | it pays too little, or the node has another of this number. [`Pending::raise`] helps |
//! | insufficient funds and the like | no node takes it. If the node [knows](Pending::is_unknown) nothing of its number, it is kept as refused |
//! | anything else | in doubt: a provider's "timed out" does not mean that it has not passed it on |
//!
//! What is between here and the node may repeat a request, so that a refusal may be the answer to the second one: by
//! itself it never means that nothing was sent. And nodes may lie: what was refused may be in a block later. So its
//! number is used again ([`Pending::sign_instead`]) until something of it is confirmed, and one is paid at most.

mod confirm;
mod pending;

use alloy_primitives::U256;
use thiserror::Error;

use crate::rpc::{self, BlockTag, Intent, Node};
use crate::text::amount;
use crate::transaction::Transaction;

pub use confirm::{Confirmation, Outcome, Progress};
pub use pending::{Broadcast, Pending, PendingError};

/// 1 gwei, in wei.
const GWEI: u128 = 1_000_000_000;

/// 0.1 ether, in wei: a hundred cheques in one transaction cost less than half of it at 10 gwei for a unit of gas.
const MOST_FEE: u64 = 100_000_000_000_000_000;

/// How much more gas a transaction may take than the node thinks, in percent: what others do in
/// between changes what it takes. What is not needed is not paid.
const GAS_MARGIN_PERCENT: u64 = 20;

/// What a transaction may pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeePolicy {
    /// The tip for each unit of gas, at most, in wei, whatever the node says.
    pub most_tip: u128,
    /// What all gas of a transaction may cost, in wei, whatever the node says. A node that lies about base fee or gas
    /// gets nothing signed that could pay more.
    pub most_fee: U256,
}

impl FeePolicy {
    /// Another limit of the tip, in gwei.
    #[must_use]
    pub fn with_tip_gwei(self, most_tip: u64) -> Self {
        let most_tip = u128::from(most_tip) * GWEI;
        Self { most_tip, ..self }
    }

    /// Another limit of what a transaction costs, in wei.
    #[must_use]
    pub const fn with_most_fee(self, most_fee: U256) -> Self {
        Self { most_fee, ..self }
    }

    /// Whether a transaction may be signed.
    ///
    /// # Errors
    /// [`PrepareError::TooDear`].
    pub fn allows(&self, transaction: &Transaction) -> Result<(), PrepareError> {
        self.allows_fee(transaction.most_fee())
    }

    /// Makes sure that so much, of several transactions together, is not too much.
    ///
    /// # Errors
    /// [`PrepareError::TooDear`].
    pub fn allows_fee(&self, fee: U256) -> Result<(), PrepareError> {
        let most = self.most_fee;
        if fee <= most {
            return Ok(());
        }
        Err(PrepareError::TooDear { fee, most })
    }
}

/// 5 gwei of tip, and 0.1 ether in all.
impl Default for FeePolicy {
    fn default() -> Self {
        Self {
            most_tip: 5 * GWEI,
            most_fee: U256::from(MOST_FEE),
        }
    }
}

/// What a unit of gas may cost, in wei.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fees {
    /// Tip included.
    pub most: u128,
    /// For whoever makes the block.
    pub tip: u128,
}

/// Why there is no transaction.
#[derive(Debug, Error)]
pub enum PrepareError {
    /// The node did not say what it takes, or a contract would refuse.
    #[error(transparent)]
    Node(#[from] rpc::Error),
    /// The sender cannot pay it.
    #[error("{} ether are needed, fee included, and there are {}", amount(*.needed), amount(*.balance))]
    TooLittleEther {
        /// What goes with it, and the most that gas costs, in wei.
        needed: U256,
        /// What the sender has, in wei.
        balance: U256,
    },
    /// The node wants more for it than is allowed.
    #[error(
        "the fee could be {} ether, as the node says, and is to be {} at most (max_fee_ether)",
        amount(*.fee), amount(*.most)
    )]
    TooDear {
        /// The most that gas costs, in wei.
        fee: U256,
        /// What it may cost, in wei.
        most: U256,
    },
}

impl Fees {
    /// Twice the base fee of now, and the tip: the base fee rises by an eighth a block at most, so that the
    /// transaction is in one of the next six.
    ///
    /// # Errors
    /// The node does not say.
    pub async fn now(node: &Node, policy: FeePolicy) -> Result<Self, rpc::Error> {
        let base = node.block(BlockTag::Latest).await?.base_fee;
        let tip = node.max_priority_fee().await?.min(policy.most_tip);
        let most = base.saturating_mul(2).saturating_add(tip);
        Ok(Self { most, tip })
    }
}

/// What has to be signed for something to happen on the chain of this number. Nothing is sent.
///
/// # Errors
/// The node does not answer; a contract would refuse; the sender cannot pay it, or is not to.
pub async fn prepare(
    node: &Node,
    chain_id: u64,
    intent: &Intent,
    policy: FeePolicy,
) -> Result<Transaction, PrepareError> {
    let balance = node.balance(intent.from, BlockTag::Latest).await?;
    if balance < intent.value || balance.is_zero() {
        let needed = intent.value.max(U256::from(1));
        return Err(PrepareError::TooLittleEther { needed, balance });
    }
    let gas = node.estimate_gas(intent).await?;
    let fees = Fees::now(node, policy).await?;
    let transaction = Transaction {
        chain_id,
        nonce: node
            .transaction_count(intent.from, BlockTag::Pending)
            .await?,
        max_priority_fee: fees.tip,
        max_fee: fees.most,
        gas_limit: gas.saturating_add(gas.saturating_mul(GAS_MARGIN_PERCENT) / 100),
        to: intent.to,
        value: intent.value,
        data: intent.data.clone(),
    };
    policy.allows(&transaction)?;
    let needed = intent.value.saturating_add(transaction.most_fee());
    if balance < needed {
        return Err(PrepareError::TooLittleEther { needed, balance });
    }
    Ok(transaction)
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, Bytes};

    use super::*;

    #[test]
    fn a_node_cannot_ask_for_more_than_is_allowed() {
        let transaction = |max_fee| Transaction {
            chain_id: 1,
            nonce: 0,
            max_priority_fee: 0,
            max_fee,
            gas_limit: 100_000,
            to: Address::ZERO,
            value: U256::ZERO,
            data: Bytes::new(),
        };
        let policy = FeePolicy::default();
        policy.allows(&transaction(1000 * GWEI)).unwrap();
        for absurd in [1000 * GWEI + 1, u128::MAX] {
            let refused = policy.allows(&transaction(absurd)).unwrap_err();
            assert!(matches!(refused, PrepareError::TooDear { .. }), "{refused}");
        }
    }
}
