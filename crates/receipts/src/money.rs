//! Prices, amounts and byte counts: integers, every operation checked.

use std::fmt;

/// Bytes that one [`Price`] pays for.
pub const MIB: u64 = 1 << 20;

/// Decimal places of SMT: 1 SMT = 10^18 atto-SMT.
const DECIMALS: usize = 18;

/// A sum left the range of its type. The figures are wrong or hostile; nothing is rounded away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("figures out of range")]
pub struct Overflow;

/// What one MiB costs, in atto-SMT. Zero is community mode: counted and signed all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Price(u64);

impl Price {
    /// Nothing to pay.
    pub const FREE: Self = Self(0);
    /// The highest price that can be written.
    pub const MAX: Self = Self(u64::MAX);

    /// A price in atto-SMT per MiB.
    pub const fn new(atto_smt_per_mib: u64) -> Self {
        Self(atto_smt_per_mib)
    }

    /// atto-SMT per MiB.
    pub const fn atto_smt_per_mib(self) -> u64 {
        self.0
    }

    /// What the traffic in `totals` costs: `price × (up + down) / MiB`, rounded down.
    ///
    /// The one rounding of the whole system. It is applied to cumulative figures only, so that
    /// the amount does not depend on how traffic was sliced; the consumer's gain is below
    /// 1 atto-SMT per epoch.
    ///
    /// # Errors
    /// [`Overflow`] when `price × bytes` exceeds 128 bits.
    pub fn charge(self, totals: &Totals) -> Result<Amount, Overflow> {
        let product = u128::from(self.0)
            .checked_mul(totals.bytes())
            .ok_or(Overflow)?;
        Ok(Amount(product / u128::from(MIB)))
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} atto-SMT/MiB", self.0)
    }
}

/// Money, in atto-SMT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(u128);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// An amount in atto-SMT.
    pub const fn new(atto_smt: u128) -> Self {
        Self(atto_smt)
    }

    /// atto-SMT.
    pub const fn atto_smt(self) -> u128 {
        self.0
    }

    /// The sum.
    ///
    /// # Errors
    /// [`Overflow`] beyond 128 bits.
    pub fn checked_add(self, other: Self) -> Result<Self, Overflow> {
        self.0.checked_add(other.0).map(Self).ok_or(Overflow)
    }

    /// The difference.
    ///
    /// # Errors
    /// [`Overflow`] if `other` is more.
    pub fn checked_sub(self, other: Self) -> Result<Self, Overflow> {
        self.0.checked_sub(other.0).map(Self).ok_or(Overflow)
    }
}

/// Exact decimal SMT, without trailing zeros: `0.000001 SMT`.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:0>width$}", self.0, width = DECIMALS + 1);
        let (whole, fraction) = digits.split_at(digits.len() - DECIMALS);
        match fraction.trim_end_matches('0') {
            "" => write!(f, "{whole} SMT"),
            fraction => write!(f, "{whole}.{fraction} SMT"),
        }
    }
}

/// Service rendered, cumulative or as a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Totals {
    /// Bytes from the consumer towards the gateway.
    pub up_bytes: u64,
    /// Bytes from the gateway towards the consumer.
    pub down_bytes: u64,
    /// Seconds in which there was traffic.
    pub seconds: u32,
}

impl Totals {
    /// Nothing.
    pub const ZERO: Self = Self {
        up_bytes: 0,
        down_bytes: 0,
        seconds: 0,
    };

    /// Bytes in both directions. Cannot overflow: two 64-bit numbers in 128 bits.
    pub fn bytes(&self) -> u128 {
        u128::from(self.up_bytes) + u128::from(self.down_bytes)
    }

    /// Field by field at least `other`.
    pub fn covers(&self, other: &Self) -> bool {
        self.up_bytes >= other.up_bytes
            && self.down_bytes >= other.down_bytes
            && self.seconds >= other.seconds
    }

