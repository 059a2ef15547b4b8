//! `meshctl monitor`

use std::thread;
use std::time::Duration;

use control_api::{Change, ClientError, Event, Exit, LinkClass, Monitor, NodeRef, Role, SCHEMA};
use serde::Serialize;

use super::Daemon;
use super::interrupt::on_interrupt;
use super::watch::has_reader_after;
use crate::cli::Format;
use crate::cli::monitor::{self as options, EventKind};
use crate::failure::Failure;
use crate::format;
use crate::output::{Frame, Output};
use crate::tsv::Layout;

/// How often to look whether somebody still reads, while nothing happens; and for a daemon that is gone.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

const LAYOUT: Layout = Layout {
    list: "events",
    columns: &["seq", "uptime_ms", "event", "text"],
};

/// An event as a row.
#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    event: Event,
    text: String,
}

#[derive(Serialize)]
struct Rows {
    schema: u32,
    events: [Row; 1],
}

/// Until Ctrl-C, or until nobody reads. A daemon that ends is waited for.
pub(super) fn run(
    daemon: &Daemon,
    output: Output,
    options: &options::Monitor,
) -> Result<(), Failure> {
    on_interrupt(|| Exit::Ok)?;
    let mut frame = Frame::First;
    let mut monitor = Monitor::begin(daemon.connect()?)?;
    loop {
        match follow(&mut monitor, output, options, &mut frame)? {
            None => return Ok(()),
            Some(lost) => Failure::from(lost).say(),
        }
        monitor = loop {
            if !has_reader_after(LOOK_INTERVAL) {
                return Ok(());
            }
            match daemon.connect().and_then(Monitor::begin) {
                Ok(monitor) => break monitor,
                // It may start again.
                Err(error) if Exit::from(&error) == Exit::NotRunning => {}
                // It is busy starting.
                Err(ClientError::Closed | ClientError::Timeout { .. }) => thread::yield_now(),
                Err(error) => return Err(error.into()),
            }
        };
    }
}

/// Shows what happens; ends with why the daemon is gone, or without when the reader is.
fn follow(
    monitor: &mut Monitor,
    output: Output,
    options: &options::Monitor,
    frame: &mut Frame,
) -> Result<Option<ClientError>, Failure> {
    loop {
        let event = match monitor.next_within(LOOK_INTERVAL) {
            Ok(Some(event)) => event,
            Ok(None) if has_reader_after(Duration::ZERO) => continue,
            Ok(None) => return Ok(None),
            Err(error @ (ClientError::Closed | ClientError::Io(_))) => return Ok(Some(error)),
            Err(error) => return Err(error.into()),
        };
        if is_wanted(&event.change, options) {
            show(event, output, *frame)?;
            *frame = Frame::Later;
        }
    }
}

fn show(event: Event, output: Output, frame: Frame) -> Result<(), Failure> {
    let text = sentence(&event.change);
    match output.format {
        Format::Table => {
            let line = line(&event, &text);
            Output {
                frame: Frame::Only,
                ..output
            }
            .show(&event, |_| line)
        }
        Format::Json | Format::Ndjson => output.show(&event, |_| String::new()),
        Format::Tsv => {
            let events = [Row { event, text }];
            let rows = Rows {
                schema: SCHEMA,
                events,
            };
            Output { frame, ..output }.show_list(&rows, LAYOUT, |_| String::new())
        }
    }
}

/// With the time since the daemon's start, as the kernel's log has it.
fn line(event: &Event, text: &str) -> String {
    let (s, ms) = (event.uptime_ms / 1000, event.uptime_ms % 1000);
    let name = EventKind::of(&event.change).map_or("missed", EventKind::name);
    format!("[{s:>6}.{ms:03}] {name:<9} {text}\n")
}

/// That events are missing concerns every reader.
fn is_wanted(change: &Change, options: &options::Monitor) -> bool {
    let Some(kind) = EventKind::of(change) else {
        return true;
    };
    let is_wanted_kind = options.filter.is_empty() || options.filter.contains(&kind);
    let names = |node: &String| nodes(change).any(|(name, id)| name == *node || begins(&id, node));
    is_wanted_kind && (options.node.is_empty() || options.node.iter().any(names))
}

fn begins(id: &str, digits: &str) -> bool {
    /// As many as make an id in a table.
    const MIN_DIGITS: usize = 8;
    digits.len() >= MIN_DIGITS && id.starts_with(&digits.to_ascii_lowercase())
}

/// The names and ids of the nodes that an event is about.
fn nodes(change: &Change) -> impl Iterator<Item = (String, String)> {
    let of = |node: &NodeRef| {
        let name = node.name.clone().unwrap_or_default();
        (name, node.originator_id.to_string())
    };
    let all: Vec<(String, String)> = match change {
        Change::NeighborUp { node, .. }
        | Change::NeighborDown { node, .. }
        | Change::Link { node, .. } => vec![of(node)],
        Change::Route {
            gateway, next_hop, ..
        } => [Some(gateway), next_hop.as_ref()]
            .into_iter()
            .flatten()
            .map(of)
            .collect(),
        Change::Gateway { from, to, .. } => [from, to].into_iter().flatten().map(of).collect(),
        Change::Tunnel { gateway, .. } => vec![of(gateway)],
        Change::Internet { via, .. } => via.iter().map(of).collect(),
        Change::Receipt { neighbor, .. } => {
            let name = neighbor.name.clone().unwrap_or_default();
            vec![(name, neighbor.node_id.to_string())]
        }
        Change::Uplink { .. }
        | Change::TableDamaged
        | Change::TableRestored
        | Change::Reload { .. }
        | Change::Warning { .. }
        | Change::Missed { .. } => Vec::new(),
    };
    all.into_iter()
}

