//! Files of cheques, as a settlement service hands them out.

use std::str::FromStr;

use alloy_primitives::{Address, B256, U256};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Cheque, SignedCheque, domain};
use crate::signature::Signature;
use crate::text::{self, AddressError};

/// The version of the form.
const SCHEMA: u32 = 1;

/// Cheques that one cheque book on one chain takes.
///
/// ```json
/// {"schema": 1, "chain_id": 31337, "book": "0x…", "cheques": [
///   {"issuer": "0x…", "beneficiary": "0x…", "cumulative": "123", "r": "0x…", "vs": "0x…"}]}
/// ```
///
/// `cumulative` is in the smallest unit of the token, as a string. Fields that are not known are ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChequeFile {
    /// The chain of the cheque book.
    pub chain_id: u64,
    /// The cheque book.
    pub book: Address,
    /// Each is signed by somebody; whether it pays only the cheque book knows.
    pub cheques: Vec<SignedCheque>,
}

/// Why a file is none of cheques. Numbers count from 1.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum ChequeFileError {
    /// It is not JSON, or has not the form of such a file.
    #[error("no file of cheques: {0}")]
    Form(String),
    /// A later version.
    #[error("a file of cheques of schema {0}; known is {SCHEMA}")]
    Schema(u32),
    /// The cheque book is none.
    #[error("book: {0}")]
    Book(FieldError),
    /// A cheque is none.
    #[error("cheque {number}: {field}: {error}")]
    Cheque {
        /// Which one.
        number: usize,
        /// What of it.
        field: &'static str,
        /// What is wrong.
        error: FieldError,
    },
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FieldError {
    /// No address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Address 0, which is nobody's.
    #[error("it is 0")]
    Zero,
    /// The cheque book, which can be no beneficiary.
    #[error("it is the cheque book itself")]
    IsBook,
    /// No whole number above 0.
    #[error("expected a string of digits: smallest units, more than 0")]
    Amount,
    /// Not 32 bytes.
    #[error("expected 0x and 64 hexadecimal digits")]
    Word,
    /// Nobody can have signed so.
    #[error("no signature")]
    Signature,
}

impl ChequeFile {
    /// Reads a file, in which everything is then what it should be.
    ///
    /// # Errors
    /// Anything is not.
    pub fn parse(bytes: &[u8]) -> Result<Self, ChequeFileError> {
        let form = |error: serde_json::Error| ChequeFileError::Form(error.to_string());
        let schema = text::schema(bytes).map_err(form)?;
        if schema != SCHEMA {
            return Err(ChequeFileError::Schema(schema));
        }
        let file: Written = serde_json::from_slice(bytes).map_err(form)?;
        let book = somebody(&file.book).map_err(ChequeFileError::Book)?;
        let cheques = file.cheques.iter().enumerate().map(|(index, cheque)| {
            let invalid = |(field, error)| ChequeFileError::Cheque {
                number: index.saturating_add(1),
                field,
                error,
            };
            cheque.parse(file.chain_id, book).map_err(invalid)
        });
        Ok(Self {
            chain_id: file.chain_id,
            book,
            cheques: cheques.collect::<Result<_, _>>()?,
        })
    }

    /// The file, which [`ChequeFile::parse`] reads.
    ///
    /// # Errors
    /// Never: everything in it has a form in JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Written {
            schema: SCHEMA,
            chain_id: self.chain_id,
            book: self.book.to_checksum(None),
            cheques: self.cheques.iter().map(WrittenCheque::new).collect(),
        })
    }
}

#[derive(Deserialize, Serialize)]
struct Written {
    schema: u32,
    chain_id: u64,
    book: String,
    cheques: Vec<WrittenCheque>,
}

#[derive(Deserialize, Serialize)]
struct WrittenCheque {
    issuer: String,
    beneficiary: String,
    cumulative: String,
    r: String,
    vs: String,
}

