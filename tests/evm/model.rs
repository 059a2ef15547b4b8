//! Whatever people do in whatever order: the contract does what a small model of it does, and
//! nothing is paid that was not deposited.

use std::collections::BTreeMap;
use std::iter;

use alloy_primitives::{Address, U256};
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::chain::{Receipt, Reverted};
use mesh_tests::contracts::SmtChequeBook::{Account, Cashed, cashCall, paidCall};
use mesh_tests::contracts::{Cheque, SettlementKey, Signature};
use mesh_tests::harness::plain;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::book::{Book, EPOCH, LOCK, PURSE, cheque};

pub(crate) fn tests() -> Vec<Trial> {
    vec![plain(
        "anything_in_any_order_does_what_the_model_does",
        sequences,
    )]
}

const SEEDS: u64 = 6;
const STEPS: usize = 150;
const PEOPLE: usize = 3;

fn sequences() -> Result<()> {
    let mut paid = 0;
    for seed in 0..SEEDS {
        let mut world = World::new(seed)?;
        for step in 0..STEPS {
            world
                .step()
                .with_context(|| format!("seed {seed}, step {step}"))?;
        }
        paid += world.paid.values().sum::<u128>();
    }
    ensure!(paid > 1000, "only {paid} was paid: nothing was tried");
    Ok(())
}

/// What the contract should know of a payer. Keys are numbers; 0 is none.
#[derive(Clone, Copy, Debug, Default)]
struct Payer {
    deposited: u128,
    withdrawn: u128,
    spent: u128,
    spent_today: u128,
    day: u64,
    key: usize,
    allowance: u128,
    change: Option<(usize, u128, u64)>,
    withdrawal: Option<(u128, u64)>,
}

impl Payer {
    fn balance(&self) -> u128 {
        self.deposited - self.withdrawn - self.spent
    }

    fn allowed(&self, now: u64) -> u128 {
        let spent = if self.day == now / EPOCH {
            self.spent_today
        } else {
            0
        };
        self.allowance.saturating_sub(spent)
    }
}

/// The contract, and beside it the model. Everybody pays, and everybody is paid.
struct World {
    book: Book,
    random: ChaCha8Rng,
    people: Vec<Address>,
    keys: Vec<SettlementKey>,
    payers: [Payer; PEOPLE],
    paid: BTreeMap<(usize, usize), u128>,
    now: u64,
}

