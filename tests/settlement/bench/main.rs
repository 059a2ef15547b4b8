//! How fast claims are settled: `make bench-settlement`. Into `docs/bench/settlement.json`.

#![allow(clippy::indexing_slicing, reason = "as in tests")]

#[path = "../exports.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod exports;
#[path = "../valley.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod valley;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use mesh_tests::postgres::Postgres;
use mesh_tests::redeemd::{self, Redeemd, Settings};
use mesh_tests::{command, sandbox};
use receipts::log::Record;
use serde_json::{Value, json};

use exports::{PRICE, Trade, export};
use valley::{Database, Person, Valley};

/// Receipts in one claim of the store: 3 MiB.
const CLAIM: u64 = 5000;

/// Nodes that pay, each of which has a provider of its own.
const PAIRS: u64 = 16;

#[derive(Parser)]
struct Arguments {
    /// Receipts in the store
    #[arg(long, default_value_t = 1_000_000)]
    receipts: u64,
    /// Of load with each database
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Where databases are for as long as it takes: on a disk, because a commit waits for it
    #[arg(long, default_value = "tests/out/bench-settlement")]
    files: PathBuf,
    /// What was measured
    #[arg(long, default_value = "docs/bench/settlement.json")]
    out: PathBuf,
    /// What else the machine did meanwhile, for readers
    #[arg(long, default_value = "")]
    remark: String,
}

fn main() -> Result<()> {
    sandbox::enter()?;
    let arguments = Arguments::parse();
    let _ = fs::remove_dir_all(&arguments.files);
    fs::create_dir_all(&arguments.files)?;
    let files = arguments.files.canonicalize()?;
    let mut report = json!({
        "remark": arguments.remark,
        "processors": std::thread::available_parallelism()?.get(),
        "verify": verify(&files)?,
    });
    let server = Postgres::start(&files.join("postgres"))?;
    for database in Database::ALL {
        let mut valley = Valley::new(database)?;
        valley.settings.database = match database {
            Database::Sqlite => format!("sqlite:{}", files.join("redeemd.db").display()),
            Database::Postgres => server.create("redeemd")?,
        };
        valley.settings.limits = json!({
            "requests_per_minute": 10_000_000, "claims_per_minute": 10_000_000,
            "claim_bytes_per_minute": u32::MAX, "client_connections": 512,
        });
        report[database.name()] = json!({
            "load": load(&valley, &files, arguments.seconds)?,
            "store": store(&valley, &files, &server, arguments.receipts)?,
        });
    }
    fs::write(
        &arguments.out,
        serde_json::to_string_pretty(&report)? + "\n",
    )?;
    fs::remove_dir_all(&files)?;
    Ok(())
}

/// One export, on one processor: the whole program, from start to end.
fn verify(files: &Path) -> Result<Value> {
    let people = people()?;
    let mut report = json!({});
    for (name, epochs, receipts) in [
        ("a_receipt_for_each_offer", 20_000, 1),
        ("50_receipts_for_each_offer", 400, 50),
    ] {
        let trade = trade(&people[0]);
        let file = files.join("export");
        fs::write(
            &file,
            trade.export((1..=epochs).map(|epoch| (epoch, receipts)))?,
        )?;
        let begin = Instant::now();
        let program = redeemd::program()?;
        let arguments = format!("-c 0 {} check {}", program.display(), file.display());
        command::run("taskset", &arguments)?;
        let seconds = begin.elapsed().as_secs_f64();
        let all = (epochs * receipts) as f64;
        report[name] = json!({
            "receipts": all,
            "receipts_per_second": (all / seconds).round(),
            "signatures_per_second": ((all + epochs as f64) / seconds).round(),
        });
    }
    Ok(report)
}

fn people() -> Result<Vec<[Person; 2]>> {
    let pair = |number| {
        let person = |role| Person::new(&format!("{role} {number}"));
        Ok([person("relay")?, person("phone")?])
    };
    (0..PAIRS).map(pair).collect()
}

