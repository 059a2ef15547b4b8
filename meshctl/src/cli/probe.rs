//! Commands that ask other nodes.

use std::time::Duration;

use clap::Args;

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
