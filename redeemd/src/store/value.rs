//! Numbers and keys as they lie in a column.

use alloy_primitives::Address;
use receipts::{Amount, NetworkId, Party};

use super::StoreError;

pub(super) fn amount(amount: Amount) -> Vec<u8> {
    amount.atto_smt().to_be_bytes().to_vec()
}

pub(super) fn read_amount(bytes: Vec<u8>) -> Result<Amount, StoreError> {
    let bytes = bytes.try_into();
    let bytes = bytes.map_err(|_| StoreError::Damaged("an amount is not 16 bytes long"))?;
    Ok(Amount::new(u128::from_be_bytes(bytes)))
}

/// Databases count up to 2⁶³ - 1.
pub(super) fn count(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| receipts::Overflow.into())
}

pub(super) fn read_count(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::Damaged("a number is negative"))
}

/// Providers choose the numbers of epochs, and may take any of 64 bits. Databases have a sign there: which number
/// lies where does not matter, as long as it is the only one.
pub(super) const fn epoch(number: u64) -> i64 {
    number.cast_signed()
}

pub(super) const fn read_epoch(number: i64) -> u64 {
    number.cast_unsigned()
}

pub(super) fn read_account(bytes: Vec<u8>) -> Result<Address, StoreError> {
    Address::try_from(bytes.as_slice())
        .map_err(|_| StoreError::Damaged("an account is not 20 bytes long"))
}

pub(super) fn read_party(bytes: Vec<u8>) -> Result<Party, StoreError> {
    let bytes = bytes.try_into();
    let bytes = bytes.map_err(|_| StoreError::Damaged("a node's key is not 32 bytes long"))?;
    Ok(Party::new(bytes))
}

pub(super) fn read_network(bytes: Vec<u8>) -> Result<NetworkId, StoreError> {
    let bytes = bytes.try_into();
    let bytes = bytes.map_err(|_| StoreError::Damaged("a network is not 16 bytes long"))?;
    Ok(NetworkId::new(bytes))
}
