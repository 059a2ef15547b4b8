//! `doctor`: what is wrong with interfaces, radios and system, and what to do about it.

use serde::{Deserialize, Serialize};

use crate::Exit;

/// Everything found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doctor {
    /// [`crate::SCHEMA`].
    pub schema: u32,
    /// The most severe first; empty when all is well.
    pub findings: Vec<Finding>,
}

impl Doctor {
    /// Whether anything found is a [`Severity::Error`].
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.has(Severity::Error)
    }

    /// How `meshctl doctor` ends: [`Exit::Failure`] if something does not work, [`Exit::Degraded`] if
    /// something could be better.
    #[must_use]
    pub fn exit(&self) -> Exit {
        if self.has_errors() {
            Exit::Failure
        } else if self.has(Severity::Warning) {
            Exit::Degraded
        } else {
            Exit::Ok
        }
    }

    fn has(&self, severity: Severity) -> bool {
        self.findings.iter().any(|it| it.severity == severity)
    }
}

/// What `meshctl doctor --fix` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mended {
    /// [`crate::SCHEMA`].
    pub schema: u32,
    /// What was found and is found no more.
    pub mended: Vec<Finding>,
    /// What is still wrong, the most severe first.
    pub findings: Vec<Finding>,
}

/// One thing that is not as it should be. Each text is one line, and may repeat what other nodes
/// chose: untrusted text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The name of the check that found it, which stays the same: `uplink`, `sysctl`.
    #[serde(default)]
    pub check: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about: `mesh0`, `phy1`, `regulatory domain`.
    pub subject: String,
    /// What is wrong.
    pub problem: String,
    /// What to do about it; empty when there is nothing to be done.
    pub advice: String,
    /// Whether `meshctl doctor --fix` mends it.
    #[serde(default)]
    pub fixable: bool,
}

/// How bad something is, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something does not work.
    Error,
    /// It works, but worse than it could, or not for long.
    Warning,
    /// Worth knowing.
    Note,
}
