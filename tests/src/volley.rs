//! Probes between many pairs of routers at once.
//!
//! One thread serves the sockets of a whole village: a thread for each pair would measure the
//! scheduler.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::namespace::Namespace;
use crate::probe::PORT;

/// How often answers are collected: the resolution of what is measured here.
const TICK: Duration = Duration::from_millis(5);

/// A probe goes from the first router to the address of the second.
pub type Pair = (String, String);

/// One socket in each router, and the address each is probed at. Echo servers answer.
#[derive(Debug)]
pub struct Volley {
    sockets: BTreeMap<String, UdpSocket>,
    addresses: BTreeMap<String, IpAddr>,
}

impl Volley {
    /// Opens the sockets. Routers are the keys of both maps.
    ///
    /// # Errors
    /// A socket could not be opened.
    pub fn new(
        namespaces: &BTreeMap<String, Namespace>,
        addresses: &BTreeMap<String, IpAddr>,
    ) -> Result<Self> {
        let mut sockets = BTreeMap::new();
        for (router, namespace) in namespaces {
            let socket = namespace.within(|| {
                let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).context("open UDP")?;
                socket.set_nonblocking(true)?;
                Ok(socket)
            })?;
            sockets.insert(router.clone(), socket);
        }
        Ok(Self {
            sockets,
            addresses: addresses.clone(),
        })
    }

    /// Probes each pair every `interval` until it has had an answer. Returns how long after
    /// `start` each was answered, those that were not within `bound` left out.
    #[must_use]
    pub fn first_answers(
        &self,
        pairs: &BTreeSet<Pair>,
        start: Instant,
        interval: Duration,
        bound: Duration,
    ) -> BTreeMap<Pair, Duration> {
        let numbered: Vec<&Pair> = pairs.iter().collect();
        let mut answered: BTreeMap<Pair, Duration> = BTreeMap::new();
        let mut next = Instant::now();
        while answered.len() < numbered.len() && start.elapsed() < bound {
            if Instant::now() >= next {
                next += interval;
                for (number, pair) in (0_u64..).zip(&numbered) {
                    if !answered.contains_key(*pair) {
                        self.send(pair, number);
                    }
                }
            }
            self.collect(|number| {
                if let Some(pair) = usize::try_from(number).ok().and_then(|n| numbered.get(n)) {
                    answered
                        .entry((*pair).clone())
                        .or_insert_with(|| start.elapsed());
                }
            });
            thread::sleep(TICK);
        }
        answered
    }

    /// Probes each pair every `interval` for `time` and returns how many probes were sent and how
    /// many came back within a second after the end.
    #[must_use]
    pub fn delivery(&self, pairs: &[Pair], interval: Duration, time: Duration) -> (u64, u64) {
        // Answers to probes of an earlier question.
        self.collect(|_| ());
        let (start, mut sent) = (Instant::now(), 0);
        let mut back = BTreeSet::new();
        let mut next = start;
        while start.elapsed() < time + crate::probe::PATIENCE {
            if start.elapsed() < time && Instant::now() >= next {
                next += interval;
                for pair in pairs {
                    self.send(pair, FIRST_OF_DELIVERY + sent);
                    sent += 1;
                }
            }
            self.collect(|number| {
                back.extend(number.checked_sub(FIRST_OF_DELIVERY));
            });
            thread::sleep(TICK);
        }
        (sent, back.len() as u64)
    }

    fn send(&self, (from, to): &Pair, number: u64) {
        let (Some(socket), Some(address)) = (self.sockets.get(from), self.addresses.get(to)) else {
            return;
        };
        let address = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => *v6,
        };
        // Without a route nothing is sent, and nothing will come back.
        let _ = socket.send_to(&number.to_be_bytes(), SocketAddr::from((address, PORT)));
    }

    fn collect(&self, mut handle: impl FnMut(u64)) {
        let mut buffer = [0; 64];
        for socket in self.sockets.values() {
            loop {
                match socket.recv(&mut buffer) {
                    Ok(length) => {
                        let bytes = buffer.get(..length).and_then(|bytes| bytes.try_into().ok());
                        if let Some(bytes) = bytes {
                            handle(u64::from_be_bytes(bytes));
                        }
                    }
                    // What an ICMP message reports is no answer; others may wait behind it.
                    Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => (),
                    Err(_) => break,
                }
            }
        }
    }
}

/// Apart from the numbers of pairs, whose late answers must not be counted.
const FIRST_OF_DELIVERY: u64 = 1 << 32;
