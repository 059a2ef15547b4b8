//! A transaction that may be on its way.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Fees;
use crate::key::PrivateKey;
use crate::rpc::{BlockTag, Error, Intent, Node};
use crate::text;
use crate::transaction::Transaction;

/// The version of the form that is kept.
const SCHEMA: u32 = 1;

/// Nodes replace a transaction by one that pays a tenth more; an eighth does for all of them.
const RAISE_DIVISOR: u128 = 8;

/// A signed transaction, and those of the same number that were signed before. One of them is in a block at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    from: Address,
    transaction: Transaction,
    /// Signed, the newest last, which is the one of `transaction`.
    attempts: Vec<Bytes>,
    /// Of the same number, and for something else: nodes have refused them, which may have been a lie.
    others: Vec<Other>,
    is_refused: bool,
}

/// A transaction that was signed for something else.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
struct Other {
    /// Signed.
    raw: Bytes,
    to: Address,
    value: U256,
    data: Bytes,
}

impl Other {
    /// Whether it does the same, on the chain that both are for.
    fn does_as(&self, transaction: &Transaction) -> bool {
        let (_, to, value, data) = transaction.effect();
        (self.to, self.value, &self.data) == (to, value, data)
    }
}

/// What is kept of a pending transaction cannot be read.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum PendingError {
    /// It is not JSON, or has another form.
    #[error("no pending transaction: {0}")]
    Form(String),
    /// A later version.
    #[error("a pending transaction of schema {0}; known is {SCHEMA}")]
    Schema(u32),
    /// Nothing was signed.
    #[error("no pending transaction: it has no attempt")]
    Empty,
}

/// What a node said to a transaction that it was given.
#[derive(Debug)]
pub enum Broadcast {
    /// It has it, maybe from before.
    Taken,
    /// Its number is used: by itself, or by another.
    NonceUsed,
    /// It pays too little.
    Underpriced(Error),
    /// No node takes it as it is.
    Invalid(Error),
    /// Another reason. Providers also say so when they do not know what became of it.
    InDoubt(Error),
}

/// What a refusal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Known,
    NonceUsed,
    Underpriced,
    Invalid,
    InDoubt,
}

/// What geth, Erigon, Nethermind, Besu, Reth and anvil say. The code is -32000 for nearly all of it.
const REFUSALS: [(&str, Refusal); 16] = [
    ("already known", Refusal::Known),
    ("alreadyknown", Refusal::Known),
    ("known transaction", Refusal::Known),
    ("already imported", Refusal::Known),
    ("nonce too low", Refusal::NonceUsed),
    ("nonce is too low", Refusal::NonceUsed),
    ("oldnonce", Refusal::NonceUsed),
    ("underpriced", Refusal::Underpriced),
    ("feetoolow", Refusal::Underpriced),
    ("max fee per gas less than", Refusal::Underpriced),
    ("insufficient funds", Refusal::Invalid),
    ("insufficientfunds", Refusal::Invalid),
    ("exceeds account balance", Refusal::Invalid),
    ("intrinsic gas", Refusal::Invalid),
    ("exceeds block gas limit", Refusal::Invalid),
    ("exceeds the configured cap", Refusal::Invalid),
];

impl Refusal {
    /// What is not known is in doubt: it is sent again, which costs nothing, and not signed again.
    fn of(message: &str) -> Self {
        let said = message.to_lowercase();
        let mut known = REFUSALS.iter();
        let found = known.find(|(text, _)| said.contains(text));
        found.map_or(Self::InDoubt, |(_, refusal)| *refusal)
    }
}

impl Pending {
    /// Signs a transaction.
    #[must_use]
    pub fn sign(key: &PrivateKey, transaction: Transaction) -> Self {
        let raw = transaction.sign(key).raw;
        Self {
            from: key.address(),
            transaction,
            attempts: vec![raw],
            others: Vec::new(),
            is_refused: false,
        }
    }

