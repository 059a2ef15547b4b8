//! What payers do: deposits, keys, allowances, withdrawals.

use alloy_primitives::{Address, U256};
use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::contracts::SettlementKey;
use mesh_tests::contracts::SmtChequeBook::{
    Authorized, Cashed, ChangeRequested, Deposited, MoreThanDeposited, NothingRequested, TooEarly,
    WithdrawalRequested, Withdrawn, cashCall, reliableCall,
};
use mesh_tests::harness::plain;

use crate::book::{
    Book, EPOCH, LOCK, PURSE, SMT, Verdict, cheque, ensure_refused, ensure_unpaid, only_event,
};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        plain("a_deposit_is_its_payers_whoever_made_it", deposits),
        plain("a_withdrawal_waits_for_three_days", withdrawal),
        plain(
            "a_withdrawal_can_be_changed_and_taken_back",
            withdrawal_changed,
        ),
        plain(
            "cheques_come_before_a_withdrawal_that_waits",
            withdrawal_race,
        ),
        plain("what_may_be_taken_back_is_not_relied_on", reliable),
        plain("the_first_key_and_more_for_it_need_no_lock", at_once),
        plain(
            "another_key_waits_and_the_former_signs_till_then",
            another_key,
        ),
        plain(
            "a_smaller_allowance_waits_and_can_be_taken_back",
            smaller_allowance,
        ),
        plain(
            "a_stolen_key_gets_an_allowance_a_day_until_it_is_replaced",
            stolen_key,
        ),
    ]
}

fn deposits() -> Result<()> {
    let book = Book::new()?;
    let receipt = book.deposit(book.other_payer, book.payer, 5 * SMT)?;
    let event: Deposited = only_event(&book, &receipt)?;
    ensure!(event.payer == book.payer && event.from == book.other_payer);
    ensure!(event.amount == U256::from(5 * SMT));
    book.deposit(book.payer, book.payer, 2 * SMT)?;
    ensure!(book.balance(book.payer)? == 7 * SMT);
    ensure!(book.balance(book.other_payer)? == 0);
    ensure!(book.tokens(book.other_payer)? == PURSE - 5 * SMT);
    let more = MoreThanDeposited {
        amount: U256::from(1),
        balance: U256::ZERO,
    };
    ensure_refused(book.request_withdrawal(book.other_payer, 1), &more)?;
    ensure!(
        book.deposit(book.payer, book.payer, PURSE).is_err(),
        "more than there was"
    );
    book.is_balanced()
}

fn withdrawal() -> Result<()> {
    let book = Book::new()?;
    book.deposit(book.payer, book.payer, 5 * SMT)?;
    ensure_refused(book.withdraw(book.payer), &NothingRequested {})?;
    let receipt = book.request_withdrawal(book.payer, 3 * SMT)?;
    let ready = book.chain.now()? + LOCK;
    let event: WithdrawalRequested = only_event(&book, &receipt)?;
    ensure!(event.payer == book.payer && event.amount == U256::from(3 * SMT));
    ensure!(event.withdrawAt == U256::from(ready));

    book.chain.next_at(ready - 1)?;
    let early = TooEarly {
        readyAt: U256::from(ready),
    };
    ensure_refused(book.withdraw(book.payer), &early)?;
    ensure_refused(book.withdraw(book.other_payer), &NothingRequested {})?;
    book.chain.pass_until(ready)?;
    let receipt = book.withdraw(book.payer)?;
    let event: Withdrawn = only_event(&book, &receipt)?;
    ensure!(event.payer == book.payer && event.amount == U256::from(3 * SMT));
    ensure!(book.tokens(book.payer)? == PURSE - 2 * SMT);
    ensure_refused(book.withdraw(book.payer), &NothingRequested {})?;
    book.is_balanced()
}

