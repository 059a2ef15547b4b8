//! The first 104 bytes of each file of a log.

use crate::codec::{ParseError, Reader};
use crate::identity::{NetworkId, Party};

use super::frame::ChainHash;

const MAGIC: [u8; 8] = *b"MESHLOG\0";
const VERSION: u32 = 2;

/// Whose log it is: where its receipts count and who wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header {
    /// The mesh.
    pub network: NetworkId,
    /// The node that wrote it: provider of what it received, consumer of what it gave.
    pub owner: Party,
}

/// What a segment begins with: whose log it belongs to, and its place there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SegmentHeader {
    /// Whose log it is.
    pub log: Header,
    /// Segments are numbered from 1, in the order in which they were written.
    pub number: u64,
    /// The last record of the segment before; [`ChainHash::NONE`] if none is needed.
    pub previous: ChainHash,
}

/// Why the first bytes are not the header of a log we can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Shorter than a header, or another magic.
    #[error("not a receipt log")]
    NotALog,
    /// Of another version of this program.
    #[error("log version {0} is not known")]
    Version(u32),
    /// The check sum does not match.
    #[error("the header is damaged")]
    Damaged,
    /// Of another network or node than expected.
    #[error("the log is of node {} in network {}", .0.owner, .0.network)]
    Foreign(Header),
}

impl SegmentHeader {
    /// Length in bytes.
    pub const LEN: usize = 104;

    /// That of the first segment of a log.
    pub const fn first(log: Header) -> Self {
        Self {
            log,
            number: 1,
            previous: ChainHash::NONE,
        }
    }

    /// Reads the header at the start of a segment.
    ///
    /// # Errors
    /// [`HeaderError`].
    pub fn parse(segment: &[u8]) -> Result<Self, HeaderError> {
        let Ok(read) = Read::from(segment) else {
            return Err(HeaderError::NotALog);
        };
        match read {
            Read { magic, .. } if magic != MAGIC => Err(HeaderError::NotALog),
            Read { version, .. } if version != VERSION => Err(HeaderError::Version(version)),
            Read {
                is_sound: false, ..
            } => Err(HeaderError::Damaged),
            Read { header, .. } => Ok(header),
        }
    }

    /// Whether the segment was certainly written for somebody else than `log`, or by a later
    /// version of this program: each keeps these 104 bytes, so their check sum holds.
    pub(super) fn check_ours(segment: &[u8], log: &Header) -> Result<(), HeaderError> {
        match Read::from(segment) {
            Ok(read) if read.magic != MAGIC || !read.is_sound => Ok(()),
            Ok(read) if read.version != VERSION => Err(HeaderError::Version(read.version)),
            Ok(read) if read.header.log != *log => Err(HeaderError::Foreign(read.header.log)),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// The bytes a segment begins with.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::LEN);
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend(self.log.network.as_bytes());
        out.extend(self.log.owner.as_bytes());
        out.extend(self.number.to_le_bytes());
        out.extend(self.previous.as_bytes());
        out.extend(crc32fast::hash(&out).to_le_bytes());
        out
    }
}

/// A header as it was found.
struct Read {
    magic: [u8; 8],
    version: u32,
    header: SegmentHeader,
    /// The check sum matches.
    is_sound: bool,
}

impl Read {
    fn from(segment: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(segment);
        let bytes = reader.bytes(SegmentHeader::LEN)?;
        let mut reader = Reader::new(bytes);
        let magic = reader.array()?;
        let version = reader.u32()?;
        let log = Header {
            network: NetworkId::new(reader.array()?),
            owner: Party::new(reader.array()?),
        };
        let header = SegmentHeader {
            log,
            number: reader.u64()?,
            previous: ChainHash::new(reader.array()?),
        };
        let covered = bytes.len() - reader.remaining();
        let is_sound = reader.u32()? == crc32fast::hash(bytes.split_at(covered).0);
        Ok(Self {
            magic,
            version,
            header,
            is_sound,
        })
    }
}
