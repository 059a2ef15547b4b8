//! Addresses and amounts, as people write them, and what our files begin with.

use alloy_primitives::{Address, U256};
use serde::Deserialize;
use thiserror::Error;

/// Digits behind the point, of SMT as of ether.
const DECIMALS: usize = 18;

/// Why a text is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// It has not the form of one.
    #[error("no address: expected 0x and 40 hexadecimal digits")]
    Form,
    /// Capitals and small letters are not where EIP-55 puts them.
    #[error("a digit of the address is wrong: its capital letters do not fit (EIP-55)")]
    Checksum,
}

/// Why a text is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AmountError {
    /// It is not digits, with a point between them or none.
    #[error("no amount: expected digits, and behind a point 18 of them at most")]
    Form,
    /// It has more than 256 bits.
    #[error("no amount: too large")]
    TooLarge,
}

/// An address of 0x and 40 digits. If it has capital and small letters, they are its checksum (EIP-55).
///
/// # Errors
/// It is none, or has another checksum.
pub fn parse_address(text: &str) -> Result<Address, AddressError> {
    let digits = hex_digits(text).ok_or(AddressError::Form)?;
    let address: Address = digits.parse().map_err(|_| AddressError::Form)?;
    let has = |kind: fn(&u8) -> bool| digits.as_bytes().iter().any(kind);
    let is_mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase);
    if is_mixed && address.to_checksum(None) != text {
        return Err(AddressError::Checksum);
    }
    Ok(address)
}

/// What follows 0x, if it is hexadecimal digits.
pub(crate) fn hex_digits(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("0x")?;
    let are_all = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    are_all.then_some(digits)
}

/// The version of a JSON file of ours, whatever else is in it.
pub(crate) fn schema(json: &[u8]) -> Result<u32, serde_json::Error> {
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
    }
    serde_json::from_slice(json).map(|Version { schema }| schema)
}

/// The smallest units in so many SMT, or ether: `1.5` is 15 and 17 zeros.
///
/// # Errors
/// It is no such number, or has parts of the smallest unit.
pub fn parse_amount(text: &str) -> Result<U256, AmountError> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.len() > DECIMALS {
        return Err(AmountError::Form);
    }
    parse_units(&format!("{whole}{fraction:0<DECIMALS$}"))
}

/// So many smallest units.
///
/// # Errors
/// It is not digits, or too large.
pub fn parse_units(digits: &str) -> Result<U256, AmountError> {
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(AmountError::Form);
    }
    U256::from_str_radix(digits, 10).map_err(|_| AmountError::TooLarge)
}

/// The exact amount in SMT, or ether, without zeros at the end.
#[must_use]
pub fn amount(units: U256) -> String {
    let digits = format!("{units:0>width$}", width = DECIMALS + 1);
    let (whole, fraction) = digits.split_at(digits.len().saturating_sub(DECIMALS));
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() {
        whole.to_owned()
    } else {
        format!("{whole}.{fraction}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_both_ways() {
        for (text, units) in [
            ("0", "0"),
            ("1", "1000000000000000000"),
            ("1.5", "1500000000000000000"),
            ("0.000000000000000001", "1"),
            (
                "12345678901234567890.123456789012345678",
                "12345678901234567890123456789012345678",
            ),
        ] {
            let parsed = parse_amount(text).unwrap();
            assert_eq!(parsed.to_string(), units);
            assert_eq!(amount(parsed), text);
        }
        assert_eq!(parse_amount("01.50"), parse_amount("1.5"));
        let most = amount(U256::MAX);
        assert_eq!(parse_amount(&most), Ok(U256::MAX));
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in [
            "", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", " 1", "0x1", "1.2.3", "1_000",
        ] {
            assert_eq!(parse_amount(text), Err(AmountError::Form), "{text}");
        }
        let too_fine = "0.0000000000000000001";
        assert_eq!(parse_amount(too_fine), Err(AmountError::Form));
        let too_large = "9".repeat(78);
        assert_eq!(parse_amount(&too_large), Err(AmountError::TooLarge));
        assert_eq!(parse_units("1.0"), Err(AmountError::Form));
    }

    #[test]
    fn the_addresses_of_eip_55() {
        for text in [
            "0x52908400098527886E0F7030069857D2E4169EE7",
            "0xde709f2102306220921060314715629080e2fb77",
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        ] {
            let address = parse_address(text).unwrap();
            assert_eq!(parse_address(&text.to_lowercase()), Ok(address));
        }
    }

    #[test]
    fn a_mistyped_address_is_refused() {
        let mistyped = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAee";
        assert_eq!(parse_address(mistyped), Err(AddressError::Checksum));
        for text in [
            "",
            "0x",
            "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAe",
            "0x0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeg",
        ] {
            assert_eq!(parse_address(text), Err(AddressError::Form), "{text}");
        }
    }
}
