//! What the chain says of payers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use alloy_primitives::{Address, U256};
use ethereum::bindings::SmtChequeBook::{accountOfCall, paidCall, reliableCall, tokenCall};
use ethereum::rpc::{BlockTag, Error, Node};
use receipts::Amount;
use tokio::sync::OnceCell;

use crate::room::{Standing, View};
use crate::strangers::Strangers;

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
    /// How old the newest block may be.
    pub max_block_age: Duration,
    id: u64,
    condition: Arc<Mutex<Condition>>,
    /// Set as soon as the node has said that it is one of this chain.
    checked: Arc<OnceCell<()>>,
    strangers: Arc<Mutex<Strangers>>,
}

/// What the chain's node was like when its newest block was last asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Condition {
    /// Whether it can be used.
    pub standing: NodeStanding,
    /// The last block that it has shown.
    pub newest: Option<Newest>,
}

/// Whether the chain's node can be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NodeStanding {
    /// It has not been asked yet.
    #[default]
    Unknown,
    /// It follows the chain.
    Follows,
    /// Its newest block is too old.
    Stale,
    /// It does not answer, or not as a node of this chain.
    Silent,
}

/// A block that was the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newest {
    /// Its number.
    pub number: u64,
    /// When it was made, in seconds since 1970.
    pub timestamp: u64,
}

