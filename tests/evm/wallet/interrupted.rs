//! Runs that end between sending and confirmation. Whoever runs the same again pays once.

use alloy_primitives::U256;
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::harness::plain;

use super::proxy::{self, Manner};
use super::purse::Purse;
use super::{SMT, text};
use crate::book::cheque;

pub(super) fn tests() -> Vec<Trial> {
    vec![
        plain("wallet_killed_before_a_block_pays_once", before_a_block),
        plain(
            "wallet_killed_before_the_node_had_it_pays_once",
            before_the_node,
        ),
        plain("wallet_killed_after_the_block_pays_once", after_the_block),
        plain("wallet_killed_while_cashing_cashes_once", while_cashing),
        plain(
            "wallet_finishes_what_was_begun_before_it_sends_something_else",
            something_else,
        ),
        plain(
            "wallet_whose_number_another_used_pays_once",
            another_used_the_number,
        ),
        plain("wallet_pays_more_for_what_is_stuck_and_pays_once", stuck),
        plain("wallet_sends_one_thing_at_a_time", one_at_a_time),
        plain("wallet_forgets_what_the_node_refused", refused),
        plain("wallet_whose_proxy_repeats_itself_pays_once", repeated),
        plain(
            "wallet_signs_nothing_beside_what_a_node_refused",
            refused_by_a_liar,
        ),
        plain(
            "wallet_names_what_was_refused_and_paid_all_the_same",
            refused_and_paid,
        ),
        plain("wallet_fills_the_gap_that_a_node_made", gap),
        plain(
            "wallet_believes_nobody_that_another_has_its_number",
            said_to_be_replaced,
        ),
    ]
}

/// A wallet with SMT, whose payment of one was killed while it waited.
fn killed() -> Result<(Purse, String)> {
    let purse = Purse::new()?;
    purse.book.give(purse.address, 5 * SMT)?;
    let to = purse.book.provider.to_checksum(None);
    purse.book.chain.hold_transactions(true)?;
    let running = purse.start(&["send", &to, "1", "--yes"])?;
    running.says("waiting for a block")?;
    running.kill()?;
    ensure!(purse.has_pending(), "nothing is kept");
    ensure!(purse.book.chain.waiting()? == 1, "nothing was sent");
    Ok((purse, to))
}

/// Runs the same again: it is paid, and not for the first time.
fn is_paid_once(purse: &Purse, to: &str) -> Result<()> {
    let sent = purse.json(&["send", to, "1", "--yes"])?;
    ensure!(sent["resumed"] == true, "{sent}");
    has_paid(purse, 1)
}

fn has_paid(purse: &Purse, smt: u128) -> Result<()> {
    let paid = purse.book.tokens(purse.book.provider)?;
    ensure!(paid == smt * SMT, "paid {paid}");
    ensure!(!purse.has_pending(), "it is not forgotten");
    Ok(())
}

fn before_a_block() -> Result<()> {
    let (purse, to) = killed()?;
    let running = purse.start(&["--json", "send", &to, "1", "--yes"])?;
    // It has given it to the node again, which has it already.
    running.says("waiting for a block")?;
    ensure!(purse.book.chain.waiting()? == 1, "it was signed again");
    purse.book.chain.pass(12)?;
    let sent = running.end()?.json()?;
    ensure!(sent["resumed"] == true, "{sent}");
    has_paid(&purse, 1)?;
    // And who wants to pay again does.
    purse.book.chain.hold_transactions(false)?;
    let sent = purse.json(&["send", &to, "1", "--yes"])?;
    ensure!(sent["resumed"] == false, "{sent}");
    has_paid(&purse, 2)
}

fn before_the_node() -> Result<()> {
    let (purse, to) = killed()?;
    purse.book.chain.forget_waiting()?;
    purse.book.chain.hold_transactions(false)?;
    is_paid_once(&purse, &to)
}

fn after_the_block() -> Result<()> {
    let (purse, to) = killed()?;
    purse.book.chain.pass(12)?;
    purse.book.chain.hold_transactions(false)?;
    ensure!(
        purse.book.tokens(purse.book.provider)? == SMT,
        "it is in no block"
    );
    is_paid_once(&purse, &to)
}

fn while_cashing() -> Result<()> {
    let purse = Purse::new()?;
    let book = &purse.book;
    book.enroll(book.payer, 10 * SMT, 10 * SMT)?;
    let cheques = purse.cheques(&[cheque(book.payer, purse.address, 3 * SMT)])?;
    book.chain.hold_transactions(true)?;
    let running = purse.start(&["cash", &cheques, "--yes"])?;
    running.says("waiting for a block")?;
    running.kill()?;
    book.chain.pass(12)?;
    book.chain.hold_transactions(false)?;

    let again = purse.json(&["cash", &cheques, "--yes"])?;

    ensure!(text(&again, "/earlier_smt")? == "3", "{again}");
    ensure!(again["transaction"].is_null(), "{again}");
    ensure!(book.tokens(purse.address)? == 3 * SMT, "{again}");
    ensure!(!purse.has_pending(), "it is not forgotten");
    Ok(())
}

