//! The state directory: the lock that keeps two daemons apart, the receipt log, and the number
//! of starts.
//!
//! | room | what lives there |
//! |---|---|
//! | this file | what the driver sees: submitting records, and messages that wait for them |
//! | `keeper` | when what is written, and what happens if it cannot be |
//! | `segments` | the log as files: reading, appending, compaction |
//! | `export` | the log handed out in pieces |
//! | `epoch` | the number of starts |
//! | `recovery` | what was wrong with the log |
//! | `disk` | what all of this asks of a file system |
//!
//! A thread of its own writes, so that nothing else ever waits for a disk. The two share a mailbox,
//! which holds of each epoch's receipts only the newest and so is bounded by the number of accounts.
//!
//! **Invariant: disk before air.** Nothing is sent to a neighbor while an urgent record about it
//! ([`Record::is_urgent`]) is not on the disk. Other neighbors do not wait for it.
//!
//! A disk that is full, broken or cannot be written to keeps nothing from going on but new epochs, which
//! are urgent: without one, what is carried is carried for nothing.

mod disk;
mod epoch;
mod export;
mod keeper;
#[cfg(test)]
mod model;
mod recovery;
mod segments;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use receipts::log::{Buffer, Header, HeaderError, Record};
use receipts::{NetworkId, Party, State};
use tokio::sync::watch;
use tracing::{debug, error};

use disk::Directory;
pub use epoch::EPOCH_FILE;
pub use export::Piece;
pub use keeper::Progress;
use keeper::{ExportRequest, Keeper, Mail, Opener, StateDirectory};
pub use recovery::Finding;
use segments::{OpenError, SEGMENT_BYTES, SegmentLog};

/// The directory of the receipt log in the state directory.
pub const LOG_DIRECTORY: &str = "receipts";
/// A log of the first version, which was one file.
const OLD_LOG_FILE: &str = "receipts.log";
/// Messages that wait for one neighbor's record. More are lost, as they may be in the air.
const MAX_HELD: usize = 16;

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another daemon uses it.
    #[error("{}: another meshd is running with this state directory", .0.display())]
    Locked(PathBuf),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The receipt log is not ours; it must not be touched.
    #[error("{}: {source}; move it away to begin a new one", path.display())]
    ForeignLog {
        /// The log.
        path: PathBuf,
        /// What is wrong.
        source: HeaderError,
    },
}

impl StoreError {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// Whether the daemon must not run, rather than run without a disk.
    const fn is_fatal(&self) -> bool {
        match self {
            Self::Locked(_) | Self::ForeignLog { .. } => true,
            Self::Io { .. } => false,
        }
    }
}

/// Why an export does not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// The log cannot be read.
    #[error("the receipt log cannot be read: {0}")]
    Unreadable(String),
    /// Another export was begun, or the log was compacted.
    #[error("the export was overtaken by another or by a compaction: begin again at 0")]
    Overtaken,
}

/// The state directory, ours while this lives. Dropping it saves what waits.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    progress: watch::Receiver<Progress>,
    thread: Option<thread::JoinHandle<()>>,
    last_epoch: u32,
    submitted: u64,
    held: BTreeMap<Party, Held>,
}

/// Messages to a neighbor that wait for a record.
#[derive(Debug, Default)]
struct Held {
    /// Until so many records are saved.
    until: u64,
    messages: VecDeque<Vec<u8>>,
}

impl Store {
    /// Takes the directory, making it if it is missing, and reads the receipt log as far as it is
    /// sound. What the file system refuses is tried again from time to time; until then the state
    /// is that of a node without accounts ([`Self::take_state`]).
    ///
    /// # Errors
    /// The directory is another daemon's or another node's. See [`StoreError`].
    pub fn open(
        directory: &Path,
        network: NetworkId,
        owner: Party,
    ) -> Result<(Self, State), StoreError> {
        let header = Header { network, owner };
        let opener = opener(directory.to_owned(), header);
        let (keeper, state) = Keeper::start(Instant::now(), directory, header, opener)?;
        let last_epoch = keeper.last_epoch();
        let shared = Arc::new(Shared::default());
        let (sender, progress) = watch::channel(keeper.progress().clone());
        let thread = {
            let shared = Arc::clone(&shared);
            let thread = thread::Builder::new().name("store".to_owned());
            thread.spawn(move || run(keeper, &shared, &sender))
        };
        let store = Self {
            shared,
            progress,
            thread: Some(thread.map_err(StoreError::at(directory))?),
            last_epoch,
            submitted: 0,
            held: BTreeMap::new(),
        };
        Ok((store, state))
    }

