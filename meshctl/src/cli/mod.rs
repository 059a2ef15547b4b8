//! The command line.

pub(crate) mod monitor;
pub(crate) mod probe;
pub(crate) mod reload;
#[cfg(feature = "redeem")]
pub(crate) mod wallet;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use control_api::{Destination, GatewayChoice, LogLevel};
use monitor::Monitor;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed, or doctor found an error
  2  wrong command line or configuration
  3  meshd is not running
  4  not found
  5  no permission
  6  no answer in time
  7  done in part: something waits, is missing, or could be better as doctor says
  8  verification failed";

/// Asks meshd what it knows and does.
#[derive(Debug, Parser)]
#[command(name = "meshctl", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// Where meshd listens [default: /run/meshd/control.sock, or for who may only ask
    /// /run/meshd/control-ro.sock]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,

    /// The form of the result; all but tables have full ids
    #[arg(long, global = true, value_name = "FORM", value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,

    /// Short for --output json
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Wait so long for an answer
    #[arg(long, global = true, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) timeout: Duration,

    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// The form of the result.
    pub(crate) const fn format(&self) -> Format {
        if self.json { Format::Json } else { self.output }
    }
}

/// What a result looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Text for people
    Table,
    /// JSON for programs
    Json,
    /// JSON on one line
    Ndjson,
    /// Tab-separated values under a header row
    Tsv,
}

/// What a map looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// NetworkGraph of NetJSON
    Netjson,
    /// The language of Graphviz
    Dot,
    /// A drawing
    Svg,
    /// meshviewer.json of Freifunk
    Meshviewer,
}

