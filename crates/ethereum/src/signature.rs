//! Signatures in the compact form of ERC-2098, and who made them.

use alloy_primitives::{Address, B256};
use alloy_sol_types::{Eip712Domain, SolStruct};
use k256::ecdsa::{RecoveryId, Signature as Ecdsa, VerifyingKey};
use thiserror::Error;

use crate::key::address_of;

/// r, and s with the parity as its first bit: the form that the cheque book takes, and the only one there is
/// of a signature.
pub use crate::bindings::SmtChequeBook::Signature;

/// 64 bytes that nobody can have signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no signature")]
pub struct NotASignature;

/// Who signed a struct as EIP-712 has it. Of another struct, or another domain, it is some other address.
///
/// # Errors
/// These 64 bytes are no signature.
pub fn signer<T: SolStruct>(
    domain: &Eip712Domain,
    value: &T,
    signature: &Signature,
) -> Result<Address, NotASignature> {
    signer_of_hash(value.eip712_signing_hash(domain), signature)
}

/// Who signed a hash.
///
/// # Errors
/// These 64 bytes are no signature: r or s is out of range, or s in the upper half, which the cheque book does
/// not take either.
pub fn signer_of_hash(hash: B256, signature: &Signature) -> Result<Address, NotASignature> {
    let (s, is_y_odd) = split(signature.vs);
    let ecdsa = Ecdsa::from_scalars(signature.r.0, s.0).map_err(|_| NotASignature)?;
    if ecdsa.normalize_s() != ecdsa {
        return Err(NotASignature);
    }
    let recovery = RecoveryId::new(is_y_odd, false);
    let key = VerifyingKey::recover_from_prehash(hash.as_slice(), &ecdsa, recovery);
    key.map(|key| address_of(&key)).map_err(|_| NotASignature)
}

/// s, and whether y is odd.
pub(crate) fn split(vs: B256) -> (B256, bool) {
    let mut s = vs;
    s.0[0] &= 0x7f;
    (s, vs.0[0] & 0x80 != 0)
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{b256, keccak256};

    use super::*;
    use crate::bindings::{SmtChequeBook::Cheque, domain};
    use crate::key::PrivateKey;

    #[test]
    fn the_vectors_of_erc_2098() {
        let key = b256!("1234567890123456789012345678901234567890123456789012345678901234");
        let key = PrivateKey::from_bytes(&key.0).unwrap();
        let personal = |text: &str| {
            let prefix = format!("\x19Ethereum Signed Message:\n{}", text.len());
            keccak256([prefix.as_bytes(), text.as_bytes()].concat())
        };
        let known = [
            (
                "Hello World",
                b256!("68a020a209d3d56c46f38cc50a33f704f4a9a10a59377f8dd762ac66910e9b90"),
                b256!("7e865ad05c4035ab5792787d4a0297a43617ae897930a6fe4d822b8faea52064"),
            ),
            (
                "It's a small(er) world",
                b256!("9328da16089fcba9bececa81663203989f2df5fe1faa6291a45381c81bd17f76"),
                b256!("939c6d6b623b42da56557e5e734a43dc83345ddfadec52cbe24d0cc64f550793"),
            ),
        ];
        for (text, r, vs) in known {
            let signature = key.sign_hash(personal(text));
            assert_eq!((signature.r, signature.vs), (r, vs), "{text}");
            assert_eq!(
                signer_of_hash(personal(text), &signature),
                Ok(key.address())
            );
        }
    }

    #[test]
    fn a_struct_is_signed_for_one_domain() {
        let key = PrivateKey::from_bytes(&[7; 32]).unwrap();
        let cheque = Cheque {
            issuer: Address::repeat_byte(1),
            beneficiary: Address::repeat_byte(2),
            cumulative: alloy_primitives::U256::from(3),
        };
        let here = domain(1, Address::repeat_byte(9));
        let signature = key.sign(&here, &cheque);
        assert_eq!(signer(&here, &cheque, &signature), Ok(key.address()));
        let elsewhere = domain(2, Address::repeat_byte(9));
        assert_ne!(signer(&elsewhere, &cheque, &signature), Ok(key.address()));
    }

    #[test]
    fn a_high_s_is_no_signature() {
        // One above half of the order of the curve.
        let s = b256!("7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a1");
        let high = Signature {
            r: B256::repeat_byte(1),
            vs: s,
        };
        let zero = Signature {
            r: B256::ZERO,
            vs: B256::repeat_byte(1),
        };
        for signature in [high, zero] {
            let hash = keccak256("anything");
            assert_eq!(signer_of_hash(hash, &signature), Err(NotASignature));
        }
    }
}
