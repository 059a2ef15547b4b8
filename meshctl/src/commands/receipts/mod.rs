//! `meshctl receipts …`: one file for each subcommand, and one for the receipts of other nodes.

mod carried;
mod export;
mod list;
mod show;
mod stats;
mod verify;

use std::path::Path;

use control_api::Exit;
use receipts::log::VerifyError;

use super::Daemon;
use crate::cli::Receipts;
use crate::failure::Failure;
use crate::output::Output;

pub(super) fn run(daemon: &Daemon, output: Output, command: Receipts) -> Result<(), Failure> {
    match command {
        Receipts::List { carried, watch } => watch.run(output, |output| match carried {
            false => list::run(daemon, output),
            true => carried::list(daemon, output),
        }),
        Receipts::Show { node } => show::run(daemon, output, node),
        Receipts::Stats { days, watch } => {
            watch.run(output, |output| stats::run(daemon, output, days))
        }
        Receipts::Verify { files } => verify::run(output, &files),
        Receipts::Export {
            carried: Some(directory),
            ..
        } => carried::export(daemon, output, &directory),
        Receipts::Export { file, .. } => export::run(daemon, output, &file.unwrap_or_default()),
        Receipts::Import { file } => carried::import(daemon, output, &file),
    }
}

fn unverified(file: &Path, error: &VerifyError) -> Failure {
    Failure::new(
        Exit::VerificationFailed,
        format!("{}: {error}", file.display()),
    )
}

pub(super) fn counted(count: usize, what: &str) -> String {
    if count == 1 {
        format!("1 {what}")
    } else {
        format!("{count} {what}s")
    }
}
