//! The simulator's command line.

mod help;

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use clap::{Args, Parser, Subcommand};
use mesh_sim::report::{Cost, Seeds};
use mesh_sim::scenario::{Inheritance, Named};
use mesh_sim::{Action, NodeIndex, Options, Report, Simulation, Step, Topology};

/// Runs meshd's routing core in virtual time.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a mesh and prints what was measured.
    #[command(after_help = help::SHORT, after_long_help = help::long())]
    Run(Run),
}

#[derive(Debug, Args)]
struct Run {
    /// grid:WxH, line:N, ring:N, geometric:N (random places, seven neighbors on average), or
    /// file:PATH (NetJSON NetworkGraph or {"links": [{"source": …, "target": …, "loss": 0.1}]},
    /// where "loss" is a share)
    #[arg(long)]
    topology: String,
    /// Seed of all randomness: the same seed gives the same run, packet for packet
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Runs every seed from A to B, both included, and sums up
    #[arg(long, value_name = "A..B", conflicts_with = "seed")]
    seeds: Option<String>,
    /// Broadcasts that links lose, %; unicasts are tried four times
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT")]
    loss: f64,
    /// How long a packet takes over a link, ms
    #[arg(long, default_value_t = 1.0, value_name = "MS")]
    delay: f64,
    /// What happens to the mesh, drawn from the seed; see below
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
    /// Virtual time to run, s; 30 without a scenario, and what the scenario says with one
    #[arg(long, value_name = "SECONDS")]
    duration: Option<f64>,
    /// How many flows of traffic a scenario has
    #[arg(long, default_value_t = 20, value_name = "N")]
    flows: usize,
    /// Switch nodes on at random within this time, ms, instead of all at once
    #[arg(long, default_value_t = 0.0, value_name = "MS")]
    spread: f64,
    /// Cut the link between A and B, silently, at second T
    #[arg(long, num_args = 1.., value_name = "A-B@T")]
    cut: Vec<String>,
    /// Heal the link between A and B at second T
    #[arg(long, num_args = 1.., value_name = "A-B@T")]
    heal: Vec<String>,
    /// Switch a node off at second T; its kernel's routes are gone
    #[arg(long, num_args = 1.., value_name = "NODE@T")]
    stop: Vec<String>,
    /// Switch a stopped node on again at second T
    #[arg(long, num_args = 1.., value_name = "NODE@T")]
    start: Vec<String>,
    /// Restart a node's daemon at second T; its routes are gone
    #[arg(long, num_args = 1.., value_name = "NODE@T")]
    restart_cold: Vec<String>,
    /// Restart a node's daemon at second T; its kernel keeps the routes and the daemon adopts them
    #[arg(long, num_args = 1.., value_name = "NODE@T")]
    restart_warm: Vec<String>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Virtual time of a run without a scenario, s.
const USUAL_SECONDS: f64 = 30.0;

fn main() -> ExitCode {
    let Command::Run(run) = Cli::parse().command;
    match run.all() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            // Nothing is left to say where stderr cannot be written to.
            let _ = writeln!(std::io::stderr(), "mesh-sim: {error:#}");
            ExitCode::from(2)
        }
    }
}

impl Run {
    /// Runs what was asked for. Returns whether everything was as it must be.
    fn all(&self) -> anyhow::Result<bool> {
        let Some(seeds) = &self.seeds else {
            let report = self.one(self.seed)?;
            self.print(&report)?;
            return Ok(report.is_good());
        };
        let mut sum = Seeds::default();
        let start = Instant::now();
        for seed in parse_seeds(seeds)? {
            sum.add(self.one(seed)?);
        }
        sum.cost = Some(Cost::new(start.elapsed(), sum.events));
        self.print(&sum)?;
        Ok(sum.is_good())
    }

