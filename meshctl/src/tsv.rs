//! Results as tab-separated values: a header row, then one record a line.
//!
//! The columns of a list are fixed, so that a script may count them: new ones come last. A result that is no
//! list has two, `key` and `value`.

use std::fmt::Write as _;

use serde_json::Value;

use crate::format;

/// Which list of a result are the records, and the fields of each; a dot leads into an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) list: &'static str,
    pub(crate) columns: &'static [&'static str],
}

/// The header row and the rows.
pub(crate) fn table(result: &Value, layout: Option<Layout>) -> (String, String) {
    let mut rows = String::new();
    let Some(Layout { list, columns }) = layout else {
        leaves(result, &mut String::new(), &mut rows);
        return ("key\tvalue\n".to_owned(), rows);
    };
    let records = result.get(list).and_then(Value::as_array);
    for record in records.into_iter().flatten() {
        let cells: Vec<String> = columns.iter().map(|path| cell(record, path)).collect();
        rows.push_str(&cells.join("\t"));
        rows.push('\n');
    }
    (columns.join("\t") + "\n", rows)
}

fn cell(record: &Value, path: &str) -> String {
    let field = path
        .split('.')
        .try_fold(record, |value, key| value.get(key));
    field.map(text).unwrap_or_default()
}

/// A line for everything that is neither object nor list of objects, in the order of the keys.
fn leaves(value: &Value, path: &mut String, rows: &mut String) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(key, it)| (key.clone(), it)).collect(),
        Value::Array(items) if items.iter().any(is_nested) => {
            let numbered = items.iter().enumerate();
            numbered
                .map(|(index, it)| (index.to_string(), it))
                .collect()
        }
        Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            // Writing to a string does not fail.
            let _ = writeln!(rows, "{}\t{}", escaped(path), text(value));
            return;
        }
    };
    let parent = path.len();
    for (key, child) in children {
        if parent > 0 {
            path.push('.');
        }
        path.push_str(&key);
        leaves(child, path, rows);
        path.truncate(parent);
    }
}

fn is_nested(value: &Value) -> bool {
    value.is_object() || value.is_array()
}

/// What is not known is empty; lists of words have spaces between them, and lists of objects stay JSON.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => escaped(text),
        Value::Array(items) if !items.iter().any(is_nested) => {
            let items: Vec<String> = items.iter().map(text).collect();
            items.join(" ")
        }
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            escaped(&value.to_string())
        }
    }
}

/// `\t`, `\n`, `\r`, `\\`, and `\u{…}` with the number of what acts on a terminal.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' => safe.push_str("\\t"),
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\\' => safe.push_str("\\\\"),
            active if format::acts_on_a_terminal(active) => {
                // Writing to a string does not fail.
                let _ = write!(safe, "\\u{{{:x}}}", u32::from(active));
            }
            shown => safe.push(shown),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_has_one_line_and_every_column_whatever_is_in_it() {
        let layout = Layout {
            list: "nodes",
            columns: &["name", "at.x", "tags", "links", "gone"],
        };
        let result = json!({"schema": 2, "nodes": [
            {"name": "a\tb\n\\\u{1b}\u{202e}é", "at": {"x": 1.5}, "tags": ["u", "v"], "links": [{"to": 1}]},
            {"name": null, "at": null, "tags": [], "links": []},
        ]});

        let (header, rows) = table(&result, Some(layout));

        assert_eq!(header, "name\tat.x\ttags\tlinks\tgone\n");
        assert_eq!(
            rows,
            "a\\tb\\n\\\\\\u{1b}\\u{202e}é\t1.5\tu v\t[{\"to\":1}]\t\n\t\t\t\t\n"
        );
    }

    #[test]
    fn what_is_no_list_has_a_line_for_each_value() {
        let result = json!({"b": [{"x": true}, {"x": null}], "a": {"y\n": [1, 2]}, "c": []});

        let (header, rows) = table(&result, None);

        assert_eq!(header, "key\tvalue\n");
        assert_eq!(rows, "a.y\\n\t1 2\nb.0.x\ttrue\nb.1.x\t\nc\t\n");
    }
}
