//! What is committed is what the sources say, and the documents too.

use std::fs;
use std::path::{Path, PathBuf};

use alloy_primitives::U256;
use alloy_sol_types::SolStruct;
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::chain::{CHAIN_ID, Chain};
use mesh_tests::contracts::SmtChequeBook::{EPOCHCall, LOCKCall, digestCall};
use mesh_tests::contracts::{self, Cheque};
use mesh_tests::harness::plain;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::book::{self, Book, EPOCH, LOCK, cheque};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        plain("what_is_committed_is_what_is_compiled", compiled_again),
        plain("a_cheque_has_the_same_digest_everywhere", same_digest),
        plain("the_documents_say_what_the_contract_does", documents),
        plain("a_chain_ends_with_its_test", chain_ends),
    ]
}

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn compiled_again() -> Result<()> {
    let fresh = book::compiled()?;
    let committed = project().join("contracts/out");
    let mut names = Vec::new();
    for entry in fs::read_dir(&committed)? {
        names.push(entry?.file_name());
    }
    names.sort();
    ensure!(
        names == ["SmtChequeBook.json", "SmtToken.json"],
        "{names:?} in {}",
        committed.display()
    );
    for name in names {
        let same = fs::read(fresh.join(&name))? == fs::read(committed.join(&name))?;
        ensure!(same, "{name:?} is old: contracts/build.mjs makes a new one");
    }
    Ok(())
}

/// alloy and Solidity hash the same, by code that has nothing in common.
fn same_digest() -> Result<()> {
    let book = Book::new()?;
    let mut cheque = cheque(book.payer, book.provider, 1);
    for cumulative in [U256::ZERO, U256::from(12_345), U256::MAX] {
        cheque.cumulative = cumulative;
        let call = digestCall {
            cheque: cheque.clone(),
        };
        let solidity = book.ask(&call)?;
        let domain = contracts::domain(CHAIN_ID, book.address);
        let alloy = cheque.eip712_signing_hash(&domain);
        ensure!(solidity == alloy, "{solidity}, and not {alloy}");
    }
    Ok(())
}

fn documents() -> Result<()> {
    let document = fs::read_to_string(project().join("docs/contract.md"))?;
    let cheque_type = Cheque::eip712_encode_type();
    ensure!(
        document.contains(cheque_type.as_ref()),
        "docs/contract.md has no {cheque_type}"
    );
    let book = Book::new()?;
    let (lock, epoch) = (book.ask(&LOCKCall {})?, book.ask(&EPOCHCall {})?);
    ensure!(
        (lock, epoch) == (U256::from(LOCK), U256::from(EPOCH)),
        "lock {lock}, epoch {epoch}"
    );
    Ok(())
}

fn chain_ends() -> Result<()> {
    let chain = Chain::start()?;
    let process = Pid::from_raw(chain.process_id().try_into()?);
    kill(process, None).context("it does not run")?;
    drop(chain);
    ensure!(kill(process, None).is_err(), "it still runs");
    Ok(())
}