/// What has happened, for people.
fn sentence(change: &Change) -> String {
    match change {
        Change::NeighborUp { node, interface } => neighbor(node, "there", interface),
        Change::NeighborDown { node, interface } => neighbor(node, "gone", interface),
        Change::Link {
            node,
            interface,
            from,
            to,
            tq,
        } => {
            let (node, on, is, was) = (
                format::node(node),
                name(interface),
                class(*to),
                class(*from),
            );
            format!("to {node} on {on}: {is}, was {was} (TQ {tq})")
        }
        Change::Route {
            gateway,
            next_hop,
            hops,
        } => route(gateway, next_hop.as_ref(), *hops),
        Change::Gateway {
            families,
            from,
            to,
            reason,
        } => {
            let families: Vec<&str> = families.iter().map(super::gateways::family).collect();
            let [to, from] =
                [to, from].map(|node| node.as_ref().map_or("none".to_owned(), format::node));
            format!(
                "{}: {to}, was {from}{}",
                families.join(" "),
                why(reason.as_ref(), " (", ")")
            )
        }
        Change::Tunnel { gateway, tunnel } => {
            let tunnel = format::or_dash(*tunnel, |kind| format::tunnel(kind).to_owned());
            format!("to {}: {tunnel}", format::node(gateway))
        }
        Change::Internet {
            online,
            via,
            own_uplink,
        } => internet(*online, via.as_ref(), own_uplink.as_deref()),
        Change::Uplink {
            interface,
            family,
            works,
            reason,
        } => {
            let state = if *works { "works" } else { "does not work" };
            let (on, family) = (name(interface), super::gateways::family(family));
            format!("{on} {family} {state}{}", why(reason.as_ref(), ": ", ""))
        }
        Change::TableDamaged => "somebody else changed the nftables table inet meshd".to_owned(),
        Change::TableRestored => {
            "the nftables table inet meshd is as it should be again".to_owned()
        }
        Change::Receipt { .. } => receipt(change),
        Change::Reload {
            changed,
            needs_restart,
        } => {
            let waits = keys(", waits for a restart", needs_restart);
            format!("{}{waits}", keys("changed", changed))
        }
        Change::Warning { text } => format::harmless(text),
        Change::Missed { events } => format!("{events} events, as this reader was too slow"),
    }
}

fn neighbor(node: &NodeRef, state: &str, interface: &str) -> String {
    format!("{} is {state}, on {}", format::node(node), name(interface))
}

fn route(gateway: &NodeRef, next_hop: Option<&NodeRef>, hops: Option<u32>) -> String {
    let gateway = format::node(gateway);
    let Some(next_hop) = next_hop.map(format::node) else {
        return format!("no way to {gateway}");
    };
    match hops {
        Some(1) => format!("to {gateway} through {next_hop}, 1 hop"),
        hops => {
            let hops = format::or_dash(hops, |hops| hops.to_string());
            format!("to {gateway} through {next_hop}, {hops} hops")
        }
    }
}

fn internet(online: bool, via: Option<&NodeRef>, own_uplink: Option<&str>) -> String {
    match via {
        _ if !online => "no Internet".to_owned(),
        Some(via) => format!("through {}", format::node(via)),
        None => format!(
            "through this node's own uplink {}",
            format::name(own_uplink)
        ),
    }
}

fn receipt(change: &Change) -> String {
    let Change::Receipt {
        role,
        neighbor,
        epoch,
        number,
        amount_atto,
        added_atto,
    } = change
    else {
        return String::new();
    };
    let way = match role {
        Role::Provider => "received from",
        Role::Consumer => "given to",
    };
    let neighbor = format::named(neighbor.name.as_deref(), neighbor.node_id);
    let [amount, added] = [*amount_atto, *added_atto].map(format::short_smt);
    format!("{way} {neighbor}: number {number} of epoch {epoch}, {amount} SMT, {added} more")
}

fn why(reason: Option<&String>, before: &str, behind: &str) -> String {
    let reason = reason.map(|why| format!("{before}{}{behind}", format::harmless(why)));
    reason.unwrap_or_default()
}

fn keys(what: &str, keys: &[String]) -> String {
    match keys {
        [] if what.starts_with(',') => String::new(),
        [] => "nothing changed".to_owned(),
        keys => format!("{what}: {}", format::harmless(&keys.join(", "))),
    }
}

fn name(interface: &str) -> String {
    format::name(Some(interface))
}

const fn class(class: LinkClass) -> &'static str {
    match class {
        LinkClass::Bad => "bad",
        LinkClass::Fair => "fair",
        LinkClass::Good => "good",
    }
}
