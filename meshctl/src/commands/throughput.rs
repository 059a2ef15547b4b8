//! `meshctl throughput NODE`: what the way to a node carries. meshd arranges it; the bytes flow from here.

use std::io::{self, ErrorKind, IsTerminal as _, Read as _, Write as _};
use std::net::{Ipv6Addr, Shutdown, SocketAddrV6, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use control_api::{
    Arranged, CONNECT_WITHIN_S, Direction, Exit, MAX_PROBE_WAIT_MS, NodeRef, Report, SCHEMA,
    Throughput,
};
use serde::Serialize;
use socket2::{Domain, Protocol, Socket, Type};

use super::Daemon;
use crate::cli::{Format, probe};
use crate::failure::Failure;
use crate::format;
use crate::output::{self, Output};
use crate::tsv::Layout;

/// A connection on which nothing moves for so long has lost the other end.
const STALLED: Duration = Duration::from_secs(3);
/// How often it is said how it goes.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// Moved at once.
const BLOCK: usize = 64 * 1024;

const LAYOUT: Layout = Layout {
    list: "results",
    columns: &["direction", "bps", "bytes", "time_us", "complete"],
};

/// What arrived in one direction.
#[derive(Clone, Copy, Debug, Serialize)]
struct Measured {
    direction: Direction,
    /// TCP payload in bit/s.
    bps: u64,
    bytes: u64,
    time_us: u64,
    /// Whether it lasted as long as was agreed.
    complete: bool,
}

/// As one line of NDJSON: the last second or so.
#[derive(Debug, Serialize)]
struct Progress {
    schema: u32,
    kind: &'static str,
    direction: Direction,
    /// Since the beginning.
    time_us: u64,
    /// Since the last line.
    bps: u64,
}

#[derive(Debug, Serialize)]
struct Summary<'a> {
    schema: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    node: &'a NodeRef,
    address: Ipv6Addr,
    results: &'a [Measured],
}

pub(super) fn run(
    daemon: &Daemon,
    output: Output,
    options: &probe::Throughput,
) -> Result<(), Failure> {
    let directions: &[Direction] = match options.direction {
        None => &[Direction::Down, Direction::Up],
        Some(probe::Direction::Down) => &[Direction::Down],
        Some(probe::Direction::Up) => &[Direction::Up],
    };
    let mut results = Vec::new();
    let mut last = None;
    let mut outcome = Ok(());
    for direction in directions {
        let arranged = match arrange(daemon, options, *direction) {
            Ok(arranged) => arranged,
            // What was measured is worth something.
            Err(failure) if last.is_some() => {
                outcome = Err(failure);
                break;
            }
            Err(failure) => return Err(failure),
        };
        if last.is_none() && output.is_text() {
            let node = format::node(&arranged.node);
            output::write_all(&format!("THROUGHPUT {node} {}\n", arranged.address))?;
        }
        let mut meter = Meter::new(output, *direction, options.seconds);
        outcome = meter.measure(&arranged);
        results.extend(meter.result());
        last = Some(arranged);
        if outcome.is_err() {
            break;
        }
    }
    if let Some(arranged) = last.filter(|_| !results.is_empty()) {
        let is_line = output.format == Format::Ndjson;
        let summary = Summary {
            schema: SCHEMA,
            kind: is_line.then_some("summary"),
            node: &arranged.node,
            address: arranged.address,
            results: &results,
        };
        output.show_list(&summary, LAYOUT, text)?;
    }
    outcome
}

fn arrange(
    daemon: &Daemon,
    options: &probe::Throughput,
    direction: Direction,
) -> Result<Arranged, Failure> {
    let wait_ms = u32::try_from(daemon.limit.as_millis()).unwrap_or(u32::MAX);
    Ok(daemon.connect()?.throughput(Throughput {
        node: options.node.clone(),
        direction,
        seconds: options.seconds,
        wait_ms: wait_ms.clamp(1, MAX_PROBE_WAIT_MS),
    })?)
}

/// One direction, as it goes.
#[derive(Debug)]
struct Meter {
    output: Output,
    direction: Direction,
    time: Duration,
    arrived: Report,
    told: Report,
}

impl Meter {
    fn new(output: Output, direction: Direction, seconds: u8) -> Self {
        Self {
            output,
            direction,
            time: Duration::from_secs(seconds.into()),
            arrived: Report::default(),
            told: Report::default(),
        }
    }

    fn measure(&mut self, arranged: &Arranged) -> Result<(), Failure> {
        let name = format::node(&arranged.node);
        let stream = connect(arranged, &name)?;
        let moved = match self.direction {
            Direction::Down => self.receive(&stream),
            Direction::Up => self.send(&stream),
        };
        // It is over, whatever the other end thinks.
        let _ = stream.shutdown(Shutdown::Both);
        moved?.map_err(|error| self.broken(&error, &name))
    }

    /// Counts what arrives here. The inner failure is the connection's.
    fn receive(&mut self, mut stream: &TcpStream) -> Result<io::Result<()>, Failure> {
        let mut block = vec![0; BLOCK];
        let mut start = None;
        while !self.is_complete() {
            let len = match stream.read(&mut block) {
                Ok(0) => return Ok(Err(ErrorKind::UnexpectedEof.into())),
                Ok(len) => len as u64,
                Err(error) => return Ok(Err(error)),
            };
            let start = *start.get_or_insert_with(Instant::now);
            let time_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.note(Report {
                time_us,
                bytes: self.arrived.bytes + len,
            })?;
        }
        Ok(Ok(()))
    }

