//! `meshctl receipts verify FILE`

use std::path::Path;

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

pub(in crate::commands) fn run(output: Output, file: &Path) -> Result<(), Failure> {
    let bytes = std::fs::read(file).map_err(|error| Failure::file(file, &error))?;
    let report = log::verify(&bytes).map_err(|error| unverified(file, &error))?;
    output.show(&Verified::new(file, &report)?, text)
}

/// What `verify` found in a file that holds.
#[derive(Debug, Serialize)]
struct Verified {
    schema: u32,
    file: String,
    valid: bool,
    /// 32 hex digits.
    network_id: String,
    owner: NodeId,
    offers: usize,
    receipts: usize,
    pairs: Vec<Pair>,
    contradictions: Vec<Contradiction>,
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
#[derive(Debug, Serialize)]
struct Contradiction {
    provider: NodeId,
    consumer: NodeId,
    epoch: u64,
    seq: u64,
}

impl Verified {
    fn new(file: &Path, report: &Report) -> Result<Self, Failure> {
        let pairs = report.pairs().map_err(|error| {
            Failure::new(
                Exit::VerificationFailed,
                format!("{}: {error}", file.display()),
            )
        })?;
        let pairs = pairs.iter().map(|pair| Pair {
            provider: NodeId::new(*pair.provider.as_bytes()),
            consumer: NodeId::new(*pair.consumer.as_bytes()),
            epochs: pair.epochs,
            bytes_up: pair.totals.up_bytes,
            bytes_down: pair.totals.down_bytes,
            service_s: pair.totals.seconds.into(),
            amount_atto: AttoSmt::new(pair.amount.atto_smt()),
        });
        let contradictions = report.equivocations.iter().map(|proof| {
            let heading = proof.receipts().0.heading();
            Contradiction {
                provider: NodeId::new(*heading.provider.as_bytes()),
                consumer: NodeId::new(*heading.consumer.as_bytes()),
                epoch: heading.position.epoch,
                seq: heading.position.seq.into(),
            }
        });
        Ok(Self {
            schema: SCHEMA,
            file: file.display().to_string(),
            valid: true,
            network_id: report.header.network.to_string(),
            owner: NodeId::new(*report.header.owner.as_bytes()),
            offers: report.offers,
            receipts: report.receipts,
            pairs: pairs.collect(),
            contradictions: contradictions.collect(),
        })
    }
}

fn text(verified: &Verified) -> String {
    let mut text = format!(
        "{}: valid, {}, written by {}\n\n",
        format::harmless(&verified.file),
        counted(verified.receipts, "receipt"),
        verified.owner.short(),
    );
    let rows = verified.pairs.iter().map(|pair| {
        [
            pair.provider.short(),
            pair.consumer.short(),
            pair.epochs.to_string(),
            format::bytes(pair.bytes_up),
            format::bytes(pair.bytes_down),
            format::seconds(pair.service_s),
            format::smt(pair.amount_atto),
        ]
    });
    text.push_str(&table(COLUMNS, rows, "Nobody owes anybody anything."));
    for proof in &verified.contradictions {
        text.push_str(&format!(
            "\n{} cheated {}: two different receipts {} of epoch {}\n",
            proof.consumer.short(),
            proof.provider.short(),
            proof.seq,
            proof.epoch,
        ));
    }
    text
}
