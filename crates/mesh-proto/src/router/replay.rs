//! Protection from recorded packets: each counter of a sender counts once.

/// How far behind the newest a packet may be and still count: unicasts and broadcasts overtake
/// each other in a radio's queues.
const WINDOW: u64 = 64;

/// The counters seen of one sender on one link.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReplayWindow {
    pub(super) epoch: u32,
    newest: u64,
    /// Bit `n` is set if `newest - n` was seen.
    seen: u64,
}

impl ReplayWindow {
    /// A window in which only `counter` was seen.
    pub(super) const fn new(epoch: u32, counter: u64) -> Self {
        Self {
            epoch,
            newest: counter,
            seen: 1,
        }
    }

    /// Takes note of a counter. Returns whether it is new.
    pub(super) const fn accept(&mut self, epoch: u32, counter: u64) -> bool {
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
        let mut window = ReplayWindow::new(1, 100);
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
        let mut window = ReplayWindow::new(5, 100);
        assert!(!window.accept(4, 1000));
        assert!(window.accept(6, 1));
        assert!(!window.accept(5, 101));
    }
}
