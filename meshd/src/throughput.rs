//! Measurements of what a way carries that other nodes ask for: how many there may be, and this node's end of one.
//!
//! Each runs on a thread of its own over one TCP connection, so that routing waits for nothing; the kernel shares
//! the processor between them. A measurement fills the way between two nodes for as long as it lasts, as any
//! download does, so there are bounds: one at a time, and [`Tests`] remembers how much there was lately.
//!
//! The port is open only while a connection is waited for. It listens at the mesh address, which packets reach over
//! any interface of the mesh, so it cannot be bound to one; who connects has to come from the mesh address of
//! the node that asked, and to say the token.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv6Addr, Shutdown, SocketAddr, SocketAddrV6, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use control_api::{CONNECT_WITHIN_S, Report};
use mesh_proto::OriginatorId;
use mesh_proto::wire::ThroughputRequest;
use mesh_proto::wire::throughput::{Direction, Token, Verdict};
use socket2::{Domain, Protocol, Socket, Type};
use tracing::{debug, info};

/// The TCP port of measurements: the number that the routing protocol has with UDP.
pub(crate) const PORT: u16 = 5525;

/// What counts as lately.
const MEMORY: Duration = Duration::from_secs(600);
/// So many seconds one node may measure lately: a tenth of the time.
const EACH_S: u64 = 60;
/// So many seconds all nodes together may measure lately: a fifth of the time.
const ALL_S: u64 = 120;

/// How long the connection is waited for.
const CONNECT_WITHIN: Duration = Duration::from_secs(CONNECT_WITHIN_S);
/// How long a connection may take to say the token.
const TOKEN_WITHIN: Duration = Duration::from_secs(1);
/// A connection on which nothing moves for so long has lost the other end.
const STALLED: Duration = Duration::from_secs(3);
/// How much longer than agreed this end sends: the other one measures from the first byte that arrives.
const SLACK: Duration = Duration::from_secs(1);
/// How often the other end is told what has arrived.
const REPORT_EVERY: Duration = Duration::from_millis(250);
/// Moved at once.
const BLOCK: usize = 64 * 1024;

/// The measurements that others have asked for.
#[derive(Debug, Default)]
pub(crate) struct Tests {
    /// Those that began lately, the oldest first. Each is at least a second, so there are at most [`ALL_S`].
    lately: VecDeque<Begun>,
    /// Whether one runs.
    running: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Begun {
    at: Instant,
    by: OriginatorId,
    token: Token,
    seconds: u8,
}

impl Tests {
    /// Listens for the measurement that a node asks for, if there may be one, and says whether. A request that
    /// comes again while its measurement runs is answered as before.
    pub(crate) fn begin(
        &mut self,
        now: Instant,
        (from, theirs): (OriginatorId, Ipv6Addr),
        ours: Ipv6Addr,
        request: &ThroughputRequest,
    ) -> Verdict {
        let is_running = self.running.load(Ordering::Acquire);
        let verdict = self.admit(now, is_running, from, request);
        if verdict != Verdict::Accepted || is_running {
            return verdict;
        }
        match listen(ours).and_then(|listener| self.run(listener, theirs, *request)) {
            Ok(()) => {
                info!(node = %from, direction = ?request.direction, seconds = request.seconds, "throughput is measured");
                Verdict::Accepted
            }
            Err(error) => {
                debug!(%error, "throughput cannot be measured");
                Verdict::Failed
            }
        }
    }

    /// Whether there may be this measurement, which counts from then on.
    fn admit(
        &mut self,
        now: Instant,
        is_running: bool,
        from: OriginatorId,
        request: &ThroughputRequest,
    ) -> Verdict {
        let is_lately = |it: &Begun| now.saturating_duration_since(it.at) < MEMORY;
        while self.lately.front().is_some_and(|it| !is_lately(it)) {
            self.lately.pop_front();
        }
        let newest = self.lately.back();
        if is_running {
            let again = newest.is_some_and(|it| it.by == from && it.token == request.token);
            return if again {
                Verdict::Accepted
            } else {
                Verdict::Busy
            };
        }
        // A request that somebody has recorded begins nothing.
        let is_known = self.lately.iter().any(|it| it.token == request.token);
        let sum = |of: &dyn Fn(&Begun) -> bool| -> u64 {
            let of = self.lately.iter().filter(|it| of(it));
            of.map(|it| u64::from(it.seconds)).sum()
        };
        let more = u64::from(request.seconds);
        if is_known || sum(&|it| it.by == from) + more > EACH_S || sum(&|_| true) + more > ALL_S {
            return Verdict::TooMany;
        }
        self.lately.push_back(Begun {
            at: now,
            by: from,
            token: request.token,
            seconds: request.seconds,
        });
        Verdict::Accepted
    }

