//! What the thread that writes to the disk does, without the thread: time and requests are
//! arguments, so tests need neither.
//!
//! What fails is tried again after [`RETRY_INTERVAL`]; until then everything is kept in memory, where
//! the newest receipt of an epoch takes the place of the one before.

use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use receipts::State;
use receipts::log::{Buffer, Header};
use tracing::{debug, warn};

use super::disk::Disk;
use super::epoch;
use super::export::{Export, Piece};
use super::recovery::Finding;
use super::segments::SegmentLog;
use super::{ExportError, LOG_DIRECTORY, StoreError};

/// How long receipts wait for others, so that one write serves many: what a power cut takes. A router's
/// flash lasts at this rate: a write costs a page or two of 4 KiB, so a day costs less than 2 MiB.
pub(super) const FLUSH_INTERVAL: Duration = Duration::from_secs(300);
/// When what failed is tried again.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// What the thread is asked to do.
#[derive(Default)]
pub(super) struct Mail {
    /// To be saved.
    pub(super) records: Buffer,
    /// How many were submitted so far.
    pub(super) submitted: u64,
    /// A number of starts to be saved.
    pub(super) epoch: Option<u32>,
    pub(super) exports: VecDeque<ExportRequest>,
    /// Nothing comes after this.
    pub(super) ends: bool,
}

/// A piece of an export that somebody waits for.
pub(super) struct ExportRequest {
    pub(super) offset: u64,
    pub(super) max: usize,
    pub(super) reply: Reply,
}

pub(super) type Reply = Box<dyn FnOnce(Result<Piece, ExportError>) + Send>;

impl fmt::Debug for ExportRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExportRequest at {}", self.offset)
    }
}

impl Mail {
    pub(super) fn is_empty(&self) -> bool {
        let Self {
            records,
            epoch,
            exports,
            ends,
            submitted: _,
        } = self;
        records.is_empty() && epoch.is_none() && exports.is_empty() && !ends
    }
}

/// How far the thread has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// So many of the records submitted are on the disk, or were replaced by newer ones that are.
    pub saved: u64,
    /// Why nothing can be saved, in the words shown to operators.
    pub problem: Option<String>,
    /// What was wrong with the log when it was read.
    pub findings: Vec<Finding>,
    /// The thread is at its end.
    pub ended: bool,
}

/// A state directory that could be opened.
pub(super) struct StateDirectory<D> {
    /// The state directory itself.
    pub(super) directory: D,
    pub(super) log: SegmentLog<D>,
    pub(super) state: State,
    pub(super) findings: Vec<Finding>,
}

/// Opens the state directory, however often it takes.
pub(super) type Opener<D> = Box<dyn FnMut() -> Result<StateDirectory<D>, StoreError> + Send>;

/// Where everything is saved.
struct Files<D> {
    directory: D,
    log: SegmentLog<D>,
}

pub(super) struct Keeper<D> {
    path: PathBuf,
    header: Header,
    open: Opener<D>,
    files: Option<Files<D>>,
    waiting: Buffer,
    submitted: u64,
    epoch: Option<u32>,
    /// The log may have to be put in order.
    is_untidy: bool,
    flush_at: Option<Instant>,
    retry_at: Option<Instant>,
    export: Option<Export>,
    exports: u64,
    progress: Progress,
}

impl<D: Disk> Keeper<D> {
    /// Opens the directory. If that fails, the state is that of a node without any account, and it
    /// is tried again.
    ///
    /// # Errors
    /// The directory is another daemon's or another node's.
    pub(super) fn start(
        now: Instant,
        path: &Path,
        header: Header,
        open: Opener<D>,
    ) -> Result<(Self, State), StoreError> {
        let mut keeper = Self {
            path: path.to_owned(),
            header,
            open,
            files: None,
            waiting: Buffer::default(),
            submitted: 0,
            epoch: None,
            is_untidy: false,
            flush_at: None,
            retry_at: None,
            export: None,
            exports: 0,
            progress: Progress::default(),
        };
        match keeper.open() {
            Ok(state) => Ok((keeper, state)),
            Err(error) if error.is_fatal() => Err(error),
            Err(error) => {
                keeper.fail(now, &error);
                Ok((keeper, State::new(header)))
            }
        }
    }

    fn open(&mut self) -> Result<State, StoreError> {
        let StateDirectory {
            directory,
            log,
            state,
            findings,
        } = (self.open)()?;
        self.files = Some(Files { directory, log });
        self.is_untidy = true;
        self.progress.findings = findings;
        Ok(state)
    }

