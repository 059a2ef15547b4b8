//! An audit finds whatever was changed by hand.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::{command, redeemd};

use crate::exports::Trade;
use crate::valley::{Database, Person, Valley, server, with_both};

pub(crate) fn tests() -> Vec<Trial> {
    with_both("an_audit_finds_whatever_was_changed", changes)
}

/// One more, or one less, in the last byte of a column.
const BYTES: [(&str, &str, &str); 23] = [
    ("receipt", "receipt", "does not hold"),
    ("receipt", "offer", "does not hold"),
    ("pair", "claimed", "receipts say"),
    ("pair", "settled", "settlements say"),
    ("pair", "provider", "not what its id says"),
    ("pair", "consumer", "not what its id says"),
    ("pair", "network", "not what its id says"),
    ("settlement", "settled", "settlements say"),
    ("settlement", "debit", "not credit and fee"),
    ("settlement", "credit", "not credit and fee"),
    ("settlement", "fee", "not credit and fee"),
    ("settlement", "beneficiary", "settlements say"),
    ("settlement", "payer", "settlements say"),
    ("settlement", "fee_account", "settlements say"),
    ("payer", "account", "it is not known, and was settled on"),
    ("cheque", "issuer", "settlements say"),
    ("cheque", "beneficiary", "settlements say"),
    ("cheque", "cumulative", "settlements say"),
    ("cheque", "base", "settlements say"),
    ("registration", "node", "registration of node"),
    ("registration", "account", "registration of node"),
    ("registration", "node_signature", "registration of node"),
    ("registration", "account_signature", "registration of node"),
];

/// What a number is changed to. All is settled, and nothing was rewarded.
const NUMBERS: [(&str, &str, u64, &str); 7] = [
    ("pair", "seconds", 1000, "receipts say 7 s"),
    ("pair", "rewarded", 1, "settlements say 0 s"),
    ("pair", "unsettled", 1, "what waits is not what is due"),
    ("pair", "place", 0, "what waits is not what is due"),
    ("settlement", "seconds", 1, "settlements say 2 s"),
    ("receipt", "epoch", 7, "does not hold"),
    ("registration", "sequence", 7, "registration of node"),
];

/// What can be written in the place of a statement's value, and is of no right form at all.
const DAMAGES: [(&str, &str); 3] = [
    ("receipt", "receipt"),
    ("receipt", "offer"),
    ("contradiction", "proof"),
];

fn changes(valley: &Valley) -> Result<()> {
    let (relay, phone) = (Person::new("relay")?, Person::new("phone")?);
    let service = valley.start()?;
    valley.enroll(&phone)?;
    for person in [&relay, &phone] {
        valley.register(&service, person)?;
    }
    let trade = Trade {
        network: "village",
        provider: &relay.node,
        consumer: &phone.node,
    };
    let answer = service.claim(&trade.export([(1, 2), (2, 1)])?)?;
    ensure!(answer.status == 200, "{}", answer.text());
    // Another receipt for the same place.
    let offer = trade.offer(1, crate::exports::PRICE);
    let contradicting = trade.receipt(&offer, None, 5)?;
    let second = trade.receipt(&offer, Some(&contradicting), 6)?;
    let records = [
        receipts::log::Record::OfferMade(offer),
        receipts::log::Record::ReceiptReceived(contradicting),
        receipts::log::Record::ReceiptReceived(second),
    ];
    let export = crate::exports::export("village", &relay.node, &records);
    ensure!(service.claim(&export)?.status == 200);
    service.stop()?;
    valley.audit()?;
    for (table, column, finding) in BYTES {
        let before = value(valley, table, column)?;
        let mut changed = before.clone();
        *changed.last_mut().context("nothing in it")? ^= 1;
        finds(valley, table, column, &changed, finding)?;
        set(valley, table, column, &before, &changed)?;
    }
    for (table, column, number, finding) in NUMBERS {
        let least = execute(valley, &format!("SELECT min({column}) FROM {table}"))?;
        let change = |from: &str, to: &str| {
            let change = format!("UPDATE {table} SET {column} = {to} WHERE {column} = {from}");
            execute(valley, &change)
        };
        let number = number.to_string();
        change(&least, &number)?;
        says(valley, finding).with_context(|| format!("{table}.{column}"))?;
        change(&number, &least)?;
    }
    valley.audit()?;
    for (table, column) in DAMAGES {
        let before = value(valley, table, column)?;
        let damaged = before[..before.len() / 2].to_vec();
        finds(valley, table, column, &damaged, "does not hold")?;
        set(valley, table, column, &before, &damaged)?;
    }
    valley.audit()?;
    for table in ["settlement", "cheque", "receipt"] {
        // Only what is put back is checked for the next.
        execute(
            valley,
            &format!("CREATE TABLE kept AS SELECT * FROM {table}"),
        )?;
        execute(valley, &format!("DELETE FROM {table}"))?;
        says(valley, "say")?;
        execute(valley, &format!("INSERT INTO {table} SELECT * FROM kept"))?;
        execute(valley, "DROP TABLE kept")?;
    }
    if valley.database == Database::Sqlite {
        // PostgreSQL has nothing of a pair without the pair, whoever asks for it.
        execute(valley, "DELETE FROM pair")?;
        return says(valley, "it is not there, and something of it is");
    }
    valley.audit().map(drop)
}

