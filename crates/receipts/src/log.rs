//! The append-only log, as a codec: bytes in, bytes out; the caller owns the file.
//!
//! ```text
//! header, 64 bytes
//!      0    8  "MESHLOG\0"
//!      8    4  version, 1
//!     12   16  network
//!     28   32  owner: the node that wrote the log
//!     60    4  CRC-32 (IEEE) of bytes 0..60
//! record, 40 + length bytes
//!      0    2  length of the payload
//!      2    1  kind: 1 offer made, 2 offer accepted, 3 receipt received, 4 receipt given,
//!              5 equivocation
//!      3    1  zero
//!      4    4  CRC-32 of bytes 0..4 and 8..40+length
//!      8   32  SHA-256 of the record before, whole; of the header for the first record
//!     40       payload: offer 240, receipt 256, equivocation 512 bytes
//! ```
//! The CRC tells an honest accident (a torn write, a worn flash cell), the chain of hashes tells
//! that no record was taken out or changed, and the signatures inside tell the rest.
//!
//! # Invariants
//! - A cut at any byte loses the last, incomplete record and nothing else.
//! - A flipped bit anywhere is detected.
//! - A log damaged in the middle keeps what follows: offers and receipts are signed, so they stand
//!   for themselves. Losing them would let a node sign below what it signed.
//! - An exported file is a log, and a log can be verified like an export.

mod export;
mod recover;
mod verify;

pub use export::export;
pub use recover::{Cut, CutReason, Recovered, recover};
pub use verify::{Fault, PairTotals, Report, VerifyError, verify};

use sha2::{Digest, Sha256};

use crate::codec::{ParseError, Reader};
use crate::identity::{BadSignature, NetworkId, Party};
use crate::offer::Offer;
use crate::receipt::{Equivocation, Receipt};

const MAGIC: [u8; 8] = *b"MESHLOG\0";
const VERSION: u32 = 1;
const FRAME_LEN: usize = 40;

/// What a log begins with: where its receipts count and who wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header {
    /// The mesh.
    pub network: NetworkId,
    /// The node that wrote it: provider of what it received, consumer of what it gave.
    pub owner: Party,
}

/// Why the first bytes are not the header of a log we can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Shorter than a header, or another magic.
    #[error("not a receipt log")]
    NotALog,
    /// Written by a later version.
    #[error("log version {0} is not known")]
    Version(u32),
    /// The check sum does not match.
    #[error("the header is damaged")]
    Damaged,
    /// Of another network or node than expected.
    #[error("the log is of node {} in network {}", .0.owner, .0.network)]
    Foreign(Header),
}

impl Header {
    /// Length in bytes.
    pub const LEN: usize = 64;

    /// Reads the header at the start of a log.
    ///
    /// # Errors
    /// [`HeaderError`].
    pub fn parse(log: &[u8]) -> Result<Self, HeaderError> {
        let header = log
            .first_chunk::<{ Self::LEN }>()
            .ok_or(HeaderError::NotALog)?;
        let mut reader = Reader::new(header);
        Self::read(&mut reader, header).unwrap_or(Err(HeaderError::NotALog))
    }

    fn read(
        reader: &mut Reader<'_>,
        header: &[u8; Self::LEN],
    ) -> Result<Result<Self, HeaderError>, ParseError> {
        if reader.array()? != MAGIC {
            return Ok(Err(HeaderError::NotALog));
        }
        let version = reader.u32()?;
        let parsed = Self {
            network: NetworkId::new(reader.array()?),
            owner: Party::new(reader.array()?),
        };
        let covered = header.len() - reader.remaining();
        if reader.u32()? != crc32fast::hash(header.split_at(covered).0) {
            return Ok(Err(HeaderError::Damaged));
        }
        if version != VERSION {
            return Ok(Err(HeaderError::Version(version)));
        }
        Ok(Ok(parsed))
    }

    /// The bytes a log begins with.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::LEN);
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend(self.network.as_bytes());
        out.extend(self.owner.as_bytes());
        out.extend(crc32fast::hash(&out).to_le_bytes());
        out
    }
}

/// Something to remember.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// I am the provider of this offer.
    OfferMade(Offer),
    /// I am the consumer of this offer and have given, or am about to give, a receipt under it.
    OfferAccepted(Offer),
    /// I am the provider: somebody owes me this.
    ReceiptReceived(Receipt),
    /// I am the consumer: I owe this.
    ReceiptGiven(Receipt),
    /// A consumer contradicted itself.
    Equivocation(Box<Equivocation>),
}

impl Record {
    /// The other side of the account, as seen by the owner of the log; for an equivocation the
    /// one who signed it.
    pub const fn peer(&self) -> Party {
        match self {
            Self::OfferMade(offer) => offer.heading().consumer,
            Self::OfferAccepted(offer) => offer.heading().provider,
            Self::ReceiptReceived(receipt) => receipt.heading().consumer,
            Self::ReceiptGiven(receipt) => receipt.heading().provider,
            Self::Equivocation(proof) => proof.receipts().0.heading().consumer,
        }
    }

    /// Whether this record can stand in the log with this header.
    pub fn belongs_to(&self, header: &Header) -> bool {
        let (heading, owner) = match self {
            Self::OfferMade(offer) => (offer.heading(), offer.heading().provider),
            Self::OfferAccepted(offer) => (offer.heading(), offer.heading().consumer),
            Self::ReceiptReceived(receipt) => (receipt.heading(), receipt.heading().provider),
            Self::ReceiptGiven(receipt) => (receipt.heading(), receipt.heading().consumer),
            Self::Equivocation(proof) => {
                let heading = proof.receipts().0.heading();
                let is_consumer = heading.consumer == header.owner;
                (
                    heading,
                    if is_consumer {
                        heading.consumer
                    } else {
                        heading.provider
                    },
                )
            }
        };
        heading.network == header.network && owner == header.owner
    }

