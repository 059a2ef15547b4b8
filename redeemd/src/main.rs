//! Settlement service: turns receipts into SMT.
//!
//! # Map
//! ```text
//! main    command line, exit status
//! check   `redeemd check FILE…`: verify exported receipt logs, add them up
//! ```
//!
//! # Invariants
//! - Nothing is added up that was not verified completely: frames, hash chain, every signature,
//!   every amount. The rules are in [`receipts::log::verify`] and nowhere else.
//! - Each account counts once, however many files speak of it.
//!
//! Exit status: 0 every file verified, 1 one did not, 2 bad usage or a file that cannot be read.

mod check;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Settles bandwidth receipts.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Verify receipt logs or exports offline and print what each consumer owes each provider
    Check {
        /// Files written by `meshctl receipts export`, or receipt logs of stopped nodes
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Print node ids in full (64 digits)
        #[arg(long)]
        full_ids: bool,
    },
}

fn main() -> ExitCode {
    let Command::Check { files, full_ids } = Cli::parse().command;
    check::run(
        &files,
        full_ids,
        &mut std::io::stdout(),
        &mut std::io::stderr(),
    )
    .unwrap_or(ExitCode::from(2))
}
