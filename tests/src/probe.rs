//! Counted probes: UDP packets with a number, echoed by the other end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::http::content;
use crate::namespace::Namespace;
use crate::wait::{self, wait_for};

/// Where probes are echoed.
pub const PORT: u16 = 7007;

/// How often a blocked receiver looks whether it is still wanted.
const CHECK: Duration = Duration::from_millis(50);

/// A probe that has not come back by then is lost.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// Sends every packet back where it came from.
#[derive(Debug)]
pub struct EchoServer {
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl EchoServer {
    /// Echoes whatever arrives for any address of the namespace, now or later.
    ///
    /// # Errors
    /// The port is taken.
    pub fn start(namespace: &Namespace) -> Result<Self> {
        let socket = open(namespace, PORT)?;
        let stopped = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stopped);
        let thread = thread::spawn(move || {
            receive(&socket, &flag, |bytes, from| {
                // No route back is part of what is measured.
                let _ = socket.send_to(bytes, from);
            });
        });
        Ok(Self {
            stopped,
            thread: Some(thread),
        })
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn open(namespace: &Namespace, port: u16) -> Result<UdpSocket> {
    namespace.within(|| {
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port))
            .with_context(|| format!("open UDP port {port}"))?;
        socket.set_read_timeout(Some(CHECK))?;
        Ok(socket)
    })
}

fn receive(socket: &UdpSocket, stopped: &AtomicBool, mut handle: impl FnMut(&[u8], SocketAddr)) {
    let mut buffer = [0; 65_536];
    while !stopped.load(Ordering::Relaxed) {
        // Errors are timeouts and ICMP messages about earlier packets.
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            handle(buffer.get(..length).unwrap_or_default(), from);
        }
    }
}

/// One socket of the laboratory speaks to both families.
fn mapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(v4) => SocketAddr::new(IpAddr::V6(v4.to_ipv6_mapped()), address.port()),
        IpAddr::V6(_) => address,
    }
}

/// Probes one address at a steady rate until it is stopped.
#[derive(Debug)]
pub struct Pinger {
    flight: Arc<Flight>,
    sender: Option<JoinHandle<()>>,
    receiver: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Flight {
    no_more: AtomicBool,
    all_in: AtomicBool,
    probes: Mutex<Vec<Probe>>,
}

impl Flight {
    fn probes(&self) -> MutexGuard<'_, Vec<Probe>> {
        self.probes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One probe of a [`Report`].
#[derive(Clone, Copy, Debug)]
struct Probe {
    sent: Instant,
    back: Option<Instant>,
}

impl Pinger {
    /// Begins to probe `target` from inside `namespace`.
    ///
    /// # Errors
    /// No socket could be opened.
    pub fn start(namespace: &Namespace, target: SocketAddr, interval: Duration) -> Result<Self> {
        let socket = open(namespace, 0)?;
        let flight = Arc::new(Flight::default());
        let receiver = {
            let (socket, flight) = (socket.try_clone()?, Arc::clone(&flight));
            thread::spawn(move || {
                receive(&socket, &flight.all_in, |bytes, _| note(&flight, bytes));
            })
        };
        let sender = {
            let flight = Arc::clone(&flight);
            thread::spawn(move || send(&socket, mapped(target), interval, &flight))
        };
        Ok(Self {
            flight,
            sender: Some(sender),
            receiver: Some(receiver),
        })
    }

    /// Waits until `more` answers have come back than now.
    ///
    /// # Errors
    /// They have not within `bound`.
    pub fn wait_answers(&self, more: usize, bound: Duration) -> Result<()> {
        let enough = self.answered() + more;
        wait_for("answers to probes", bound, || {
            let answered = self.answered();
            ensure!(answered >= enough, "{answered} of {enough}");
            Ok(())
        })
    }

    /// How many came back so far.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.flight
            .probes()
            .iter()
            .filter(|probe| probe.back.is_some())
            .count()
    }

    /// Whether every probe of the last `time` has come back. Those that were sent less than `late`
    /// ago may still be under way.
    #[must_use]
    pub fn is_steady(&self, time: Duration, late: Duration) -> bool {
        is_steady(&self.flight.probes(), Instant::now(), time, late)
    }

