//! What people and programs read: tables, JSON, and nothing that harms a terminal.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use common::{Daemon, assert_golden, printed, sample, stderr_of, stdout_of, stdout_with};
use control_api::{
    Accounts, Answer, CarriedFiles, ConfigText, Doctor, Finding, GatewayChoice, Gateways,
    Interface, Interfaces, Internet, LogLevel, LogLevelSet, Mended, Method, Neighbors,
    NodeAccounts, NodeRef, OriginatorId, Originators, Reloaded, Role, Routes, SCHEMA, Settings,
    Severity, Stats, StatsHour, Status,
};
use serde::de::DeserializeOwned;

/// What acts on a terminal: two escape sequences, an invisible character, a change of direction,
/// a line's end.
const HOSTILE: &str = "ev\u{1b}[31mil\u{9b}2J\u{200b}\u{202e}\nx\u{7f}";

fn assert_shown<T>(arguments: &[&str], json: &str, table: &str)
where
    T: DeserializeOwned + Into<Answer>,
{
    let (result, json) = sample::<T>(json);
    let daemon = Daemon::answering(result);

    assert_golden(table, &stdout_of(&daemon.meshctl(arguments)));

    let with_json = [&["--json"], arguments].concat();
    assert_eq!(stdout_of(&daemon.meshctl(&with_json)), json, "{table}");
}

#[test]
fn status() {
    assert_shown::<Status>(&["status"], "status-gateway.json", "status-gateway.txt");
    assert_shown::<Status>(&["status"], "status-uplink.json", "status-uplink.txt");
    assert_shown::<Status>(&["status"], "status-offline.json", "status-offline.txt");
}

#[test]
fn doctor() {
    let (doctor, json) = sample::<Doctor>("doctor-warnings.json");
    let daemon = Daemon::answering(doctor);

    let text = stdout_with(&daemon.meshctl(&["doctor"]), 7);
    let with_json = stdout_with(&daemon.meshctl(&["--json", "doctor"]), 7);

    assert_golden("doctor-warnings.txt", &text);
    assert_eq!(with_json, json);
}

/// What is there until somebody has it mended.
#[test]
fn doctor_mends_and_says_what_it_mended() {
    let (mended, json) = sample::<Mended>("doctor-mended.json");
    let fixed = AtomicBool::new(false);
    let daemon = Daemon::start(move |method| {
        let whole = [mended.mended.clone(), mended.findings.clone()].concat();
        // As in the daemon, the first answer may come before it is done.
        let is_mended = match *method == (Method::Doctor { fix: true }) {
            true => fixed.swap(true, Ordering::Relaxed),
            false => fixed.load(Ordering::Relaxed),
        };
        let findings = match is_mended {
            true => mended.findings.clone(),
            false => whole,
        };
        let schema = SCHEMA;
        Doctor { schema, findings }.into()
    });

    let before = stdout_with(&daemon.meshctl(&["doctor"]), 1);
    assert!(
        before.starts_with("error    net.ipv4.ip_forward: "),
        "{before}"
    );
    let with_json = stdout_with(&daemon.meshctl(&["doctor", "--fix", "--json"]), 7);
    assert_eq!(with_json, json);
}

#[test]
fn what_was_mended_comes_first() {
    let (mended, _) = sample::<Mended>("doctor-mended.json");
    let looks = AtomicUsize::new(0);
    let daemon = Daemon::start(move |_| {
        let findings = match looks.fetch_add(1, Ordering::Relaxed) {
            0 => [mended.mended.clone(), mended.findings.clone()].concat(),
            _ => mended.findings.clone(),
        };
        let schema = SCHEMA;
        Doctor { schema, findings }.into()
    });

    let text = stdout_with(&daemon.meshctl(&["doctor", "--fix"]), 7);
    assert_golden("doctor-mended.txt", &text);
}

#[test]
fn interfaces() {
    assert_shown::<Interfaces>(&["interfaces"], "interfaces.json", "interfaces.txt");
}

