//! What every node sent in every second.

use std::ops::Range;
use std::time::Duration;

use crate::NodeIndex;
use crate::radio::Cast;

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Packets.
    pub packets: u64,
    /// Their bytes, UDP payload.
    pub bytes: u64,
    /// Packets to one neighbor, which are among the above.
    pub unicast_packets: u64,
    /// Their bytes.
    pub unicast_bytes: u64,
}

impl Sent {
    /// What IPv6 and UDP add to each packet, bytes.
    pub const HEADERS: u64 = 40 + 8;

    /// The bytes with the headers of IPv6 and UDP.
    pub const fn with_headers(self) -> u64 {
        self.bytes + Self::HEADERS * self.packets
    }

    const fn plus(self, other: Self) -> Self {
        Self {
            packets: self.packets + other.packets,
            bytes: self.bytes + other.bytes,
            unicast_packets: self.unicast_packets + other.unicast_packets,
            unicast_bytes: self.unicast_bytes + other.unicast_bytes,
        }
    }
}

impl std::iter::Sum for Sent {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Self::plus)
    }
}

/// What every node sent, by seconds of the run.
#[derive(Clone, Debug)]
pub(crate) struct Traffic {
    by_node: Vec<Vec<Sent>>,
}

impl Traffic {
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            by_node: vec![Vec::new(); nodes],
        }
    }

    pub(crate) fn count(&mut self, at: Duration, node: NodeIndex, cast: Cast, bytes: usize) {
        let second = usize::try_from(at.as_secs()).unwrap_or(usize::MAX - 1);
        let Some(seconds) = self.by_node.get_mut(node.0) else {
            return;
        };
        if seconds.len() <= second {
            seconds.resize(second + 1, Sent::default());
        }
        if let Some(sent) = seconds.get_mut(second) {
            let (packets, bytes) = (1, bytes as u64);
            let unicast = u64::from(cast == Cast::Unicast);
            *sent = sent.plus(Sent {
                packets,
                bytes,
                unicast_packets: unicast,
                unicast_bytes: bytes * unicast,
            });
        }
    }

    /// What each node sent in those seconds.
    pub(crate) fn by_node(&self, seconds: Range<usize>) -> impl Iterator<Item = Sent> {
        let within = move |all: &Vec<Sent>| {
            let all = all.iter().skip(seconds.start);
            all.take(seconds.len()).copied().sum()
        };
        self.by_node.iter().map(within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_nodes_and_casts_are_told_apart() {
        let mut traffic = Traffic::new(2);
        let at = Duration::from_millis;
        traffic.count(at(500), NodeIndex(0), Cast::Broadcast, 100);
        traffic.count(at(1500), NodeIndex(0), Cast::Broadcast, 10);
        traffic.count(at(1999), NodeIndex(0), Cast::Unicast, 20);
        let [first, second] = traffic.by_node(1..9).collect::<Vec<_>>()[..] else {
            panic!("two nodes");
        };
        assert_eq!((first.packets, first.bytes), (2, 30));
        assert_eq!((first.unicast_packets, first.unicast_bytes), (1, 20));
        assert_eq!(first.with_headers(), 30 + 2 * 48);
        assert_eq!(second, Sent::default());
    }
}
