//! Reading our own log after whatever happened to it.
//!
//! Signatures are not checked here, except of what lies behind a damage: a router that had to
//! verify ten thousand receipts would need minutes to start.

use super::{Frame, Header, HeaderError, Record, Writer, chain_hash};
use crate::codec::ParseError;
use crate::state::State;

/// What a log holds, and how to go on with the file.
///
/// Truncate the file to `valid_len`, append `repair`, sync, and append from then on what `writer`
/// gives. This is the same for a file that does not exist yet, one that is sound, and one that is
/// damaged; keep a copy of a damaged one.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// The records of the sound part, then those found behind a damage.
    pub records: Vec<Record>,
    /// Bytes at the start of the file that are sound.
    pub valid_len: usize,
    /// What was wrong behind them, if anything.
    pub cut: Option<Cut>,
    /// Bytes to append after truncation: the header of a new file, the records found behind a
    /// damage. Empty for a sound log.
    pub repair: Vec<u8>,
    /// Where the accounts stand.
    pub state: State,
    /// Writes the next record.
    pub writer: Writer,
}

/// A part of the file that could not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Why.
    pub reason: CutReason,
    /// Bytes that hold no usable record.
    pub lost_bytes: usize,
    /// Records behind the damage that could still be used.
    pub salvaged: usize,
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
    /// An account's amount would leave the range.
    #[error("figures out of range")]
    Overflow,
    /// The header's check sum does not match.
    #[error("the header is damaged")]
    Header,
}

/// Reads the log of the node and network in `expected`; an empty `log` is a new one.
///
/// # Errors
/// [`HeaderError`] if this is not a log, or one of another node or network: then the file must not
/// be touched. A header that is only damaged is replaced.
pub fn recover(log: &[u8], expected: &Header) -> Result<Recovered, HeaderError> {
    let mut recovered = begin(log, expected)?;
    if recovered.valid_len > 0 {
        recovered.read_sound_part(log);
    }
    let damaged = log.split_at(recovered.valid_len).1;
    if let Some(cut) = &mut recovered.cut {
        cut.lost_bytes = damaged.len();
        recovered.salvage(damaged);
    }
    Ok(recovered)
}

fn begin(log: &[u8], expected: &Header) -> Result<Recovered, HeaderError> {
    let (writer, header) = Writer::create(expected);
    let mut recovered = Recovered {
        records: Vec::new(),
        valid_len: 0,
        cut: None,
        repair: header,
        state: State::new(*expected),
        writer,
    };
    match Header::parse(log) {
        Ok(found) if found == *expected => {
            recovered.valid_len = Header::LEN;
            recovered.repair.clear();
        }
        Ok(found) => return Err(HeaderError::Foreign(found)),
        Err(_) if log.is_empty() => {}
        Err(_) if expected.to_bytes().starts_with(log) => {
            recovered.cut = Some(Cut::because(CutReason::Incomplete));
        }
        // Anything that is not at least partly our header could be a file of somebody else.
        Err(HeaderError::NotALog) if !resembles(log, expected) => return Err(HeaderError::NotALog),
        Err(HeaderError::NotALog | HeaderError::Damaged) => {
            recovered.cut = Some(Cut::because(CutReason::Header));
        }
        Err(other @ (HeaderError::Version(_) | HeaderError::Foreign(_))) => return Err(other),
    }
    Ok(recovered)
}

/// Whether most bytes of the header are where they should be.
fn resembles(log: &[u8], expected: &Header) -> bool {
    let equal = expected
        .to_bytes()
        .iter()
        .zip(log)
        .filter(|(a, b)| a == b)
        .count();
    equal > Header::LEN / 2
}

impl Cut {
    const fn because(reason: CutReason) -> Self {
        Self {
            reason,
            lost_bytes: 0,
            salvaged: 0,
        }
    }
}

impl Recovered {
    fn read_sound_part(&mut self, log: &[u8]) {
        let (header, mut rest) = log.split_at(self.valid_len);
        let mut last = chain_hash(header);
        while !rest.is_empty() {
            match self.read_record(rest, last) {
                Ok(frame) => {
                    last = frame.hash;
                    rest = rest.split_at(frame.len).1;
                    self.valid_len += frame.len;
                    self.records.push(frame.record);
                }
                Err(reason) => {
                    self.cut = Some(Cut::because(reason));
                    break;
                }
            }
        }
        self.writer = Writer { last };
    }

    fn read_record(&mut self, bytes: &[u8], last: super::ChainHash) -> Result<Frame, CutReason> {
        let frame = Frame::read(bytes)?;
        if frame.previous != last {
            return Err(CutReason::Chain);
        }
        if !frame.record.belongs_to(self.state.header()) {
            return Err(CutReason::Foreign);
        }
        self.state
            .apply(&frame.record)
            .map_err(|_| CutReason::Overflow)?;
        Ok(frame)
    }

    /// Looks for records behind a damage. Their chain is broken, so only a valid signature counts.
    fn salvage(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let used = self.salvage_record(bytes);
            if let (Some(len), Some(cut)) = (used, &mut self.cut) {
                cut.salvaged += 1;
                cut.lost_bytes -= len;
            }
            bytes = bytes.split_at(used.unwrap_or(1)).1;
        }
    }

    /// The length of the usable record that `bytes` begins with.
    fn salvage_record(&mut self, bytes: &[u8]) -> Option<usize> {
        let frame = Frame::read(bytes).ok()?;
        if !frame.record.belongs_to(self.state.header()) || frame.record.verify().is_err() {
            return None;
        }
        self.state.apply(&frame.record).ok()?;
        self.repair.extend(self.writer.append(&frame.record));
        self.records.push(frame.record);
        Some(frame.len)
    }
}
