//! Waiting for what becomes of a transaction.

use std::time::Duration;

use alloy_primitives::B256;
use tokio::time::{Instant, sleep};

use super::Pending;
use crate::rpc::{BlockTag, Error, Node, Receipt};

/// Chains make a block in a second or twelve.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// How sure one wants to be, and how long one waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirmation {
    /// The block of the transaction, and those on top of it.
    pub blocks: u64,
    /// Not longer.
    pub patience: Duration,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// In no block.
    Waiting,
    /// In so many blocks, its own and those on top of it.
    Blocks(u64),
    /// The node does not answer; it is asked again.
    NoAnswer,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in a block, under as many others as was asked for. It may have failed there.
    Confirmed(Box<Receipt>),
    /// Another transaction of the sender has its number, under as many others: it will never be in a block, if the node
    /// does not lie. It is this one, if it was signed for that number before, and refused.
    Replaced(Option<B256>),
    /// Time is up. It may still be in a block some day.
    Unknown(Progress),
}

impl Pending {
    /// Waits for it. `tell` hears how far it is, whenever this has changed.
    ///
    /// # Errors
    /// The node answers something that is no answer. That it does not answer is no error, but takes time.
    pub async fn confirm(
        &self,
        node: &Node,
        until: Confirmation,
        mut tell: impl FnMut(Progress),
    ) -> Result<Outcome, Error> {
        let end = Instant::now() + until.patience;
        let mut pause = FIRST_PAUSE;
        let mut told = None;
        loop {
            let progress = match self.look(node, until.blocks).await {
                Ok(Seen::Ended(outcome)) => return Ok(outcome),
                Ok(Seen::Goes(progress)) => progress,
                Err(error) if is_passing(&error) => Progress::NoAnswer,
                Err(error) => return Err(error),
            };
            if told.replace(progress) != Some(progress) {
                tell(progress);
            }
            if Instant::now() >= end {
                return Ok(Outcome::Unknown(progress));
            }
            sleep(pause).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }

    /// The number is looked at before the receipts: whoever sees that it is used sees by what. Behind one URL may
    /// be several nodes, of which some are late by a block or two, so that a number counts as used by
    /// another only below so many blocks.
    async fn look(&self, node: &Node, blocks: u64) -> Result<Seen, Error> {
        let newest = node.block(BlockTag::Latest).await?.number;
        let below = BlockTag::Number(newest.saturating_sub(blocks));
        let used = node.transaction_count(self.from(), below).await?;
        for hash in self.hashes() {
            if let Some(receipt) = node.receipt(hash).await? {
                let on_top = newest.saturating_sub(receipt.block_number);
                let so_far = on_top.saturating_add(1);
                return Ok(if so_far >= blocks {
                    Seen::Ended(Outcome::Confirmed(Box::new(receipt)))
                } else {
                    Seen::Goes(Progress::Blocks(so_far))
                });
            }
        }
        if used <= self.transaction().nonce {
            return Ok(Seen::Goes(Progress::Waiting));
        }
        for hash in self.other_hashes() {
            if node.receipt(hash).await?.is_some() {
                return Ok(Seen::Ended(Outcome::Replaced(Some(hash))));
            }
        }
        Ok(Seen::Ended(Outcome::Replaced(None)))
    }
}

enum Seen {
    Ended(Outcome),
    Goes(Progress),
}

/// What asking again may help with.
fn is_passing(error: &Error) -> bool {
    match error {
        // One of several nodes behind a URL may not have the newest block, and say so.
        Error::Unreachable { .. } | Error::Timeout { .. } | Error::Refused { .. } => true,
        Error::Status { status, .. } => *status == 429 || *status >= 500,
        Error::Tls(_) | Error::TooLarge { .. } | Error::Reverted(_) | Error::Malformed { .. } => {
            false
        }
    }
}
