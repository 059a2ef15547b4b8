//! `meshctl wallet backup FILE`

use std::fs;
use std::path::Path;

use control_api::{Exit, SCHEMA};
use serde::Serialize;

use super::passphrase::Passphrases;
use super::store::{self, Store};
use crate::failure::Failure;
use crate::format;
use crate::output::Output;

/// Nothing is copied that does not open. What is compared is the copy as it is on the disk.
pub(super) fn run(
    output: Output,
    store: &Store,
    passphrases: &Passphrases,
    file: &Path,
) -> Result<(), Failure> {
    store::must_be_free(file)?;
    let opened = store.open()?;
    let key = opened.decrypt(passphrases)?;
    store::write_new(file, &opened.bytes)?;
    let copy = fs::read(file).map_err(|error| Failure::file(file, &error))?;
    if copy != opened.bytes {
        let message = "the copy is not what was written";
        return Err(store::about(file, Failure::new(Exit::Failure, message)));
    }
    let backup = Backup {
        schema: SCHEMA,
        address: key.address().to_checksum(None),
        file: file.display().to_string(),
    };
    output.show(&backup, |backup| {
        let file = format::harmless(&backup.file);
        format!(
            "{file}: the key of {}, which the passphrase opens\n",
            backup.address
        )
    })
}

#[derive(Debug, Serialize)]
struct Backup {
    schema: u32,
    address: String,
    file: String,
}
