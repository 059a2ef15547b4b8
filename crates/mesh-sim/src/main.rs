//! The simulator's command line.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::{Args, Parser, Subcommand};
use mesh_sim::scenario::Inheritance;
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
    #[command(after_long_help = FIGURES)]
    Run(Run),
}

#[derive(Debug, Args)]
struct Run {
    /// grid:WxH, line:N, ring:N, geometric:N (random places), or file:PATH (NetJSON NetworkGraph
    /// or {"links": [{"source": …, "target": …, "loss": 0.1}]}, where "loss" is a share)
    #[arg(long)]
    topology: String,
    /// Seed of all randomness: the same seed gives the same run, packet for packet
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Broadcasts that links lose, %; unicasts are tried four times
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT")]
    loss: f64,
    /// How long a packet takes over a link, ms
    #[arg(long, default_value_t = 1.0, value_name = "MS")]
    delay: f64,
    /// Virtual time to run, s
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS")]
    duration: f64,
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

const FIGURES: &str = "\
Figures:
  trace hash            fingerprint of every packet, timer and route; equal for equal runs
  pairs                 ordered pairs of running nodes that links connect (possible), and those
                        of them for which the kernels' routes do not lead from one to the other
                        over working links (unrouted)
  path cost / shortest  cost of the paths in use over that of the shortest possible, which is
                        computed with knowledge of the whole mesh; a link costs 100 µs and 500 µs
                        for each transmission it takes on average (600 µs without loss)
  control               what each node sends to keep the routing up, UDP payload, over the whole
                        run and over its last ten seconds
  route changes         routes set or removed in all kernels together
  loops                 circles in the kernels' next hops for one destination; checked after
                        every event that changed a route. Contested: for prefixes that several
                        nodes announce, while nodes disagree on whose they are
  refused changes       removals of routes that a kernel did not have; shown if there were any
  busy timers           timers that asked to be called again at once; shown if there were any
  routed in s           virtual time from the start of a phase (the start, a cut, …) until all
                        pairs were routed, to 10 ms
  relapses              how often after that a pair was unrouted again
  unrouted pair-s       time that pairs were unrouted, summed over all pairs

Exit status: 0 if there was no loop and all pairs are routed at the end, 1 if not, 2 if the
command line or the topology is not usable.";

fn main() -> ExitCode {
    let Command::Run(run) = Cli::parse().command;
    let outcome = simulate(&run).and_then(|report| {
        print(&report, run.json)?;
        Ok(report.is_good())
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            // Nothing is left to say where stderr cannot be written to.
            let _ = writeln!(std::io::stderr(), "mesh-sim: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn simulate(run: &Run) -> anyhow::Result<Report> {
    if !(0.0..=100.0).contains(&run.loss) {
        bail!("--loss {}: a percentage from 0 to 100", run.loss);
    }
    let options = Options {
        loss: run.loss / 100.0,
        delay: duration("--delay", run.delay / 1000.0)?,
        spread: duration("--spread", run.spread / 1000.0)?,
        ..Options::new(run.seed)
    };
    let until = duration("--duration", run.duration)?;
    let topology = Topology::from_spec(&run.topology, run.seed)?;
    let steps = scenario(run, &topology)?;
    let mut simulation = Simulation::new(topology, options);
    for step in steps {
        simulation.schedule(step);
    }
    simulation.run_until(until);
    Ok(Report::new(&simulation, &run.topology))
}

fn duration(name: &str, seconds: f64) -> anyhow::Result<Duration> {
    Duration::try_from_secs_f64(seconds).with_context(|| name.to_owned())
}

fn scenario(run: &Run, topology: &Topology) -> anyhow::Result<Vec<Step>> {
    type LinkAction = fn(NodeIndex, NodeIndex) -> Action;
    type NodeAction = fn(NodeIndex, Inheritance) -> Action;
    use Inheritance::{Cold, Warm};
    let links: [(_, LinkAction); 2] = [(&run.cut, Action::Cut), (&run.heal, Action::Heal)];
    let nodes: [(_, NodeAction, _); 4] = [
        (&run.stop, Action::Stop, Cold),
        (&run.start, Action::Start, Cold),
        (&run.restart_cold, Action::Restart, Cold),
        (&run.restart_warm, Action::Restart, Warm),
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

fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, report)?;
        writeln!(out)?;
    } else {
        write!(out, "{report}")?;
    }
    Ok(())
}
