//! `meshctl config check FILE` and `meshctl config diff FILE`

use std::fs;
use std::path::Path;

use control_api::{ConfigText, Exit, Reloaded, SCHEMA};
use meshd::config::Config;
use serde::Serialize;

use super::Daemon;
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

/// What is wrong with the file itself is said as by `check`; meshd compares.
pub(super) fn diff(daemon: &Daemon, output: Output, file: &Path) -> Result<(), Failure> {
    Config::load(file).map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    let text = fs::read_to_string(file).map_err(|error| Failure::file(file, &error))?;
    let result = daemon.connect()?.config_diff(ConfigText::new(text))?;
    output.show(&result, differences)
}

fn differences(result: &Reloaded) -> String {
    let mut text = match result.changed.as_slice() {
        [] => "A reload would change nothing.\n".to_owned(),
        keys => format!(
            "A reload would change: {}.\n",
            format::harmless(&keys.join(", "))
        ),
    };
    if !result.needs_restart.is_empty() {
        let keys = format::harmless(&result.needs_restart.join(", "));
        text.push_str(&format!("Only a restart of meshd would change: {keys}.\n"));
    }
    text
}
