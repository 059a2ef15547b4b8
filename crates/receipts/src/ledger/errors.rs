//! Why something was dropped, and how often.

use crate::codec::ParseError;
use crate::identity::BadSignature;
use crate::log::Header;
use crate::money::Overflow;
use crate::receipt::ReceiptError;

/// Why a message was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not a message.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// About another network, or not about the sender and this node.
    #[error("not about the sender and this node")]
    Foreign,
    /// A signature is not valid.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// Overtaken by what is known already.
    #[error("out of date")]
    Stale,
    /// Nothing of this kind was asked for.
    #[error("not expected")]
    Unexpected,
    /// The receipt does not fit the account.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// The consumer contradicts what it signed.
    #[error("contradicts what was signed before")]
    Contradiction,
    /// No room for another account.
    #[error("too many accounts")]
    TooManyAccounts,
    /// The log cannot be written and outputs pile up, or the sender's last signatures were not
    /// valid and this one is not even checked.
    #[error("busy")]
    Busy,
    /// Figures out of range.
    #[error(transparent)]
    Overflow(#[from] Overflow),
}

/// Why a ledger cannot begin with a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The recovered state is of another network or node.
    #[error("the recovered state is of node {} in network {}", .0.owner, .0.network)]
    ForeignState(Header),
}

/// Why a count was not taken into an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// Figures out of range.
    #[error(transparent)]
    Overflow(#[from] Overflow),
    /// No room for another account.
    #[error("too many accounts")]
    TooManyAccounts,
}

/// Messages and counts handled, and why others were dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Messages taken in.
    pub accepted: u64,
    /// Dropped: not parsed.
    pub malformed: u64,
    /// Dropped: other network or parties.
    pub foreign: u64,
    /// Dropped: signature not valid.
    pub forged: u64,
    /// Dropped: overtaken or not expected; harmless when messages are repeated.
    pub stale: u64,
    /// Dropped: contradicts the account, or out of range.
    pub inconsistent: u64,
    /// Dropped: the log cannot be written, or too many bad signatures from this neighbor.
    pub busy: u64,
    /// Dropped, messages and counts: no room for another account.
    pub crowded: u64,
    /// Counts dropped: out of range.
    pub uncountable: u64,
}

impl Counters {
    pub(super) const fn count_message(&mut self, result: &Result<(), MessageError>) {
        let counter = match result {
            Ok(()) => &mut self.accepted,
            Err(MessageError::Parse(_)) => &mut self.malformed,
            Err(MessageError::Foreign) => &mut self.foreign,
            Err(MessageError::Signature(_)) => &mut self.forged,
            Err(MessageError::Stale | MessageError::Unexpected) => &mut self.stale,
            Err(MessageError::Busy) => &mut self.busy,
            Err(MessageError::TooManyAccounts) => &mut self.crowded,
            Err(
                MessageError::Receipt(_) | MessageError::Contradiction | MessageError::Overflow(_),
            ) => &mut self.inconsistent,
        };
        *counter = counter.wrapping_add(1);
    }

    pub(super) const fn count_usage(&mut self, result: &Result<(), UsageError>) {
        let counter = match result {
            Ok(()) => return,
            Err(UsageError::Overflow(_)) => &mut self.uncountable,
            Err(UsageError::TooManyAccounts) => &mut self.crowded,
        };
        *counter = counter.wrapping_add(1);
    }
}
