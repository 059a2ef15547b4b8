//! Since when there is Internet, and through whom.

use std::time::Instant;

use mesh_proto::OriginatorId;

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
}

impl Internet {
    /// Offline since the start.
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            way: None,
            since: now,
            last: None,
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
