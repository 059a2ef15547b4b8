//! The receipts of other nodes, carried to where there is Internet.
//!
//! Who has none brings them here on a USB stick. Each owner has one file, `carried/OWNER.receipts`
//! in the state directory: an export, as its owner wrote it. It is there whole, or not at all.
//!
//! Checking a file means checking its signatures, which takes a small router a while: a thread of
//! its own does it, one file at a time. Nothing is remembered but what lies in the directory, so
//! that files may be taken away there.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use receipts::log::{self, Header, Report, VerifyError};
use receipts::{NetworkId, Party};

/// The longest file. The newest receipts of some 1800 epochs fit in.
const MAX_BYTES: usize = control_api::MAX_IMPORT_BYTES;
/// Files, and with them owners. Together they take no more flash than the node's own log.
const MAX_FILES: usize = 16;
/// In the state directory.
const DIRECTORY: &str = "carried";
const SUFFIX: &str = ".receipts";
/// Nobody else's business.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// Why a file is not taken, or not given.
#[derive(Debug, thiserror::Error)]
pub enum CarriedError {
    /// Empty or too long.
    #[error("a file to be carried has 1 to {MAX_BYTES} bytes, this one {0}")]
    Length(u64),
    /// The piece does not go on where the last one ended.
    #[error("another import has begun, or this piece is out of place: begin again")]
    OutOfPlace,
    /// The file before is not checked yet.
    #[error("another file is being checked, try again in a moment")]
    Busy,
    /// Its content does not hold.
    #[error("the file is not kept: {0}")]
    Invalid(#[from] VerifyError),
    /// Of another mesh.
    #[error("the receipts are of network {}, not of this one", .0.network)]
    ForeignNetwork(Header),
    /// Of this node.
    #[error("these are the receipts of this node itself")]
    Own,
    /// As many are carried as there is room for.
    #[error("the receipts of {MAX_FILES} nodes are carried already: take some away from {}", .0.display())]
    TooMany(PathBuf),
    /// Neither file holds all of the other.
    #[error(
        "{} holds receipts that this file lacks or contradicts: export them first, then take that \
         file away", .0.display()
    )]
    Differs(PathBuf),
    /// Nothing is carried for this owner.
    #[error("no receipts of node {0} are carried")]
    NotFound(Party),
    /// The file system refuses.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> CarriedError {
    let path = path.to_owned();
    move |source| CarriedError::Io { path, source }
}

/// What an imported file meant for the one of the same owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptAs {
    /// There was none.
    New,
    /// It has more, and took its place; or the old one was damaged.
    Newer,
    /// It has nothing more, and was not kept.
    Held,
}

/// What became of an imported file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Whose receipts it holds.
    pub owner: Party,
    /// How many.
    pub receipts: usize,
    /// What it meant for the one before.
    pub outcome: KeptAs,
}

/// How far an import has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that have arrived.
    pub received_bytes: u64,
    /// What became of the file, once it has arrived whole.
    pub kept: Option<Kept>,
}

/// A part of a carried file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Another one when the file was replaced.
    pub generation: u64,
    /// The length of the file.
    pub total_bytes: u64,
    /// The bytes.
    pub data: Vec<u8>,
}

/// The carried files, and the one that is just arriving.
#[derive(Debug)]
pub struct Carried {
    shelf: Shelf,
    /// Grows with what arrives, to [`MAX_BYTES`] at most.
    arriving: Option<Arriving>,
    /// Checks the last one that arrived.
    checking: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Arriving {
    total: u64,
    bytes: Vec<u8>,
}

impl Carried {
    /// The files in the state directory of node `me` in `network`.
    pub fn within(state: &Path, network: NetworkId, me: Party) -> Self {
        Self {
            shelf: Shelf {
                directory: state.join(DIRECTORY),
                network,
                me,
            },
            arriving: None,
            checking: None,
        }
    }

    /// The carried files.
    pub const fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// Takes a piece in. When the file is whole, it is checked and kept on another thread. `answer`
    /// is called once, here or there.
    pub fn import(
        &mut self,
        (offset, total_bytes): (u64, u64),
        data: &[u8],
        answer: impl FnOnce(Result<Progress, CarriedError>) + Send + 'static,
    ) {
        match self.receive(offset, total_bytes, data) {
            Ok(None) => answer(Ok(Progress {
                received_bytes: offset + data.len() as u64,
                kept: None,
            })),
            Ok(Some(whole)) => self.check(whole, answer),
            Err(error) => answer(Err(error)),
        }
    }

    /// The file, when this piece was the last one.
    fn receive(
        &mut self,
        offset: u64,
        total: u64,
        data: &[u8],
    ) -> Result<Option<Vec<u8>>, CarriedError> {
        if total == 0 || total > MAX_BYTES as u64 {
            return Err(CarriedError::Length(total));
        }
        let mut arriving = match self.arriving.take() {
            _ if offset == 0 => Arriving {
                total,
                bytes: Vec::new(),
            },
            Some(arriving) if arriving.is_next(offset, total) => arriving,
            other => {
                self.arriving = other;
                return Err(CarriedError::OutOfPlace);
            }
        };
        let end = offset.saturating_add(data.len() as u64);
        if data.is_empty() || end > total {
            return Err(CarriedError::OutOfPlace);
        }
        arriving.bytes.extend(data);
        if end == total {
            return Ok(Some(arriving.bytes));
        }
        self.arriving = Some(arriving);
        Ok(None)
    }

