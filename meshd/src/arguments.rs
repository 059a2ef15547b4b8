//! The command line, which the manual page is made of as well.

use std::path::PathBuf;

use clap::Parser;

use crate::config::DEFAULT_PATH;

/// Mesh router daemon: finds other nodes by radio or cable, routes for them, and brings everybody
/// online through whichever node has an uplink.
///
/// Runs in the foreground and logs to standard error. SIGTERM ends it and removes everything it
/// put into the kernel; SIGUSR1 ends it and leaves everything to a successor; SIGHUP reads the
/// configuration again. The log level is taken from RUST_LOG (error, warn, info, debug, trace).
#[derive(Debug, Parser)]
#[command(name = "meshd", version)]
pub struct Arguments {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    pub config: PathBuf,
    /// Only check the configuration against itself and this machine.
    #[arg(long)]
    pub check: bool,
}
