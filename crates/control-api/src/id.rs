//! Identifiers, written everywhere as lower-case hex digits.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The digits by which people tell ids apart in a table.
pub(crate) const SHORT_DIGITS: usize = 8;

/// A text that is not the hex form of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {digits} hex digits")]
pub struct IdError {
    digits: usize,
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Wraps the raw bytes.
            #[must_use]
            pub const fn new(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The raw bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// The first eight hex digits, for tables.
            #[must_use]
            pub fn short(&self) -> String {
                self.to_string().chars().take(SHORT_DIGITS).collect()
            }
        }

        impl From<[u8; $len]> for $name {
            fn from(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let mut bytes = [0; $len];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| IdError { digits: 2 * $len })?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

hex_id!(
    /// A node's Ed25519 public key: 64 hex digits.
    NodeId,
    32
);
hex_id!(
    /// The short id under which a node's originator messages travel: 20 hex digits.
    OriginatorId,
    10
);
hex_id!(
    /// The hash of a receipt: 56 hex digits.
    ReceiptHash,
    28
);

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: &str = "00112233445566778899";

    #[test]
    fn reads_and_writes_the_same_digits() {
        let id: OriginatorId = DIGITS.parse().unwrap();

        assert_eq!(id.to_string(), DIGITS);
        assert_eq!(id.short(), "00112233");
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{DIGITS}\""));
        assert_eq!(format!("{id:?}"), format!("OriginatorId({DIGITS})"));
    }

    #[test]
    fn refuses_what_is_not_an_id() {
        for text in ["", "0011", "0011223344556677889g", "0011223344556677889900"] {
            let error = text.parse::<OriginatorId>().unwrap_err();
            assert_eq!(error.to_string(), "expected 20 hex digits", "{text}");
        }
    }
}
