//! YAML text to an untyped tree, and from a place in that tree back to its line.
//!
//! serde's derived structs would say *that* a key is unknown or repeated, but not always on which
//! line, and nothing of the sort once parsing is over (two prefixes overlap, an interface does not
//! exist). So serde_yaml fills a tree of what was written, everything typed is read from the tree,
//! and whoever finds a fault names its path. Only then is the line looked up: [`line_of`] walks
//! the document to that path and fails there on purpose, because a serde_yaml error knows its
//! location.

use std::cell::Cell;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::path::{Path, Step};

/// Far above any real configuration, far below what an alias bomb needs.
const MAX_VALUES: usize = 4096;

/// A value as it was written.
///
/// Scalars keep their text: `off` stays `off`, `0123` and `1.10` keep every digit, whatever one or
/// another version of YAML takes them for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// `~`, `null`, or nothing after the colon.
    Null,
    /// Text, quoted or not.
    Scalar(String),
    /// `- …` or `[…]`.
    List(Vec<Node>),
    /// `key: …` or `{…}`, in the order of the document, repeated keys included.
    Map(Vec<(String, Node)>),
    /// Anything with a `!tag`. No key takes such a value.
    Tagged,
}

/// Why a text is not one YAML document.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) line: usize,
    pub(super) what: String,
    pub(super) allowed: &'static str,
}

/// Reads `text`, which is one document or nothing.
///
/// # Errors
/// Whatever is not YAML, control characters, a second document, more than [`MAX_VALUES`] values.
pub(super) fn read(text: &str) -> Result<Node, SyntaxError> {
    check_characters(text)?;
    let mut documents = serde_yaml::Deserializer::from_str(text);
    let values = Cell::new(0);
    let mut node = match documents.next() {
        Some(first) => Shape { values: &values }
            .deserialize(first)
            .map_err(|error| SyntaxError::new(text, &error))?,
        None => Node::Null,
    };
    if let Some(second) = documents.next() {
        return Err(SyntaxError::second_document(text, second));
    }
    Fill(&mut node)
        .deserialize(serde_yaml::Deserializer::from_str(text))
        .map_err(|error| SyntaxError::new(text, &error))?;
    Ok(node)
}

/// The line (from 1) where the value at `path` stands: that of its key, or of the list item. If
/// there is no such value, that of the nearest thing around it.
pub(super) fn line_of(text: &str, path: &Path) -> usize {
    serde_yaml::Deserializer::from_str(text)
        .next()
        .and_then(|document| Probe(path.steps()).deserialize(document).err())
        .map_or(1, |error| line_of_error(text, &error))
}

/// Counts lines as editors do. libyaml also counts U+0085, U+2028 and U+2029 as line breaks, and
/// finds the end of the text on a line that is not there.
fn line_of_error(text: &str, error: &serde_yaml::Error) -> usize {
    let Some(location) = error.location() else {
        return 1;
    };
    let before = text
        .as_bytes()
        .get(..location.index())
        .unwrap_or(text.as_bytes());
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    line.min(text.lines().count().max(1))
}

/// libyaml refuses these too, but without a line.
fn check_characters(text: &str) -> Result<(), SyntaxError> {
    let bad = |c: char| match c {
        '\t' | '\n' | '\r' | '\u{85}' => false,
        '\u{fffe}' | '\u{ffff}' => true,
        c => c.is_control(),
    };
    let Some((before, rest)) = text.find(bad).and_then(|at| text.split_at_checked(at)) else {
        return Ok(());
    };
    let code = rest.chars().next().map_or(0, u32::from);
    Err(SyntaxError {
        line: before.matches('\n').count() + 1,
        what: format!("character U+{code:04X} is a control character"),
        allowed: "printable text",
    })
}

impl SyntaxError {
    fn new(text: &str, error: &serde_yaml::Error) -> Self {
        let line = line_of_error(text, error);
        let source = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        let indentation = source.len() - source.trim_start().len();
        if source
            .get(..indentation)
            .is_some_and(|blanks| blanks.contains('\t'))
        {
            let what = "the line is indented with a tab".to_owned();
            return Self {
                line,
                what,
                allowed: "spaces",
            };
        }
        let mut what = error.to_string();
        if let Some(at) = error.location() {
            // The line is said once, in front.
            let place = format!(" at line {} column {}", at.line(), at.column());
            what = what.replacen(&place, "", 1);
        }
        Self {
            line,
            what,
            allowed: "YAML as in the example configuration",
        }
    }

