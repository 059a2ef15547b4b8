//! What happens, told to whoever listens at the control socket.
//!
//! **Invariant: who listens cannot hold the daemon up, and takes a bounded amount of memory.** Events go into one
//! ring of [`RING`] lines that all readers share. A reader that is slower loses the oldest, and is told how many.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use control_api::{Change, Event, SCHEMA};
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};

/// Events that wait for the slowest reader: some 50 KiB.
const RING: usize = 256;
/// Readers at a time. Others may still ask questions: there are places for more connections.
const MAX_READERS: usize = 8;

/// Where events go.
#[derive(Clone, Debug)]
pub struct Events {
    sender: broadcast::Sender<Told>,
    places: Arc<Semaphore>,
    started: Instant,
    /// Of the next event. Behind a lock, as the routers with 32-bit MIPS have no 64-bit atomics.
    seq: Arc<Mutex<u64>>,
}

/// An event as it is sent.
#[derive(Clone, Debug)]
struct Told {
    seq: u64,
    line: Arc<[u8]>,
}

/// Somebody who listens.
#[derive(Debug)]
pub(crate) struct Reader {
    told: broadcast::Receiver<Told>,
    events: Events,
    /// Of the last event that it was told of.
    seq: u64,
    _place: OwnedSemaphorePermit,
}

#[derive(Serialize)]
struct Notification<'a> {
    jsonrpc: &'a str,
    method: &'a str,
    params: &'a Event,
}

impl Events {
    /// Nobody listens yet.
    pub fn new(started: Instant) -> Self {
        Self {
            sender: broadcast::channel(RING).0,
            places: Arc::new(Semaphore::new(MAX_READERS)),
            started,
            seq: Arc::default(),
        }
    }

    /// Whether anybody listens; else there is no need to find out what happens.
    pub(crate) fn is_heard(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    /// Tells whoever listens.
    pub(crate) fn tell(&self, change: Change) {
        if !self.is_heard() {
            return;
        }
        let seq = self.take_seq();
        let line = self.line(seq, change).into();
        // The last reader may just have gone.
        let _ = self.sender.send(Told { seq, line });
    }

    /// One more reader, of what happens from now on; `None` when there are as many as may be.
    pub(crate) fn listen(&self) -> Option<Reader> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Reader {
            told: self.sender.subscribe(),
            events: self.clone(),
            seq: *self.next_seq(),
            _place: place,
        })
    }

    /// The number of this event; the next gets the next.
    fn take_seq(&self) -> u64 {
        let mut next = self.next_seq();
        let seq = *next;
        *next = seq.wrapping_add(1);
        seq
    }

    fn next_seq(&self) -> MutexGuard<'_, u64> {
        // A number is whole, whoever ended while holding it.
        self.seq.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self, seq: u64, change: Change) -> Vec<u8> {
        let uptime_ms = self.started.elapsed().as_millis();
        let event = Event {
            schema: SCHEMA,
            seq,
            uptime_ms: u64::try_from(uptime_ms).unwrap_or(u64::MAX),
            change,
        };
        let notification = Notification {
            jsonrpc: "2.0",
            method: "event",
            params: &event,
        };
        // Our types always have a JSON form.
        let mut line = serde_json::to_vec(&notification).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

impl Reader {
    /// The next line to send; `None` when the daemon ends. What is waited for is not lost if the waiting is given
    /// up.
    pub(crate) async fn next(&mut self) -> Option<Arc<[u8]>> {
        match self.told.recv().await {
            Ok(told) => {
                self.seq = told.seq;
                Some(told.line)
            }
            Err(RecvError::Lagged(events)) => {
                self.seq = self.seq.saturating_add(events);
                let line = self.events.line(self.seq, Change::Missed { events });
                Some(line.into())
            }
            Err(RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(text: &str) -> Change {
        Change::Warning {
            text: text.to_owned(),
        }
    }

    async fn next(reader: &mut Reader) -> Event {
        let line = reader.next().await.unwrap();
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        serde_json::from_value(value["params"].clone()).unwrap()
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_how_much_it_missed_and_goes_on() {
        let events = Events::new(Instant::now());
        assert!(!events.is_heard());
        events.tell(warning("nobody hears it"));
        let mut slow = events.listen().unwrap();
        for number in 0..RING + 5 {
            events.tell(warning(&number.to_string()));
        }

        let missed = next(&mut slow).await;
        assert_eq!(missed.change, Change::Missed { events: 5 });
        for number in 5..RING + 5 {
            let event = next(&mut slow).await;
            assert_eq!(event.change, warning(&number.to_string()));
            assert_eq!(event.seq, number as u64);
        }
    }

    #[tokio::test]
    async fn there_are_places_for_some_readers_and_they_come_free_again() {
        let events = Events::new(Instant::now());
        let mut readers: Vec<Reader> = (0..MAX_READERS).map(|_| events.listen().unwrap()).collect();
        assert!(events.listen().is_none());
        readers.pop();
        assert!(events.listen().is_some());
    }
}
