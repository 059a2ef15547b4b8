//! How much is lost on an uplink that works: a bad one is better than none, and worse than a good one.

/// The whole of what is sent.
const WHOLE: u32 = 1 << 16;
/// One question in so many is the mean's weight of the last.
const WEIGHT: u32 = 16;
/// What changes by less is not worth a message to everybody: two questions in a row may be lost by
/// accident.
const STEP: u32 = WHOLE / 8;
/// What is less is forgotten.
const LEAST: u32 = WHOLE / 16;

/// A part of what is sent, from none to all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Loss(u32);

impl Loss {
    /// None.
    pub(super) const NONE: Self = Self(0);

    /// What is left of a rate: the square of what gets through, as connections slow down by more than what
    /// they lose.
    pub(super) fn left_of(self, rate: u64) -> u64 {
        let whole = u128::from(WHOLE);
        let through = u128::from(WHOLE.saturating_sub(self.0));
        let left = u128::from(rate) * through * through / (whole * whole);
        u64::try_from(left).unwrap_or(rate)
    }
}

/// Counts questions without an answer.
#[derive(Debug)]
pub(super) struct Losses {
    mean: u32,
    told: Loss,
}

impl Losses {
    /// Begins with what was known.
    pub(super) const fn new(told: Loss) -> Self {
        Self { mean: told.0, told }
    }

    /// Takes in what became of a question to somebody who answered the last one.
    pub(super) fn note(&mut self, is_lost: bool) {
        let last = if is_lost { WHOLE } else { 0 };
        self.mean = self.mean - self.mean / WEIGHT + last / WEIGHT;
        if self.mean < LEAST {
            self.told = Loss::NONE;
        } else if self.mean.abs_diff(self.told.0) >= STEP {
            self.told = Loss(self.mean);
        }
    }

    /// How much is lost, as others should know it.
    pub(super) const fn told(&self) -> Loss {
        self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u64 = 10_000_000;

    /// What is left of [`RATE`] after so many questions, of which each third is lost, and how often that
    /// changed.
    fn third_lost(losses: &mut Losses, questions: usize) -> (u64, usize) {
        let (mut changes, mut before) = (0, losses.told());
        for at in 0..questions {
            losses.note(at % 3 == 0);
            changes += usize::from(losses.told() != before);
            before = losses.told();
        }
        (before.left_of(RATE), changes)
    }

    #[test]
    fn two_questions_that_are_lost_are_an_accident() {
        let mut losses = Losses::new(Loss::NONE);
        losses.note(true);
        losses.note(true);
        assert_eq!(losses.told().left_of(RATE), RATE);
    }

    #[test]
    fn a_third_that_is_lost_halves_what_is_left_and_is_told_seldom() {
        let mut losses = Losses::new(Loss::NONE);
        let (left, changes) = third_lost(&mut losses, 1000);
        assert!((RATE * 3 / 10..RATE * 7 / 10).contains(&left), "{left}");
        assert!(changes <= 4, "{changes}");
    }

    #[test]
    fn a_line_that_loses_nothing_any_more_is_as_good_as_any() {
        let mut losses = Losses::new(Loss::NONE);
        third_lost(&mut losses, 100);
        let questions = std::iter::repeat_with(|| losses.note(false));
        questions.take(60).for_each(drop);
        assert_eq!(losses.told(), Loss::NONE);
    }
}
