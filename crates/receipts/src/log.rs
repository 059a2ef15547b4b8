//! The append-only log, as a codec: bytes in, bytes out; the caller owns the files.
//!
//! A log is a sequence of segments, each a file of its own, numbered from 1.
//!
//! ```text
//! header of a segment, 104 bytes
//!      0    8  "MESHLOG\0"
//!      8    4  version, 2
//!     12   16  network
//!     28   32  owner: the node that wrote the log
//!     60    8  number of the segment, from 1
//!     68   32  SHA-256 of the last record of the segment before, whole; zeros: what stands before
//!              this segment, if anything, is not needed
//!    100    4  CRC-32 (IEEE) of bytes 0..100
//! record, 40 + length bytes
//!      0    2  length of the payload
//!      2    1  kind: 1 offer made, 2 offer accepted, 3 receipt received, 4 receipt given,
//!              5 equivocation, 6 end of an export
//!      3    1  zero
//!      4    4  CRC-32 of bytes 0..4 and 8..40+length
//!      8   32  SHA-256 of the record before, whole; of the header for the first record
//!     40       payload: offer 240, receipt 256, equivocation 512 bytes; end 8, the number of records
//! ```
//! The CRC tells an honest accident (a torn write, a worn flash cell), the chain of hashes tells
//! that no record was taken out or changed, and the signatures inside tell the rest.
//!
//! # Invariants
//! - A cut at any byte loses the last, incomplete record and nothing else.
//! - A flipped bit anywhere is detected.
//! - A log damaged in the middle keeps what follows: offers and receipts are signed, so they stand
//!   for themselves. Losing them would let a node sign below what it signed.
//! - An export is a segment, the first of a log of its own, with an end behind its last record. A
//!   segment can be verified like an export, but that it is whole nobody can tell.

mod buffer;
mod frame;
mod heads;
mod parts;
mod record;
mod recover;
mod segment;
mod verify;

pub use buffer::Buffer;
pub use frame::{ChainHash, Writer};
pub use heads::{Heads, Selection};
pub use record::Record;
pub use recover::{Cut, CutReason, Recovered, recover};
pub use segment::{Header, HeaderError, SegmentHeader};
pub use verify::{
    Fault, PairTotals, Report, Signatures, VerifyError, verify, verify_without_signatures,
};

use crate::heading::Heading;
use crate::identity::Party;

/// What receipts add up in: of these only the newest counts.
type Epoch = (Party, Party, u64);

const fn epoch_of(heading: &Heading) -> Epoch {
    (heading.provider, heading.consumer, heading.position.epoch)
}
