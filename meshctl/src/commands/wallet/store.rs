//! The keystore file, and what is beside it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use alloy_primitives::Address;
use control_api::Exit;
use ethereum::key::PrivateKey;
use ethereum::keystore::{Keystore, Strength};

use super::passphrase::{Passphrases, must_be_private};
use super::places;
use crate::failure::Failure;
use crate::private_file;

/// A keystore file has 500 bytes.
const MOST_BYTES: u64 = 64 << 10;

/// Where the key is, or will be.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
}

/// A keystore file that nobody else uses to send anything.
#[derive(Debug)]
pub(super) struct Opened {
    keystore: Keystore,
    pub(super) address: Address,
    pub(super) bytes: Vec<u8>,
    file: File,
}

impl Store {
    pub(super) fn new(path: Option<PathBuf>) -> Result<Self, Failure> {
        let path = path.or_else(places::keystore);
        let path = path.ok_or_else(|| Failure::new(Exit::Usage, "no home: --keystore FILE"))?;
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where a transaction is kept until its end is known.
    pub(super) fn pending(&self) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(".pending");
        path.into()
    }

    /// Reads the file.
    pub(super) fn open(&self) -> Result<Opened, Failure> {
        let failed = |error: io::Error| Failure::file(&self.path, &error);
        let file = File::open(&self.path).map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                missing(&self.path)
            } else {
                failed(error)
            }
        })?;
        must_be_private(&file, &self.path)?;
        let mut bytes = Vec::new();
        let mut limited = (&file).take(MOST_BYTES);
        limited.read_to_end(&mut bytes).map_err(failed)?;
        let keystore = Keystore::parse(&bytes).map_err(|error| about(&self.path, error.into()))?;
        let address = keystore.address().ok_or_else(|| {
            let message = "it does not say its address: import it";
            about(&self.path, Failure::new(Exit::Failure, message))
        })?;
        Ok(Opened {
            keystore,
            address,
            bytes,
            file,
        })
    }

    /// Encrypts a key and writes it to a new file. No key is ever replaced.
    pub(super) fn create(
        &self,
        key: &PrivateKey,
        passphrase: &str,
        strength: Strength,
    ) -> Result<(), Failure> {
        self.must_be_free()?;
        must_fit(strength.memory_bytes())?;
        let keystore = Keystore::encrypt(key, passphrase.as_bytes(), strength)?;
        let json = keystore.to_json();
        let json = json.map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
        if let Some(directory) = self.path.parent() {
            let mut builder = DirBuilder::new();
            let made = builder.recursive(true).mode(0o700).create(directory);
            made.map_err(|error| Failure::file(directory, &error))?;
        }
        write_new(&self.path, &json)
    }

    /// Before anybody is asked for a passphrase.
    pub(super) fn must_be_free(&self) -> Result<(), Failure> {
        must_be_free(&self.path)
    }
}

impl Opened {
    /// Nobody else sends anything until this value goes: two transactions of one number are one too many.
    pub(super) fn lock(&self) -> Result<(), Failure> {
        self.file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                Failure::new(Exit::Failure, "another meshctl is sending with this wallet")
            }
            TryLockError::Error(error) => Failure::new(Exit::Failure, error.to_string()),
        })
    }

    /// The key. Whether its file can be opened here is clear before anybody is asked.
    pub(super) fn decrypt(&self, passphrases: &Passphrases) -> Result<PrivateKey, Failure> {
        must_fit(self.keystore.memory_bytes())?;
        let passphrase = passphrases.known()?;
        Ok(self.keystore.decrypt(passphrase.as_bytes())?)
    }
}

/// Writes a file that is not there yet.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    claim(path)?;
    private_file::replace(path, bytes).map_err(|error| {
        // The first error is the one to report.
        let _ = fs::remove_file(path);
        Failure::file(path, &error)
    })
}

/// Takes a name, with an empty file: of several who try, one does. This works on USB sticks as well, which have no
/// links. Whoever is interrupted before there is more has lost no key.
fn claim(path: &Path) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    let claimed = options.write(true).create_new(true).mode(0o600).open(path);
    claimed.map(drop).map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            taken(path)
        } else {
            Failure::file(path, &error)
        }
    })
}

pub(super) fn must_be_free(path: &Path) -> Result<(), Failure> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::file(path, &error)),
        Ok(_) => Err(taken(path)),
    }
}

fn taken(path: &Path) -> Failure {
    let message = format!("{}: it exists, and may be a key", path.display());
    Failure::new(Exit::Usage, message)
}

fn missing(path: &Path) -> Failure {
    let message = format!(
        "{}: there is no wallet; `meshctl wallet new` makes one",
        path.display()
    );
    Failure::new(Exit::NotFound, message)
}

pub(super) fn about(path: &Path, failure: Failure) -> Failure {
    let message = failure.message.unwrap_or_default();
    Failure::new(failure.exit, format!("{}: {message}", path.display()))
}

/// The kernel promises more memory than there is, and ends the program when it is used.
pub(super) fn must_fit(needed_bytes: u64) -> Result<(), Failure> {
    let Some(available_bytes) = available_bytes() else {
        return Ok(());
    };
    if needed_bytes <= available_bytes {
        return Ok(());
    }
    let message = format!(
        "this takes {} MiB of memory, and {} are free: with --light a keystore file takes 4 (docs/wallet.md)",
        needed_bytes >> 20,
        available_bytes >> 20
    );
    Err(Failure::new(Exit::Failure, message))
}

fn available_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_who_write_a_new_file_one_does() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("wallet.json");
        claim(&path).unwrap();
        // The first has not written yet.
        let failure = write_new(&path, b"another").unwrap_err();
        assert!(matches!(failure.exit, Exit::Usage), "{failure:?}");
        assert_eq!(fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn a_new_file_has_what_was_written_or_is_not_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("wallet.json");
        write_new(&path, b"a key").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"a key");
        // There is room for the name, and none for that of the draft.
        let path = directory.path().join("w".repeat(255));
        write_new(&path, b"a key").unwrap_err();
        assert!(!path.exists(), "an empty file is left");
    }
}
