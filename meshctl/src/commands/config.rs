//! `meshctl config check FILE`

use std::path::Path;

use control_api::{Exit, SCHEMA};
use meshd::config::Config;
use serde::Serialize;

use crate::failure::Failure;
use crate::format;
use crate::output::Output;

/// A configuration that is as it should be; another is an error.
#[derive(Debug, Serialize)]
struct Checked {
    schema: u32,
    file: String,
    valid: bool,
}

/// Checks the file alone, which may be for another machine. Whether interfaces and keys are there
/// is for `meshd --check` to say.
pub(super) fn check(output: Output, file: &Path) -> Result<(), Failure> {
    Config::load(file).map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    let checked = Checked {
        schema: SCHEMA,
        file: file.display().to_string(),
        valid: true,
    };
    output.show(&checked, |checked| {
        format!("{}: valid\n", format::harmless(&checked.file))
    })
}