/// Why the chain cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The node does not say.
    #[error(transparent)]
    Node(#[from] Error),
    /// It has stopped following the chain: payers may have taken back what it still shows.
    #[error(
        "the newest block of {host} is {age_seconds} s old, at most {max_seconds} s are allowed"
    )]
    Stale {
        /// Who was asked.
        host: String,
        /// How old it is.
        age_seconds: u64,
        /// How old it may be.
        max_seconds: u64,
    },
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
    pub fn new(
        node: Node,
        id: u64,
        book: Address,
        us: Address,
        confirmations: u64,
        max_block_age: Duration,
    ) -> Self {
        Self {
            node,
            book,
            us,
            confirmations,
            max_block_age,
            id,
            condition: Arc::default(),
            checked: Arc::default(),
            strangers: Arc::default(),
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

    /// Which of these accounts let us draw on a deposit, in the newest block and in the one that is final. Who was
    /// found not to in the newest block is not asked for again; `may_ask` is told of how many others are.
    ///
    /// # Errors
    /// What `may_ask` says; the node does not say.
    pub async fn payers<E: From<ChainError>>(
        &self,
        accounts: &BTreeSet<Address>,
        may_ask: impl FnOnce(usize) -> Result<(), E>,
    ) -> Result<BTreeSet<Address>, E> {
        let (number, newest) = self.newest().await?;
        let asked = self.strangers().unknown(accounts, newest);
        may_ask(asked.len())?;
        let mut payers = self.paying(&asked, newest).await?;
        if !payers.is_empty() && self.confirmations > 0 {
            let (_, last) = self.last(number).await?;
            payers = self.paying(&payers, last).await?;
        }
        let strangers = asked.difference(&payers).copied();
        self.strangers().note(strangers, newest);
        Ok(payers)
    }

    fn strangers(&self) -> MutexGuard<'_, Strangers> {
        self.strangers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn paying(
        &self,
        accounts: &BTreeSet<Address>,
        at: BlockTag,
    ) -> Result<BTreeSet<Address>, ChainError> {
        let standings = self.standings(accounts, at).await?.into_iter();
        let payers = standings.filter(|(_, standing)| standing.pays());
        Ok(payers.map(|(account, _)| account).collect())
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
        let mut views = Vec::new();
        for (number, at) in self.blocks().await? {
            views.push(self.view(payer, beneficiaries, number, at).await?);
        }
        Ok(views)
    }

    /// The newest block and, as the last, the one that is final: by number, and by hash.
    async fn blocks(&self) -> Result<Vec<(u64, BlockTag)>, ChainError> {
        let newest = self.newest().await?;
        let mut blocks = vec![newest];
        if self.confirmations > 0 {
            blocks.push(self.last(newest.0).await?);
        }
        Ok(blocks)
    }

    /// The block that is final when this is the newest one.
    async fn last(&self, newest: u64) -> Result<(u64, BlockTag), ChainError> {
        let last = newest.saturating_sub(self.confirmations);
        Ok(self.node.pin(BlockTag::Number(last)).await?)
    }

    /// The newest block, if the node still follows the chain.
    async fn newest(&self) -> Result<(u64, BlockTag), ChainError> {
        let asked = self.ask_newest().await;
        if asked.is_err() {
            self.lock_condition().standing = NodeStanding::Silent;
        }
        let (newest, hash) = asked?;
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let age = now.saturating_sub(Duration::from_secs(newest.timestamp));
        let is_stale = age > self.max_block_age;
        *self.lock_condition() = Condition {
            standing: match is_stale {
                true => NodeStanding::Stale,
                false => NodeStanding::Follows,
            },
            newest: Some(newest),
        };
        match is_stale {
            true => Err(ChainError::Stale {
                host: self.node.host(),
                age_seconds: age.as_secs(),
                max_seconds: self.max_block_age.as_secs(),
            }),
            false => Ok((newest.number, hash)),
        }
    }

    async fn ask_newest(&self) -> Result<(Newest, BlockTag), ChainError> {
        self.check().await?;
        let block = self.node.block(BlockTag::Latest).await?;
        let hash = block.hash.ok_or_else(|| Error::Malformed {
            host: self.node.host(),
            method: "a block",
            reason: "it has no hash".to_owned(),
        })?;
        let newest = Newest {
            number: block.number,
            timestamp: block.timestamp,
        };
        Ok((newest, BlockTag::Hash(hash)))
    }

    fn lock_condition(&self) -> MutexGuard<'_, Condition> {
        self.condition
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure that the node follows the chain.
    ///
    /// # Errors
    /// [`ChainError::Stale`] if it does not; [`ChainError`].
    pub async fn follow(&self) -> Result<(), ChainError> {
        self.newest().await.map(drop)
    }

    /// That the node did not answer in the time there was for a claim.
    pub(crate) fn late(&self) -> ChainError {
        let host = self.node.host();
        ChainError::Node(Error::Timeout { host })
    }

    /// What the node was like when it was last asked.
    #[must_use]
    pub fn condition(&self) -> Condition {
        *self.lock_condition()
    }

    /// All of it in one block, by its hash: what is cashed leaves the deposit and is paid at once.
    async fn view(
        &self,
        payer: Address,
        beneficiaries: &BTreeSet<Address>,
        block: u64,
        at: BlockTag,
    ) -> Result<View, Error> {
        let standings = self.standings(&BTreeSet::from([payer]), at).await?;
        let Some(standing) = standings.get(&payer).copied() else {
            return Ok(nothing(block));
        };
        let paid = self.paid(payer, beneficiaries, at).await?;
        Ok(View {
            block,
            standing,
            paid,
        })
    }

    /// None of any account, if the block is older than the contract.
    async fn standings(
        &self,
        payers: &BTreeSet<Address>,
        at: BlockTag,
    ) -> Result<BTreeMap<Address, Standing>, Error> {
        let payers: Vec<_> = payers.iter().copied().collect();
        let mut standings = BTreeMap::new();
        for batch in payers.chunks(BATCH) {
            let call = |payer: &Address| (self.book, accountOfCall { payer: *payer });
            let accounts: Vec<_> = batch.iter().map(call).collect();
            let accounts = self.node.calls(&accounts, at).await?;
            let call = |payer: &Address| (self.book, reliableCall { payer: *payer });
            let reliable: Vec<_> = batch.iter().map(call).collect();
            let reliable = self.node.calls(&reliable, at).await?;
            for ((payer, account), reliable) in batch.iter().zip(accounts).zip(reliable) {
                let (account, reliable) = match (account, reliable) {
                    (Err(Error::Malformed { .. }), _) if self.confirmations > 0 => continue,
                    (account, reliable) => (account?, reliable?),
                };
                let standing = Standing {
                    reliable: amount(reliable),
                    allowance: Amount::new(account.allowance.to()),
                    names_us: account.settlementKey == self.us,
                };
                standings.insert(*payer, standing);
            }
        }
        Ok(standings)
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
