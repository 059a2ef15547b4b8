//! Which nodes have a way to the Internet: they use a gateway that runs and packets get there.

use std::time::Duration;

use super::Outage;
use crate::NodeIndex;

/// Since when nodes that could have a way to the Internet have none.
#[derive(Clone, Debug)]
pub(crate) struct Uplinks {
    out_since: Vec<Option<Duration>>,
    out: usize,
    ended: Vec<Outage>,
}

impl Uplinks {
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            out_since: vec![None; nodes],
            out: 0,
            ended: Vec::new(),
        }
    }

    /// Nodes that have no way although one is possible.
    pub(crate) const fn out(&self) -> usize {
        self.out
    }

    /// Looks at all nodes. `out` says of each whether it could have a way but has none.
    pub(crate) fn update(&mut self, now: Duration, out: &[bool]) {
        let all = self.out_since.iter_mut().zip(out).enumerate();
        for (index, (out_since, is_out)) in all {
            let from = NodeIndex(index);
            match (*out_since, *is_out) {
                (None, true) => {
                    *out_since = Some(now);
                    self.out += 1;
                }
                (Some(since), false) => {
                    *out_since = None;
                    self.out -= 1;
                    let outage = outage(from, since, now);
                    self.ended.extend((since < now).then_some(outage));
                }
                (None, false) | (Some(_), true) => {}
            }
        }
    }

    /// The outages that ended since this was last asked.
    pub(crate) fn take_ended(&mut self) -> Vec<Outage> {
        std::mem::take(&mut self.ended)
    }

    /// The outages that last, as if they ended now.
    pub(crate) fn open(&self, now: Duration) -> impl Iterator<Item = Outage> {
        let all = self.out_since.iter().enumerate();
        all.filter_map(move |(index, since)| Some(outage(NodeIndex(index), (*since)?, now)))
    }
}

const fn outage(from: NodeIndex, since: Duration, until: Duration) -> Outage {
    Outage {
        from,
        to: None,
        since,
        until,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outages_begin_and_end_with_the_looks() {
        let at = Duration::from_secs;
        let mut uplinks = Uplinks::new(3);
        uplinks.update(at(1), &[false, true, true]);
        uplinks.update(at(3), &[false, false, true]);
        assert_eq!(uplinks.out(), 1);
        let ended = uplinks.take_ended();
        assert_eq!(ended, [outage(NodeIndex(1), at(1), at(3))]);
        let open: Vec<_> = uplinks.open(at(5)).collect();
        assert_eq!(open, [outage(NodeIndex(2), at(1), at(5))]);
    }
}
