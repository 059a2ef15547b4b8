//! How long packets wait in front of an uplink: it is full while none is quick.

use std::time::Duration;

/// While each answer takes so much longer than at best, a line is full: what goes through it waits in a
/// queue before it. One quick answer shows that there is none, as it does to CoDel (RFC 8289 §3), whose
/// interval this is too. Good lines vary by less.
pub(super) const FULL: Duration = Duration::from_millis(100);
/// With each answer that takes longer, this part of the difference is believed: the way may have changed.
/// It takes ten minutes or more until a full line is taken for a long one.
const LEARNED: u32 = 64;

/// How fast each target answers at best.
#[derive(Debug)]
pub(super) struct Fastest(Vec<Option<Duration>>);

impl Fastest {
    pub(super) fn new(targets: usize) -> Self {
        Self(vec![None; targets])
    }

    /// How much longer an answer of a target took than at best, if that is known: it is learned while
    /// nobody uses the line, or a full one would be taken for a long one.
    pub(super) fn wait(
        &mut self,
        target: usize,
        took: Duration,
        is_used: bool,
    ) -> Option<Duration> {
        let fastest = self.0.get_mut(target)?;
        let known = match *fastest {
            Some(known) => known.min(took),
            None if is_used => return None,
            None => took,
        };
        let wait = took - known;
        *fastest = Some(known + wait / LEARNED);
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_millis(30);
    const SLOW: Duration = Duration::from_millis(800);

    #[test]
    fn each_target_is_compared_with_itself() {
        let mut fastest = Fastest::new(2);
        let mut wait = |target, took| fastest.wait(target, took, false).unwrap();
        assert_eq!(wait(0, QUICK), Duration::ZERO);
        assert_eq!(wait(1, SLOW), Duration::ZERO);
        assert_eq!(wait(1, SLOW), Duration::ZERO);
        assert_eq!(wait(0, SLOW), SLOW - QUICK);
        assert!(wait(0, SLOW) > FULL);
        assert_eq!(wait(0, QUICK), Duration::ZERO);
        assert_eq!(wait(0, SLOW), SLOW - QUICK);
    }

    #[test]
    fn a_line_that_is_used_says_nothing_of_what_it_was_at_best() {
        let mut fastest = Fastest::new(1);
        assert_eq!(fastest.wait(0, SLOW, true), None);
        assert_eq!(fastest.wait(0, QUICK, false), Some(Duration::ZERO));
        assert_eq!(fastest.wait(0, SLOW, true), Some(SLOW - QUICK));
    }

    #[test]
    fn a_way_that_became_longer_is_learned() {
        let mut fastest = Fastest::new(1);
        fastest.wait(0, QUICK, false);
        let waits = std::iter::repeat_with(|| fastest.wait(0, SLOW, true).unwrap());
        let until = waits.take_while(|wait| *wait >= FULL).count();
        // Each target is asked every ten seconds or so.
        assert!((60..360).contains(&until), "{until}");
    }
}
