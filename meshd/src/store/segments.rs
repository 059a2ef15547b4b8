//! The receipt log as files: `00000001.log`, `00000002.log` and so on in a directory of their own.
//!
//! Only the last one is appended to. When the log has grown enough, what is worth keeping is written
//! to new segments under temporary names; these are renamed, and only then are the old ones removed.
//! Whatever of this a crash leaves is read as a whole: a record that stands twice counts once.
//!
//! Reading repairs nothing, so it works on a file system that cannot be written.

use std::collections::BTreeMap;
use std::io;

use receipts::State;
use receipts::log::{
    ChainHash, CutReason, Header, HeaderError, Heads, Record, Recovered, SegmentHeader, Writer,
    recover,
};
use tracing::debug;

use super::disk::Disk;
use super::recovery::Finding;

/// When a new segment begins: what a router may hold in memory several times.
pub(super) const SEGMENT_BYTES: u64 = 256 * 1024;
/// What is read of a file at once, and longer than any segment: it ends with the batch that makes it too
/// long.
const MAX_READ_BYTES: u64 = 1024 * 1024;
/// Records that are written at once, 552 bytes at most each.
const MAX_BATCH: usize = 1024;
/// A file longer than this is not looked through: it is none of ours, and it would take too long.
const MAX_FILE_BYTES: u64 = 64 * MAX_READ_BYTES;
/// By how many segments the log outgrows what is worth keeping before it is written anew.
const SLACK_SEGMENTS: u64 = 4;
/// Ends the name of a segment that is being written.
const TEMPORARY: &str = ".tmp";
/// Ends the name of a segment that was replaced because it was damaged.
const DAMAGED: &str = ".damaged";

/// Where a record stands: number of the segment, and offset in it.
pub(super) type Place = (u64, u64);

/// A log on a disk.
#[derive(Debug)]
pub(super) struct SegmentLog<D> {
    disk: D,
    log: Header,
    /// When a new segment begins.
    segment_bytes: u64,
    /// Those before the last one.
    sealed: BTreeMap<u64, Sealed>,
    last: Last,
    /// What compaction would leave of it, as of the last time that all of it was read.
    kept_bytes: u64,
    /// It is damaged: what can be used of it is to be written anew.
    is_damaged: bool,
}

#[derive(Debug)]
struct Sealed {
    bytes: u64,
    is_damaged: bool,
}

/// The segment that is appended to; of length 0 before the first record.
#[derive(Debug)]
struct Last {
    header: SegmentHeader,
    bytes: u64,
    writer: Writer,
    is_damaged: bool,
    /// Something stands behind `bytes` that the next record is to take the place of.
    is_torn: bool,
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// The file system refuses.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is not ours.
    #[error("{name}: {source}")]
    Foreign { name: String, source: HeaderError },
}

/// What was read of a log.
#[derive(Debug)]
pub(super) struct Opened<D> {
    pub(super) log: SegmentLog<D>,
    pub(super) state: State,
    pub(super) findings: Vec<Finding>,
}

fn name_of(number: u64) -> String {
    format!("{number:08}.log")
}

fn number_of(name: &str) -> Option<u64> {
    /// There are no more in a thousand years; behind it there is room for numbers that follow.
    const MAX: u64 = u64::MAX / 2;
    let number: u64 = name.strip_suffix(".log")?.parse().ok()?;
    ((1..=MAX).contains(&number) && name_of(number) == name).then_some(number)
}

/// Reads a segment. What a file has beyond the length of one is looked through for records.
fn read_segment(disk: &impl Disk, expected: &SegmentHeader) -> Result<Recovered, OpenError> {
    let name = name_of(expected.number);
    let bytes = disk.read(&name, 0, MAX_READ_BYTES)?;
    let mut end = bytes.len() as u64;
    let recovered = recover(&bytes, expected);
    let mut recovered = recovered.map_err(|source| OpenError::Foreign {
        name: name.clone(),
        source,
    })?;
    if end == MAX_READ_BYTES && !disk.read(&name, MAX_FILE_BYTES, 1)?.is_empty() {
        let problem = format!("{name} is longer than {MAX_FILE_BYTES} bytes: move it away");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem).into());
    }
    while end >= MAX_READ_BYTES {
        let start = recovered.next_offset() as u64;
        let bytes = disk.read(&name, start, MAX_READ_BYTES)?;
        if start + bytes.len() as u64 <= end {
            break;
        }
        end = start + bytes.len() as u64;
        recovered.go_on(&bytes);
    }
    Ok(recovered)
}