fn withdrawal_changed() -> Result<()> {
    let book = Book::new()?;
    book.deposit(book.payer, book.payer, 5 * SMT)?;
    book.request_withdrawal(book.payer, SMT)?;
    book.chain.pass(LOCK)?;
    book.request_withdrawal(book.payer, 5 * SMT)?;
    let early = TooEarly {
        readyAt: U256::from(book.chain.now()? + LOCK),
    };
    ensure_refused(book.withdraw(book.payer), &early)?;
    book.chain.pass(LOCK)?;
    let receipt = book.request_withdrawal(book.payer, 0)?;
    let event: WithdrawalRequested = only_event(&book, &receipt)?;
    ensure!(event.amount == U256::ZERO && event.withdrawAt == U256::ZERO);
    ensure_refused(book.withdraw(book.payer), &NothingRequested {})?;
    ensure!(book.balance(book.payer)? == 5 * SMT);
    book.is_balanced()
}

fn withdrawal_race() -> Result<()> {
    let book = Book::new()?;
    book.enroll(book.payer, 5 * SMT, 100 * SMT)?;
    book.request_withdrawal(book.payer, 5 * SMT)?;
    // In the last second of the lock, and even after it: whoever is in the block first.
    book.chain.next_at(book.chain.now()? + LOCK - 1)?;
    book.cash(book.payer, book.provider, 3 * SMT)?;
    book.chain.pass(LOCK)?;
    book.cash(book.payer, book.provider, 4 * SMT)?;
    let receipt = book.withdraw(book.payer)?;
    let event: Withdrawn = only_event(&book, &receipt)?;
    ensure!(event.amount == U256::from(SMT), "what cheques have left");
    ensure!(book.tokens(book.provider)? == 4 * SMT);
    let late = book.cash(book.payer, book.provider, 5 * SMT);
    ensure_unpaid(late, Verdict::DepositSpent)?;
    book.is_balanced()
}

/// A request that stands is a warning that lasts: with it, nothing else can be taken back without.
fn reliable() -> Result<()> {
    let book = Book::new()?;
    let reliable = || book.ask(&reliableCall { payer: book.payer });
    book.enroll(book.payer, 5 * SMT, 100 * SMT)?;
    ensure!(reliable()? == U256::from(5 * SMT));
    book.request_withdrawal(book.payer, 4 * SMT)?;
    ensure!(reliable()? == U256::from(SMT));
    book.chain.pass(100 * LOCK)?;
    book.cash(book.payer, book.provider, 2 * SMT)?;
    ensure!(reliable()? == U256::ZERO, "less than was asked for");
    book.deposit(book.payer, book.payer, SMT)?;
    ensure!(reliable()? == U256::ZERO, "all of it can be withdrawn");
    book.withdraw(book.payer)?;
    ensure!(book.tokens(book.payer)? == PURSE - 2 * SMT, "and was");

    book.deposit(book.payer, book.payer, SMT)?;
    ensure!(reliable()? == U256::from(SMT));
    book.authorize(book.payer, Address::ZERO, 0)?;
    ensure!(reliable()? == U256::ZERO, "the key may change any time");
    book.chain.pass(LOCK)?;
    book.apply_change(book.payer)?;
    ensure!(reliable()? == U256::from(SMT));
    book.is_balanced()
}

fn at_once() -> Result<()> {
    let book = Book::new()?;
    book.deposit(book.payer, book.payer, 9 * SMT)?;
    let unnamed = book.cash(book.payer, book.provider, SMT);
    ensure_unpaid(unnamed, Verdict::NotSigned)?;
    let receipt = book.authorize(book.payer, book.key.address(), SMT)?;
    let event: Authorized = only_event(&book, &receipt)?;
    ensure!(event.payer == book.payer && event.settlementKey == book.key.address());
    ensure!(event.allowance == U256::from(SMT));
    book.cash(book.payer, book.provider, 2 * SMT)?;
    ensure!(book.tokens(book.provider)? == SMT, "the allowance");
    let receipt = book.authorize(book.payer, book.key.address(), 3 * SMT)?;
    only_event::<Authorized>(&book, &receipt)?;
    book.cash(book.payer, book.provider, 9 * SMT)?;
    ensure!(
        book.tokens(book.provider)? == 3 * SMT,
        "what was spent before counts"
    );
    book.is_balanced()
}

