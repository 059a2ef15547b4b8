//! `meshctl receipts export FILE`

use std::path::Path;

use control_api::{Exit, SCHEMA};
use receipts::log::{self, Header};
use serde::Serialize;

use super::{counted, unverified};
use crate::commands::Daemon;
use crate::failure::Failure;
use crate::format;
use crate::output::Output;
use crate::private_file;

/// Of the log that meshd hands out, the file keeps the newest receipt of each account and what it
/// takes to check it.
pub(in crate::commands) fn run(
    daemon: &Daemon,
    output: Output,
    file: &Path,
) -> Result<(), Failure> {
    let bytes = daemon.connect()?.export_receipts()?;
    let bad_log = |error| Failure::new(Exit::Failure, format!("the log of meshd: {error}"));
    let header = Header::parse(&bytes).map_err(bad_log)?;
    let recovered = log::recover(&bytes, &header).map_err(bad_log)?;
    let exported = log::export(&header, &recovered.records);
    private_file::replace(file, &exported).map_err(|error| Failure::file(file, &error))?;
    let report = log::verify(&exported).map_err(|error| unverified(file, &error))?;
    let result = Exported {
        schema: SCHEMA,
        file: file.display().to_string(),
        bytes: exported.len(),
        receipts: report.receipts,
        unreadable_bytes: recovered.cut.map_or(0, |cut| cut.lost_bytes),
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
    /// Bytes of the log that hold no usable record.
    unreadable_bytes: usize,
}

fn text(exported: &Exported) -> String {
    let file = format::harmless(&exported.file);
    let mut text = format!(
        "{file}: {} in {} bytes, all valid\n",
        counted(exported.receipts, "receipt"),
        exported.bytes
    );
    if exported.unreadable_bytes > 0 {
        let lost = exported.unreadable_bytes;
        text.push_str(&format!(
            "The log of meshd is damaged: {lost} bytes could not be used.\n"
        ));
    }
    text
}
