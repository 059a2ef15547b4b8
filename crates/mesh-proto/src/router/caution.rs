//! Caution after a start: what an earlier life of this node may have advertised.
//!
//! The feasibility condition rests on memory: a node must know the best it ever advertised. After
//! a restart that is forgotten, while neighbors may still send packets through us, so a route of
//! theirs may lead back here. Two things make a restart safe all the same:
//!
//! - For a moment we only listen. Routes straight to their originator cannot lead back; others
//!   wait until every neighbor has said what it knows.
//! - If we turn out to have lived before, others' routes are used only with a sequence number
//!   newer than all heard in that moment: one that we have not advertised.
//!
//! A mesh that powers up together has no past, and waits for nothing but that moment.

use std::time::{Duration, Instant};

use super::{RouterConfig, Start};

/// How many hellos of its neighbors a node without routes listens for: they drop what leads
/// through it as soon as they hear of its start.
const COLD_HELLOS: u32 = 1;
/// How many a node with adopted routes listens for. Its neighbors go on sending through it, so
/// each must have been heard; and the routes work meanwhile, so there is no hurry.
const WARM_HELLOS: u32 = 4;
/// Originators that are first heard of within this time after the start may have been known
/// before.
const CAUTION_TIME: Duration = Duration::from_secs(3);

/// What is known of an earlier life, and whether we still listen.
#[derive(Debug)]
pub(super) struct Caution {
    listening_time: Duration,
    /// `None` until there is an interface to listen on.
    started: Option<Instant>,
    listening: bool,
    lived_before: bool,
}

impl Caution {
    pub(super) fn new(config: &RouterConfig) -> Self {
        let lived_before = matches!(config.start, Start::Warm(_));
        let hellos = if lived_before {
            WARM_HELLOS
        } else {
            COLD_HELLOS
        };
        Self {
            // Late hellos included.
            listening_time: config.hello_interval * hellos * 11 / 10,
            started: None,
            listening: true,
            lived_before,
        }
    }

    /// There is something to listen on.
    pub(super) fn begin(&mut self, now: Instant) {
        self.started.get_or_insert(now);
    }

    /// Others remember us.
    pub(super) const fn note_earlier_life(&mut self) {
        self.lived_before = true;
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

    /// Whether routes to an originator that was heard of for the first time have to be newer than
    /// what was heard.
    pub(super) fn asks_for_newer(&self, now: Instant) -> bool {
        let recent = self.started.is_none_or(|at| now < at + CAUTION_TIME);
        self.lived_before && recent
    }
}
