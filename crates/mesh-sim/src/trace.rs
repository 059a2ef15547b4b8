//! A fingerprint of everything that happened.

use std::time::Duration;

/// A running FNV-1a hash (64 bit): not cryptographic, but any packet or route that differs
/// between two runs changes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trace(u64);

impl Trace {
    pub(crate) const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(crate) fn add(&mut self, at: Duration, node: usize, bytes: &[u8]) {
        let nanos = at.as_nanos().to_le_bytes();
        for byte in nanos.iter().chain(&node.to_le_bytes()).chain(bytes) {
            self.0 ^= u64::from(*byte);
            self.0 = self.0.wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub(crate) const fn value(self) -> u64 {
        self.0
    }
}
