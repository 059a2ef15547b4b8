//! What the receipt log asks of a file system.

use std::fs::{self, DirEntry, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt};
use std::path::PathBuf;

/// Receipts are nobody else's business.
pub(super) const FILE_MODE: u32 = 0o600;

/// Files of one directory. Tests have one that loses power.
pub(super) trait Disk {
    /// The names of all files.
    fn names(&self) -> io::Result<Vec<String>>;

    /// At most `max` bytes of a file from `at`.
    fn read(&self, name: &str, at: u64, max: u64) -> io::Result<Vec<u8>>;

    /// Cuts a file to `at` bytes and writes `bytes` behind them; all of it is on the disk when this
    /// returns. The file is made if it is missing; its name is on the disk after [`Self::sync`].
    ///
    /// # Errors
    /// Then anything may be behind `at`.
    fn write(&mut self, name: &str, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Gives a file another name, in place of whatever had it.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&mut self, name: &str) -> io::Result<()>;

    /// Makes names last: of files made, renamed and removed.
    fn sync(&mut self) -> io::Result<()>;
}

/// A directory of the file system.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
}

impl Directory {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

impl Disk for Directory {
    fn names(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(&self.path)?.collect::<io::Result<Vec<_>>>()?;
        // To open a pipe would wait for somebody to write into it.
        let is_pipe = |entry: &DirEntry| entry.file_type().is_ok_and(|it| it.is_fifo());
        let names = entries.iter().filter(|entry| !is_pipe(entry));
        let names: Vec<_> = names.map(DirEntry::file_name).collect();
        // Ours are ASCII.
        Ok(names.into_iter().flat_map(|it| it.into_string()).collect())
    }

    fn read(&self, name: &str, at: u64, max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut file = File::open(self.path.join(name))?;
        file.seek(SeekFrom::Start(at))?;
        file.take(max).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn write(&mut self, name: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        let mut file = options.mode(FILE_MODE).open(self.path.join(name))?;
        file.set_len(at)?;
        file.seek(SeekFrom::Start(at))?;
        file.write_all(bytes)?;
        file.sync_data()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync(&mut self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}