impl Last {
    fn new(header: SegmentHeader) -> Self {
        Self {
            header,
            bytes: 0,
            writer: Writer::create(&header).0,
            is_damaged: false,
            is_torn: false,
        }
    }

    /// Whether there is anything of it to be read.
    const fn is_there(&self) -> bool {
        self.bytes > 0 || self.is_damaged
    }

    /// The segment that follows.
    fn next(&self) -> Self {
        Self::new(SegmentHeader {
            log: self.header.log,
            number: self.header.number + 1,
            previous: self.writer.last(),
        })
    }
}

impl<D: Disk> SegmentLog<D> {
    /// Reads a log, one segment at a time. A segment ends with the record with which it has
    /// `segment_bytes` or more.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(super) fn open(disk: D, log: Header, segment_bytes: u64) -> Result<Opened<D>, OpenError> {
        let mut numbers: Vec<u64> = disk
            .names()?
            .iter()
            .filter_map(|it| number_of(it))
            .collect();
        numbers.sort_unstable();
        let mut reading = Reading::new(disk, log, segment_bytes);
        for number in numbers {
            let expected = reading.expected(number);
            let recovered = read_segment(&reading.log.disk, &expected)?;
            reading.take_in(recovered);
        }
        Ok(reading.finish())
    }

    /// Writes records behind the others; they are on the disk when this returns.
    ///
    /// # Errors
    /// The file system refuses. Then the last of the records are not in the log, or none; to write all
    /// of them again does no harm.
    pub(super) fn append(&mut self, records: &[Record]) -> io::Result<()> {
        let mut batches = records.chunks(MAX_BATCH);
        batches.try_for_each(|batch| self.append_batch(batch))
    }

    fn append_batch(&mut self, records: &[Record]) -> io::Result<()> {
        if self.is_full() && !self.last.is_torn {
            self.go_on_in(self.last.next());
        }
        let mut writer = self.last.writer.clone();
        let mut bytes = Vec::new();
        if self.last.bytes == 0 {
            bytes = self.last.header.to_bytes();
        }
        for record in records {
            bytes.extend(writer.append(record));
        }
        let name = name_of(self.last.header.number);
        self.disk.write(&name, self.last.bytes, &bytes)?;
        if self.last.bytes == 0 {
            self.disk.sync()?;
        }
        self.last.is_torn = false;
        self.last.writer = writer;
        self.last.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Whether the next record begins a segment.
    pub(super) const fn is_full(&self) -> bool {
        self.last.bytes >= self.segment_bytes
    }

    /// From now on, `next` is appended to.
    fn go_on_in(&mut self, next: Last) {
        let before = std::mem::replace(&mut self.last, next);
        if before.is_there() {
            let sealed = Sealed {
                bytes: before.bytes,
                is_damaged: before.is_damaged,
            };
            self.sealed.insert(before.header.number, sealed);
        }
    }

    /// Whether the log should be written anew: it has grown by as much as it would shrink, or it is
    /// damaged. So each byte that is kept is written twice at most on average.
    pub(super) fn wants_compaction(&self) -> bool {
        let sealed: u64 = self.sealed.values().map(|segment| segment.bytes).sum();
        let limit = SLACK_SEGMENTS * self.segment_bytes + 2 * self.kept_bytes;
        self.is_damaged || sealed + self.last.bytes > limit
    }

    /// The number of the segment that is appended to.
    pub(super) const fn last_number(&self) -> u64 {
        self.last.header.number
    }

    fn numbers(&self) -> Vec<u64> {
        let last = self.last.is_there().then_some(self.last_number());
        self.sealed.keys().copied().chain(last).collect()
    }

    /// Writes what is worth keeping to new segments, and removes the others.
    ///
    /// # Errors
    /// The file system refuses. Then the log is as it was.
    pub(super) fn compact(&mut self) -> io::Result<()> {
        let selection = self.heads()?.to_keep();
        let kept_bytes = selection.stored_bytes as u64;
        let written = match self.write_anew(selection.at) {
            Ok(written) => written,
            Err(error) => {
                self.remove_temporaries();
                return Err(error);
            }
        };
        self.replace_by(written);
        self.kept_bytes = kept_bytes;
        self.is_damaged = false;
        Ok(())
    }

    /// When this is done, the old segments are superfluous.
    fn write_anew(&mut self, selected: Vec<Place>) -> io::Result<Vec<Last>> {
        let mut written = Vec::new();
        let mut last = Last::new(SegmentHeader {
            number: self.last_number() + 1,
            ..SegmentHeader::first(self.log)
        });
        let mut bytes = last.header.to_bytes();
        for (number, offset) in selected {
            let record = self.read(number, offset)?;
            if bytes.len() as u64 >= self.segment_bytes {
                self.write_temporary(&mut last, &bytes)?;
                let next = last.next();
                bytes = next.header.to_bytes();
                written.push(std::mem::replace(&mut last, next));
            }
            bytes.extend(last.writer.append(&record));
        }
        self.write_temporary(&mut last, &bytes)?;
        written.push(last);
        for segment in &written {
            let name = name_of(segment.header.number);
            self.disk.rename(&(name.clone() + TEMPORARY), &name)?;
        }
        self.disk.sync()?;
        Ok(written)
    }

    fn write_temporary(&mut self, segment: &mut Last, bytes: &[u8]) -> io::Result<()> {
        segment.bytes = bytes.len() as u64;
        let name = name_of(segment.header.number) + TEMPORARY;
        self.disk.write(&name, 0, bytes)
    }

    fn replace_by(&mut self, written: Vec<Last>) {
        let first = self.last_number() + 1;
        for segment in written {
            self.go_on_in(segment);
        }
        let kept = self.sealed.split_off(&first);
        let old = std::mem::replace(&mut self.sealed, kept);
        if old.values().any(|segment| segment.is_damaged) {
            self.remove_all(DAMAGED);
        }
        for (number, segment) in old {
            self.put_away(number, segment.is_damaged);
        }
    }

    /// What is left if this fails does no harm, and goes the next time.
    fn put_away(&mut self, number: u64, is_damaged: bool) {
        let name = name_of(number);
        let outcome = if is_damaged {
            self.disk.rename(&name, &(name.clone() + DAMAGED))
        } else {
            self.disk.remove(&name)
        };
        if let Err(error) = outcome {
            debug!(%error, name, "superfluous segment not removed");
        }
    }

    /// Removes what a crash in the middle of a compaction left.
    pub(super) fn remove_temporaries(&mut self) {
        self.remove_all(TEMPORARY);
    }

    fn remove_all(&mut self, ending: &str) {
        let names = self.disk.names().unwrap_or_default();
        for name in names.iter().filter(|name| name.ends_with(ending)) {
            if let Err(error) = self.disk.remove(name) {
                debug!(%error, name, "superfluous file not removed");
            }
        }
    }

    /// Notes where every record stands.
    pub(super) fn heads(&self) -> io::Result<Heads<Place>> {
        let mut heads = Heads::default();
        for number in self.numbers() {
            let expected = SegmentHeader {
                number,
                ..SegmentHeader::first(self.log)
            };
            let recovered = read_segment(&self.disk, &expected).map_err(io::Error::other)?;
            for (offset, record) in recovered.into_records() {
                heads.note(&record, (number, offset as u64));
            }
        }
        Ok(heads)
    }

    /// Reads one record.
    pub(super) fn read(&self, number: u64, offset: u64) -> io::Result<Record> {
        let max = Record::MAX_STORED_LEN as u64;
        let bytes = self.disk.read(&name_of(number), offset, max)?;
        Record::read(&bytes).map_err(io::Error::other)
    }
}

