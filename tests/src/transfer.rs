//! Long TCP transfers: whether they survive, and how long they stood still.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::namespace::Namespace;
use crate::wait::wait_for;

/// Where transfers come from.
pub const PORT: u16 = 7100;

/// Between two blocks of a transfer: far below any stall that matters.
const INTERVAL: Duration = Duration::from_millis(10);
/// A transfer that delivers nothing for so long is over.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a blocked thread looks whether it is still wanted.
const CHECK: Duration = Duration::from_millis(50);

/// Sends a block to everybody who connects, again and again.
#[derive(Debug)]
pub struct Source {
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Source {
    /// Listens at all addresses of a namespace, and sends a block every 10 ms.
    ///
    /// # Errors
    /// The port is taken.
    pub fn start(namespace: &Namespace) -> Result<Self> {
        Self::every(namespace, INTERVAL)
    }

    /// The same with blocks at another interval.
    ///
    /// # Errors
    /// The port is taken.
    pub fn every(namespace: &Namespace, interval: Duration) -> Result<Self> {
        let listener = namespace.within(|| {
            let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT));
            listener.with_context(|| format!("open TCP port {PORT}"))
        })?;
        listener.set_nonblocking(true)?;
        let stopped = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stopped);
        let thread = thread::spawn(move || {
            let mut streams: Vec<TcpStream> = Vec::new();
            while !flag.load(Ordering::Relaxed) {
                while let Ok((stream, _)) = listener.accept() {
                    let is_ready = stream.set_nonblocking(true).is_ok();
                    streams.extend(is_ready.then_some(stream));
                }
                // Whoever does not read misses a block, and is not waited for.
                streams.retain_mut(|stream| match stream.write(&[0; 1000]) {
                    Ok(_) => true,
                    Err(error) => error.kind() == ErrorKind::WouldBlock,
                });
                thread::sleep(interval);
            }
        });
        Ok(Self {
            stopped,
            thread: Some(thread),
        })
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A transfer under way.
#[derive(Debug)]
pub struct Transfer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stopped: AtomicBool,
    bytes: AtomicUsize,
    report: Mutex<Report>,
}

/// How a transfer went.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The longest time in which nothing came.
    pub longest_stall: Duration,
    /// Why it ended, if nobody stopped it.
    pub ended: Option<String>,
}

impl Transfer {
    /// Fetches from a host with a [`Source`].
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn start(namespace: &Namespace, host: IpAddr) -> Result<Self> {
        let address = SocketAddr::new(host, PORT);
        let stream = namespace.within(|| {
            let stream = TcpStream::connect_timeout(&address, PATIENCE);
            stream.with_context(|| format!("connect to {address}"))
        })?;
        stream.set_read_timeout(Some(CHECK))?;
        let shared = Arc::new(Shared::default());
        let told = Arc::clone(&shared);
        let thread = thread::spawn(move || receive(stream, &told));
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// How many bytes have come.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        u64::try_from(self.shared.bytes.load(Ordering::Relaxed)).unwrap_or(u64::MAX)
    }

    /// Waits until that many bytes have come.
    ///
    /// # Errors
    /// They have not.
    pub fn wait_for_bytes(&self, enough: u64) -> Result<()> {
        wait_for("a transfer to go on", PATIENCE, || {
            let bytes = self.bytes();
            let ended = self.ended();
            ensure!(bytes >= enough, "{bytes} of {enough} bytes, {ended:?}");
            Ok(())
        })
    }

    /// Waits until it ends by itself, and tells why.
    ///
    /// # Errors
    /// It goes on.
    pub fn wait_end(&self) -> Result<String> {
        wait_for("a transfer to end", PATIENCE, || {
            self.ended().context("it goes on")
        })
    }

    fn ended(&self) -> Option<String> {
        let report = self.shared.report.lock();
        let report = report.unwrap_or_else(PoisonError::into_inner);
        report.ended.clone()
    }

    /// Ends it, and tells how it went.
    #[must_use]
    pub fn stop(mut self) -> Report {
        self.halt();
        let report = self.shared.report.lock();
        report.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn halt(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.halt();
    }
}

/// Waits until so many more bytes have come of each.
///
/// # Errors
/// They have not.
pub fn wait_all_go_on<'a>(
    transfers: impl IntoIterator<Item = &'a Transfer>,
    more: u64,
) -> Result<()> {
    let all: Vec<_> = transfers
        .into_iter()
        .map(|transfer| (transfer, transfer.bytes() + more))
        .collect();
    all.iter()
        .try_for_each(|(transfer, enough)| transfer.wait_for_bytes(*enough))
}

fn receive(mut stream: TcpStream, shared: &Shared) {
    let mut report = Report::default();
    let mut last = Instant::now();
    let mut buffer = [0; 4096];
    while !shared.stopped.load(Ordering::Relaxed) {
        let now = Instant::now();
        match read_or_ask(&mut stream, &mut buffer) {
            Ok(0) => report.ended = Some("closed by the other end".to_owned()),
            Ok(length) => {
                shared.bytes.fetch_add(length, Ordering::Relaxed);
                report.longest_stall = report.longest_stall.max(last.elapsed());
                last = Instant::now();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                report.longest_stall = report.longest_stall.max(now - last);
                if last.elapsed() > PATIENCE {
                    report.ended = Some("nothing comes any longer".to_owned());
                }
            }
            Err(error) => report.ended = Some(error.to_string()),
        }
        if report.ended.is_some() {
            break;
        }
    }
    *shared.report.lock().unwrap_or_else(PoisonError::into_inner) = report;
}

/// Reads and, if nothing has come, asks whether anybody is there, as programs do. The kernel tells of a reset
/// once: to the asking, if it came after the reading.
fn read_or_ask(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let outcome = stream.read(buffer);
    if matches!(&outcome, Err(error) if error.kind() == ErrorKind::WouldBlock) {
        stream.write_all(&[0])?;
    }
    outcome
}
