//! The event queue.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::NodeIndex;

/// Something that happens at a moment of virtual time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A packet arrives at all who hear it.
    Deliver(Box<Delivery>),
    /// A node's timer may run out.
    Timer(NodeIndex),
    /// A node is switched on.
    PowerOn(NodeIndex),
    /// A step of the scenario, by its place in it.
    Step(usize),
    /// Nodes on the paths of active flows are told what they carry.
    Carry,
}

/// A packet on the air. One event for all who hear it keeps the queue short.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) from: NodeIndex,
    pub(crate) to: Vec<NodeIndex>,
    pub(crate) bytes: Vec<u8>,
}

/// Events in order of time. Those of one moment keep the order in which they were pushed, so
/// that a run does not depend on how a heap breaks ties.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Reverse<Entry>>,
    pushed: u64,
}

#[derive(Debug)]
struct Entry {
    at: Duration,
    age: u64,
    event: Event,
}

impl Queue {
    pub(crate) fn push(&mut self, at: Duration, event: Event) {
        let age = self.pushed;
        self.heap.push(Reverse(Entry { at, age, event }));
        self.pushed += 1;
    }

    /// The next event, if it is not after `until`.
    pub(crate) fn pop(&mut self, until: Duration) -> Option<(Duration, Event)> {
        let Reverse(first) = self.heap.peek()?;
        if first.at > until {
            return None;
        }
        let Reverse(Entry { at, event, .. }) = self.heap.pop()?;
        Some((at, event))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.age).cmp(&(other.at, other.age))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_one_moment_keep_their_order() {
        let mut queue = Queue::default();
        let at = Duration::from_secs;
        queue.push(at(2), Event::Step(0));
        queue.push(at(1), Event::Step(9));
        queue.push(at(1), Event::Step(3));
        queue.push(at(1), Event::Step(5));
        let order: Vec<_> = std::iter::from_fn(|| queue.pop(at(1))).collect();
        assert_eq!(order, [9, 3, 5].map(|step| (at(1), Event::Step(step))));
        assert_eq!(queue.pop(at(2)), Some((at(2), Event::Step(0))));
    }
}
