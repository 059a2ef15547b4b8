//! Standard output, as a table for people or as JSON for programs.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use comfy_table::{CellAlignment, Table};
use control_api::Exit;
use serde::Serialize;

use crate::failure::Failure;
use crate::format;

/// The width of a terminal.
pub(crate) const SCREEN_COLUMNS: usize = 80;

/// Where a result goes, and in which form.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Output {
    /// Text for people.
    Text,
    /// JSON for programs.
    Json,
}

impl Output {
    /// Prints `result`: as it is in JSON, for people as `text` says.
    pub(crate) fn show<T: Serialize>(
        self,
        result: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        match self {
            Self::Text => write_all(&text(result)),
            Self::Json => write_all(&json(result)?),
        }
    }
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

/// Characters that could act on a terminal occur within strings only, and there JSON may write
/// them by number.
fn json<T: Serialize>(result: &T) -> Result<String, Failure> {
    let plain = serde_json::to_string_pretty(result)
        .map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
    let mut text = String::with_capacity(plain.len() + 1);
    for character in plain.chars() {
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
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_the_value_and_spares_the_terminal() {
        let value = "a\u{9b}31m\u{1b}[0m\u{202e}\n\"\u{7f}é\u{e0001}";

        let text = json(&value).unwrap();

        assert_eq!(
            text,
            "\"a\\u009b31m\\u001b[0m\\u202e\\n\\\"\\u007fé\\udb40\\udc01\"\n"
        );
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), value);
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
