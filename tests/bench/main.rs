//! `mesh-bench`: meshd, babeld and batmand side by side, in the same villages, under the same
//! probes, in one run.
//!
//! | module | what it holds |
//! |---|---|
//! | `kind` | the daemons and their options |
//! | `bed` | a village that runs one of them |
//! | `plan` | what is measured where, and what at the same time |
//! | `start` | cold start, join, reboot |
//! | `broken` | links, relays, cables and gateways that fail |
//! | `idle` | bytes, processor time and memory when nothing happens |
//! | `crowd` | memory, processor time and instructions of a meshd that knows a thousand nodes |
//! | `radio` | 802.11 radios in a virtual machine, batman-adv included |
//! | `throughput` | what the whole way of a phone's packets carries, and what it costs |
//! | `uplinks` | gateways that fail in every way there is |
//! | `clients` | 10,000 flows, and what they cost daemons |
//! | `page` | the status page: what it costs, and what a flood of connections does |
//! | `change` | many links that change, and a lossy village in which none does |
//! | `watch` | probes, tables and counters while something happens |
//! | `graph` | who is linked with whom; seeded choices |
//! | `report` | figures: printed, and written as JSON |
//! | `plot` | the drawing of them |
//!
//! The daemons are used from outside only: configuration, signals, the kernel's tables and
//! counters; `crowd` also speaks meshd's protocol to it. How the figures are read is in
//! `docs/bench.md`.

#![expect(clippy::print_stdout, reason = "a program for people to watch")]

mod bed;
mod broken;
mod change;
mod clients;
mod crowd;
mod graph;
mod idle;
mod kind;
mod page;
mod plan;
mod plot;
mod radio;
mod report;
mod start;
mod throughput;
mod uplinks;
mod watch;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use mesh_tests::topology::Topology;
use mesh_tests::{sandbox, vm};

use crate::kind::Kind;
use crate::report::{Recorder, Report};
use crate::throughput::Tunnel;

/// Measures meshd, babeld and batmand side by side in network namespaces.
///
/// Runs without root; nothing of it touches this machine's network. Every figure is printed when
/// it is known and written, with every sample, to bench.json in the output directory.
#[derive(Debug, Parser)]
#[command(name = "mesh-bench", version)]
struct Cli {
    /// Measure only these.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Measure>,
    /// Measure only these daemons.
    #[arg(long, value_delimiter = ',')]
    daemons: Vec<Kind>,
    /// In these villages instead of line:5, grid:3x3, grid:5x5 and grid:7x7.
    #[arg(long, value_delimiter = ',')]
    topologies: Vec<Topology>,
    /// With these losses of broadcasts, in percent.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 10])]
    loss: Vec<u32>,
    /// A few rounds in the small grid only; minutes.
    #[arg(long)]
    quick: bool,
    /// Also the measures that take ten minutes each.
    #[arg(long)]
    long: bool,
    /// How often a link is cut, a relay lost, and so on; meshd twice as often.
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds between two events, in which a village is left alone.
    #[arg(long)]
    settle: Option<u64>,
    /// How often a village of meshd is started; the others less often where they take long.
    #[arg(long)]
    starts: Option<usize>,
    /// Decides which links are cut and so on; another one every time unless given.
    #[arg(long)]
    seed: Option<u64>,
    /// What the tunnels are made of whose throughput is measured.
    #[arg(long, value_delimiter = ',', default_values = ["vxlan"])]
    tunnels: Vec<Tunnel>,
    /// Where bench.json and the drawings go.
    #[arg(long, default_value = "tests/out/bench")]
    out: PathBuf,
    /// On simulated 802.11 radios, in a virtual machine, and beside batman-adv: transfers and idle
    /// costs (`--only idle`), outages (`--only cut`). Takes `--rounds` and `--out`, which must be in
    /// tests/out.
    #[arg(long)]
    radios: bool,
    /// In a virtual machine with a kernel that has WireGuard, on a processor that nothing helps: compare
    /// within one run only. `--out` must be in tests/out.
    #[arg(long, conflicts_with = "radios")]
    vm: bool,
    /// Only draws what an earlier run has written to bench.json in the output directory.
    #[arg(long)]
    redraw: bool,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Measure {
    /// Cold start until all pairs reach each other.
    Cold,
    /// Outage after a silent link cut, loops included.
    Cut,
    /// A relay loses power.
    Relay,
    /// The gateway in use loses power.
    Gateway,
    /// A cable is pulled.
    Carrier,
    /// A new node.
    Join,
    /// A node that has lost its state.
    Reboot,
    /// Bytes, processor time and memory when nothing happens.
    Idle,
    /// A thousand originators in one meshd: memory, processor time and instructions per OGM.
    Crowd,
    /// TCP from a phone over five routers to the Internet, beside routes made by hand.
    Throughput,
    /// The gateway in use of three loses power, carrier, its line, resolvers, or meets a portal.
    Uplinks,
    /// 64 hosts with 10,000 flows behind one router.
    Clients,
    /// The status page, asked ten times a second, and under 10,000 connections that mean no good.
    StatusPage,
    /// Half of the links change.
    Reshuffle,
    /// Ten minutes at 30 % loss, when `--long` is given or it is asked for.
    Calm,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = if cli.redraw {
        Report::read(&cli.out.join("bench.json")).and_then(|report| draw(&cli, &report))
    } else if cli.radios {
        vm::enter(radio::BOUND).and_then(|()| run_radios(&cli))
    } else if cli.vm {
        vm::enter(radio::BOUND).and_then(|()| run(&cli))
    } else {
        sandbox::enter().and_then(|()| run(&cli))
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let kinds: Vec<Kind> = match cli.daemons.as_slice() {
        [] => Kind::ALL.to_vec(),
        some => some.to_vec(),
    };
    for kind in &kinds {
        kind.check()?;
    }
    let seed = cli.seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.unwrap_or_default().as_secs()
    });
    fs::create_dir_all(&cli.out).with_context(|| format!("create {}", cli.out.display()))?;
    let words: Vec<String> = env::args().skip(1).collect();
    let command = format!("mesh-bench {} (seed {seed})", words.join(" "));
    let recorder = Recorder::new(cli.out.join("bench.json"), command, seed, &kinds);
    recorder.say(&format!("seed {seed}"));
    println!("{}", report::HEAD);
    plan::run(&plan(cli, kinds, seed), &recorder)?;
    println!("\n{}", report::HEAD);
    for figure in recorder.figures() {
        println!("{}", report::row(&figure));
    }
    let ratios = report::ratios(&recorder.figures());
    if !ratios.is_empty() {
        println!("\nTimes as much as meshd: p50, p90, p99, max, mean");
        println!("{}", ratios.join("\n"));
    }
    draw(cli, &Report::read(&cli.out.join("bench.json"))?)
}

