//! What it costs, measured, and written into `docs/gas.md`.

use std::fmt::Write as _;
use std::fs;

use alloy_primitives::{Address, keccak256};
use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use mesh_tests::chain::Receipt;
use mesh_tests::contracts::SmtChequeBook::Cashed;
use mesh_tests::contracts::{Cheque, Signature};
use mesh_tests::harness::plain;

use crate::book::{Book, EPOCH, LOCK, SMT};

pub(crate) fn tests() -> Vec<Trial> {
    vec![plain("gas_is_within_bounds_and_as_documented", gas)]
}

/// How many cheques are many.
const MANY: usize = 50;

/// How far a figure may be from what is documented, in percent. With the same bytecode and the same calls it
/// is the same to the unit; what may change is anvil.
const TOLERANCE: u64 = 2;

/// Some amount as it comes from bytes and prices: not round.
const AMOUNT: u128 = SMT / 7;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/gas.md");

/// One line of the table.
struct Figure {
    what: String,
    gas: u64,
    cheques: u64,
    /// For each cheque.
    limit: Option<u64>,
}

impl Figure {
    fn new(what: &str, receipt: &Receipt, limit: Option<u64>) -> Self {
        Self::of(what.to_owned(), receipt, 1, limit)
    }

    const fn of(what: String, receipt: &Receipt, cheques: u64, limit: Option<u64>) -> Self {
        Self {
            what,
            gas: receipt.gas_used,
            cheques,
            limit,
        }
    }

    fn per_cheque(&self) -> u64 {
        self.gas.div_ceil(self.cheques)
    }

    fn line(&self) -> String {
        let limit = self.limit.map(|limit| limit.to_string());
        format!(
            "| {} | {} | {} | {} |",
            self.what,
            self.gas,
            self.per_cheque(),
            limit.unwrap_or_default()
        )
    }
}

fn gas() -> Result<()> {
    let mut figures = payers()?;
    figures.extend(single_cheques()?);
    figures.extend(one_payer()?);
    figures.extend(one_provider()?);
    figures.extend(village()?);
    figures.extend(strangers()?);
    for figure in &figures {
        let within = figure
            .limit
            .is_none_or(|limit| figure.per_cheque() <= limit);
        ensure!(within, "too much: {}", figure.line());
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        return fs::write(DOCUMENT, document(&figures)?).context(DOCUMENT);
    }
    compare(&fs::read_to_string(DOCUMENT).context(DOCUMENT)?, &figures)
}

fn payers() -> Result<Vec<Figure>> {
    let book = Book::new()?;
    let payer = book.payer;
    let first = book.deposit(payer, payer, 10 * SMT)?;
    let later = book.deposit(payer, payer, 10 * SMT)?;
    let key = book.authorize(payer, book.key.address(), SMT)?;
    let raise = book.authorize(payer, book.key.address(), 2 * SMT)?;
    let request = book.request_withdrawal(payer, SMT)?;
    book.chain.pass(LOCK)?;
    let withdrawal = book.withdraw(payer)?;
    Ok(vec![
        Figure::new("`deposit`, a payer's first", &first, None),
        Figure::new("`deposit`, later", &later, None),
        Figure::new("`authorize`, a payer's first key", &key, None),
        Figure::new("`authorize`, a greater allowance", &raise, None),
        Figure::new("`requestWithdrawal`", &request, None),
        Figure::new("`withdraw`", &withdrawal, None),
    ])
}

fn single_cheques() -> Result<Vec<Figure>> {
    let book = Book::new()?;
    book.enroll(book.payer, 100 * SMT, 100 * SMT)?;
    let first = book.cash(book.payer, book.provider, AMOUNT)?;
    let later = book.cash(book.payer, book.provider, 2 * AMOUNT)?;
    Ok(vec![
        Figure::new(
            "`cash`, first: new pair, no tokens yet",
            &first,
            Some(95_000),
        ),
        Figure::new("`cash`, later", &later, Some(58_000)),
    ])
}

/// A gateway pays everybody it got anything from.
fn one_payer() -> Result<Vec<Figure>> {
    let book = Book::new()?;
    book.enroll(book.payer, 100 * SMT, 100 * SMT)?;
    twice(&book, "one payer to 50", Some(25_000), |round| {
        let people = (0..MANY).map(villager);
        people
            .map(|to| book.cheque(book.payer, to, round * AMOUNT))
            .collect()
    })
}

/// A relay is paid by everybody.
fn one_provider() -> Result<Vec<Figure>> {
    let book = Book::new()?;
    let payers = enroll_many(&book)?;
    twice(&book, "50 payers to one", Some(25_000), |round| {
        let cheque = |payer: &Address| book.cheque(*payer, book.provider, round * AMOUNT);
        payers.iter().map(cheque).collect()
    })
}