    fn run(
        &self,
        listener: TcpListener,
        theirs: Ipv6Addr,
        request: ThroughputRequest,
    ) -> io::Result<()> {
        self.running.store(true, Ordering::Release);
        let running = Running(Arc::clone(&self.running));
        let work = move || {
            let outcome = serve(listener, theirs, &request);
            drop(running);
            match outcome {
                Ok(()) => debug!("throughput measured"),
                Err(error) => debug!(%error, "throughput not measured to the end"),
            }
        };
        let thread = thread::Builder::new().name("throughput".to_owned());
        thread.spawn(work).map(drop)
    }
}

/// A measurement that runs until this is dropped.
struct Running(Arc<AtomicBool>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

fn listen(address: Ipv6Addr) -> io::Result<TcpListener> {
    listen_at(SocketAddrV6::new(address, PORT, 0, 0))
}

fn listen_at(address: SocketAddrV6) -> io::Result<TcpListener> {
    const BACKLOG: i32 = 4;
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_only_v6(true)?;
    // Connections that have ended stay in the kernel for a minute.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// One measurement, from the connection to its end.
fn serve(listener: TcpListener, theirs: Ipv6Addr, request: &ThroughputRequest) -> io::Result<()> {
    let stream = accept(listener, theirs, &request.token)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STALLED))?;
    stream.set_write_timeout(Some(STALLED))?;
    (&stream).write_all(&[1])?;
    let time = Duration::from_secs(request.seconds.into());
    match request.direction {
        Direction::Down => send(&stream, time + SLACK),
        Direction::Up => receive(&stream, time),
    }
}

/// The connection that says the token; others are closed. The port is closed then.
fn accept(listener: TcpListener, theirs: Ipv6Addr, token: &Token) -> io::Result<TcpStream> {
    let until = Instant::now() + CONNECT_WITHIN;
    let listener = Socket::from(listener);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        // It bounds accept(2) as well (socket(7)).
        listener.set_read_timeout(Some(left))?;
        let (stream, peer) = listener.accept()?;
        let is_theirs = matches!(peer.as_socket(), Some(SocketAddr::V6(it)) if *it.ip() == theirs);
        let stream = TcpStream::from(stream);
        if is_theirs && says(&stream, token) {
            return Ok(stream);
        }
    }
}

fn says(mut stream: &TcpStream, token: &Token) -> bool {
    let mut said = [0; Token::LEN];
    let read = stream
        .set_read_timeout(Some(TOKEN_WITHIN))
        .and_then(|()| stream.read_exact(&mut said));
    read.is_ok() && said == *token.as_bytes()
}

/// Sends until the other end has enough, or for so long.
fn send(mut stream: &TcpStream, time: Duration) -> io::Result<()> {
    let block = noise();
    let start = Instant::now();
    while start.elapsed() < time {
        match stream.write(&block) {
            Ok(_) => {}
            Err(error) if has_enough(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    stream.shutdown(Shutdown::Write)
}

fn has_enough(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
    )
}

/// Receives for so long, and says how much that was.
fn receive(mut stream: &TcpStream, time: Duration) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    let first = stream.read(&mut block)?;
    let start = Instant::now();
    let mut bytes = first as u64;
    let mut told = Duration::ZERO;
    while start.elapsed() < time {
        match stream.read(&mut block)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            len => bytes += len as u64,
        }
        let elapsed = start.elapsed();
        if elapsed >= told + REPORT_EVERY && elapsed < time {
            told = elapsed;
            report(stream, elapsed, bytes)?;
        }
    }
    report(stream, start.elapsed(), bytes)?;
    stream.shutdown(Shutdown::Write)?;
    // Closed now, with bytes that nobody has read, the connection would take the report with it (RFC 2525 §2.17).
    stream.set_read_timeout(Some(SLACK))?;
    let end = Instant::now() + SLACK;
    while Instant::now() < end && matches!(stream.read(&mut block), Ok(1..)) {}
    Ok(())
}

fn report(mut stream: &TcpStream, elapsed: Duration, bytes: u64) -> io::Result<()> {
    let time_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    stream.write_all(&Report { time_us, bytes }.to_bytes())
}

/// What no link makes shorter.
fn noise() -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    // Without randomness it is zeros, and a link that packs them seems faster.
    let _ = getrandom::fill(&mut block);
    block
}

#[cfg(test)]
mod tests;
