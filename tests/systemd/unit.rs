//! A service, as systemd sees it.

use anyhow::{Context, Result};
use mesh_tests::command;

/// The unit under test.
pub(crate) const MESHD: &str = "meshd.service";

/// A property of [`MESHD`].
pub(crate) fn property(name: &str) -> Result<String> {
    let value = command::run("systemctl", &format!("show --value -p {name} {MESHD}"))?;
    Ok(value.trim().to_owned())
}

/// Runs `systemctl VERB` on [`MESHD`], with the end of its log if that fails.
pub(crate) fn systemctl(verb: &str) -> Result<()> {
    command::run("systemctl", &format!("{verb} {MESHD}"))
        .map(drop)
        .with_context(log)
}

/// The end of what it has logged.
pub(crate) fn log() -> String {
    let lines = format!("--no-pager -n 40 -o cat -u {MESHD}");
    let log = command::run("journalctl", &lines);
    log.unwrap_or_else(|error| format!("no log: {error}"))
}

/// The process of the daemon.
pub(crate) fn pid() -> Result<i32> {
    let pid = property("MainPID")?;
    pid.parse().with_context(|| format!("MainPID={pid}"))
}
