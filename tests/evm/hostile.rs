//! Tokens that do not behave.

use alloy_primitives::{Bytes, U256};
use alloy_sol_types::{SolCall, SolError, sol};
use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::contracts::SmtChequeBook::{Deposited, cashCall, depositCall, withdrawCall};
use mesh_tests::harness::plain;

use crate::book::{Book, LOCK, PURSE, SMT};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        plain(
            "a_deposit_in_the_middle_of_a_deposit_is_refused",
            deposit_within,
        ),
        plain("a_token_cannot_have_a_cheque_paid_twice", cash_within),
        plain(
            "a_token_cannot_have_a_withdrawal_paid_twice",
            withdraw_within,
        ),
        plain("what_a_token_takes_on_the_way_is_not_credited", fee),
        plain("a_token_that_returns_false_has_not_paid", refusing),
        plain("a_token_that_returns_nothing_pays", silent),
    ]
}

sol! {
    error ReentrancyGuardReentrantCall();

    interface Reentrant {
        function arm(address target, bytes calldata call) external;
        function approveAsToken(address spender, uint256 amount) external;
        function called() external returns (bool);
        function succeeded() external returns (bool);
        function returned() external returns (bytes);
    }

    interface Refusing {
        function refuse() external;
    }
}

/// In its next transfer the token makes this call.
fn arm(book: &Book, call: &impl SolCall) -> Result<()> {
    let arm = Reentrant::armCall {
        target: book.address,
        call: Bytes::from(call.abi_encode()),
    };
    book.chain.send(book.anybody, book.token, &arm).map(drop)
}

/// The call was made, and refused because it came in the middle of another.
fn ensure_kept_out(book: &Book) -> Result<()> {
    let (chain, anybody, token) = (&book.chain, book.anybody, book.token);
    ensure!(
        chain.call(anybody, token, &Reentrant::calledCall {})?,
        "not called"
    );
    ensure!(
        !chain.call(anybody, token, &Reentrant::succeededCall {})?,
        "it got in"
    );
    let said = chain.call(anybody, token, &Reentrant::returnedCall {})?;
    let expected = Bytes::from(ReentrancyGuardReentrantCall {}.abi_encode());
    ensure!(said == expected, "refused with {said}");
    book.is_balanced()
}

/// What arrives is counted before and after: a deposit in between would count for both.
fn deposit_within() -> Result<()> {
    let book = Book::with_hostile("ReentrantToken")?;
    book.give(book.token, 5 * SMT)?;
    let approve = Reentrant::approveAsTokenCall {
        spender: book.address,
        amount: U256::MAX,
    };
    book.chain.send(book.anybody, book.token, &approve)?;
    let inner = depositCall {
        payer: book.payer,
        amount: U256::from(5 * SMT),
    };
    arm(&book, &inner)?;
    book.deposit(book.payer, book.payer, SMT)?;
    ensure_kept_out(&book)?;
    ensure!(book.balance(book.payer)? == SMT);
    Ok(())
}

fn cash_within() -> Result<()> {
    let book = Book::with_hostile("ReentrantToken")?;
    book.enroll(book.payer, 9 * SMT, 100 * SMT)?;
    book.enroll(book.other_payer, 9 * SMT, 100 * SMT)?;
    let (cheque, signature) = book.cheque(book.payer, book.provider, 2 * SMT);
    arm(&book, &cashCall { cheque, signature })?;
    book.cash(book.payer, book.provider, 2 * SMT)?;
    ensure_kept_out(&book)?;
    let (cheque, signature) = book.cheque(book.other_payer, book.provider, SMT);
    arm(&book, &cashCall { cheque, signature })?;
    book.cash_many(vec![book.cheque(book.payer, book.provider, 3 * SMT)])?;
    ensure_kept_out(&book)?;
    ensure!(book.tokens(book.provider)? == 3 * SMT);
    Ok(())
}

fn withdraw_within() -> Result<()> {
    let book = Book::with_hostile("ReentrantToken")?;
    book.deposit(book.other_payer, book.other_payer, 9 * SMT)?;
    book.deposit(book.payer, book.payer, 2 * SMT)?;
    book.request_withdrawal(book.payer, 2 * SMT)?;
    book.chain.pass(LOCK)?;
    arm(&book, &withdrawCall {})?;
    book.withdraw(book.payer)?;
    ensure_kept_out(&book)?;
    ensure!(book.tokens(book.payer)? == PURSE);
    Ok(())
}

fn fee() -> Result<()> {
    let book = Book::with_hostile("FeeToken")?;
    let purse = book.tokens(book.payer)?;
    let receipt = book.deposit(book.payer, book.payer, 10 * SMT)?;
    let events = receipt.events::<Deposited>(book.address);
    ensure!(events.len() == 1 && events[0].amount == U256::from(9 * SMT));
    ensure!(book.balance(book.payer)? == 9 * SMT);
    ensure!(book.tokens(book.payer)? == purse - 10 * SMT);
    book.authorize(book.payer, book.key.address(), 100 * SMT)?;
    book.cash(book.payer, book.provider, 20 * SMT)?;
    ensure!(book.balance(book.payer)? == 0);
    ensure!(book.tokens(book.provider)? == 9 * SMT / 10 * 9);
    book.is_balanced()
}

fn refusing() -> Result<()> {
    let book = Book::with_hostile("RefusingToken")?;
    book.enroll(book.payer, 9 * SMT, 100 * SMT)?;
    book.request_withdrawal(book.payer, 9 * SMT)?;
    book.chain.pass(LOCK)?;
    book.chain
        .send(book.anybody, book.token, &Refusing::refuseCall {})?;
    ensure!(
        book.deposit(book.payer, book.payer, SMT).is_err(),
        "deposited"
    );
    ensure!(book.cash(book.payer, book.provider, SMT).is_err(), "cashed");
    let many = vec![book.cheque(book.payer, book.provider, SMT)];
    ensure!(book.cash_many(many).is_err(), "cashed among many");
    ensure!(book.withdraw(book.payer).is_err(), "withdrawn");
    ensure!(book.balance(book.payer)? == 9 * SMT);
    book.is_balanced()
}

fn silent() -> Result<()> {
    let book = Book::with_hostile("SilentToken")?;
    book.enroll(book.payer, 9 * SMT, 100 * SMT)?;
    book.cash(book.payer, book.provider, SMT)?;
    ensure!(book.tokens(book.provider)? == SMT);
    book.request_withdrawal(book.payer, 8 * SMT)?;
    book.chain.pass(LOCK)?;
    book.withdraw(book.payer)?;
    ensure!(book.tokens(book.payer)? == PURSE - SMT);
    book.is_balanced()
}
