//! Seeded randomness: one stream for each purpose, so that a new use of one does not change what
//! the others give.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// Places of nodes.
pub(crate) const PLACES: u64 = 1;
/// Loss on links.
pub(crate) const LOSS: u64 = 2;
/// When nodes are switched on.
pub(crate) const STARTS: u64 = 3;
/// Keys of nodes.
pub(crate) const KEYS: u64 = 4;
/// What a scenario does to which nodes and links.
pub(crate) const SCENARIO: u64 = 5;
/// On whom steps fall that leave it open.
pub(crate) const TARGETS: u64 = 7;
/// Between whom flows are.
pub(crate) const FLOWS: u64 = 6;

/// What flows carry.
pub(crate) const BYTES: u64 = 8;

/// The stream for `purpose` of a run with `seed`.
pub(crate) fn stream(seed: u64, purpose: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(purpose);
    rng
}

/// A number from 0 up to 1, without 1.
pub(crate) fn unit(rng: &mut ChaCha8Rng) -> f64 {
    f64::from(rng.next_u32()) / (f64::from(u32::MAX) + 1.0)
}

/// A number from 0 up to `end`, without `end`, which is above 0.
pub(crate) fn below(rng: &mut ChaCha8Rng, end: usize) -> usize {
    // The bias of the remainder is below 2⁻³² for the counts drawn from here.
    usize::try_from(rng.next_u64() % end.max(1) as u64).unwrap_or(0)
}

/// One of `all`, `None` if there are none.
pub(crate) fn choose<T: Copy>(rng: &mut ChaCha8Rng, all: &[T]) -> Option<T> {
    all.get(below(rng, all.len())).copied()
}

/// Puts `all` in a random order (Fisher and Yates, as D. Knuth gives it).
pub(crate) fn shuffle<T>(rng: &mut ChaCha8Rng, all: &mut [T]) {
    for last in (1..all.len()).rev() {
        all.swap(last, below(rng, last + 1));
    }
}
