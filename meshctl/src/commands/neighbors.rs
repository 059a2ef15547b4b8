//! `meshctl neighbors`

use control_api::{Neighbor, Neighbors};

use super::Daemon;
use crate::failure::Failure;
use crate::format;
use crate::output::{Column, Output, left, right, table};
use crate::tsv::Layout;

const COLUMNS: [Column; 11] = [
    left("NAME"),
    left("ID"),
    left("INTERFACE"),
    right("RX"),
    right("TX"),
    right("TQ"),
    right("COST"),
    right("HEARD"),
    right("SINCE"),
    right("UP"),
    right("DOWN"),
];

const LAYOUT: Layout = Layout {
    list: "neighbors",
    columns: &[
        "originator_id",
        "node_id",
        "name",
        "interface",
        "link_local",
        "rx_quality",
        "tx_quality",
        "tq",
        "cost_us",
        "last_heard_ms",
        "up_since_s",
        "bytes_up",
        "bytes_down",
        "signal_dbm",
    ],
};

pub(super) fn run(daemon: &Daemon, output: Output) -> Result<(), Failure> {
    output.show_list(&daemon.connect()?.neighbors()?, LAYOUT, text)
}

pub(super) fn text(result: &Neighbors) -> String {
    table(
        COLUMNS,
        result.neighbors.iter().map(row),
        "No neighbors are heard.",
    )
}

fn row(neighbor: &Neighbor) -> [String; COLUMNS.len()] {
    [
        format::name(neighbor.name.as_deref()),
        neighbor.originator_id.short(),
        format::name(Some(&neighbor.interface)),
        format::percent(neighbor.rx_quality),
        format::percent(neighbor.tx_quality),
        neighbor.tq.to_string(),
        format::or_dash(neighbor.cost_us, format::metric),
        format::milliseconds(neighbor.last_heard_ms),
        format::or_dash(neighbor.up_since_s, format::seconds),
        format::bytes(neighbor.bytes_up),
        format::bytes(neighbor.bytes_down),
    ]
}