/// Ten who each owe to five of ten others, sorted by who is paid.
fn village() -> Result<Vec<Figure>> {
    let book = Book::new()?;
    let payers = enroll_many(&book)?;
    twice(&book, "10 payers to 10", Some(25_000), |round| {
        let pairs = (0..MANY).map(|number| (number / 5, number % 5 + number / 5));
        pairs
            .map(|(to, from)| book.cheque(payers[from % 10], villager(to), round * AMOUNT))
            .collect()
    })
}

/// No two cheques have anything in common: nothing costs more than this.
fn strangers() -> Result<Vec<Figure>> {
    let book = Book::new()?;
    let payers = enroll_many(&book)?;
    twice(&book, "50 payers to 50", Some(31_000), |round| {
        let pairs = payers.iter().zip((0..MANY).map(villager));
        pairs
            .map(|(payer, to)| book.cheque(*payer, to, round * AMOUNT))
            .collect()
    })
}

/// Cashes the first cheques of many pairs, and a day after the next ones, which may cost as much as `limit`
/// each.
fn twice(
    book: &Book,
    who: &str,
    limit: Option<u64>,
    cheques: impl Fn(u128) -> Vec<(Cheque, Signature)>,
) -> Result<Vec<Figure>> {
    let cash = |round, when, limit| {
        let receipt = cash_all(book, cheques(round))?;
        let what = format!("`cashMany` of {MANY}, {who}, {when}");
        anyhow::Ok(Figure::of(what, &receipt, MANY as u64, limit))
    };
    let first = cash(1, "first", None)?;
    book.chain.pass(EPOCH)?;
    Ok(vec![first, cash(2, "later", limit)?])
}

/// Somebody with an address like any other.
fn villager(number: usize) -> Address {
    Address::from_word(keccak256(format!("villager {number}")))
}

fn enroll_many(book: &Book) -> Result<Vec<Address>> {
    let payers = (0..MANY).map(|number| book.chain.account(10 + number));
    let payers: Vec<Address> = payers.collect::<Result<_>>()?;
    for payer in &payers {
        book.fund(*payer, 100 * SMT)?;
        book.enroll(*payer, 100 * SMT, 100 * SMT)?;
    }
    Ok(payers)
}

fn cash_all(book: &Book, signed: Vec<(Cheque, Signature)>) -> Result<Receipt> {
    let receipt = book.cash_many(signed)?;
    let paid = receipt.events::<Cashed>(book.address).len();
    ensure!(paid == MANY, "{paid} of {MANY} were paid");
    Ok(receipt)
}

fn document(figures: &[Figure]) -> Result<String> {
    let mut text = HEAD.to_owned();
    for figure in figures {
        writeln!(text, "{}", figure.line())?;
    }
    Ok(text)
}

fn compare(document: &str, figures: &[Figure]) -> Result<()> {
    let lines = document.lines().filter(|line| line.starts_with("| `"));
    let documented: Vec<&str> = lines.collect();
    ensure!(
        documented.len() == figures.len(),
        "docs/gas.md has {} figures, and not {}",
        documented.len(),
        figures.len()
    );
    for (line, figure) in documented.iter().zip(figures) {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let (what, gas) = (
            cells.next(),
            cells.next().and_then(|gas| gas.parse::<u64>().ok()),
        );
        let near = gas.is_some_and(|gas| gas.abs_diff(figure.gas) * 100 <= gas * TOLERANCE);
        if what != Some(figure.what.as_str()) || !near {
            bail!(
                "docs/gas.md says\n{line}\nand measured is\n{}\nUPDATE_GOLDEN=1 writes it anew",
                figure.line()
            );
        }
    }
    Ok(())
}

const HEAD: &str = "\
# What the cheque book costs

Gas of whole transactions, as it is charged, on an EVM with the rules of Osaka. `make evm-test` measures
it and fails when a figure is more than 2 % away from this table or above its limit;
`UPDATE_GOLDEN=1 cargo test -p mesh-tests --test evm gas` writes the table.

- Everything is in it: the base fee of a transaction (21000), the call data, the signature, and every
  storage slot, which is cold at the beginning of a transaction as always.
- The token is OpenZeppelin's ERC-20. Another may cost more.
- *First*: nothing was ever paid on this pair of issuer and beneficiary, who has no tokens. Each of these
  creates a storage slot (17100 more than to change one). *Later*: both are there.
- Per cheque is the whole transaction, divided. Refunds are none: no slot is emptied, except by
  the last tokens of a deposit.
- Cheques that have nothing in common cost more than those of one payer or to one provider, who has
  to be looked up once only: 30 k each, where others stay below 25 k.

| transaction | gas | per cheque | limit |
|---|---|---|---|
";
