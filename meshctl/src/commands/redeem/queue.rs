//! Receipts that wait for a way to the service: a directory with a file for each node.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use control_api::NodeId;
use receipts::log::{Report, verify};

use super::tell;
use crate::commands::Daemon;
use crate::failure::Failure;
use crate::private_file;

/// Of the files that wait.
const EXTENSION: &str = "receipts";

/// Takes over from meshd what it has, if it runs, and returns all files that wait.
pub(super) fn collect(daemon: &Daemon, queue: &Path) -> Result<Vec<PathBuf>, Failure> {
    let created = DirBuilder::new().recursive(true).mode(0o700).create(queue);
    created.map_err(|error| Failure::file(queue, &error))?;
    let waiting = files(queue)?;
    match daemon.connect() {
        Ok(mut client) => {
            put(queue, &client.export_receipts()?)?;
            for carried in client.carried_receipts()?.files {
                let export = client.export_carried(carried.owner.node_id)?;
                put(queue, &export)?;
            }
        }
        Err(error) if waiting.is_empty() => return Err(error.into()),
        // What waits can be sent without it.
        Err(_) => {}
    }
    files(queue)
}

fn files(queue: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error| Failure::file(queue, &error);
    let mut files = Vec::new();
    for entry in fs::read_dir(queue).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|it| it == EXTENSION) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Puts an export into the queue, in the place of an older one of the same node if it has all that that one has.
/// What does not hold is left out: it would be refused.
fn put(queue: &Path, export: &[u8]) -> Result<(), Failure> {
    let report = match verify(export) {
        Ok(report) => report,
        Err(error) => {
            tell(&format!(
                "an export of meshd is left out, it does not verify: {error}"
            ));
            return Ok(());
        }
    };
    if report.newest.is_empty() && report.equivocations.is_empty() {
        return Ok(());
    }
    let file = place(queue, &report);
    private_file::replace(&file, export).map_err(|error| Failure::file(&file, &error))
}

fn place(queue: &Path, report: &Report) -> PathBuf {
    let owner = NodeId::new(*report.header.owner.as_bytes());
    let names = (1_u64..).map(|number| match number {
        1 => format!("{owner}.{EXTENSION}"),
        more => format!("{owner}-{more}.{EXTENSION}"),
    });
    let replaceable = |file: &PathBuf| match fs::read(file).map(|known| verify(&known)) {
        Ok(Ok(known)) => report.covers(&known),
        Ok(Err(_)) => false,
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    let mut places = names.map(|name| queue.join(name));
    // There is always one that does not exist yet.
    places.find(replaceable).unwrap_or_default()
}
