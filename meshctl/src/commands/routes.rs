//! `meshctl routes [DEST]`

use control_api::{Destination, Route, RouteTo, Routes};

use super::Daemon;
use crate::failure::Failure;
use crate::format;
use crate::output::{Column, Output, left, right, table};
use crate::tsv::Layout;

const COLUMNS: [Column; 6] = [
    right("TABLE"),
    left("PREFIX"),
    left("OWNER"),
    left("NEXT"),
    left("INTERFACE"),
    right("METRIC"),
];

const LAYOUT: Layout = Layout {
    list: "routes",
    columns: &[
        "table",
        "prefix",
        "owner.originator_id",
        "owner.name",
        "to.kind",
        "to.via",
        "to.remote",
        "to.tunnel",
        "to.node.originator_id",
        "to.node.name",
        "interface",
        "metric_us",
    ],
};

pub(super) fn run(
    daemon: &Daemon,
    output: Output,
    dest: Option<Destination>,
) -> Result<(), Failure> {
    output.show_list(&daemon.connect()?.routes(dest)?, LAYOUT, text)
}

pub(super) fn text(result: &Routes) -> String {
    table(COLUMNS, result.routes.iter().map(row), "No routes.")
}

fn row(route: &Route) -> [String; COLUMNS.len()] {
    let next = match &route.to {
        RouteTo::Neighbor { node, .. } => format::node(node),
        RouteTo::Tunnel { node, tunnel, .. } => {
            format!("{} to {}", format::tunnel(*tunnel), format::node(node))
        }
    };
    [
        route.table.to_string(),
        route.prefix.to_string(),
        format::node(&route.owner),
        next,
        format::name(route.interface.as_deref()),
        format::or_dash(route.metric_us, format::metric),
    ]
}
