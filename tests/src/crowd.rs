//! Many hosts with many flows at once.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::namespace::Namespace;

/// So many packets are sent, then there is a pause of a millisecond: what is to be seen is how many
/// flows there can be, not how fast they are.
const BURST: usize = 10;
/// How long answers are waited for after the last packet was sent.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a flow is tried: datagrams may be lost for any reason.
const TRIES: usize = 3;

/// UDP sockets of many hosts behind one router, each of them one flow to the same echo server.
#[derive(Debug)]
pub struct Crowd(Vec<UdpSocket>);

impl Crowd {
    /// Opens `each` sockets on each of these addresses, which are given to `interface`.
    ///
    /// # Errors
    /// The kernel refuses an address or a socket.
    pub fn gather(
        namespace: &Namespace,
        interface: &str,
        hosts: &[Ipv4Addr],
        each: usize,
        server: SocketAddr,
    ) -> Result<Self> {
        let lines = hosts
            .iter()
            .map(|host| format!("addr add {host}/24 dev {interface}\n"));
        namespace.ip_batch(&lines.collect::<String>())?;
        allow_files(hosts.len() * each)?;
        let open = |host: &Ipv4Addr| {
            let socket = UdpSocket::bind((*host, 0)).context("open UDP")?;
            socket.set_nonblocking(true)?;
            socket.connect(server)?;
            Ok(socket)
        };
        let sockets = hosts
            .iter()
            .flat_map(|host| std::iter::repeat_n(host, each));
        let sockets = namespace.within(|| sockets.map(open).collect::<Result<_>>())?;
        Ok(Self(sockets))
    }

    /// How many flows there are.
    #[must_use]
    pub fn flows(&self) -> usize {
        self.0.len()
    }

    /// Sends something in each flow. Returns how many had no answer.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        let mut waiting: Vec<&UdpSocket> = self.0.iter().collect();
        for _ in 0..TRIES {
            for burst in waiting.chunks(BURST) {
                for socket in burst {
                    // Perhaps an earlier one was refused.
                    let _ = socket.send(&[1]);
                }
                thread::sleep(Duration::from_millis(1));
            }
            let end = Instant::now() + PATIENCE;
            while !waiting.is_empty() && Instant::now() < end {
                waiting.retain(|socket| socket.recv(&mut [0; 8]).is_err());
                thread::sleep(Duration::from_millis(10));
            }
        }
        waiting.len()
    }
}

/// Allows the process to open so many files, besides those it has.
///
/// # Errors
/// It may not.
pub fn allow_files(more: usize) -> Result<()> {
    const OTHERS: u64 = 1000;
    let needed = u64::try_from(more)? + OTHERS;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    ensure!(
        hard >= needed,
        "only {hard} files may be opened, {needed} are needed"
    );
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(needed), hard).context("allow more open files")
}