type Invalid = (&'static str, FieldError);

impl WrittenCheque {
    fn new(signed: &SignedCheque) -> Self {
        Self {
            issuer: signed.cheque.issuer.to_checksum(None),
            beneficiary: signed.cheque.beneficiary.to_checksum(None),
            cumulative: signed.cheque.cumulative.to_string(),
            r: signed.signature.r.to_string(),
            vs: signed.signature.vs.to_string(),
        }
    }

    fn parse(&self, chain_id: u64, book: Address) -> Result<SignedCheque, Invalid> {
        let beneficiary = somebody(&self.beneficiary).map_err(|error| ("beneficiary", error))?;
        if beneficiary == book {
            return Err(("beneficiary", FieldError::IsBook));
        }
        let cheque = Cheque {
            issuer: somebody(&self.issuer).map_err(|error| ("issuer", error))?,
            beneficiary,
            cumulative: above_zero(&self.cumulative).map_err(|error| ("cumulative", error))?,
        };
        let signature = Signature {
            r: word(&self.r).map_err(|error| ("r", error))?,
            vs: word(&self.vs).map_err(|error| ("vs", error))?,
        };
        let signed = SignedCheque { cheque, signature };
        let signer = signed.signer(&domain(chain_id, book));
        signer.map_err(|_| ("r, vs", FieldError::Signature))?;
        Ok(signed)
    }
}

fn somebody(text: &str) -> Result<Address, FieldError> {
    let address = text::parse_address(text)?;
    if address.is_zero() {
        return Err(FieldError::Zero);
    }
    Ok(address)
}

fn above_zero(text: &str) -> Result<U256, FieldError> {
    let units = text::parse_units(text).ok().filter(|it| !it.is_zero());
    units.ok_or(FieldError::Amount)
}

fn word(text: &str) -> Result<B256, FieldError> {
    let digits = text::hex_digits(text).ok_or(FieldError::Word)?;
    B256::from_str(digits).map_err(|_| FieldError::Word)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::key::PrivateKey;

    const BOOK: Address = Address::repeat_byte(0xb0);

    fn file() -> ChequeFile {
        let key = PrivateKey::from_bytes(&[5; 32]).unwrap();
        let cheque = |beneficiary: u8| Cheque {
            issuer: Address::repeat_byte(0x1a),
            beneficiary: Address::repeat_byte(beneficiary),
            cumulative: U256::from(10).pow(U256::from(20)),
        };
        let signed = [1, 2].map(|to| SignedCheque::new(&key, &domain(31337, BOOK), cheque(to)));
        ChequeFile {
            chain_id: 31337,
            book: BOOK,
            cheques: signed.to_vec(),
        }
    }

    /// The same file, with something of it changed.
    fn changed(pointer: &str, value: Value) -> Result<ChequeFile, ChequeFileError> {
        let mut file: Value = serde_json::from_slice(&file().to_json().unwrap()).unwrap();
        *file.pointer_mut(pointer).unwrap() = value;
        ChequeFile::parse(&serde_json::to_vec(&file).unwrap())
    }

    #[test]
    fn what_is_written_can_be_read() {
        let written = file().to_json().unwrap();
        assert_eq!(ChequeFile::parse(&written), Ok(file()));
        let signer = PrivateKey::from_bytes(&[5; 32]).unwrap().address();
        let domain = domain(31337, BOOK);
        assert_eq!(file().cheques[1].signer(&domain), Ok(signer));
    }

    #[test]
    fn every_field_is_checked() {
        let book = BOOK.to_checksum(None);
        let nobody = Address::ZERO.to_checksum(None);
        let mistyped = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAee";
        for (field, value, error) in [
            ("issuer", json!("0x12"), AddressError::Form.into()),
            ("issuer", json!(nobody), FieldError::Zero),
            (
                "beneficiary",
                json!(mistyped),
                AddressError::Checksum.into(),
            ),
            ("beneficiary", json!(book), FieldError::IsBook),
            ("cumulative", json!("1.5"), FieldError::Amount),
            ("cumulative", json!("0"), FieldError::Amount),
            ("cumulative", json!("-1"), FieldError::Amount),
            ("cumulative", json!("9".repeat(78)), FieldError::Amount),
            ("r", json!("0x00"), FieldError::Word),
            ("vs", json!("00".repeat(32)), FieldError::Word),
        ] {
            let invalid = ChequeFileError::Cheque {
                number: 2,
                field,
                error,
            };
            assert_eq!(changed(&format!("/cheques/1/{field}"), value), Err(invalid));
        }
        let nothing = format!("0x{}", "00".repeat(32));
        let unsigned = changed("/cheques/0/r", json!(nothing)).unwrap_err();
        assert_eq!(unsigned.to_string(), "cheque 1: r, vs: no signature");
        let no_book = changed("/book", json!(nobody)).unwrap_err();
        assert_eq!(no_book, ChequeFileError::Book(FieldError::Zero));
    }

    #[test]
    fn what_has_another_form_is_refused() {
        assert_eq!(
            changed("/schema", json!(2)),
            Err(ChequeFileError::Schema(2))
        );
        // Numbers of JSON are not exact.
        for (pointer, value) in [
            ("/cheques/0/cumulative", json!(5)),
            ("/chain_id", json!("1")),
            ("/chain_id", json!(-1)),
            ("/cheques", json!({})),
        ] {
            let error = changed(pointer, value).unwrap_err();
            assert!(matches!(error, ChequeFileError::Form(_)), "{error}");
        }
        for bytes in [&b""[..], b"{}", b"[]", b"\xff"] {
            let error = ChequeFile::parse(bytes).unwrap_err();
            assert!(matches!(error, ChequeFileError::Form(_)), "{error}");
        }
    }
}
