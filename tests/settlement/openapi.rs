//! What the OpenAPI document says, asked for in every way that schemathesis can think of.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::{command, harness, sandbox};

use crate::valley::{Person, Valley, with_sqlite};

/// For each operation. Every failure that it has ever found here, it found in the first ten.
const EXAMPLES: &str = "60";

pub(crate) fn tests() -> Vec<Trial> {
    vec![with_sqlite("the_openapi_document_is_kept", schemathesis)]
}

fn schemathesis(valley: &Valley) -> Result<()> {
    let service = valley.start()?;
    valley.register(&service, &Person::new("relay")?)?;
    let installer = concat!(env!("CARGO_MANIFEST_DIR"), "/deps.sh");
    let program = command::run(installer, "schemathesis-path")?;
    let mut asks = Command::new(program.trim());
    asks.current_dir(sandbox::FILES);
    let hooks = concat!(env!("CARGO_MANIFEST_DIR"), "/settlement/schemathesis.py");
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/settlement/schemathesis.toml");
    asks.env("SCHEMATHESIS_HOOKS", hooks);
    asks.env("NO_COLOR", "1")
        .env("HYPOTHESIS_STORAGE_DIRECTORY", sandbox::FILES);
    asks.args(["--config-file", config]);
    asks.args(["run", &format!("http://{}/openapi.json", service.address)]);
    asks.args(["--checks", "all", "--phases", "examples,coverage,fuzzing"]);
    asks.args(["--max-examples", EXAMPLES, "--seed", "1", "--no-color"]);
    asks.args(["--continue-on-failure"]);
    let output = command::output(&mut asks, None).context("run schemathesis")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}{complaint}");
    for line in said.lines().filter(|line| line.contains(" generated, ")) {
        harness::note(line.trim());
    }
    ensure!(!service.said().contains("panicked"), "{}", service.said());
    service.stop()
}
