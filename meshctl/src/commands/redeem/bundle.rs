//! A file of receipts, verified, and in the parts that are sent.

use std::fs;
use std::path::{Path, PathBuf};

use control_api::{Exit, NodeId};
use receipts::log::{Record, Report, verify};
use redeem_api::CONSUMERS;
use sha2::{Digest, Sha256};

use crate::failure::Failure;

/// The most bytes of a part: some 450 receipts, a few seconds over a slow line.
const PART_BYTES: usize = 256 << 10;

// Of each consumer there is a proof at least, or an offer and a receipt, which are longer.
const _: () = assert!(PART_BYTES / Record::MAX_STORED_LEN <= CONSUMERS);

/// Longer files are none that meshd writes.
const MOST_BYTES: u64 = 64 << 20;

/// An export, ready to be sent.
pub(super) struct Bundle {
    pub(super) file: PathBuf,
    pub(super) report: Report,
    pub(super) parts: Vec<Part>,
}

/// Some of its receipts: an export by itself.
pub(super) struct Part {
    pub(super) bytes: Vec<u8>,
    /// SHA-256, in hexadecimal digits: by this it is remembered.
    pub(super) name: String,
}

impl Bundle {
    /// Reads a file, and checks all of it.
    pub(super) fn read(file: &Path) -> Result<Self, Failure> {
        let bytes = read(file).map_err(|error| Failure::file(file, &error))?;
        let invalid = |problem: &dyn std::fmt::Display| {
            let message = format!("{}: {problem}", file.display());
            Failure::new(Exit::VerificationFailed, message)
        };
        let report = verify(&bytes).map_err(|error| invalid(&error))?;
        if !report.has_end {
            return Err(invalid(&"it has no end: a part of it may be missing"));
        }
        let parts = report.parts(PART_BYTES).into_iter();
        Ok(Self {
            file: file.to_owned(),
            parts: parts.map(Part::new).collect(),
            report,
        })
    }

    /// Whose receipts these are.
    pub(super) fn owner(&self) -> NodeId {
        NodeId::new(*self.report.header.owner.as_bytes())
    }

    /// The same name with something behind it.
    pub(super) fn beside(&self, extension: &str) -> PathBuf {
        let mut name = self.file.as_os_str().to_owned();
        name.push(extension);
        name.into()
    }
}

impl Part {
    fn new(bytes: Vec<u8>) -> Self {
        let digest: [u8; 32] = Sha256::digest(&bytes).into();
        let name = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { bytes, name }
    }
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    if fs::metadata(file)?.len() > MOST_BYTES {
        return Err(std::io::Error::other("longer than any export"));
    }
    fs::read(file)
}
