//! Why a node did not answer as it was asked to.

use std::fmt;

use alloy_primitives::{Bytes, U256};
use alloy_sol_types::{Panic, Revert as Require, SolError, SolInterface};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use crate::bindings::SmtChequeBook::SmtChequeBookErrors;
use crate::bindings::SmtToken::SmtTokenErrors;
use crate::cheque::Verdict;
use crate::text::amount;

/// A request failed. No text of it has more of the node's URL than its host.
#[derive(Debug, Error)]
pub enum Error {
    /// TLS could not be prepared.
    #[error("TLS: {0}")]
    Tls(String),
    /// There is no connection, or it broke.
    #[error("{host} cannot be reached: {reason}")]
    Unreachable {
        /// Who was asked.
        host: String,
        /// What the operating system, or TLS, said.
        reason: String,
    },
    /// It took longer than it may. Whether the node has done it is not known.
    #[error("{host} did not answer in time")]
    Timeout {
        /// Who was asked.
        host: String,
    },
    /// The answer is one of HTTP, and no success.
    #[error("{host} answered with HTTP status {status}{}", hint(*.status))]
    Status {
        /// Who was asked.
        host: String,
        /// 429: too many requests.
        status: u16,
    },
    /// The answer is larger than it may be.
    #[error("{host} answered with more than {limit} bytes")]
    TooLarge {
        /// Who was asked.
        host: String,
        /// What it may be.
        limit: usize,
    },
    /// The node understood, and refused.
    #[error("{host} refused {method}: {message} ({code})")]
    Refused {
        /// Who was asked.
        host: String,
        /// For what.
        method: &'static str,
        /// -32000: something about the transaction, which only the message says.
        code: i64,
        /// For people, and different in each kind of node.
        message: String,
    },
    /// A contract refused.
    #[error("the contract refused: {0}")]
    Reverted(Revert),
    /// The answer is not what it should be.
    #[error("{host} answered {method} with something else: {reason}")]
    Malformed {
        /// Who was asked.
        host: String,
        /// For what.
        method: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

fn hint(status: u16) -> &'static str {
    match status {
        401 | 403 => ": is the key in its URL right?",
        429 => ": too many requests",
        _ => "",
    }
}

/// What a contract said when it refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revert {
    /// The cheque book does not pay a cheque: `DoesNotPay`.
    DoesNotPay(Verdict),
    /// Another error of the cheque book.
    Book(Box<SmtChequeBookErrors>),
    /// An error of the token.
    Token(Box<SmtTokenErrors>),
    /// A reason in words.
    Text(String),
    /// Solidity's own: an overflow, an index out of range.
    Panic(U256),
    /// Something else, or nothing.
    Unknown(Bytes),
}

impl Revert {
    /// Reads what a contract returned.
    #[must_use]
    pub fn decode(data: &Bytes) -> Self {
        if let Ok(error) = SmtChequeBookErrors::abi_decode(data) {
            return Self::of_book(error);
        }
        if let Ok(error) = SmtTokenErrors::abi_decode(data) {
            return Self::Token(Box::new(error));
        }
        if let Ok(reason) = Require::abi_decode(data) {
            return Self::Text(reason.reason);
        }
        if let Ok(panic) = Panic::abi_decode(data) {
            return Self::Panic(panic.code);
        }
        Self::Unknown(data.clone())
    }

    fn of_book(error: SmtChequeBookErrors) -> Self {
        if let SmtChequeBookErrors::DoesNotPay(refusal) = &error
            && let Some(verdict) = Verdict::from_number(refusal.verdict)
        {
            return Self::DoesNotPay(verdict);
        }
        Self::Book(Box::new(error))
    }
}

impl fmt::Display for Revert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DoesNotPay(verdict) => write!(f, "{verdict}"),
            Self::Book(error) => write!(f, "{error:?}"),
            Self::Token(error) => write_token(f, error),
            Self::Text(reason) => f.write_str(reason),
            Self::Panic(code) => write!(f, "panic {code:#x}"),
            Self::Unknown(data) if data.is_empty() => f.write_str("without a reason"),
            Self::Unknown(data) => write!(f, "{data}"),
        }
    }
}

fn write_token(f: &mut fmt::Formatter<'_>, error: &SmtTokenErrors) -> fmt::Result {
    if let SmtTokenErrors::ERC20InsufficientBalance(it) = error {
        let (balance, needed) = (amount(it.balance), amount(it.needed));
        return write!(f, "{needed} SMT are needed, and there are {balance}");
    }
    write!(f, "{error:?}")
}

/// An error as JSON-RPC has it.
#[derive(Debug, Deserialize)]
pub(super) struct RpcError {
    #[serde(default)]
    pub(super) code: i64,
    #[serde(default)]
    pub(super) message: String,
    #[serde(default)]
    data: Value,
}

impl RpcError {
    /// What a contract said, if it was one that refused. geth and its kin have code 3, and the data as a
    /// string. Others have other codes, and words before the data.
    pub(super) fn revert(&self) -> Option<Revert> {
        let data = self.data.as_str().unwrap_or_default();
        let data = data.strip_prefix("Reverted ").unwrap_or(data);
        let is_revert = self.code == 3 || self.message.contains("revert");
        if !is_revert {
            return None;
        }
        let bytes: Bytes = data.parse().unwrap_or_default();
        Some(Revert::decode(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::Address;
    use serde_json::json;

    use super::*;
    use crate::bindings::{SmtChequeBook, SmtToken};

    fn said(error: Value) -> Option<String> {
        let error: RpcError = serde_json::from_value(error).unwrap();
        error.revert().map(|revert| revert.to_string())
    }

    #[test]
    fn a_contract_is_understood_through_every_kind_of_node() {
        let data = Bytes::from(SmtChequeBook::DoesNotPay { verdict: 3 }.abi_encode());
        let paid = Some("all of it has been paid already".to_owned());
        for error in [
            json!({"code": 3, "message": "execution reverted", "data": data}),
            json!({"code": -32015, "message": "VM execution error: reverted", "data": format!("Reverted {data}")}),
        ] {
            assert_eq!(said(error), paid);
        }
        let silent = json!({"code": -32000, "message": "execution reverted"});
        assert_eq!(said(silent).as_deref(), Some("without a reason"));
        let other = json!({"code": -32000, "message": "nonce too low"});
        assert_eq!(said(other), None);
    }

    #[test]
    fn what_contracts_say_is_decoded() {
        let insufficient = SmtToken::ERC20InsufficientBalance {
            sender: Address::ZERO,
            balance: U256::from(10_u64.pow(17)),
            needed: U256::from(10_u64.pow(18)),
        };
        let early = SmtChequeBook::TooEarly {
            readyAt: U256::from(7),
        };
        let strange = SmtChequeBook::DoesNotPay { verdict: 77 };
        for (data, text) in [
            (
                insufficient.abi_encode(),
                "1 SMT are needed, and there are 0.1",
            ),
            (early.abi_encode(), "TooEarly(TooEarly { readyAt: 7 })"),
            (
                strange.abi_encode(),
                "DoesNotPay(DoesNotPay { verdict: 77 })",
            ),
            (Require::from("no").abi_encode(), "no"),
            (
                Panic {
                    code: U256::from(0x11),
                }
                .abi_encode(),
                "panic 0x11",
            ),
            (vec![1, 2, 3, 4], "0x01020304"),
        ] {
            let revert = Revert::decode(&Bytes::from(data));
            assert_eq!(revert.to_string(), text);
        }
    }
}