    /// Whether the record must be on disk before anything that follows it is given out.
    ///
    /// Offers and proofs must: an offer says that its epoch exists, and a node signs only in epochs
    /// whose offer it got in the present run, so no place is signed twice whatever else is lost.
    /// Receipts may wait in memory, and of one epoch only the newest is worth writing: what a loss
    /// of power takes, the other side has. Otherwise records reach the file in the order in which
    /// they were given out; an urgent one takes along what waits before it.
    pub const fn is_urgent(&self) -> bool {
        match self {
            Self::OfferMade(_) | Self::OfferAccepted(_) | Self::Equivocation(_) => true,
            Self::ReceiptReceived(_) | Self::ReceiptGiven(_) => false,
        }
    }

    /// Checks every signature in the record.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self) -> Result<(), BadSignature> {
        match self {
            Self::OfferMade(offer) | Self::OfferAccepted(offer) => offer.verify(),
            Self::ReceiptReceived(receipt) | Self::ReceiptGiven(receipt) => receipt.verify(),
            Self::Equivocation(proof) => proof.verify(),
        }
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::OfferMade(_) => 1,
            Self::OfferAccepted(_) => 2,
            Self::ReceiptReceived(_) => 3,
            Self::ReceiptGiven(_) => 4,
            Self::Equivocation(_) => 5,
        }
    }

    /// Every kind has one length, so that a damaged length cannot lead a reader astray.
    const fn payload_len(kind: u8) -> Option<usize> {
        match kind {
            1 | 2 => Some(Offer::LEN),
            3 | 4 => Some(Receipt::LEN),
            5 => Some(Equivocation::LEN),
            _ => None,
        }
    }

    fn payload(&self) -> Vec<u8> {
        match self {
            Self::OfferMade(offer) | Self::OfferAccepted(offer) => offer.to_bytes(),
            Self::ReceiptReceived(receipt) | Self::ReceiptGiven(receipt) => receipt.to_bytes(),
            Self::Equivocation(proof) => proof.to_bytes(),
        }
    }

    fn parse(kind: u8, payload: &[u8]) -> Result<Self, ParseError> {
        match kind {
            1 => Offer::parse(payload).map(Self::OfferMade),
            2 => Offer::parse(payload).map(Self::OfferAccepted),
            3 => Receipt::parse(payload).map(Self::ReceiptReceived),
            4 => Receipt::parse(payload).map(Self::ReceiptGiven),
            5 => Equivocation::parse(payload).map(|proof| Self::Equivocation(Box::new(proof))),
            other => Err(ParseError::Kind(other)),
        }
    }
}

/// SHA-256 of the record before.
type ChainHash = [u8; 32];

fn chain_hash(bytes: &[u8]) -> ChainHash {
    Sha256::digest(bytes).into()
}

/// Turns records into bytes to append. Remembers the last record's hash and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writer {
    last: ChainHash,
}

impl Writer {
    /// The writer of an empty log, and the header to begin the file with.
    pub fn create(header: &Header) -> (Self, Vec<u8>) {
        let bytes = header.to_bytes();
        (
            Self {
                last: chain_hash(&bytes),
            },
            bytes,
        )
    }

    /// The bytes to append for `record`. They must reach the file whole and in this order.
    pub fn append(&mut self, record: &Record) -> Vec<u8> {
        let payload = record.payload();
        #[expect(
            clippy::expect_used,
            reason = "a payload is at most two receipts, 512 bytes"
        )]
        let length = u16::try_from(payload.len()).expect("every record kind is short");
        let mut start = [0; 4];
        let [length_low, length_high] = length.to_le_bytes();
        start.copy_from_slice(&[length_low, length_high, record.kind(), 0]);
        let mut out = Vec::with_capacity(FRAME_LEN + payload.len());
        out.extend(start);
        out.extend(checksum(&[&start, &self.last, &payload]).to_le_bytes());
        out.extend(self.last);
        out.extend(payload);
        self.last = chain_hash(&out);
        out
    }
}

/// One record as it lies in the file.
struct Frame {
    record: Record,
    previous: ChainHash,
    hash: ChainHash,
    len: usize,
}

impl Frame {
    /// Reads the record at the start of `bytes`.
    fn read(bytes: &[u8]) -> Result<Self, CutReason> {
        let mut reader = Reader::new(bytes);
        let start: [u8; 4] = reader.array().map_err(|_| CutReason::Incomplete)?;
        let [length_low, length_high, kind, zero] = start;
        let length = usize::from(u16::from_le_bytes([length_low, length_high]));
        if zero != 0 || Record::payload_len(kind) != Some(length) {
            return Err(CutReason::NotARecord);
        }
        let (crc, previous, payload) =
            Self::body(&mut reader, length).map_err(|_| CutReason::Incomplete)?;
        if crc != checksum(&[&start, &previous, payload]) {
            return Err(CutReason::Checksum);
        }
        let record = Record::parse(kind, payload).map_err(CutReason::Content)?;
        let len = FRAME_LEN + length;
        let hash = chain_hash(bytes.split_at(len).0);
        Ok(Self {
            record,
            previous,
            hash,
            len,
        })
    }

    fn body<'a>(
        reader: &mut Reader<'a>,
        length: usize,
    ) -> Result<(u32, ChainHash, &'a [u8]), ParseError> {
        Ok((reader.u32()?, reader.array()?, reader.bytes(length)?))
    }
}

fn checksum(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}