    /// Begins another epoch: the number of this start.
    pub fn begin_epoch(&self) -> u32 {
        let epoch = self.last_epoch.saturating_add(1);
        self.save_epoch(epoch);
        epoch
    }

    /// Keeps the number of the present epoch.
    pub fn save_epoch(&self, epoch: u32) {
        self.shared.send(|mail| mail.epoch = Some(epoch));
    }

    /// Has a record saved: at once if it is urgent, else within minutes.
    pub fn submit(&mut self, record: Record) {
        self.submitted += 1;
        if record.is_urgent() {
            self.held.entry(record.peer()).or_default().until = self.submitted;
        }
        self.shared.submit(self.submitted, record);
    }

    /// Gives back a message that may be sent, and keeps one that has to wait.
    pub fn hold_back(&mut self, to: Party, message: Vec<u8>) -> Option<Vec<u8>> {
        let Some(held) = self.held.get_mut(&to) else {
            return Some(message);
        };
        if held.messages.len() < MAX_HELD {
            held.messages.push_back(message);
        } else {
            debug!(%to, "receipt message lost: too many wait for the disk");
        }
        None
    }

    /// Messages that need not wait any longer, in the order in which they came.
    pub fn take_released(&mut self) -> Vec<(Party, Vec<u8>)> {
        let saved = self.progress.borrow_and_update().saved;
        let mut released = Vec::new();
        self.held.retain(|to, held| {
            let waits = held.until > saved;
            if !waits {
                released.extend(held.messages.drain(..).map(|message| (*to, message)));
            }
            waits
        });
        released
    }

    /// The accounts of a log that could not be read at first: the ledger is to begin anew with them.
    /// Nothing was sent that contradicts them, and what waited is forgotten.
    pub fn take_state(&mut self) -> Option<State> {
        let state = self.shared.lock().late.take()?;
        self.held.clear();
        Some(state)
    }

    /// Waits until [`Self::progress`] has changed.
    pub async fn changed(&mut self) {
        if self.progress.changed().await.is_err() {
            // The thread ended before us, which it does not do: there is nothing to wait for.
            std::future::pending().await
        }
    }

    /// How far saving has come.
    pub fn progress(&self) -> watch::Ref<'_, Progress> {
        self.progress.borrow()
    }

    /// Makes a piece of an export, of `max` bytes unless it is the last one, and gives it to `reply`.
    /// Pieces follow one another from offset 0.
    pub fn export(
        &self,
        offset: u64,
        max: usize,
        reply: impl FnOnce(Result<Piece, ExportError>) + Send + 'static,
    ) {
        let reply = Box::new(reply);
        let request = ExportRequest { offset, max, reply };
        self.shared.send(|mail| mail.exports.push_back(request));
    }

    /// Saves what waits, and lets go of the directory.
    ///
    /// # Errors
    /// It could not be saved, or takes longer than `patience`; then it is lost.
    pub async fn close(mut self, patience: Duration) -> anyhow::Result<()> {
        self.shared.send(|mail| mail.ends = true);
        let ended = self.progress.wait_for(|progress| progress.ended);
        let problem = match tokio::time::timeout(patience, ended).await {
            Ok(Ok(progress)) => progress.problem.clone(),
            Ok(Err(_)) => None,
            Err(_) => {
                // Whoever joined it would wait, too.
                self.thread = None;
                Some(format!("the disk does not answer within {patience:?}"))
            }
        };
        match problem {
            Some(problem) => Err(anyhow::Error::msg(problem)),
            None => Ok(()),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.shared.send(|mail| mail.ends = true);
            if thread.join().is_err() {
                error!("the thread that saves receipts has failed");
            }
        }
    }
}

