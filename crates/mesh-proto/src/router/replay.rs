//! Protection from recorded packets: each counter of a sender counts once.

use crate::wire::KeyKind;

/// How far behind the newest a packet may be and still count: unicasts and broadcasts overtake
/// each other in a radio's queues.
const WINDOW: u64 = 64;

/// The counters seen of one sender on one link. Those of packets with the key of the pair are kept
/// apart: only the sender makes them, while anybody with the network's key can use counters up in
/// its name.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Replays {
    network: Option<Window>,
    pair: Option<Window>,
}

impl Replays {
    /// Takes note of a packet. Returns whether it is new.
    pub(super) fn accept(&mut self, key: KeyKind, epoch: u32, counter: u64) -> bool {
        let window = match key {
            KeyKind::Network => &mut self.network,
            KeyKind::Pair => &mut self.pair,
        };
        let new = match window {
            Some(window) => window.accept(epoch, counter),
            None => {
                *window = Some(Window::new(epoch, counter));
                true
            }
        };
        if new && key == KeyKind::Pair {
            self.forget_forged(epoch, counter);
        }
        new
    }

    /// The sender is known to have come to `counter`: it counts all its packets together, so what
    /// is far ahead of that was not its own.
    fn forget_forged(&mut self, epoch: u32, counter: u64) {
        let is_forged = |it: &Window| it.epoch == epoch && it.newest > counter + WINDOW;
        if self.network.as_ref().is_some_and(is_forged) {
            self.network = Some(Window {
                seen: u64::MAX,
                ..Window::new(epoch, counter)
            });
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Window {
    epoch: u32,
    newest: u64,
    /// Bit `n` is set if `newest - n` was seen.
    seen: u64,
}

impl Window {
    /// A window in which only `counter` was seen.
    const fn new(epoch: u32, counter: u64) -> Self {
        Self {
            epoch,
            newest: counter,
            seen: 1,
        }
    }

    /// Takes note of a counter. Returns whether it is new.
    const fn accept(&mut self, epoch: u32, counter: u64) -> bool {
        if epoch > self.epoch {
            *self = Self::new(epoch, counter);
            return true;
        }
        if epoch < self.epoch {
            return false;
        }
        if counter > self.newest {
            let ahead = counter - self.newest;
            self.seen = if ahead < WINDOW {
                self.seen << ahead
            } else {
                0
            };
            self.seen |= 1;
            self.newest = counter;
            return true;
        }
        let behind = self.newest - counter;
        if behind >= WINDOW || self.seen & (1 << behind) != 0 {
            return false;
        }
        self.seen |= 1 << behind;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_counts_once_in_any_order() {
        let mut window = Window::new(1, 100);
        for (counter, new) in [
            (100, false),
            (101, true),
            (105, true),
            (103, true),
            (103, false),
            (101, false),
            (42, true),
            (41, false),
            (300, true),
            (105, false),
            (299, true),
        ] {
            assert_eq!(window.accept(1, counter), new, "{counter}");
        }
    }

    #[test]
    fn an_earlier_life_counts_no_more() {
        let mut window = Window::new(5, 100);
        assert!(!window.accept(4, 1000));
        assert!(window.accept(6, 1));
        assert!(!window.accept(5, 101));
    }

    #[test]
    fn counters_forged_with_the_networks_key_are_forgotten_at_a_sign_of_the_sender() {
        let mut replays = Replays::default();
        assert!(replays.accept(KeyKind::Network, 1, 10));
        assert!(replays.accept(KeyKind::Network, 1, 1 << 47), "forged");
        assert!(!replays.accept(KeyKind::Network, 1, 11), "shut out");
        assert!(replays.accept(KeyKind::Pair, 1, 12));
        assert!(replays.accept(KeyKind::Network, 1, 13), "and back");
        assert!(!replays.accept(KeyKind::Network, 1, 11), "recorded");
        assert!(!replays.accept(KeyKind::Pair, 1, 12), "recorded");
    }
}
