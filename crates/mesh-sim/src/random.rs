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