    /// The sum, field by field.
    ///
    /// # Errors
    /// [`Overflow`] if a field overflows.
    pub fn checked_add(&self, other: &Self) -> Result<Self, Overflow> {
        Ok(Self {
            up_bytes: self.up_bytes.checked_add(other.up_bytes).ok_or(Overflow)?,
            down_bytes: self
                .down_bytes
                .checked_add(other.down_bytes)
                .ok_or(Overflow)?,
            seconds: self.seconds.checked_add(other.seconds).ok_or(Overflow)?,
        })
    }

    /// The sum, field by field, at most what a field holds. For people to look at.
    pub(crate) const fn saturating_add(&self, other: &Self) -> Self {
        Self {
            up_bytes: self.up_bytes.saturating_add(other.up_bytes),
            down_bytes: self.down_bytes.saturating_add(other.down_bytes),
            seconds: self.seconds.saturating_add(other.seconds),
        }
    }

    /// The difference, field by field.
    ///
    /// # Errors
    /// [`Overflow`] unless `self` covers `other`.
    pub fn checked_sub(&self, other: &Self) -> Result<Self, Overflow> {
        Ok(Self {
            up_bytes: self.up_bytes.checked_sub(other.up_bytes).ok_or(Overflow)?,
            down_bytes: self
                .down_bytes
                .checked_sub(other.down_bytes)
                .ok_or(Overflow)?,
            seconds: self.seconds.checked_sub(other.seconds).ok_or(Overflow)?,
        })
    }

    /// What is left after `part` is taken off: zero in a field where `part` has more.
    ///
    /// For counts that are only compared (what is still unsigned), never for an amount.
    pub(crate) fn beyond(&self, part: &Self) -> Self {
        Self {
            up_bytes: self.up_bytes.saturating_sub(part.up_bytes),
            down_bytes: self.down_bytes.saturating_sub(part.down_bytes),
            seconds: self.seconds.saturating_sub(part.seconds),
        }
    }

    /// The smaller of both, field by field.
    pub(crate) fn at_most(&self, limit: &Self) -> Self {
        Self {
            up_bytes: self.up_bytes.min(limit.up_bytes),
            down_bytes: self.down_bytes.min(limit.down_bytes),
            seconds: self.seconds.min(limit.seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(up_bytes: u64, down_bytes: u64) -> Totals {
        Totals {
            up_bytes,
            down_bytes,
            seconds: 0,
        }
    }

    #[test]
    fn charge_is_rounded_down() {
        let price = Price::new(10);
        assert_eq!(price.charge(&totals(MIB / 10 - 1, 0)), Ok(Amount::ZERO));
        assert_eq!(price.charge(&totals(MIB / 10, 1)), Ok(Amount::new(1)));
        assert_eq!(price.charge(&totals(MIB, MIB)), Ok(Amount::new(20)));
    }

    #[test]
    fn charge_beyond_128_bits_is_an_error() {
        assert_eq!(
            Price::MAX.charge(&totals(u64::MAX, u64::MAX)),
            Err(Overflow)
        );
        assert!(Price::MAX.charge(&totals(u64::MAX, 0)).is_ok());
        assert!(
            Price::new(1 << 63)
                .charge(&totals(u64::MAX, u64::MAX))
                .is_ok()
        );
    }

    #[test]
    fn sums_out_of_range_are_errors() {
        assert_eq!(
            totals(u64::MAX, 0).checked_add(&totals(1, 0)),
            Err(Overflow)
        );
        assert_eq!(totals(0, 1).checked_sub(&totals(0, 2)), Err(Overflow));
        assert_eq!(
            Amount::new(u128::MAX).checked_add(Amount::new(1)),
            Err(Overflow)
        );
    }

    #[test]
    fn amounts_are_shown_exactly() {
        assert_eq!(Amount::ZERO.to_string(), "0 SMT");
        assert_eq!(Amount::new(1).to_string(), "0.000000000000000001 SMT");
        assert_eq!(
            Amount::new(1_500_000_000_000_000_000).to_string(),
            "1.5 SMT"
        );
        assert_eq!(
            Amount::new(u128::MAX).to_string(),
            "340282366920938463463.374607431768211455 SMT"
        );
    }
}
