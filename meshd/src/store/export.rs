//! What the log proves, handed out in pieces: the newest receipts, what it takes to check them, and
//! proofs, those included that are not on the disk yet.
//!
//! An export is a log of one segment. It is made while it is handed out, so it takes the memory of a
//! piece and a segment.

use std::io;

use receipts::log::{Header, Heads, Record, SegmentHeader, Writer};

use super::disk::Disk;
use super::segments::{SegmentLog, Sweep};

/// A piece of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Names the export that it is of.
    pub export: u64,
    /// Where it begins.
    pub offset: u64,
    /// The length of the export.
    pub total_bytes: u64,
    /// The bytes from `offset`.
    pub data: Vec<u8>,
}

/// An export of which a part was handed out.
#[derive(Debug)]
pub(super) struct Export {
    number: u64,
    sweep: Sweep,
    writer: Writer,
    offset: u64,
    total_bytes: u64,
    /// Made, but not handed out.
    ready: Vec<u8>,
}

impl Export {
    /// Begins to export the log and what is not written yet.
    pub(super) fn begin<D: Disk>(
        number: u64,
        header: Header,
        log: &SegmentLog<D>,
        unwritten: &[Record],
    ) -> io::Result<Self> {
        let mut heads = Heads::default();
        log.note(&mut heads)?;
        unwritten.iter().for_each(|record| heads.note(record));
        let selection = heads.to_prove();
        let (writer, ready) = Writer::create(&SegmentHeader::first(header));
        Ok(Self {
            number,
            total_bytes: (ready.len() + selection.stored_len()) as u64,
            sweep: log.sweep(selection, unwritten.to_vec()),
            writer,
            offset: 0,
            ready,
        })
    }

    /// Where the next piece begins.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// The next piece, of `max` bytes unless it is the last one.
    pub(super) fn next_piece<D: Disk>(
        &mut self,
        log: &SegmentLog<D>,
        max: usize,
    ) -> io::Result<Piece> {
        while self.ready.len() < max
            && let Some(record) = self.sweep.next(log)?
        {
            self.ready.extend(self.writer.append(&record));
        }
        let rest = self.ready.split_off(max.min(self.ready.len()));
        let data = std::mem::replace(&mut self.ready, rest);
        let offset = self.offset;
        self.offset += data.len() as u64;
        Ok(Piece {
            export: self.number,
            offset,
            total_bytes: self.total_bytes,
            data,
        })
    }
}
