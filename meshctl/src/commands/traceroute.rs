//! `meshctl traceroute NODE`: each node on the way is asked where it would send what is for NODE.

use std::net::Ipv6Addr;
use std::time::Duration;

use control_api::{Exit, NextHop, NodeRef, OriginatorId, Probe, Probed, Quality, SCHEMA};
use serde::Serialize;

use super::Daemon;
use super::interrupt::on_interrupt;
use crate::cli::{Format, probe::Traceroute};
use crate::failure::Failure;
use crate::format;
use crate::output::{self, Output};
use crate::tsv::Layout;

/// Each node is asked so often.
const ATTEMPTS: usize = 3;
/// How long it is waited for each time.
const WAIT: Duration = Duration::from_secs(1);
/// The most hops that are followed: the hop limit of the packets themselves.
const MOST_HOPS: u32 = 64;

const LAYOUT: Layout = Layout {
    list: "hops",
    columns: &[
        "hop",
        "node.originator_id",
        "node.name",
        "rtts_us",
        "rx_quality",
        "tx_quality",
    ],
};

/// The way as far as it could be followed.
#[derive(Debug, Serialize)]
struct Trace {
    schema: u32,
    node: NodeRef,
    address: Ipv6Addr,
    reached: bool,
    hops: Vec<Hop>,
}

/// A node on the way.
#[derive(Clone, Debug, Serialize)]
struct Hop {
    /// From 1, the first neighbor.
    hop: u32,
    node: NodeRef,
    /// Round trips, each `null` if it was not answered.
    rtts_us: Vec<Option<u64>>,
    /// How well the node before hears this one.
    rx_quality: Quality,
    /// How well this one hears the node before.
    tx_quality: Quality,
}

/// As one line of NDJSON.
#[derive(Debug, Serialize)]
struct HopLine<'a> {
    schema: u32,
    kind: &'static str,
    #[serde(flatten)]
    hop: &'a Hop,
}

#[derive(Debug, Serialize)]
struct EndLine<'a> {
    schema: u32,
    kind: &'static str,
    node: &'a NodeRef,
    address: Ipv6Addr,
    reached: bool,
    hops: usize,
}

pub(super) fn run(daemon: &Daemon, output: Output, options: &Traceroute) -> Result<(), Failure> {
    // What was found is printed already, as far as it is printed piece by piece.
    on_interrupt(|| Exit::Ok)?;
    let status = daemon.connect()?.status()?;
    let mut from = ask(daemon, &status.originator_id.to_string(), &options.node)?;
    let mut trace = Trace::begin(daemon, output, options)?;
    let ended = trace.follow(daemon, output, &mut from);
    trace.end(output)?;
    ended
}

/// Who is asked answers for itself; everything else is for people to see.
fn ask(daemon: &Daemon, node: &str, towards: &str) -> Result<Probed, Failure> {
    let wait_ms = u32::try_from(WAIT.min(daemon.limit).as_millis()).unwrap_or(u32::MAX);
    let probe = Probe {
        node: node.to_owned(),
        towards: Some(towards.to_owned()),
        wait_ms: wait_ms.max(1),
    };
    Ok(daemon.connect()?.probe(probe)?)
}

impl Trace {
    fn begin(daemon: &Daemon, output: Output, options: &Traceroute) -> Result<Self, Failure> {
        let target = ask(daemon, &options.node, &options.node)?;
        if output.format == Format::Table {
            let node = format::node(&target.node);
            output::write_all(&format!("traceroute to {node} {}\n", target.address))?;
        }
        Ok(Self {
            schema: SCHEMA,
            node: target.node,
            address: target.address,
            reached: false,
            hops: Vec::new(),
        })
    }

    /// Goes from node to node. Ends with the reason why it does not reach the last one.
    fn follow(
        &mut self,
        daemon: &Daemon,
        output: Output,
        from: &mut Probed,
    ) -> Result<(), Failure> {
        let target = self.node.originator_id;
        while from.node.originator_id != target {
            let Some(next) = from.next_hop.take() else {
                let message = format!("{} knows no way there", format::node(&from.node));
                return Err(Failure::new(Exit::NotFound, message));
            };
            let id = next.node.originator_id;
            if self.hops.iter().any(|hop| hop.node.originator_id == id) {
                let message = format!("the way leads back to {}", format::node(&next.node));
                return Err(Failure::new(Exit::Failure, message));
            }
            match self.visit(daemon, output, next, target)? {
                Some(answer) => *from = answer,
                None => {
                    let silent = self.hops.last().map(|hop| format::node(&hop.node));
                    let message = format!("{} does not answer", silent.unwrap_or_default());
                    return Err(Failure::new(Exit::Timeout, message));
                }
            }
        }
        self.reached = true;
        Ok(())
    }

    /// Asks the next node, and returns its last answer.
    fn visit(
        &mut self,
        daemon: &Daemon,
        output: Output,
        next: NextHop,
        target: OriginatorId,
    ) -> Result<Option<Probed>, Failure> {
        let number = u32::try_from(self.hops.len() + 1).unwrap_or(u32::MAX);
        if number > MOST_HOPS {
            let message = format!("not there after {MOST_HOPS} hops");
            return Err(Failure::new(Exit::Failure, message));
        }
        let (id, target) = (next.node.originator_id.to_string(), target.to_string());
        let mut answers = Vec::new();
        for _ in 0..ATTEMPTS {
            answers.push(ask(daemon, &id, &target)?);
        }
        let hop = Hop {
            hop: number,
            node: next.node,
            rtts_us: answers.iter().map(|it| it.rtt_us).collect(),
            rx_quality: next.rx_quality,
            tx_quality: next.tx_quality,
        };
        show_hop(output, &hop)?;
        self.hops.push(hop);
        Ok(answers.into_iter().rfind(|it| it.rtt_us.is_some()))
    }

    fn end(&self, output: Output) -> Result<(), Failure> {
        match output.format {
            Format::Table => Ok(()),
            Format::Ndjson => output.show(
                &EndLine {
                    schema: SCHEMA,
                    kind: "summary",
                    node: &self.node,
                    address: self.address,
                    reached: self.reached,
                    hops: self.hops.len(),
                },
                |_| String::new(),
            ),
            Format::Json | Format::Tsv => output.show_list(self, LAYOUT, |_| String::new()),
        }
    }
}

fn show_hop(output: Output, hop: &Hop) -> Result<(), Failure> {
    match output.format {
        Format::Table => output::write_all(&line(hop)),
        Format::Ndjson => output.show(
            &HopLine {
                schema: SCHEMA,
                kind: "hop",
                hop,
            },
            |_| String::new(),
        ),
        Format::Json | Format::Tsv => Ok(()),
    }
}

fn line(hop: &Hop) -> String {
    let shown = hop.rtts_us.iter();
    let times = shown.map(|it| it.map_or_else(|| "*".to_owned(), format::round_trip));
    format!(
        "{:>2}  {}  {}  link rx {} tx {}\n",
        hop.hop,
        format::node(&hop.node),
        times.collect::<Vec<_>>().join("  "),
        format::percent(hop.rx_quality),
        format::percent(hop.tx_quality)
    )
}
