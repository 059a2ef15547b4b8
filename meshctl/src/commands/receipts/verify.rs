//! `meshctl receipts verify FILE…`

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use control_api::{AttoSmt, Exit, NodeId, SCHEMA};
use receipts::log::{self, Report};
use serde::Serialize;

use super::{counted, unverified};
use crate::failure::Failure;
use crate::format;
use crate::output::{Column, Output, left, right, table};

const COLUMNS: [Column; 7] = [
    left("PROVIDER"),
    left("CONSUMER"),
    right("EPOCHS"),
    right("UP"),
    right("DOWN"),
    right("SERVICE"),
    right("SMT"),
];

/// Follows the line of a file.
const WITHOUT_END: &str = "  It has no end: what is here is valid, but more may have been cut off.
  Exports of earlier versions had none, and segments of a log have none.
";

/// Files that contradict each other are each valid, and still do not hold together. One without an end
/// is shown for what it is, and is no proof that this is all.
pub(in crate::commands) fn run(output: Output, files: &[PathBuf]) -> Result<(), Failure> {
    let mut reports = Vec::new();
    for file in files {
        let bytes = std::fs::read(file).map_err(|error| Failure::file(file, &error))?;
        let report = log::verify(&bytes).map_err(|error| unverified(file, &error))?;
        reports.push((file.as_path(), report));
    }
    let verified = Verified::merged(reports)?;
    output.show(&verified, Verified::text)?;
    match verified.valid && verified.files.iter().all(|it| it.complete) {
        true => Ok(()),
        false => Err(Failure::silent(Exit::VerificationFailed)),
    }
}

/// What `verify` found in files that hold.
#[derive(Debug, Serialize)]
pub(super) struct Verified {
    schema: u32,
    /// No file contradicts another.
    valid: bool,
    /// 32 hex digits.
    network_id: String,
    files: Vec<VerifiedFile>,
    offers: usize,
    receipts: usize,
    /// Over all files; what is in several counts once.
    pairs: Vec<Pair>,
    contradictions: Vec<Contradiction>,
}

#[derive(Debug, Serialize)]
struct VerifiedFile {
    file: String,
    owner: NodeId,
    /// It has its end, so that nothing was cut off behind the last record.
    complete: bool,
    offers: usize,
    receipts: usize,
}

/// What a consumer owes a provider, over all epochs.
#[derive(Debug, Serialize)]
struct Pair {
    provider: NodeId,
    consumer: NodeId,
    epochs: usize,
    bytes_up: u64,
    bytes_down: u64,
    service_s: u64,
    amount_atto: AttoSmt,
}

/// Two receipts of one number with different content: proof that the consumer cheated.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Contradiction {
    provider: NodeId,
    consumer: NodeId,
    epoch: u64,
    seq: u64,
    /// Whether it shows only when the files are put side by side.
    between_files: bool,
}

impl Verified {
    /// What one verified file says.
    ///
    /// # Errors
    /// Its sums leave the range.
    pub(super) fn of_one(file: &Path, report: Report) -> Result<Self, Failure> {
        Self::merged(vec![(file, report)])
    }

    fn merged(reports: Vec<(&Path, Report)>) -> Result<Self, Failure> {
        let files = reports
            .iter()
            .map(|(file, report)| VerifiedFile::new(file, report));
        let files = files.collect();
        let mut within: Vec<Place> = reports.iter().flat_map(|(_, it)| places(it)).collect();
        let mut merged: Option<Report> = None;
        let mut last = Path::new("");
        for (file, report) in reports {
            last = file;
            merged = Some(match merged.take() {
                None => report,
                Some(mut others) => {
                    others
                        .merge(report)
                        .map_err(|error| invalid(file, &error))?;
                    others
                }
            });
        }
        let Some(merged) = merged else {
            return Err(Failure::new(Exit::Usage, "no file"));
        };
        let contradictions: BTreeSet<Contradiction> = places(&merged)
            .map(|place| {
                let known = within.iter().position(|it| *it == place);
                known.map(|known| within.swap_remove(known));
                Contradiction::new(place, known.is_none())
            })
            .collect();
        let pairs = merged.pairs().map_err(|error| invalid(last, &error))?;
        Ok(Self {
            schema: SCHEMA,
            valid: !contradictions.iter().any(|it| it.between_files),
            network_id: merged.header.network.to_string(),
            files,
            offers: merged.offers,
            receipts: merged.receipts,
            pairs: pairs.iter().map(Pair::new).collect(),
            contradictions: contradictions.into_iter().collect(),
        })
    }