    /// Signs another transaction in the place of this one, which was refused: with its number, so that one of the two
    /// is in a block at most, whoever has kept the first.
    #[must_use]
    pub fn sign_instead(self, key: &PrivateKey, transaction: Transaction) -> Self {
        let nonce = self.transaction.nonce;
        let transaction = Transaction {
            nonce,
            ..transaction
        };
        let mut instead = Self::sign(key, transaction);
        let (_, to, value, data) = self.transaction.effect();
        let attempts = self.attempts.into_iter().map(|raw| Other {
            raw,
            to,
            value,
            data: data.clone(),
        });
        let known = self.others.into_iter().chain(attempts);
        // What was wanted before, and is again, is the same payment.
        let (same, others): (Vec<_>, Vec<_>) =
            known.partition(|it| it.does_as(&instead.transaction));
        instead.others = others;
        let same = same.into_iter().map(|it| it.raw);
        let same: Vec<_> = same.filter(|raw| !instead.attempts.contains(raw)).collect();
        instead.attempts.splice(..0, same);
        instead
    }

    /// A node has refused it, and none seems to have it.
    pub const fn refuse(&mut self) {
        self.is_refused = true;
    }

    /// Somebody has it after all.
    pub const fn accept(&mut self) {
        self.is_refused = false;
    }

    /// Whether its number is for what is signed next: [`Pending::sign_instead`].
    #[must_use]
    pub const fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// Whether the node knows neither this transaction nor another of its number.
    ///
    /// # Errors
    /// The node did not answer as it should.
    pub async fn is_unknown(&self, node: &Node) -> Result<bool, Error> {
        for hash in self.hashes() {
            if node.knows(hash).await? {
                return Ok(false);
            }
        }
        let next = node.transaction_count(self.from, BlockTag::Pending).await?;
        Ok(next <= self.transaction.nonce)
    }

    /// Signs the same again, which pays more: what it costs now, and an eighth more than before at least.
    pub fn raise(&mut self, key: &PrivateKey, fees: Fees) {
        let raised = |fee: u128| fee.saturating_add(fee / RAISE_DIVISOR).saturating_add(1);
        let transaction = &mut self.transaction;
        transaction.max_priority_fee = raised(transaction.max_priority_fee).max(fees.tip);
        transaction.max_fee = raised(transaction.max_fee)
            .max(fees.most)
            .max(transaction.max_priority_fee);
        self.attempts.push(transaction.sign(key).raw);
    }

    /// Who sends it.
    #[must_use]
    pub const fn from(&self) -> Address {
        self.from
    }

    /// What was signed last.
    #[must_use]
    pub const fn transaction(&self) -> &Transaction {
        &self.transaction
    }

    /// The name of the newest.
    #[must_use]
    pub fn hash(&self) -> B256 {
        self.attempts.last().map(keccak256).unwrap_or_default()
    }

    /// The names of all, the newest first.
    pub(super) fn hashes(&self) -> impl Iterator<Item = B256> {
        self.attempts.iter().rev().map(keccak256)
    }

    /// The names of those that do something else.
    pub(super) fn other_hashes(&self) -> impl Iterator<Item = B256> {
        self.others.iter().map(|it| keccak256(&it.raw))
    }

    /// Whether it does what somebody wants, on this chain.
    #[must_use]
    pub fn does(&self, intent: &Intent, chain_id: u64) -> bool {
        let wanted = (chain_id, intent.to, intent.value, &intent.data);
        self.from == intent.from && self.transaction.effect() == wanted
    }

    /// Gives it to a node.
    ///
    /// # Errors
    /// The node did not answer as it should. It may have taken it all the same.
    pub async fn broadcast(&self, node: &Node) -> Result<Broadcast, Error> {
        let raw = self.attempts.last().cloned().unwrap_or_default();
        let Err(error) = node.send_raw_transaction(&raw).await else {
            return Ok(Broadcast::Taken);
        };
        let Error::Refused { message, .. } = &error else {
            return Err(error);
        };
        Ok(match Refusal::of(message) {
            Refusal::Known => Broadcast::Taken,
            Refusal::NonceUsed => Broadcast::NonceUsed,
            Refusal::Underpriced => Broadcast::Underpriced(error),
            Refusal::Invalid => Broadcast::Invalid(error),
            Refusal::InDoubt => Broadcast::InDoubt(error),
        })
    }

