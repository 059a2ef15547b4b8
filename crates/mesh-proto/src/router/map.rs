//! The map of the mesh: our own entry, and those of others.
//!
//! An entry is said with the next hello, and passed on once by everybody who did not have it. What got lost, or
//! was said before a node came, shows in the digests that hellos carry now and then.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::counters::DropReason;
use super::neighbor::LinkId;
use super::{MAX_ORIGINATORS, Router};
use crate::OriginatorId;
use crate::map::{MAX_LINKS, MapEntry, MapLink, Position, SignedMapEntry};
use crate::wire::{MapDigest, MapRequest, Tlv};

/// A change is said when it has lasted for so long: links come up one after the other.
const SETTLING_TIME: Duration = Duration::from_secs(5);
/// After an entry of ours the next one comes as late as that many entries of other nodes take, at one each four
/// seconds in the whole mesh, within these bounds.
const TIME_FOR_EACH: Duration = Duration::from_secs(4);
const INTERVALS: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(900)];
/// How long it takes at least if no link came or went and the node did not move.
const QUALITY_INTERVAL: Duration = Duration::from_secs(600);
/// A quality is news if it differs by so much: more than a link of 30 % loss varies by chance.
const NOTABLE_QUALITY: u8 = 48;
/// With every so many hellos on an interface goes a digest: every 32 s on an idle link.
const DIGEST_EVERY: u16 = 8;
/// How long a difference is left alone after we asked: an answer is a dozen packets.
const REQUEST_INTERVAL: Duration = Duration::from_secs(30);
/// The most entries in one answer; who asks, asks again.
const MAX_ANSWER: usize = 64;

/// An entry that we have.
#[derive(Debug)]
struct Held {
    signed: SignedMapEntry,
    digest: u64,
    since: Instant,
}