fn something_else() -> Result<()> {
    let (purse, to) = killed()?;
    purse.book.chain.forget_waiting()?;
    purse.book.chain.hold_transactions(false)?;
    let sent = purse.json(&["send", &to, "2", "--yes"])?;
    ensure!(sent["resumed"] == false && sent["amount"] == "2", "{sent}");
    has_paid(&purse, 3)
}

/// A copy of the wallet elsewhere sends something: the number is used.
fn another_used_the_number() -> Result<()> {
    let (purse, to) = killed()?;
    purse.book.chain.forget_waiting()?;
    purse.book.chain.hold_transactions(false)?;
    let copy = purse.path("copy.json");
    purse.run(&["backup", &copy])?;
    let usual = purse.usual();
    let rest = usual.get(2..).unwrap_or_default();
    let mut other = mesh_tests_command(&copy, rest)?;
    other.args(["send", &to, "0.1", "--ether", "--yes"]);
    let output = mesh_tests::command::output(&mut other, None)?;
    ensure!(output.status.success(), "{output:?}");
    // Below a block, as it is believed.
    purse.book.chain.pass(12)?;

    let send = ["--json", "send", &to, "1", "--yes"];
    let said = purse.fails(&send, 1)?;
    let replaced = "another transaction has taken its place";
    ensure!(said.stderr.contains(replaced), "{said:?}");
    ensure!(purse.has_pending(), "it is forgotten");
    let said = purse.run(&[&send[..], &["--replaced"]].concat())?;
    ensure!(said.stderr.contains(replaced), "{said:?}");
    ensure!(said.json()?["resumed"] == false, "{said:?}");
    has_paid(&purse, 1)
}

/// Pays through a node that lies; what it says on standard error.
fn pays_through(purse: &Purse, manner: Manner, smt: &str, code: i32) -> Result<String> {
    let proxy = proxy::start(purse.book.chain.rpc(), manner)?;
    let mut usual = purse.usual();
    let rpc = usual.iter_mut().find(|it| it.starts_with("http"));
    *rpc.context("no node")? = format!("http://{proxy}");
    let rest = usual.get(2..).unwrap_or_default();
    let mut command = mesh_tests_command(&purse.path("wallet.json"), rest)?;
    let to = purse.book.provider.to_checksum(None);
    let send = ["--patience", "1", "send", &to, smt, "--yes"];
    let output = mesh_tests::command::output(command.args(send), None)?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(code), "{manner:?}: {stderr}");
    Ok(stderr)
}

/// The newest transaction that is kept, as it was signed.
fn signed(purse: &Purse) -> Result<serde_json::Value> {
    let kept = std::fs::read(purse.path("wallet.json.pending"))?;
    let kept: serde_json::Value = serde_json::from_slice(&kept)?;
    let newest = kept["attempts"].as_array().and_then(|it| it.last());
    newest.cloned().context("nothing was signed")
}

/// A wallet with SMT, of which a node has one payment, and has refused it.
fn refused_once() -> Result<(Purse, String, serde_json::Value)> {
    let purse = Purse::new()?;
    purse.book.give(purse.address, 5 * SMT)?;
    let to = purse.book.provider.to_checksum(None);
    let said = pays_through(&purse, Manner::Refuses, "1", 1)?;
    ensure!(said.ends_with("nothing was sent\n"), "{said}");
    let signed = signed(&purse)?;
    Ok((purse, to, signed))
}

fn refused_by_a_liar() -> Result<()> {
    // The same payment, and another, before the liar sends what it has.
    for (smt, paid) in [("1", 1), ("2", 2)] {
        let (purse, to, kept) = refused_once()?;
        let sent = purse.json(&["send", &to, smt, "--yes"])?;
        ensure!(sent["resumed"] == false, "{sent}");
        has_paid(&purse, paid)?;
        let late = purse.book.chain.publish(&kept);
        ensure!(late.is_err(), "it is taken");
        has_paid(&purse, paid)?;
    }
    // And after that.
    let (purse, to, kept) = refused_once()?;
    purse.book.chain.publish(&kept)?;
    is_paid_once(&purse, &to)
}

/// Of two that were refused, the first is paid in the place of the second.
fn refused_and_paid() -> Result<()> {
    let (purse, to, kept) = refused_once()?;
    pays_through(&purse, Manner::Refuses, "2", 1)?;
    purse.book.chain.publish(&kept)?;
    purse.book.chain.pass(12)?;
    let second = ["send", &to, "2", "--yes"];
    let said = purse.fails(&second, 1)?;
    ensure!(
        said.stderr
            .contains("is in a block after all: that is paid"),
        "{said:?}"
    );
    purse.run(&[&second[..], &["--replaced"]].concat())?;
    has_paid(&purse, 3)
}