#[test]
fn neighbors() {
    assert_shown::<Neighbors>(&["neighbors"], "neighbors.json", "neighbors.txt");
}

#[test]
fn originators() {
    assert_shown::<Originators>(&["originators"], "originators.json", "originators.txt");
}

#[test]
fn routes() {
    assert_shown::<Routes>(&["routes"], "routes.json", "routes.txt");
}

#[test]
fn gateways() {
    assert_shown::<Gateways>(&["gateways"], "gateways.json", "gateways.txt");
}

#[test]
fn receipts() {
    assert_shown::<Accounts>(
        &["receipts", "list"],
        "receipts-list.json",
        "receipts-list.txt",
    );
    assert_shown::<CarriedFiles>(
        &["receipts", "list", "--carried"],
        "receipts-carried.json",
        "receipts-carried.txt",
    );
    assert_shown::<Stats>(
        &["receipts", "stats"],
        "receipts-stats.json",
        "receipts-stats.txt",
    );
    for who in ["cheat", "both"] {
        assert_shown::<NodeAccounts>(
            &["receipts", "show", "router-2"],
            &format!("receipts-show-{who}.json"),
            &format!("receipts-show-{who}.txt"),
        );
    }
}

#[test]
fn a_neighbor_is_shown_by_the_name_it_was_asked_for() {
    let (accounts, _) = sample::<NodeAccounts>("receipts-show-both.json");
    let daemon = Daemon::start(move |method| {
        let node = "router-2".to_owned();
        assert_eq!(method, &Method::ReceiptsShow { node });
        accounts.clone().into()
    });

    stdout_of(&daemon.meshctl(&["receipts", "show", "router-2"]));
}

fn assert_fits(text: &str) {
    let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(widest <= 80, "{widest} columns:\n{text}");
}

#[test]
fn accounts_fit_the_screen_whatever_they_are() {
    let (mut accounts, _) = sample::<Accounts>("receipts-list.json");
    let long = Some("long-name ".repeat(20));
    for account in &mut accounts.accounts {
        account.name.clone_from(&long);
        account.gateway.name.clone_from(&long);
        account.bytes_down = u64::MAX;
        account.unsigned_bytes = (1 << 30) - 1;
        account.amount_atto = "1234123456789123456789".parse().unwrap();
        account.unpaid_atto = Some(1_u64.into());
        account.last_receipt_age_s = Some(999 * 86_400);
        account.held = true;
    }

    let text = stdout_of(&Daemon::answering(accounts).meshctl(&["receipts", "list"]));

    assert_fits(&text);
    assert!(text.contains("1234.123456"), "{text}");
}

#[test]
fn the_accounts_with_a_neighbor_fit_the_screen_whatever_they_are() {
    let (mut result, _) = sample::<NodeAccounts>("receipts-show-cheat.json");
    result.name = Some("long-name ".repeat(20));
    let details = &mut result.accounts[0];
    details.account.gateway.name.clone_from(&result.name);
    details.account.bytes_down = u64::MAX;
    details.account.credit_bytes = Some(u64::MAX);
    details.receipts[0].epoch = u64::from(u32::MAX);
    details.receipts[0].bytes_down = u64::MAX;

    let text = stdout_of(&Daemon::answering(result).meshctl(&["receipts", "show", "x"]));

    assert_fits(&text);
}

#[test]
fn what_an_operator_should_know_is_said_once_for_each_neighbor() {
    let (mut accounts, _) = sample::<Accounts>("receipts-list.json");
    accounts.accounts.truncate(2);
    let again = accounts.accounts.iter().cloned();
    accounts.accounts = again.flat_map(|it| [it.clone(), it]).collect();

    let text = stdout_of(&Daemon::answering(accounts).meshctl(&["receipts", "list"]));

    assert_eq!(text.matches("slows itself down").count(), 1, "{text}");
    assert_eq!(text.matches("two different receipts").count(), 1, "{text}");
}