    fn second_document(text: &str, second: serde_yaml::Deserializer<'_>) -> Self {
        match Probe(&[]).deserialize(second) {
            Err(error) if error.location().is_some() => Self {
                line: line_of_error(text, &error),
                what: "a second document begins".to_owned(),
                allowed: "one document",
            },
            Err(error) => Self::new(text, &error),
            Ok(never) => match never {},
        }
    }
}

/// First walk: which values are lists, mappings, scalars. Texts are left empty, because a visitor
/// of `deserialize_any` is given the number or bool that a text might stand for.
#[derive(Clone, Copy)]
struct Shape<'a> {
    values: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Shape<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        self.values.set(self.values.get() + 1);
        if self.values.get() > MAX_VALUES {
            return Err(D::Error::custom(format!("more than {MAX_VALUES} values")));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Shape<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Scalar(String::new()))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Scalar(String::new()))
    }

    fn visit_i128<E>(self, _: i128) -> Result<Node, E> {
        Ok(Node::Scalar(String::new()))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Scalar(String::new()))
    }

    fn visit_u128<E>(self, _: u128) -> Result<Node, E> {
        Ok(Node::Scalar(String::new()))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Scalar(String::new()))
    }

    fn visit_str<E>(self, _: &str) -> Result<Node, E> {
        Ok(Node::Scalar(String::new()))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key_seed(Text)? {
            map.push((key, entries.next_value_seed(self)?));
        }
        Ok(Node::Map(map))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Node, A::Error> {
        let (_, content) = tagged.variant::<IgnoredAny>()?;
        content.newtype_variant::<IgnoredAny>()?;
        Ok(Node::Tagged)
    }
}

/// Second walk: the texts, as written. Knowing the shape, it can ask for a string where one is.
struct Fill<'a>(&'a mut Node);

impl<'de> DeserializeSeed<'de> for Fill<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.0 {
            Node::Null | Node::Tagged => {
                deserializer.deserialize_ignored_any(IgnoredAny)?;
            }
            Node::Scalar(text) => *text = deserializer.deserialize_str(Text)?,
            Node::List(_) => deserializer.deserialize_seq(self)?,
            Node::Map(_) => deserializer.deserialize_map(self)?,
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Fill<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the document that was read before")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        if let Node::List(list) = self.0 {
            for node in list {
                items.next_element_seed(Fill(node))?;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        if let Node::Map(map) = self.0 {
            for (_, node) in map {
                entries.next_key::<IgnoredAny>()?;
                entries.next_value_seed(Fill(node))?;
            }
        }
        Ok(())
    }
}

/// A scalar's text, whatever else it could mean.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a word")
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

/// No value has this type: a [`Probe`] always ends in an error.
enum Never {}

/// Walks to a path and fails there.
struct Probe<'a>(&'a [Step]);

impl<'de> DeserializeSeed<'de> for Probe<'_> {
    type Value = Never;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Never, D::Error> {
        match self.0.first() {
            // Without a `visit_…` for what is there, serde makes it an error, located there.
            None => deserializer.deserialize_any(Refuse),
            Some(Step::Index(_)) => deserializer.deserialize_seq(self),
            Some(Step::Key(_) | Step::Repeated(_)) => deserializer.deserialize_map(self),
        }
    }
}

impl<'de> Visitor<'de> for Probe<'_> {
    type Value = Never;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("something else")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Never, A::Error> {
        if let Some((Step::Index(index), rest)) = self.0.split_first() {
            for _ in 0..*index {
                items.next_element::<IgnoredAny>()?;
            }
            if let Some(never) = items.next_element_seed(Probe(rest))? {
                return Ok(never);
            }
        }
        Err(A::Error::custom("no such item"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Never, A::Error> {
        if let Some((Step::Key(wanted) | Step::Repeated(wanted), rest)) = self.0.split_first() {
            let mut left = usize::from(matches!(self.0.first(), Some(Step::Repeated(_))));
            let seed = |left| ProbeKey {
                wanted,
                fail: rest.is_empty() && left == 0,
            };
            while let Some(found) = entries.next_key_seed(seed(left))? {
                if found && left == 0 {
                    return entries.next_value_seed(Probe(rest));
                }
                left -= usize::from(found);
                entries.next_value::<IgnoredAny>()?;
            }
        }
        Err(A::Error::custom("no such key"))
    }
}

/// Reads a key: whether it is the wanted one; or fails there, if the path ends with it.
struct ProbeKey<'a> {
    wanted: &'a str,
    fail: bool,
}

impl<'de> DeserializeSeed<'de> for ProbeKey<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for ProbeKey<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        match key == self.wanted {
            true if self.fail => Err(E::custom("found")),
            found => Ok(found),
        }
    }
}

/// Takes nothing.
struct Refuse;

impl Visitor<'_> for Refuse {
    type Value = Never;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing")
    }
}
