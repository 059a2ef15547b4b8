//! What the log proves, handed out in pieces: the newest receipts, what it takes to check them, and
//! proofs, those included that are not on the disk yet.
//!
//! An export is a log of one segment and has an end. It is made while it is handed out, so that it
//! takes little memory.

use std::io;
use std::vec;

use receipts::log::{Header, Record, SegmentHeader, Writer};

use super::disk::Disk;
use super::segments::{Place, SegmentLog};

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
    /// Records that are not on the disk, as of the beginning.
    unwritten: Vec<Record>,
    ahead: vec::IntoIter<Place>,
    /// How many records there are; none when the end is made.
    records: Option<u64>,
    writer: Writer,
    offset: u64,
    total_bytes: u64,
    /// Made, but not handed out.
    ready: Vec<u8>,
}

/// Stands for the number of the segment of what is in none yet; they are numbered from 1.
const UNWRITTEN: u64 = 0;

impl Export {
    /// Begins to export the log and what is not written yet.
    pub(super) fn begin<D: Disk>(
        number: u64,
        header: Header,
        log: &SegmentLog<D>,
        unwritten: &[Record],
    ) -> io::Result<Self> {
        let mut heads = log.heads()?;
        for (index, record) in (0..).zip(unwritten) {
            heads.note(record, (UNWRITTEN, index));
        }
        let selection = heads.to_prove();
        let (writer, ready) = Writer::create(&SegmentHeader::first(header));
        Ok(Self {
            number,
            unwritten: unwritten.to_vec(),
            total_bytes: (ready.len() + selection.stored_bytes + Writer::END_LEN) as u64,
            records: Some(selection.at.len() as u64),
            ahead: selection.at.into_iter(),
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
            && let Some((number, at)) = self.ahead.next()
        {
            let record = match number {
                UNWRITTEN => self.unwritten.get(at as usize).cloned(),
                number => Some(log.read(number, at)?),
            };
            self.ready
                .extend(record.iter().flat_map(|record| self.writer.append(record)));
        }
        if self.ready.len() < max
            && let Some(records) = self.records.take()
        {
            self.ready.extend(self.writer.clone().end(records));
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
