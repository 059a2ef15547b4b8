//! Accounts that were found to be no payers, so that nobody has the chain asked for them again and again.
//!
//! Of one block only: in the next, each of them may have a deposit.

use std::collections::BTreeSet;

use alloy_primitives::Address;
use ethereum::rpc::BlockTag;

/// No more are remembered: whatever comes on top is asked for, as often as its client may ask.
const REMEMBERED: usize = 10_000;

/// Those of the newest block that was asked.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    block: Option<BlockTag>,
    accounts: BTreeSet<Address>,
}

impl Strangers {
    /// Which of the accounts have to be asked for in this block.
    pub(crate) fn unknown(&self, accounts: &BTreeSet<Address>, at: BlockTag) -> BTreeSet<Address> {
        match self.block == Some(at) {
            true => accounts.difference(&self.accounts).copied().collect(),
            false => accounts.clone(),
        }
    }

    /// These are no payers in this block.
    pub(crate) fn note(&mut self, accounts: impl IntoIterator<Item = Address>, at: BlockTag) {
        if self.block != Some(at) {
            self.block = Some(at);
            self.accounts.clear();
        }
        let room = REMEMBERED.saturating_sub(self.accounts.len());
        self.accounts.extend(accounts.into_iter().take(room));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(numbers: std::ops::Range<u32>) -> BTreeSet<Address> {
        let account = |number: u32| Address::left_padding_from(&number.to_be_bytes());
        numbers.map(account).collect()
    }

    #[test]
    fn they_are_remembered_for_a_block() {
        let (block, next) = (BlockTag::Number(1), BlockTag::Number(2));
        let mut strangers = Strangers::default();
        strangers.note(accounts(0..3), block);
        assert_eq!(strangers.unknown(&accounts(1..5), block), accounts(3..5));
        assert_eq!(strangers.unknown(&accounts(1..5), next), accounts(1..5));
        strangers.note(accounts(4..5), next);
        assert_eq!(strangers.unknown(&accounts(1..5), next), accounts(1..4));
    }

    #[test]
    fn no_crowd_fills_the_memory() {
        let mut strangers = Strangers::default();
        let most = u32::try_from(REMEMBERED).unwrap();
        for crowd in [0..most - 1, most..2 * most] {
            strangers.note(accounts(crowd), BlockTag::Latest);
        }
        assert_eq!(strangers.accounts.len(), REMEMBERED);
    }
}
