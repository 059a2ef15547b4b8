//! `meshctl wallet address`

use std::path::Path;

use alloy_primitives::Address;
use control_api::SCHEMA;
use serde::Serialize;

use super::store::Store;
use crate::failure::Failure;
use crate::format;
use crate::output::Output;

pub(super) fn run(output: Output, store: &Store) -> Result<(), Failure> {
    let opened = store.open()?;
    let shown = Shown::new(opened.address, store.path());
    output.show(&shown, |shown| format!("{}\n", shown.address))
}

/// A wallet, to whoever may know of it.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    schema: u32,
    /// With its checksum (EIP-55).
    address: String,
    keystore: String,
}

impl Shown {
    pub(super) fn new(address: Address, keystore: &Path) -> Self {
        Self {
            schema: SCHEMA,
            address: address.to_checksum(None),
            keystore: keystore.display().to_string(),
        }
    }

    pub(super) fn with_file(&self) -> String {
        let file = format::harmless(&self.keystore);
        format!(
            "{}\n{file}: keep a copy: meshctl wallet backup FILE\n",
            self.address
        )
    }
}
