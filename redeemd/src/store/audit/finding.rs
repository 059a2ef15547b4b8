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
    /// A pair's seconds of service are not those of its receipts.
    Seconds {
        /// Which pair.
        pair: String,
        /// What the receipts add up to.
        receipts: u64,
        /// What is written.
        seconds: u64,
    },
    /// A pair's rewarded seconds are not those of its settlements.
    Rewarded {
        /// Which pair.
        pair: String,
        /// What the settlements add up to.
        settlements: u64,
        /// What is written.
        rewarded: u64,
    },
    /// Receipts of a pair wait though nothing is due, or none though something is; or it has no place in line.
    Waiting {
        /// Which pair.
        pair: String,
    },
    /// There are receipts or settlements of a pair that is not there.
    NoPair {
        /// Its id.
        pair: String,
    },
    /// It was settled on an account that is not known as a payer's.
    Payer {
        /// Which.
        account: Address,
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
            Self::Seconds {
                pair,
                receipts,
                seconds,
            } => {
                write!(f, "pair {pair}: {seconds} s, receipts say {receipts} s")
            }
            Self::Rewarded {
                pair,
                settlements,
                rewarded,
            } => {
                write!(
                    f,
                    "pair {pair}: {rewarded} s rewarded, settlements say {settlements} s"
                )
            }
            Self::Waiting { pair } => {
                write!(f, "pair {pair}: what waits is not what is due")
            }
            Self::NoPair { pair } => {
                write!(f, "pair {pair}: it is not there, and something of it is")
            }
            Self::Payer { account } => {
                write!(f, "payer {account}: it is not known, and was settled on")
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