/// Of the wallet's first transaction a node said that it is the third.
fn gap() -> Result<()> {
    let purse = Purse::new()?;
    purse.book.give(purse.address, 5 * SMT)?;
    let to = purse.book.provider.to_checksum(None);
    pays_through(&purse, Manner::CountsTooHigh, "1", 6)?;
    let send = ["--patience", "1", "send", &to, "1", "--yes"];
    let said = purse.fails(&send, 6)?;
    ensure!(said.stderr.contains("waits for 2 others"), "{said:?}");
    let fill = ["--patience", "20", "send", &to, "1", "--yes", "--fill-gap"];
    let sent = purse.json(&fill)?;
    ensure!(sent["resumed"] == true, "{sent}");
    has_paid(&purse, 1)
}

/// A node that hides it until something else is signed finds nothing.
fn said_to_be_replaced() -> Result<()> {
    let (purse, to) = killed()?;
    purse.book.chain.forget_waiting()?;
    purse.book.chain.hold_transactions(false)?;
    let said = pays_through(&purse, Manner::SaysReplaced, "1", 1)?;
    ensure!(said.contains("--replaced forgets it"), "{said}");
    is_paid_once(&purse, &to)
}

fn mesh_tests_command(keystore: &str, rest: &[String]) -> Result<std::process::Command> {
    let mut command = std::process::Command::new("setsid");
    command.arg(mesh_tests::binaries::find("meshctl")?);
    command.args(["wallet", "--confirmations", "1", "--keystore", keystore]);
    command.args(rest);
    Ok(command)
}

fn stuck() -> Result<()> {
    let (purse, to) = killed()?;
    // A hundred times what it may pay.
    purse.book.chain.next_base_fee(200_000_000_000)?;
    purse.book.chain.hold_transactions(false)?;
    purse.book.chain.pass(12)?;
    ensure!(
        purse.book.tokens(purse.book.provider)? == 0,
        "it is not stuck"
    );
    let waiting = purse.fails(&["--patience", "1", "send", &to, "1", "--yes"], 6)?;
    ensure!(
        waiting.stderr.contains("the same command goes on waiting"),
        "{waiting:?}"
    );
    ensure!(purse.has_pending(), "it is forgotten");
    let raise = ["send", &to, "1", "--yes", "--raise-fee"];
    let config = purse.write("wallet.yaml", b"max_fee_ether: 0.005")?;
    let said = purse.fails(&[&["--config", &config], &raise[..]].concat(), 1)?;
    ensure!(said.stderr.contains("to be 0.005 at most"), "{said:?}");

    let sent = purse.json(&raise)?;

    ensure!(sent["resumed"] == true, "{sent}");
    has_paid(&purse, 1)?;
    let fee = ethereum::text::parse_amount(text(&sent, "/fee_ether")?)?;
    let most = U256::from(SMT / 10);
    ensure!(fee < most, "{sent}");
    Ok(())
}

fn one_at_a_time() -> Result<()> {
    let purse = Purse::new()?;
    let to = purse.book.provider.to_checksum(None);
    purse.book.chain.hold_transactions(true)?;
    let arguments = ["send", &to, "0.1", "--ether", "--yes"];
    let running = purse.start(&arguments)?;
    running.says("waiting for a block")?;
    let impatient = [&["--patience", "1"][..], &arguments].concat();
    let said = purse.fails(&impatient, 1)?;
    ensure!(
        said.stderr.contains("another meshctl is sending"),
        "{said:?}"
    );
    ensure!(purse.book.chain.waiting()? == 1, "both were sent");
    purse.book.chain.pass(12)?;
    running.end().map(drop)
}

/// The answer is to the second request, or of a node that refuses what another has taken.
fn repeated() -> Result<()> {
    for (manner, is_paid) in [
        (Manner::Repeats, true),
        (Manner::TakesAndRefuses, true),
        (Manner::Refuses, false),
    ] {
        let purse = Purse::new()?;
        purse.book.give(purse.address, 5 * SMT)?;
        pays_through(&purse, manner, "1", (!is_paid).into())?;
        let paid = purse.book.tokens(purse.book.provider)?;
        ensure!(paid == u128::from(is_paid) * SMT, "{manner:?}: {paid}");
        ensure!(purse.has_pending() != is_paid, "{manner:?}");
    }
    Ok(())
}

/// What does not connect is not sent, and nothing is left that would be.
fn refused() -> Result<()> {
    let purse = Purse::new()?;
    let to = purse.book.provider.to_checksum(None);
    let arguments = ["send", &to, "0.1", "--ether", "--yes"];
    let node = "http://127.0.0.1:1/v3/0123456789abcdef0123456789abcdef";
    let config = format!("rpc: {node}\nbook: '{}'\n", purse.book.address);
    let config = purse.write("wallet.yaml", config.as_bytes())?;
    let keystore = purse.path("wallet.json");
    let mut command = mesh_tests_command(&keystore, &["--config".to_owned(), config])?;
    let output = mesh_tests::command::output(command.args(arguments), None)?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1), "{stderr}");
    ensure!(
        stderr.starts_with("meshctl: 127.0.0.1:1 cannot be reached"),
        "{stderr}"
    );
    ensure!(!stderr.contains("0123456789abcdef"), "{stderr}");
    ensure!(!purse.has_pending(), "something was signed");
    Ok(())
}
