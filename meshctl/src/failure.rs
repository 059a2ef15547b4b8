//! Why a command ends early.

use std::io::{self, Write as _};
use std::path::Path;

use control_api::{ClientError, Exit};

use crate::format;

/// An exit code and what to say with it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// One line for standard error; `None` when all is said.
    pub(crate) message: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: Some(message.into()),
        }
    }

    pub(crate) const fn silent(exit: Exit) -> Self {
        Self {
            exit,
            message: None,
        }
    }

    /// Writes the line.
    pub(crate) fn say(&self) {
        if let Some(message) = &self.message {
            // Standard error gone: there is nobody left to tell.
            let _ = writeln!(io::stderr(), "meshctl: {}", format::harmless(message));
        }
    }

    /// A file could not be read or written.
    pub(crate) fn file(path: &Path, error: &io::Error) -> Self {
        let exit = if error.kind() == io::ErrorKind::NotFound {
            Exit::NotFound
        } else if error.kind() == io::ErrorKind::PermissionDenied {
            Exit::Permission
        } else {
            Exit::Failure
        };
        Self::new(exit, format!("{}: {error}", path.display()))
    }

    /// Standard output failed. A reader that has seen enough (`meshctl … | head`) is no failure.
    pub(crate) fn stdout(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::silent(Exit::Ok);
        }
        Self::new(Exit::Failure, format!("standard output: {error}"))
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::new(Exit::from(&error), error.to_string())
    }
}
