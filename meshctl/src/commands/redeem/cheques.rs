//! The cheques beside a file of receipts, of all services that it was ever brought to.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use control_api::Exit;
use ethereum::cheque::ChequeFile;

use crate::failure::Failure;
use crate::private_file;

/// Adds cheques to a file. What it has may be the only copy, of a service that has gone, or has lost a part of its
/// database: nothing is replaced but by a higher cheque of the same series.
pub(super) fn keep(path: &Path, new: ChequeFile) -> Result<(), Failure> {
    let failed = |error: &dyn std::error::Error| Failure::new(Exit::Failure, error.to_string());
    let all = kept(path)?.into_iter().chain([new]);
    let merged = ChequeFile::merge(all).map_err(|error| failed(&error))?;
    let json = ChequeFile::all_to_json(&merged).map_err(|error| failed(&error))?;
    private_file::replace(path, &json).map_err(|error| Failure::file(path, &error))
}

fn kept(path: &Path) -> Result<Vec<ChequeFile>, Failure> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Failure::file(path, &error)),
    };
    ChequeFile::parse_all(&bytes).map_err(|error| {
        let message = format!(
            "{}: {error}; move it away, and run this again: what is not known is not replaced",
            path.display()
        );
        Failure::new(Exit::VerificationFailed, message)
    })
}