    /// What happened to the probes that were sent since `since`.
    ///
    /// Those that are still under way count as lost.
    #[must_use]
    pub fn report_since(&self, since: Instant) -> Report {
        let probes = self.flight.probes();
        Report::new(probes.iter().filter(|probe| probe.sent >= since).copied())
    }

    /// Stops sending, waits for the last ones to come back, and reports.
    #[must_use]
    pub fn stop(mut self) -> Report {
        self.halt(PATIENCE);
        let probes = self.flight.probes();
        Report::new(probes.iter().copied())
    }

    fn halt(&mut self, patience: Duration) {
        self.flight.no_more.store(true, Ordering::Relaxed);
        join(&mut self.sender);
        let end = Instant::now() + patience;
        while Instant::now() < end
            && self
                .flight
                .probes()
                .iter()
                .any(|probe| probe.back.is_none())
        {
            thread::sleep(Duration::from_millis(10));
        }
        self.flight.all_in.store(true, Ordering::Relaxed);
        join(&mut self.receiver);
    }
}

impl Drop for Pinger {
    fn drop(&mut self) {
        self.halt(Duration::ZERO);
    }
}

fn join(thread: &mut Option<JoinHandle<()>>) {
    if let Some(thread) = thread.take() {
        let _ = thread.join();
    }
}

fn send(socket: &UdpSocket, target: SocketAddr, interval: Duration, flight: &Flight) {
    let mut next = Instant::now();
    while !flight.no_more.load(Ordering::Relaxed) {
        let number = {
            let mut probes = flight.probes();
            probes.push(Probe {
                sent: Instant::now(),
                back: None,
            });
            probes.len() as u64 - 1
        };
        // Nothing is sent where there is no route: that probe is lost, as it should be.
        let _ = socket.send_to(&number.to_be_bytes(), target);
        next += interval;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn is_steady(probes: &[Probe], now: Instant, time: Duration, late: Duration) -> bool {
    let (Some(from), Some(to)) = (now.checked_sub(time), now.checked_sub(late)) else {
        return false;
    };
    // Before that there was nothing that could have been lost.
    probes.first().is_some_and(|first| first.sent <= from)
        && probes
            .iter()
            .rev()
            .skip_while(|probe| probe.sent > to)
            .take_while(|probe| probe.sent >= from)
            .all(|probe| probe.back.is_some())
}

fn note(flight: &Flight, bytes: &[u8]) {
    let Ok(number) = <[u8; 8]>::try_from(bytes) else {
        return;
    };
    let index = usize::try_from(u64::from_be_bytes(number)).unwrap_or(usize::MAX);
    if let Some(probe) = flight.probes().get_mut(index) {
        probe.back.get_or_insert_with(Instant::now);
    }
}

/// How a series of probes went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Probes sent.
    pub sent: usize,
    /// Probes that never came back.
    pub lost: usize,
    /// The longest time in which nothing came back, also if late answers came back after it:
    /// whoever waits for them is cut off all the same. One interval when nothing is wrong.
    pub longest_outage: Duration,
    /// The slowest answer.
    pub slowest: Duration,
}

impl Report {
    fn new(probes: impl Iterator<Item = Probe>) -> Self {
        let mut report = Self::default();
        // The first and the last probe stand for answers that were due, or silence at either
        // end would not count.
        let mut due = Vec::new();
        let mut last = None;
        for Probe { sent, back } in probes {
            if report.sent == 0 {
                due.push(sent);
            }
            report.sent += 1;
            last = Some(sent);
            match back {
                Some(back) => {
                    report.slowest = report.slowest.max(back.saturating_duration_since(sent));
                    due.push(back);
                }
                None => report.lost += 1,
            }
        }
        due.extend(last);
        due.sort_unstable();
        let gaps = due.iter().zip(due.iter().skip(1));
        let longest = gaps
            .map(|(one, next)| next.saturating_duration_since(*one))
            .max();
        report.longest_outage = longest.unwrap_or_default();
        report
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sent,
            lost,
            longest_outage,
            slowest,
        } = self;
        write!(
            f,
            "{sent} probes sent, {lost} lost, longest outage {} ms, slowest answer {} ms",
            longest_outage.as_millis(),
            slowest.as_millis()
        )
    }
}

/// Which of several addresses answer a probe from inside `namespace` within `patience`.
///
/// # Errors
/// No socket could be opened.
pub fn reachable(
    namespace: &Namespace,
    targets: &[IpAddr],
    patience: Duration,
) -> Result<BTreeSet<IpAddr>> {
    let socket = open(namespace, 0)?;
    let mut waiting = BTreeMap::new();
    for (number, target) in (0_u64..).zip(targets) {
        let _ = socket.send_to(
            &number.to_be_bytes(),
            mapped(SocketAddr::new(*target, PORT)),
        );
        waiting.insert(number, *target);
    }
    let mut answered = BTreeSet::new();
    let end = Instant::now() + wait::patience(patience);
    let mut buffer = [0; 64];
    while !waiting.is_empty() && Instant::now() < end {
        match socket.recv(&mut buffer) {
            Ok(length) => {
                let number = buffer.get(..length).and_then(|bytes| bytes.try_into().ok());
                answered.extend(number.and_then(|n| waiting.remove(&u64::from_be_bytes(n))));
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => (),
            // An ICMP message about one of the probes; the others may still come back.
            Err(_) => (),
        }
    }
    Ok(answered)
}

/// Waits until datagrams of these sizes have come back from an [`EchoServer`] as they were sent, in as many
/// packets as they need.
///
/// # Errors
/// One does not within `bound`.
pub fn wait_echoes(
    namespace: &Namespace,
    target: SocketAddr,
    sizes: &[usize],
    bound: Duration,
) -> Result<()> {
    let socket = open(namespace, 0)?;
    let mut buffer = [0; 65_536];
    for &size in sizes {
        let sent = content(size);
        wait_for(&format!("an echo of {size} bytes"), bound, || {
            socket.send_to(&sent, mapped(target))?;
            let length = socket.recv(&mut buffer)?;
            ensure!(buffer.get(..length) == Some(&sent), "{length} bytes came");
            Ok(())
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One probe every 10 ms: back at once, back 100 ms later, or lost.
    fn probes(start: Instant, pattern: &str) -> impl Iterator<Item = Probe> {
        pattern.chars().zip(0..).map(move |(kind, number)| {
            let sent = start + Duration::from_millis(10 * number);
            let back = match kind {
                '!' => Some(sent),
                '>' => Some(sent + Duration::from_millis(100)),
                _ => None,
            };
            Probe { sent, back }
        })
    }

    fn report(pattern: &str) -> Report {
        Report::new(probes(Instant::now(), pattern))
    }

    fn longest_outage_ms(pattern: &str) -> u128 {
        report(pattern).longest_outage.as_millis()
    }

    #[test]
    fn answered_probes_are_no_outage() {
        let expected = Report {
            sent: 4,
            longest_outage: Duration::from_millis(10),
            ..Report::default()
        };
        assert_eq!(report("!!!!"), expected);
    }

    #[test]
    fn an_outage_lasts_until_the_next_answer() {
        let report = report("!.!!...!!");
        assert_eq!((report.sent, report.lost), (9, 4));
        assert_eq!(report.longest_outage, Duration::from_millis(40));
    }

    #[test]
    fn an_outage_at_either_end_counts() {
        assert_eq!(longest_outage_ms("!...."), 40);
        assert_eq!(longest_outage_ms("....!"), 40);
        assert_eq!(longest_outage_ms("....."), 40);
    }

    #[test]
    fn steady_is_what_has_lost_nothing_for_so_long() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        // Asked when the last of the probes is 10 ms old.
        let steady = |pattern: &str, time, late| {
            let probes: Vec<Probe> = probes(start, pattern).collect();
            let now = start + ms(10 * u64::try_from(probes.len()).unwrap());
            is_steady(&probes, now, ms(time), ms(late))
        };
        assert!(steady("!!!!!", 50, 20) && steady(".!!!!", 40, 20) && steady("!!!!.", 50, 20));
        assert!(!steady(".!!!!", 50, 20), "a probe was lost in that time");
        assert!(!steady("!!!.!", 50, 20), "one is too old to be under way");
        assert!(!steady("!!!!!", 60, 20), "there were no probes for so long");
    }

    #[test]
    fn late_answers_do_not_hide_an_outage() {
        let report = report("!>>>>>>>>>");
        assert_eq!(
            (report.lost, report.slowest),
            (0, Duration::from_millis(100))
        );
        assert_eq!(report.longest_outage, Duration::from_millis(90));
    }
}