impl World {
    fn new(seed: u64) -> Result<Self> {
        let book = Book::new()?;
        book.fund(book.provider, PURSE)?;
        let keys = ["none", "one", "two"].map(SettlementKey::from_seed);
        Ok(Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            people: vec![book.payer, book.other_payer, book.provider],
            keys: keys.into_iter().collect::<Result<_>>()?,
            payers: [Payer::default(); PEOPLE],
            paid: BTreeMap::new(),
            now: book.chain.now()?,
            book,
        })
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random.next_u64() % bound
    }

    fn person(&mut self) -> usize {
        self.below(PEOPLE as u64) as usize
    }

    /// Somebody does something, and then everything is as the model says.
    fn step(&mut self) -> Result<()> {
        let pause = [1, 60, EPOCH / 3, EPOCH, LOCK];
        self.now += pause[self.below(5) as usize];
        self.book.chain.next_at(self.now)?;
        let who = self.person();
        match self.below(9) {
            0 => self.deposit(who),
            1 => self.authorize(who),
            2 => self.apply_change(who),
            3 => self.request_withdrawal(who),
            4 => self.withdraw(who),
            5 => self.cash_many(),
            _ => self.cash(who),
        }?;
        (0..PEOPLE).try_for_each(|who| self.compare(who))?;
        self.conserved()
    }

    fn deposit(&mut self, who: usize) -> Result<()> {
        let (amount, from) = (u128::from(self.below(100)), self.person());
        let (from, payer) = (self.people[from], self.people[who]);
        self.book.deposit(from, payer, amount)?;
        self.payers[who].deposited += amount;
        Ok(())
    }

    fn authorize(&mut self, who: usize) -> Result<()> {
        let (key, allowance) = (self.below(3) as usize, u128::from(self.below(60)));
        let address = self.key_address(key);
        self.book.authorize(self.people[who], address, allowance)?;
        let payer = &mut self.payers[who];
        if payer.key == 0 || (payer.key == key && payer.allowance <= allowance) {
            (payer.key, payer.allowance, payer.change) = (key, allowance, None);
        } else {
            payer.change = Some((key, allowance, self.now + LOCK));
        }
        Ok(())
    }

    fn apply_change(&mut self, who: usize) -> Result<()> {
        let done = done(self.book.apply_change(self.people[who]))?;
        let payer = &mut self.payers[who];
        let ready = payer.change.filter(|(_, _, at)| *at <= self.now);
        ensure!(
            done.is_some() == ready.is_some(),
            "applied, or not: {payer:?}"
        );
        if let Some((key, allowance, _)) = ready {
            (payer.key, payer.allowance, payer.change) = (key, allowance, None);
        }
        Ok(())
    }

    fn request_withdrawal(&mut self, who: usize) -> Result<()> {
        let amount = u128::from(self.below(120));
        let done = done(self.book.request_withdrawal(self.people[who], amount))?;
        let payer = &mut self.payers[who];
        let enough = amount <= payer.balance();
        ensure!(done.is_some() == enough, "requested, or not: {payer:?}");
        if enough {
            payer.withdrawal = (amount > 0).then_some((amount, self.now + LOCK));
        }
        Ok(())
    }

    fn withdraw(&mut self, who: usize) -> Result<()> {
        let done = done(self.book.withdraw(self.people[who]))?;
        let payer = &mut self.payers[who];
        let ready = payer.withdrawal.filter(|(_, at)| *at <= self.now);
        ensure!(
            done.is_some() == ready.is_some(),
            "withdrawn, or not: {payer:?}"
        );
        if let Some((amount, _)) = ready {
            payer.withdrawn += amount.min(payer.balance());
            payer.withdrawal = None;
        }
        Ok(())
    }

    fn cash(&mut self, who: usize) -> Result<()> {
        let (drawn, to, cumulative, key) = self.draw(who);
        let call = cashCall {
            cheque: drawn.0,
            signature: drawn.1,
        };
        let done = done(self.book.send(self.book.anybody, &call))?;
        let amount = self.pay(who, to, cumulative, key);
        ensure!(done.is_some() == (amount > 0), "paid, or not: {amount}");
        let events = done.map(|receipt| receipt.events::<Cashed>(self.book.address));
        let told = events.iter().flatten().map(|event| event.amount).next();
        ensure!(
            told.unwrap_or_default() == U256::from(amount),
            "{told:?}, not {amount}"
        );
        Ok(())
    }

    fn cash_many(&mut self) -> Result<()> {
        let (mut signed, mut amounts) = (Vec::new(), Vec::new());
        for _ in 0..self.below(6) {
            let who = self.person();
            let (drawn, to, cumulative, key) = self.draw(who);
            signed.push(drawn);
            amounts.push(self.pay(who, to, cumulative, key));
        }
        let receipt = self.book.cash_many(signed)?;
        let told = receipt.events::<Cashed>(self.book.address);
        let told = told.iter().map(|event| event.amount);
        let paid = amounts.iter().filter(|amount| **amount > 0);
        ensure!(
            told.eq(paid.map(|amount| U256::from(*amount))),
            "not {amounts:?}"
        );
        Ok(())
    }

    /// A cheque to somebody, mostly for more than before, and by one of the two keys.
    fn draw(&mut self, who: usize) -> ((Cheque, Signature), usize, u128, usize) {
        let (to, key) = (self.person(), 1 + self.below(2) as usize);
        let before = self.paid.get(&(who, to)).copied().unwrap_or_default();
        let cumulative = (before + u128::from(self.below(50))).saturating_sub(10);
        let cheque = cheque(self.people[who], self.people[to], cumulative);
        let signature = self.keys[key].sign(self.book.address, &cheque);
        ((cheque, signature), to, cumulative, key)
    }

    /// What the model pays on a cheque.
    fn pay(&mut self, who: usize, to: usize, cumulative: u128, key: usize) -> u128 {
        let payer = &mut self.payers[who];
        let before = self.paid.entry((who, to)).or_default();
        if payer.key != key {
            return 0;
        }
        let due = cumulative.saturating_sub(*before);
        let allowed = payer.allowed(self.now);
        let amount = due.min(payer.balance()).min(allowed);
        if amount > 0 {
            payer.spent_today = payer.allowance - allowed + amount;
            payer.day = self.now / EPOCH;
            payer.spent += amount;
            *before += amount;
        }
        amount
    }

    fn key_address(&self, key: usize) -> Address {
        match key {
            0 => Address::ZERO,
            _ => self.keys[key].address(),
        }
    }

    fn compare(&self, who: usize) -> Result<()> {
        let account = self.book.account(self.people[who])?;
        let payer = &self.payers[who];
        let Account {
            balance,
            allowance,
            settlementKey,
            ..
        } = account;
        let same = balance.to::<u128>() == payer.balance()
            && allowance.to::<u128>() == payer.allowance
            && settlementKey == self.key_address(payer.key)
            && account.changeAt == payer.change.map_or(0, |(_, _, at)| at)
            && account.withdrawAt == payer.withdrawal.map_or(0, |(_, at)| at);
        ensure!(same, "person {who}: {payer:?}");
        let issued = self.paid.iter().filter(|((from, _), _)| *from == who);
        ensure!(issued.map(|(_, amount)| amount).sum::<u128>() == payer.spent);
        ensure!(payer.spent + payer.withdrawn <= payer.deposited);
        for to in 0..PEOPLE {
            let paid = self.book.ask(&paidCall {
                issuer: self.people[who],
                beneficiary: self.people[to],
            })?;
            let expected = self.paid.get(&(who, to)).copied().unwrap_or_default();
            ensure!(
                paid == U256::from(expected),
                "{who} to {to}: {paid}, not {expected}"
            );
        }
        Ok(())
    }

    /// However they pay each other, all of them together have what they had.
    fn conserved(&self) -> Result<()> {
        let book = self.book.tokens(self.book.address)?;
        let owed: u128 = self.payers.iter().map(Payer::balance).sum();
        ensure!(book == owed, "the book has {book}, and owes {owed}");
        let people = self.people.iter().map(|person| self.book.tokens(*person));
        let all = people.chain(iter::once(Ok(book))).sum::<Result<u128>>()?;
        ensure!(all == PEOPLE as u128 * PURSE, "{all} in all");
        Ok(())
    }
}

/// What was done, or nothing if the contract refused.
fn done(result: Result<Receipt>) -> Result<Option<Receipt>> {
    match result {
        Ok(receipt) => Ok(Some(receipt)),
        Err(error) if error.is::<Reverted>() => Ok(None),
        Err(error) => Err(error),
    }
}
