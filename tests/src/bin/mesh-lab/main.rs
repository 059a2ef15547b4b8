//! `mesh-lab`: villages of routers on this machine, to look at.
//!
//! | module | what it holds |
//! |---|---|
//! | `demo` | the main job, step by step, with a table of what was measured |
//! | `show` | how progress and figures are printed |
//! | `shell` | a village of any shape and a shell in it |

#![expect(clippy::print_stdout, reason = "a program for people to watch")]

mod demo;
mod shell;
mod show;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use mesh_tests::sandbox;

/// Villages of mesh routers in network namespaces of this machine.
///
/// Runs without root: everything happens in namespaces of its own, nothing of it touches this
/// machine's network, and all of it is gone when the program ends, however it ends.
#[derive(Debug, Parser)]
#[command(name = "mesh-lab", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Options),
    Shell(shell::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match sandbox::enter().and_then(|()| run(&cli)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode> {
    match &cli.command {
        Command::Demo(options) => demo::run(options),
        Command::Shell(options) => shell::run(options),
    }
}
