//! The contracts of `contracts/`, what compiles and runs them, and how cheques are signed.

use std::env::consts::ARCH;
use std::path::{Path, PathBuf};

use alloy_primitives::{Address, keccak256};
use alloy_sol_types::Eip712Domain;
use anyhow::{Context, Result, bail};
use ethereum::key::PrivateKey;

use crate::chain::CHAIN_ID;
use crate::command;

pub use ethereum::bindings::{SmtChequeBook, SmtToken, domain};
pub use ethereum::cheque::Cheque;
pub use ethereum::signature::Signature;

/// What npm installed for the contracts.
///
/// # Errors
/// Nothing is installed.
pub fn modules() -> Result<PathBuf> {
    let installer = concat!(env!("CARGO_MANIFEST_DIR"), "/deps.sh");
    let home = command::run(installer, "contracts-path")?;
    let modules = Path::new(home.trim()).join("node_modules");
    if !modules.is_dir() {
        bail!(
            "{} is missing; `make deps` installs what the laboratory needs",
            modules.display()
        );
    }
    Ok(modules)
}

/// Another implementation of keystore files: a Python with eth-keyfile.
///
/// # Errors
/// It is not installed.
pub fn keyfile_python() -> Result<PathBuf> {
    let installer = concat!(env!("CARGO_MANIFEST_DIR"), "/deps.sh");
    let path = PathBuf::from(command::run(installer, "keyfile-path")?.trim());
    if !path.is_file() {
        bail!(
            "{} is missing; `make deps` installs what the laboratory needs",
            path.display()
        );
    }
    Ok(path)
}

/// The chain's program: the native one, which ends when it is told to, and not npm's wrapper around it.
pub(crate) fn anvil() -> Result<PathBuf> {
    let architecture = match ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => bail!("there is no anvil for {other}"),
    };
    Ok(modules()?.join(format!("@foundry-rs/anvil-linux-{architecture}/bin/anvil")))
}

/// Compiles all contracts into a directory: a file of JSON for each.
///
/// # Errors
/// The compiler is not installed, or complains.
pub fn compile(out: &Path) -> Result<()> {
    let builder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts/build.mjs");
    let arguments = [builder, modules()?, out.to_owned()].map(|path| path.display().to_string());
    command::run("node", &arguments.join(" ")).map(drop)
}

/// A key that signs cheques.
#[derive(Clone, Debug)]
pub struct SettlementKey(PrivateKey);

impl SettlementKey {
    /// The same key for the same seed.
    ///
    /// # Errors
    /// The seed makes no key, which has never happened.
    pub fn from_seed(seed: &str) -> Result<Self> {
        let key = PrivateKey::from_bytes(&keccak256(seed.as_bytes()).0);
        key.map(Self).with_context(|| seed.to_owned())
    }

    /// The account of whoever holds the key.
    #[must_use]
    pub fn address(&self) -> Address {
        self.0.address()
    }

    /// Signs a cheque for a cheque book on the chain of the tests.
    #[must_use]
    pub fn sign(&self, book: Address, cheque: &Cheque) -> Signature {
        self.sign_for(&domain(CHAIN_ID, book), cheque)
    }

    /// Signs a cheque.
    #[must_use]
    pub fn sign_for(&self, domain: &Eip712Domain, cheque: &Cheque) -> Signature {
        self.0.sign(domain, cheque)
    }
}
