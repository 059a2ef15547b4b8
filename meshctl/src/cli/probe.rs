//! Commands that ask other nodes.

use std::time::Duration;

use clap::{Args, ValueEnum};
use control_api::MAX_THROUGHPUT_S;

#[derive(Debug, Args)]
pub(crate) struct Ping {
    /// Its name, eight or more of the first digits of its id, or its mesh address
    pub(crate) node: String,
    /// Ask so often [default: until Ctrl-C]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) count: Option<u32>,
    /// Ask every so many seconds, at least 0.1
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = super::interval)]
    pub(crate) interval: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Traceroute {
    /// Its name, eight or more of the first digits of its id, or its mesh address
    pub(crate) node: String,
}

#[derive(Debug, Args)]
pub(crate) struct Throughput {
    /// Its name, eight or more of the first digits of its id, or its mesh address
    pub(crate) node: String,
    /// Measure only what comes from the node, or only what goes to it [default: one after the other]
    #[arg(long, value_name = "DIRECTION", value_enum)]
    pub(crate) direction: Option<Direction>,
    /// How long to measure in each direction, at most 30
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_THROUGHPUT_S)))]
    pub(crate) seconds: u8,
}

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Direction {
    /// From the node to this one
    Down,
    /// From this one to the node
    Up,
}
