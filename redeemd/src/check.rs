//! `redeemd check`: what a claim will be judged by, without network and database.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use comfy_table::{CellAlignment, Table, presets};
use receipts::log::{PairTotals, Report, VerifyError, verify};
use receipts::{NetworkId, Overflow, Party};

/// Digits of a node id in the table; enough to tell the nodes of a village apart.
const SHORT_ID: usize = 16;

/// Verifies every file, prints the sums per network and what is wrong with the rest.
///
/// # Errors
/// If the output cannot be written.
pub(crate) fn run(
    files: &[PathBuf],
    full_ids: bool,
    out: &mut impl Write,
    problems: &mut impl Write,
) -> io::Result<ExitCode> {
    let mut networks: BTreeMap<NetworkId, Networked> = BTreeMap::new();
    let mut status = Status::Verified;
    for file in files {
        match read(file) {
            Ok(report) => {
                if !report.has_end {
                    status = status.max(Status::NotVerified);
                    let file = file.display();
                    writeln!(
                        problems,
                        "redeemd: {file}: has no end: more may have been cut off"
                    )?;
                }
                add(&mut networks, report);
            }
            Err(problem) => {
                status = status.max(problem.status());
                writeln!(problems, "redeemd: {}: {problem}", file.display())?;
            }
        }
    }
    for (network, checked) in &networks {
        if let Err(Overflow) = print(network, checked, full_ids, out)? {
            status = status.max(Status::NotVerified);
            writeln!(problems, "redeemd: network {network}: {Overflow}")?;
        }
    }
    Ok(ExitCode::from(status as u8))
}

/// The exit status; the highest one of all files wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Status {
    Verified = 0,
    NotVerified = 1,
    Unreadable = 2,
}

enum Problem {
    Unreadable(io::Error),
    NotVerified(VerifyError),
}

impl Problem {
    const fn status(&self) -> Status {
        match self {
            Self::Unreadable(_) => Status::Unreadable,
            Self::NotVerified(_) => Status::NotVerified,
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "cannot be read: {error}"),
            Self::NotVerified(error) => write!(f, "does not verify: {error}"),
        }
    }
}

fn read(file: &Path) -> Result<Report, Problem> {
    let bytes = std::fs::read(file).map_err(Problem::Unreadable)?;
    verify(&bytes).map_err(Problem::NotVerified)
}

/// All verified files of one network.
struct Networked {
    files: usize,
    report: Report,
}

fn add(networks: &mut BTreeMap<NetworkId, Networked>, report: Report) {
    match networks.get_mut(&report.header.network) {
        None => {
            networks.insert(report.header.network, Networked { files: 1, report });
        }
        Some(known) => {
            known.files += 1;
            #[expect(clippy::expect_used, reason = "found by its network")]
            known.report.merge(report).expect("reports of one network");
        }
    }
}

fn print(
    network: &NetworkId,
    checked: &Networked,
    full_ids: bool,
    out: &mut impl Write,
) -> io::Result<Result<(), Overflow>> {
    let report = &checked.report;
    let pairs = match report.pairs() {
        Ok(pairs) => pairs,
        Err(overflow) => return Ok(Err(overflow)),
    };
    let id = |party: &Party| {
        let digits = party.to_string();
        let shown = if full_ids { digits.len() } else { SHORT_ID };
        digits.chars().take(shown).collect::<String>()
    };
    writeln!(
        out,
        "network {network}: verified {}, {}, {}",
        counted(checked.files, "file"),
        counted(report.offers, "offer"),
        counted(report.receipts, "receipt"),
    )?;
    writeln!(out, "{}", table(&pairs, id))?;
    for proof in &report.equivocations {
        let heading = proof.receipts().0.heading();
        writeln!(
            out,
            "contradiction: consumer {} signed two receipts {} for provider {}",
            id(&heading.consumer),
            heading.position,
            id(&heading.provider),
        )?;
    }
    Ok(Ok(()))
}

fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

fn table(pairs: &[PairTotals], id: impl Fn(&Party) -> String) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "PROVIDER", "CONSUMER", "EPOCHS", "UP", "DOWN", "SECONDS", "AMOUNT",
    ]);
    for pair in pairs {
        table.add_row([
            id(&pair.provider),
            id(&pair.consumer),
            pair.epochs.to_string(),
            pair.totals.up_bytes.to_string(),
            pair.totals.down_bytes.to_string(),
            pair.totals.seconds.to_string(),
            pair.amount.to_string(),
        ]);
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
