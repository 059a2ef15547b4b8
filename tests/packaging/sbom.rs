//! Bills of materials, against what Cargo itself says.

#![allow(clippy::indexing_slicing, reason = "what JSON lacks is null")]

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::command;
use mesh_tests::harness::{note, plain};
use serde_json::Value;

pub(crate) fn tests() -> Vec<Trial> {
    vec![plain("bills_of_materials_name_what_is_linked", named)]
}

fn named() -> Result<()> {
    for (package, has, has_not) in [
        (
            "meshd",
            ["ed25519-dalek", "receipts"],
            ["proptest", "ratatui"],
        ),
        ("meshctl", ["ratatui", "rustls"], ["proptest", "sqlx"]),
        (
            "redeemd",
            ["sqlx", "alloy-primitives"],
            ["ratatui", "tempfile"],
        ),
    ] {
        let bill = bill(package)?;
        ensure!(bill["bomFormat"] == "CycloneDX" && bill["specVersion"] == "1.5");
        let own = &bill["metadata"]["component"];
        ensure!(
            own["name"] == package && own["version"] == env!("CARGO_PKG_VERSION"),
            "{own}"
        );
        let components = bill["components"].as_array().context("no components")?;
        note(&format!("{package}: {} crates", components.len()));
        let names: Vec<&str> = components
            .iter()
            .filter_map(|it| it["name"].as_str())
            .collect();
        for name in has {
            ensure!(names.contains(&name), "{package} without {name}: {names:?}");
        }
        for name in has_not {
            ensure!(!names.contains(&name), "{package} with {name}");
        }
        for component in components {
            complete(component)?;
        }
    }
    Ok(())
}

fn bill(package: &str) -> Result<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/packages/sbom.sh");
    let output = command::output(Command::new(script).arg(package), None)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).context("what sbom.sh printed")
}

/// Of each: which one it is, under which licence, and, if it is not ours, which bytes.
fn complete(component: &Value) -> Result<()> {
    let (name, version) = (&component["name"], &component["version"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let purl = format!("pkg:cargo/{}@{}", text(name), text(version));
    ensure!(component["purl"] == purl.as_str(), "{component}");
    ensure!(
        !text(&component["licenses"][0]["expression"]).is_empty(),
        "{component}"
    );
    let ours = [
        "receipts",
        "mesh-proto",
        "control-api",
        "ethereum",
        "redeem-api",
        "meshd",
    ];
    if !ours.contains(&text(name).as_str()) {
        let sum = text(&component["hashes"][0]["content"]);
        ensure!(
            sum.len() == 64 && sum.bytes().all(|it| it.is_ascii_hexdigit()),
            "{component}"
        );
    }
    Ok(())
}
