//! What may be found that does not fit.

use std::fmt;

use alloy_primitives::Address;
use receipts::Amount;

/// Something that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// A node's account is not what both have signed.
    Registration {
        /// The node.
        node: String,
    },
    /// A pair has another id than its network, provider and consumer give it.
    Pair {
        /// The id.
        pair: String,
    },
    /// A proof of a contradiction is none.
    Contradiction {
        /// Of this pair.
        pair: String,
    },
    /// A receipt does not hold.
    Receipt {
        /// Of this pair.
        pair: String,
        /// And epoch.
        epoch: u64,
    },
    /// A pair's claim is not the sum of its receipts.
    Claimed {
        /// Which pair.
        pair: String,
        /// What the receipts add up to.
        receipts: Amount,
        /// What is written.
        claimed: Amount,
    },
    /// A pair's settlements are not what its row says, or more than what was claimed.
    Settled {
        /// Which pair.
        pair: String,
        /// What the settlements add up to.
        settlements: Amount,
        /// What is written.
        settled: Amount,
    },
    /// A debit is not what was credited and kept.
    Split {
        /// Of which pair.
        pair: String,
    },
    /// A cheque is not the sum of what it was raised by.
    Cheque {
        /// On whose deposit.
        issuer: Address,
        /// For whom.
        beneficiary: Address,
        /// What the settlements add up to, over what was paid by others.
        settlements: Amount,
        /// What is written.
        cumulative: Amount,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registration { node } => {
                write!(f, "registration of node {node}: not signed by both")
            }
            Self::Pair { pair } => write!(f, "pair {pair}: its nodes are not what its id says"),
            Self::Contradiction { pair } => {
                write!(f, "pair {pair}: the proof of a contradiction does not hold")
            }
            Self::Receipt { pair, epoch } => {
                write!(f, "pair {pair}: the receipt of epoch {epoch} does not hold")
            }
            Self::Claimed {
                pair,
                receipts,
                claimed,
            } => {
                write!(f, "pair {pair}: claimed {claimed}, receipts say {receipts}")
            }
            Self::Settled {
                pair,
                settlements,
                settled,
            } => {
                write!(
                    f,
                    "pair {pair}: settled {settled}, settlements say {settlements}"
                )
            }
            Self::Split { pair } => {
                write!(f, "pair {pair}: a debit is not credit and fee")
            }
            Self::Cheque {
                issuer,
                beneficiary,
                settlements,
                cumulative,
            } => write!(
                f,
                "cheque of {issuer} for {beneficiary}: {cumulative}, settlements say {settlements}"
            ),
        }
    }
}
