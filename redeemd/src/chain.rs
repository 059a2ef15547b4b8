//! What the chain says of payers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alloy_primitives::{Address, U256};
use ethereum::bindings::SmtChequeBook::{accountOfCall, paidCall, reliableCall, tokenCall};
use ethereum::rpc::{BlockTag, Error, Node};
use receipts::Amount;
use tokio::sync::OnceCell;

use crate::room::{Standing, View};

/// Calls in one request. Nodes refuse long batches.
const BATCH: usize = 100;

/// The cheque book of one chain, and who asks.
#[derive(Debug, Clone)]
pub struct Chain {
    /// Who is asked.
    pub node: Node,
    /// The cheque book.
    pub book: Address,
    /// The account of our settlement key.
    pub us: Address,
    /// How many blocks below the newest one is final, as far as this service is concerned.
    pub confirmations: u64,
    id: u64,
    /// Set as soon as the node has said that it is one of this chain.
    checked: Arc<OnceCell<()>>,
}

/// Why the chain cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The node does not say.
    #[error(transparent)]
    Node(#[from] Error),
    /// It is a node of another chain.
    #[error("{host} is a node of chain {found}, expected {expected}")]
    OtherChain {
        /// Who was asked.
        host: String,
        /// What it said.
        found: u64,
        /// What is configured.
        expected: u64,
    },
}

impl Chain {
    /// A cheque book on the chain of this number. Nothing is asked yet.
    #[must_use]
    pub fn new(node: Node, id: u64, book: Address, us: Address, confirmations: u64) -> Self {
        Self {
            node,
            book,
            us,
            confirmations,
            id,
            checked: Arc::default(),
        }
    }

    /// Makes sure that the node is one of this chain, and that the cheque book is on it. Nothing it says is
    /// believed before; it is asked once.
    ///
    /// # Errors
    /// [`ChainError`].
    pub async fn check(&self) -> Result<(), ChainError> {
        let checked = self.checked.get_or_try_init(|| self.ask_which()).await;
        checked.map(drop)
    }

    async fn ask_which(&self) -> Result<(), ChainError> {
        let found = self.node.chain_id().await?;
        if found != self.id {
            return Err(ChainError::OtherChain {
                host: self.node.host(),
                found,
                expected: self.id,
            });
        }
        self.node
            .call(self.book, &tokenCall {}, BlockTag::Latest)
            .await?;
        Ok(())
    }

    /// Whether an account lets us draw on a deposit, in the newest block and in the one that is final.
    ///
    /// # Errors
    /// The node does not say.
    pub async fn pays(&self, account: Address) -> Result<bool, ChainError> {
        let views = self.views(account, &BTreeSet::new()).await?;
        Ok(views.iter().all(|view| view.standing.pays()))
    }

    /// When a payer may take back something that cheques could draw on, in seconds since 1970, if it has announced
    /// anything.
    ///
    /// # Errors
    /// The node does not say.
    pub async fn takes_back_at(&self, payer: Address) -> Result<Option<u64>, Error> {
        let account = accountOfCall { payer };
        let account = self
            .node
            .call(self.book, &account, BlockTag::Latest)
            .await?;
        let announced = [account.withdrawAt, account.changeAt];
        Ok(announced.into_iter().filter(|at| *at > 0).min())
    }

    /// A payer in the newest block and, as the last, in the one that is final: what is in both can be relied on,
    /// whatever becomes of the blocks between.
    ///
    /// # Errors
    /// The node does not say.
    pub async fn views(
        &self,
        payer: Address,
        beneficiaries: &BTreeSet<Address>,
    ) -> Result<Vec<View>, ChainError> {
        self.check().await?;
        let newest = self.node.block(BlockTag::Latest).await?.number;
        let mut views = vec![self.view(payer, beneficiaries, newest).await?];
        if self.confirmations > 0 {
            let settled = newest.saturating_sub(self.confirmations);
            views.push(self.view(payer, beneficiaries, settled).await?);
        }
        Ok(views)
    }

    /// All of it in one block: what is cashed leaves the deposit and is paid at once.
    async fn view(
        &self,
        payer: Address,
        beneficiaries: &BTreeSet<Address>,
        block: u64,
    ) -> Result<View, Error> {
        let at = BlockTag::Number(block);
        let account = accountOfCall { payer };
        let account = match self.node.call(self.book, &account, at).await {
            // The block is older than the contract.
            Err(Error::Malformed { .. }) if self.confirmations > 0 => return Ok(nothing(block)),
            other => other?,
        };
        let reliable = self
            .node
            .call(self.book, &reliableCall { payer }, at)
            .await?;
        Ok(View {
            block,
            standing: Standing {
                reliable: amount(reliable),
                allowance: Amount::new(account.allowance.to()),
                names_us: account.settlementKey == self.us,
            },
            paid: self.paid(payer, beneficiaries, at).await?,
        })
    }

    async fn paid(
        &self,
        issuer: Address,
        beneficiaries: &BTreeSet<Address>,
        at: BlockTag,
    ) -> Result<BTreeMap<Address, Amount>, Error> {
        let beneficiaries: Vec<_> = beneficiaries.iter().copied().collect();
        let mut paid = BTreeMap::new();
        for batch in beneficiaries.chunks(BATCH) {
            let call = |beneficiary: &Address| {
                let call = paidCall {
                    issuer,
                    beneficiary: *beneficiary,
                };
                (self.book, call)
            };
            let calls: Vec<_> = batch.iter().map(call).collect();
            let answers = self.node.calls(&calls, at).await?;
            for (beneficiary, answer) in batch.iter().zip(answers) {
                paid.insert(*beneficiary, amount(answer?));
            }
        }
        Ok(paid)
    }
}

/// The contract lets nobody be paid more than was deposited, which has 96 bits for each payer.
fn amount(value: U256) -> Amount {
    Amount::new(u128::try_from(value).unwrap_or(u128::MAX))
}

fn nothing(block: u64) -> View {
    View {
        block,
        standing: Standing {
            reliable: Amount::ZERO,
            allowance: Amount::ZERO,
            names_us: false,
        },
        paid: BTreeMap::new(),
    }
}
