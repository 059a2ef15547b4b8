//! A chain with a cheque book: its rules, in a few lines, and its blocks, of which the newest may vanish.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::Address;
use alloy_sol_types::Eip712Domain;
use ethereum::cheque::SignedCheque;
use receipts::Amount;
use redeemd::room::{Standing, View};

use super::people::settlement_key;
use super::steps::Act;

/// Blocks below the newest one, of which none vanishes any more.
pub(super) const CONFIRMATIONS: usize = 6;
/// How long a lock of the cheque book is, in epochs.
const LOCK_EPOCHS: u128 = 3;
/// Whole ones that are in it wherever it begins.
pub(super) const EPOCHS_IN_LOCK: u128 = 2;

/// A payer's account in the cheque book.
#[derive(Debug, Default, Clone)]
pub(super) struct Deposit {
    pub(super) balance: u128,
    pub(super) allowance: u128,
    spent: u128,
    withdrawing: u128,
    /// Epochs until what was announced may be taken.
    wait: u128,
}

/// What is so in a block.
#[derive(Debug, Default, Clone)]
pub(super) struct Block {
    deposits: BTreeMap<Address, Deposit>,
    paid: BTreeMap<(Address, Address), u128>,
    /// What each account has in its pocket, beside its deposit: may be less than nothing.
    purse: BTreeMap<Address, i128>,
}

#[derive(Debug)]
pub(super) struct Chain {
    domain: Eip712Domain,
    blocks: Vec<Block>,
    /// The longest it ever was.
    longest: usize,
}

/// What a process was told of a payer.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) payer: Address,
    /// The number of the newest block that was known there.
    pub(super) newest: usize,
    /// Of that and of the one that is final.
    pub(super) views: Vec<View>,
}

impl Chain {
    pub(super) fn new(domain: Eip712Domain) -> Self {
        Self {
            domain,
            blocks: vec![Block::default()],
            longest: 0,
        }
    }

    pub(super) fn newest(&self) -> &Block {
        self.blocks.last().expect("never empty")
    }

    pub(super) fn height(&self) -> usize {
        self.blocks.len() - 1
    }

    fn add(&mut self, block: Block) {
        self.blocks.push(block);
        self.longest = self.longest.max(self.height());
    }

    /// One more block, in which something is different.
    pub(super) fn change<T>(&mut self, change: impl FnOnce(&mut Block) -> T) -> T {
        let mut block = self.newest().clone();
        let result = change(&mut block);
        self.add(block);
        result
    }

    /// The newest blocks are gone, but none that was ever final.
    pub(super) fn reorganize(&mut self, blocks: usize) {
        let left = self.height().saturating_sub(blocks);
        let left = left.max(self.longest.saturating_sub(CONFIRMATIONS));
        self.blocks.truncate(left + 1);
    }

    /// A day has many blocks.
    pub(super) fn next_epoch(&mut self) {
        self.change(|block| {
            for deposit in block.deposits.values_mut() {
                deposit.spent = 0;
                deposit.wait = deposit.wait.saturating_sub(1);
            }
        });
        for _ in 0..CONFIRMATIONS {
            self.change(|_| ());
        }
    }

    /// What a node says whose newest block is this one.
    pub(super) fn look(
        &self,
        payer: Address,
        beneficiaries: &BTreeSet<Address>,
        newest: usize,
    ) -> Seen {
        let blocks = [newest, newest.saturating_sub(CONFIRMATIONS)];
        let views = blocks.map(|block| self.view(block, payer, beneficiaries));
        Seen {
            payer,
            newest,
            views: views.into(),
        }
    }

    fn view(&self, number: usize, payer: Address, beneficiaries: &BTreeSet<Address>) -> View {
        let block = &self.blocks[number];
        let deposit = block.deposit(payer);
        let paid = |to: &Address| (*to, Amount::new(block.paid(payer, *to)));
        View {
            block: number as u64,
            standing: Standing {
                reliable: Amount::new(deposit.balance.saturating_sub(deposit.withdrawing)),
                allowance: Amount::new(deposit.allowance),
                names_us: true,
            },
            paid: beneficiaries.iter().map(paid).collect(),
        }
    }

    /// Pays what was signed for this cheque book, and nothing else.
    pub(super) fn present(&mut self, signed: &SignedCheque) -> u128 {
        if signed.signer(&self.domain) != Ok(settlement_key().address()) {
            return 0;
        }
        let cheque = &signed.cheque;
        let cumulative = cheque.cumulative.to();
        self.change(|block| block.cash(cheque.issuer, cheque.beneficiary, cumulative))
    }
}

impl Block {
    pub(super) fn deposit(&self, payer: Address) -> Deposit {
        self.deposits.get(&payer).cloned().unwrap_or_default()
    }

    pub(super) fn paid(&self, issuer: Address, beneficiary: Address) -> u128 {
        let paid = self.paid.get(&(issuer, beneficiary));
        paid.copied().unwrap_or_default()
    }

    fn earn(&mut self, account: Address, amount: u128) {
        *self.purse.entry(account).or_default() += amount.cast_signed();
    }

    /// What an account has in all, which is what it has won.
    pub(super) fn wealth(&self, account: Address) -> i128 {
        let purse = self.purse.get(&account).copied().unwrap_or_default();
        purse + self.deposit(account).balance.cast_signed()
    }

    pub(super) fn act(&mut self, payer: Address, act: Act) {
        let deposit = self.deposits.entry(payer).or_default();
        let earned = match act {
            Act::Deposit(amount) => {
                deposit.balance += amount;
                -amount.cast_signed()
            }
            Act::AllowAtLeast(amount) => {
                deposit.allowance = deposit.allowance.max(amount);
                0
            }
            Act::Announce(amount) => {
                deposit.withdrawing = amount.min(deposit.balance);
                deposit.wait = LOCK_EPOCHS;
                0
            }
            Act::Withdraw if deposit.wait > 0 => 0,
            Act::Withdraw => {
                let amount = deposit.withdrawing.min(deposit.balance);
                deposit.balance -= amount;
                deposit.withdrawing = 0;
                amount.cast_signed()
            }
        };
        *self.purse.entry(payer).or_default() += earned;
    }

    pub(super) fn can_withdraw(&self, payer: Address) -> bool {
        self.deposit(payer).wait == 0
    }

    /// One of the epochs within the lock begins.
    pub(super) fn renew_allowance(&mut self, payer: Address) {
        self.deposits.entry(payer).or_default().spent = 0;
    }

    pub(super) fn cash(&mut self, issuer: Address, beneficiary: Address, cumulative: u128) -> u128 {
        let due = cumulative.saturating_sub(self.paid(issuer, beneficiary));
        let deposit = self.deposits.entry(issuer).or_default();
        let left = deposit.allowance.saturating_sub(deposit.spent);
        let amount = due.min(deposit.balance).min(left);
        deposit.balance -= amount;
        deposit.spent += amount;
        *self.paid.entry((issuer, beneficiary)).or_default() += amount;
        self.earn(beneficiary, amount);
        amount
    }
}
