//! `meshctl wallet address`

use std::path::Path;

use alloy_primitives::Address;
use control_api::SCHEMA;
use serde::Serialize;

use super::store::Store;
use super::tell;
use crate::failure::Failure;
use crate::format;
use crate::output::Output;

pub(super) fn run(output: Output, store: &Store, token: Option<Address>) -> Result<(), Failure> {
    let opened = store.open()?;
    let mut shown = Shown::new(opened.address, store.path());
    shown.token = token.map(|token| token.to_checksum(None));
    if let Some(token) = &shown.token {
        tell(&format!("SMT is the token {token}"));
    }
    output.show(&shown, |shown| format!("{}\n", shown.address))
}

/// A wallet, to whoever may know of it.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    schema: u32,
    /// With its checksum (EIP-55).
    address: String,
    keystore: String,
    /// What SMT is, if the file of settings says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl Shown {
    pub(super) fn new(address: Address, keystore: &Path) -> Self {
        Self {
            schema: SCHEMA,
            address: address.to_checksum(None),
            keystore: keystore.display().to_string(),
            token: None,
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