impl Held {
    fn new(signed: SignedMapEntry, since: Instant) -> Self {
        Self {
            digest: signed.digest(),
            signed,
            since,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Map {
    position: Option<Position>,
    own: Option<Held>,
    others: BTreeMap<OriginatorId, Held>,
    /// Since when our entry is not true any longer.
    untrue_since: Option<Instant>,
    /// What must be passed on.
    pending: BTreeSet<OriginatorId>,
    /// Whose digest differed from ours when it came last.
    differing: BTreeSet<LinkId>,
    asked: Option<Instant>,
}

impl Map {
    pub(super) fn forget(&mut self, id: OriginatorId) {
        self.others.remove(&id);
        self.pending.remove(&id);
        self.differing.retain(|link| link.neighbor != id);
    }

    fn get(&self, own: OriginatorId, id: OriginatorId) -> Option<&Held> {
        match id == own {
            true => self.own.as_ref(),
            false => self.others.get(&id),
        }
    }
}

/// How an entry that would be true now differs from the one that was said.
#[derive(PartialEq, Eq)]
enum Difference {
    None,
    Quality,
    Notable,
}

fn difference(
    said: Option<&MapEntry>,
    links: &[MapLink],
    position: Option<Position>,
) -> Difference {
    let Some(said) = said else {
        return match links.is_empty() && position.is_none() {
            true => Difference::None,
            false => Difference::Notable,
        };
    };
    let same_links = said
        .links
        .iter()
        .map(|it| it.to)
        .eq(links.iter().map(|it| it.to));
    if said.position != position || !same_links {
        return Difference::Notable;
    }
    let mut pairs = said.links.iter().zip(links);
    match pairs.any(|(said, now)| said.quality.abs_diff(now.quality) >= NOTABLE_QUALITY) {
        true => Difference::Quality,
        false => Difference::None,
    }
}

impl Router {
    /// Where this node stands, for the map of the mesh; `None` if nobody is to know.
    pub const fn set_position(&mut self, position: Option<Position>) {
        self.map.position = position;
    }

    /// Where this node stands, as the mesh is told.
    pub const fn position(&self) -> Option<Position> {
        self.map.position
    }

    /// What nodes that can be reached say of their place in the mesh, and since when we know: our own entry, as it
    /// was said last, included.
    pub fn map(&self) -> impl Iterator<Item = (OriginatorId, &MapEntry, Instant)> {
        self.held()
            .map(|(id, held)| (id, held.signed.entry(), held.since))
    }

    /// The entries of the nodes that we reach, in the order of their ids but for our own, which is the first.
    fn held(&self) -> impl Iterator<Item = (OriginatorId, &Held)> {
        let own = self.map.own.iter().map(|held| (self.id, held));
        let others = self.map.others.iter().map(|(id, held)| (*id, held));
        own.chain(others.filter(|(id, _)| self.is_reached(*id)))
    }

    fn is_reached(&self, id: OriginatorId) -> bool {
        self.originators
            .get(&id)
            .is_some_and(|it| it.in_use().is_some())
    }

    /// Signs our entry anew if what it says has not been true for a while.
    pub(super) fn settle_map(&mut self, now: Instant) {
        let links = self.links_for_the_map(now);
        let said = self.map.own.as_ref();
        let nodes = u32::try_from(self.originators.len()).unwrap_or(u32::MAX);
        let [least, most] = INTERVALS;
        let interval = TIME_FOR_EACH.saturating_mul(nodes).clamp(least, most);
        let entry = said.map(|held| held.signed.entry());
        let interval = match difference(entry, &links, self.map.position) {
            Difference::None => {
                self.map.untrue_since = None;
                return;
            }
            Difference::Quality => interval.max(QUALITY_INTERVAL),
            Difference::Notable => interval,
        };
        let is_early = said.is_some_and(|held| now < held.since + interval);
        let since = *self.map.untrue_since.get_or_insert(now);
        if is_early || now < since + SETTLING_TIME {
            return;
        }
        self.say_our_place(now, links);
    }

    fn say_our_place(&mut self, now: Instant, links: Vec<MapLink>) {
        let (epoch, said) = (self.sender.epoch, self.map.own.as_ref());
        let said = said.map(|held| held.signed.entry());
        let seq = said
            .filter(|it| it.epoch == epoch)
            .map_or(0, |it| it.seq.saturating_add(1));
        let entry = MapEntry {
            epoch,
            seq,
            position: self.map.position,
            links,
        };
        let signed = self.records.sign_map_entry(entry);
        self.map.own = Some(Held::new(signed, now));
        self.map.untrue_since = None;
        self.map.pending.insert(self.id);
    }

    /// The best links, by rising id. One that was named before stays before one that is a little better.
    fn links_for_the_map(&self, now: Instant) -> Vec<MapLink> {
        let mut heard: BTreeMap<OriginatorId, u8> = BTreeMap::new();
        for (link, neighbor) in &self.neighbors {
            if neighbor.cost().is_finite() {
                let quality = neighbor.rx_quality(now);
                let best = heard.entry(link.neighbor).or_default();
                *best = quality.max(*best);
            }
        }
        let said = self.map.own.as_ref().map(|held| held.signed.entry());
        let is_named = |id| said.is_some_and(|it| it.links.iter().any(|link| link.to == id));
        let links = heard
            .into_iter()
            .map(|(to, quality)| MapLink { to, quality });
        let mut links: Vec<MapLink> = links.collect();
        links.sort_by_key(|link| {
            let bonus = if is_named(link.to) {
                NOTABLE_QUALITY
            } else {
                0
            };
            std::cmp::Reverse(u16::from(link.quality) + u16::from(bonus))
        });
        links.truncate(MAX_LINKS);
        links.sort_by_key(|link| link.to);
        links
    }

    /// Entries to be passed on.
    pub(super) fn map_news(&mut self) -> Vec<Tlv> {
        let pending = std::mem::take(&mut self.map.pending);
        let entries = pending
            .into_iter()
            .filter_map(|id| self.map.get(self.id, id));
        entries
            .map(|held| Tlv::MapEntry(Box::new(held.signed.clone())))
            .collect()
    }

    /// The digest, if it goes along with this hello.
    pub(super) fn map_digest(&self, hello_seqno: u16) -> Option<Tlv> {
        let is_due = hello_seqno.is_multiple_of(DIGEST_EVERY);
        is_due.then(|| {
            Tlv::MapDigest(MapDigest {
                digest: self.digest(),
            })
        })
    }

    fn digest(&self) -> u64 {
        self.held()
            .fold(0, |sum, (_, held)| sum.wrapping_add(held.digest))
    }

    /// Takes an entry if it is newer than ours and its node signed it.
    pub(super) fn receive_map_entry(
        &mut self,
        now: Instant,
        signed: &SignedMapEntry,
    ) -> Result<(), DropReason> {
        let id = signed.originator();
        let known = self
            .map
            .get(self.id, id)
            .map(|held| held.signed.entry().stamp());
        if known.is_some_and(|known| signed.entry().stamp() <= known) {
            return Ok(());
        }
        let node = self.records.get(id).map(|record| record.node());
        let node = node.ok_or(DropReason::UnknownNode)?;
        if known.is_none() && self.map.others.len() >= MAX_ORIGINATORS {
            return Err(DropReason::TableFull);
        }
        if !signed.verify(&self.config.network, node) {
            return Err(DropReason::BadSignature);
        }
        let held = Held::new(signed.clone(), now);
        if id == self.id {
            return self.outdo(now, held);
        }
        self.map.others.insert(id, held);
        self.map.pending.insert(id);
        Ok(())
    }

    /// An entry of ours that we do not remember, of this epoch: the next one has a number above. Epochs are the
    /// business of records.
    fn outdo(&mut self, now: Instant, held: Held) -> Result<(), DropReason> {
        if held.signed.entry().epoch == self.sender.epoch {
            self.map.own = Some(held);
            self.map.untrue_since = Some(now);
        }
        Ok(())
    }

    /// A neighbor's digest. If it differs a second time from ours, or we have nobody's entry yet, it is asked.
    pub(super) fn receive_map_digest(&mut self, now: Instant, link: LinkId, digest: MapDigest) {
        if digest.digest == self.digest() {
            self.map.differing.remove(&link);
            return;
        }
        let is_first = self.map.differing.insert(link);
        let asked = self.map.asked;
        let is_early = asked.is_some_and(|at| now < at + REQUEST_INTERVAL);
        if is_early || (is_first && !self.map.others.is_empty()) {
            return;
        }
        self.map.asked = Some(now);
        self.map.differing.remove(&link);
        let requests = self.map_requests();
        self.send_to(now, link, &requests);
    }

    /// What we have, in ranges that together are all ids there can be.
    fn map_requests(&self) -> Vec<Tlv> {
        let mut all: Vec<_> = self
            .held()
            .map(|(id, held)| (id, held.signed.entry().stamp()))
            .collect();
        all.sort_by_key(|(id, _)| *id);
        let mut parts: Vec<Vec<_>> = all
            .chunks(MapRequest::MAX_KNOWN)
            .map(<[_]>::to_vec)
            .collect();
        if parts.is_empty() {
            parts.push(Vec::new());
        }
        let count = parts.len();
        let mut first = OriginatorId::from_bytes([0; OriginatorId::LEN]);
        let requests = parts.into_iter().enumerate().map(|(at, known)| {
            let end = known.last().map(|(id, _)| *id).filter(|_| at + 1 < count);
            let last = end.unwrap_or(OriginatorId::from_bytes([0xff; OriginatorId::LEN]));
            let request = MapRequest { first, last, known };
            // The end itself is named, so a range may begin with it.
            first = last;
            Tlv::MapRequest(request)
        });
        requests.collect()
    }

    pub(super) fn answer_map_request(&mut self, now: Instant, link: LinkId, request: &MapRequest) {
        let known: BTreeMap<_, _> = request.known.iter().copied().collect();
        let is_missed = |id: OriginatorId, held: &Held| {
            // What begins a range stands at the end of the one before.
            let is_meant = known.contains_key(&id) || (request.first < id && id <= request.last);
            let theirs = known.get(&id);
            is_meant && theirs.is_none_or(|it| *it < held.signed.entry().stamp())
        };
        let missed = self
            .held()
            .filter(|(id, held)| is_missed(*id, held))
            .take(MAX_ANSWER);
        let missed = missed.map(|(_, held)| Tlv::MapEntry(Box::new(held.signed.clone())));
        let missed: Vec<Tlv> = missed.collect();
        if !missed.is_empty() {
            self.send_to(now, link, &missed);
        }
    }
}
