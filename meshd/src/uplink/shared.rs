//! What the tasks of one interface know of each other: what of its traffic they cause themselves, when one
//! of them has a doubt, and how long answers have to wait.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::meter::Counters;

/// No answer came.
const NO_ANSWER: u32 = u32::MAX;

/// An interface that is watched.
#[derive(Debug)]
pub(super) struct Interface {
    name: String,
    asking: Mutex<Asking>,
    /// A question was not answered in one family.
    pub(super) doubt: Notify,
    /// How much longer than at best an answer took, the shortest of them, in ms.
    shortest_wait: AtomicU32,
}

/// A question is open. It ends with this.
#[derive(Debug)]
pub(super) struct Open<'a>(&'a Interface);

impl Interface {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            asking: Mutex::default(),
            doubt: Notify::new(),
            shortest_wait: AtomicU32::new(NO_ANSWER),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Notes that what is sent until the result is dropped is ours.
    pub(super) fn ask(&self) -> Open<'_> {
        self.asking().begin(self.counters().sent);
        Open(self)
    }

    /// How many bytes others than we have sent since it is there, as far as that can be told.
    pub(super) fn sent_by_others(&self) -> u64 {
        self.asking().others(self.counters().sent)
    }

    /// Takes note of an answer that took so much longer than at best.
    pub(super) fn note_wait(&self, wait: Duration) {
        let ms = u32::try_from(wait.as_millis()).unwrap_or(NO_ANSWER - 1);
        self.shortest_wait.fetch_min(ms, Ordering::Relaxed);
    }

    /// How much longer than at best each answer took since this was last called.
    pub(super) fn take_wait(&self) -> Option<Duration> {
        let ms = self.shortest_wait.swap(NO_ANSWER, Ordering::Relaxed);
        (ms != NO_ANSWER).then(|| Duration::from_millis(ms.into()))
    }

    /// What it has received and sent since it is there; nothing when it has gone.
    pub(super) fn counters(&self) -> Counters {
        /// Of sent bytes, counted from that of received ones (proc_pid_net(5)).
        const SENT: usize = 8;
        let text = fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
        let of_it = text.lines().find_map(|row| {
            let (name, rest) = row.trim().split_once(':')?;
            (name == self.name).then_some(rest)
        });
        let fields: Vec<&str> = of_it.unwrap_or_default().split_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|it| it.parse().ok()).unwrap_or(0);
        Counters {
            received: number(0),
            sent: number(SENT),
        }
    }

    fn asking(&self) -> MutexGuard<'_, Asking> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let sent = self.0.counters().sent;
        self.0.asking().end(sent);
    }
}

/// Tells what we send over an interface from what others send: it is ours while a question is open.
#[derive(Debug, Default)]
struct Asking {
    open: usize,
    /// What had been sent when the first of the open ones was asked.
    since: u64,
    /// What we have sent until then.
    ours: u64,
}

impl Asking {
    const fn begin(&mut self, sent: u64) {
        if self.open == 0 {
            self.since = sent;
        }
        self.open += 1;
    }

    const fn end(&mut self, sent: u64) {
        self.open = self.open.saturating_sub(1);
        if self.open == 0 {
            self.ours += sent.saturating_sub(self.since);
        }
    }

    const fn others(&self, sent: u64) -> u64 {
        let told = if self.open > 0 { self.since } else { sent };
        told.saturating_sub(self.ours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_questions_are_nobodys_traffic() {
        let mut asking = Asking::default();
        assert_eq!(asking.others(500), 500);
        asking.begin(500);
        assert_eq!(asking.others(600), 500);
        // Of the other family, at the same time.
        asking.begin(600);
        asking.end(700);
        assert_eq!(asking.others(700), 500, "one is open");
        asking.end(800);
        assert_eq!(asking.others(800), 500, "nothing is counted twice");
        assert_eq!(asking.others(850), 550);
    }

    #[test]
    fn the_shortest_wait_counts() {
        let interface = Interface::new("lo".to_owned());
        assert_eq!(interface.take_wait(), None);
        for ms in [300, 200, 400] {
            interface.note_wait(Duration::from_millis(ms));
        }
        assert_eq!(interface.take_wait(), Some(Duration::from_millis(200)));
        assert_eq!(interface.take_wait(), None);
    }
}
