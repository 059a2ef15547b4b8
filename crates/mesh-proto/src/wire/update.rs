//! Update: originator messages (OGMs), as changes to what the sender says of originators.
//!
//! ```text
//! 0      4    8
//! | from | to | OGMs …
//! OGM: index and flags (2) | metric (3) | hops (1)
//!      | originator (10) | record seq (4)     if bit 15: what the index stands for
//!      | seqno (4) | chain value (12)         if bit 14: the sequence number is new
//!      | price (8), not 0                     if bit 13: it costs something
//! ```
//! Every node counts its changes. An update has all that are after `from` and up to `to`, in
//! their order, without those that a later one made void. Who has seen `from` has seen `to` after
//! it; who has not asks for what it missed ([`super::SyncRequest`]). So what did not change needs
//! no repeating.

use super::{ParseError, reader::Reader};
use crate::hash_chain::{ChainValue, Link};
use crate::{Metric, OriginatorId, Price, SeqNo};

/// The sender's short name for an originator: 13 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OgmIndex(u16);

impl OgmIndex {
    /// Indexes are below this.
    pub const LIMIT: u16 = 1 << 13;

    /// The index `value`; `None` from [`OgmIndex::LIMIT`] on.
    pub const fn new(value: u16) -> Option<Self> {
        if value < Self::LIMIT {
            Some(Self(value))
        } else {
            None
        }
    }
}

/// What an index stands for from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The originator.
    pub originator: OriginatorId,
    /// Sequence number of the newest record of it that the sender has; 0 is none.
    pub record_seq: SeqNo,
}

/// An originator message as its sender passes it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ogm {
    /// Whom it is about.
    pub index: OgmIndex,
    /// What the index stands for, unless the receiver knows.
    pub binding: Option<Binding>,
    /// The originator's sequence number and its proof, unless the receiver has it.
    pub fresh: Option<Link>,
    /// The sender's distance; infinite is a retraction. In packets it has 24 bits: 16 seconds of
    /// airtime, with which nothing could be done, and what does not fit is a retraction too.
    pub metric: Metric,
    /// Hops from the sender to the originator, for people to read; 255 is "many".
    pub hops: u8,
    /// What the sender takes for carrying to and from the originator's uplink, its own fee
    /// included. What costs nothing takes no bytes.
    pub price: Price,
}

impl Ogm {
    const BINDS: u16 = 1 << 15;
    const FRESH: u16 = 1 << 14;
    const PRICED: u16 = 1 << 13;
    const INFINITE: u32 = 0x00ff_ffff;

    const HEAD_LEN: usize = 6;
    const BINDING_LEN: usize = OriginatorId::LEN + 4;
    const FRESH_LEN: usize = 4 + ChainValue::LEN;
    const PRICE_LEN: usize = 8;

    /// Bytes it takes.
    pub const fn wire_len(&self) -> usize {
        let mut len = Self::HEAD_LEN;
        if self.binding.is_some() {
            len += Self::BINDING_LEN;
        }
        if self.fresh.is_some() {
            len += Self::FRESH_LEN;
        }
        if self.is_priced() {
            len += Self::PRICE_LEN;
        }
        len
    }

    const fn is_priced(&self) -> bool {
        self.price.atto_smt_per_mib() != 0
    }

    fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let head = reader.u16()?;
        let metric = match reader.u24()? {
            Self::INFINITE => Metric::INFINITE,
            us => Metric::from_us(us),
        };
        let hops = reader.u8()?;
        let binding = match head & Self::BINDS {
            0 => None,
            _ => Some(Binding {
                originator: reader.originator_id()?,
                record_seq: reader.seqno()?,
            }),
        };
        let fresh = match head & Self::FRESH {
            0 => None,
            _ => Some(Link {
                seqno: reader.seqno()?,
                value: ChainValue(reader.array()?),
            }),
        };
        let price = match head & Self::PRICED {
            0 => Price::FREE,
            _ => match reader.u64()? {
                0 => return Err(ParseError::Malformed),
                price => Price::new(price),
            },
        };
        Ok(Self {
            index: OgmIndex(head & !(Self::BINDS | Self::FRESH | Self::PRICED)),
            binding,
            fresh,
            metric,
            hops,
            price,
        })
    }

    fn emit(&self, out: &mut Vec<u8>) {
        let binds = if self.binding.is_some() {
            Self::BINDS
        } else {
            0
        };
        let fresh = if self.fresh.is_some() { Self::FRESH } else { 0 };
        let priced = if self.is_priced() { Self::PRICED } else { 0 };
        out.extend_from_slice(&(self.index.0 | binds | fresh | priced).to_be_bytes());
        // Never less than the truth: loop-freedom rests on it.
        let metric = self.metric.as_us().min(Self::INFINITE);
        out.extend(metric.to_be_bytes().iter().skip(1));
        out.push(self.hops);
        if let Some(binding) = &self.binding {
            out.extend_from_slice(binding.originator.as_bytes());
            out.extend_from_slice(&binding.record_seq.value().to_be_bytes());
        }
        if let Some(fresh) = &self.fresh {
            out.extend_from_slice(&fresh.seqno.value().to_be_bytes());
            out.extend_from_slice(&fresh.value.0);
        }
        if self.is_priced() {
            out.extend_from_slice(&self.price.atto_smt_per_mib().to_be_bytes());
        }
    }
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Presumes that this much is known; 0 presumes nothing, and voids what was said before.
    pub from: u32,
    /// How much is known after it; not less than `from`.
    pub to: u32,
    /// The changes.
    pub ogms: Vec<Ogm>,
}

impl Update {
    /// Bytes before the OGMs.
    pub(crate) const HEADER_LEN: usize = 8;

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let (from, to) = (reader.u32()?, reader.u32()?);
        if to < from {
            return Err(ParseError::Malformed);
        }
        let mut ogms = Vec::new();
        while !reader.is_empty() {
            ogms.push(Ogm::parse(reader)?);
        }
        Ok(Self { from, to, ogms })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.from.to_be_bytes());
        out.extend_from_slice(&self.to.to_be_bytes());
        for ogm in &self.ogms {
            ogm.emit(out);
        }
    }
}
