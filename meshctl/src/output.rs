//! Standard output, as a table for people or in one of three forms for programs.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use comfy_table::{CellAlignment, Table};
use control_api::Exit;
use serde::Serialize;

use crate::cli::Format;
use crate::failure::Failure;
use crate::format;
use crate::tsv::{self, Layout};

/// The width of a terminal.
pub(crate) const SCREEN_COLUMNS: usize = 80;

/// In which form a result is printed, and whether others were before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) format: Format,
    pub(crate) frame: Frame,
}

/// One of several results of the same question, or the only one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Only,
    First,
    Later,
}

impl Output {
    /// Prints `result`: for people as `text` says.
    pub(crate) fn show<T: Serialize>(
        self,
        result: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        self.print(result, None, text)
    }

    /// Prints a `result` that is a list of records.
    pub(crate) fn show_list<T: Serialize>(
        self,
        result: &T,
        layout: Layout,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        self.print(result, Some(layout), text)
    }

    /// Whether people read it.
    pub(crate) fn is_text(self) -> bool {
        self.format == Format::Table
    }

    fn print<T: Serialize>(
        self,
        result: &T,
        layout: Option<Layout>,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let shown = match self.format {
            Format::Table => self.frame.draw(text(result)),
            Format::Json => json(result)?,
            Format::Ndjson => {
                harmless(&serde_json::to_string(result).map_err(|error| unwritable(&error))?)
            }
            Format::Tsv => {
                let result = serde_json::to_value(result).map_err(|error| unwritable(&error))?;
                let (header, rows) = tsv::table(&result, layout);
                match self.frame {
                    Frame::Only | Frame::First => header + &rows,
                    Frame::Later => rows,
                }
            }
        };
        write_all(&shown)
    }
}

impl Frame {
    /// On a terminal a frame takes the place of the one before; elsewhere a blank line parts them.
    fn draw(self, text: String) -> String {
        match self {
            Self::Only => text,
            Self::First | Self::Later if io::stdout().is_terminal() => redrawn(&text),
            Self::First => text,
            Self::Later => format!("\n{text}"),
        }
    }
}

/// From the upper left corner; the rest of each line is cleared behind it, so nothing flickers.
fn redrawn(text: &str) -> String {
    format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"))
}

/// Writes to standard output, which `println!` would panic about when nobody reads it.
pub(crate) fn write_all(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    written.map_err(|error| Failure::stdout(&error))
}

/// A column's heading and on which side its values stand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column(&'static str, CellAlignment);

/// A column of text.
pub(crate) const fn left(heading: &'static str) -> Column {
    Column(heading, CellAlignment::Left)
}

/// A column of numbers.
pub(crate) const fn right(heading: &'static str) -> Column {
    Column(heading, CellAlignment::Right)
}

/// A table without lines, or `empty` when there are no rows.
pub(crate) fn table<const N: usize>(
    columns: [Column; N],
    rows: impl IntoIterator<Item = [String; N]>,
    empty: &str,
) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(columns.map(|Column(heading, _)| heading));
    table.add_rows(rows);
    if table.is_empty() {
        return format!("{empty}\n");
    }
    for (column, Column(_, alignment)) in table.column_iter_mut().zip(columns) {
        column.set_padding((0, 2));
        column.set_cell_alignment(alignment);
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

/// As people can read it, too.
pub(crate) fn json<T: Serialize>(result: &T) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(result).map_err(|error| unwritable(&error))?;
    Ok(harmless(&text))
}

fn unwritable(error: &serde_json::Error) -> Failure {
    Failure::new(Exit::Failure, error.to_string())
}

/// A line of JSON, or several. Characters that could act on a terminal occur within strings only, and there
/// JSON may write them by number.
fn harmless(json: &str) -> String {
    let mut text = String::with_capacity(json.len() + 1);
    for character in json.chars() {
        if character == '\n' || !format::acts_on_a_terminal(character) {
            text.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing to a string does not fail.
            let _ = write!(text, "\\u{unit:04x}");
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_the_value_and_spares_the_terminal() {
        let value = "a\u{9b}31m\u{1b}[0m\u{202e}\n\"\u{7f}é\u{e0001}";

        let text = harmless(&serde_json::to_string(&value).unwrap());

        assert_eq!(
            text,
            "\"a\\u009b31m\\u001b[0m\\u202e\\n\\\"\\u007fé\\udb40\\udc01\"\n"
        );
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), value);
    }

    #[test]
    fn a_frame_leaves_nothing_of_the_one_before() {
        assert_eq!(redrawn("a\nb\n"), "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
    }

    #[test]
    fn a_table_has_no_lines_and_no_spaces_at_the_end() {
        let columns = [left("NAME"), right("COST")];

        let text = table(
            columns,
            [["a".into(), "1".into()], ["long-one".into(), "22".into()]],
            "",
        );

        assert_eq!(text, "NAME      COST\na            1\nlong-one    22\n");
        assert_eq!(table(columns, [], "Nothing."), "Nothing.\n");
    }
}
