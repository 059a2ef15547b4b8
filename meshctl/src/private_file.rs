//! Files that only their owner may read, unless they are for everybody, written whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Read and write for the owner.
const MODE: u32 = 0o600;

/// The same, and read for everybody.
const PUBLIC_MODE: u32 = 0o644;

/// Puts `bytes` where `path` says. Whatever goes wrong, a file that was there before is still
/// there, unchanged; a reader never sees half a file.
///
/// # Errors
/// What the file system said.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_with_mode(path, bytes, MODE)
}

/// As [`replace`], for everybody to read.
///
/// # Errors
/// What the file system said.
pub(crate) fn replace_public(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_with_mode(path, bytes, PUBLIC_MODE)
}

fn replace_with_mode(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let draft = draft_beside(path)?;
    // Of a process that had our number and was ended before it was done.
    remove_if_there(&draft)?;
    // A new file only: nobody's link is followed.
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&draft)?;
    if let Err(error) = write(file, bytes).and_then(|()| fs::rename(&draft, path)) {
        // The first error is the one to report.
        let _ = fs::remove_file(&draft);
        return Err(error);
    }
    sync_directory(path)
}

/// Removes what processes left that were ended while they wrote this file. Nobody else may be writing it: whoever
/// calls this holds a lock.
///
/// # Errors
/// What the file system said.
#[cfg(feature = "redeem")]
pub(crate) fn remove_drafts(path: &Path) -> io::Result<()> {
    let beginning = draft_beginning(path)?;
    for entry in fs::read_dir(directory(path))? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name
            .as_encoded_bytes()
            .strip_prefix(beginning.as_encoded_bytes());
        let number = number.and_then(|it| it.strip_suffix(END.as_bytes()));
        let is_draft = |number: &[u8]| !number.is_empty() && number.iter().all(u8::is_ascii_digit);
        if number.is_some_and(is_draft) {
            remove_if_there(&entry.path())?;
        }
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Behind the number of the process in the name of a draft.
const END: &str = ".tmp";

/// In the same directory, because a rename does not leave its file system.
fn draft_beside(path: &Path) -> io::Result<PathBuf> {
    let mut draft = draft_beginning(path)?;
    draft.push(std::process::id().to_string());
    draft.push(END);
    Ok(path.with_file_name(draft))
}

fn draft_beginning(path: &Path) -> io::Result<OsString> {
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not the name of a file",
        ));
    };
    let mut beginning = OsString::from(".");
    beginning.push(name);
    beginning.push(".");
    Ok(beginning)
}

fn write(mut file: File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
}

/// Without it a power cut may take the rename back.
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory(path))?.sync_all()
}

fn directory(path: &Path) -> &Path {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    directory.unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_of_the_same_number_left_is_in_nobodys_way() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let draft = draft_beside(&path).unwrap();
        // A link of somebody's is removed, and not followed.
        let elsewhere = directory.path().join("elsewhere");
        fs::write(&elsewhere, b"theirs").unwrap();
        std::os::unix::fs::symlink(&elsewhere, &draft).unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read(&elsewhere).unwrap(), b"theirs");
        assert!(!draft.exists());
    }

    #[cfg(feature = "redeem")]
    #[test]
    fn drafts_of_a_file_are_removed_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let name = |name: &str| directory.path().join(name);
        let others = [
            "wallet.json.pending",
            ".wallet.json.7.tmp",
            ".wallet.json.pending.tmp",
            ".wallet.json.pending..tmp",
            ".wallet.json.pending.x7.tmp",
            ".wallet.json.pending.7.tmp.bak",
        ];
        let drafts = [
            ".wallet.json.pending.7.tmp",
            ".wallet.json.pending.123456.tmp",
        ];
        for file in others.iter().chain(&drafts) {
            fs::write(name(file), b"").unwrap();
        }
        remove_drafts(&name("wallet.json.pending")).unwrap();
        for file in others {
            assert!(name(file).exists(), "{file}");
        }
        for file in drafts {
            assert!(!name(file).exists(), "{file}");
        }
    }
}
