//! `log_level`: how much the daemon says.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The level from which on messages are logged; each has all of those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What does not work.
    Error,
    /// What an operator ought to put right.
    Warn,
    /// Changes that an operator wants to know of: the usual level.
    Info,
    /// Every change of state.
    Debug,
    /// Every packet.
    Trace,
}

/// A text that is no level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected error, warn, info, debug or trace")]
pub struct LogLevelError;

impl LogLevel {
    const ALL: [Self; 5] = [
        Self::Error,
        Self::Warn,
        Self::Info,
        Self::Debug,
        Self::Trace,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for LogLevel {
    type Err = LogLevelError;

    fn from_str(text: &str) -> Result<Self, LogLevelError> {
        let mut levels = Self::ALL.into_iter();
        levels.find(|it| it.name() == text).ok_or(LogLevelError)
    }
}

/// The level is in force until the next one or until the daemon ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLevelSet {
    /// [`crate::SCHEMA`].
    pub schema: u32,
    /// What is logged now.
    pub level: LogLevel,
}