fn run_radios(cli: &Cli) -> Result<()> {
    let kinds = [Kind::Meshd, Kind::BabeldWireless, Kind::Batmand];
    fs::create_dir_all(&cli.out).with_context(|| format!("create {}", cli.out.display()))?;
    let rounds = cli.rounds.unwrap_or(5);
    let command = format!("mesh-bench --radios --rounds {rounds}");
    let recorder = Recorder::new(cli.out.join("radio.json"), command, 0, &kinds);
    println!("{}", report::HEAD);
    let is_wanted = |measure| cli.only.is_empty() || cli.only.contains(&measure);
    if is_wanted(Measure::Idle) {
        radio::costs(&recorder)?;
    }
    if is_wanted(Measure::Cut) {
        radio::outages(&recorder, rounds)?;
    }
    println!("\n{}", report::HEAD);
    for figure in recorder.figures() {
        println!("{}", report::row(&figure));
    }
    Ok(())
}

fn plan(cli: &Cli, kinds: Vec<Kind>, seed: u64) -> plan::Plan {
    let mut measures: BTreeSet<Measure> = cli.only.iter().copied().collect();
    if measures.is_empty() {
        measures.extend(Measure::value_variants());
        if !cli.long {
            measures.remove(&Measure::Calm);
        }
        if cli.quick {
            measures.remove(&Measure::Reshuffle);
            measures.remove(&Measure::Throughput);
            measures.remove(&Measure::Uplinks);
        }
    }
    let mut topologies = cli.topologies.clone();
    if topologies.is_empty() {
        topologies = vec![Topology::grid(3, 3)];
        if !cli.quick {
            topologies.insert(0, Topology::line(5));
            topologies.extend([Topology::grid(5, 5), Topology::grid(7, 7)]);
        }
    }
    plan::Plan {
        kinds,
        measures,
        topologies,
        losses: cli.loss.clone(),
        tunnels: cli.tunnels.clone(),
        rounds: cli.rounds.unwrap_or(if cli.quick { 2 } else { 10 }),
        starts: cli.starts.unwrap_or(if cli.quick { 1 } else { 10 }),
        settle: std::time::Duration::from_secs(cli.settle.unwrap_or(if cli.quick {
            6
        } else {
            10
        })),
        idle: std::time::Duration::from_secs(if cli.quick { 20 } else { 60 }),
        seed,
    }
}

fn draw(cli: &Cli, report: &Report) -> Result<()> {
    for (name, svg) in [
        ("outages.svg", plot::outages(report)),
        ("idle.svg", plot::idle(report)),
    ] {
        let path = cli.out.join(name);
        fs::write(&path, svg).with_context(|| format!("write {}", path.display()))?;
    }
    println!(
        "written: {}/bench.json, outages.svg, idle.svg",
        cli.out.display()
    );
    Ok(())
}