    /// Sends, and listens to what is said about what arrives.
    fn send(&mut self, mut stream: &TcpStream) -> Result<io::Result<()>, Failure> {
        let mut sender = match stream.try_clone() {
            Ok(sender) => sender,
            Err(error) => return Ok(Err(error)),
        };
        // It ends with the connection.
        thread::spawn(move || {
            let block = noise();
            while sender.write_all(&block).is_ok() {}
        });
        let mut bytes = [0; Report::LEN];
        while !self.is_complete() {
            if let Err(error) = stream.read_exact(&mut bytes) {
                return Ok(Err(error));
            }
            self.note(Report::from_bytes(bytes))?;
        }
        Ok(Ok(()))
    }

    fn is_complete(&self) -> bool {
        Duration::from_micros(self.arrived.time_us) >= self.time
    }

    fn note(&mut self, arrived: Report) -> Result<(), Failure> {
        self.arrived = arrived;
        let lately = Report {
            time_us: arrived.time_us.saturating_sub(self.told.time_us),
            bytes: arrived.bytes.saturating_sub(self.told.bytes),
        };
        if Duration::from_micros(lately.time_us) < PROGRESS_EVERY {
            return Ok(());
        }
        self.told = arrived;
        match self.output.format {
            Format::Table if io::stdout().is_terminal() => output::write_all(&format!(
                "{:<4}  {:>4.1} s  {}\n",
                name_of(self.direction),
                Duration::from_micros(arrived.time_us).as_secs_f64(),
                mbit(lately.bps())
            )),
            Format::Ndjson => self.output.show(
                &Progress {
                    schema: SCHEMA,
                    kind: "progress",
                    direction: self.direction,
                    time_us: arrived.time_us,
                    bps: lately.bps(),
                },
                |_| String::new(),
            ),
            Format::Table | Format::Json | Format::Tsv => Ok(()),
        }
    }

    /// What was measured, if anything was.
    fn result(&self) -> Option<Measured> {
        let Report { time_us, bytes } = self.arrived;
        (time_us > 0).then(|| Measured {
            direction: self.direction,
            bps: self.arrived.bps(),
            bytes,
            time_us,
            complete: self.is_complete(),
        })
    }

    fn broken(&self, error: &io::Error, name: &str) -> Failure {
        let after = Duration::from_micros(self.arrived.time_us).as_secs_f64();
        if is_timeout(error) {
            let message = format!("nothing moves any more between here and {name}");
            return Failure::new(Exit::Timeout, message);
        }
        if is_end(error) {
            let message = format!("{name} ended the test after {after:.1} s");
            return Failure::new(Exit::Failure, message);
        }
        Failure::new(Exit::Failure, format!("connection to {name}: {error}"))
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
    )
}

/// The connection, accepted.
fn connect(arranged: &Arranged, name: &str) -> Result<TcpStream, Failure> {
    let Some(token) = &arranged.token else {
        let message = format!("no answer from {name}");
        return Err(Failure::new(Exit::Timeout, message));
    };
    let token = token.clone().into_bytes();
    let refused = |error: io::Error| match () {
        () if is_timeout(&error) => Failure::new(
            Exit::Timeout,
            format!(
                "TCP port {} of {name} does not answer: a firewall may drop what is for it",
                arranged.port
            ),
        ),
        () if is_end(&error) => Failure::new(
            Exit::Failure,
            format!("{name} does not take the connection"),
        ),
        () => Failure::new(Exit::Failure, format!("connection to {name}: {error}")),
    };
    begin(arranged, &token).map_err(refused)
}

fn begin(arranged: &Arranged, token: &[u8]) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddrV6::new(arranged.own_address, 0, 0, 0).into())?;
    let there = SocketAddrV6::new(arranged.address, arranged.port, 0, 0);
    let patience = Duration::from_secs(CONNECT_WITHIN_S);
    socket.connect_timeout(&there.into(), patience)?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(STALLED))?;
    stream.set_write_timeout(Some(STALLED))?;
    stream.write_all(token)?;
    stream.read_exact(&mut [0])?;
    Ok(stream)
}

/// What no link makes shorter: numbers of SplitMix64 (Steele, Lea, Flood 2014).
fn noise() -> Vec<u8> {
    let mut state = 0_u64;
    let words = (0..BLOCK / 8).flat_map(|_| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).to_be_bytes()
    });
    words.collect()
}

const fn name_of(direction: Direction) -> &'static str {
    match direction {
        Direction::Down => "down",
        Direction::Up => "up",
    }
}

/// Megabits a second, with three digits at least.
fn mbit(bps: u64) -> String {
    let mbps = bps as f64 / 1_000_000.0;
    match bps {
        0..9_995_000 => format!("{mbps:.2} Mbit/s"),
        9_995_000.. => format!("{mbps:.1} Mbit/s"),
    }
}

fn text(summary: &Summary<'_>) -> String {
    let line = |it: &Measured| {
        format!(
            "{:<4}  {}, {} in {:.1} s{}\n",
            name_of(it.direction),
            mbit(it.bps),
            format::bytes(it.bytes),
            Duration::from_micros(it.time_us).as_secs_f64(),
            if it.complete { "" } else { ", not to the end" }
        )
    };
    summary.results.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_three_digits() {
        assert_eq!(mbit(54_321), "0.05 Mbit/s");
        assert_eq!(mbit(5_432_100), "5.43 Mbit/s");
        assert_eq!(mbit(9_999_999), "10.0 Mbit/s");
        assert_eq!(mbit(987_654_321), "987.7 Mbit/s");
    }

    #[test]
    fn noise_does_not_repeat() {
        let noise = noise();
        assert_eq!(noise.len(), BLOCK);
        let (words, _) = noise.as_chunks::<8>();
        let distinct: std::collections::BTreeSet<_> = words.iter().collect();
        assert_eq!(distinct.len(), words.len());
    }
}
