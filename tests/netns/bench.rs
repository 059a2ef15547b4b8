//! The bench in its smallest form, so that it works on the day somebody wants figures.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::harness::{note, plain};
use mesh_tests::{binaries, command};
use serde_json::Value;

pub(crate) fn tests() -> Vec<Trial> {
    vec![plain("bench_measures_a_cut", measures_a_cut)]
}

/// Two cuts in a circle of four.
const ARGUMENTS: &str =
    "--only cut --daemons meshd --topologies ring:4 --loss 0 --rounds 1 --settle 2 --seed 1";

fn measures_a_cut() -> Result<()> {
    // Not below /run: the bench has one of its own.
    let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("out/bench-test");
    let mut bench = Command::new("timeout");
    bench.arg("60").arg(binaries::find("mesh-bench")?);
    bench.args(ARGUMENTS.split(' ')).arg("--out").arg(&out);
    let output = command::output(&mut bench, None)?;
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}{complaint}");

    let report: Value = serde_json::from_str(&fs::read_to_string(out.join("bench.json"))?)?;
    let figures = report.get("figures").and_then(Value::as_array);
    let mut figures = figures.context("no figures")?.iter();
    let cut = figures.find(|figure| figure.get("measure").is_some_and(|name| name == "cut"));
    let cut = cut.with_context(|| format!("no cut was measured:\n{said}"))?;
    let samples = cut
        .get("samples")
        .and_then(Value::as_array)
        .context("no samples")?;
    ensure!(samples.len() == 2, "{cut}");
    for sample in samples {
        // A cut that nobody notices was not on the path; one without end was not healed.
        let ms = sample.as_f64().context("not healed")?;
        ensure!((50.0..30_000.0).contains(&ms), "an outage of {ms} ms");
        note(&format!("silence after a cut: {ms} ms"));
    }
    let loops = cut.pointer("/seen/loops").and_then(Value::as_array);
    ensure!(loops.is_some_and(|loops| loops.len() == 2), "{cut}");
    let drawing = fs::read_to_string(out.join("outages.svg"))?;
    ensure!(drawing.contains(">meshd, p50 "), "{drawing}");
    Ok(())
}