    fn check(
        &mut self,
        file: Vec<u8>,
        answer: impl FnOnce(Result<Progress, CarriedError>) + Send + 'static,
    ) {
        if self.checking.as_ref().is_some_and(|it| !it.is_finished()) {
            return answer(Err(CarriedError::Busy));
        }
        let shelf = self.shelf.clone();
        // The answer follows when there is a thread: one that cannot be started would take it along.
        let (sender, receiver) = mpsc::channel();
        let thread = thread::Builder::new().name("carried".to_owned());
        let started = thread.spawn(move || {
            let kept = shelf.keep(&file);
            let received_bytes = file.len() as u64;
            let progress = kept.map(|kept| Progress {
                received_bytes,
                kept: Some(kept),
            });
            if let Ok(answer) = receiver.recv() {
                let answer: Box<dyn FnOnce(_) + Send> = answer;
                answer(progress);
            }
        });
        match started {
            Ok(thread) => {
                self.checking = Some(thread);
                // It waits for it.
                let _ = sender.send(Box::new(answer));
            }
            Err(error) => answer(Err(io_error(&self.shelf.directory)(error))),
        }
    }
}

impl Arriving {
    fn is_next(&self, offset: u64, total: u64) -> bool {
        self.total == total && self.bytes.len() as u64 == offset
    }
}

/// The directory of carried files.
#[derive(Clone, Debug)]
pub struct Shelf {
    directory: PathBuf,
    network: NetworkId,
    me: Party,
}

impl Shelf {
    /// Checks a file completely and keeps it, unless one that holds as much is there. Whatever goes
    /// wrong, that one stays.
    ///
    /// # Errors
    /// See [`CarriedError`].
    pub fn keep(&self, file: &[u8]) -> Result<Kept, CarriedError> {
        if file.is_empty() || file.len() > MAX_BYTES {
            return Err(CarriedError::Length(file.len() as u64));
        }
        let report = log::verify(file)?;
        if report.header.network != self.network {
            return Err(CarriedError::ForeignNetwork(report.header));
        }
        let owner = report.header.owner;
        if owner == self.me {
            return Err(CarriedError::Own);
        }
        let outcome = self.compare(&report)?;
        if outcome != KeptAs::Held {
            self.write(&self.path(owner), file)?;
        }
        Ok(Kept {
            owner,
            receipts: report.receipts,
            outcome,
        })
    }

    fn compare(&self, new: &Report) -> Result<KeptAs, CarriedError> {
        let path = self.path(new.header.owner);
        let old = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if self.list()?.len() >= MAX_FILES {
                    return Err(CarriedError::TooMany(self.directory.clone()));
                }
                return Ok(KeptAs::New);
            }
            Err(error) => return Err(io_error(&path)(error)),
        };
        match log::verify(&old) {
            // One that says that it is whole is worth more than the same without an end.
            Ok(old) if old.covers(new) && !(new.has_end && !old.has_end && new.covers(&old)) => {
                Ok(KeptAs::Held)
            }
            Ok(old) if old.header == new.header && !new.covers(&old) => {
                Err(CarriedError::Differs(path))
            }
            // What the flash has damaged is worth less than a file that holds.
            Ok(_) | Err(_) => Ok(KeptAs::Newer),
        }
    }

    /// Whose files are carried, and their lengths, in the order of the owners.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn list(&self) -> Result<Vec<(Party, u64)>, CarriedError> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io_error(&self.directory)(error)),
        };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry.map_err(io_error(&self.directory))?;
            if let Some(owner) = entry.file_name().to_str().and_then(owner_of) {
                let metadata = entry.metadata().map_err(io_error(&entry.path()))?;
                files.push((owner, metadata.len()));
            }
        }
        files.sort_unstable();
        Ok(files)
    }

    /// At most `max` bytes of the file of `owner`, from `offset`.
    ///
    /// # Errors
    /// [`CarriedError::NotFound`]; [`CarriedError::OutOfPlace`] beyond its end; [`CarriedError::Io`].
    pub fn read(&self, owner: Party, offset: u64, max: usize) -> Result<Piece, CarriedError> {
        let path = self.path(owner);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(CarriedError::NotFound(owner));
            }
            Err(error) => return Err(io_error(&path)(error)),
        };
        let metadata = file.metadata().map_err(io_error(&path))?;
        if offset > metadata.len() {
            return Err(CarriedError::OutOfPlace);
        }
        let mut data = Vec::new();
        file.seek(SeekFrom::Start(offset))
            .and_then(|_| file.take(max as u64).read_to_end(&mut data))
            .map_err(io_error(&path))?;
        Ok(Piece {
            generation: metadata.ino(),
            total_bytes: metadata.len(),
            data,
        })
    }

    fn path(&self, owner: Party) -> PathBuf {
        self.directory.join(format!("{owner}{SUFFIX}"))
    }

    /// Puts the file in place: whole, or as it was before.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), CarriedError> {
        let draft = path.with_extension("draft");
        let written = self.write_draft(&draft, bytes);
        let placed = written.and_then(|()| fs::rename(&draft, path));
        if placed.is_err() {
            // It may not even exist; the first error is the one to report.
            let _ = fs::remove_file(&draft);
        }
        placed
            .and_then(|()| File::open(&self.directory)?.sync_all())
            .map_err(io_error(path))
    }

    fn write_draft(&self, draft: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut directory = DirBuilder::new();
        directory
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(&self.directory)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(FILE_MODE)
            .open(draft)?;
        file.write_all(bytes)?;
        file.sync_all()
    }
}

fn owner_of(file_name: &str) -> Option<Party> {
    let digits = file_name.strip_suffix(SUFFIX)?;
    let mut key = [0; 32];
    hex::decode_to_slice(digits, &mut key).ok()?;
    let owner = Party::new(key);
    // Upper-case digits would be another file of the same owner.
    (owner.to_string() == digits).then_some(owner)
}

#[cfg(test)]
mod tests;