    fn one(&self, seed: u64) -> anyhow::Result<Report> {
        let start = Instant::now();
        let topology = Topology::from_spec(&self.topology, seed)?;
        let scenario = self.scenario()?;
        let duration = self.duration(scenario)?;
        let steps = self.steps(&topology)?;
        let plan = scenario.map(|s| s.plan(&topology, seed, duration, self.flows));
        let mut simulation = Simulation::new(topology, self.options(seed)?);
        simulation.follow(plan.unwrap_or_default());
        for step in steps {
            simulation.schedule(step);
        }
        simulation.run_until(duration);
        let name = scenario.map(|scenario| scenario.name);
        let mut report = Report::new(&simulation, &self.topology, name);
        report.cost = Some(Cost::new(start.elapsed(), report.events));
        Ok(report)
    }

    fn options(&self, seed: u64) -> anyhow::Result<Options> {
        if !(0.0..=100.0).contains(&self.loss) {
            bail!("--loss {}: a percentage from 0 to 100", self.loss);
        }
        Ok(Options {
            loss: self.loss / 100.0,
            delay: seconds("--delay", self.delay / 1000.0)?,
            spread: seconds("--spread", self.spread / 1000.0)?,
            ..Options::new(seed)
        })
    }

    fn scenario(&self) -> anyhow::Result<Option<&'static Named>> {
        let Some(name) = &self.scenario else {
            return Ok(None);
        };
        let found = Named::find(name);
        let found = found.with_context(|| format!("--scenario {name}: one of {}", help::names()));
        Ok(Some(found?))
    }

    fn duration(&self, scenario: Option<&Named>) -> anyhow::Result<Duration> {
        match (self.duration, scenario) {
            (Some(duration), _) => seconds("--duration", duration),
            (None, Some(scenario)) => Ok(Duration::from_secs(scenario.seconds)),
            (None, None) => seconds("--duration", USUAL_SECONDS),
        }
    }

    /// What the command line says is to happen.
    fn steps(&self, topology: &Topology) -> anyhow::Result<Vec<Step>> {
        type LinkAction = fn(NodeIndex, NodeIndex) -> Action;
        type NodeAction = fn(NodeIndex, Inheritance) -> Action;
        use Inheritance::{Cold, Warm};
        let links: [(_, LinkAction); 2] = [(&self.cut, Action::Cut), (&self.heal, Action::Heal)];
        let nodes: [(_, NodeAction, _); 4] = [
            (&self.stop, Action::Stop, Cold),
            (&self.start, Action::Start, Cold),
            (&self.restart_cold, Action::Restart, Cold),
            (&self.restart_warm, Action::Restart, Warm),
        ];
        let mut steps = Vec::new();
        for (texts, action) in links {
            for text in texts {
                let (at, a, b) = Step::parse_link(text, topology).map_err(|e| anyhow!(e))?;
                steps.push(Step::new(at, action(a, b)));
            }
        }
        for (texts, action, how) in nodes {
            for text in texts {
                let (at, node) = Step::parse_node(text, topology).map_err(|e| anyhow!(e))?;
                steps.push(Step::new(at, action(node, how)));
            }
        }
        Ok(steps)
    }

    fn print(&self, report: &(impl serde::Serialize + std::fmt::Display)) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        if self.json {
            serde_json::to_writer_pretty(&mut out, report)?;
            writeln!(out)?;
        } else {
            write!(out, "{report}")?;
        }
        Ok(())
    }
}

fn seconds(name: &str, seconds: f64) -> anyhow::Result<Duration> {
    Duration::try_from_secs_f64(seconds).with_context(|| name.to_owned())
}

fn parse_seeds(text: &str) -> anyhow::Result<std::ops::RangeInclusive<u64>> {
    let range = text.split_once("..").and_then(|(from, to)| {
        let (from, to) = (from.parse().ok()?, to.parse().ok()?);
        (from <= to).then_some(from..=to)
    });
    range.with_context(|| format!("--seeds {text}: A..B, where A is not above B"))
}
