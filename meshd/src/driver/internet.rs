//! Since when there is Internet, and through whom.

use std::time::{Duration, Instant};

use mesh_proto::OriginatorId;

/// For how long nothing but prices is in the way before it is said: of what is free, nodes may hear
/// later.
const DEAR_TIME: Duration = Duration::from_secs(5);

/// A way to the Internet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Our own uplink, by interface.
    Own(String),
    /// Another node's.
    Gateway(OriginatorId),
}

/// The way in use, and what was before.
#[derive(Clone, Debug)]
pub(crate) struct Internet {
    way: Option<Way>,
    since: Instant,
    last: Option<(Way, Instant)>,
    dear: Dear,
}

/// Whether nothing but prices is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dear {
    No,
    Since(Instant),
    /// And an operator was told, which is enough until there was Internet.
    Said,
}

impl Internet {
    /// Offline since the start.
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            way: None,
            since: now,
            last: None,
            dear: Dear::No,
        }
    }

    /// Takes note of the way in use. Returns whether it changed.
    pub(super) fn update(&mut self, now: Instant, way: Option<Way>) -> bool {
        if self.way == way {
            return false;
        }
        if let Some(before) = std::mem::replace(&mut self.way, way) {
            self.last = Some((before, now));
        }
        self.since = now;
        true
    }

    /// Takes note of whether nothing but prices is in the way. Returns whether that is to be said.
    pub(super) fn is_to_say_dear(&mut self, now: Instant, is_dear: bool) -> bool {
        let (before, is_online) = (self.dear, self.way.is_some());
        self.dear = match before {
            Dear::No if is_dear => Dear::Since(now),
            Dear::Since(_) if !is_dear => Dear::No,
            Dear::Since(since) if now >= since + DEAR_TIME => Dear::Said,
            Dear::Said if is_online => Dear::No,
            Dear::No | Dear::Since(_) | Dear::Said => before,
        };
        self.dear == Dear::Said && before != Dear::Said
    }

    /// The way in use.
    pub(crate) const fn way(&self) -> Option<&Way> {
        self.way.as_ref()
    }

    /// Since when it is that way, or since when there is none.
    pub(crate) const fn since(&self) -> Instant {
        self.since
    }

    /// The way before, and until when.
    pub(crate) const fn last(&self) -> Option<&(Way, Instant)> {
        self.last.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_all_is_too_dear_is_said_when_it_lasts_and_once_until_there_is_internet() {
        let start = Instant::now();
        let mut internet = Internet::new(start);
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut say = |seconds, is_dear, is_online: bool| {
            let way = is_online.then(|| Way::Own("wan0".to_owned()));
            internet.update(at(seconds), way);
            internet.is_to_say_dear(at(seconds), is_dear)
        };
        assert!(!say(0, true, false));
        assert!(!say(4, true, false));
        assert!(!say(5, false, false), "it did not last");
        assert!(!say(6, true, false));
        assert!(say(11, true, false));
        assert!(!say(12, true, false));
        assert!(!say(13, false, false), "the gateway is gone");
        assert!(!say(30, true, false));
        assert!(!say(40, true, false), "said already");
        assert!(!say(50, false, true));
        assert!(!say(60, true, false));
        assert!(say(65, true, false), "it was online in between");
    }
}
