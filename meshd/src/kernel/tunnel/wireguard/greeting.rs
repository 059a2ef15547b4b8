//! When a gateway that has not answered is greeted again.
//!
//! A gateway ends the tunnel of a node as soon as it has the node's record, which may be a moment after the
//! node has the gateway's and begins. What came before is not answered, nor what is sent while there is no way, and
//! WireGuard waits 5 s before it tries again (`REKEY_TIMEOUT`, drivers/net/wireguard/messages.h).

use std::time::{Duration, Instant};

/// From the first greeting to the second. As long again and again between those that follow: an answer over
/// many slow hops must have time to come before its question is forgotten.
const FIRST: Duration = Duration::from_millis(300);

/// Whoever has not answered in this time is left to WireGuard.
const LAST: Duration = Duration::from_millis(2400);

/// A greeting that may have to be said again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Greeting {
    due: Instant,
    wait: Duration,
}

impl Greeting {
    /// The first one, now.
    pub(super) fn at(now: Instant) -> Self {
        Self {
            due: now + FIRST,
            wait: FIRST,
        }
    }

    /// When the next one is due.
    pub(super) const fn due(&self) -> Instant {
        self.due
    }

    /// The next one, said now. `None` if it is the last.
    pub(super) fn next(self, now: Instant) -> Option<Self> {
        let wait = self.wait * 2;
        (wait <= LAST).then(|| Self {
            due: now + wait,
            wait,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greetings_become_rare_and_end() {
        let now = Instant::now();
        let mut greeting = Some(Greeting::at(now));
        let mut said = Vec::new();
        while let Some(one) = greeting {
            said.push((one.due() - now).as_millis());
            greeting = one.next(one.due());
        }
        assert_eq!(said, [300, 900, 2100, 4500]);
    }
}
