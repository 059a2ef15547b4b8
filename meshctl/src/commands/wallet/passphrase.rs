//! Passphrases and consent. They come from the terminal, so that standard input is free, or from a file.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use control_api::Exit;
use zeroize::Zeroizing;

use super::tell;
use crate::failure::Failure;
use crate::format;

/// Longer ones are no passphrases but other files.
const MOST_BYTES: usize = 4096;

/// Everybody but the owner.
const OTHERS: u32 = 0o077;

pub(super) type Passphrase = Zeroizing<String>;

/// Where passphrases come from.
#[derive(Debug)]
pub(super) struct Passphrases {
    file: Option<PathBuf>,
}

impl Passphrases {
    pub(super) const fn new(file: Option<PathBuf>) -> Self {
        Self { file }
    }

    /// The one of a file that exists.
    pub(super) fn known(&self) -> Result<Passphrase, Failure> {
        match &self.file {
            Some(file) => from_file(file),
            None => ask("Passphrase: "),
        }
    }

    /// A new one, which a person types twice.
    pub(super) fn new_one(&self) -> Result<Passphrase, Failure> {
        let passphrase = match &self.file {
            Some(file) => from_file(file)?,
            None => ask("New passphrase: ")?,
        };
        if passphrase.is_empty() {
            return Err(Failure::new(
                Exit::Usage,
                "an empty passphrase protects nothing",
            ));
        }
        if self.file.is_none() && *ask("The same again: ")? != *passphrase {
            return Err(Failure::new(Exit::Usage, "the two passphrases differ"));
        }
        Ok(passphrase)
    }
}

fn ask(prompt: &str) -> Result<Passphrase, Failure> {
    let answer = rpassword::prompt_password(prompt).map_err(|error| {
        let message = format!("no terminal to ask for a passphrase ({error}): --passphrase-file");
        Failure::new(Exit::Usage, message)
    });
    answer.map(Zeroizing::new)
}

fn from_file(path: &Path) -> Result<Passphrase, Failure> {
    let file = File::open(path).map_err(|error| Failure::file(path, &error))?;
    must_be_private(&file, path)?;
    let bytes = read_secret(file, MOST_BYTES).map_err(|error| Failure::file(path, &error))?;
    let line = bytes
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = str::from_utf8(line)
        .map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", path.display())))?;
    Ok(Zeroizing::new(line.to_owned()))
}

/// Reads a file through no buffer that stays behind: there is room for all from the beginning.
pub(super) fn read_secret(file: File, most_bytes: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(most_bytes.saturating_add(1)));
    file.take(most_bytes as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Refuses a file that others may read or write.
pub(super) fn must_be_private(file: &File, path: &Path) -> Result<(), Failure> {
    let metadata = file.metadata();
    let metadata = metadata.map_err(|error| Failure::file(path, &error))?;
    if metadata.mode() & OTHERS == 0 {
        return Ok(());
    }
    let path = path.display();
    let message = format!("{path}: others may read it; chmod 600 {path}");
    Err(Failure::new(Exit::Permission, message))
}

/// Asks whether to do what the text says.
///
/// # Errors
/// There is nobody to ask, or who is asked does not want it.
pub(super) fn consent(text: &str) -> Result<(), Failure> {
    let answer = ask_terminal(text).map_err(|_| {
        tell(text);
        let message = "no terminal to ask for consent: --yes";
        Failure::new(Exit::Usage, message)
    })?;
    match answer.trim() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::new(Exit::Failure, "nothing was sent")),
    }
}

fn ask_terminal(text: &str) -> io::Result<String> {
    let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    write!(terminal, "{} [y/N] ", format::harmless(text))?;
    terminal.flush()?;
    let mut answer = String::new();
    BufReader::new(terminal.take(MOST_BYTES as u64)).read_line(&mut answer)?;
    Ok(answer)
}
