//! `meshctl`: what meshd knows and does, for people and for programs.
//!
//! | module           | what it holds                                            |
//! |------------------|----------------------------------------------------------|
//! | [`cli`]          | the command line                                         |
//! | [`commands`]     | one file per subcommand: ask, then show                  |
//! | [`bars`]         | bars of a plot                                           |
//! | [`output`]       | standard output in every form, through one writer        |
//! | [`tsv`]          | results as tab-separated values                          |
//! | [`format`]       | values as people read them; untrusted text made harmless |
//! | [`failure`]      | why a command ends early, and with which exit code       |
//! | [`private_file`] | a file for its owner, written whole or not at all        |
//!
//! **Invariants.** Results go to standard output, one line about a failure to standard error.
//! What other nodes chose (names, reasons) reaches a terminal without control characters only.

mod bars;
mod cli;
mod commands;
mod failure;
mod format;
mod output;
mod private_file;
mod tsv;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use control_api::Exit;

use crate::cli::Cli;
use crate::failure::Failure;

/// The program, with its name as the first of `arguments`.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let ended = match Cli::try_parse_from(arguments) {
        Ok(cli) => commands::run(cli),
        Err(error) => explain(&error),
    };
    ended.map_or_else(report, |()| Exit::Ok).into()
}

/// `--help` and `--version` come as errors, too.
fn explain(error: &clap::Error) -> Result<(), Failure> {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        return output::write_all(&error.render().to_string());
    }
    // Standard error gone: there is nobody left to tell.
    let _ = write!(io::stderr(), "{}", error.render());
    Err(Failure::silent(Exit::Usage))
}

fn report(failure: Failure) -> Exit {
    failure.say();
    failure.exit
}
