//! `doctor`: what is wrong with interfaces, radios and system, and what to do about it.

use serde::{Deserialize, Serialize};

/// Everything found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doctor {
    /// [`crate::SCHEMA`].
    pub schema: u32,
    /// The most severe first; empty when all is well.
    pub findings: Vec<Finding>,
}

impl Doctor {
    /// Whether anything found is a [`Severity::Error`]. `meshctl doctor` then ends with
    /// [`crate::Exit::Failure`].
    #[must_use]
    pub fn has_errors(&self) -> bool {
        let mut severities = self.findings.iter().map(|finding| finding.severity);
        severities.any(|severity| severity == Severity::Error)
    }
}

/// One thing that is not as it should be. Each text is one line, and may repeat what other nodes
/// chose: untrusted text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about: `mesh0`, `phy1`, `regulatory domain`.
    pub subject: String,
    /// What is wrong.
    pub problem: String,
    /// What to do about it; empty when there is nothing to be done.
    pub advice: String,
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
