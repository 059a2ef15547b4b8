//! `meshctl reload`

use control_api::Reloaded;

use super::Daemon;
use crate::failure::Failure;
use crate::format;
use crate::output::Output;

pub(super) fn run(daemon: &Daemon, output: Output) -> Result<(), Failure> {
    output.show(&daemon.connect()?.reload()?, text)
}

fn text(result: &Reloaded) -> String {
    let mut text = match result.changed.as_slice() {
        [] => "Read again, nothing changed.\n".to_owned(),
        keys => format!("Changed: {}.\n", format::harmless(&keys.join(", "))),
    };
    if !result.needs_restart.is_empty() {
        let keys = format::harmless(&result.needs_restart.join(", "));
        text.push_str(&format!(
            "In force after a restart of meshd only: {keys}.\n"
        ));
    }
    text
}
