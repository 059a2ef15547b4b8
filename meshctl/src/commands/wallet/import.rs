//! `meshctl wallet import FILE`

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use alloy_primitives::hex;
use control_api::Exit;
use ethereum::key::PrivateKey;
use ethereum::keystore::Keystore;
use zeroize::Zeroizing;

use super::address::Shown;
use super::passphrase::{Passphrase, Passphrases, read_secret};
use super::store::{Store, about};
use crate::cli::wallet::Strength;
use crate::failure::Failure;
use crate::output::Output;

/// A keystore file has 500 bytes, a key 64 digits.
const MOST_BYTES: usize = 64 << 10;

pub(super) fn run(
    output: Output,
    store: &Store,
    passphrases: &Passphrases,
    file: &Path,
    strength: Strength,
) -> Result<(), Failure> {
    store.must_be_free()?;
    let (key, passphrase) = if file == Path::new("-") {
        from_stdin(passphrases)?
    } else {
        let read = File::open(file).and_then(|file| read_secret(file, MOST_BYTES));
        let bytes = read.map_err(|error| Failure::file(file, &error))?;
        from_keystore(&bytes, passphrases).map_err(|failure| about(file, failure))?
    };
    store.create(&key, &passphrase, strength.into())?;
    let shown = Shown::new(key.address(), store.path());
    output.show(&shown, Shown::with_file)
}

/// Nobody keeps a key in a file that is not encrypted, unless we taught them to: it comes through a pipe.
fn from_stdin(passphrases: &Passphrases) -> Result<(PrivateKey, Passphrase), Failure> {
    // Standard input itself keeps what it has read.
    let stdin = io::stdin().as_fd().try_clone_to_owned();
    let read = stdin.and_then(|stdin| read_secret(stdin.into(), MOST_BYTES));
    let bytes = read.map_err(|error| {
        let message = format!("standard input: {error}");
        Failure::new(Exit::Failure, message)
    })?;
    let text = bytes.trim_ascii();
    if text.starts_with(b"{") {
        return from_keystore(text, passphrases);
    }
    let digits = text.strip_prefix(b"0x").unwrap_or(text);
    let mut secret = Zeroizing::new([0; 32]);
    let decoded = hex::decode_to_slice(digits, secret.as_mut());
    let key = decoded
        .ok()
        .and_then(|()| PrivateKey::from_bytes(&secret).ok());
    let key = key.ok_or_else(|| {
        let message = "standard input: neither a keystore file nor 64 digits of a private key";
        Failure::new(Exit::Usage, message)
    })?;
    Ok((key, passphrases.new_one()?))
}

fn from_keystore(
    bytes: &[u8],
    passphrases: &Passphrases,
) -> Result<(PrivateKey, Passphrase), Failure> {
    let keystore = Keystore::parse(bytes)?;
    super::store::must_fit(keystore.memory_bytes())?;
    let passphrase = passphrases.known()?;
    let key = keystore.decrypt(passphrase.as_bytes())?;
    Ok((key, passphrase))
}