fn trade(pair: &[Person; 2]) -> Trade<'_> {
    Trade {
        network: "village",
        provider: &pair[0].node,
        consumer: &pair[1].node,
    }
}

/// Claims of one new receipt each, sent by wrk.
fn load(valley: &Valley, files: &Path, seconds: u64) -> Result<Value> {
    let people = people()?;
    let service = Redeemd::start(&valley.settings)?;
    for pair in &people {
        valley.enroll(&pair[1])?;
        for person in pair {
            valley.register(&service, person)?;
        }
    }
    let claims = files.join("claims");
    let _ = fs::remove_dir_all(&claims);
    fs::create_dir(&claims)?;
    let count = 1000 * seconds;
    for number in 0..count {
        let trade = trade(&people[(number % PAIRS) as usize]);
        let claim = trade.export([(1 + number / PAIRS, 1)])?;
        fs::write(claims.join(number.to_string()), claim)?;
    }
    let said = wrk(&service, &claims, count, seconds)?;
    ensure!(said["refused"] == 0, "{said}");
    let memory = service.memory_kib()?;
    service.stop()?;
    valley.audit()?;
    Ok(json!({ "wrk": said, "memory_kib": memory }))
}

fn wrk(service: &Redeemd, claims: &Path, count: u64, seconds: u64) -> Result<Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/settlement/bench/claims.lua");
    let mut wrk = Command::new("wrk");
    wrk.args([
        "-t",
        "2",
        "-c",
        "16",
        "-d",
        &seconds.to_string(),
        "--timeout",
        "30s",
    ]);
    wrk.args([
        "-s",
        script,
        &format!("http://{}/v1/claims", service.address),
    ]);
    wrk.arg("--").arg(claims).arg(count.to_string());
    let output = command::output(&mut wrk, None)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = said.lines().find(|line| line.starts_with('{'));
    serde_json::from_str(line.with_context(|| said.clone())?).with_context(|| said.clone())
}

/// So many receipts in the store.
fn store(valley: &Valley, files: &Path, server: &Postgres, receipts: u64) -> Result<Value> {
    let service = Redeemd::start(&valley.settings)?;
    let people = people()?;
    let mut bringing = std::time::Duration::ZERO;
    for claim in 0..receipts / CLAIM {
        let pair = &people[(claim % PAIRS) as usize];
        let first = 1_000_000 + claim * CLAIM;
        let mut records = Vec::new();
        for epoch in first..first + CLAIM {
            let offer = trade(pair).offer(epoch, PRICE);
            let receipt = trade(pair).receipt(&offer, None, 1)?;
            records.extend([Record::OfferMade(offer), Record::ReceiptReceived(receipt)]);
        }
        let export = export("village", &pair[0].node, &records);
        let begin = Instant::now();
        let answer = service.claim(&export)?;
        bringing += begin.elapsed();
        ensure!(answer.status == 200, "{}", answer.text());
    }
    let memory = service.memory_kib()?;
    service.stop()?;
    let begin = Instant::now();
    valley.audit()?;
    let audit = begin.elapsed().as_secs_f64();
    Ok(json!({
        "receipts": receipts,
        "seconds": bringing.as_secs_f64().round(),
        "receipts_per_second": (receipts as f64 / bringing.as_secs_f64()).round(),
        "memory_kib": memory,
        "bytes": size(valley, files, server, &valley.settings)?,
        "audit_seconds": audit.round(),
    }))
}

fn size(valley: &Valley, files: &Path, server: &Postgres, settings: &Settings) -> Result<u64> {
    match valley.database {
        Database::Sqlite => Ok(fs::metadata(files.join("redeemd.db"))?.len()),
        Database::Postgres => {
            let name = settings.database.rsplit('/').next().unwrap_or_default();
            let statement = "SELECT pg_database_size(current_database())";
            Ok(server.query(name, statement)?.parse()?)
        }
    }
}
