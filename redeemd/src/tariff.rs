//! What becomes of what a payer is debited: pure figures.
//!
//! The service keeps a fee, and gives part of it back to who has served long. What it gives back on a
//! debit is less than the fee on the same debit. So whoever serves only itself, to be rewarded for it,
//! pays more than it gets, whatever seconds and bytes it signs.

use receipts::{Amount, Price};

/// Parts of a million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ppm(u32);

impl Ppm {
    const WHOLE: u128 = 1_000_000;

    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// So many parts, of which a million is everything; `None` if there are more.
    #[must_use]
    pub fn new(parts: u32) -> Option<Self> {
        (u128::from(parts) <= Self::WHOLE).then_some(Self(parts))
    }

    /// How many parts.
    #[must_use]
    pub const fn parts(self) -> u32 {
        self.0
    }

    /// Whether it is everything.
    #[must_use]
    pub fn is_whole(self) -> bool {
        u128::from(self.0) == Self::WHOLE
    }

    /// This part of an amount, and what rounding down takes from it, in millionths. Cannot overflow.
    fn of(self, amount: u128) -> (u128, u128) {
        let parts = u128::from(self.0);
        let rest = (amount % Self::WHOLE) * parts;
        let whole = (amount / Self::WHOLE) * parts + rest / Self::WHOLE;
        (whole, rest % Self::WHOLE)
    }

    fn rounded_down(self, amount: u128) -> u128 {
        self.of(amount).0
    }

    fn rounded_up(self, amount: u128) -> u128 {
        let (whole, rest) = self.of(amount);
        whole + u128::from(rest > 0)
    }
}

/// The terms of one network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tariff {
    /// Receipts for dearer bytes are not settled.
    pub maximum_price: Price,
    /// Nor are receipts for less, or that add less to what is known: the fee pays for the place that they take.
    pub minimum_amount: Amount,
    /// The service's part of each debit, rounded up.
    pub fee: Ppm,
    /// What a second of service is rewarded with, in atto-SMT, from the fee on the same debit.
    pub bonus_per_second: u64,
    /// How much of the fee may go back that way: never all of it.
    pub bonus_share: Ppm,
}

/// Where a debit goes: `credit + fee` is the debit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// To the provider, what it is rewarded with included.
    pub credit: Amount,
    /// To the service.
    pub fee: Amount,
    /// Seconds of service that are rewarded with it, and not again.
    pub seconds: u64,
}

impl Tariff {
    /// Splits a debit for a pair with so many seconds of service that were not rewarded yet.
    #[must_use]
    pub fn split(&self, debit: Amount, seconds: u64) -> Split {
        let debit = debit.atto_smt();
        let fee = self.fee.rounded_up(debit);
        let rate = u128::from(self.bonus_per_second);
        let earned = u128::from(seconds) * rate;
        let bonus = earned.min(self.bonus_share.rounded_down(fee));
        // What is left of a second's reward is not given again.
        let seconds = bonus.checked_div(rate).map_or(0, |whole| {
            let started = u128::from(bonus % rate > 0);
            u64::try_from(whole + started).unwrap_or(seconds)
        });
        let kept = fee - bonus;
        Split {
            credit: Amount::new(debit - kept),
            fee: Amount::new(kept),
            seconds,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tariff(fee: u32, bonus_per_second: u64, share: u32) -> Tariff {
        Tariff {
            maximum_price: Price::MAX,
            minimum_amount: Amount::ZERO,
            fee: Ppm::new(fee).unwrap(),
            bonus_per_second,
            bonus_share: Ppm::new(share).unwrap(),
        }
    }

    fn split(tariff: &Tariff, debit: u128, seconds: u64) -> (u128, u128, u64) {
        let split = tariff.split(Amount::new(debit), seconds);
        (split.credit.atto_smt(), split.fee.atto_smt(), split.seconds)
    }

    #[test]
    fn a_fee_is_rounded_up() {
        let one_percent = tariff(10_000, 0, 0);
        assert_eq!(split(&one_percent, 1000, 60), (990, 10, 0));
        assert_eq!(split(&one_percent, 1, 60), (0, 1, 0));
        assert_eq!(split(&tariff(0, 0, 0), 1000, 60), (1000, 0, 0));
    }

    #[test]
    fn service_is_rewarded_up_to_a_share_of_the_fee() {
        let tariff = tariff(100_000, 7, 500_000);
        assert_eq!(split(&tariff, 1000, 2), (914, 86, 2));
        assert_eq!(
            split(&tariff, 1000, 100),
            (950, 50, 8),
            "50 / 7, rounded up"
        );
        assert_eq!(split(&tariff, 1000, 0), (900, 100, 0));
    }

    proptest! {
        #[test]
        fn nothing_appears_and_the_fee_is_never_given_back_whole(
            debit in 1_u128..,
            seconds: u64,
            fee in 1_u32..=1_000_000,
            rate: u64,
            share in 0_u32..1_000_000,
        ) {
            let split = tariff(fee, rate, share).split(Amount::new(debit), seconds);
            prop_assert_eq!(split.credit.atto_smt() + split.fee.atto_smt(), debit);
            prop_assert!(split.fee > Amount::ZERO, "who pays itself loses");
            prop_assert!(split.seconds <= seconds);
        }
    }
}