/// What driver and thread share.
#[derive(Default)]
struct Shared {
    mailbox: Mutex<Mailbox>,
    filled: Condvar,
}

#[derive(Default)]
struct Mailbox {
    mail: Mail,
    /// Accounts that the ledger does not know of; until it does, its records are not taken.
    late: Option<State>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Mailbox> {
        // Nothing in here can be left half done.
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, change: impl FnOnce(&mut Mail)) {
        change(&mut self.lock().mail);
        self.filled.notify_one();
    }

    fn submit(&self, submitted: u64, record: Record) {
        let mut mailbox = self.lock();
        mailbox.mail.submitted = submitted;
        if mailbox.late.is_none() {
            mailbox.mail.records.push(record);
            self.filled.notify_one();
        }
    }

    fn hand_over(&self, late: State) {
        let mut mailbox = self.lock();
        mailbox.mail.records = Buffer::default();
        mailbox.late = Some(late);
    }

    /// Waits for mail, or until `deadline`.
    fn receive(&self, deadline: Option<Instant>) -> Mail {
        let mut mailbox = self.lock();
        while mailbox.mail.is_empty() {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let woken = match left {
                Some(Duration::ZERO) => break,
                Some(left) => {
                    let woken = self.filled.wait_timeout(mailbox, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let woken = self.filled.wait(mailbox);
                    woken.unwrap_or_else(PoisonError::into_inner)
                }
            };
            mailbox = woken;
        }
        let submitted = mailbox.mail.submitted;
        let next = Mail {
            submitted,
            ..Mail::default()
        };
        mem::replace(&mut mailbox.mail, next)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// The thread.
fn run(mut keeper: Keeper<Directory>, shared: &Shared, sender: &watch::Sender<Progress>) {
    let mut mail = Mail::default();
    loop {
        if let Some(late) = keeper.work(Instant::now(), mail) {
            // Before it is said that anything is saved.
            shared.hand_over(late);
        }
        let progress = keeper.progress();
        sender.send_if_modified(|known| {
            let is_news = known != progress;
            known.clone_from(progress);
            is_news
        });
        if progress.ended {
            return;
        }
        mail = shared.receive(keeper.deadline());
    }
}

/// Opens the state directory, and has it while it lives.
fn opener(directory: PathBuf, header: Header) -> Opener<Directory> {
    let mut locked = None;
    Box::new(move || {
        make(&directory)?;
        if locked.is_none() {
            locked = Some(lock(&directory)?);
        }
        let log = directory.join(LOG_DIRECTORY);
        make(&log)?;
        let opened = SegmentLog::open(Directory::new(log.clone()), header, SEGMENT_BYTES);
        let mut opened = opened.map_err(|error| match error {
            OpenError::Io(source) => StoreError::at(&log)(source),
            OpenError::Foreign { name, source } => StoreError::ForeignLog {
                path: log.join(name),
                source,
            },
        })?;
        if directory.join(OLD_LOG_FILE).exists() {
            opened.findings.push(Finding::OldLog);
        }
        Ok(StateDirectory {
            directory: Directory::new(directory.clone()),
            log: opened.log,
            state: opened.state,
            findings: opened.findings,
        })
    })
}

/// Makes a directory whose name outlasts a loss of power.
fn make(directory: &Path) -> Result<(), StoreError> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = directory.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory)
        .and_then(|()| File::open(parent)?.sync_all())
        .map_err(StoreError::at(directory))
}

/// Locks the directory itself: that works where no file can be made.
fn lock(directory: &Path) -> Result<Flock<File>, StoreError> {
    let file = File::open(directory).map_err(StoreError::at(directory))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
        if errno == Errno::EWOULDBLOCK {
            StoreError::Locked(directory.to_owned())
        } else {
            StoreError::at(directory)(errno.into())
        }
    })
}
