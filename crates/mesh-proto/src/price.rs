//! What it costs to have a byte carried.

use std::fmt;

/// Atto-SMT per MiB. Prices add up along a route; they never count for whether it is feasible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Price(u64);

impl Price {
    /// Nothing.
    pub const FREE: Self = Self(0);
    /// More than anybody pays: not for sale, and what sums that do not fit are.
    pub const TOO_DEAR: Self = Self(u64::MAX);

    /// A price of so many atto-SMT per MiB; `u64::MAX` is [`Price::TOO_DEAR`].
    pub const fn new(atto_smt_per_mib: u64) -> Self {
        Self(atto_smt_per_mib)
    }

    /// The atto-SMT per MiB, `u64::MAX` if it is [`Price::TOO_DEAR`].
    pub const fn atto_smt_per_mib(self) -> u64 {
        self.0
    }

    /// Whether somebody could pay it.
    pub const fn is_payable(self) -> bool {
        self.0 != u64::MAX
    }

    /// The sum; too dear if either is, or if it does not fit.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_payable() {
            true => write!(f, "{} atto-SMT/MiB", self.0),
            false => f.write_str("too dear"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_that_do_not_fit_are_too_dear() {
        let most = Price::new(u64::MAX - 1);
        assert_eq!(Price::FREE.plus(most), most);
        assert!(most.is_payable());
        assert_eq!(most.plus(Price::new(1)), Price::TOO_DEAR);
        assert_eq!(most.plus(most), Price::TOO_DEAR);
        assert_eq!(Price::TOO_DEAR.plus(Price::FREE), Price::TOO_DEAR);
        assert!(!Price::TOO_DEAR.is_payable());
    }
}
