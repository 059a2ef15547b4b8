//! Where in the configuration a value is, and what is wrong with it there.

use std::borrow::Cow;
use std::fmt;

use super::error::{before_colon, printable};

/// One step from a value into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// To the value of a key.
    Key(String),
    /// To the value of a key's second occurrence.
    Repeated(String),
    /// To an item of a list, counted from 0.
    Index(usize),
}

/// The way from the document to a value, shown as `lan[1].prefixes[0]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Path(Vec<Step>);

impl Path {
    pub(super) fn steps(&self) -> &[Step] {
        &self.0
    }

    pub(super) fn key(&self, key: &str) -> Self {
        self.then(Step::Key(key.to_owned()))
    }

    pub(super) fn repeated(&self, key: &str) -> Self {
        self.then(Step::Repeated(key.to_owned()))
    }

    pub(super) fn index(&self, index: usize) -> Self {
        self.then(Step::Index(index))
    }

    fn then(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("document");
        }
        for (depth, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) | Step::Repeated(key) => {
                    let dot = if depth == 0 { "" } else { "." };
                    write!(f, "{dot}{}", printable(&before_colon(key)))?;
                }
            }
        }
        Ok(())
    }
}

/// What is wrong with the value at a path, and what would be right.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) path: Path,
    pub(super) what: String,
    pub(super) allowed: Cow<'static, str>,
}

impl Fault {
    pub(super) fn new(
        path: Path,
        what: impl Into<String>,
        allowed: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            path,
            what: what.into(),
            allowed: allowed.into(),
        }
    }
}
