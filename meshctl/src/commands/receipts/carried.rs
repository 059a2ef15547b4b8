//! The receipts of other nodes: `import FILE`, `list --carried`, `export --carried DIR`.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::time::Instant;

use control_api::{CarriedFile, CarriedFiles, Exit, KeptAs, MAX_IMPORT_BYTES, NodeId, SCHEMA};
use receipts::log;
use serde::Serialize;

use super::verify::Verified;
use super::{counted, unverified};
use crate::commands::Daemon;
use crate::failure::Failure;
use crate::format;
use crate::output::{self, Column, Output, left, right, table};
use crate::private_file;
use crate::tsv::Layout;

const COLUMNS: [Column; 3] = [left("OWNER"), left("NODE ID"), right("BYTES")];

/// meshd checks a file as this program does, while it has other things to do.
const SLOWER: u32 = 10;

const LAYOUT: Layout = Layout {
    list: "files",
    columns: &["owner.node_id", "owner.name", "bytes"],
};

pub(in crate::commands) fn list(daemon: &Daemon, output: Output) -> Result<(), Failure> {
    output.show_list(&daemon.connect()?.carried_receipts()?, LAYOUT, |result| {
        let CarriedFiles { files, .. } = result;
        let rows = files.iter().map(|CarriedFile { owner, bytes }| {
            [
                format::name(owner.name.as_deref()),
                owner.node_id.short(),
                bytes.to_string(),
            ]
        });
        table(COLUMNS, rows, "No receipts of other nodes are carried.")
    })
}

/// What `import` did.
#[derive(Debug, Serialize)]
struct Imported {
    #[serde(flatten)]
    verified: Verified,
    outcome: KeptAs,
}

/// The file is checked here first: a bad one does not reach meshd.
pub(in crate::commands) fn import(
    daemon: &Daemon,
    output: Output,
    file: &Path,
) -> Result<(), Failure> {
    let bytes = read(file)?;
    let begin = Instant::now();
    let report = log::verify(&bytes).map_err(|error| unverified(file, &error))?;
    let check = begin.elapsed() * SLOWER;
    let verified = Verified::of_one(file, report)?;
    if output.is_text() {
        output::write_all(&verified.text())?;
    }
    let kept = daemon.connect()?.import_receipts(&bytes, check)?;
    let imported = Imported {
        verified,
        outcome: kept.outcome,
    };
    output.show(&imported, |imported| {
        let outcome = match imported.outcome {
            KeptAs::New => "meshd carries them now.",
            KeptAs::Newer => "meshd carries them now, in place of an older file.",
            KeptAs::Held => "meshd carries them already.",
        };
        format!("\n{outcome}\n")
    })
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    fs::File::open(file)
        .and_then(|it| it.take(MAX_IMPORT_BYTES as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| Failure::file(file, &error))?;
    if bytes.len() > MAX_IMPORT_BYTES {
        let message = format!("{}: longer than {MAX_IMPORT_BYTES} bytes", file.display());
        return Err(Failure::new(Exit::Failure, message));
    }
    Ok(bytes)
}

/// What `export --carried` wrote.
#[derive(Debug, Serialize)]
struct Exported {
    schema: u32,
    files: Vec<ExportedFile>,
    failed: Vec<FailedFile>,
}

#[derive(Debug, Serialize)]
struct ExportedFile {
    owner: NodeId,
    file: String,
    receipts: usize,
    /// It has its end.
    complete: bool,
}

/// One that does not hold any more.
#[derive(Debug, Serialize)]
struct FailedFile {
    owner: NodeId,
    problem: String,
}

pub(in crate::commands) fn export(
    daemon: &Daemon,
    output: Output,
    directory: &Path,
) -> Result<(), Failure> {
    let mut client = daemon.connect()?;
    let carried = client.carried_receipts()?;
    fs::create_dir_all(directory).map_err(|error| Failure::file(directory, &error))?;
    let mut exported = Exported {
        schema: SCHEMA,
        files: Vec::new(),
        failed: Vec::new(),
    };
    for CarriedFile { owner, .. } in carried.files {
        let owner = owner.node_id;
        let bytes = client.export_carried(owner)?;
        let file = directory.join(format!("{owner}.receipts"));
        match log::verify(&bytes) {
            Ok(report) => {
                private_file::replace(&file, &bytes)
                    .map_err(|error| Failure::file(&file, &error))?;
                exported.files.push(ExportedFile {
                    owner,
                    file: file.display().to_string(),
                    receipts: report.receipts,
                    complete: report.has_end,
                });
            }
            Err(error) => exported.failed.push(FailedFile {
                owner,
                problem: error.to_string(),
            }),
        }
    }
    output.show(&exported, exported_text)?;
    match exported.failed.as_slice() {
        [] => Ok(()),
        _ => Err(Failure::silent(Exit::VerificationFailed)),
    }
}

fn exported_text(exported: &Exported) -> String {
    let files = exported.files.iter().map(|it| {
        let rest = match it.complete {
            true => "",
            false => ", without an end",
        };
        format!(
            "{}: {}, all valid{rest}\n",
            format::harmless(&it.file),
            counted(it.receipts, "receipt")
        )
    });
    let failed = exported.failed.iter().map(|it| {
        format!(
            "{}: not exported, the file of meshd does not hold: {}\n",
            it.owner.short(),
            it.problem
        )
    });
    let text: String = files.chain(failed).collect();
    match text.is_empty() {
        true => "No receipts of other nodes are carried.\n".to_owned(),
        false => text,
    }
}
