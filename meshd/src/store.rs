//! The state directory: the lock that keeps two daemons apart, the receipt log, and the number
//! of starts.
//!
//! The log is written before anything that depends on it is sent, and synced: a node never signs
//! below what it signed, whatever happens to its power. A record is about 300 bytes and comes
//! once every few MiB of traffic, so the event loop waits for the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use receipts::log::{self, Header, HeaderError, Record, Writer};
use receipts::{NetworkId, Party, State};
use tracing::warn;

/// The receipt log in the state directory.
pub const LOG_FILE: &str = "receipts.log";
const LOCK_FILE: &str = "lock";
/// How often the node was started: decimal digits and a newline.
pub const EPOCH_FILE: &str = "epoch";
/// Receipts are nobody else's business.
const FILE_MODE: u32 = 0o600;

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

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { path, source }
}

/// The state directory, ours while this lives.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    log: LogFile,
    _lock: Flock<File>,
}

impl Store {
    /// Takes the directory, making it if it is missing, and reads the receipt log as far as it is
    /// sound. A damaged part is cut off and kept beside it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(
        directory: &Path,
        network: NetworkId,
        owner: Party,
    ) -> Result<(Self, State), StoreError> {
        fs::create_dir_all(directory).map_err(io_error(directory))?;
        let lock = lock(directory)?;
        let (log, state) = LogFile::open(directory.join(LOG_FILE), &Header { network, owner })?;
        let store = Self {
            directory: directory.to_owned(),
            log,
            _lock: lock,
        };
        Ok((store, state))
    }

    /// Begins another epoch: the number of this start. If the file cannot be read, counting
    /// begins anew; neighbors who remember more will tell.
    ///
    /// # Errors
    /// The number cannot be saved.
    pub fn begin_epoch(&self) -> Result<u32, StoreError> {
        let path = self.directory.join(EPOCH_FILE);
        let last = match fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes)
                .trim_end()
                .parse()
                .unwrap_or_else(|_| {
                    warn!(path = %path.display(), "not a number of starts, counting begins anew");
                    0
                }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(io_error(&path)(error)),
        };
        let epoch = u32::saturating_add(last, 1);
        self.save_epoch(epoch)?;
        Ok(epoch)
    }

    /// Keeps the number of the present epoch. The file is complete or the one before.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save_epoch(&self, epoch: u32) -> Result<(), StoreError> {
        let path = self.directory.join(EPOCH_FILE);
        let temporary = self.directory.join(format!(".{EPOCH_FILE}"));
        let write = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(FILE_MODE)
                .open(&temporary)?;
            writeln!(file, "{epoch}")?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(&self.directory)?.sync_all()
        };
        write().map_err(io_error(&path))
    }

    /// Appends a record and syncs it.
    ///
    /// # Errors
    /// The file system refuses; the record then is not in the log, and neither is any part of it.
    pub fn append(&mut self, record: &Record) -> Result<(), StoreError> {
        self.log.append(record).map_err(io_error(&self.log.path))
    }

    /// Bytes of the log that are complete records.
    pub const fn log_len(&self) -> u64 {
        self.log.len
    }

    /// At most `max` bytes of the log from `offset`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read_log(&mut self, offset: u64, max: usize) -> Result<Vec<u8>, StoreError> {
        self.log.read(offset, max).map_err(io_error(&self.log.path))
    }
}

fn lock(directory: &Path) -> Result<Flock<File>, StoreError> {
    let path = directory.join(LOCK_FILE);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(&path)
        .map_err(io_error(&path))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
        if errno == Errno::EWOULDBLOCK {
            StoreError::Locked(directory.to_owned())
        } else {
            StoreError::Io {
                path,
                source: errno.into(),
            }
        }
    })
}

#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: File,
    len: u64,
    writer: Writer,
}

