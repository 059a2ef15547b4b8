//! The contracts of `contracts/`, what compiles and runs them, and how cheques are signed.

mod bindings;

use std::borrow::Cow;
use std::env::consts::ARCH;
use std::path::{Path, PathBuf};

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::{Eip712Domain, SolStruct};
use anyhow::{Result, anyhow, bail};
use k256::ecdsa::SigningKey;

use crate::chain::CHAIN_ID;
use crate::command;

pub use SmtChequeBook::{Cheque, Signature};
pub use bindings::{SmtChequeBook, SmtToken};

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

/// The domain of the cheques that one cheque book on one chain takes.
#[must_use]
pub fn domain(chain_id: u64, book: Address) -> Eip712Domain {
    Eip712Domain {
        name: Some(Cow::Borrowed("SmtChequeBook")),
        version: Some(Cow::Borrowed("1")),
        chain_id: Some(U256::from(chain_id)),
        verifying_contract: Some(book),
        salt: None,
    }
}

/// A key that signs cheques.
#[derive(Clone, Debug)]
pub struct SettlementKey(SigningKey);

impl SettlementKey {
    /// The same key for the same seed.
    ///
    /// # Errors
    /// The seed makes no key, which has never happened.
    pub fn from_seed(seed: &str) -> Result<Self> {
        let secret = keccak256(seed.as_bytes());
        let key = SigningKey::from_slice(secret.as_slice());
        Ok(Self(key.map_err(|_| anyhow!("{seed} makes no key"))?))
    }

    /// The account of whoever holds the key.
    #[must_use]
    pub fn address(&self) -> Address {
        let point = self.0.verifying_key().to_sec1_point(false);
        let hash = keccak256(point.as_bytes().get(1..).unwrap_or_default());
        Address::from_word(hash)
    }

    /// Signs a cheque for a cheque book on the chain of the tests.
    #[must_use]
    pub fn sign(&self, book: Address, cheque: &Cheque) -> Signature {
        self.sign_for(&domain(CHAIN_ID, book), cheque)
    }

    /// Signs a cheque.
    #[must_use]
    pub fn sign_for(&self, domain: &Eip712Domain, cheque: &Cheque) -> Signature {
        let digest = cheque.eip712_signing_hash(domain);
        let (signature, recovery) = self.0.sign_prehash_recoverable(digest.as_slice());
        let (r, s) = signature.split_bytes();
        let mut vs = B256::from_slice(&s);
        // s is in the lower half of its range, so that the first bit is free (ERC-2098).
        vs.0[0] |= u8::from(recovery.is_y_odd()) << 7;
        Signature {
            r: B256::from_slice(&r),
            vs,
        }
    }
}
