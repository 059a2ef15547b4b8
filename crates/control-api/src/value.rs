//! Values that JSON numbers cannot carry safely.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An amount of SMT in its smallest unit, 10⁻¹⁸ SMT.
///
/// Written as a string of decimal digits: a JSON number loses digits beyond 2⁵³ in many readers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttoSmt(u128);

impl AttoSmt {
    /// So many atto-SMT.
    #[must_use]
    pub const fn new(atto: u128) -> Self {
        Self(atto)
    }

    /// The number of atto-SMT.
    #[must_use]
    pub const fn atto(self) -> u128 {
        self.0
    }
}

impl From<u64> for AttoSmt {
    fn from(atto: u64) -> Self {
        Self(atto.into())
    }
}

impl fmt::Display for AttoSmt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for AttoSmt {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl Serialize for AttoSmt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AttoSmt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// The share of packets that arrive, 0 to 1, in steps of a thousandth.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize)]
pub struct Quality(f64);

impl Quality {
    /// Rounds to thousandths, finer than any hello window, and moves what is outside into 0 to 1.
    /// NaN, which JSON cannot write, becomes 0.
    #[must_use]
    pub fn new(share: f64) -> Self {
        if share.is_nan() {
            return Self(0.0);
        }
        Self((share.clamp(0.0, 1.0) * 1000.0).round() / 1000.0)
    }

    /// The share, 0 to 1.
    #[must_use]
    pub const fn share(self) -> f64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Quality {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer).map(Self::new)
    }
}

/// Bytes, written as lower-case hex digits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HexBytes(Vec<u8>);

impl HexBytes {
    /// The bytes themselves.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<u8>> for HexBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Serialize for HexBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for HexBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let digits = String::deserialize(deserializer)?;
        hex::decode(digits).map(Self).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_keep_every_digit() {
        let amount = AttoSmt::new(u128::MAX);

        let json = serde_json::to_string(&amount).unwrap();

        assert_eq!(json, "\"340282366920938463463374607431768211455\"");
        assert_eq!(serde_json::from_str::<AttoSmt>(&json).unwrap(), amount);
        assert!(serde_json::from_str::<AttoSmt>("\"-1\"").is_err());
        assert!(serde_json::from_str::<AttoSmt>("1").is_err());
    }

    #[test]
    fn quality_is_always_a_number_from_0_to_1() {
        for (share, json) in [
            (f64::NAN, "0.0"),
            (-1.0, "0.0"),
            (7.0, "1.0"),
            (29.0 / 30.0, "0.967"),
            (0.5, "0.5"),
        ] {
            assert_eq!(serde_json::to_string(&Quality::new(share)).unwrap(), json);
        }
    }

    #[test]
    fn bytes_are_hex_digits() {
        let bytes = HexBytes::from(vec![0, 0xff]);

        assert_eq!(serde_json::to_string(&bytes).unwrap(), "\"00ff\"");
        assert!(serde_json::from_str::<HexBytes>("\"0\"").is_err());
    }
}
