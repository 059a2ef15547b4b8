//! Transactions of EIP-1559, which is type 2.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_rlp::{Encodable, Header};

use crate::key::PrivateKey;
use crate::signature;

/// The byte in front of a transaction of this type (EIP-2718).
const TYPE: u8 = 2;

/// What is signed. There is no access list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The chain that it is for.
    pub chain_id: u64,
    /// How many the sender has sent before.
    pub nonce: u64,
    /// The tip for each unit of gas, in wei.
    pub max_priority_fee: u128,
    /// What a unit of gas may cost, tip included, in wei.
    pub max_fee: u128,
    /// Units of gas that it may take.
    pub gas_limit: u64,
    /// Who receives it.
    pub to: Address,
    /// The ether that goes with it, in wei.
    pub value: U256,
    /// What a contract is called with.
    pub data: Bytes,
}

/// A transaction as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedTransaction {
    /// What a node takes.
    pub raw: Bytes,
    /// Its name.
    pub hash: B256,
}

impl Transaction {
    /// What gas may cost, in wei. 64 and 128 bits make less than 256.
    #[must_use]
    pub fn most_fee(&self) -> U256 {
        U256::from(self.gas_limit).saturating_mul(U256::from(self.max_fee))
    }

    /// What it does on the chain, whatever it costs.
    #[must_use]
    pub const fn effect(&self) -> (u64, Address, U256, &Bytes) {
        (self.chain_id, self.to, self.value, &self.data)
    }

    /// Signs it.
    #[must_use]
    pub fn sign(&self, key: &PrivateKey) -> SignedTransaction {
        let hash = keccak256(self.encode(&[]));
        let signature = key.sign_hash(hash);
        let (s, is_y_odd) = signature::split(signature.vs);
        let [r, s] = [signature.r, s].map(|word| U256::from_be_bytes(word.0));
        let raw = self.encode(&[&is_y_odd, &r, &s]);
        SignedTransaction {
            hash: keccak256(&raw),
            raw: raw.into(),
        }
    }

    fn encode(&self, signature: &[&dyn Encodable]) -> Vec<u8> {
        let access_list = Header {
            list: true,
            payload_length: 0,
        };
        let fields: [&dyn Encodable; 9] = [
            &self.chain_id,
            &self.nonce,
            &self.max_priority_fee,
            &self.max_fee,
            &self.gas_limit,
            &self.to,
            &self.value,
            &self.data,
            &EmptyList(access_list),
        ];
        let fields = || fields.iter().chain(signature);
        let header = Header {
            list: true,
            payload_length: fields().map(|field| field.length()).sum(),
        };
        let mut out = vec![TYPE];
        header.encode(&mut out);
        fields().for_each(|field| field.encode(&mut out));
        out
    }
}

/// The access list, which is empty.
struct EmptyList(Header);

impl Encodable for EmptyList {
    fn encode(&self, out: &mut dyn alloy_rlp::BufMut) {
        self.0.encode(out);
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{b256, bytes};

    use super::*;

    fn ether() -> Transaction {
        Transaction {
            chain_id: 1,
            nonce: 0,
            max_priority_fee: 0,
            max_fee: 7,
            gas_limit: 21_000,
            to: Address::repeat_byte(0x35),
            value: U256::from(10_u64.pow(18)),
            data: Bytes::new(),
        }
    }

    fn call() -> Transaction {
        Transaction {
            chain_id: 31337,
            nonce: 128,
            max_priority_fee: 2_000_000_000,
            max_fee: 100_000_000_000,
            gas_limit: 123_456,
            to: Address::repeat_byte(0x0a),
            value: U256::ZERO,
            data: (0..200).collect::<Vec<u8>>().into(),
        }
    }

    /// Signed by eth-account 0.14 with the same key.
    #[test]
    fn a_transaction_is_signed_as_others_sign_it() {
        let key = PrivateKey::from_bytes(&[0x46; 32]).unwrap();
        let signed = ether().sign(&key);
        let raw = bytes!(
            "02f86a01808007825208943535353535353535353535353535353535353535880de0b6b3a764000080c080a09c4988b107c3ed5ab446aea13c5025c14e281d3365fe6a459642a7dac8508395a00350c83b49104da13c10c7ec69b968ea2af1332829e4aabe05b4a00f2fbd1c69"
        );
        assert_eq!(signed.raw, raw);
        let hash = b256!("1f3f9f1f44089412ed74ee6288b3e9e44640068d4fba056b7ce99d9f807c301c");
        assert_eq!(signed.hash, hash);
        let signed = call().sign(&key);
        let hash = b256!("b7a125c84519da62c0ce519273440eb52b3cde25a60b194ba31d5ef07ac3c749");
        assert_eq!(signed.hash, hash);
    }

    #[test]
    fn the_most_a_transaction_costs() {
        assert_eq!(ether().most_fee(), U256::from(147_000));
        let dearest = Transaction {
            max_fee: u128::MAX,
            gas_limit: u64::MAX,
            ..call()
        };
        assert!(dearest.most_fee() < U256::MAX);
    }
}