/// A log as far as it was read.
struct Reading<D> {
    log: SegmentLog<D>,
    state: State,
    heads: Heads<Place>,
    findings: Vec<Finding>,
}

impl<D: Disk> Reading<D> {
    fn new(disk: D, log: Header, segment_bytes: u64) -> Self {
        Self {
            log: SegmentLog {
                disk,
                log,
                segment_bytes,
                sealed: BTreeMap::new(),
                last: Last::new(SegmentHeader::first(log)),
                kept_bytes: 0,
                is_damaged: false,
            },
            state: State::new(log),
            heads: Heads::default(),
            findings: Vec::new(),
        }
    }

    /// What the header of a segment should be.
    fn expected(&self, number: u64) -> SegmentHeader {
        let before = &self.log.last;
        let previous = before.is_there().then(|| before.writer.last());
        SegmentHeader {
            log: self.log.log,
            number,
            previous: previous.unwrap_or(ChainHash::NONE),
        }
    }

    fn take_in(&mut self, recovered: Recovered) {
        self.check_place(&recovered.header);
        let segment = recovered.header.number;
        let mut last = Last::new(recovered.header);
        last.bytes = recovered.valid_len as u64;
        last.writer = recovered.writer.clone();
        last.is_damaged = recovered.cut.is_some();
        self.log.go_on_in(last);
        self.findings
            .extend(recovered.cut.map(|cut| Finding::Damaged {
                segment,
                cut,
                salvaged: recovered.salvaged.len(),
            }));
        for (offset, record) in recovered.into_records() {
            self.heads.note(&record, (segment, offset as u64));
            if self.state.apply(&record).is_err() {
                self.findings.push(Finding::OutOfRange { segment });
            }
        }
    }

