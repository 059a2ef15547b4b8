//! Caution after a start: what an earlier life of this node may have advertised.
//!
//! The feasibility condition rests on memory: a node must know the best it ever advertised. After
//! a restart that is forgotten, while neighbors may still send packets through us, so a route of
//! theirs may lead back here. But they remember. Whoever notices our restart reminds us of what we
//! had told it ([`crate::wire::Reminder`]), before it says anything else. For a moment we only
//! listen, so that every neighbor can; routes straight to their originator, which cannot lead
//! back, are used at once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Start;
use crate::OriginatorId;
use crate::route_selection::FeasibilityDistance;

/// How long a node without routes listens: for two of its own hellos, one of which most neighbors
/// hear, and the answers.
const COLD: Duration = Duration::from_millis(400);
/// How long a node with adopted routes listens: they work meanwhile, so there is no hurry.
const WARM: Duration = Duration::from_secs(2);
/// Reminders are taken for so long: neighbors that notice later have dropped the link meanwhile.
const REMINDING_TIME: Duration = Duration::from_secs(10);

/// What is known of an earlier life, and whether we still listen.
#[derive(Debug)]
pub(super) struct Caution {
    listening_time: Duration,
    /// `None` until there is an interface to listen on.
    started: Option<Instant>,
    listening: bool,
    past: BTreeMap<OriginatorId, FeasibilityDistance>,
}

impl Caution {
    pub(super) const fn new(start: &Start) -> Self {
        Self {
            listening_time: match start {
                Start::Cold => COLD,
                Start::Warm(_) => WARM,
            },
            started: None,
            listening: true,
            past: BTreeMap::new(),
        }
    }

    /// There is something to listen on.
    pub(super) fn begin(&mut self, now: Instant) {
        self.started.get_or_insert(now);
    }

    /// When listening ends, while it lasts.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let started = self.started.filter(|_| self.listening)?;
        Some(started + self.listening_time)
    }

    /// Whether only direct routes are used.
    pub(super) const fn is_listening(&self) -> bool {
        self.listening
    }

    /// Ends listening if it is time to. Returns whether it ended.
    pub(super) fn end_listening(&mut self, now: Instant) -> bool {
        let ends = self.deadline().is_some_and(|deadline| now >= deadline);
        if ends {
            self.listening = false;
        }
        ends
    }

    /// Whether reminders are still to be expected.
    pub(super) fn expects_reminders(&self, now: Instant) -> bool {
        let started = self.started.unwrap_or(now);
        now < started + REMINDING_TIME
    }

    /// We had advertised this, at least. There is room for `limit` of these.
    pub(super) fn remember(&mut self, id: OriginatorId, said: FeasibilityDistance, limit: usize) {
        if self.past.len() < limit || self.past.contains_key(&id) {
            let known = self.past.entry(id).or_insert(said);
            known.lower_to(said.seqno, said.metric);
        }
    }

    /// What we had advertised of an originator, as far as we were reminded.
    pub(super) fn past(&self, id: OriginatorId) -> Option<FeasibilityDistance> {
        self.past.get(&id).copied()
    }
}
