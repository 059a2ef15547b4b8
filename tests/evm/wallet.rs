//! `meshctl wallet` as people use it: programs, files, and a real chain.

mod files;
mod interrupted;
mod proxy;
mod purse;
mod secrets;

use alloy_primitives::U256;
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::chain::CHAIN_ID;
use mesh_tests::harness::plain;
use serde_json::Value;

use crate::book::{Book, SMT, cheque};
use purse::Purse;

pub(crate) fn tests() -> Vec<Trial> {
    let own = vec![
        plain("wallet_is_paid_pays_and_shows_what_is_left", pays),
        plain("wallet_pays_ether", pays_ether),
        plain("wallet_sends_nothing_without_consent", consent),
        plain("wallet_says_what_is_missing_and_sends_nothing", too_little),
        plain("wallet_cashes_one_cheque", cashes_one),
        plain(
            "wallet_cashes_many_cheques_and_skips_what_does_not_pay",
            cashes_many,
        ),
        plain(
            "wallet_takes_cheques_of_its_chain_and_book_only",
            other_cheques,
        ),
        plain(
            "wallet_waits_for_as_many_blocks_as_it_is_told",
            confirmations,
        ),
        plain("wallet_finds_what_was_deployed_as_the_docs_say", deployed),
    ];
    [own, files::tests(), interrupted::tests(), secrets::tests()]
        .into_iter()
        .flatten()
        .collect()
}

/// A text field of what a command printed.
fn text<'a>(result: &'a Value, pointer: &str) -> Result<&'a str> {
    let value = result.pointer(pointer).and_then(Value::as_str);
    value.with_context(|| format!("{pointer} is no text in {result}"))
}

fn pays() -> Result<()> {
    let purse = Purse::new()?;
    let before = purse.json(&["balance"])?;
    ensure!(
        text(&before, "/smt")? == "0" && text(&before, "/ether")? == "1",
        "{before}"
    );
    purse.book.give(purse.address, 5 * SMT)?;

    let to = purse.book.provider.to_checksum(None);
    let sent = purse.json(&["send", &to, "1.25", "--yes"])?;

    ensure!(sent["resumed"] == false && sent["asset"] == "SMT", "{sent}");
    ensure!(
        purse.book.tokens(purse.book.provider)? == 5 * SMT / 4,
        "{sent}"
    );
    let after = purse.json(&["balance"])?;
    ensure!(text(&after, "/smt")? == "3.75", "{after}");
    // What is left of the ether is exact: fee and rest make one.
    let [fee, rest] = [text(&sent, "/fee_ether")?, text(&after, "/ether")?];
    let [fee, rest] = [fee, rest].map(ethereum::text::parse_amount);
    ensure!(fee? + rest? == U256::from(SMT), "{sent} {after}");
    ensure!(!purse.has_pending(), "it is not forgotten");
    Ok(())
}

fn pays_ether() -> Result<()> {
    let purse = Purse::new()?;
    let to = purse.book.provider;
    let before = purse.book.chain.ether(to)?;
    let small = to.to_string().to_lowercase();
    let sent = purse.run(&["send", &small, "0.000000000000000001", "--ether", "--yes"])?;
    let expected = format!(
        "paid 0.000000000000000001 ether to {}\n",
        to.to_checksum(None)
    );
    ensure!(sent.stdout.starts_with(&expected), "{sent:?}");
    ensure!(purse.book.chain.ether(to)? == before + U256::from(1));
    Ok(())
}

fn consent() -> Result<()> {
    let purse = Purse::new()?;
    purse.book.give(purse.address, SMT)?;
    let to = purse.book.provider.to_checksum(None);
    let refused = purse.fails(&["send", &to, "1"], 2)?;
    ensure!(
        refused
            .stderr
            .ends_with("no terminal to ask for consent: --yes\n"),
        "{refused:?}"
    );
    // One letter of the address has another case; a tenth of the smallest unit; no amounts.
    let letter = to.rfind(|letter: char| letter.is_ascii_alphabetic());
    let letter = letter.context("an address of digits")?;
    let other = match to.as_bytes()[letter].is_ascii_uppercase() {
        true => to[letter..=letter].to_lowercase(),
        false => to[letter..=letter].to_uppercase(),
    };
    let mistyped = format!("{}{other}{}", &to[..letter], &to[letter + 1..]);
    for arguments in [
        ["send", &mistyped, "1", "--yes"],
        ["send", &to, "1.0000000000000000001", "--yes"],
        ["send", &to, "-1", "--yes"],
        ["send", &to, "1e0", "--yes"],
    ] {
        purse.fails(&arguments, 2)?;
    }
    let nobody = alloy_primitives::Address::ZERO;
    for nobody in [nobody, purse.book.token, purse.book.address] {
        purse.fails(&["send", &nobody.to_string(), "1", "--yes"], 2)?;
    }
    ensure!(
        purse.book.tokens(purse.address)? == SMT,
        "something was sent"
    );
    ensure!(
        purse.book.tokens(purse.book.provider)? == 0,
        "something was sent"
    );
    ensure!(!purse.has_pending(), "something was signed");
    Ok(())
}

