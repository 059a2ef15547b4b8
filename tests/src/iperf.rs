//! TCP with iperf3.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::namespace::Namespace;
use crate::wait::wait_for;

/// Where iperf3 listens.
pub const PORT: u16 = 5201;

/// How long a server may take to begin.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who sends, as the client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The client.
    Up,
    /// The server.
    Down,
}

/// Between whom.
#[derive(Clone, Copy, Debug)]
pub struct Ends<'a> {
    /// Who connects.
    pub client: &'a Namespace,
    /// Whom it connects to.
    pub server: &'a Namespace,
    /// The server's.
    pub address: IpAddr,
    /// Where it listens: [`PORT`], unless there are several at a time.
    pub port: u16,
    /// How fast it may get, if not as fast as it can.
    pub most_mbps: Option<u32>,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Transferred {
    /// Payload received in a second, Mbit/s.
    pub mbps: f64,
    /// Payload that was received.
    pub bytes: f64,
}

/// One connection for so long.
///
/// # Errors
/// iperf3 is missing, or nothing came through.
pub fn transfer(ends: &Ends<'_>, direction: Direction, time: Duration) -> Result<Transferred> {
    let reverse = match direction {
        Direction::Up => "",
        Direction::Down => "--reverse",
    };
    let most = ends.most_mbps.map(|mbps| format!("--bitrate {mbps}M"));
    let most = most.unwrap_or_default();
    let (seconds, address, port) = (time.as_secs(), ends.address, ends.port);
    let options =
        format!("--json --time {seconds} {reverse} {most} --port {port} --client {address}");
    let server =
        format!("--server --one-off --daemon --port {port} --pidfile /run/iperf3-{port}.pid");
    // It goes into the background before it listens, and ends with the first that fails.
    wait_for("a transfer", time + PATIENCE, || {
        ends.server.run("iperf3", &server)?;
        read(&ends.client.run("iperf3", &options)?)
    })
}

fn read(text: &str) -> Result<Transferred> {
    let value: Value = serde_json::from_str(text).context("what iperf3 says")?;
    let of_all = |name: &str| {
        let figure = value.pointer(&format!("/end/sum_received/{name}"));
        let figure = figure.and_then(Value::as_f64);
        figure.with_context(|| format!("no {name} in {text}"))
    };
    Ok(Transferred {
        mbps: of_all("bits_per_second")? / 1e6,
        bytes: of_all("bytes")?,
    })
}
