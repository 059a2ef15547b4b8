//! What an Ethereum node answers, through the client of meshd's tools.

use alloy_primitives::{Address, B256, U256};
use anyhow::{Context, Result, bail, ensure};
use ethereum::cheque::{SignedCheque, Verdict};
use ethereum::rpc::{BlockTag, Error, Intent, Limits, Node, Revert};
use libtest_mimic::Trial;
use mesh_tests::chain::{CHAIN_ID, GENESIS};
use mesh_tests::contracts::SmtChequeBook::{cashCall, paidCall, tokenCall};
use mesh_tests::contracts::domain;
use mesh_tests::harness::plain;

use crate::book::{Book, SMT};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        plain("node_tells_of_chain_blocks_and_accounts", tells),
        plain("node_answers_calls_one_by_one_and_many_at_once", calls),
        plain("node_says_why_a_contract_refuses", refusals),
    ]
}

fn node(book: &Book) -> Result<Node> {
    let url = format!("http://{}", book.chain.rpc());
    Ok(Node::new(url.parse()?, Limits::default())?)
}

fn run<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    Ok(builder.enable_all().build()?.block_on(future)?)
}

fn tells() -> Result<()> {
    let book = Book::new()?;
    let node = node(&book)?;
    ensure!(run(node.chain_id())? == CHAIN_ID);
    let latest = run(node.block(BlockTag::Latest))?;
    ensure!(latest.timestamp == book.chain.now()?, "{latest:?}");
    let first = run(node.block(BlockTag::Number(0)))?;
    ensure!((first.number, first.timestamp) == (0, GENESIS), "{first:?}");
    ensure!(first.hash.is_some() && first.base_fee > 0, "{first:?}");
    let pending = run(node.block(BlockTag::Pending))?;
    ensure!(pending.number == latest.number + 1, "{pending:?}");
    ensure!(run(node.block(BlockTag::Number(1_000_000))).is_err());

    let payer = book.payer;
    let balance = run(node.balance(payer, BlockTag::Latest))?;
    ensure!(balance == book.chain.ether(payer)?);
    // It has allowed the book to collect its tokens.
    ensure!(run(node.transaction_count(payer, BlockTag::Latest))? == 1);
    ensure!(run(node.transaction_count(payer, BlockTag::Number(0)))? == 0);

    ensure!(run(node.max_priority_fee())? > 0);
    let intent = Intent {
        from: payer,
        to: book.provider,
        value: U256::from(1),
        data: alloy_primitives::Bytes::new(),
    };
    ensure!(run(node.estimate_gas(&intent))? == 21_000);
    ensure!(run(node.receipt(B256::repeat_byte(1)))?.is_none());
    ensure!(!run(node.knows(B256::repeat_byte(1)))?);
    Ok(())
}

fn calls() -> Result<()> {
    let book = Book::new()?;
    let node = node(&book)?;
    book.enroll(book.payer, 10 * SMT, 10 * SMT)?;
    let (before, pinned) = run(node.pin(BlockTag::Latest))?;
    book.cash(book.payer, book.provider, SMT)?;
    let token = run(node.call(book.address, &tokenCall {}, BlockTag::Latest))?;
    ensure!(token == book.token, "{token}");
    let of = |beneficiary: Address| paidCall {
        issuer: book.payer,
        beneficiary,
    };
    let paid = [of(book.provider), of(book.other_provider)];
    let ask = |at| {
        let calls: Vec<_> = paid.iter().map(|it| (book.address, it.clone())).collect();
        let answers = run(async { node.calls(&calls, at).await })?;
        let answers: Result<Vec<_>, Error> = answers.into_iter().collect();
        answers.context("a call of a batch")
    };
    ensure!(ask(BlockTag::Latest)? == [U256::from(SMT), U256::ZERO]);
    for at in [BlockTag::Number(before), pinned] {
        ensure!(ask(at)? == [U256::ZERO, U256::ZERO], "{at:?}");
    }
    ensure!(run(node.block(pinned))?.number == before);
    let elsewhere = BlockTag::Hash(B256::repeat_byte(1));
    ensure!(ask(elsewhere).is_err(), "a block that is not there");
    let many = vec![(book.address, of(book.provider)); 100];
    ensure!(run(node.calls(&many, BlockTag::Latest))?.len() == 100);
    let nobody = run(node.call(book.provider, &tokenCall {}, BlockTag::Latest));
    let text = format!("{:#}", nobody.err().context("an account has a token")?);
    ensure!(text.contains("is this contract on this chain?"), "{text}");
    Ok(())
}

fn refusals() -> Result<()> {
    let book = Book::new()?;
    let node = node(&book)?;
    book.enroll(book.payer, SMT, SMT)?;
    let (cheque, signature) = book.cheque(book.payer, book.provider, SMT);
    let signed = SignedCheque { cheque, signature };
    let signer = signed.signer(&domain(CHAIN_ID, book.address))?;
    ensure!(signer == book.key.address());
    let good = cashCall::from(signed.clone());
    let mut unsigned = good.clone();
    unsigned.cheque.cumulative = U256::from(2 * SMT);
    let calls = [good.clone(), unsigned].map(|call| (book.address, call));
    let answers = run(node.calls(&calls, BlockTag::Latest))?;
    let [Ok(pays), Err(Error::Reverted(reason))] = answers.as_slice() else {
        bail!("{answers:?}");
    };
    ensure!(*pays == U256::from(SMT));
    ensure!(
        *reason == Revert::DoesNotPay(Verdict::NotSigned),
        "{reason}"
    );
    book.cash(book.payer, book.provider, SMT)?;
    let again = run(node.call(book.address, &good, BlockTag::Latest));
    let text = again.err().context("it pays twice")?.to_string();
    ensure!(
        text == "the contract refused: all of it has been paid already",
        "{text}"
    );
    Ok(())
}
