//! `meshctl log-level LEVEL`

use control_api::LogLevel;

use super::Daemon;
use crate::failure::Failure;
use crate::output::Output;

pub(super) fn run(daemon: &Daemon, output: Output, level: LogLevel) -> Result<(), Failure> {
    let result = daemon.connect()?.set_log_level(level)?;
    output.show(&result, |set| {
        format!("meshd logs from level {} on, until it ends.\n", set.level)
    })
}
