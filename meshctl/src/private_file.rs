//! Files that only their owner may read, written whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Read and write for the owner.
const MODE: u32 = 0o600;

/// Puts `bytes` where `path` says. Whatever goes wrong, a file that was there before is still
/// there, unchanged; a reader never sees half a file.
///
/// # Errors
/// What the file system said.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = draft_beside(path)?;
    // A new file only: nobody's link is followed.
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(&draft)?;
    if let Err(error) = write(file, bytes).and_then(|()| fs::rename(&draft, path)) {
        // The first error is the one to report.
        let _ = fs::remove_file(&draft);
        return Err(error);
    }
    sync_directory(path)
}

/// In the same directory, because a rename does not leave its file system.
fn draft_beside(path: &Path) -> io::Result<PathBuf> {
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not the name of a file",
        ));
    };
    let mut draft = std::ffi::OsString::from(".");
    draft.push(name);
    draft.push(format!(".{}.tmp", std::process::id()));
    Ok(path.with_file_name(draft))
}

fn write(mut file: File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
}

/// Without it a power cut may take the rename back.
fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}
