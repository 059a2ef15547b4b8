//! The cost of a route.

use std::fmt;

/// Additive airtime: microseconds of radio time that a 1500-byte packet costs from here to the
/// originator. Every hop adds at least [`Metric::HOP`], so a metric strictly grows along a path,
/// which the feasibility condition needs (RFC 8966 §3.5.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Metric(u32);

impl Metric {
    /// At the originator itself.
    pub const ZERO: Self = Self(0);
    /// No route; what a retraction carries.
    pub const INFINITE: Self = Self(u32::MAX);
    /// What every hop costs whatever its speed: medium access and forwarding, 100 µs. It keeps
    /// a path of many excellent hops from beating one of few good ones.
    pub const HOP: Self = Self(100);

    /// A metric of `us` microseconds; `u32::MAX` is [`Metric::INFINITE`].
    pub const fn from_us(us: u32) -> Self {
        Self(us)
    }

    /// The microseconds, `u32::MAX` if infinite.
    pub const fn as_us(self) -> u32 {
        self.0
    }

    /// Whether there is a route at all.
    pub const fn is_finite(self) -> bool {
        self.0 != u32::MAX
    }

    /// The sum; infinite if either is, or if it does not fit.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Whether this metric is better than `other` by at least `percent` of it.
    pub const fn beats(self, other: Self, percent: u32) -> bool {
        if !other.is_finite() {
            return self.is_finite();
        }
        (self.0 as u64) * 100 <= (other.0 as u64) * (100 - percent as u64)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_finite() {
            write!(f, "{} µs", self.0)
        } else {
            f.write_str("infinite")
        }
    }
}

impl fmt::Debug for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Metric({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_saturate_at_infinite() {
        assert_eq!(Metric::INFINITE.plus(Metric::HOP), Metric::INFINITE);
        assert_eq!(
            Metric::from_us(u32::MAX - 1).plus(Metric::HOP),
            Metric::INFINITE
        );
        assert_eq!(Metric::HOP.plus(Metric::HOP), Metric::from_us(200));
    }

    #[test]
    fn beats_needs_the_stated_gain() {
        let old = Metric::from_us(1000);
        assert!(Metric::from_us(850).beats(old, 15));
        assert!(!Metric::from_us(851).beats(old, 15));
        assert!(Metric::from_us(u32::MAX - 1).beats(Metric::INFINITE, 15));
        assert!(!Metric::INFINITE.beats(Metric::INFINITE, 15));
    }
}
