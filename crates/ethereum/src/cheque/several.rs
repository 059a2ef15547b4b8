//! Cheques of several cheque books, or of several services, together.

use std::collections::BTreeMap;

use alloy_primitives::Address;
use serde::de::IgnoredAny;

use super::{ChequeFile, ChequeFileError, SignedCheque, domain};
use crate::signature::NotASignature;

/// A chain and a cheque book on it.
type Book = (u64, Address);

/// Issuer, beneficiary and signer. Without the signer, anybody could have a cheque taken for the newest of a
/// pair, and when a payer names another key, the cheques of the former one would hide those of the new one.
type Series = [Address; 3];

impl ChequeFile {
    /// Reads what may be several files of cheques, one after another.
    ///
    /// # Errors
    /// Anything in it is not what it should be, or there is none.
    pub fn parse_all(bytes: &[u8]) -> Result<Vec<Self>, ChequeFileError> {
        let mut documents = serde_json::Deserializer::from_slice(bytes).into_iter::<IgnoredAny>();
        let mut files = Vec::new();
        let mut begin = 0;
        while let Some(document) = documents.next() {
            document.map_err(|error| ChequeFileError::Form(error.to_string()))?;
            let end = documents.byte_offset();
            files.push(Self::parse(bytes.get(begin..end).unwrap_or_default())?);
            begin = end;
        }
        if files.is_empty() {
            return Err(ChequeFileError::Form("it is empty".to_owned()));
        }
        Ok(files)
    }

    /// What [`ChequeFile::parse_all`] reads: each in a line of its own.
    ///
    /// # Errors
    /// Never: everything in them has a form in JSON.
    pub fn all_to_json(files: &[Self]) -> Result<Vec<u8>, serde_json::Error> {
        let lines = files.iter().map(|file| {
            let mut line = file.to_json()?;
            line.push(b'\n');
            Ok(line)
        });
        lines
            .collect::<Result<Vec<_>, _>>()
            .map(|lines| lines.concat())
    }

    /// The cheque with the highest amount of each issuer, beneficiary and signer, in one file for each
    /// cheque book.
    ///
    /// # Errors
    /// A cheque is not signed.
    pub fn merge(files: impl IntoIterator<Item = Self>) -> Result<Vec<Self>, NotASignature> {
        let mut books: BTreeMap<Book, BTreeMap<Series, SignedCheque>> = BTreeMap::new();
        for file in files {
            let domain = domain(file.chain_id, file.book);
            let highest = books.entry((file.chain_id, file.book)).or_default();
            for signed in file.cheques {
                let cheque = &signed.cheque;
                let series = [cheque.issuer, cheque.beneficiary, signed.signer(&domain)?];
                let known = highest.entry(series).or_insert_with(|| signed.clone());
                if signed.cheque.cumulative > known.cheque.cumulative {
                    *known = signed;
                }
            }
        }
        let files = books.into_iter().map(|((chain_id, book), cheques)| Self {
            chain_id,
            book,
            cheques: cheques.into_values().collect(),
        });
        Ok(files.collect())
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::U256;

    use super::*;
    use crate::cheque::Cheque;
    use crate::key::PrivateKey;

    const BOOK: Book = (31337, Address::repeat_byte(0xb0));
    const OTHER_CHAIN: Book = (1, Address::repeat_byte(0xb0));
    const OTHER_BOOK: Book = (31337, Address::repeat_byte(0xb1));

    /// A file of one cheque.
    fn file((chain_id, book): Book, key: u8, [from, to]: [u8; 2], cumulative: u64) -> ChequeFile {
        let key = PrivateKey::from_bytes(&[key; 32]).unwrap();
        let cheque = Cheque {
            issuer: Address::repeat_byte(from),
            beneficiary: Address::repeat_byte(to),
            cumulative: U256::from(cumulative),
        };
        let signed = SignedCheque::new(&key, &domain(chain_id, book), cheque);
        ChequeFile {
            chain_id,
            book,
            cheques: vec![signed],
        }
    }

    #[test]
    fn of_a_series_the_highest_stays() {
        let lower = file(BOOK, 5, [1, 2], 100);
        let higher = file(BOOK, 5, [1, 2], 150);
        for files in [[&lower, &higher], [&higher, &lower], [&higher, &higher]] {
            let merged = ChequeFile::merge(files.map(ChequeFile::clone));
            assert_eq!(merged, Ok(vec![higher.clone()]));
        }
    }

    #[test]
    fn cheques_of_others_stay() {
        let first = file(BOOK, 5, [1, 2], 100);
        for other in [
            file(OTHER_CHAIN, 5, [1, 2], 150),
            file(OTHER_BOOK, 5, [1, 2], 150),
            file(BOOK, 6, [1, 2], 150),
            file(BOOK, 5, [3, 2], 150),
            file(BOOK, 5, [1, 3], 150),
        ] {
            let merged = ChequeFile::merge([first.clone(), other.clone()]).unwrap();
            for file in [&first, &other] {
                let has_it = merged.iter().any(|it| {
                    (it.chain_id, it.book) == (file.chain_id, file.book)
                        && it.cheques.contains(&file.cheques[0])
                });
                assert!(has_it, "{file:?} is not in {merged:?}");
            }
        }
    }

    #[test]
    fn several_files_in_one_can_be_read() {
        let files = [BOOK, OTHER_BOOK].map(|book| file(book, 5, [1, 2], 100));
        let written = ChequeFile::all_to_json(&files).unwrap();
        assert_eq!(ChequeFile::parse_all(&written), Ok(files.to_vec()));
        let one = files[0].to_json().unwrap();
        assert_eq!(ChequeFile::parse_all(&one), Ok(vec![files[0].clone()]));
        let cut = &written[..written.len() - 2];
        let text = [&written[..], b"receipts"].concat();
        let schema = [&written[..], br#"{"schema": 2}"#].concat();
        for broken in [&b""[..], b" \n", cut, &text, &schema] {
            let read = ChequeFile::parse_all(broken);
            assert!(read.is_err(), "{read:?}");
        }
    }
}
