//! What we say of originators, in the order we said it: so that whoever missed some of it can be
//! told exactly that (see [`crate::wire::Update`]).

use std::collections::BTreeMap;

use crate::hash_chain::Link;
use crate::wire::{Binding, Ogm, OgmIndex};
use crate::{Metric, OriginatorId, Price, SeqNo};

/// What is being said of an originator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Advertised {
    /// Sequence number and its proof.
    pub(super) link: Link,
    /// Our distance; infinite is a retraction.
    pub(super) metric: Metric,
    /// Hops from us.
    pub(super) hops: u8,
    /// What we take for carrying there.
    pub(super) price: Price,
}

/// What was last said of an originator, and since which version.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said {
    pub(super) advertised: Advertised,
    index: OgmIndex,
    record_seq: SeqNo,
    version: u32,
    fresh_since: u32,
    bound_since: u32,
}

impl Said {
    /// Whether this is what was said.
    pub(super) fn says(&self, advertised: &Advertised, record_seq: SeqNo) -> bool {
        self.advertised == *advertised && self.record_seq == record_seq
    }

    /// What to tell somebody who knows everything up to `since`.
    pub(super) fn ogm(&self, originator: OriginatorId, since: u32) -> Ogm {
        let record_seq = self.record_seq;
        let binding = Binding {
            originator,
            record_seq,
        };
        let Advertised {
            link,
            metric,
            hops,
            price,
        } = self.advertised;
        Ogm {
            index: self.index,
            binding: (self.bound_since > since).then_some(binding),
            fresh: (self.fresh_since > since).then_some(link),
            metric,
            hops,
            price,
        }
    }
}

/// The book of everything said.
#[derive(Debug, Default)]
pub(super) struct Book {
    version: u32,
    /// What was said of whom at which version; one entry for each originator.
    log: BTreeMap<u32, OriginatorId>,
    next_index: u16,
    free: Vec<OgmIndex>,
    /// The newest version that is no longer in the log without a later one of its originator:
    /// who knows less than this has to be told everything anew.
    forgotten: u32,
}

impl Book {
    /// How often something was said.
    pub(super) const fn version(&self) -> u32 {
        self.version
    }

    /// Writes down what is said of `originator`, after `before`. `None` if there are too many
    /// originators to say anything.
    pub(super) fn say(
        &mut self,
        originator: OriginatorId,
        before: Option<Said>,
        advertised: Advertised,
        record_seq: SeqNo,
    ) -> Option<Said> {
        let index = match &before {
            Some(before) => before.index,
            None => self.take_index()?,
        };
        self.version += 1;
        let version = self.version;
        if let Some(before) = &before {
            self.log.remove(&before.version);
        }
        self.log.insert(version, originator);
        let is_same = |same: fn(&Said, &Said) -> bool, said: &Said| {
            before.as_ref().is_some_and(|before| same(before, said))
        };
        let mut said = Said {
            advertised,
            index,
            record_seq,
            version,
            fresh_since: version,
            bound_since: version,
        };
        if let Some(before) = &before {
            // Whoever heard that there is no route may have forgotten the proof meanwhile.
            let is_back = !before.advertised.metric.is_finite();
            if is_same(|a, b| a.advertised.link == b.advertised.link, &said) && !is_back {
                said.fresh_since = before.fresh_since;
            }
            if is_same(|a, b| a.record_seq == b.record_seq, &said) {
                said.bound_since = before.bound_since;
            }
        }
        Some(said)
    }

    /// Nothing is said of an originator any longer, of which `said` was the last.
    pub(super) fn forget(&mut self, said: &Said) {
        self.log.remove(&said.version);
        self.free.push(said.index);
        self.forgotten = self.forgotten.max(said.version);
    }

    /// What somebody who asks for everything after `since` really lacks: all of it, if what came
    /// after is no longer known.
    pub(super) const fn since(&self, since: u32) -> u32 {
        if since < self.forgotten || since > self.version {
            0
        } else {
            since
        }
    }

    /// Of whom something was said after `since`, and at which version, oldest first.
    pub(super) fn changes(&self, since: u32) -> impl Iterator<Item = (u32, OriginatorId)> {
        let after = (std::ops::Bound::Excluded(since), std::ops::Bound::Unbounded);
        self.log.range(after).map(|(version, id)| (*version, *id))
    }

    fn take_index(&mut self) -> Option<OgmIndex> {
        self.free.pop().or_else(|| {
            let index = OgmIndex::new(self.next_index)?;
            self.next_index += 1;
            Some(index)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash_chain::ChainValue;

    fn id(byte: u8) -> OriginatorId {
        OriginatorId::from_bytes([byte; 10])
    }

    fn advertised(seqno: u32, us: u32) -> Advertised {
        Advertised {
            link: Link {
                seqno: SeqNo::new(seqno),
                value: ChainValue::default(),
            },
            metric: Metric::from_us(us),
            hops: 1,
            price: Price::FREE,
        }
    }

    #[test]
    fn only_what_the_receiver_lacks_is_told() {
        let mut book = Book::default();
        let record = SeqNo::new(1);
        let first = book.say(id(1), None, advertised(1, 100), record).unwrap();
        let second = book
            .say(id(1), Some(first), advertised(1, 90), record)
            .unwrap();
        let to_a_stranger = second.ogm(id(1), 0);
        assert!(to_a_stranger.binding.is_some() && to_a_stranger.fresh.is_some());
        let to_a_listener = second.ogm(id(1), 1);
        assert_eq!((to_a_listener.binding, to_a_listener.fresh), (None, None));
        let newer = book
            .say(id(1), Some(second), advertised(2, 90), SeqNo::new(2))
            .unwrap();
        assert!(newer.ogm(id(1), 2).fresh.is_some() && newer.ogm(id(1), 2).binding.is_some());
        assert_eq!(book.changes(0).collect::<Vec<_>>(), [(3, id(1))]);
    }

    #[test]
    fn who_missed_something_forgotten_is_told_everything() {
        let mut book = Book::default();
        let record = SeqNo::new(1);
        let one = book.say(id(1), None, advertised(1, 100), record).unwrap();
        let two = book.say(id(2), None, advertised(1, 100), record).unwrap();
        book.say(id(1), Some(one), advertised(1, 50), record)
            .unwrap();
        book.forget(&two);
        assert_eq!((book.since(1), book.since(2), book.since(3)), (0, 2, 3));
        assert_eq!(book.since(77), 0, "from another life of ours");
        let three = book.say(id(3), None, advertised(1, 1), record).unwrap();
        assert_eq!(three.ogm(id(3), 0).index, two.ogm(id(2), 0).index, "reused");
    }
}
