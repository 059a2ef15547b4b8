//! One-way chains: proof that a sequence number is the originator's own, for the price of a hash.
//!
//! An originator hashes a secret again and again and signs the last value, the *anchor*, in its
//! node record. Each sequence number after the anchor's reveals the value before: everybody can
//! hash it forward to what is known, and nobody can tell the next one beforehand (Lamport,
//! Password Authentication with Insecure Communication, 1981; Hu, Johnson and Perrig used it for
//! routing in SEAD, 2002). A signature for each OGM would cost a small router 10 ms.

use crate::SeqNo;
use crate::identity::{OriginatorId, hash};

/// Sequence numbers that one chain is good for. At one OGM in ten seconds: almost three hours,
/// for 12 KiB of memory. Then the record is signed anew with another anchor.
pub const CHAIN_LEN: u32 = 1024;

/// A value of a chain: 96 bits, so that guessing one is hopeless and it still costs less than
/// the rest of an OGM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChainValue(pub [u8; Self::LEN]);

impl ChainValue {
    /// Length in bytes.
    pub const LEN: usize = 12;

    /// The value that belongs to the sequence number before `seqno`'s, if this is `seqno`'s.
    /// The number is part of what is hashed, so values cannot be taken for one another.
    fn before(self, originator: OriginatorId, seqno: SeqNo) -> Self {
        let parts: [&[u8]; 3] = [originator.as_bytes(), &seqno.value().to_be_bytes(), &self.0];
        Self::cut(hash(b"meshd chain v1", &parts))
    }

    fn cut(hash: [u8; 32]) -> Self {
        let mut value = [0; Self::LEN];
        value.copy_from_slice(&hash[..Self::LEN]);
        Self(value)
    }
}

/// A sequence number with the value that proves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The number.
    pub seqno: SeqNo,
    /// Its value.
    pub value: ChainValue,
}

impl Link {
    /// What this link proves the value of `earlier` to be; `None` if that is not an earlier
    /// number, or one more than a chain's length before.
    pub fn proves(self, originator: OriginatorId, earlier: SeqNo) -> Option<ChainValue> {
        let steps = self.seqno.value().wrapping_sub(earlier.value());
        if steps > CHAIN_LEN {
            return None;
        }
        let mut link = self;
        while link.seqno != earlier {
            link.value = link.value.before(originator, link.seqno);
            link.seqno = SeqNo::new(link.seqno.value().wrapping_sub(1));
        }
        Some(link.value)
    }
}

/// What is known of another's chain: its anchor, and the newest number that was proven.
#[derive(Clone, Copy, Debug)]
pub struct Proven {
    anchor: Link,
    newest: Link,
}

/// Why a sequence number is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disproof {
    /// It is not of this chain: the record that anchors it is another one.
    OtherChain,
    /// Its value is wrong.
    WrongValue,
}

impl Proven {
    /// Nothing but the anchor.
    pub const fn new(anchor: Link) -> Self {
        Self {
            anchor,
            newest: anchor,
        }
    }

    /// The anchor.
    pub const fn anchor(&self) -> Link {
        self.anchor
    }

    /// Checks a number with its value, and remembers it if it is the newest.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn check(&mut self, originator: OriginatorId, link: Link) -> Result<(), Disproof> {
        let place = link.seqno.value().wrapping_sub(self.anchor.seqno.value());
        if place > CHAIN_LEN {
            return Err(Disproof::OtherChain);
        }
        let is_newer = link.seqno.is_newer_than(self.newest.seqno);
        let (later, earlier) = match is_newer {
            true => (link, self.newest),
            false => (self.newest, link),
        };
        if later.proves(originator, earlier.seqno) != Some(earlier.value) {
            return Err(Disproof::WrongValue);
        }
        self.newest = later;
        Ok(())
    }
}

/// A chain of one's own.
#[derive(Debug)]
pub struct Chain {
    base: SeqNo,
    /// The value of each number, that of the base first.
    values: Vec<ChainValue>,
}

impl Chain {
    /// The chain of `originator` that begins at `base` and follows from `secret`.
    pub fn new(originator: OriginatorId, base: SeqNo, secret: &[u8; 32]) -> Self {
        let last = SeqNo::new(base.value().wrapping_add(CHAIN_LEN));
        let mut link = Link {
            seqno: last,
            value: ChainValue::cut(hash(b"meshd chain end v1", &[secret])),
        };
        let mut values = vec![link.value];
        while link.seqno != base {
            link.value = link.value.before(originator, link.seqno);
            link.seqno = SeqNo::new(link.seqno.value().wrapping_sub(1));
            values.push(link.value);
        }
        values.reverse();
        Self { base, values }
    }

    /// What the record says of it.
    pub fn anchor(&self) -> Link {
        let value = self.value(self.base).unwrap_or_default();
        Link {
            seqno: self.base,
            value,
        }
    }

    /// The value that proves `seqno`; `None` if it is not of this chain.
    pub fn value(&self, seqno: SeqNo) -> Option<ChainValue> {
        let place = seqno.value().wrapping_sub(self.base.value());
        self.values.get(usize::try_from(place).ok()?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: OriginatorId = OriginatorId::from_bytes([4; 10]);

    fn chain() -> Chain {
        Chain::new(NODE, SeqNo::new(u32::MAX - 10), &[7; 32])
    }

    fn link(chain: &Chain, place: u32) -> Link {
        let seqno = SeqNo::new(chain.anchor().seqno.value().wrapping_add(place));
        let value = chain.value(seqno).unwrap();
        Link { seqno, value }
    }

    #[test]
    fn every_number_of_a_chain_is_believed_in_any_order() {
        let chain = chain();
        let mut proven = Proven::new(chain.anchor());
        for place in [0, 1, 5, 3, 700, 20, CHAIN_LEN, 1] {
            assert_eq!(proven.check(NODE, link(&chain, place)), Ok(()), "{place}");
        }
    }

    #[test]
    fn no_other_value_is_believed() {
        let chain = chain();
        let mut proven = Proven::new(chain.anchor());
        assert_eq!(proven.check(NODE, link(&chain, 5)), Ok(()));
        let forged = Link {
            seqno: link(&chain, 6).seqno,
            ..link(&chain, 5)
        };
        let older = Link {
            seqno: link(&chain, 3).seqno,
            ..link(&chain, 4)
        };
        let other = OriginatorId::from_bytes([5; 10]);
        assert_eq!(proven.check(NODE, forged), Err(Disproof::WrongValue));
        assert_eq!(proven.check(NODE, older), Err(Disproof::WrongValue));
        let stolen = proven.check(other, link(&chain, 6));
        assert_eq!(stolen, Err(Disproof::WrongValue));
    }

    #[test]
    fn numbers_beyond_the_chain_belong_to_another() {
        let chain = chain();
        let mut proven = Proven::new(chain.anchor());
        for place in [CHAIN_LEN + 1, u32::MAX] {
            let seqno = SeqNo::new(chain.anchor().seqno.value().wrapping_add(place));
            let value = ChainValue::default();
            assert_eq!(chain.value(seqno), None);
            let unknown = proven.check(NODE, Link { seqno, value });
            assert_eq!(unknown, Err(Disproof::OtherChain));
        }
    }
}
