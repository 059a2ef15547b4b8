//! `meshctl routes [DEST]`

use control_api::{Destination, Route, RouteTo, Routes};

use super::Daemon;
use crate::failure::Failure;
use crate::format;
use crate::output::{Column, Output, left, right, table};

const COLUMNS: [Column; 6] = [
    right("TABLE"),
    left("PREFIX"),
    left("OWNER"),
    left("NEXT"),
    left("INTERFACE"),
    right("METRIC"),
];

pub(super) fn run(
    daemon: &Daemon,
    output: Output,
    dest: Option<Destination>,
) -> Result<(), Failure> {
    output.show(&daemon.connect()?.routes(dest)?, text)
}

fn text(result: &Routes) -> String {
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
