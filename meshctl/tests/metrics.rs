//! `meshctl metrics`: what Prometheus accepts, whatever nodes are called.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use common::{Daemon, Reaction, assert_golden, sample, stderr_of, stdout_of};
use control_api::{Accounts, Interfaces, Method, Neighbors, Status};
use regex_lite::Regex;

fn village(name: &str) -> Daemon {
    let (status, _) = sample::<Status>("status-gateway.json");
    let (mut neighbors, _) = sample::<Neighbors>("neighbors.json");
    let (mut interfaces, _) = sample::<Interfaces>("interfaces.json");
    let (mut accounts, _) = sample::<Accounts>("receipts-list.json");
    let links = neighbors.neighbors.iter_mut().map(|it| &mut it.name);
    let owed = accounts.accounts.iter_mut().map(|it| &mut it.name);
    let radios = interfaces.interfaces.iter_mut();
    let radios = radios.filter_map(|it| it.radio.as_mut());
    let stations = radios.flat_map(|it| it.stations.iter_mut().map(|it| &mut it.name));
    for of in links.chain(owed).chain(stations) {
        if of.as_deref() == Some("router-2") {
            *of = Some(name.to_owned());
        }
    }
    Daemon::start(move |method| -> Reaction {
        if *method == Method::Neighbors {
            neighbors.clone().into()
        } else if *method == Method::Interfaces {
            interfaces.clone().into()
        } else if *method == Method::ReceiptsList {
            accounts.clone().into()
        } else {
            status.clone().into()
        }
    })
}

/// Names of metrics with their types. Panics on what is not the text format: a name twice, a sample without
/// its type before it, a label or a value that is none, the same series twice.
fn parsed(text: &str) -> BTreeMap<String, String> {
    let label = r#"[a-z_][a-z0-9_]*="(?:[^"\\]|\\["\\n])*""#;
    let sample = format!(r"^([a-z_]+)(\{{{label}(?:,{label})*\}})? (-?[0-9]+(?:\.[0-9]+)?)$");
    let sample = Regex::new(&sample).unwrap();
    let mut types = BTreeMap::new();
    let mut seen = Vec::new();
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap();
            assert!(name.starts_with("meshd_") && !help.is_empty(), "{line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            let before = types.insert(name.to_owned(), kind.to_owned());
            assert_eq!(before, None, "{line}");
        } else {
            let found = sample.captures(line).unwrap_or_else(|| panic!("{line}"));
            assert!(types.contains_key(&found[1]), "{line}");
            let series = line.rsplit_once(' ').unwrap().0;
            assert!(!seen.contains(&series), "twice: {line}");
            seen.push(series);
        }
    }
    types
}

#[test]
fn metrics_are_what_prometheus_reads() {
    let text = stdout_of(&village("router-2").meshctl(&["metrics"]));
    parsed(&text);
    assert_golden("metrics.prom", &text);
}

#[test]
fn no_name_leaves_its_label() {
    let text = stdout_of(&village("a\"} 1\nmeshd_up 1\\").meshctl(&["metrics"]));
    parsed(&text);
    assert!(text.contains(r#"name="a\"} 1\nmeshd_up 1\\""#), "{text}");
}

/// One that renames itself would begin new ones, and alerts about it would end.
#[test]
fn a_new_name_makes_no_new_series_but_that_of_the_name() {
    let series = |name: &str| -> BTreeSet<String> {
        let text = stdout_of(&village(name).meshctl(&["metrics"]));
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let series = lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned());
        series.collect()
    };
    let (before, after) = (series("router-2"), series("mill"));
    let new: Vec<_> = after.difference(&before).collect();
    assert_eq!(
        new,
        [r#"meshd_neighbor_info{neighbor="22222222222222222222",name="mill"}"#]
    );
    assert_eq!(before.difference(&after).count(), 1);
}

/// Where a name is shown it has to be joined; nothing else has one.
#[test]
fn names_are_shown_by_joining_them() {
    const JOIN: &str = "* on (instance, neighbor) group_left (name) meshd_neighbor_info";
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    let dashboard = fs::read_to_string(config.join("grafana-dashboard.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let shown = targets.filter(|it| it["legendFormat"].as_str().unwrap().contains("{{name}}"));
    let expressions: Vec<&str> = shown.map(|it| it["expr"].as_str().unwrap()).collect();
    assert_eq!(expressions.len(), 8);
    for expression in expressions {
        assert!(expression.contains(JOIN), "{expression}");
    }
    let alerts = fs::read_to_string(config.join("prometheus-alerts.yml")).unwrap();
    let alerts: Vec<&str> = alerts.split("- alert: ").collect();
    let named: Vec<_> = alerts
        .iter()
        .filter(|it| it.contains("$labels.name "))
        .collect();
    assert_eq!(named.len(), 2);
    for alert in named {
        assert!(alert.contains(JOIN), "{alert}");
    }
}

#[test]
fn a_textfile_is_for_everybody_and_whole() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("meshd.prom");
    let argument = file.to_str().unwrap();
    let daemon = village("router-2");
    for _ in 0..2 {
        let said = stdout_of(&daemon.meshctl(&["metrics", "--textfile", argument]));
        assert_eq!(said, "");
        parsed(&fs::read_to_string(&file).unwrap());
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o644
        );
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    let nowhere = ["metrics", "--textfile", "/nonexistent/meshd.prom"];
    let said = stderr_of(&daemon.meshctl(&nowhere), 1);
    assert!(said.contains("/nonexistent/meshd.prom"), "{said}");
}

/// Whoever draws or watches a metric must find it.
#[test]
fn dashboard_and_alerts_know_only_what_there_is() {
    let text = stdout_of(&village("router-2").meshctl(&["metrics"]));
    let types = parsed(&text);
    let names = Regex::new(r"meshd_[a-z_]+").unwrap();
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    for file in ["grafana-dashboard.json", "prometheus-alerts.yml"] {
        let text = fs::read_to_string(config.join(file)).unwrap();
        let mut used = names.find_iter(&text).peekable();
        assert!(used.peek().is_some(), "{file} uses none");
        for name in used {
            assert!(
                types.contains_key(name.as_str()),
                "{file}: {}",
                name.as_str()
            );
        }
        if file.ends_with(".json") {
            serde_json::from_str::<serde_json::Value>(&text).unwrap();
        }
    }
}
