//! `meshctl wallet new`

use ethereum::key::PrivateKey;
use ethereum::keystore;

use super::address::Shown;
use super::passphrase::Passphrases;
use super::store::Store;
use crate::cli::wallet::Strength;
use crate::failure::Failure;
use crate::output::Output;

pub(super) fn run(
    output: Output,
    store: &Store,
    passphrases: &Passphrases,
    strength: Strength,
) -> Result<(), Failure> {
    store.must_be_free()?;
    let passphrase = passphrases.new_one()?;
    let key = PrivateKey::random().map_err(|error| {
        let message = format!("no randomness: {error}");
        Failure::new(control_api::Exit::Failure, message)
    })?;
    store.create(&key, &passphrase, strength.into())?;
    let shown = Shown::new(key.address(), store.path());
    output.show(&shown, Shown::with_file)
}

impl From<Strength> for keystore::Strength {
    fn from(strength: Strength) -> Self {
        match strength.light {
            true => Self::Light,
            false => Self::Standard,
        }
    }
}
