//! A private key.

use std::fmt;

use alloy_primitives::{Address, B256, keccak256};
use alloy_sol_types::{Eip712Domain, SolStruct};
use k256::ecdsa::{SigningKey, VerifyingKey};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::signature::Signature;

/// A private key of an account, or of whoever signs cheques. Its memory is cleared when it goes.
#[derive(Clone)]
pub struct PrivateKey(SigningKey);

/// 32 bytes that are no private key: 0, or not below the order of the curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no private key: 0, or too large")]
pub struct InvalidKey;

impl PrivateKey {
    /// The key with this secret number, big-endian.
    ///
    /// # Errors
    /// It is 0, or not below the order of the curve.
    pub fn from_bytes(secret: &[u8; 32]) -> Result<Self, InvalidKey> {
        let key = SigningKey::from_slice(secret);
        key.map(Self).map_err(|_| InvalidKey)
    }

    /// A new key, of the operating system's randomness.
    ///
    /// # Errors
    /// The operating system has none.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut secret = Zeroizing::new([0; 32]);
        loop {
            getrandom::fill(secret.as_mut())?;
            // One in 2^127 is none.
            if let Ok(key) = Self::from_bytes(&secret) {
                return Ok(key);
            }
        }
    }

    /// The secret number, big-endian.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes().into())
    }

    /// The account of whoever holds the key.
    #[must_use]
    pub fn address(&self) -> Address {
        address_of(self.0.verifying_key())
    }

    /// Signs a struct as EIP-712 has it.
    #[must_use]
    pub fn sign<T: SolStruct>(&self, domain: &Eip712Domain, value: &T) -> Signature {
        self.sign_hash(value.eip712_signing_hash(domain))
    }

    /// Signs a hash as it is. Whoever calls this knows what has been hashed.
    #[must_use]
    pub fn sign_hash(&self, hash: B256) -> Signature {
        let (signature, recovery) = self.0.sign_prehash_recoverable(hash.as_slice());
        let (r, s) = signature.split_bytes();
        let mut vs = B256::from_slice(&s);
        // s is in the lower half of its range, so that the first bit is free (ERC-2098).
        vs.0[0] |= u8::from(recovery.is_y_odd()) << 7;
        let r = B256::from_slice(&r);
        Signature { r, vs }
    }
}

/// The address only.
impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.address())
    }
}

pub(crate) fn address_of(key: &VerifyingKey) -> Address {
    let point = key.to_sec1_point(false);
    // Behind the byte that says that the point is not compressed.
    let coordinates = point.as_bytes().get(1..).unwrap_or_default();
    Address::from_word(keccak256(coordinates))
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{address, hex};

    use super::*;

    #[test]
    fn an_address_is_what_everybody_says_it_is() {
        // The first account of anvil and Hardhat.
        let secret = hex!("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80");
        let key = PrivateKey::from_bytes(&secret).unwrap();
        let known = address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
        assert_eq!(key.address(), known);
        assert_eq!(*key.to_bytes(), secret);
    }

    #[test]
    fn not_every_number_is_a_key() {
        let order = hex!("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141");
        for secret in [[0; 32], order, [0xff; 32]] {
            assert_eq!(PrivateKey::from_bytes(&secret).unwrap_err(), InvalidKey);
        }
    }

    #[test]
    fn two_random_keys_differ() {
        let keys = [PrivateKey::random().unwrap(), PrivateKey::random().unwrap()];
        assert_ne!(keys[0].address(), keys[1].address());
    }

    #[test]
    fn what_is_shown_of_a_key_is_its_address() {
        let key = PrivateKey::from_bytes(&[0x11; 32]).unwrap();
        let shown = format!("{key:?}");
        assert_eq!(shown, format!("PrivateKey({})", key.address()));
    }
}
