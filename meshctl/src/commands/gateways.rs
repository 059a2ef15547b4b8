//! `meshctl gateways` and `meshctl gateways select`

use control_api::{Family, Gateway, GatewayChoice, Gateways};

use super::Daemon;
use crate::failure::Failure;
use crate::format;
use crate::output::{Column, Output, left, right, table};
use crate::tsv::Layout;

/// The longest reason in a table: what meshd says is not cut, with two prices of 20 digits.
const REASON_CHARS: usize = 80;

const COLUMNS: [Column; 10] = [
    left("USED"),
    left("NAME"),
    left("ID"),
    right("METRIC"),
    right("HOPS"),
    left("DOWN/UP"),
    left("CARRIES"),
    left("TUNNEL"),
    right("SMT/MiB"),
    left("REASON"),
];

const LAYOUT: Layout = Layout {
    list: "gateways",
    columns: &[
        "originator_id",
        "node_id",
        "name",
        "selected",
        "used_for",
        "reason",
        "metric_us",
        "cost_us",
        "hops",
        "bandwidth_down_bps",
        "bandwidth_up_bps",
        "price_atto_per_mib",
        "families",
        "tunnel",
        "dns",
    ],
};

pub(super) fn run(daemon: &Daemon, output: Output) -> Result<(), Failure> {
    output.show_list(&daemon.connect()?.gateways()?, LAYOUT, text)
}

pub(super) fn select(
    daemon: &Daemon,
    output: Output,
    gateway: GatewayChoice,
) -> Result<(), Failure> {
    let result = daemon.connect()?.select_gateway(gateway)?;
    output.show_list(&result, LAYOUT, text)
}

pub(super) fn text(result: &Gateways) -> String {
    let rows = result.gateways.iter().map(row);
    let table = table(COLUMNS, rows, "No gateway is known.");
    match result.choice {
        GatewayChoice::Auto => table,
        GatewayChoice::Off => format!("Selected: none, until meshd ends.\n\n{table}"),
        GatewayChoice::Node(ref node) => {
            let node = format::name(Some(node));
            format!("Selected: {node}, until meshd ends.\n\n{table}")
        }
    }
}

fn row(gateway: &Gateway) -> [String; COLUMNS.len()] {
    let bandwidth = [gateway.bandwidth_down_bps, gateway.bandwidth_up_bps]
        .map(rate)
        .join("/");
    [
        used(gateway),
        format::name(Some(&gateway.name)),
        gateway.originator_id.short(),
        // One that cannot be reached is infinitely far.
        format::or_dash(gateway.hops, |_| format::metric(gateway.metric_us)),
        format::or_dash(gateway.hops, |hops| hops.to_string()),
        bandwidth,
        names(&gateway.families),
        format::or_dash(gateway.tunnel, |kind| format::tunnel(kind).to_owned()),
        format::or_dash(gateway.price_atto_per_mib, format::smt),
        format::cut(&gateway.reason, REASON_CHARS),
    ]
}

pub(super) fn used(gateway: &Gateway) -> String {
    match gateway.used_for.as_slice() {
        [] if gateway.selected => "yes".to_owned(),
        [] => "no".to_owned(),
        families => names(families),
    }
}

fn names(families: &[Family]) -> String {
    let names: Vec<&str> = families.iter().map(family).collect();
    names.join(" ")
}

fn rate(bps: Option<u64>) -> String {
    format::or_dash(bps, format::bit_rate)
}

pub(super) const fn family(family: &Family) -> &'static str {
    match family {
        Family::Ipv4 => "IPv4",
        Family::Ipv6 => "IPv6",
    }
}