#[test]
fn no_accounts_are_said_in_words() {
    let accounts = Accounts {
        schema: SCHEMA,
        accounts: vec![],
    };
    let text = stdout_of(&Daemon::answering(accounts).meshctl(&["receipts", "list"]));
    assert_eq!(text, "No accounts yet.\n");

    let files = CarriedFiles {
        schema: SCHEMA,
        files: vec![],
    };
    let text = stdout_of(&Daemon::answering(files).meshctl(&["receipts", "list", "--carried"]));
    assert_eq!(text, "No receipts of other nodes are carried.\n");
}

#[test]
fn a_neighbor_in_one_role_has_one_table() {
    let (mut accounts, _) = sample::<Accounts>("receipts-list.json");
    accounts.accounts.retain(|it| it.role == Role::Consumer);

    let text = stdout_of(&Daemon::answering(accounts).meshctl(&["receipts", "list"]));

    assert!(text.starts_with("These neighbors carry"), "{text}");
    assert_eq!(text.matches("NEIGHBOR").count(), 1, "{text}");
}

#[test]
fn stats_fit_the_screen_for_any_number_of_hours() {
    let hour = |hours_ago: u32| StatsHour {
        hours_ago,
        carried_bytes: u64::MAX - u64::from(hours_ago),
        consumed_bytes: hours_ago.into(),
        earned_atto: "100000000123456789012345678".parse().unwrap(),
        paid_atto: 1_u64.into(),
    };
    for count in [0, 1, 2, 24, 25, 72, 73, 167, 168] {
        let stats = Stats {
            schema: SCHEMA,
            hours: (0..count).map(hour).collect(),
        };
        let text = stdout_of(&Daemon::answering(stats).meshctl(&["receipts", "stats"]));
        assert_fits(&text);
        assert!(text.lines().count() <= 23, "{text}");
    }
}

#[test]
fn stats_go_back_as_many_days_as_asked_for() {
    let (stats, _) = sample::<Stats>("receipts-stats.json");
    let daemon = Daemon::answering(stats);
    let arguments = ["--json", "receipts", "stats", "--days", "2"];

    let json = stdout_of(&daemon.meshctl(&arguments));

    let stats: Stats = serde_json::from_str(&json).unwrap();
    assert_eq!(stats.hours.len(), 48);
    assert_golden(
        "receipts-stats-2-days.txt",
        &stdout_of(&daemon.meshctl(arguments.get(1..).unwrap())),
    );
}

#[test]
fn reload() {
    assert_shown::<Reloaded>(&["reload"], "reload.json", "reload.txt");
}

#[test]
fn the_configuration_in_force() {
    let show = ["config", "show"];
    assert_shown::<Settings>(&show, "config-show.json", "config-show.txt");
    let (settings, _) = sample::<Settings>("config-show.json");
    let daemon = Daemon::answering(settings);
    let only_set = stdout_of(&daemon.meshctl(&["config", "show", "--only-set"]));
    assert_golden("config-show-only-set.txt", &only_set);

    let (mut settings, _) = sample::<Settings>("config-show.json");
    settings.settings[0].value = HOSTILE.into();
    let yaml = stdout_of(&Daemon::answering(settings).meshctl(&show));
    assert!(yaml.starts_with("network: \"ev[31mil2J x\"\n"), "{yaml}");
}

#[test]
fn what_a_reload_would_change_is_asked_of_the_daemon() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("meshd.yaml");
    let config = "network: village\nmesh: [{interface: mesh0}]\n";
    std::fs::write(&file, config).unwrap();
    let arguments = ["config", "diff", file.to_str().unwrap()];
    let (reloaded, json) = sample::<Reloaded>("reload.json");
    let daemon = Daemon::start(move |method| {
        let text = ConfigText::new(config.into());
        assert_eq!(method, &Method::ConfigDiff { text });
        reloaded.clone().into()
    });

    assert_golden("config-diff.txt", &stdout_of(&daemon.meshctl(&arguments)));
    let with_json = [&["--json"], &arguments[..]].concat();
    assert_eq!(stdout_of(&daemon.meshctl(&with_json)), json);

    std::fs::write(&file, "network: village\nmesh: []\n").unwrap();
    let stderr = stderr_of(&daemon.meshctl(&arguments), 2);
    assert!(stderr.contains("meshd.yaml:2: mesh: "), "{stderr}");
}

