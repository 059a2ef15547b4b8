//! `meshctl redeem`: receipts to a settlement service, cheques back.
//!
//! ```text
//! meshd ─► queue: a file for each node ─┐
//! files of others ──────────────────────┴─► bundle: verified, in parts ─► delivery: sent, remembered ─► cheques: merged
//! ```
//!
//! What was sent is remembered next to the file, by part, so that sending goes on where it was broken off. The
//! service counts nothing twice, so forgetting it costs time only. Cheques are worth money: none is replaced but by a
//! better one.

mod bundle;
mod cheques;
mod delivery;
mod queue;
mod report;

use std::io::{self, Write as _};
use std::path::PathBuf;

use control_api::{Exit, SCHEMA};
use ethereum::rpc::{Limits, NodeUrl};
use redeem_api::client::Service;

use self::bundle::Bundle;
use self::delivery::Delivery;
use self::report::{Redeemed, RedeemedFile};
use super::Daemon;
use crate::cli;
use crate::failure::Failure;
use crate::format;
use crate::output::Output;

/// How long one part may take: 256 KiB over a line of 20 kbit/s.
const PART_TIME: std::time::Duration = std::time::Duration::from_secs(120);

/// The longest answer of a service: what it tells of a node, up to 2000 pairs, takes less than half of it.
const ANSWER_BYTES: usize = 2 << 20;

pub(super) fn run(daemon: &Daemon, output: Output, options: &cli::Redeem) -> Result<(), Failure> {
    let mut failures = Vec::new();
    let bundles = files(daemon, options)?;
    let bundles = bundles.iter().map(|file| Bundle::read(file));
    let bundles = successes(bundles, &mut failures);
    let files = match options.dry_run {
        true => bundles.iter().map(RedeemedFile::planned).collect(),
        false => deliver(bundles, options, &mut failures)?,
    };
    let redeemed = Redeemed {
        schema: SCHEMA,
        dry_run: options.dry_run,
        files,
    };
    output.show(&redeemed, Redeemed::text)?;
    for failure in &failures {
        tell(failure.message.as_deref().unwrap_or_default());
    }
    if let Some(first) = failures.first() {
        return Err(Failure::silent(first.exit));
    }
    match redeemed.waits() {
        true => Err(Failure::silent(Exit::Degraded)),
        false => Ok(()),
    }
}

fn files(daemon: &Daemon, options: &cli::Redeem) -> Result<Vec<PathBuf>, Failure> {
    if options.files.is_empty() {
        queue::collect(daemon, &options.queue)
    } else {
        Ok(options.files.clone())
    }
}

/// One file that cannot be redeemed does not hold the others back.
fn successes<T>(
    results: impl Iterator<Item = Result<T, Failure>>,
    failures: &mut Vec<Failure>,
) -> Vec<T> {
    let mut good = Vec::new();
    for result in results {
        match result {
            Ok(value) => good.push(value),
            Err(failure) => failures.push(failure),
        }
    }
    good
}

/// For who waits. If nobody listens, nothing is lost.
fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "meshctl: {}", format::harmless(text));
}

fn deliver(
    bundles: Vec<Bundle>,
    options: &cli::Redeem,
    failures: &mut Vec<Failure>,
) -> Result<Vec<RedeemedFile>, Failure> {
    let url = options.service.clone().ok_or_else(no_service)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
    let service = service(url)?;
    let mut delivery = Delivery::new(service, options.patience, options.again);
    let delivered = bundles
        .into_iter()
        .map(|bundle| runtime.block_on(delivery.deliver(bundle)));
    Ok(successes(delivered, failures))
}

fn service(url: NodeUrl) -> Result<Service, Failure> {
    let limits = Limits {
        whole: PART_TIME,
        answer_bytes: ANSWER_BYTES,
        ..Limits::default()
    };
    Service::new(url, limits).map_err(|error| Failure::new(Exit::Failure, error.to_string()))
}

fn no_service() -> Failure {
    let message = "which settlement service? --service https://…";
    Failure::new(Exit::Usage, message)
}
