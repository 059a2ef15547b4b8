//! Which account a node earns for and pays from: signed by both, so that nobody can bind a node to an account of
//! another, or another's node to an account.

use alloy_primitives::{Address, B256};
use alloy_sol_types::{SolStruct, sol};
use control_api::NodeId;
use ed25519_dalek::{Signer, SigningKey};
use ethereum::bindings::domain;
use ethereum::key::PrivateKey;
use ethereum::signature::signer_of_hash;
use receipts::Party;
use serde::{Deserialize, Serialize};

use crate::Signature64;

sol! {
    struct Registration {
        bytes32 node;
        address account;
        uint64 sequence;
    }
}

/// What is in front of the hash that a node signs. No other signature of its key begins like this.
const NODE_TAG: &[u8; 8] = b"MESHREG\x01";

/// What both sign: for one cheque book on one chain, EIP-712 in the domain of its cheques. The account signs the
/// hash, the node `MESHREG`, a byte 1, and the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement {
    /// The chain of the cheque book.
    pub chain_id: u64,
    /// The cheque book.
    pub book: Address,
    /// Who earns and pays.
    pub node: Party,
    /// Where to, and from what deposit.
    pub account: Address,
    /// From 1. A later statement of a node replaces those before.
    pub sequence: u64,
}

impl Statement {
    /// What the account signs.
    #[must_use]
    pub fn hash(&self) -> B256 {
        let registration = Registration {
            node: B256::from(*self.node.as_bytes()),
            account: self.account,
            sequence: self.sequence,
        };
        registration.eip712_signing_hash(&domain(self.chain_id, self.book))
    }

    fn node_message(&self) -> [u8; 40] {
        let mut message = [0; 40];
        let (tag, hash) = message.split_at_mut(NODE_TAG.len());
        tag.copy_from_slice(NODE_TAG);
        hash.copy_from_slice(self.hash().as_slice());
        message
    }

    /// The node's signature.
    #[must_use]
    pub fn sign_as_node(&self, key: &SigningKey) -> Signature64 {
        Signature64(key.sign(&self.node_message()).to_bytes())
    }

    /// The account's signature.
    #[must_use]
    pub fn sign_as_account(&self, key: &PrivateKey) -> Signature64 {
        key.sign_hash(self.hash()).into()
    }
}

/// A statement that a node has signed: what is carried from the router to where the account's key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatement {
    /// Version of this file.
    pub schema: u32,
    /// The chain of the cheque book.
    pub chain_id: u64,
    /// The cheque book.
    pub book: Address,
    /// Who earns and pays.
    pub node: NodeId,
    /// Where to, and from what deposit.
    pub account: Address,
    /// From 1. A later statement of a node replaces those before.
    pub sequence: u64,
    /// Ed25519.
    pub node_signature: Signature64,
}

impl NodeStatement {
    /// Signs as a node.
    #[must_use]
    pub fn sign(
        key: &SigningKey,
        chain_id: u64,
        book: Address,
        account: Address,
        sequence: u64,
    ) -> Self {
        let node = Party::of(key);
        let statement = Statement {
            chain_id,
            book,
            node,
            account,
            sequence,
        };
        Self {
            schema: crate::SCHEMA,
            chain_id,
            book,
            node: NodeId::new(*node.as_bytes()),
            account,
            sequence,
            node_signature: statement.sign_as_node(key),
        }
    }

    /// Signs as the account, and checks that both signatures hold.
    ///
    /// # Errors
    /// [`RegistrationError`]: the node's signature does not match, or the key is another account's.
    pub fn countersign(&self, key: &PrivateKey) -> Result<RegistrationRequest, RegistrationError> {
        let statement = Statement {
            chain_id: self.chain_id,
            book: self.book,
            node: Party::new(*self.node.as_bytes()),
            account: self.account,
            sequence: self.sequence,
        };
        let request = RegistrationRequest {
            node: self.node,
            account: self.account,
            sequence: self.sequence,
            node_signature: self.node_signature,
            account_signature: statement.sign_as_account(key),
        };
        request.verify(self.chain_id, self.book)?;
        Ok(request)
    }
}

/// A statement with both signatures, as it is sent. The chain and the cheque book are the service's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RegistrationRequest {
    /// The node's id: 64 hexadecimal digits.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[0-9a-f]{64}$"))]
    pub node: NodeId,
    /// Its account: 0x and 40 hexadecimal digits.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0x[0-9a-fA-F]{40}$"))]
    pub account: Address,
    /// From 1 on. Later ones replace those before.
    #[cfg_attr(
        feature = "openapi",
        schema(minimum = 1, maximum = 9_223_372_036_854_775_807_u64)
    )]
    pub sequence: u64,
    /// Ed25519.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0x[0-9a-fA-F]{128}$"))]
    pub node_signature: Signature64,
    /// r and vs of ERC-2098.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0x[0-9a-fA-F]{128}$"))]
    pub account_signature: Signature64,
}