#[test]
fn the_log_level_is_one_of_five() {
    let daemon = Daemon::start(|method| {
        let level = LogLevel::Debug;
        assert_eq!(method, &Method::LogLevel { level });
        let schema = SCHEMA;
        LogLevelSet { schema, level }.into()
    });

    let text = stdout_of(&daemon.meshctl(&["log-level", "debug"]));
    let json = stdout_of(&daemon.meshctl(&["log-level", "debug", "--json"]));

    assert_eq!(text, "meshd logs from level debug on, until it ends.\n");
    assert_golden("log-level.json", &json);
    stderr_of(&daemon.meshctl(&["log-level", "loud"]), 2);
}

#[test]
fn routes_passes_its_destination_on() {
    let (routes, _) = sample::<Routes>("routes.json");
    let daemon = Daemon::start(move |method| {
        assert_eq!(
            method,
            &Method::Routes {
                dest: Some("router-5".parse().unwrap())
            }
        );
        routes.clone().into()
    });

    assert_golden(
        "routes.txt",
        &stdout_of(&daemon.meshctl(&["routes", "router-5"])),
    );
}

#[test]
fn a_gateway_is_selected_by_name_and_the_answer_shows_which_is_used() {
    let (gateways, _) = sample::<Gateways>("gateways.json");
    let table = stdout_of(&Daemon::answering(gateways.clone()).meshctl(&["gateways"]));
    let gateways = Gateways {
        choice: GatewayChoice::Node("router-5".into()),
        ..gateways
    };
    let daemon = Daemon::start(move |method| {
        assert_eq!(
            method,
            &Method::GatewaysSelect {
                gateway: GatewayChoice::Node("router-5".into())
            }
        );
        gateways.clone().into()
    });

    assert_eq!(
        stdout_of(&daemon.meshctl(&["gateways", "select", "router-5"])),
        format!("Selected: router-5, until meshd ends.\n\n{table}")
    );
}

#[test]
fn nothing_to_show_is_said_in_words() {
    let cases: [(&str, Answer, &str); 6] = [
        (
            "doctor",
            Doctor {
                schema: SCHEMA,
                findings: vec![],
            }
            .into(),
            "No problems found.\n",
        ),
        (
            "interfaces",
            Interfaces {
                schema: SCHEMA,
                interfaces: vec![],
            }
            .into(),
            "No interface has a role.\n",
        ),
        (
            "neighbors",
            Neighbors {
                schema: SCHEMA,
                neighbors: vec![],
            }
            .into(),
            "No neighbors are heard.\n",
        ),
        (
            "originators",
            Originators {
                schema: SCHEMA,
                originators: vec![],
            }
            .into(),
            "No other nodes are known.\n",
        ),
        (
            "routes",
            Routes {
                schema: SCHEMA,
                routes: vec![],
            }
            .into(),
            "No routes.\n",
        ),
        (
            "gateways",
            Gateways {
                schema: SCHEMA,
                choice: GatewayChoice::Auto,
                gateways: vec![],
            }
            .into(),
            "No gateway is known.\n",
        ),
    ];
    for (command, answer, text) in cases {
        let daemon = Daemon::answering(answer);
        assert_eq!(stdout_of(&daemon.meshctl(&[command])), text);
    }
}

#[test]
fn advice_that_is_not_there_takes_no_line() {
    let finding = Finding {
        check: "channel".into(),
        severity: Severity::Note,
        subject: "mesh0".into(),
        problem: "another program changed its channel".into(),
        advice: String::new(),
        fixable: false,
    };
    let daemon = Daemon::answering(Doctor {
        schema: SCHEMA,
        findings: vec![finding],
    });

    assert_eq!(
        stdout_of(&daemon.meshctl(&["doctor"])),
        "note     mesh0: another program changed its channel\n"
    );
}