fn too_little() -> Result<()> {
    let purse = Purse::new()?;
    purse.book.give(purse.address, SMT)?;
    let to = purse.book.provider.to_checksum(None);
    let said = purse.fails(&["send", &to, "1.5", "--yes"], 1)?;
    let expected = "the contract refused: 1.5 SMT are needed, and there are 1\n";
    ensure!(said.stderr.ends_with(expected), "{said:?}");
    let said = purse.fails(&["send", &to, "1", "--ether", "--yes"], 1)?;
    ensure!(said.stderr.contains("ether are needed"), "{said:?}");
    ensure!(!purse.has_pending(), "something was signed");
    Ok(())
}

fn cashes_one() -> Result<()> {
    let purse = Purse::new()?;
    let book = &purse.book;
    book.enroll(book.payer, 10 * SMT, 10 * SMT)?;
    let cheques = purse.cheques(&[cheque(book.payer, purse.address, 3 * SMT)])?;

    let fee = "Cash 1 cheque for 3 SMT with a fee of 0.";
    let said = purse.fails(&["cash", &cheques], 2)?;
    ensure!(said.stderr.contains(fee), "{said:?}");
    let said = purse.run(&["--json", "cash", &cheques, "--yes"])?;
    ensure!(said.stderr.contains(fee), "{said:?}");
    let cashed = said.json()?;

    ensure!(text(&cashed, "/paid_smt")? == "3", "{cashed}");
    ensure!(text(&cashed, "/cheques/0/paid_smt")? == "3", "{cashed}");
    ensure!(book.tokens(purse.address)? == 3 * SMT, "{cashed}");
    let again = purse.run(&["cash", &cheques, "--yes"])?;
    ensure!(
        again.stdout.contains("all of it has been paid already"),
        "{again:?}"
    );
    ensure!(again.stdout.ends_with("nothing to cash\n"), "{again:?}");
    Ok(())
}

/// Two that pay, of which one is there in an older form too, and three that do not.
fn cashes_many() -> Result<()> {
    let purse = Purse::new()?;
    let book = &purse.book;
    book.enroll(book.payer, 10 * SMT, 10 * SMT)?;
    book.enroll(book.other_payer, 10 * SMT, 2 * SMT)?;
    let mine = purse.cheques(&[
        cheque(book.payer, purse.address, 3 * SMT),
        cheque(book.payer, purse.address, SMT),
        cheque(book.other_payer, purse.address, 5 * SMT),
        cheque(book.anybody, purse.address, SMT),
    ])?;
    let others = purse.cheques(&[cheque(book.payer, book.provider, SMT)])?;

    let said = purse.run(&["--json", "cash", &mine, &others, &mine, "--yes"])?;

    ensure!(
        said.stderr
            .contains("does not pay: not signed with the payer's"),
        "{said:?}"
    );
    let cashed = said.json()?;
    ensure!(text(&cashed, "/paid_smt")? == "6", "{cashed}");
    ensure!(book.tokens(purse.address)? == 5 * SMT, "{cashed}");
    ensure!(book.tokens(book.provider)? == SMT, "{cashed}");
    let cheques = cashed["cheques"].as_array().context("no cheques")?;
    ensure!(
        cheques.len() == 5,
        "a cheque that is there twice counts twice: {cashed}"
    );
    let unpaid = cheques.iter().filter(|it| it["paid_smt"] == "0");
    let mut reasons = unpaid
        .map(|it| text(it, "/reason"))
        .collect::<Result<Vec<_>>>()?;
    reasons.sort_unstable();
    let expected = [
        "a newer one is cashed",
        "not signed with the payer's settlement key",
    ];
    ensure!(reasons == expected, "{cashed}");
    Ok(())
}

