//! The event queue.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::time::Duration;

use crate::NodeIndex;

/// Something that happens at a moment of virtual time.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// A packet arrives.
    Deliver {
        to: NodeIndex,
        from: NodeIndex,
        bytes: Rc<[u8]>,
    },
    /// A node's timer runs out, if it is still set to this moment.
    Timer(NodeIndex),
    /// A node is switched on.
    PowerOn(NodeIndex),
    /// A step of the scenario, by its place in it.
    Step(usize),
}

/// Events in order of time. Those of one moment keep the order in which they were pushed, so
/// that a run does not depend on how a heap breaks ties.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    pushed: u64,
}

impl Queue {
    pub(crate) fn push(&mut self, at: Duration, event: Event) {
        self.heap.push(Reverse((at, self.pushed, event)));
        self.pushed += 1;
    }

    /// The next event, if it is not after `until`.
    pub(crate) fn pop(&mut self, until: Duration) -> Option<(Duration, Event)> {
        let Reverse((at, ..)) = self.heap.peek()?;
        if *at > until {
            return None;
        }
        let Reverse((at, _, event)) = self.heap.pop()?;
        Some((at, event))
    }
}

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
