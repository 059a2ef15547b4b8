//! Nodes near us that speak another version of the protocol: not heard, but told of, so that somebody upgrades one of us.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use super::Router;
use crate::IfIndex;
use crate::wire::{ParseError, packet};

/// For so long a node is told of: hellos of all versions come at least every few seconds.
const MEMORY: Duration = Duration::from_secs(60);
/// Anybody can claim anything, and nobody needs to know more of them.
const MOST: usize = 64;

/// A node that speaks another version, as far as it can be told: nothing of it is authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherVersion {
    /// Over which interface it is heard.
    pub ifindex: IfIndex,
    /// Its link-local address.
    pub address: Ipv6Addr,
    /// What it spoke last.
    pub version: u8,
    /// How many packets were heard of it.
    pub packets: u64,
    /// When it was last heard.
    pub last_heard: Instant,
}

#[derive(Debug, Default)]
pub(super) struct OtherVersions {
    seen: BTreeMap<(IfIndex, Ipv6Addr), OtherVersion>,
}

impl OtherVersions {
    /// Takes note of a packet that could not be read, if it is of another version.
    pub(super) fn note(
        &mut self,
        now: Instant,
        ifindex: IfIndex,
        address: Ipv6Addr,
        bytes: &[u8],
        error: ParseError,
    ) {
        let Some(version) = packet::version_of(bytes) else {
            return;
        };
        if error != ParseError::UnknownVersion {
            return;
        }
        self.seen.retain(|_, it| it.is_recent(now));
        let key = (ifindex, address);
        if self.seen.len() >= MOST && !self.seen.contains_key(&key) {
            return;
        }
        let seen = self.seen.entry(key).or_insert(OtherVersion {
            ifindex,
            address,
            version,
            packets: 0,
            last_heard: now,
        });
        seen.version = version;
        seen.packets = seen.packets.saturating_add(1);
        seen.last_heard = now;
    }
}

impl OtherVersion {
    fn is_recent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_heard) < MEMORY
    }
}

impl Router {
    /// The nodes near us that were lately heard to speak another version of the protocol; 64 at most.
    pub fn other_versions(&self, now: Instant) -> impl Iterator<Item = &OtherVersion> {
        let seen = self.other_versions.seen.values();
        seen.filter(move |it| it.is_recent(now))
    }
}
