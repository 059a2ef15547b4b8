//! `meshctl status`: first what a villager wants to know, then the rest, on one screen.

use std::cmp::Reverse;

use control_api::{Counters, Internet, Status};

use super::Daemon;
use crate::failure::Failure;
use crate::format;
use crate::output::{Output, SCREEN_COLUMNS};

/// A terminal of 24 lines, less one for the prompt.
const SCREEN_LINES: usize = 23;

/// The width of the labels on the left.
const LABEL_COLUMNS: usize = 13;

/// The lines that the reasons for drops, or one warning, may take.
const PARAGRAPH_LINES: usize = 3;

pub(super) fn run(daemon: &Daemon, output: Output) -> Result<(), Failure> {
    output.show(&daemon.connect()?.status()?, text)
}

pub(super) fn text(status: &Status) -> String {
    let mut lines = vec![internet(&status.internet), String::new()];
    lines.extend(node(status));
    lines.extend(counters(&status.counters));
    let room = SCREEN_LINES.saturating_sub(lines.len());
    lines.extend(warnings(&status.warnings, room));
    lines.join("\n") + "\n"
}

pub(super) fn internet(internet: &Internet) -> String {
    let since = format::seconds(internet.since_s);
    let via = internet.via.as_ref().map(format::node);
    if !internet.online {
        return match (internet.last_online_s, via) {
            (None, _) => format!("Internet: no, not since meshd started {since} ago"),
            (Some(_), None) => format!("Internet: no, since {since}"),
            (Some(_), Some(via)) => format!("Internet: no, since {since}; last through {via}"),
        };
    }
    let through = match (via, &internet.own_uplink) {
        (Some(via), _) => via,
        (None, Some(uplink)) => format!("this node's own uplink {}", format::name(Some(uplink))),
        (None, None) => "an unknown way".to_owned(),
    };
    let hops = match internet.hops {
        None | Some(0) => String::new(),
        Some(1) => ", 1 hop".to_owned(),
        Some(hops) => format!(", {hops} hops"),
    };
    format!("Internet: yes, through {through}{hops}, since {since}")
}

fn node(status: &Status) -> Vec<String> {
    let own = format!(
        "{} ({})",
        format::name(Some(&status.name)),
        status.originator_id.short()
    );
    let next_hop = status.internet.next_hop.as_ref();
    let version = format::cut(&status.version, 30);
    let ipv6_via = status.internet.ipv6_via.as_ref();
    let mut lines = vec![
        line("Next hop", &format::or_dash(next_hop, format::node)),
        line("Neighbors", &status.neighbors.to_string()),
        line("Originators", &status.originators.to_string()),
        line("Gateways", &status.gateways.to_string()),
        String::new(),
        line("Node", &own),
        line("In receipts", &status.node_id.short()),
        line(
            "Network",
            &format::cut(&status.network, SCREEN_COLUMNS - LABEL_COLUMNS),
        ),
        line("Mesh IPv6", &status.mesh_ipv6.to_string()),
        line("Mesh IPv4", &status.mesh_ipv4.to_string()),
        line(
            "Daemon",
            &format!("version {version}, up {}", format::seconds(status.uptime_s)),
        ),
    ];
    lines.splice(
        0..0,
        ipv6_via.map(|via| line("IPv6", &format!("through {}", format::node(via)))),
    );
    lines
}

fn counters(counters: &Counters) -> Vec<String> {
    let traffic = |packets, bytes| format!("{packets} packets, {}", format::bytes(bytes));
    let mut lines = vec![
        line("Received", &traffic(counters.rx_packets, counters.rx_bytes)),
        line("Sent", &traffic(counters.tx_packets, counters.tx_bytes)),
    ];
    let mut drops: Vec<(&String, u64)> = counters
        .drops
        .iter()
        .map(|(reason, count)| (reason, *count))
        .collect();
    drops.retain(|(_, count)| *count > 0);
    drops.sort_by_key(|(_, count)| Reverse(*count));
    let total = drops
        .iter()
        .fold(0, |sum: u64, (_, count)| sum.saturating_add(*count));
    let reasons: Vec<String> = drops
        .iter()
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect();
    let text = match reasons.as_slice() {
        [] => total.to_string(),
        reasons => format!("{total}: {}", reasons.join(", ")),
    };
    lines.extend(paragraph("Dropped", &text));
    lines
}

/// As many warnings as fit, and how many more there are.
fn warnings(warnings: &[String], room: usize) -> Vec<String> {
    let mut lines = vec![];
    for (index, warning) in warnings.iter().enumerate() {
        let paragraph = paragraph("Warning", warning);
        let rest = warnings.len() - index;
        let needed = lines.len() + paragraph.len() + usize::from(rest > 1);
        if needed > room {
            let message = format!("{rest} more, see meshctl --json status");
            lines.push(line("Warnings", &message));
            break;
        }
        lines.extend(paragraph);
    }
    lines
}

fn paragraph(label: &str, text: &str) -> Vec<String> {
    const ELLIPSIS: &str = " …";
    let width = SCREEN_COLUMNS - LABEL_COLUMNS - ELLIPSIS.chars().count();
    let mut wrapped = format::wrap(text, width);
    let all = wrapped.len();
    wrapped.truncate(PARAGRAPH_LINES);
    if let Some(last) = wrapped.last_mut().filter(|_| all > PARAGRAPH_LINES) {
        last.push_str(ELLIPSIS);
    }
    let labels = std::iter::once(label).chain(std::iter::repeat(""));
    labels
        .zip(wrapped)
        .map(|(label, text)| line(label, &text))
        .collect()
}

fn line(label: &str, text: &str) -> String {
    format!("{label:<LABEL_COLUMNS$}{text}")
}
