//! Typed reading of the untyped tree: known keys, required and optional values, lists.

use super::document::Node;
use super::error::{before_colon, quoted};
use super::path::{Fault, Path};

/// A type that is written as one scalar.
pub(super) trait Value: Sized {
    /// What may be written, for the error message.
    const ALLOWED: &'static str;

    /// Reads the scalar's text.
    ///
    /// # Errors
    /// What is wrong with it; [`Value::ALLOWED`] is added by the caller.
    fn from_text(text: &str) -> Result<Self, String>;
}

/// The entries of a mapping, all of whose keys are known and given once.
pub(super) struct Fields<'a> {
    path: Path,
    entries: &'a [(String, Node)],
}

impl<'a> Fields<'a> {
    /// Reads `node` as a mapping with some of `keys`; no value at all counts as none of them.
    pub(super) fn of(node: &'a Node, path: Path, keys: &[&str]) -> Result<Self, Fault> {
        let allowed = || format!("a mapping with {}", keys.join(", "));
        let entries = match node {
            Node::Null => &[],
            Node::Map(entries) => entries.as_slice(),
            Node::Scalar(text) => {
                let what = format!("is {}", quoted(&before_colon(text)));
                return Err(Fault::new(path, what, allowed()));
            }
            Node::List(_) | Node::Tagged => {
                return Err(Fault::new(path, describe(node), allowed()));
            }
        };
        for (index, (key, _)) in entries.iter().enumerate() {
            if !keys.contains(&key.as_str()) {
                return Err(unknown_key(&path, key, keys));
            }
            if entries
                .iter()
                .take(index)
                .any(|(earlier, _)| earlier == key)
            {
                return Err(Fault::new(path.repeated(key), "is given twice", "once"));
            }
        }
        Ok(Self { path, entries })
    }

    /// The path of one of the keys.
    pub(super) fn path_of(&self, key: &str) -> Path {
        self.path.key(key)
    }

    /// The value of `key`, unless it is missing or empty.
    pub(super) fn node(&self, key: &str) -> Option<&'a Node> {
        let (_, node) = self
            .entries
            .iter()
            .find(|(candidate, _)| candidate == key)?;
        (*node != Node::Null).then_some(node)
    }

    pub(super) fn required<T: Value>(&self, key: &str) -> Result<T, Fault> {
        self.optional(key)?
            .ok_or_else(|| self.missing(key, T::ALLOWED))
    }

    pub(super) fn optional<T: Value>(&self, key: &str) -> Result<Option<T>, Fault> {
        self.node(key)
            .map(|node| scalar(node, self.path_of(key)))
            .transpose()
    }

    /// The items of the list `key` with their paths; nothing if it is missing.
    pub(super) fn list(
        &self,
        key: &str,
        max: usize,
        allowed: &'static str,
    ) -> Result<Vec<(Path, &'a Node)>, Fault> {
        let path = self.path_of(key);
        match self.node(key) {
            None => Ok(Vec::new()),
            Some(Node::List(items)) if items.len() > max => {
                let what = format!("has {} items", items.len());
                Err(Fault::new(path, what, format!("at most {max}")))
            }
            Some(Node::List(items)) => Ok(enumerate(&path, items)),
            Some(node) => Err(Fault::new(path, describe(node), allowed)),
        }
    }

    /// The fault of a `key` that must be there, and must not be an empty list.
    pub(super) fn missing(&self, key: &str, allowed: &'static str) -> Fault {
        let what = match self.entries.iter().find(|(candidate, _)| candidate == key) {
            None => "is missing",
            Some((_, Node::Null)) => "has no value",
            Some(_) => "is empty",
        };
        Fault::new(self.path_of(key), what, allowed)
    }
}

fn enumerate<'a>(path: &Path, items: &'a [Node]) -> Vec<(Path, &'a Node)> {
    items
        .iter()
        .enumerate()
        .map(|(index, item)| (path.index(index), item))
        .collect()
}

/// Reads `node` as one scalar.
pub(super) fn scalar<T: Value>(node: &Node, path: Path) -> Result<T, Fault> {
    match node {
        Node::Scalar(text) => T::from_text(text).map_err(|what| Fault::new(path, what, T::ALLOWED)),
        Node::Null | Node::List(_) | Node::Map(_) | Node::Tagged => {
            Err(Fault::new(path, describe(node), T::ALLOWED))
        }
    }
}

/// What a node is, where something else is expected.
pub(super) fn describe(node: &Node) -> String {
    match node {
        Node::Null => "has no value".to_owned(),
        Node::Scalar(text) => format!("is {}", quoted(text)),
        Node::List(_) => "is a list".to_owned(),
        Node::Map(_) => "is a mapping".to_owned(),
        Node::Tagged => "has a YAML tag".to_owned(),
    }
}

fn unknown_key(path: &Path, key: &str, keys: &[&str]) -> Fault {
    let name = key.split(':').next().unwrap_or_default();
    let hint = match nearest(name, keys) {
        Some(near) => format!("unknown key, did you mean {near}?"),
        None => "unknown key".to_owned(),
    };
    Fault::new(path.key(key), hint, keys.join(", "))
}

/// The known key that `key` is most likely a misspelling of: a third of it may differ.
fn nearest<'k>(key: &str, keys: &[&'k str]) -> Option<&'k str> {
    // No known key is longer than this, so nothing longer is close, and the distance stays cheap.
    let key: Vec<char> = key.to_lowercase().chars().take(32).collect();
    let (distance, near) = keys
        .iter()
        .map(|known| {
            (
                edit_distance(&key, &known.chars().collect::<Vec<_>>()),
                *known,
            )
        })
        .min()?;
    (distance * 3 <= near.len().max(3)).then_some(near)
}

/// Levenshtein's distance: insertions, deletions and substitutions from `a` to `b`.
fn edit_distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for ((to, diagonal), above) in b.iter().zip(&row).zip(row.iter().skip(1)) {
            let left = next.last().copied().unwrap_or_default();
            let substituted = diagonal + usize::from(from != to);
            next.push(substituted.min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