/// The table of interfaces, of the first one in the sample only, without its heading.
fn interface_line(change: impl FnOnce(&mut Interface)) -> String {
    let (mut interfaces, _) = sample::<Interfaces>("interfaces.json");
    interfaces.interfaces.truncate(1);
    change(&mut interfaces.interfaces[0]);
    let text = stdout_of(&Daemon::answering(interfaces).meshctl(&["interfaces"]));
    text.lines().nth(1).unwrap().to_owned()
}

#[test]
fn a_problem_stands_in_the_table_as_far_as_there_is_room() {
    let line = interface_line(|interface| {
        interface.in_use = false;
        interface.problem = Some("long problem ".repeat(20));
    });
    assert!(
        line.contains(" long problem long problem long problem …  "),
        "{line}"
    );

    let line = interface_line(|interface| interface.in_use = false);
    assert!(line.starts_with("mesh0  mesh  not used  "), "{line}");
}

#[test]
fn a_station_without_the_password_is_no_peer() {
    let (mut interfaces, _) = sample::<Interfaces>("interfaces.json");
    interfaces.interfaces.drain(..1);
    let radio = interfaces.interfaces[0].radio.as_mut().unwrap();
    radio.stations[0].authorized = false;

    let text = stdout_of(&Daemon::answering(interfaces).meshctl(&["interfaces"]));

    let line = text.lines().nth(1).unwrap();
    let fields: Vec<&str> = line.split_whitespace().rev().take(3).collect();
    assert_eq!(fields, ["-", "0", "open"], "signal, peers, encryption");
    assert!(text.ends_with("  unauthorized\n"), "{text}");
}

#[test]
fn half_a_channel_is_shown_as_such() {
    let line = interface_line(|interface| interface.radio.as_mut().unwrap().channel = None);
    assert!(line.contains("  5180 MHz  "), "{line}");

    let line = interface_line(|interface| interface.radio.as_mut().unwrap().frequency_mhz = None);
    assert!(line.contains("  36 "), "{line}");
}

fn status_text(change: impl FnOnce(&mut Status)) -> String {
    let (mut status, _) = sample::<Status>("status-gateway.json");
    change(&mut status);
    stdout_of(&Daemon::answering(status).meshctl(&["status"]))
}

fn first_line(internet: Internet) -> String {
    status_text(|status| status.internet = internet)
        .lines()
        .next()
        .unwrap()
        .to_owned()
}

fn node(name: &str) -> NodeRef {
    NodeRef {
        originator_id: OriginatorId::new([0x55; 10]),
        name: Some(name.into()),
    }
}

#[test]
fn status_leads_with_the_answer() {
    let nameless = NodeRef {
        name: None,
        ..node("")
    };
    assert_eq!(
        first_line(Internet::through_gateway(nameless, 1, node("x"), 59)),
        "Internet: yes, through 55555555, 1 hop, since 59s"
    );
    assert_eq!(
        first_line(Internet::offline(303, None, None)),
        "Internet: no, not since meshd started 5m 3s ago"
    );
    assert_eq!(
        first_line(Internet::offline(303, Some(303), None)),
        "Internet: no, since 5m 3s"
    );
}

#[test]
fn status_fits_the_screen_whatever_happens() {
    let text = status_text(|status| {
        let long = "long-name ".repeat(20);
        let days = 999 * 86_400 + 23 * 3600;
        status.internet = Internet::through_gateway(node(&long), 255, node(&long), days);
        status.name.clone_from(&long);
        status.network = long.repeat(3);
        status.version = long.repeat(3);
        let counters = &mut status.counters;
        (counters.rx_packets, counters.rx_bytes) = (u64::MAX, u64::MAX);
        (counters.tx_packets, counters.tx_bytes) = (u64::MAX, u64::MAX);
        counters.drops = (0..50)
            .map(|n| (format!("reason_number_{n}"), u64::MAX - n))
            .collect();
        status.warnings = (0..50)
            .map(|n| format!("{n}: {}", long.repeat(2)))
            .collect();
    });

    let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(widest <= 80, "{widest} columns:\n{text}");
    assert!(
        text.lines().count() <= 23,
        "{} lines:\n{text}",
        text.lines().count()
    );
    assert!(text.contains("Warning      0: long-name"), "{text}");
    assert!(
        text.ends_with("more, see meshctl --json status\n"),
        "{text}"
    );
}

