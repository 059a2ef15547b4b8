//! Waiting for something to become true, never longer than said.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use crate::vm;

/// Short enough not to blur a measurement of tenths of seconds, long enough to leave the two
/// cores to what is being waited for.
const POLL: Duration = Duration::from_millis(20);

/// A check that takes longer, as starting a program does in the virtual machine, is followed by a rest
/// of the same length, up to this.
const LONGEST_POLL: Duration = Duration::from_millis(500);

/// How much longer than elsewhere things may take in the virtual machine. Its processor is 10 to
/// 20 times slower, but most of what is waited for are timers, and those are not.
const EMULATED: u32 = 5;

/// What to wait at most here for something that elsewhere takes no longer than `bound`.
#[must_use]
pub fn patience(bound: Duration) -> Duration {
    if vm::inside() {
        bound * EMULATED
    } else {
        bound
    }
}

/// Repeats `check` until it returns a value; its error says what it saw instead. In the virtual
/// machine it has more time, see [`patience`].
///
/// # Errors
/// `bound` has passed: what was waited for, how long, and what was seen last.
pub fn wait_for<T>(what: &str, bound: Duration, mut check: impl FnMut() -> Result<T>) -> Result<T> {
    let bound = patience(bound);
    let start = Instant::now();
    loop {
        let checked = Instant::now();
        let seen = match check() {
            Ok(value) => return Ok(value),
            Err(seen) => seen,
        };
        let rest = checked.elapsed().clamp(POLL, LONGEST_POLL);
        if start.elapsed() >= bound {
            return Err(anyhow!("waited {bound:?} for {what}; last seen: {seen:#}"));
        }
        thread::sleep(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    #[test]
    fn the_value_is_returned_as_soon_as_it_is_there() {
        let mut calls = 0;
        let value = wait_for("three calls", Duration::from_secs(5), || {
            calls += 1;
            if calls < 3 {
                bail!("{calls} calls");
            }
            Ok(calls)
        });
        assert_eq!(value.unwrap(), 3);
    }

    #[test]
    fn a_failure_says_what_was_expected_and_what_was_seen() {
        let error = wait_for("a miracle", Duration::from_millis(30), || -> Result<()> {
            bail!("nothing happens")
        });
        let text = error.unwrap_err().to_string();
        assert!(
            text.contains("for a miracle; last seen: nothing happens"),
            "{text}"
        );
    }
}
