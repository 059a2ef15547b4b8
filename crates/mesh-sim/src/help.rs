//! What `--help` says of scenarios and figures.

use std::fmt::Write;

use mesh_sim::scenario::SCENARIOS;

/// What `-h` says.
pub(crate) const SHORT: &str = "--help explains every scenario and figure.";

const FIGURES: &str = "\
Figures (in JSON under names of the same words, which end in their unit):
  trace hash            fingerprint of every packet, timer and route; equal for equal runs
  events                packets that arrived, timers that ran out, steps that were taken
  machine               time that passed, events for each second of it, the most memory the process
                        had; alone of all figures these differ from run to run
  pairs                 ordered pairs of running nodes that links connect (possible), and those
                        of them for which the kernels' routes do not lead from one to the other
                        over working links (unrouted)
  cold start            virtual time until all pairs were routed, from power on
  path cost / shortest  cost of the paths in use over that of the shortest possible, which is
                        computed with knowledge of the whole mesh; a link costs 100 µs and 500 µs
                        for each transmission it takes on average (600 µs without loss). The sum
                        of all over the sum of the shortest, what 99 % of the pairs do not exceed,
                        the worst; at the end of the run, from all nodes to all others (to an even
                        choice of 500 and less, where there are more)
  control               what a node sends to keep the routing up, in a second: UDP payload and,
                        with headers, 48 bytes more a packet for IPv6 and UDP; the mean of all
                        nodes and the node that sends most; unicast is what of the mean goes to
                        single neighbors, probes among it. Over the whole run, and over its last
                        half
  route changes         routes set or removed in all kernels together. Switches: how often the
                        next hop to a node gave way to another in the last half of the run, per
                        node and hour; where nothing happens to the mesh, without cause
  neighbors given up    links that a node took out of use. Without cause: for 15 s before, nothing
                        had happened to the link or to the nodes at its ends
  loops                 circles in the kernels' next hops for one destination; checked after
                        every event that changed a route. Contested: for prefixes that several
                        nodes announce, while nodes disagree on whose they are
  refused changes       removals of routes that a kernel did not have; shown if there were any
  busy timers           timers that asked to be called again at once; shown if there were any
Outages, by the kind of step before them:
  steps, recovered      steps of the kind; those after which all pairs were routed before the next
  of pairs              times for which a pair had no path although one was possible. They are
                        exact: pairs are followed at every change of a route, link or node
  of flows              those of pairs between which traffic flows. Nodes on the path of a flow
                        are told every 500 ms of virtual time which neighbors carry it
  of uplinks            times for which a node used no gateway that works, although one could be
                        reached
  count, open           outages; those that were not over at the end of the run, which count by
                        what they had lasted
  p50, p90, p99, max    what so many % of them did not exceed, over all pairs and steps together
Phases, from one step to the next (steps of one moment are one):
  routed in s           virtual time from the step until all pairs were routed
  relapses              how often after that a pair was unrouted again
  unrouted pair-s       time that pairs were unrouted, summed over all pairs
  online in s           until all nodes used a gateway that works; shown if there is one
  N s later             what a check in the phase found: pairs routed; packets that arrive, were
                        one sent for each pair (unicast, so a link loses loss⁴)

Exit status: 0 if there was no loop and all pairs are routed at the end, 1 if not (with --seeds:
of any seed), 2 if the command line or the topology is not usable.";

/// What `--help` says after the options.
pub(crate) fn long() -> String {
    let mut text = "Scenarios (--scenario NAME; the seed draws nodes and links):\n".to_owned();
    for scenario in SCENARIOS {
        let about = format!("{} Runs for {} s.", scenario.about, scenario.seconds);
        for (i, line) in wrap(&about, 76).into_iter().enumerate() {
            let name = if i == 0 { scenario.name } else { "" };
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {name:<12}  {line}");
        }
    }
    text.push('\n');
    text.push_str(FIGURES);
    text
}

/// The names of all scenarios.
pub(crate) fn names() -> String {
    let names: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
    names.join(", ")
}

/// Breaks a text into lines of at most `width` letters.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
