//! `meshctl wallet backup FILE`

use std::fs;
use std::path::Path;

use control_api::{Exit, SCHEMA};
use ethereum::keystore::Keystore;
use serde::Serialize;

use super::passphrase::Passphrases;
use super::store::{self, Store};
use crate::failure::Failure;
use crate::format;
use crate::output::Output;

/// What is opened is the copy, as it is on the disk.
pub(super) fn run(
    output: Output,
    store: &Store,
    passphrases: &Passphrases,
    file: &Path,
) -> Result<(), Failure> {
    let opened = store.open()?;
    store::write_new(file, &opened.bytes)?;
    let copy = fs::read(file).map_err(|error| Failure::file(file, &error))?;
    let copy = Keystore::parse(&copy).map_err(|error| store::about(file, error.into()))?;
    let key = store::decrypt(&copy, passphrases).map_err(|failure| unproved(file, failure))?;
    if key.address() != opened.address {
        return Err(Failure::new(Exit::Failure, "the copy is of another key"));
    }
    let backup = Backup {
        schema: SCHEMA,
        address: key.address().to_checksum(None),
        file: file.display().to_string(),
    };
    output.show(&backup, |backup| {
        let file = format::harmless(&backup.file);
        format!("{file}: the key of {}, opened\n", backup.address)
    })
}

/// The copy stays: it is as good as what it was made of.
fn unproved(file: &Path, failure: Failure) -> Failure {
    let message = failure.message.unwrap_or_default();
    let copied = format!("{}: copied, but not opened: {message}", file.display());
    Failure::new(failure.exit, copied)
}

#[derive(Debug, Serialize)]
struct Backup {
    schema: u32,
    address: String,
    file: String,
}
