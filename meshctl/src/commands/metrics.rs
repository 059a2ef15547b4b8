//! `meshctl metrics`

use std::path::Path;

use control_api::{Exit, Metrics};

use super::Daemon;
use crate::failure::Failure;
use crate::{output, private_file};

/// Prints them, or puts them where the textfile collector of node_exporter finds them.
pub(super) fn run(daemon: &Daemon, file: Option<&Path>) -> Result<(), Failure> {
    let mut client = daemon.connect()?;
    let metrics = Metrics {
        status: &client.status()?,
        neighbors: &client.neighbors()?,
        interfaces: &client.interfaces()?,
        accounts: &client.receipts()?,
    };
    let text = metrics.to_string();
    let Some(file) = file else {
        return output::write_all(&text);
    };
    private_file::replace_public(file, text.as_bytes())
        .map_err(|error| Failure::new(Exit::Failure, format!("{}: {error}", file.display())))
}