    /// Looks whether something is missing in front of a segment.
    fn check_place(&mut self, header: &SegmentHeader) {
        let (before, number) = (&self.log.last, header.number);
        let first = if before.is_there() {
            before.header.number + 1
        } else {
            1
        };
        if header.previous == ChainHash::NONE {
            // A compaction wrote it: what it was written from is superfluous.
            self.findings
                .retain(|it| !matches!(it, Finding::Missing { .. } | Finding::Unchained { .. }));
            self.log.is_damaged |= before.is_there();
        } else if first < number {
            let last = number - 1;
            self.findings.push(Finding::Missing { first, last });
        } else if before.writer.last() != header.previous && !before.is_damaged {
            self.findings.push(Finding::Unchained { segment: number });
        }
    }

    fn finish(mut self) -> Opened<D> {
        self.judge_end();
        let is_healed = |finding: &Finding| match finding {
            Finding::Damaged { .. } | Finding::Missing { .. } | Finding::Unchained { .. } => false,
            Finding::TornEnd { .. } | Finding::OutOfRange { .. } | Finding::OldLog => true,
        };
        self.log.is_damaged |= !self.findings.iter().all(is_healed);
        self.log.kept_bytes = self.heads.to_keep().stored_bytes as u64;
        Opened {
            log: self.log,
            state: self.state,
            findings: self.findings,
        }
    }

    /// What is cut off at the end is written over, unless there are records in it, or more than a write
    /// can leave.
    fn judge_end(&mut self) {
        let last = &mut self.log.last;
        if !last.is_damaged {
            return;
        }
        if let Some(&Finding::Damaged {
            segment,
            cut,
            salvaged: 0,
        }) = self.findings.last()
            && cut.reason != CutReason::TooLong
        {
            self.findings.pop();
            self.findings.push(Finding::TornEnd { segment, cut });
            last.is_damaged = false;
            last.is_torn = true;
        } else {
            self.log.go_on_in(self.log.last.next());
        }
    }
}