fn other_cheques() -> Result<()> {
    let purse = Purse::new()?;
    let book = &purse.book;
    book.enroll(book.payer, SMT, SMT)?;
    let cheques = [cheque(book.payer, purse.address, SMT)];
    let elsewhere = purse.cheques_of(&cheques, 1, book.address)?;
    let said = purse.fails(&["cash", &elsewhere, "--yes"], 8)?;
    ensure!(
        said.stderr.contains("for chain 1, and this is 31337"),
        "{said:?}"
    );
    let other_book = purse.cheques_of(&cheques, CHAIN_ID, book.token)?;
    let said = purse.fails(&["cash", &other_book, "--yes"], 8)?;
    ensure!(said.stderr.contains("for the cheque book 0x"), "{said:?}");
    let broken = purse.write("broken.json", b"{\"schema\": 1}")?;
    purse.fails(&["cash", &broken, "--yes"], 8)?;
    ensure!(book.tokens(purse.address)? == 0, "it was cashed");

    let here = purse.cheques_of(&cheques, CHAIN_ID, book.address)?;
    let files = [elsewhere, other_book, here].map(std::fs::read);
    let files = files.into_iter().collect::<Result<Vec<_>, _>>()?;
    let together = purse.write("together.json", &files.concat())?;
    let said = purse.run(&["cash", &together, "--yes"])?;
    ensure!(
        ["for chain 1", "for the cheque book 0x"]
            .iter()
            .all(|it| said.stderr.contains(it)),
        "{said:?}"
    );
    ensure!(book.tokens(purse.address)? == SMT, "{said:?}");
    Ok(())
}

fn confirmations() -> Result<()> {
    let purse = Purse::new()?;
    let to = purse.book.provider.to_checksum(None);
    let arguments = [
        "send",
        &to,
        "0.5",
        "--ether",
        "--yes",
        "--confirmations",
        "2",
    ];
    let running = purse.start(&arguments)?;
    running.says("in 1 of 2 blocks")?;
    ensure!(
        purse.has_pending(),
        "it is forgotten before it is confirmed"
    );
    purse.book.chain.pass(12)?;
    let ended = running.end()?;
    ensure!(ended.stdout.starts_with("paid 0.5 ether"), "{ended:?}");
    ensure!(!purse.has_pending(), "it is not forgotten");
    Ok(())
}

/// The commands of `docs/contract.md`, one after the other.
fn deployed() -> Result<()> {
    let purse = Purse::new()?;
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let docs = std::fs::read_to_string(format!("{root}/docs/contract.md"))?;
    let block = docs.split("```sh\n").nth(1).context("no commands")?;
    let commands = block.split("```").next().context("no end")?;
    let wallet = format!(
        "{} wallet --keystore {}",
        mesh_tests::binaries::find("meshctl")?.display(),
        purse.path("wallet.json")
    );
    let commands = commands
        .replace("127.0.0.1:8545", &purse.book.chain.rpc().to_string())
        .replace("meshctl wallet", &wallet);
    std::fs::create_dir_all(purse.path("contracts/out"))?;
    for file in ["deploy.mjs", "out/SmtToken.json", "out/SmtChequeBook.json"] {
        let file = format!("contracts/{file}");
        std::fs::copy(format!("{root}/{file}"), purse.path(&file))?;
    }
    let mut shell = std::process::Command::new("sh");
    shell
        .args(["-euc", &commands])
        .current_dir(&purse.directory);
    let output = mesh_tests::command::output(&mut shell, None)?;
    let said = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "{said}{:?}", output.stderr);

    let books: Vec<_> = said
        .lines()
        .filter(|it| it.starts_with("SmtChequeBook 0x"))
        .collect();
    ensure!(books.len() == 2 && books[0] == books[1], "{said}");
    let balance = said.lines().last().context("nothing was said")?;
    let token = said.lines().find_map(|line| line.strip_prefix("SmtToken "));
    let token: alloy_primitives::Address = token.context("no token")?.parse()?;
    ensure!(balance.contains(&token.to_checksum(None)), "{said}");
    // Bytecode that is another in one digit is not what was created.
    let out = purse.path("contracts/out/SmtChequeBook.json");
    let changed =
        std::fs::read_to_string(&out)?.replacen("\"bytecode\":\"0x6", "\"bytecode\":\"0x5", 1);
    std::fs::write(&out, changed)?;
    let hash = said
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("transaction "));
    let mut check = std::process::Command::new("node");
    check.args([
        "contracts/deploy.mjs",
        &format!("http://{}", purse.book.chain.rpc()),
    ]);
    check
        .args(["check", hash.context("no transaction")?])
        .current_dir(&purse.directory);
    let output = mesh_tests::command::output(&mut check, None)?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(stderr.contains("has created something else"), "{stderr}");
    Ok(())
}