/// Why a registration does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    /// Numbers are 1 to 2⁶³ - 1.
    #[error("the sequence number has to be 1 or more, and less than 2^63")]
    Sequence,
    /// Nobody has this account.
    #[error("the account is nobody's")]
    NoAccount,
    /// The node has not signed it, or its key is one that anybody can sign with.
    #[error("the node's signature does not match, or its key is weak")]
    Node,
    /// The account has not signed it.
    #[error("the account's signature does not match")]
    Account,
}

impl RegistrationRequest {
    /// Checks both signatures, for this cheque book on this chain.
    ///
    /// # Errors
    /// [`RegistrationError`].
    pub fn verify(&self, chain_id: u64, book: Address) -> Result<Statement, RegistrationError> {
        if self.sequence == 0 || i64::try_from(self.sequence).is_err() {
            return Err(RegistrationError::Sequence);
        }
        if self.account.is_zero() || self.account == book {
            return Err(RegistrationError::NoAccount);
        }
        let statement = Statement {
            chain_id,
            book,
            node: Party::new(*self.node.as_bytes()),
            account: self.account,
            sequence: self.sequence,
        };
        let message = statement.node_message();
        let node = statement.node.verify(&message, &self.node_signature.0);
        node.map_err(|_| RegistrationError::Node)?;
        let signer = signer_of_hash(statement.hash(), &self.account_signature.into());
        match signer == Ok(self.account) {
            true => Ok(statement),
            false => Err(RegistrationError::Account),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOK: Address = Address::repeat_byte(0xb0);

    fn node() -> SigningKey {
        SigningKey::from_bytes(&[1; 32])
    }

    fn wallet() -> PrivateKey {
        PrivateKey::from_bytes(&[2; 32]).unwrap()
    }

    fn request() -> RegistrationRequest {
        let statement = Statement {
            chain_id: 1,
            book: BOOK,
            node: Party::of(&node()),
            account: wallet().address(),
            sequence: 3,
        };
        RegistrationRequest {
            node: NodeId::new(*statement.node.as_bytes()),
            account: statement.account,
            sequence: statement.sequence,
            node_signature: statement.sign_as_node(&node()),
            account_signature: statement.sign_as_account(&wallet()),
        }
    }

    #[test]
    fn both_have_to_sign() {
        let good = request();
        assert_eq!(good.verify(1, BOOK).unwrap().sequence, 3);
        let mut other_node = good;
        other_node.node_signature.0[5] ^= 1;
        assert_eq!(other_node.verify(1, BOOK), Err(RegistrationError::Node));
        let mut other_account = good;
        other_account.account_signature.0[5] ^= 1;
        assert_eq!(
            other_account.verify(1, BOOK),
            Err(RegistrationError::Account)
        );
    }

    #[test]
    fn a_statement_is_countersigned_by_its_account_only() {
        let account = wallet().address();
        let statement = NodeStatement::sign(&node(), 1, BOOK, account, 3);
        assert_eq!(statement.countersign(&wallet()), Ok(request()));
        let other = PrivateKey::from_bytes(&[3; 32]).unwrap();
        assert_eq!(
            statement.countersign(&other),
            Err(RegistrationError::Account)
        );
        let changed = NodeStatement {
            sequence: 4,
            ..statement
        };
        assert_eq!(changed.countersign(&wallet()), Err(RegistrationError::Node));
    }

    #[test]
    fn it_is_for_one_account_book_chain_and_number() {
        let good = request();
        let sequence = RegistrationRequest {
            sequence: 4,
            ..good
        };
        let account = Address::repeat_byte(7);
        let account = RegistrationRequest { account, ..good };
        for changed in [
            sequence.verify(1, BOOK),
            account.verify(1, BOOK),
            good.verify(2, BOOK),
        ] {
            assert_eq!(changed, Err(RegistrationError::Node));
        }
        let other_book = good.verify(1, Address::repeat_byte(0xb1));
        assert_eq!(other_book, Err(RegistrationError::Node));
    }

    #[test]
    fn weak_keys_are_refused() {
        // The neutral element: with it, R = s·B verifies for every message without the cofactored rules.
        let mut weak = [0; 32];
        weak[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        let weak = RegistrationRequest {
            node: NodeId::new(weak),
            node_signature: Signature64(signature),
            ..request()
        };
        assert_eq!(weak.verify(1, BOOK), Err(RegistrationError::Node));
    }

    #[test]
    fn numbers_and_accounts_have_bounds() {
        for sequence in [0, 1 << 63] {
            let changed = RegistrationRequest {
                sequence,
                ..request()
            };
            assert_eq!(changed.verify(1, BOOK), Err(RegistrationError::Sequence));
        }
        for account in [Address::ZERO, BOOK] {
            let changed = RegistrationRequest {
                account,
                ..request()
            };
            assert_eq!(changed.verify(1, BOOK), Err(RegistrationError::NoAccount));
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let written = serde_json::to_string(&request()).unwrap();
        let read: RegistrationRequest = serde_json::from_str(&written).unwrap();
        assert_eq!(read, request());
        assert!(written.contains("\"sequence\":3"), "{written}");
    }
}
