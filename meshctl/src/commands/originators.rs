//! `meshctl originators`

use control_api::{Originator, Originators};

use super::Daemon;
use crate::failure::Failure;
use crate::format;
use crate::output::{Column, Output, left, right, table};
use crate::tsv::Layout;

const COLUMNS: [Column; 10] = [
    left("NAME"),
    left("ID"),
    right("METRIC"),
    right("TQ"),
    right("HOPS"),
    left("NEXT HOP"),
    left("INTERFACE"),
    right("HEARD"),
    left("GATEWAY"),
    left("PREFIXES"),
];

const LAYOUT: Layout = Layout {
    list: "originators",
    columns: &[
        "originator_id",
        "node_id",
        "name",
        "mesh_ipv6",
        "mesh_ipv4",
        "metric_us",
        "tq",
        "hops",
        "next_hop.originator_id",
        "next_hop.name",
        "interface",
        "seqno",
        "feasibility_distance_us",
        "prefixes",
        "gateway",
        "last_heard_ms",
    ],
};

pub(super) fn run(daemon: &Daemon, output: Output) -> Result<(), Failure> {
    output.show_list(&daemon.connect()?.originators()?, LAYOUT, text)
}

pub(super) fn text(result: &Originators) -> String {
    table(
        COLUMNS,
        result.originators.iter().map(row),
        "No other nodes are known.",
    )
}

fn row(originator: &Originator) -> [String; COLUMNS.len()] {
    let prefixes: Vec<String> = originator
        .prefixes
        .iter()
        .map(ToString::to_string)
        .collect();
    [
        format::name(originator.name.as_deref()),
        originator.originator_id.short(),
        format::or_dash(originator.metric_us, format::metric),
        originator.tq.to_string(),
        format::or_dash(originator.hops, |hops| hops.to_string()),
        format::or_dash(originator.next_hop.as_ref(), format::node),
        format::name(originator.interface.as_deref()),
        format::milliseconds(originator.last_heard_ms),
        if originator.gateway { "yes" } else { "no" }.to_owned(),
        prefixes.join(" "),
    ]
}
