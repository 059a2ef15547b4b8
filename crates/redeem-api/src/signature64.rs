//! A signature of 64 bytes, as text.

use std::fmt;

use alloy_primitives::B256;
use ethereum::signature::Signature;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// 64 bytes, written as 0x and 128 hexadecimal digits: Ed25519, or r and vs of ERC-2098.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature64(pub [u8; 64]);

impl From<Signature> for Signature64 {
    fn from(signature: Signature) -> Self {
        let mut bytes = [0; 64];
        let (r, vs) = bytes.split_at_mut(32);
        r.copy_from_slice(signature.r.as_slice());
        vs.copy_from_slice(signature.vs.as_slice());
        Self(bytes)
    }
}

impl From<Signature64> for Signature {
    fn from(signature: Signature64) -> Self {
        let (r, vs) = signature.0.split_at(32);
        Self {
            r: B256::from_slice(r),
            vs: B256::from_slice(vs),
        }
    }
}

impl fmt::Display for Signature64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl Serialize for Signature64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Signature64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; 64];
        let digits = text.strip_prefix("0x").unwrap_or_default();
        hex::decode_to_slice(digits, &mut bytes)
            .map_err(|_| de::Error::custom("expected 0x and 128 hexadecimal digits"))?;
        Ok(Self(bytes))
    }
}
