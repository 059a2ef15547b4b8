//! `meshctl receipts export FILE`

use std::path::Path;

use control_api::{Exit, SCHEMA};
use receipts::log;
use serde::Serialize;

use super::counted;
use crate::commands::Daemon;
use crate::failure::Failure;
use crate::format;
use crate::output::Output;
use crate::private_file;

/// What meshd hands out is checked before it takes the place of an older file.
pub(in crate::commands) fn run(
    daemon: &Daemon,
    output: Output,
    file: &Path,
) -> Result<(), Failure> {
    let exported = daemon.connect()?.export_receipts()?;
    let report = log::verify(&exported)
        .map_err(|error| Failure::new(Exit::Failure, format!("the export of meshd: {error}")))?;
    if !report.has_end {
        let message = "the export of meshd has no end: it is of an earlier version, restart it";
        return Err(Failure::new(Exit::Failure, message));
    }
    private_file::replace(file, &exported).map_err(|error| Failure::file(file, &error))?;
    let result = Exported {
        schema: SCHEMA,
        file: file.display().to_string(),
        bytes: exported.len(),
        receipts: report.receipts,
    };
    output.show(&result, text)
}

/// What `export` wrote.
#[derive(Debug, Serialize)]
struct Exported {
    schema: u32,
    file: String,
    bytes: usize,
    receipts: usize,
}

fn text(exported: &Exported) -> String {
    let file = format::harmless(&exported.file);
    format!(
        "{file}: {} in {} bytes, all valid\n",
        counted(exported.receipts, "receipt"),
        exported.bytes
    )
}