/// For commands that show what changes.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Show it again every so many seconds, 2 if no number is given, until Ctrl-C
    #[arg(long = "watch", value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = interval)]
    pub(crate) interval: Option<Duration>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Is there Internet, and how is this node doing?
    Status(Watch),
    /// What is wrong with this node, and what to do about it
    ///
    /// The exit code is 1 if something does not work, and 7 if something could be better. While meshd is not running
    /// it is 3, and what can be found out without it is said: what is wrong with its configuration, above all.
    Doctor {
        /// Mend what meshd needs and somebody changed, and say what that was; what others look after, firewalls
        /// above all, stays as it is
        #[arg(long)]
        fix: bool,
        /// The configuration to look at while meshd is not running
        #[arg(long, value_name = "FILE", default_value = meshd::config::DEFAULT_PATH)]
        config: PathBuf,
    },
    /// The interfaces, their radios, and the stations these know
    Interfaces(Watch),
    /// The nodes in direct reach
    Neighbors(Watch),
    /// Every node of the mesh and the way to it
    Originators(Watch),
    /// The routes that meshd has put into the kernel
    Routes {
        /// Only those for an address, a prefix, a node's name or the first digits of its id
        dest: Option<Destination>,
        #[command(flatten)]
        watch: Watch,
    },
    /// Is a node there, how long does an answer take, and how many get lost?
    ///
    /// Asks meshd on the node, over the way that data takes, so it works where nothing answers the ping of other
    /// programs. An answer counts as lost when the next question is due, but not within a second. Ctrl-C ends it
    /// and prints the summary. The exit code is 6 if there was no answer at all, 4 if there is no way.
    Ping(probe::Ping),
    /// The nodes on the way to a node, with round trips and the quality of each link
    ///
    /// Asks meshd on each node where it would send what is for NODE, beginning here. The exit code is 6 if one
    /// of them does not answer, 4 if one knows no way.
    Traceroute(probe::Traceroute),
    /// What the way to a node carries, in both directions
    ///
    /// Fills it with TCP for some seconds, as a large download does, and counts what arrives: everybody's traffic
    /// over the same links is slower meanwhile. The node has to allow it, which it does by default: one test at a
    /// time, each node a minute in ten, all together two. The exit code is 5 if it does not, 6 if it does not answer,
    /// 1 if it is busy, has had enough, or goes away before the end.
    Throughput(probe::Throughput),
    /// A map of what this node knows: itself, its links, and the first hop to everybody else
    Graph {
        /// For which program the map is; this goes before --output
        #[arg(long, value_name = "FORMAT", value_enum, default_value_t = GraphFormat::Netjson)]
        format: GraphFormat,
    },
    /// Who offers Internet, and which one is used and why
    #[command(args_conflicts_with_subcommands = true)]
    Gateways {
        #[command(flatten)]
        watch: Watch,
        #[command(subcommand)]
        command: Option<Gateways>,
    },
    /// Links, gateways, traffic and receipts, live; ? shows the keys
    #[cfg(feature = "top")]
    Top,
    /// What happens, as it happens, until Ctrl-C
    ///
    /// Each line begins with the seconds since meshd's start. With --output ndjson each event is a line of JSON.
    /// A reader that is too slow is told how many events it missed; meshd waits for nobody.
    Monitor(Monitor),
    /// What Prometheus reads: links, traffic, drops, receipts, the way to the Internet
    ///
    /// Prints the text format, whatever --output says. On a router without a web server, run it by a timer with
    /// --textfile, for the textfile collector of node_exporter.
    Metrics {
        /// Write a file, whole or not at all, for everybody to read; its name has to end with .prom for node_exporter
        #[arg(long, value_name = "FILE")]
        textfile: Option<PathBuf>,
    },
    /// Who forwarded how much for whom
    #[command(subcommand)]
    Receipts(Receipts),
    /// Turn receipts into cheques: send them to a settlement service
    ///
    /// Without files, the receipts of this node and those it carries for others are taken from meshd into a
    /// directory, where they wait until the service can be reached. Sending goes on where it was broken off,
    /// and nothing counts twice. Cheques are kept next to the receipts; `meshctl wallet cash` cashes them.
    /// The exit code is 7 while something waits.
    #[cfg(feature = "redeem")]
    Redeem(Redeem),
    /// Say for which account this node earns, and from which it pays: signed by the node
    ///
    /// Writes a file, which `meshctl wallet register` signs as the account and sends to the settlement service.
    /// Run it on the router, as who may read the node's key.
    #[cfg(feature = "redeem")]
    Account(Account),
    /// SMT and ether of one's own: keys, balances, payments, cheques (needs no meshd)
    #[cfg(feature = "redeem")]
    Wallet(wallet::Wallet),
    /// The configuration file
    #[command(subcommand)]
    Config(Config),
    /// Make meshd read its configuration again
    Reload(reload::Reload),
    /// How much meshd logs, until the next time or until it ends
    LogLevel {
        /// error, warn, info, debug or trace
        level: LogLevel,
    },
    /// All that a helper far away needs to know, in one text without keys and passwords
    ///
    /// What meshd says, its configuration, and what kernel and system say: interfaces, rules, routes, the
    /// nftables table, radios, logs. Without meshd the rest is written, and the exit code is 7. The file has mode
    /// 0600 and at most 1 MiB.
    #[command(name = "bugreport")]
    BugReport(BugReport),
    /// The versions of this program and of meshd
    ///
    /// That of this program is printed without meshd, too; the exit code then says why meshd did not answer.
    Version,
    /// Completions for a shell, on standard output (needs no meshd)
    Completions {
        /// For example `meshctl completions bash >/etc/bash_completion.d/meshctl`
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct BugReport {
    /// The file to write; `-`: standard output
    #[arg(long, value_name = "FILE", default_value = "meshd-bugreport.txt")]
    pub(crate) output_file: PathBuf,
    /// The configuration file, for when meshd does not run, and to know what to leave out
    #[arg(long, value_name = "FILE", default_value = meshd::config::DEFAULT_PATH)]
    pub(crate) config: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Gateways {
    /// Use one gateway and no other, or none, or those that the configuration says
    ///
    /// The choice takes the place of `pin` in the configuration; what is in `never`, or dearer than
    /// `maximum_price`, is not used either way. It lasts until the next choice or until meshd ends.
    Select {
        /// A gateway's name or the first digits of its id; `auto`: as configured; `off`: none
        gateway: GatewayChoice,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Receipts {
    /// The accounts with every neighbor: who carried how much for whom, and owes what
    List {
        /// Those of other nodes that this one carries to the Internet
        #[arg(long)]
        carried: bool,
        #[command(flatten)]
        watch: Watch,
    },
    /// All about the accounts with one neighbor: terms, receipts, refusals, proofs
    Show {
        /// Its name, or the first digits of its id or its public key
        node: String,
    },
    /// How much was carried and earned, hour by hour
    Stats {
        /// So many days back
        #[arg(long, value_name = "N", default_value = "7", value_parser = clap::value_parser!(u8).range(1..=7))]
        days: u8,
        #[command(flatten)]
        watch: Watch,
    },
    /// Check exported files: every signature and the chain of hashes (needs no meshd)
    ///
    /// Several files are added up: what is in more than one counts once. Two receipts of one number
    /// with different content prove that their signer cheated; if they are in two files, the exit
    /// code is 8. So it is if a file has no end, as one that was cut off.
    Verify {
        /// The files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Write the receipts to a file of mode 0600
    Export {
        /// The file; replaced when it exists
        #[arg(required_unless_present = "carried")]
        file: Option<PathBuf>,
        /// Instead, write those of other nodes, each to a file of this directory
        #[arg(long, value_name = "DIR", conflicts_with = "file")]
        carried: Option<PathBuf>,
    },
    /// Have this node carry the receipts of another one to the Internet
    ///
    /// The file is an export of the other node, at most 1 MiB. It is checked completely; meshd keeps
    /// it until it is taken away, unless it has a newer one. There is room for 16 nodes.
    Import {
        /// The file
        file: PathBuf,
    },
}

#[cfg(feature = "redeem")]
#[derive(Debug, clap::Args)]
pub(crate) struct Account {
    /// The account: 0x and 40 hexadecimal digits, as `meshctl wallet address` prints it
    #[arg(value_parser = ethereum::text::parse_address)]
    pub(crate) account: alloy_primitives::Address,
    /// The file to write
    pub(crate) file: PathBuf,
    /// The node's key
    #[arg(long, value_name = "FILE", default_value = meshd::config::DEFAULT_IDENTITY)]
    pub(crate) identity: PathBuf,
    /// A settlement service to ask for chain, cheque book and number
    #[arg(long, value_name = "URL", required_unless_present_all = ["chain_id", "book"])]
    pub(crate) service: Option<ethereum::rpc::NodeUrl>,
    /// The chain's number
    #[arg(long, value_name = "N")]
    pub(crate) chain_id: Option<u64>,
    /// The cheque book's address
    #[arg(long, value_name = "ADDRESS", value_parser = ethereum::text::parse_address)]
    pub(crate) book: Option<alloy_primitives::Address>,
    /// A number higher than that of any statement before [default: as the service says, or 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..1 << 63))]
    pub(crate) sequence: Option<u64>,
}

#[cfg(feature = "redeem")]
#[derive(Debug, clap::Args)]
pub(crate) struct Redeem {
    /// Files that `meshctl receipts export` wrote, of this node or others (needs no meshd)
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// The settlement service: https://HOST, or http on this machine
    #[arg(long, value_name = "URL")]
    pub(crate) service: Option<ethereum::rpc::NodeUrl>,
    /// Where receipts wait
    #[arg(long, value_name = "DIR", default_value = "/var/lib/meshd/redeem")]
    pub(crate) queue: PathBuf,
    /// Try for so long when the line is broken
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(crate) patience: Duration,
    /// Send everything once more, whatever was sent before: for a service that has lost its database
    #[arg(long)]
    pub(crate) again: bool,
    /// Only show what would be sent
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Check a configuration file (needs no meshd)
    Check {
        /// The file
        file: PathBuf,
    },
    /// What is in force, defaults included; passwords are left out
    Show {
        /// Without what is only the default
        #[arg(long)]
        only_set: bool,
    },
    /// What a reload would change if meshd read this file; changes nothing
    Diff {
        /// The file
        file: PathBuf,
    },
}

/// Often enough to aim an antenna, and no burden to a router.
fn interval(text: &str) -> Result<Duration, String> {
    seconds(text)
        .ok()
        .filter(|every| *every >= Duration::from_millis(100))
        .ok_or_else(|| "expected seconds, at least 0.1".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let duration = text
        .parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration
        .filter(|limit| !limit.is_zero())
        .ok_or_else(|| "expected seconds above 0".to_owned())
}
