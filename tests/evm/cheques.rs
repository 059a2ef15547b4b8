//! One cheque at a time: when it pays, how much, and to whom.

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolConstructor;
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::chain::CHAIN_ID;
use mesh_tests::contracts::SmtChequeBook::{
    Cashed, cashCall, cashableCall, constructorCall, paidCall,
};
use mesh_tests::contracts::{Cheque, SettlementKey, Signature, SmtChequeBook, domain};
use mesh_tests::harness::plain;

use crate::book::{Book, EPOCH, SMT, Verdict, cheque, ensure_unpaid, only_event};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        plain("a_cheque_pays_what_is_due_once", once),
        plain("anybody_may_cash_and_the_beneficiary_is_paid", anybody),
        plain("a_cheque_draws_on_its_issuer_alone", issuer_alone),
        plain("only_the_settlement_key_signs", wrong_signer),
        plain(
            "a_signature_is_for_one_chain_and_one_cheque_book",
            wrong_domain,
        ),
        plain("a_signature_has_one_form", wrong_form),
        plain("nobody_is_no_beneficiary", nobody),
        plain("an_allowance_lasts_until_its_epoch_ends", allowance),
        plain("what_the_deposit_cannot_pay_stays_due", deposit),
    ]
}

fn once() -> Result<()> {
    let book = Book::new()?;
    book.enroll(book.payer, 9 * SMT, 100 * SMT)?;
    let receipt = book.cash(book.payer, book.provider, 2 * SMT)?;
    let event: Cashed = receipt.events(book.address).pop().context("no event")?;
    ensure!(event.issuer == book.payer && event.beneficiary == book.provider);
    ensure!(event.amount == U256::from(2 * SMT) && event.total == U256::from(2 * SMT));

    let again = book.cash(book.payer, book.provider, 2 * SMT);
    ensure_unpaid(again, Verdict::NothingDue)?;
    let receipt = book.cash(book.payer, book.provider, 5 * SMT)?;
    let event: Cashed = only_event(&book, &receipt)?;
    ensure!(event.amount == U256::from(3 * SMT) && event.total == U256::from(5 * SMT));
    for replayed in [5 * SMT, 2 * SMT, 3 * SMT, 0] {
        let replay = book.cash(book.payer, book.provider, replayed);
        ensure_unpaid(replay, Verdict::NothingDue)?;
    }
    ensure!(book.tokens(book.provider)? == 5 * SMT);
    let paid = book.ask(&paidCall {
        issuer: book.payer,
        beneficiary: book.provider,
    })?;
    ensure!(paid == U256::from(5 * SMT));
    book.is_balanced()
}

fn anybody() -> Result<()> {
    let book = Book::new()?;
    book.enroll(book.payer, 9 * SMT, 100 * SMT)?;
    let callers = [book.anybody, book.other_provider, book.payer, book.provider];
    for (caller, cumulative) in callers.into_iter().zip(1..) {
        let (cheque, signature) = book.cheque(book.payer, book.provider, cumulative * SMT);
        book.send(caller, &cashCall { cheque, signature })?;
        ensure!(book.tokens(book.provider)? == cumulative * SMT);
    }
    ensure!(book.tokens(book.anybody)? == 0 && book.tokens(book.other_provider)? == 0);
    book.is_balanced()
}

/// One settlement key of two payers, and of one pair in each direction.
fn issuer_alone() -> Result<()> {
    let book = Book::new()?;
    book.enroll(book.payer, 2 * SMT, 100 * SMT)?;
    book.enroll(book.other_payer, 9 * SMT, 100 * SMT)?;
    book.cash(book.payer, book.provider, 5 * SMT)?;
    ensure!(book.balance(book.payer)? == 0 && book.balance(book.other_payer)? == 9 * SMT);
    book.cash(book.other_payer, book.provider, SMT)?;
    book.cash(book.other_payer, book.other_provider, SMT)?;
    ensure!(book.tokens(book.provider)? == 3 * SMT);
    ensure!(book.tokens(book.other_provider)? == SMT);
    let nobodys = book.cash(book.anybody, book.provider, SMT);
    ensure_unpaid(nobodys, Verdict::NotSigned)?;
    book.is_balanced()
}

fn wrong_signer() -> Result<()> {
    let book = Book::new()?;
    book.enroll(book.payer, 9 * SMT, 100 * SMT)?;
    let (good, signature) = book.cheque(book.payer, book.provider, SMT);
    let forger = SettlementKey::from_seed("forger")?;
    let forged = forger.sign(book.address, &good);
    ensure_unsigned(&book, &good, &forged)?;
    for changed in [
        cheque(book.other_payer, book.provider, SMT),
        cheque(book.payer, book.other_provider, SMT),
        cheque(book.payer, book.provider, SMT + 1),
    ] {
        ensure_unsigned(&book, &changed, &signature)?;
    }
    // A payer's own name under its cheque is worth nothing either.
    book.authorize(book.other_payer, forger.address(), SMT)?;
    ensure_unsigned(&book, &good, &forged)?;
    ensure!(book.tokens(book.provider)? == 0);
    pays(&book, good, signature)
}

