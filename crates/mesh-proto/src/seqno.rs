//! Sequence numbers of originators.

use std::fmt;

/// A 32-bit sequence number that wraps around (RFC 1982, RFC 8966 §3.2.1).
///
/// There is no `Ord` on purpose: "newer" is not transitive around the circle, so sorting by it
/// would be wrong.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct SeqNo(u32);

impl SeqNo {
    /// Takes a number as it stands in a packet.
    pub const fn new(value: u32) -> Self {
        Self(value)
    }

    /// The number as it stands in a packet.
    pub const fn value(self) -> u32 {
        self.0
    }

    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// Whether this number is less than half the circle ahead of `other`.
    pub const fn is_newer_than(self, other: Self) -> bool {
        let ahead = self.0.wrapping_sub(other.0);
        ahead != 0 && ahead < 1 << 31
    }
}

impl fmt::Display for SeqNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for SeqNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SeqNo({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn newer_wraps_around() {
        assert!(SeqNo::new(0).is_newer_than(SeqNo::new(u32::MAX)));
        assert!(!SeqNo::new(u32::MAX).is_newer_than(SeqNo::new(0)));
        assert!(!SeqNo::new(5).is_newer_than(SeqNo::new(5)));
        assert_eq!(SeqNo::new(u32::MAX).next(), SeqNo::new(0));
    }

    proptest! {
        #[test]
        fn at_most_one_of_two_is_newer(a: u32, b: u32) {
            let (a, b) = (SeqNo::new(a), SeqNo::new(b));
            prop_assert!(!(a.is_newer_than(b) && b.is_newer_than(a)));
        }

        #[test]
        fn the_next_is_newer(a: u32) {
            prop_assert!(SeqNo::new(a).next().is_newer_than(SeqNo::new(a)));
        }
    }
}