fn another_key() -> Result<()> {
    let book = Book::new()?;
    let other = SettlementKey::from_seed("another settlement key")?;
    book.enroll(book.payer, 9 * SMT, 100 * SMT)?;
    let receipt = book.authorize(book.payer, other.address(), 2 * SMT)?;
    let ready = book.chain.now()? + LOCK;
    let event: ChangeRequested = only_event(&book, &receipt)?;
    ensure!(event.payer == book.payer && event.settlementKey == other.address());
    ensure!(event.allowance == U256::from(2 * SMT) && event.changeAt == U256::from(ready));
    let early = TooEarly {
        readyAt: U256::from(ready),
    };
    book.chain.next_at(ready - 1)?;
    ensure_refused(book.apply_change(book.payer), &early)?;

    let new = cheque(book.payer, book.provider, 4 * SMT);
    let cash = cashCall {
        signature: other.sign(book.address, &new),
        cheque: new,
    };
    ensure_unpaid(book.send(book.anybody, &cash), Verdict::NotSigned)?;
    book.cash(book.payer, book.provider, 3 * SMT)?;
    book.chain.pass_until(ready)?;
    let receipt = book.apply_change(book.payer)?;
    let event: Authorized = only_event(&book, &receipt)?;
    ensure!(event.settlementKey == other.address() && event.allowance == U256::from(2 * SMT));
    ensure_refused(book.apply_change(book.payer), &NothingRequested {})?;
    let old = book.cash(book.payer, book.provider, 5 * SMT);
    ensure_unpaid(old, Verdict::NotSigned)?;
    // What was paid on cheques of the key before is paid.
    let receipt = book.send(book.anybody, &cash)?;
    let event: Cashed = only_event(&book, &receipt)?;
    ensure!(event.amount == U256::from(SMT) && event.total == U256::from(4 * SMT));
    book.is_balanced()
}

fn smaller_allowance() -> Result<()> {
    let book = Book::new()?;
    book.enroll(book.payer, 9 * SMT, 3 * SMT)?;
    let receipt = book.authorize(book.payer, book.key.address(), SMT)?;
    only_event::<ChangeRequested>(&book, &receipt)?;
    book.cash(book.payer, book.provider, 3 * SMT)?;
    ensure!(book.tokens(book.provider)? == 3 * SMT, "not smaller yet");
    // What is already so is harmless, and takes the request back.
    book.authorize(book.payer, book.key.address(), 3 * SMT)?;
    book.chain.pass(LOCK)?;
    ensure_refused(book.apply_change(book.payer), &NothingRequested {})?;

    book.authorize(book.payer, book.key.address(), SMT)?;
    book.chain.pass(LOCK)?;
    book.cash(book.payer, book.provider, 5 * SMT)?;
    book.apply_change(book.payer)?;
    let spent = book.cash(book.payer, book.provider, 6 * SMT);
    ensure_unpaid(spent, Verdict::AllowanceSpent)?;
    book.is_balanced()
}

/// Found out at the worst moment, at the end of an epoch, and answered at once.
fn stolen_key() -> Result<()> {
    let book = Book::new()?;
    book.enroll(book.payer, 100 * SMT, 2 * SMT)?;
    let midnight = (book.chain.now()? / EPOCH + 1) * EPOCH;
    book.chain.next_at(midnight - 1)?;
    book.cash(book.payer, book.provider, 100 * SMT)?;
    book.authorize(book.payer, Address::ZERO, 0)?;
    let ready = book.chain.now()? + LOCK;
    let mut robberies = 1;
    for hour in 1..72 {
        book.chain.pass_until(midnight + hour * 3600 - 3600)?;
        match book.cash(book.payer, book.provider, 100 * SMT) {
            Ok(_) => robberies += 1,
            refused => ensure_unpaid(refused, Verdict::AllowanceSpent)?,
        }
    }
    book.chain.pass_until(ready)?;
    book.apply_change(book.payer)?;
    let after = book.cash(book.payer, book.provider, 100 * SMT);
    ensure_unpaid(after, Verdict::NotSigned)?;
    ensure!(robberies == 4, "{robberies} robberies");
    ensure!(book.tokens(book.provider)? == 4 * 2 * SMT);
    book.is_balanced()
}