#[test]
fn status_shows_every_warning_while_there_is_room() {
    let text = status_text(|status| status.warnings = vec!["first".into(), "second".into()]);

    assert!(
        text.ends_with("Warning      first\nWarning      second\n"),
        "{text}"
    );
}

/// Every text in every sample, with [`HOSTILE`] in its place wherever another node or the daemon
/// chose it.
fn hostile<T: DeserializeOwned>(sample_name: &str) -> T {
    let (mut value, _) = sample::<serde_json::Value>(sample_name);
    poison(&mut value);
    serde_json::from_value(value).unwrap()
}

fn poison(value: &mut serde_json::Value) {
    const CHOSEN: [&str; 19] = [
        "advice",
        "driver",
        "id",
        "mac",
        "mode",
        "phy",
        "plink",
        "problem",
        "subject",
        "name",
        "network",
        "version",
        "interface",
        "reason",
        "own_uplink",
        "warnings",
        "width",
        "changed",
        "needs_restart",
    ];
    match value {
        serde_json::Value::Object(fields) => {
            for (key, field) in fields {
                if CHOSEN.contains(&key.as_str()) && field.is_string() {
                    *field = HOSTILE.into();
                } else if CHOSEN.contains(&key.as_str()) && field.is_array() {
                    *field = serde_json::json!([HOSTILE]);
                } else if key == "drops" {
                    *field = serde_json::json!({ HOSTILE: 1 });
                } else if key != "refusal" {
                    // Its reason is one of a few words.
                    poison(field);
                }
            }
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(poison),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => {}
    }
}

fn assert_harmless<T>(arguments: &[&str], sample_name: &str)
where
    T: DeserializeOwned + Into<Answer> + Clone + PartialEq + std::fmt::Debug,
{
    let result: T = hostile(sample_name);
    let daemon = Daemon::answering(result.clone());

    let table = printed(&daemon.meshctl(arguments));
    let json = printed(&daemon.meshctl(&[&["--json"], arguments].concat()));

    for text in [&table, &json] {
        let harmful = text
            .chars()
            .find(|c| c.is_control() && *c != '\n' || matches!(c, '\u{200b}' | '\u{202e}'));
        assert_eq!(harmful, None, "{text}");
    }
    assert!(table.contains("ev[31mil2J x"), "{table}");
    assert_eq!(
        serde_json::from_str::<T>(&json).unwrap(),
        result,
        "JSON keeps the value"
    );
}

#[test]
fn text_of_others_cannot_act_on_the_terminal() {
    assert_harmless::<Status>(&["status"], "status-gateway.json");
    assert_harmless::<Status>(&["status"], "status-uplink.json");
    assert_harmless::<Status>(&["status"], "status-offline.json");
    assert_harmless::<Doctor>(&["doctor"], "doctor-warnings.json");
    assert_harmless::<Interfaces>(&["interfaces"], "interfaces.json");
    assert_harmless::<Neighbors>(&["neighbors"], "neighbors.json");
    assert_harmless::<Originators>(&["originators"], "originators.json");
    assert_harmless::<Routes>(&["routes"], "routes.json");
    assert_harmless::<Gateways>(&["gateways"], "gateways.json");
    assert_harmless::<Accounts>(&["receipts", "list"], "receipts-list.json");
    assert_harmless::<CarriedFiles>(&["receipts", "list", "--carried"], "receipts-carried.json");
    assert_harmless::<NodeAccounts>(&["receipts", "show", "x"], "receipts-show-cheat.json");
    assert_harmless::<Reloaded>(&["reload"], "reload.json");
}
