//! `meshctl completions SHELL`

use clap::CommandFactory as _;
use clap_complete::{Generator as _, Shell};

use crate::cli::Cli;
use crate::failure::Failure;
use crate::output;

/// By way of a buffer: clap_complete panics when it cannot write.
pub(super) fn run(shell: Shell) -> Result<(), Failure> {
    let mut command = Cli::command();
    command.set_bin_name("meshctl");
    command.build();
    let mut script = Vec::new();
    shell.generate(&command, &mut script);
    output::write_all(&String::from_utf8_lossy(&script))
}
