//! `meshctl wallet …`: one file for each subcommand, and what they share.
//!
//! | module         | what it holds                                            |
//! |----------------|----------------------------------------------------------|
//! | [`places`]     | where files are when nobody says                         |
//! | [`passphrase`] | passphrases and consent, from a terminal or a file       |
//! | [`store`]      | the keystore file                                        |
//! | [`settings`]   | the node and the cheque book                             |
//! | [`submit`]     | sending, at most once                                    |
//!
//! **Invariants.** A key or passphrase is in no argument, variable of the environment, output or error. What is
//! signed is in a file before it is sent, and until its end is known.

mod address;
mod backup;
mod balance;
mod cash;
mod import;
mod new;
mod passphrase;
mod payer;
mod places;
mod register;
mod send;
mod settings;
mod store;
mod submit;

use std::io::{self, Write};

use control_api::Exit;
use ethereum::keystore::KeystoreError;
use ethereum::rpc;

use crate::cli::wallet::{Authorize, Command, Wallet};
use crate::failure::Failure;
use crate::format;
use crate::output::Output;
use passphrase::Passphrases;
use settings::Settings;
use store::Store;

pub(super) fn run(output: Output, wallet: Wallet) -> Result<(), Failure> {
    let store = Store::new(wallet.files.keystore)?;
    let passphrases = Passphrases::new(wallet.files.passphrase_file);
    let settings = || Settings::load(&wallet.chain);
    match wallet.command {
        Command::New { strength } => new::run(output, &store, &passphrases, strength),
        Command::Import { file, strength } => {
            import::run(output, &store, &passphrases, &file, strength)
        }
        Command::Address => address::run(output, &store, Settings::pinned(&wallet.chain)?),
        Command::Balance => balance::run(output, &store, &settings()?),
        Command::Send {
            to,
            amount,
            ether,
            consent,
        } => {
            let payment = send::Payment { to, amount, ether };
            send::run(output, &store, &passphrases, &settings()?, payment, consent)
        }
        Command::Cash { files, consent } => {
            cash::run(output, &store, &passphrases, &settings()?, &files, consent)
        }
        Command::Register { file, service } => {
            register::run(output, &store, &passphrases, &file, service)
        }
        Command::Deposit { amount, consent } => {
            let step = payer::Step::Deposit(amount);
            payer::run(output, &store, &passphrases, &settings()?, step, consent)
        }
        Command::Authorize(authorize) => {
            let (step, consent) = (authorize.step(), authorize.consent);
            payer::run(output, &store, &passphrases, &settings()?, step, consent)
        }
        Command::Withdraw { amount, consent } => {
            let step = amount.map_or(payer::Step::Withdraw, payer::Step::Announce);
            payer::run(output, &store, &passphrases, &settings()?, step, consent)
        }
        Command::Backup { file } => backup::run(output, &store, &passphrases, &file),
    }
}

impl Authorize {
    /// Without a key, what was asked for before is to count.
    fn step(&self) -> payer::Step {
        match (self.key, self.allowance) {
            (Some(key), Some(allowance)) => payer::Step::Authorize { key, allowance },
            _ => payer::Step::Apply,
        }
    }
}

/// Tells a person what is going on. Programs read standard output.
fn tell(text: &str) {
    // Standard error gone: nobody wants to know.
    let _ = writeln!(io::stderr(), "{}", format::harmless(text));
}

impl From<rpc::Error> for Failure {
    fn from(error: rpc::Error) -> Self {
        let exit = match &error {
            rpc::Error::Timeout { .. } => Exit::Timeout,
            rpc::Error::Tls(_)
            | rpc::Error::Unreachable { .. }
            | rpc::Error::Status { .. }
            | rpc::Error::TooLarge { .. }
            | rpc::Error::Refused { .. }
            | rpc::Error::Reverted(_)
            | rpc::Error::Malformed { .. } => Exit::Failure,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<KeystoreError> for Failure {
    fn from(error: KeystoreError) -> Self {
        let exit = match &error {
            KeystoreError::WrongPassphrase => Exit::Permission,
            KeystoreError::Form(_)
            | KeystoreError::Version(_)
            | KeystoreError::Unknown(_)
            | KeystoreError::TooExpensive(_)
            | KeystoreError::TooMuchMemory(_)
            | KeystoreError::OtherAddress
            | KeystoreError::Randomness(_) => Exit::Failure,
        };
        Self::new(exit, error.to_string())
    }
}
