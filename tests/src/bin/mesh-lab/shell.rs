//! A village of any shape, and a shell in it.

use std::env;
use std::process::{self, ExitCode};

use anyhow::{Context, Result};
use clap::Args;
use mesh_tests::lab::Lab;
use mesh_tests::sandbox;
use mesh_tests::topology::Topology;

/// Sets up a village and opens a shell in it
///
/// Every router is a network namespace: `ip netns exec r1 ip -6 route show table all`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  mesh-lab shell --topology grid:3x3
  mesh-lab shell --topology line:5 --phone r1 --gateway r5 -- ip netns exec r1-phone ping 203.0.113.10")]
pub(crate) struct Options {
    /// line:N, ring:N or grid:RxC
    #[arg(long, default_value = "line:3")]
    topology: Topology,
    /// A router with a phone on its LAN (may be repeated)
    #[arg(long, value_name = "ROUTER")]
    phone: Vec<String>,
    /// A router with a line to the Internet (may be repeated)
    #[arg(long, value_name = "ROUTER")]
    gateway: Vec<String>,
    /// Leave meshd out: bare kernels
    #[arg(long)]
    bare: bool,
    /// What to run instead of a shell
    #[arg(last = true)]
    command: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let mut lab = Lab::with_topology("", &options.topology)?;
    for router in &options.phone {
        lab.add_phone(router)?;
    }
    for router in &options.gateway {
        lab.add_uplink(router)?;
    }
    if !options.bare {
        lab.start_all()?;
    }
    let names: Vec<&str> = lab.nodes().map(|node| node.name()).collect();
    println!("{} is up: {}", options.topology, names.join(" "));
    if !options.bare {
        println!(
            "configuration, log and control socket of each: {}/ROUTER/",
            sandbox::FILES
        );
    }
    let shell = env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_owned());
    let (program, arguments) = match options.command.split_first() {
        Some((program, arguments)) => (program.clone(), arguments),
        None => (shell, &[][..]),
    };
    let status = process::Command::new(&program)
        .args(arguments)
        .status()
        .with_context(|| format!("run {program}"))?;
    Ok(ExitCode::from(
        u8::try_from(status.code().unwrap_or(1)).unwrap_or(1),
    ))
}
