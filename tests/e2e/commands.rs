//! Every command of meshctl, run in a village: as a table and as JSON.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use libtest_mimic::Trial;
use mesh_tests::binaries;
use mesh_tests::daemon::{self, Finished};
use mesh_tests::harness::in_lab;
use mesh_tests::lab::{Lab, Node};
use mesh_tests::mesh::{wait_all_pairs, wait_online_through};
use mesh_tests::topology::Topology;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

pub(crate) fn tests() -> Vec<Trial> {
    vec![in_lab(
        "every_command_of_meshctl_does_something",
        || Topology::line(2),
        every_command,
    )]
}

const PATIENCE: Duration = Duration::from_secs(30);

/// How a command is run, and what comes of it. `{…}` in arguments is a file of the test.
struct Entry {
    command: &'static str,
    arguments: &'static str,
    outcome: Outcome,
}

/// What is looked at.
enum Outcome {
    /// It succeeds: the table has these words, and JSON has a schema.
    Shows(&'static str),
    /// It succeeds and prints these words, whatever form is asked for.
    Prints(&'static str),
    /// It goes on until Ctrl-C, which is a success.
    GoesOn,
    /// It ends with this exit code and says these words: what it needs is not in this village.
    Fails(i32, &'static str),
}

use Outcome::{Fails, GoesOn, Prints, Shows};

const fn entry(command: &'static str, arguments: &'static str, outcome: Outcome) -> Entry {
    Entry {
        command,
        arguments,
        outcome,
    }
}

/// In the order in which they are run: some make what others read. A command may have several entries.
const ENTRIES: &[Entry] = &[
    entry("status", "", Shows("Internet: yes, through r2")),
    entry("doctor", "", Shows("")),
    entry("interfaces", "", Shows("mesh0")),
    entry("neighbors", "", Shows("r2")),
    entry("originators", "", Shows("r2")),
    entry("routes", "", Shows("r2")),
    entry("routes", "r2", Shows("r2")),
    entry("ping", "r2 --count 1", Shows("1 answered")),
    entry("traceroute", "r2", Shows("r2")),
    entry(
        "throughput",
        "r2 --seconds 1 --direction down",
        Shows("Mbit/s"),
    ),
    entry("graph", "", Prints("NetworkGraph")),
    entry("graph", "--format svg", Prints("<svg")),
    entry("gateways", "", Shows("chosen")),
    entry("gateways select", "r2", Shows("Selected: r2")),
    entry("gateways select", "auto", Shows("r2")),
    entry("metrics", "", Prints("meshd_internet_up 1")),
    entry("monitor", "", GoesOn),
    entry("top", "", Fails(2, "terminal")),
    entry("receipts list", "", Shows("")),
    entry("receipts list", "--carried", Shows("")),
    entry("receipts show", "r2", Fails(4, "r2")),
    entry("receipts stats", "", Shows("")),
    entry("receipts export", "{receipts}", Shows("all valid")),
    entry("receipts verify", "{receipts}", Shows("")),
    entry("receipts import", "{receipts}", Fails(1, "")),
    entry("config check", "{config}", Shows("valid")),
    entry("config show", "", Shows("mesh0")),
    entry("config diff", "{config}", Shows("nothing")),
    entry("reload", "", Shows("nothing changed")),
    entry("reload", "--revert", Fails(4, "")),
    entry("log-level", "info", Shows("info")),
    entry("bugreport", "--output-file {report}", Shows("without keys")),
    entry("version", "", Shows("meshd")),
    entry("completions", "bash", Prints("complete -F")),
    // Of settlement there is no service and no chain here: `tests/settlement` and `tests/evm` have them.
    entry(
        "redeem",
        "--dry-run --queue {queue} --service http://127.0.0.1:9",
        Shows(""),
    ),
    entry(
        "account",
        "0x00000000000000000000000000000000000000aa {account} --identity {identity} \
        --chain-id 1 --book 0x00000000000000000000000000000000000000bb",
        Shows(""),
    ),
    entry("wallet import", "{nothing}", Fails(4, "")),
    entry("wallet new", "--light", Shows("0x")),
    entry("wallet address", "", Shows("0x")),
    entry("wallet backup", "{backup}", Shows("")),
    entry("wallet balance", "", Fails(1, "")),
    entry(
        "wallet send",
        "0x00000000000000000000000000000000000000aa 1 --yes",
        Fails(1, ""),
    ),
    entry("wallet cash", "{nothing} --yes", Fails(4, "")),
    entry("wallet deposit", "1 --yes", Fails(1, "")),
    entry("wallet authorize", "--yes", Fails(1, "")),
    entry("wallet withdraw", "--yes", Fails(1, "")),
    entry(
        "wallet register",
        "{account} --service http://127.0.0.1:9",
        Fails(1, ""),
    ),
];

fn every_command(lab: &mut Lab) -> Result<()> {
    let missing: Vec<String> = commands(&[])?
        .into_iter()
        .filter(|it| !has_entry(it))
        .collect();
    ensure!(
        missing.is_empty(),
        "commands without an entry in ENTRIES: {missing:?}"
    );
    lab.add_uplink("r2")?;
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    wait_online_through(lab, "r1", "r2", PATIENCE)?;
    let node = lab.node("r1")?;
    let directory = node.files().directory();
    let passphrase = directory.join("passphrase");
    fs::write(&passphrase, "correct horse battery staple\n")?;
    fs::set_permissions(&passphrase, fs::Permissions::from_mode(0o600))?;
    let mut problems = Vec::new();
    for entry in ENTRIES {
        for form in ["table", "json"] {
            if let Err(error) = try_entry(node, entry, form) {
                let Entry {
                    command, arguments, ..
                } = entry;
                problems.push(format!("{command} {arguments} as {form}: {error:#}"));
            }
        }
    }
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

fn has_entry(command: &str) -> bool {
    ENTRIES.iter().any(|entry| entry.command == command)
}

/// Every command that does something, as `--help` tells of it: `config show`. One that does something both alone
/// and with more behind it (`gateways`) is there as well.
fn commands(path: &[String]) -> Result<BTreeSet<String>> {
    let help = daemon::run("meshctl", &format!("{} --help", path.join(" ")))?;
    ensure!(help.code == 0, "{help:?}");
    let listed = help.out.split_once("\nCommands:\n");
    let listed = listed.map(|(_, rest)| rest.split_once("\n\n").map_or(rest, |(list, _)| list));
    let names = listed.unwrap_or_default().lines().filter_map(|line| {
        let is_name = line.starts_with("  ") && !line.starts_with("   ");
        is_name.then(|| line.split_whitespace().next())?
    });
    let names: Vec<&str> = names.filter(|name| *name != "help").collect();
    let mut all = BTreeSet::new();
    let usage = help
        .out
        .lines()
        .find(|line| line.starts_with("Usage:"))
        .context("no usage")?;
    if !usage.contains("<COMMAND>") && !path.is_empty() {
        all.insert(path.join(" "));
    }
    for name in names {
        let longer = [path, &[name.to_owned()]].concat();
        all.extend(commands(&longer)?);
    }
    Ok(all)
}

fn try_entry(node: &Node, entry: &Entry, form: &str) -> Result<()> {
    let finished = match entry.outcome {
        GoesOn => run_until_interrupted(node, entry, form)?,
        Shows(_) | Prints(_) | Fails(..) => run(node, entry, form)?,
    };
    let (code, words) = match entry.outcome {
        Fails(code, words) => {
            let said = finished.err.starts_with("meshctl: ") && finished.err.contains(words);
            ensure!(said, "{finished:?}");
            (code, "")
        }
        Shows(_) if form == "json" => {
            let json: Value =
                serde_json::from_str(&finished.out).with_context(|| format!("{finished:?}"))?;
            ensure!(
                json.get("schema").is_some_and(Value::is_u64),
                "no schema: {json}"
            );
            (0, "")
        }
        Shows(words) | Prints(words) => (0, words),
        GoesOn => (0, ""),
    };
    ensure!(
        finished.code == code && finished.out.contains(words),
        "{finished:?}"
    );
    Ok(())
}

fn meshctl(node: &Node, entry: &Entry, form: &str) -> Result<Command> {
    let directory = node.files().directory();
    let mut command = Command::new(binaries::find("meshctl")?);
    command.args(entry.command.split(' '));
    for argument in entry.arguments.split_whitespace() {
        command.arg(fill_in(
            argument,
            node.files().config().as_path(),
            directory,
            form,
        ));
    }
    command
        .args(["--output", form])
        .arg("--socket")
        .arg(node.files().socket());
    if entry.command.starts_with("wallet ") {
        let keystore = directory.join(format!("wallet-{form}.json"));
        command.arg("--keystore").arg(keystore);
        command
            .arg("--passphrase-file")
            .arg(directory.join("passphrase"));
        let nobody = "0x00000000000000000000000000000000000000bb";
        command.args([
            "--rpc",
            "http://127.0.0.1:9",
            "--book",
            nobody,
            "--token",
            nobody,
        ]);
    }
    command.env("HOME", directory).stdin(Stdio::null());
    Ok(command)
}

/// A file of its own for each form.
fn fill_in(argument: &str, config: &Path, directory: &Path, form: &str) -> String {
    match argument
        .strip_prefix('{')
        .and_then(|it| it.strip_suffix('}'))
    {
        None => argument.to_owned(),
        Some("config") => config.display().to_string(),
        Some("identity") => directory.join("identity.key").display().to_string(),
        Some(name) => directory
            .join(format!("{name}-{form}"))
            .display()
            .to_string(),
    }
}

fn run(node: &Node, entry: &Entry, form: &str) -> Result<Finished> {
    let mut command = meshctl(node, entry, form)?;
    let output = node.namespace().within(|| Ok(command.output()?))?;
    Ok(finished(&output))
}

fn run_until_interrupted(node: &Node, entry: &Entry, form: &str) -> Result<Finished> {
    let mut command = meshctl(node, entry, form)?;
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn()?;
    let process = Pid::from_raw(i32::try_from(child.id())?);
    // It cannot be told from outside whether the signal would end it already.
    mesh_tests::wait::wait_for("the signal to be blocked", PATIENCE, || {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let mut lines = status.lines();
        let blocked = lines
            .find_map(|line| line.strip_prefix("SigBlk:"))
            .context("no SigBlk")?;
        let set = u64::from_str_radix(blocked.trim(), 16)?;
        if set & (1 << (Signal::SIGINT as u64 - 1)) == 0 {
            bail!("SIGINT would kill it");
        }
        Ok(())
    })?;
    kill(process, Signal::SIGINT)?;
    Ok(finished(&child.wait_with_output()?))
}

fn finished(output: &std::process::Output) -> Finished {
    Finished {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
