//! Many cheques in one transaction.

use alloy_primitives::{Address, B256, U256};
use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::contracts::SmtChequeBook::{
    Cashed, Refused, SignaturesDoNotMatch, cashCall, cashManyCall,
};
use mesh_tests::harness::plain;

use crate::book::{Book, SMT, Verdict, cheque, ensure_refused};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        plain("a_bad_cheque_spoils_none_of_the_others", bad_among_good),
        plain("whoever_cashes_one_of_many_first_spoils_none", overtaken),
        plain("among_many_a_cheque_pays_once_too", repeated),
        plain("each_cheque_has_a_signature", unequal),
    ]
}

/// Villagers without ether, whose addresses nobody has used before.
fn villagers(count: u8) -> impl Iterator<Item = Address> {
    (1..=count).map(|number| Address::repeat_byte(0x80 | number))
}

fn bad_among_good() -> Result<()> {
    let book = Book::new()?;
    book.enroll(book.payer, 100 * SMT, 100 * SMT)?;
    book.enroll(book.other_payer, SMT, 100 * SMT)?;
    let mut signed: Vec<_> = villagers(50)
        .map(|villager| book.cheque(book.payer, villager, SMT))
        .collect();
    let forged = cheque(book.payer, book.provider, 2 * SMT);
    signed[3] = (forged.clone(), signed[4].1.clone());
    signed[10] = book.cheque(book.payer, Address::ZERO, SMT);
    signed[20] = book.cheque(book.payer, book.provider, 0);
    signed[30].1.r = B256::ZERO;
    signed[40] = book.cheque(book.other_payer, book.provider, SMT);
    signed[41] = book.cheque(book.other_payer, book.provider, 2 * SMT);
    let receipt = book.cash_many(signed)?;
    let refused: Vec<_> = receipt.events::<Refused>(book.address);
    let verdicts: Vec<u8> = refused.iter().map(|event| event.verdict).collect();
    let expected = [
        Verdict::NotSigned,
        Verdict::NoBeneficiary,
        Verdict::NothingDue,
        Verdict::NotSigned,
        Verdict::DepositSpent,
    ];
    ensure!(
        verdicts == expected.map(|verdict| verdict as u8),
        "{verdicts:?}"
    );
    ensure!(refused[0].issuer == forged.issuer && refused[0].beneficiary == forged.beneficiary);
    ensure!(receipt.events::<Cashed>(book.address).len() == 45);
    ensure!(book.balance(book.payer)? == 56 * SMT);
    for (index, villager) in villagers(50).enumerate() {
        let expected = u128::from(![3, 10, 20, 30, 40, 41].contains(&index)) * SMT;
        ensure!(book.tokens(villager)? == expected, "villager {index}");
    }
    book.is_balanced()
}

fn overtaken() -> Result<()> {
    let book = Book::new()?;
    book.enroll(book.payer, 100 * SMT, 100 * SMT)?;
    let signed: Vec<_> = villagers(3)
        .map(|villager| book.cheque(book.payer, villager, SMT))
        .collect();
    let (cheque, signature) = signed[1].clone();
    book.send(book.other_provider, &cashCall { cheque, signature })?;
    let (cheques, signatures) = signed.clone().into_iter().unzip();
    let total = book.ask(&cashManyCall {
        cheques,
        signatures,
    })?;
    ensure!(total == U256::from(2 * SMT), "foretold {total}");
    book.cash_many(signed.clone())?;
    let receipt = book.cash_many(signed)?;
    ensure!(receipt.events::<Refused>(book.address).len() == 3);
    for villager in villagers(3) {
        ensure!(book.tokens(villager)? == SMT);
    }
    book.is_balanced()
}

fn repeated() -> Result<()> {
    let book = Book::new()?;
    book.enroll(book.payer, 100 * SMT, 4 * SMT)?;
    let signed = [2, 2, 1, 3, 2, 9, 9]
        .map(|cumulative| book.cheque(book.payer, book.provider, cumulative * SMT));
    let receipt = book.cash_many(signed.to_vec())?;
    let amounts: Vec<U256> = receipt
        .events::<Cashed>(book.address)
        .iter()
        .map(|event| event.amount)
        .collect();
    ensure!(
        amounts == [2 * SMT, SMT, SMT].map(U256::from),
        "{amounts:?}"
    );
    let refused = receipt.events::<Refused>(book.address);
    let last = refused.last().map(|event| event.verdict);
    ensure!(last == Some(Verdict::AllowanceSpent as u8), "{last:?}");
    ensure!(book.tokens(book.provider)? == 4 * SMT);
    book.is_balanced()
}

fn unequal() -> Result<()> {
    let book = Book::new()?;
    book.enroll(book.payer, 100 * SMT, 4 * SMT)?;
    let (cheque, signature) = book.cheque(book.payer, book.provider, SMT);
    let call = cashManyCall {
        cheques: vec![cheque.clone(), cheque],
        signatures: vec![signature],
    };
    let reason = SignaturesDoNotMatch {
        cheques: U256::from(2),
        signatures: U256::from(1),
    };
    ensure_refused(book.send(book.anybody, &call), &reason)?;
    ensure!(book.cash_many(Vec::new())?.event_count(book.address) == 0);
    book.is_balanced()
}
