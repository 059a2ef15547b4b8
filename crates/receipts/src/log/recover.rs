//! Reading a segment of our own log after whatever happened to it.
//!
//! Signatures are not checked here, except of what lies behind a damage: a router that had to
//! verify ten thousand receipts would need minutes to start.

use super::frame::Frame;
use super::{ChainHash, Header, HeaderError, Record, SegmentHeader, Writer};
use crate::codec::ParseError;

/// What a segment holds, and how to go on with the file.
///
/// To append, truncate the file to `valid_len`, write the bytes of `header` if that is 0, and then
/// what `writer` gives, beginning with `salvaged`. This is the same for a file that does not exist
/// yet, one that is sound, and one that is damaged.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// The header; what it should be if it is damaged.
    pub header: SegmentHeader,
    /// The records of the sound part.
    pub records: Vec<Record>,
    /// Records behind a damage whose signatures hold.
    pub salvaged: Vec<Record>,
    /// Where all of these stand.
    offsets: Vec<usize>,
    /// Where the last of them ends.
    used_len: usize,
    /// What was looked at.
    read_len: usize,
    /// Bytes at the start of the file that are sound.
    pub valid_len: usize,
    /// What was wrong behind them, if anything.
    pub cut: Option<Cut>,
    /// Writes the next record behind the sound part.
    pub writer: Writer,
}

/// A part of the file that could not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Why.
    pub reason: CutReason,
    /// Bytes that hold no usable record.
    pub lost_bytes: usize,
}

/// Why a record, or the header, cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CutReason {
    /// The file ends inside it: a crash in the middle of a write.
    #[error("the last record is incomplete")]
    Incomplete,
    /// Its first bytes are not those of a record.
    #[error("not a record")]
    NotARecord,
    /// Its check sum does not match.
    #[error("check sum does not match")]
    Checksum,
    /// It is sound but does not follow the record before.
    #[error("does not follow the record before")]
    Chain,
    /// It is sound but its content is not.
    #[error("unusable content: {0}")]
    Content(ParseError),
    /// It is of another network or another node.
    #[error("belongs to another log")]
    Foreign,
    /// The header is not the one expected here, and nobody else's.
    #[error("the header is damaged")]
    Header,
    /// There is more of it than is read at once.
    #[error("longer than a segment is")]
    TooLong,
}

/// Reads a segment, or the first part of a file that is longer than one, of which log and number are
/// known; one that is empty was not begun. The predecessor in `expected` stands for the one in the file if that cannot be read; comparing the
/// two is left to the caller.
///
/// # Errors
/// [`HeaderError`] if it is certainly of another node or network, or of a later version: then the
/// file must not be touched. Anything else is a damage.
pub fn recover(segment: &[u8], expected: &SegmentHeader) -> Result<Recovered, HeaderError> {
    SegmentHeader::check_ours(segment, &expected.log)?;
    let mut recovered = begin(segment, expected);
    if recovered.valid_len > 0 {
        recovered.read_sound_part(segment);
    }
    recovered.used_len = recovered.valid_len;
    recovered.read_len = recovered.valid_len;
    if let Some(cut) = recovered.cut {
        let damaged = segment.split_at(recovered.valid_len).1;
        recovered.salvage(damaged, recovered.valid_len, cut.reason);
    }
    Ok(recovered)
}

fn begin(segment: &[u8], expected: &SegmentHeader) -> Recovered {
    let found = SegmentHeader::parse(segment).ok();
    let found = found.filter(|found| found.number == expected.number);
    let reason = match found {
        Some(_) => None,
        None if segment.is_empty() => None,
        None if segment.len() < SegmentHeader::LEN => Some(CutReason::Incomplete),
        None => Some(CutReason::Header),
    };
    let header = found.unwrap_or(*expected);
    Recovered {
        header,
        records: Vec::new(),
        salvaged: Vec::new(),
        offsets: Vec::new(),
        used_len: 0,
        read_len: 0,
        valid_len: found.map_or(0, |_| SegmentHeader::LEN),
        cut: reason.map(Cut::because),
        writer: Writer::create(&header).0,
    }
}

impl Cut {
    const fn because(reason: CutReason) -> Self {
        Self {
            reason,
            lost_bytes: 0,
        }
    }
}

impl Recovered {
    fn read_sound_part(&mut self, segment: &[u8]) {
        let mut rest = segment.split_at(self.valid_len).1;
        while !rest.is_empty() {
            match read_next(rest, self.writer.last(), &self.header.log) {
                Ok(frame) => {
                    self.writer.last = frame.hash;
                    rest = rest.split_at(frame.len).1;
                    self.offsets.push(self.valid_len);
                    self.valid_len += frame.len;
                    self.records.push(frame.record);
                }
                Err(reason) => {
                    self.cut = Some(Cut::because(reason));
                    break;
                }
            }
        }
    }

    /// Where the bytes begin that [`Self::go_on`] takes: as far in front of the end of what was read as
    /// a record may begin that was cut off there.
    pub fn next_offset(&self) -> usize {
        let cut_off = self.read_len.saturating_sub(Record::MAX_STORED_LEN - 1);
        cut_off.max(self.used_len)
    }

    /// Looks for records in what follows in the file, from [`Self::next_offset`] on. No segment is so long,
    /// so it is damaged, or somebody else wrote it.
    pub fn go_on(&mut self, bytes: &[u8]) {
        self.salvage(bytes, self.next_offset(), CutReason::TooLong);
    }

    fn salvage(&mut self, bytes: &[u8], start: usize, reason: CutReason) {
        let end = start + bytes.len();
        let mut lost_bytes = self.cut.map_or(0, |cut| cut.lost_bytes);
        lost_bytes += end.saturating_sub(self.read_len);
        for (offset, frame) in salvage(bytes, &self.header.log) {
            lost_bytes = lost_bytes.saturating_sub(frame.len);
            self.used_len = start + offset + frame.len;
            self.offsets.push(start + offset);
            self.salvaged.push(frame.record);
        }
        self.read_len = self.read_len.max(end);
        self.cut = Some(Cut { reason, lost_bytes });
    }

    /// The sound records, then those found behind a damage, each with the offset at which
    /// [`Record::read`] finds it.
    pub fn into_records(self) -> impl Iterator<Item = (usize, Record)> {
        let records = self.records.into_iter().chain(self.salvaged);
        self.offsets.into_iter().zip(records)
    }
}

fn read_next(bytes: &[u8], last: ChainHash, log: &Header) -> Result<Frame, CutReason> {
    let frame = Frame::read(bytes)?;
    if frame.previous != last {
        return Err(CutReason::Chain);
    }
    if !frame.record.belongs_to(log) {
        return Err(CutReason::Foreign);
    }
    Ok(frame)
}

/// Looks for records behind a damage. Their chain is broken, so only a valid signature counts.
fn salvage(bytes: &[u8], log: &Header) -> Vec<(usize, Frame)> {
    let mut salvaged = Vec::new();
    let mut offset = 0;
    while offset < bytes.len() {
        let frame = Frame::read(bytes.split_at(offset).1).ok();
        let sound = frame.filter(|it| it.record.belongs_to(log) && it.record.verify().is_ok());
        let len = sound.as_ref().map_or(1, |it| it.len);
        salvaged.extend(sound.map(|frame| (offset, frame)));
        offset += len;
    }
    salvaged
}