    /// What is to be kept until it is confirmed.
    ///
    /// # Errors
    /// Never: everything in it has a form in JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let it = &self.transaction;
        serde_json::to_vec_pretty(&Written {
            schema: SCHEMA,
            from: self.from,
            chain_id: it.chain_id,
            nonce: it.nonce,
            max_priority_fee: U256::from(it.max_priority_fee),
            max_fee: U256::from(it.max_fee),
            gas_limit: it.gas_limit,
            to: it.to,
            value: it.value,
            data: it.data.clone(),
            attempts: self.attempts.clone(),
            others: self.others.clone(),
            is_refused: self.is_refused,
        })
    }

    /// Reads what was kept.
    ///
    /// # Errors
    /// It is something else.
    pub fn parse(bytes: &[u8]) -> Result<Self, PendingError> {
        let form = |error: serde_json::Error| PendingError::Form(error.to_string());
        let schema = text::schema(bytes).map_err(form)?;
        if schema != SCHEMA {
            return Err(PendingError::Schema(schema));
        }
        let written: Written = serde_json::from_slice(bytes).map_err(form)?;
        if written.attempts.is_empty() {
            return Err(PendingError::Empty);
        }
        let fee = |fee: U256| {
            let too_large = |_| PendingError::Form("a fee is too large".to_owned());
            u128::try_from(fee).map_err(too_large)
        };
        Ok(Self {
            from: written.from,
            transaction: Transaction {
                chain_id: written.chain_id,
                nonce: written.nonce,
                max_priority_fee: fee(written.max_priority_fee)?,
                max_fee: fee(written.max_fee)?,
                gas_limit: written.gas_limit,
                to: written.to,
                value: written.value,
                data: written.data,
            },
            attempts: written.attempts,
            others: written.others,
            is_refused: written.is_refused,
        })
    }
}

#[derive(Deserialize, Serialize)]
struct Written {
    schema: u32,
    from: Address,
    chain_id: u64,
    nonce: u64,
    max_priority_fee: U256,
    max_fee: U256,
    gas_limit: u64,
    to: Address,
    value: U256,
    data: Bytes,
    attempts: Vec<Bytes>,
    #[serde(default)]
    others: Vec<Other>,
    #[serde(default, rename = "refused")]
    is_refused: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(key: &PrivateKey) -> Pending {
        let transaction = Transaction {
            chain_id: 1,
            nonce: 7,
            max_priority_fee: 80,
            max_fee: 800,
            gas_limit: 21_000,
            to: Address::repeat_byte(1),
            value: U256::MAX,
            data: Bytes::from_static(b"data"),
        };
        Pending::sign(key, transaction)
    }