    /// What a person reads.
    pub(super) fn text(&self) -> String {
        let files = self.files.iter().map(VerifiedFile::text);
        let rows = self.pairs.iter().map(Pair::row);
        let sums = table(COLUMNS, rows, "Nobody owes anybody anything.");
        let contradictions = self.contradictions.iter().map(Contradiction::text);
        format!(
            "{}\n{sums}{}",
            files.collect::<String>(),
            contradictions.collect::<String>()
        )
    }
}

fn invalid(file: &Path, error: &dyn std::error::Error) -> Failure {
    let message = format!("{}: {error}", file.display());
    Failure::new(Exit::VerificationFailed, message)
}

type Place = (NodeId, NodeId, u64, u64);

/// Where a consumer contradicts itself: provider, consumer, epoch, seq.
fn places(report: &Report) -> impl Iterator<Item = Place> + '_ {
    report.equivocations.iter().map(|proof| {
        let heading = proof.receipts().0.heading();
        (
            NodeId::new(*heading.provider.as_bytes()),
            NodeId::new(*heading.consumer.as_bytes()),
            heading.position.epoch,
            heading.position.seq.into(),
        )
    })
}

impl VerifiedFile {
    fn new(file: &Path, report: &Report) -> Self {
        Self {
            file: file.display().to_string(),
            owner: NodeId::new(*report.header.owner.as_bytes()),
            complete: report.has_end,
            offers: report.offers,
            receipts: report.receipts,
        }
    }

    fn text(&self) -> String {
        let outcome = match self.complete {
            true => "valid",
            false => "incomplete",
        };
        let what = format!(
            "{}: {outcome}, {}, written by {}\n",
            format::harmless(&self.file),
            counted(self.receipts, "receipt"),
            self.owner.short(),
        );
        match self.complete {
            true => what,
            false => format!("{what}{WITHOUT_END}"),
        }
    }
}

impl Pair {
    fn new(pair: &log::PairTotals) -> Self {
        Self {
            provider: NodeId::new(*pair.provider.as_bytes()),
            consumer: NodeId::new(*pair.consumer.as_bytes()),
            epochs: pair.epochs,
            bytes_up: pair.totals.up_bytes,
            bytes_down: pair.totals.down_bytes,
            service_s: pair.totals.seconds.into(),
            amount_atto: AttoSmt::new(pair.amount.atto_smt()),
        }
    }

    fn row(&self) -> [String; COLUMNS.len()] {
        [
            self.provider.short(),
            self.consumer.short(),
            self.epochs.to_string(),
            format::bytes(self.bytes_up),
            format::bytes(self.bytes_down),
            format::seconds(self.service_s),
            format::smt(self.amount_atto),
        ]
    }
}

impl Contradiction {
    const fn new((provider, consumer, epoch, seq): Place, between_files: bool) -> Self {
        Self {
            provider,
            consumer,
            epoch,
            seq,
            between_files,
        }
    }

    fn text(&self) -> String {
        let between = match self.between_files {
            true => ", one in each of two files",
            false => "",
        };
        format!(
            "\n{} cheated {}: two different receipts {} of epoch {}{between}\n",
            self.consumer.short(),
            self.provider.short(),
            self.seq,
            self.epoch,
        )
    }
}
