//! How much may be signed on a payer: pure figures.
//!
//! A cheque that has been signed must not bounce, whatever its payer does on the chain. So what is
//! signed and not cashed stays within what the payer cannot take back without a warning, and within
//! what its allowance lets be cashed while such a warning lasts.

use std::collections::BTreeMap;

use alloy_primitives::Address;
use receipts::Amount;

/// Whole epochs in any lock of the cheque book, which is as long as three. A third one begins in it, but may begin
/// just before its end; and what is left of the one in which a payer announces may be spent.
const EPOCHS_IN_LOCK: u128 = 2;

/// What the chain says of a payer, all in one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// What can be counted on: nothing that the payer has announced to take back.
    pub reliable: Amount,
    /// What can be cashed in one epoch.
    pub allowance: Amount,
    /// Whether cheques of ours are worth anything.
    pub names_us: bool,
}

impl Standing {
    /// Whether a cheque could be cashed at all.
    #[must_use]
    pub fn pays(&self) -> bool {
        self.names_us && self.reliable > Amount::ZERO && self.allowance > Amount::ZERO
    }
}

/// A payer in one block, and what was paid on its cheques by then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The number of the block.
    pub block: u64,
    /// What may be counted on.
    pub standing: Standing,
    /// By beneficiary, of all whose cheques may not be cashed.
    pub paid: BTreeMap<Address, Amount>,
}

/// Why no more is signed on a payer for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The payer names another settlement service, or none.
    NotOurPayer,
    /// The deposit is given out, or is being taken back.
    Deposit,
    /// As much is signed as can be cashed within two epochs.
    Allowance,
    /// So many cheques are not cashed that no more are signed.
    Cheques,
    /// A later block has been looked at than the one that this view is of.
    OldView,
}

/// What may be signed on a payer, and what limits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// No more than this.
    pub amount: Amount,
    /// Why.
    pub limit: Limit,
}

/// What may be signed on a payer for whom so much is signed and not cashed in the same block.
#[must_use]
pub fn room(standing: &Standing, outstanding: Amount) -> Room {
    let allowed = standing.allowance.atto_smt().saturating_mul(EPOCHS_IN_LOCK);
    let reliable = standing.reliable.atto_smt();
    let (most, limit) = match () {
        () if !standing.names_us => (0, Limit::NotOurPayer),
        () if allowed < reliable => (allowed, Limit::Allowance),
        () => (reliable, Limit::Deposit),
    };
    let amount = Amount::new(most.saturating_sub(outstanding.atto_smt()));
    Room { amount, limit }
}

/// The least of what several views leave; nothing if nobody has looked.
pub fn least_room(views: &[View], outstanding: impl Fn(&View) -> Amount) -> Room {
    let rooms = views
        .iter()
        .map(|view| room(&view.standing, outstanding(view)));
    rooms.min_by_key(|room| room.amount).unwrap_or(Room {
        amount: Amount::ZERO,
        limit: Limit::NotOurPayer,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(reliable: u128, allowance: u128) -> Standing {
        Standing {
            reliable: Amount::new(reliable),
            allowance: Amount::new(allowance),
            names_us: true,
        }
    }

    fn left(standing: &Standing, outstanding: u128) -> (u128, Limit) {
        let room = room(standing, Amount::new(outstanding));
        (room.amount.atto_smt(), room.limit)
    }

    #[test]
    fn what_is_outstanding_counts_against_the_deposit() {
        assert_eq!(left(&standing(100, 1000), 30), (70, Limit::Deposit));
        assert_eq!(left(&standing(100, 1000), 130), (0, Limit::Deposit));
    }

    #[test]
    fn no_more_is_signed_than_can_be_cashed_within_the_lock() {
        assert_eq!(left(&standing(100, 20), 30), (10, Limit::Allowance));
        assert_eq!(left(&standing(100, u128::MAX), 0), (100, Limit::Deposit));
    }

    #[test]
    fn nothing_is_signed_on_who_names_another() {
        let others = Standing {
            names_us: false,
            ..standing(100, 100)
        };
        assert_eq!(left(&others, 0), (0, Limit::NotOurPayer));
    }
}