    #[test]
    fn what_is_kept_can_be_read() {
        let key = PrivateKey::from_bytes(&[1; 32]).unwrap();
        let mut pending = pending(&key);
        pending.raise(&key, Fees { most: 0, tip: 0 });
        let kept = pending.to_json().unwrap();
        assert_eq!(Pending::parse(&kept), Ok(pending));
        for text in ["", "{}", "[]"] {
            let error = Pending::parse(text.as_bytes()).unwrap_err();
            assert!(matches!(error, PendingError::Form(_)), "{error}");
        }
        let later = Pending::parse(br#"{"schema": 2}"#);
        assert_eq!(later, Err(PendingError::Schema(2)));
    }

    #[test]
    fn what_pays_more_is_the_same_transaction_of_the_same_number() {
        let key = PrivateKey::from_bytes(&[1; 32]).unwrap();
        let first = pending(&key);
        let mut raised = first.clone();
        raised.raise(&key, Fees { most: 0, tip: 0 });
        let expected = Transaction {
            max_priority_fee: 91,
            max_fee: 901,
            ..first.transaction.clone()
        };
        assert_eq!(raised.transaction, expected);
        assert_eq!(
            raised.hashes().collect::<Vec<_>>(),
            [raised.hash(), first.hash()]
        );
        raised.raise(
            &key,
            Fees {
                most: 5000,
                tip: 500,
            },
        );
        let fees = (
            raised.transaction.max_fee,
            raised.transaction.max_priority_fee,
        );
        assert_eq!(fees, (5000, 500));
    }

    #[test]
    fn what_is_signed_instead_has_the_same_number_and_forgets_nothing() {
        let key = PrivateKey::from_bytes(&[1; 32]).unwrap();
        let mut first = pending(&key);
        first.refuse();
        let again = |max_fee, value| Transaction {
            nonce: 9,
            max_fee,
            value,
            ..first.transaction.clone()
        };
        let same = first.clone().sign_instead(&key, again(800, U256::MAX));
        assert!(!same.is_refused());
        assert_eq!(same.attempts, first.attempts);
        let dearer = same.sign_instead(&key, again(900, U256::MAX));
        let hashes: Vec<_> = dearer.hashes().collect();
        assert_eq!(hashes, [dearer.hash(), first.hash()]);
        assert_eq!(dearer.other_hashes().count(), 0);
        let other = dearer.clone().sign_instead(&key, again(900, U256::ZERO));
        assert_eq!(other.transaction.nonce, 7);
        assert_eq!(other.hashes().collect::<Vec<_>>(), [other.hash()]);
        let others: Vec<_> = other.other_hashes().collect();
        assert_eq!(others, [first.hash(), dearer.hash()]);
        let again = other.clone().sign_instead(&key, again(950, U256::MAX));
        let hashes: Vec<_> = again.hashes().collect();
        assert_eq!(hashes, [again.hash(), dearer.hash(), first.hash()]);
        let others: Vec<_> = again.other_hashes().collect();
        assert_eq!(others, [other.hash()]);
        let kept = other.to_json().unwrap();
        assert_eq!(Pending::parse(&kept), Ok(other));
        let kept = first.to_json().unwrap();
        assert!(Pending::parse(&kept).unwrap().is_refused());
    }

    #[test]
    fn what_nodes_say_is_understood() {
        for (said, refusal) in [
            ("already known", Refusal::Known),
            ("AlreadyKnown, Hash: 0x12", Refusal::Known),
            ("Known transaction", Refusal::Known),
            ("transaction already imported", Refusal::Known),
            (
                "nonce too low: next nonce 8, tx nonce 7",
                Refusal::NonceUsed,
            ),
            ("Nonce too low", Refusal::NonceUsed),
            (
                "OldNonce, Current nonce: 8, nonce of rejected tx: 7",
                Refusal::NonceUsed,
            ),
            ("replacement transaction underpriced", Refusal::Underpriced),
            (
                "transaction underpriced: tip needed 1, tip permitted 0",
                Refusal::Underpriced,
            ),
            (
                "max fee per gas less than block base fee",
                Refusal::Underpriced,
            ),
            (
                "insufficient funds for gas * price + value: balance 0",
                Refusal::Invalid,
            ),
            (
                "Insufficient funds for gas * price + value",
                Refusal::Invalid,
            ),
            ("intrinsic gas too low", Refusal::Invalid),
            (
                "tx fee (2.00 ether) exceeds the configured cap (1.00 ether)",
                Refusal::Invalid,
            ),
            ("request timed out", Refusal::InDoubt),
            ("internal error", Refusal::InDoubt),
            ("", Refusal::InDoubt),
        ] {
            assert_eq!(Refusal::of(said), refusal, "{said}");
        }
    }

    #[test]
    fn another_chain_amount_or_recipient_is_another_intent() {
        let key = PrivateKey::from_bytes(&[1; 32]).unwrap();
        let pending = pending(&key);
        let intent = Intent {
            from: key.address(),
            to: Address::repeat_byte(1),
            value: U256::MAX,
            data: Bytes::from_static(b"data"),
        };
        assert!(pending.does(&intent, 1));
        assert!(!pending.does(&intent, 2));
        let other = Address::repeat_byte(2);
        for different in [
            Intent {
                from: other,
                ..intent.clone()
            },
            Intent {
                to: other,
                ..intent.clone()
            },
            Intent {
                value: U256::ZERO,
                ..intent.clone()
            },
            Intent {
                data: Bytes::new(),
                ..intent
            },
        ] {
            assert!(!pending.does(&different, 1), "{different:?}");
        }
    }
}
