//! What an operator reads when the configuration is wrong: always exactly one line.

use std::borrow::Cow;
use std::fmt::Write as _;

/// More of a value than this teaches nothing.
const MAX_SHOWN_CHARS: usize = 60;

/// Why a configuration cannot be used. Shown as one line, without control characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file as a whole: it has no line to point at.
    #[error("{file}: {what}; allowed: a readable file of at most 64 KiB")]
    File {
        /// The file's name as it was given.
        file: String,
        /// What is wrong with it.
        what: String,
    },
    /// Something in the file, or missing from it.
    #[error("{file}:{line}: {key}: {what}; allowed: {allowed}")]
    Value {
        /// The file's name as it was given.
        file: String,
        /// Line from 1: that of the key, or of what encloses it when it is missing.
        line: usize,
        /// Path of the key, as in `lan[0].prefixes[1]`, or `document` for YAML as such.
        key: String,
        /// What is wrong with it.
        what: String,
        /// What would be right.
        allowed: String,
    },
}

/// `text` on one line: shortened if it is long, with control characters as escapes.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars().take(MAX_SHOWN_CHARS) {
        push_printable(c, &mut shown);
    }
    if text.chars().nth(MAX_SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

/// `text` on one line, unabridged.
pub(super) fn one_line(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        push_printable(c, &mut shown);
    }
    shown
}

/// The part of a name up to its first colon: where the blank behind that was forgotten, the rest
/// may be a password, which no message repeats.
pub(super) fn before_colon(name: &str) -> Cow<'_, str> {
    match name.split_once(':') {
        None => Cow::Borrowed(name),
        Some((before, _)) => Cow::Owned(format!("{before}:…")),
    }
}

/// `text` in quotes, on one line.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", printable(text))
}

fn push_printable(c: char, shown: &mut String) {
    // The two separators are no control characters, but break lines all the same.
    if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
        // Writing to a String cannot fail.
        let _ = write!(shown, "{}", c.escape_default());
    } else {
        shown.push(c);
    }
}
