//! Records as they lie in a file, each chained to the one before, and the end of an export.

use sha2::{Digest, Sha256};

use crate::codec::{ParseError, Reader};
use crate::offer::Offer;
use crate::receipt::{Equivocation, Receipt};

use super::{CutReason, Record, SegmentHeader};

/// What is in front of a payload.
const FRAME_LEN: usize = 40;

/// The kind of the end of an export; its payload is the number of records before it.
const END_KIND: u8 = 6;
const END_PAYLOAD_LEN: usize = 8;

/// Names a record, whole, or the header of a segment: SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainHash([u8; 32]);

impl ChainHash {
    /// Names nothing.
    pub const NONE: Self = Self([0; 32]);

    /// A hash that was read.
    pub const fn new(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The hash.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Turns records into bytes to append. Remembers the last record's hash and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writer {
    pub(super) last: ChainHash,
}

impl Writer {
    /// The writer of an empty segment, and the header to begin the file with.
    pub fn create(header: &SegmentHeader) -> (Self, Vec<u8>) {
        let bytes = header.to_bytes();
        let last = ChainHash::of(&bytes);
        (Self { last }, bytes)
    }

    /// What the header of the next segment names.
    pub const fn last(&self) -> ChainHash {
        self.last
    }

    /// The length of what [`Self::end`] gives.
    pub const END_LEN: usize = FRAME_LEN + END_PAYLOAD_LEN;

    /// The bytes to append for `record`. They must reach the file whole and in this order.
    pub fn append(&mut self, record: &Record) -> Vec<u8> {
        self.frame(record.kind(), &record.payload())
    }

    /// The last bytes of an export of so many records. Without them, nobody could tell one that was cut
    /// off between two records from a whole one.
    pub fn end(mut self, records: u64) -> Vec<u8> {
        self.frame(END_KIND, &records.to_le_bytes())
    }

    fn frame(&mut self, kind: u8, payload: &[u8]) -> Vec<u8> {
        #[expect(
            clippy::expect_used,
            reason = "a payload is at most two receipts, 512 bytes"
        )]
        let length = u16::try_from(payload.len()).expect("every record kind is short");
        let mut start = [0; 4];
        let [length_low, length_high] = length.to_le_bytes();
        start.copy_from_slice(&[length_low, length_high, kind, 0]);
        let mut out = Vec::with_capacity(FRAME_LEN + payload.len());
        out.extend(start);
        out.extend(checksum(&[&start, &self.last.0, payload]).to_le_bytes());
        out.extend(self.last.0);
        out.extend(payload);
        self.last = ChainHash::of(&out);
        out
    }
}

impl Record {
    /// The most bytes that a record has in a file.
    pub const MAX_STORED_LEN: usize = Self::PROOF_LEN;
    pub(super) const OFFER_LEN: usize = FRAME_LEN + Offer::LEN;
    pub(super) const RECEIPT_LEN: usize = FRAME_LEN + Receipt::LEN;
    pub(super) const PROOF_LEN: usize = FRAME_LEN + Equivocation::LEN;

    /// How many bytes this one has in a file.
    pub(super) const fn stored_len(&self) -> usize {
        match self {
            Self::OfferMade(_) | Self::OfferAccepted(_) => Self::OFFER_LEN,
            Self::ReceiptReceived(_) | Self::ReceiptGiven(_) => Self::RECEIPT_LEN,
            Self::Equivocation(_) => Self::PROOF_LEN,
        }
    }

    /// Reads the record at the start of `bytes`, whatever stands before and behind it.
    ///
    /// # Errors
    /// [`CutReason`].
    pub fn read(bytes: &[u8]) -> Result<Self, CutReason> {
        Frame::read(bytes).map(|frame| frame.record)
    }
}

/// What follows a header.
#[expect(
    clippy::large_enum_variant,
    reason = "taken apart where it is read, and nearly always a record"
)]
pub(super) enum Entry {
    Record(Frame),
    End(End),
}

/// The end of an export.
pub(super) struct End {
    pub(super) previous: ChainHash,
    /// Records before it.
    pub(super) records: u64,
}

/// One record as it lies in the file.
pub(super) struct Frame {
    pub(super) record: Record,
    pub(super) previous: ChainHash,
    pub(super) hash: ChainHash,
    pub(super) len: usize,
}

impl Frame {
    /// Reads the record at the start of `bytes`. Only an export has an end; behind one in a segment,
    /// records go on in its place.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, CutReason> {
        match Entry::read(bytes)? {
            Entry::Record(frame) => Ok(frame),
            Entry::End(_) => Err(CutReason::NotARecord),
        }
    }
}

impl Entry {
    /// Reads what stands at the start of `bytes`.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, CutReason> {
        let mut reader = Reader::new(bytes);
        let start: [u8; 4] = reader.array().map_err(|_| CutReason::Incomplete)?;
        let [length_low, length_high, kind, zero] = start;
        let length = usize::from(u16::from_le_bytes([length_low, length_high]));
        if zero != 0 || Self::payload_len(kind) != Some(length) {
            return Err(CutReason::NotARecord);
        }
        let (crc, previous, payload) =
            Self::body(&mut reader, length).map_err(|_| CutReason::Incomplete)?;
        if crc != checksum(&[&start, &previous.0, payload]) {
            return Err(CutReason::Checksum);
        }
        if kind == END_KIND {
            let records = Reader::new(payload).u64().map_err(CutReason::Content)?;
            return Ok(Self::End(End { previous, records }));
        }
        let record = Record::parse(kind, payload).map_err(CutReason::Content)?;
        let len = FRAME_LEN + length;
        let hash = ChainHash::of(bytes.split_at(len).0);
        Ok(Self::Record(Frame {
            record,
            previous,
            hash,
            len,
        }))
    }

    const fn payload_len(kind: u8) -> Option<usize> {
        match kind {
            END_KIND => Some(END_PAYLOAD_LEN),
            other => Record::payload_len(other),
        }
    }

    fn body<'a>(
        reader: &mut Reader<'a>,
        length: usize,
    ) -> Result<(u32, ChainHash, &'a [u8]), ParseError> {
        Ok((
            reader.u32()?,
            ChainHash(reader.array()?),
            reader.bytes(length)?,
        ))
    }
}

fn checksum(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}
