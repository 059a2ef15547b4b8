//! Echo and its reply: whether a node anywhere in the mesh is there, and which way it would send.
//!
//! ```text
//! echo:  0       8         18       reply: 0       8      18           19           20
//!        | nonce | towards |               | nonce | node | rx quality | tx quality |
//! ```
//! A reply ends behind the nonce where no way is known, or none is needed. Both travel as data does, between
//! the mesh addresses of two nodes, over relays that do not look into them.

use super::{ParseError, reader::Reader};
use crate::OriginatorId;

/// "Are you there? And where would you send what is for that node?"
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// What the reply must repeat.
    pub nonce: u64,
    /// The node that packets are for.
    pub towards: OriginatorId,
}

/// "I am, and I would send it there."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EchoReply {
    /// The echo's.
    pub nonce: u64,
    /// The neighbor that gets them next.
    pub next_hop: Option<NextHop>,
}

/// A neighbor, and how well it and the node that speaks of it hear each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// The neighbor.
    pub node: OriginatorId,
    /// The share of its hellos that arrive, 0 to 255.
    pub rx_quality: u8,
    /// The share of hellos that arrive there, 0 to 255.
    pub tx_quality: u8,
}

impl Echo {
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        Ok(Self {
            nonce: reader.u64()?,
            towards: reader.originator_id()?,
        })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.nonce.to_be_bytes());
        out.extend_from_slice(self.towards.as_bytes());
    }
}

impl EchoReply {
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        Ok(Self {
            nonce: reader.u64()?,
            next_hop: match reader.is_empty() {
                true => None,
                false => Some(NextHop::parse(reader)?),
            },
        })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.nonce.to_be_bytes());
        if let Some(next) = self.next_hop {
            out.extend_from_slice(next.node.as_bytes());
            out.extend_from_slice(&[next.rx_quality, next.tx_quality]);
        }
    }
}

impl NextHop {
    fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        Ok(Self {
            node: reader.originator_id()?,
            rx_quality: reader.u8()?,
            tx_quality: reader.u8()?,
        })
    }
}
