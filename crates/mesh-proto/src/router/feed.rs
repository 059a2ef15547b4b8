//! What a neighbor says of originators: how much of it arrived, and what its indexes stand for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::wire::{Binding, OgmIndex, Update};

/// A request is repeated after this time without an answer; it doubles up to [`LONGEST_RETRY`].
const RETRY: Duration = Duration::from_millis(60);
const LONGEST_RETRY: Duration = Duration::from_secs(2);

/// What to do with an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Take it: it follows on what is known.
    Next,
    /// The neighbor begins to say everything anew, because it forgot what it retracted meanwhile.
    /// Take it, and doubt what it said before until it says it again.
    Anew,
    /// Leave it: it is known, or something before it is missing.
    Skip,
}

/// The changes of one neighbor, as far as they arrived.
#[derive(Debug, Default)]
pub(super) struct Feed {
    /// How much is known; `None` until its first update from 0.
    known: Option<u32>,
    /// How much there is.
    latest: u32,
    request_at: Option<Instant>,
    retries: u32,
    names: BTreeMap<OgmIndex, Binding>,
}

impl Feed {
    /// How much is known: what to ask for more from.
    pub(super) fn since(&self) -> u32 {
        self.known.unwrap_or(0)
    }

    /// The neighbor says how much there is now.
    pub(super) fn note_version(&mut self, now: Instant, version: u32) {
        self.latest = version.max(self.since());
        if self.is_behind() {
            self.request_at.get_or_insert(now);
        }
    }

    /// Whether all of it has arrived.
    pub(super) fn is_complete(&self) -> bool {
        !self.is_behind()
    }

    fn is_behind(&self) -> bool {
        self.known.is_none_or(|known| known < self.latest)
    }

    /// Decides on an update, and counts it as known if it is to be taken.
    pub(super) fn take(&mut self, now: Instant, update: &Update) -> Turn {
        let turn = match self.known {
            None if update.from == 0 => Turn::Next,
            // Only who is behind was sent it; to others it comes late.
            Some(known) if update.from == 0 && known > 0 && self.is_behind() => Turn::Anew,
            Some(known) if update.from <= known && known < update.to => Turn::Next,
            _ => Turn::Skip,
        };
        if turn != Turn::Skip {
            self.known = Some(update.to);
            self.retries = 0;
            // The rest of a long answer is on its way.
            self.request_at = Some(now + RETRY);
        }
        self.latest = self.latest.max(update.to);
        match self.is_behind() {
            true => _ = self.request_at.get_or_insert(now),
            false => self.request_at = None,
        }
        turn
    }

    /// When to ask for what is missing, if anything is.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.request_at
    }

    /// Whether it is time to ask; then it is counted as asked.
    pub(super) fn asks(&mut self, now: Instant) -> bool {
        let due = self.request_at.is_some_and(|at| now >= at);
        if due {
            let retry = RETRY * (1 << self.retries.min(6));
            self.request_at = Some(now + retry.min(LONGEST_RETRY));
            self.retries += 1;
        }
        due
    }

    /// Takes note of what an index stands for.
    pub(super) fn bind(&mut self, index: OgmIndex, binding: Binding) {
        self.names.insert(index, binding);
    }

    /// What an index stands for.
    pub(super) fn binding(&self, index: OgmIndex) -> Option<Binding> {
        self.names.get(&index).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(from: u32, to: u32) -> Update {
        let ogms = Vec::new();
        Update { from, to, ogms }
    }

    #[expect(clippy::disallowed_methods, reason = "the start of virtual time")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn updates_are_taken_in_order_and_once() {
        let (mut feed, now) = (Feed::default(), start());
        assert_eq!(
            feed.take(now, &update(3, 5)),
            Turn::Skip,
            "what came before?"
        );
        assert_eq!(feed.deadline(), Some(now), "asks at once");
        assert_eq!(feed.take(now, &update(0, 5)), Turn::Next);
        assert_eq!(feed.deadline(), None);
        assert_eq!(feed.take(now, &update(3, 5)), Turn::Skip, "known");
        assert_eq!(feed.take(now, &update(5, 6)), Turn::Next);
        assert_eq!(
            feed.take(now, &update(7, 9)),
            Turn::Skip,
            "6 to 7 is missing"
        );
        assert_eq!(feed.since(), 6);
        assert_eq!(
            feed.take(now, &update(4, 9)),
            Turn::Next,
            "more than asked for"
        );
    }

    #[test]
    fn a_new_beginning_voids_what_was_known() {
        let (mut feed, now) = (Feed::default(), start());
        assert_eq!(feed.take(now, &update(0, 5)), Turn::Next);
        assert_eq!(
            feed.take(now, &update(0, 4)),
            Turn::Skip,
            "an old one, late"
        );
        feed.note_version(now, 9);
        assert_eq!(feed.take(now, &update(0, 9)), Turn::Anew);
    }

    #[test]
    fn a_new_beginning_may_come_in_parts() {
        let (mut feed, now) = (Feed::default(), start());
        assert_eq!(feed.take(now, &update(0, 50)), Turn::Next);
        feed.note_version(now, 90);
        assert_eq!(feed.take(now, &update(0, 30)), Turn::Anew);
        assert_eq!(feed.take(now, &update(30, 60)), Turn::Next);
        assert_eq!(feed.take(now, &update(60, 90)), Turn::Next);
        assert_eq!((feed.since(), feed.deadline()), (90, None));
    }

    #[test]
    fn what_is_missing_is_asked_for_until_it_comes() {
        let (mut feed, now) = (Feed::default(), start());
        feed.note_version(now, 0);
        assert!(feed.asks(now), "an empty table is asked for as well");
        assert!(!feed.asks(now));
        let again = feed.deadline().unwrap();
        assert!(again > now && feed.asks(again));
        assert!(
            feed.deadline().unwrap() - again > again - now,
            "with patience"
        );
        assert_eq!(feed.take(again, &update(0, 0)), Turn::Next);
        assert_eq!(feed.deadline(), None);
        feed.note_version(again, 2);
        assert!(feed.asks(again));
    }
}