impl LogFile {
    fn open(path: PathBuf, header: &Header) -> Result<(Self, State), StoreError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(&path)
            .map_err(io_error(&path))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io_error(&path))?;
        let recovered = log::recover(&bytes, header).map_err(|source| StoreError::ForeignLog {
            path: path.clone(),
            source,
        })?;
        if let Some(cut) = &recovered.cut {
            let kept = keep_damaged(&path, &bytes).map_err(io_error(&path))?;
            warn!(
                reason = %cut.reason,
                lost_bytes = cut.lost_bytes,
                salvaged_records = cut.salvaged,
                copy = %kept.display(),
                "receipt log was damaged and has been repaired"
            );
        }
        let valid_len = recovered.valid_len as u64;
        let mut log = Self {
            path,
            file,
            len: valid_len,
            writer: recovered.writer,
        };
        log.repair(&recovered.repair).map_err(io_error(&log.path))?;
        Ok((log, recovered.state))
    }

    /// Makes the file end behind its sound part, plus `repair`.
    fn repair(&mut self, repair: &[u8]) -> io::Result<()> {
        self.file.set_len(self.len)?;
        self.file.seek(SeekFrom::Start(self.len))?;
        self.file.write_all(repair)?;
        self.file.sync_all()?;
        self.len += repair.len() as u64;
        // The entry of a new file must reach the disk as well.
        match self.path.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    }

    fn append(&mut self, record: &Record) -> io::Result<()> {
        let mut writer = self.writer.clone();
        let bytes = writer.append(record);
        self.file.seek(SeekFrom::Start(self.len))?;
        let written = self
            .file
            .write_all(&bytes)
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // What was written in part must not stand before the next record.
            self.file.set_len(self.len)?;
            return Err(error);
        }
        self.writer = writer;
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn read(&mut self, offset: u64, max: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let rest = self.len.saturating_sub(offset);
        self.file.seek(SeekFrom::Start(offset))?;
        (&self.file)
            .take(rest.min(max as u64))
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Keeps a copy of a damaged log beside it: it may hold evidence. The newest one replaces the one
/// before, so that a broken disk does not fill up with copies.
fn keep_damaged(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let kept = path.with_extension("log.damaged");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(FILE_MODE)
        .open(&kept)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use receipts::{ContentHash, Offer, Price, Terms};

    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    fn network() -> NetworkId {
        NetworkId::from_name("village")
    }

    fn open(directory: &Path) -> Result<(Store, State), StoreError> {
        Store::open(directory, network(), Party::of(&key()))
    }

    fn record(epoch: u64) -> Record {
        let consumer = Party::of(&SigningKey::from_bytes(&[9; 32]));
        Record::OfferMade(Offer::sign(
            &key(),
            network(),
            consumer,
            epoch,
            Terms {
                gateway: Party::of(&key()),
                price: Price::new(5),
                credit_bytes: 1 << 20,
                previous: ContentHash::NONE,
            },
        ))
    }

    #[test]
    fn records_survive_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let (mut store, _) = open(directory.path()).unwrap();
        store.append(&record(1)).unwrap();
        store.append(&record(2)).unwrap();
        let written = store.read_log(0, usize::MAX).unwrap();
        drop(store);
        let (mut store, state) = open(directory.path()).unwrap();
        assert_eq!(store.read_log(0, usize::MAX).unwrap(), written);
        assert_eq!(state.providing().values().next().unwrap().newest_epoch(), 2);
    }

    #[test]
    fn a_cut_at_any_byte_loses_one_record_at_most_and_is_repaired() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(LOG_FILE);
        let (mut store, _) = open(directory.path()).unwrap();
        store.append(&record(1)).unwrap();
        let one = store.log_len();
        store.append(&record(2)).unwrap();
        let whole = store.read_log(0, usize::MAX).unwrap();
        drop(store);
        for len in usize::try_from(one).unwrap()..whole.len() {
            fs::write(&path, &whole[..len]).unwrap();
            let (mut store, state) = open(directory.path()).unwrap();
            assert_eq!(state.providing().values().next().unwrap().newest_epoch(), 1);
            assert_eq!(store.log_len(), one);
            store.append(&record(2)).unwrap();
            assert_eq!(
                store.read_log(0, usize::MAX).unwrap(),
                whole,
                "cut at {len}"
            );
        }
    }

    #[test]
    fn every_start_has_a_higher_epoch() {
        let directory = tempfile::tempdir().unwrap();
        for epoch in [1, 2, 3] {
            let (store, _) = open(directory.path()).unwrap();
            assert_eq!(store.begin_epoch().unwrap(), epoch);
        }
        let (store, _) = open(directory.path()).unwrap();
        store.save_epoch(77).unwrap();
        assert_eq!(store.begin_epoch().unwrap(), 78);
        fs::write(directory.path().join(EPOCH_FILE), "many\n").unwrap();
        assert_eq!(store.begin_epoch().unwrap(), 1, "neighbors will tell");
    }

    #[test]
    fn a_second_daemon_is_kept_out() {
        let directory = tempfile::tempdir().unwrap();
        let (store, _) = open(directory.path()).unwrap();
        assert!(matches!(open(directory.path()), Err(StoreError::Locked(_))));
        drop(store);
        assert!(open(directory.path()).is_ok());
    }

    #[test]
    fn the_log_of_another_node_is_not_touched() {
        let directory = tempfile::tempdir().unwrap();
        let (store, _) = open(directory.path()).unwrap();
        drop(store);
        let path = directory.path().join(LOG_FILE);
        let before = fs::read(&path).unwrap();
        let other = Party::of(&SigningKey::from_bytes(&[8; 32]));
        let refused = Store::open(directory.path(), network(), other);
        assert!(matches!(refused, Err(StoreError::ForeignLog { .. })));
        assert_eq!(fs::read(&path).unwrap(), before);
    }
}
