//! What every account needs: the terms, the key, the way out.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;

use super::LedgerConfig;
use super::output::{Event, Output};
use crate::heading::{Heading, Position};
use crate::identity::Party;
use crate::log::Record;
use crate::message::Message;

/// Longest wait between two attempts: a neighbor that comes back is asked within this time.
const MAX_RETRY: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(super) struct Desk {
    pub(super) config: LedgerConfig,
    /// Wipes itself when dropped.
    pub(super) key: SigningKey,
    pub(super) me: Party,
    /// Whether the counts of the run before were handed over.
    pub(super) resumed: bool,
    /// What all strangers together have had and not signed for.
    pub(super) strangers_bytes: u128,
    /// When the newest reading of counters began that was taken in.
    pub(super) counted_at: Option<Instant>,
    pub(super) outputs: VecDeque<Output>,
}

impl Desk {
    pub(super) fn new(config: LedgerConfig, key: SigningKey) -> Self {
        let me = Party::of(&key);
        Self {
            config,
            key,
            me,
            resumed: false,
            strangers_bytes: 0,
            counted_at: None,
            outputs: VecDeque::new(),
        }
    }

    pub(super) fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(super) fn persist(&mut self, record: Record) {
        self.output(Output::Persist(record));
    }

    pub(super) fn send(&mut self, to: Party, message: &Message) {
        let payload = message.to_bytes();
        self.output(Output::Send { to, payload });
    }

    pub(super) fn event(&mut self, event: Event) {
        self.output(Output::Event(event));
    }

    /// Whether a signed object is about these two in this network.
    pub(super) fn concerns(&self, heading: &Heading, provider: Party, consumer: Party) -> bool {
        let position: Position = heading.position;
        let network = self.config.network;
        *heading
            == Heading {
                network,
                provider,
                consumer,
                position,
            }
    }

    /// How long to wait after so many attempts: doubling from the configured time on.
    pub(super) fn retry_interval(&self, attempts: u32) -> Duration {
        let factor = 1_u32.checked_shl(attempts.min(16)).unwrap_or(u32::MAX);
        let interval = self.config.retry_after.saturating_mul(factor);
        interval.min(MAX_RETRY)
    }
}

/// Bad signatures that a neighbor may send in a row.
const BAD_SIGNATURES: u32 = 16;

/// And then one more in this time. Checking one takes a small router 10 ms.
const REFILL: Duration = Duration::from_secs(1);

/// Neighbors with bad signatures that are remembered.
const MAX_SUSPECTS: usize = 1024;

/// Neighbors whose signatures were not valid: a bucket of bad ones for each, which empties with time.
#[derive(Debug, Default)]
pub(super) struct Suspects(BTreeMap<Party, Bucket>);

#[derive(Debug)]
struct Bucket {
    bad: u32,
    since: Instant,
}

impl Bucket {
    fn drain(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since).as_secs() / REFILL.as_secs();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        self.bad = self.bad.saturating_sub(passed);
        self.since += REFILL * passed.min(BAD_SIGNATURES);
        if self.bad == 0 {
            self.since = now;
        }
    }
}

impl Suspects {
    /// Whether another signature of this neighbor is worth checking.
    pub(super) fn may_try(&mut self, now: Instant, from: Party) -> bool {
        let Some(bucket) = self.0.get_mut(&from) else {
            return true;
        };
        bucket.drain(now);
        bucket.bad < BAD_SIGNATURES
    }

    pub(super) fn note_bad(&mut self, now: Instant, from: Party) {
        if self.0.len() >= MAX_SUSPECTS && !self.0.contains_key(&from) {
            self.0.retain(|_, bucket| {
                bucket.drain(now);
                bucket.bad > 0
            });
            // Still full: it takes as many keys to get here as bad signatures to be noticed.
            if self.0.len() >= MAX_SUSPECTS {
                self.0.pop_first();
            }
        }
        let bucket = self.0.entry(from).or_insert(Bucket { bad: 0, since: now });
        bucket.drain(now);
        bucket.bad = bucket.bad.saturating_add(1);
    }
}
