//! `meshctl gateways`

use control_api::{Family, Gateway, Gateways};

use super::Daemon;
use crate::failure::Failure;
use crate::format;
use crate::output::{Column, Output, left, right, table};

/// The longest reason in a table.
const REASON_CHARS: usize = 40;

const COLUMNS: [Column; 9] = [
    left("USED"),
    left("NAME"),
    left("ID"),
    right("METRIC"),
    right("HOPS"),
    left("DOWN/UP"),
    left("CARRIES"),
    right("SMT/MiB"),
    left("REASON"),
];

pub(super) fn run(daemon: &Daemon, output: Output) -> Result<(), Failure> {
    output.show(&daemon.connect()?.gateways()?, text)
}

fn text(result: &Gateways) -> String {
    table(
        COLUMNS,
        result.gateways.iter().map(row),
        "No gateway is reachable.",
    )
}

fn row(gateway: &Gateway) -> [String; COLUMNS.len()] {
    let bandwidth = [gateway.bandwidth_down_bps, gateway.bandwidth_up_bps]
        .map(rate)
        .join("/");
    let families: Vec<&str> = gateway.families.iter().map(family).collect();
    [
        if gateway.selected { "yes" } else { "no" }.to_owned(),
        format::name(Some(&gateway.name)),
        gateway.originator_id.short(),
        format::metric(gateway.metric_us),
        format::or_dash(gateway.hops, |hops| hops.to_string()),
        bandwidth,
        families.join(" "),
        format::smt(gateway.price_atto_per_mib),
        format::cut(&gateway.reason, REASON_CHARS),
    ]
}

fn rate(bps: Option<u64>) -> String {
    format::or_dash(bps, format::bit_rate)
}

const fn family(family: &Family) -> &'static str {
    match family {
        Family::Ipv4 => "IPv4",
        Family::Ipv6 => "IPv6",
    }
}