fn wrong_domain() -> Result<()> {
    let book = Book::new()?;
    book.enroll(book.payer, 9 * SMT, 100 * SMT)?;
    let arguments = constructorCall { token_: book.token }.abi_encode();
    let code = [SmtChequeBook::BYTECODE.as_ref(), &arguments].concat();
    let other_book = book.chain.deploy(book.chain.account(0)?, code)?;
    let (good, signature) = book.cheque(book.payer, book.provider, SMT);

    let right = domain(CHAIN_ID, book.address);
    let mut wrong = vec![
        domain(1, book.address),
        domain(CHAIN_ID, other_book),
        domain(CHAIN_ID, book.token),
    ];
    wrong.extend([right.clone(), right.clone(), right.clone(), right]);
    wrong[3].chain_id = None;
    wrong[4].verifying_contract = None;
    wrong[5].name = Some("SmtChequebook".into());
    wrong[6].version = Some("2".into());
    for domain in &wrong {
        ensure_unsigned(&book, &good, &book.key.sign_for(domain, &good))?;
    }
    pays(&book, good, signature)
}

fn wrong_form() -> Result<()> {
    let book = Book::new()?;
    book.enroll(book.payer, 9 * SMT, 100 * SMT)?;
    let (good, signature) = book.cheque(book.payer, book.provider, SMT);
    let nothing = Signature {
        r: B256::ZERO,
        vs: B256::ZERO,
    };
    let mut other_parity = signature.clone();
    other_parity.vs.0[0] ^= 0x80;
    let mut swapped = signature.clone();
    (swapped.r, swapped.vs) = (signature.vs, signature.r);
    for wrong in [nothing.clone(), other_parity, swapped] {
        ensure_unsigned(&book, &good, &wrong)?;
    }
    // To whoever has named no key, what is no signature is no key's either.
    let unnamed = cheque(book.other_payer, book.provider, SMT);
    book.deposit(book.other_payer, book.other_payer, SMT)?;
    ensure_unsigned(&book, &unnamed, &nothing)?;
    pays(&book, good, signature)
}

fn nobody() -> Result<()> {
    let book = Book::new()?;
    book.enroll(book.payer, 9 * SMT, 100 * SMT)?;
    for beneficiary in [Address::ZERO, book.address] {
        let refused = book.cash(book.payer, beneficiary, SMT);
        ensure_unpaid(refused, Verdict::NoBeneficiary)?;
    }
    book.is_balanced()
}

fn allowance() -> Result<()> {
    let book = Book::new()?;
    book.enroll(book.payer, 9 * SMT, 2 * SMT)?;
    let cashable = || book.ask(&cashableCall { issuer: book.payer });
    let midnight = (book.chain.now()? / EPOCH + 1) * EPOCH;
    let receipt = book.cash(book.payer, book.provider, 5 * SMT)?;
    ensure!(cashable()? == U256::ZERO, "the allowance is spent");
    let event: Cashed = only_event(&book, &receipt)?;
    ensure!(event.amount == U256::from(2 * SMT), "paid {}", event.amount);

    book.chain.next_at(midnight - 1)?;
    let spent = book.cash(book.payer, book.other_provider, SMT);
    ensure_unpaid(spent, Verdict::AllowanceSpent)?;
    book.chain.pass_until(midnight)?;
    ensure!(cashable()? == U256::from(2 * SMT), "a new allowance");
    book.cash(book.payer, book.other_provider, SMT)?;
    book.cash(book.payer, book.provider, 5 * SMT)?;
    ensure!(book.tokens(book.provider)? == 3 * SMT, "what is left of it");
    // What was not used in an epoch is not added to another.
    book.chain.pass(3 * EPOCH)?;
    book.cash(book.payer, book.other_provider, 9 * SMT)?;
    ensure!(book.tokens(book.other_provider)? == 3 * SMT);
    book.is_balanced()
}

fn deposit() -> Result<()> {
    let book = Book::new()?;
    book.enroll(book.payer, 2 * SMT, 100 * SMT)?;
    book.cash(book.payer, book.provider, 5 * SMT)?;
    ensure!(book.tokens(book.provider)? == 2 * SMT);
    let spent = book.cash(book.payer, book.provider, 5 * SMT);
    ensure_unpaid(spent, Verdict::DepositSpent)?;
    book.deposit(book.payer, book.payer, 9 * SMT)?;
    book.cash(book.payer, book.provider, 5 * SMT)?;
    ensure!(book.tokens(book.provider)? == 5 * SMT);
    book.is_balanced()
}

fn ensure_unsigned(book: &Book, cheque: &Cheque, signature: &Signature) -> Result<()> {
    let (cheque, signature) = (cheque.clone(), signature.clone());
    let call = cashCall { cheque, signature };
    ensure_unpaid(book.ask(&call), Verdict::NotSigned)?;
    ensure_unpaid(book.send(book.anybody, &call), Verdict::NotSigned)
}

/// What was refused was refused for what was wrong with it.
fn pays(book: &Book, cheque: Cheque, signature: Signature) -> Result<()> {
    let cumulative = cheque.cumulative;
    let call = cashCall { cheque, signature };
    ensure!(book.ask(&call)? == cumulative, "foretold");
    let receipt = book.send(book.anybody, &call)?;
    only_event::<Cashed>(book, &receipt).map(drop)?;
    book.is_balanced()
}