    /// The number of the last start.
    pub(super) fn last_epoch(&self) -> u32 {
        self.files
            .as_ref()
            .map_or(0, |files| epoch::read(&files.directory))
    }

    pub(super) const fn progress(&self) -> &Progress {
        &self.progress
    }

    /// When [`Self::work`] has something to do without mail.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.retry_at.or(self.flush_at)
    }

    /// Does what is asked for and what is due. Returns the accounts of a log that could only be
    /// read now: what was submitted so far did not know of them, and is not in it.
    pub(super) fn work(&mut self, now: Instant, mail: Mail) -> Option<State> {
        let Mail {
            records,
            submitted,
            epoch,
            exports,
            ends,
        } = mail;
        if !records.is_empty() {
            self.flush_at.get_or_insert(now + FLUSH_INTERVAL);
        }
        records
            .records()
            .iter()
            .for_each(|record| self.waiting.push(record.clone()));
        self.submitted = submitted;
        self.epoch = epoch.or(self.epoch);
        let late = if self.is_due(now) || ends {
            self.save(now)
        } else {
            None
        };
        exports.into_iter().for_each(|request| self.answer(request));
        self.progress.ended = ends;
        late
    }

    fn is_due(&self, now: Instant) -> bool {
        match self.retry_at {
            Some(retry_at) => now >= retry_at,
            None => {
                self.epoch.is_some()
                    || self.waiting.is_urgent()
                    || self.is_untidy
                    || self.flush_at.is_some_and(|at| now >= at)
            }
        }
    }

    /// Saves everything that waits.
    fn save(&mut self, now: Instant) -> Option<State> {
        let mut late = None;
        if self.files.is_none() {
            match self.open() {
                Ok(state) if state == State::new(self.header) => {}
                Ok(state) => {
                    self.waiting = Buffer::default();
                    late = Some(state);
                }
                Err(error) => {
                    self.fail(now, &error);
                    return None;
                }
            }
        }
        match self.write() {
            Ok(()) => {
                self.flush_at = None;
                self.retry_at = None;
                self.progress.problem = None;
                self.progress.saved = self.submitted;
                self.tidy();
            }
            Err(error) => self.fail(now, &error),
        }
        late
    }

    fn write(&mut self) -> Result<(), StoreError> {
        let Some(Files { directory, log }) = &mut self.files else {
            return Ok(());
        };
        if let Some(number) = self.epoch {
            epoch::save(directory, number)
                .map_err(StoreError::at(&self.path.join(epoch::EPOCH_FILE)))?;
            self.epoch = None;
        }
        if !self.waiting.is_empty() {
            log.append(self.waiting.records())
                .map_err(StoreError::at(&self.path.join(LOG_DIRECTORY)))?;
            self.waiting = Buffer::default();
        }
        Ok(())
    }

    fn fail(&mut self, now: Instant, error: &StoreError) {
        self.retry_at = Some(now + RETRY_INTERVAL);
        self.progress.problem = Some(error.to_string());
    }

    /// Removes what a crash left, and writes the log anew if it has grown. That it cannot is no
    /// reason not to go on: it is tried again with the next segment.
    fn tidy(&mut self) {
        let Some(Files { log, .. }) = &mut self.files else {
            return;
        };
        if std::mem::take(&mut self.is_untidy) {
            log.remove_temporaries();
        } else if !log.is_full() {
            return;
        }
        if log.wants_compaction() {
            self.export = None;
            match log.compact() {
                Ok(()) => debug!(segment = log.last_number(), "receipt log compacted"),
                Err(error) => warn!(%error, "receipt log cannot be compacted"),
            }
        }
    }

    fn answer(&mut self, request: ExportRequest) {
        let ExportRequest { offset, max, reply } = request;
        reply(self.piece(offset, max));
    }

    fn piece(&mut self, offset: u64, max: usize) -> Result<Piece, ExportError> {
        let Some(Files { log, .. }) = &self.files else {
            let problem = self.progress.problem.clone();
            return Err(ExportError::Unreadable(problem.unwrap_or_default()));
        };
        let unreadable = |error: std::io::Error| ExportError::Unreadable(error.to_string());
        if offset == 0 {
            self.exports += 1;
            let unwritten = self.waiting.records();
            let begun = Export::begin(self.exports, self.header, log, unwritten);
            self.export = Some(begun.map_err(unreadable)?);
        }
        let export = self
            .export
            .as_mut()
            .filter(|export| export.offset() == offset);
        let export = export.ok_or(ExportError::Overtaken)?;
        export.next_piece(log, max).map_err(unreadable)
    }
}
