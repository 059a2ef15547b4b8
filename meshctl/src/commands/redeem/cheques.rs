//! The cheques beside a file of receipts, of all services that it was ever brought to.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use control_api::Exit;
use ethereum::cheque::ChequeFile;

use crate::failure::Failure;
use crate::private_file;

/// The most bytes of a file: some 10 000 cheques. A service that means it badly would have others every time.
const MOST_BYTES: usize = 4 << 20;

/// Adds cheques to a file. What it has may be the only copy, of a service that has gone, or has lost a part of its
/// database: nothing is replaced but by a higher cheque of the same series.
pub(super) fn keep(path: &Path, new: ChequeFile) -> Result<(), Failure> {
    keep_within(MOST_BYTES, path, new)
}

fn keep_within(most_bytes: usize, path: &Path, new: ChequeFile) -> Result<(), Failure> {
    let failed = |error: &dyn std::error::Error| Failure::new(Exit::Failure, error.to_string());
    let all = kept(path)?.into_iter().chain([new]);
    let merged = ChequeFile::merge(all).map_err(|error| failed(&error))?;
    let json = ChequeFile::all_to_json(&merged).map_err(|error| failed(&error))?;
    if json.len() > most_bytes {
        let message = format!(
            "{}: with the new cheques it would have more than {most_bytes} bytes; move it away, and run this again",
            path.display()
        );
        return Err(Failure::new(Exit::VerificationFailed, message));
    }
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

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, U256};
    use ethereum::bindings::domain;
    use ethereum::cheque::{Cheque, SignedCheque};
    use ethereum::key::PrivateKey;

    use super::*;

    const BOOK: Address = Address::repeat_byte(0xb0);

    /// A cheque of somebody whom nobody has heard of before.
    fn cheque(number: u64) -> ChequeFile {
        let key = PrivateKey::from_bytes(&[5; 32]).unwrap();
        let cheque = Cheque {
            issuer: Address::left_padding_from(&number.to_be_bytes()),
            beneficiary: Address::repeat_byte(2),
            cumulative: U256::MAX,
        };
        ChequeFile {
            chain_id: 1,
            book: BOOK,
            cheques: vec![SignedCheque::new(&key, &domain(1, BOOK), cheque)],
        }
    }

    #[test]
    fn a_file_does_not_grow_without_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cheques.json");
        let mut kept = 0;
        let full = (1..100).find_map(|number| {
            let known = fs::read(&path).unwrap_or_default();
            let refused = keep_within(2000, &path, cheque(number)).err();
            match refused {
                None => kept = number,
                Some(_) => assert_eq!(fs::read(&path).unwrap(), known, "it was replaced"),
            }
            refused
        });
        let full = full.expect("it takes everything");
        assert_eq!(full.exit, Exit::VerificationFailed);
        assert!(full.message.unwrap().contains("move it away"));
        assert!((3..6).contains(&kept), "{kept}");
        // What replaces something is taken.
        keep_within(2000, &path, cheque(1)).unwrap();
    }
}
