//! Cheques: who signed one, why the cheque book does not pay it, and the files they come in.

mod file;
mod several;

use std::fmt;

use alloy_primitives::Address;
use alloy_sol_types::Eip712Domain;

use crate::bindings::SmtChequeBook::cashCall;
use crate::key::PrivateKey;
use crate::signature::{self, NotASignature, Signature};

pub use crate::bindings::SmtChequeBook::Cheque;
pub use crate::bindings::domain;
pub use file::{ChequeFile, ChequeFileError, FieldError};

/// A cheque, and the signature of a settlement key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheque {
    /// What is signed.
    pub cheque: Cheque,
    /// For one chain and one cheque book, which only the domain says.
    pub signature: Signature,
}

impl SignedCheque {
    /// Signs a cheque.
    #[must_use]
    pub fn new(key: &PrivateKey, domain: &Eip712Domain, cheque: Cheque) -> Self {
        let signature = key.sign(domain, &cheque);
        Self { cheque, signature }
    }

    /// Who signed it. Whether this is the payer's settlement key only the cheque book knows.
    ///
    /// # Errors
    /// There is no signature.
    pub fn signer(&self, domain: &Eip712Domain) -> Result<Address, NotASignature> {
        signature::signer(domain, &self.cheque, &self.signature)
    }
}

/// Why the cheque book does not pay a cheque: its `Verdict`, but for `Pays`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Verdict {
    /// Not by the key that the payer has named.
    NotSigned = 1,
    /// Nobody, or the cheque book, is to be paid.
    NoBeneficiary,
    /// All of it has been paid already.
    NothingDue,
    /// The payer's allowance of today is spent.
    AllowanceSpent,
    /// The payer's deposit is spent.
    DepositSpent,
}

impl Verdict {
    const ALL: [Self; 5] = [
        Self::NotSigned,
        Self::NoBeneficiary,
        Self::NothingDue,
        Self::AllowanceSpent,
        Self::DepositSpent,
    ];

    /// What the contract's number says, if it is one of these.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|it| *it as u8 == number)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSigned => "not signed with the payer's settlement key",
            Self::NoBeneficiary => "it has no beneficiary",
            Self::NothingDue => "all of it has been paid already",
            Self::AllowanceSpent => "the payer's allowance of today is spent",
            Self::DepositSpent => "the payer's deposit is spent",
        })
    }
}

/// What cashes it.
impl From<SignedCheque> for cashCall {
    fn from(signed: SignedCheque) -> Self {
        Self {
            cheque: signed.cheque,
            signature: signed.signature,
        }
    }
}