fn finds(valley: &Valley, table: &str, column: &str, to: &[u8], finding: &str) -> Result<()> {
    let before = value(valley, table, column)?;
    set(valley, table, column, to, &before)?;
    says(valley, finding).with_context(|| format!("{table}.{column}"))
}

/// That an audit fails, and how.
fn says(valley: &Valley, finding: &str) -> Result<()> {
    let output = redeemd::audit(&valley.settings)?;
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(1),
        "{}: {said}{complaint}",
        output.status
    );
    let mut faults = said.lines().filter(|line| line.starts_with("FAULT: "));
    ensure!(
        faults.any(|line| line.contains(finding)),
        "{said}, expected {finding}"
    );
    Ok(())
}

/// The least value of a column.
fn value(valley: &Valley, table: &str, column: &str) -> Result<Vec<u8>> {
    let digits = match valley.database {
        Database::Sqlite => execute(valley, &format!("SELECT hex(min({column})) FROM {table}"))?,
        Database::Postgres => {
            let digits = format!("encode({column}, 'hex')");
            execute(valley, &format!("SELECT min({digits}) FROM {table}"))?
        }
    };
    Ok(alloy_primitives::hex::decode(digits.trim())?)
}

fn set(valley: &Valley, table: &str, column: &str, to: &[u8], before: &[u8]) -> Result<()> {
    let literal = |bytes: &[u8]| {
        let digits = alloy_primitives::hex::encode(bytes);
        match valley.database {
            Database::Sqlite => format!("x'{digits}'"),
            Database::Postgres => format!("'\\x{digits}'"),
        }
    };
    let (to, before) = (literal(to), literal(before));
    execute(
        valley,
        &format!("UPDATE {table} SET {column} = {to} WHERE {column} = {before}"),
    )?;
    Ok(())
}

/// Runs a statement behind the service's back.
fn execute(valley: &Valley, statement: &str) -> Result<String> {
    let url = &valley.settings.database;
    match valley.database {
        Database::Postgres => {
            let (_, name) = url.rsplit_once('/').context("no database")?;
            server()?.query(name, statement)
        }
        Database::Sqlite => {
            let file = url.strip_prefix("sqlite:").context("no file")?;
            let script = "import sqlite3, sys\n\
                 base = sqlite3.connect(sys.argv[1])\n\
                 row = base.execute(sys.argv[2]).fetchone()\n\
                 base.commit()\n\
                 print(row[0] if row else '')";
            let mut python = Command::new("python3");
            python.args(["-c", script, file, statement]);
            let output = command::output(&mut python, None)?;
            let complaint = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{statement}: {complaint}");
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        }
    }
}
