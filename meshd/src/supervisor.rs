//! Whoever started the daemon and looks after it: systemd, or anything that speaks its protocol.
//!
//! Datagrams of lines to the socket that `NOTIFY_SOCKET` names (sd_notify(3)); without it, nobody is told.
//! Everything is said by the event loop itself, so a loop that is stuck falls silent, and is restarted.
//!
//! **Nothing waits for the supervisor**: what its socket does not take is said again a little later.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use tracing::{debug, warn};

/// How long a start may wait for an interface of the mesh to speak on. Others wait for this daemon to be ready,
/// a resolver above all, and so does whoever installs it: a radio that is not plugged in must not stop them.
const LONGEST_START: Duration = Duration::from_secs(10);
/// How soon what was not taken is said again.
const AGAIN: Duration = Duration::from_millis(100);

const SPEAKS: &str = "READY=1\nSTATUS=speaks on the mesh\n";
const WAITS: &str = "READY=1\nSTATUS=waits for an interface of the mesh\n";
const SPEAKS_NOW: &str = "STATUS=speaks on the mesh\n";

/// How far a start has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing was sent to the mesh yet.
    Silent,
    /// Something was.
    Speaking,
}

/// The supervisor, if there is one.
#[derive(Debug)]
pub(crate) struct Supervisor {
    socket: Option<UnixDatagram>,
    stage: Stage,
    /// What it should be told of the start: when, until it took it.
    start_due: Option<Instant>,
    /// Whether it was told that the daemon waits.
    said_waiting: bool,
    watchdog: Option<Watchdog>,
}

/// It wants to hear from the daemon, or restarts it.
#[derive(Clone, Copy, Debug)]
struct Watchdog {
    /// Half of what it tolerates, as sd_watchdog_enabled(3) recommends.
    interval: Duration,
    due: Instant,
}

impl Supervisor {
    /// The one that the environment tells of.
    pub(crate) fn from_environment(now: Instant) -> Self {
        let socket = env::var_os("NOTIFY_SOCKET").and_then(|name| match connect(&name) {
            Ok(socket) => Some(socket),
            Err(error) => {
                warn!(%error, "NOTIFY_SOCKET cannot be used: the supervisor hears nothing");
                None
            }
        });
        // It may be meant for whoever started us.
        let for_us = match env::var("WATCHDOG_PID") {
            Ok(pid) => pid.parse() == Ok(process::id()),
            Err(_) => true,
        };
        let limit = env::var("WATCHDOG_USEC").ok().filter(|_| for_us);
        let limit = limit.and_then(|us| us.parse().ok());
        Self::new(socket, limit.map(Duration::from_micros), now)
    }

    /// `limit`: after which silence it restarts the daemon.
    fn new(socket: Option<UnixDatagram>, limit: Option<Duration>, now: Instant) -> Self {
        let is_there = socket.is_some();
        let limit = limit.filter(|limit| is_there && !limit.is_zero());
        Self {
            socket,
            stage: Stage::Silent,
            start_due: is_there.then_some(now + LONGEST_START),
            said_waiting: false,
            watchdog: limit.map(|limit| Watchdog {
                interval: limit / 2,
                due: now,
            }),
        }
    }

    /// Something was sent to the mesh.
    pub(crate) fn handle_sent(&mut self, now: Instant) {
        if self.stage == Stage::Silent {
            self.stage = Stage::Speaking;
            if self.socket.is_some() {
                self.start_due = Some(now);
            }
        }
    }

    /// When it wants to hear something.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let watchdog = self.watchdog.map(|watchdog| watchdog.due);
        self.start_due.into_iter().chain(watchdog).min()
    }

    /// Says what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.start_due.is_some_and(|due| now >= due) {
            self.tell_start(now);
        }
        let Some(Watchdog { interval, due }) = self.watchdog else {
            return;
        };
        if now >= due {
            let wait = match self.say("WATCHDOG=1\n") {
                true => interval,
                false => AGAIN.min(interval),
            };
            let due = now + wait;
            self.watchdog = Some(Watchdog { interval, due });
        }
    }

    fn tell_start(&mut self, now: Instant) {
        let said = self.say(match (self.stage, self.said_waiting) {
            (Stage::Silent, _) => WAITS,
            (Stage::Speaking, false) => SPEAKS,
            (Stage::Speaking, true) => SPEAKS_NOW,
        });
        self.said_waiting |= said && self.stage == Stage::Silent;
        self.start_due = (!said).then(|| now + AGAIN);
    }

    /// The configuration is being read again, until [`Self::handle_reloaded`].
    pub(crate) fn handle_reloading(&mut self) {
        // Of the same clock as the supervisor's, which has to tell this from an earlier one.
        let Ok(now) = clock_gettime(ClockId::CLOCK_MONOTONIC) else {
            return;
        };
        let us = i128::from(now.tv_sec()) * 1_000_000 + i128::from(now.tv_nsec()) / 1_000;
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={us}\n"));
    }

    /// It was read again, whether it was right or not.
    pub(crate) fn handle_reloaded(&mut self, now: Instant) {
        if !self.say("READY=1\n") && self.socket.is_some() {
            // Else it would wait for ever.
            self.said_waiting = false;
            self.start_due = Some(now + AGAIN);
        }
    }

    /// The daemon ends.
    pub(crate) fn handle_stopping(&mut self) {
        self.say("STOPPING=1\n");
        self.start_due = None;
    }

    /// Returns whether it was taken.
    fn say(&self, lines: &str) -> bool {
        let Some(socket) = &self.socket else {
            return false;
        };
        match socket.send(lines.as_bytes()) {
            Ok(_) => true,
            Err(error) => {
                debug!(%error, "the supervisor does not listen");
                false
            }
        }
    }
}

/// A path, or a name without a file behind an `@`.
fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(name)?,
        _ => {
            return Err(io::Error::other(
                "neither a path nor a name that begins with @",
            ));
        }
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    /// A supervisor's end, and the daemon's.
    fn pair(limit: Option<Duration>, now: Instant) -> (UnixDatagram, Supervisor) {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        for socket in [&ours, &theirs] {
            socket.set_nonblocking(true).unwrap();
        }
        (theirs, Supervisor::new(Some(ours), limit, now))
    }

    fn heard(socket: &UnixDatagram) -> Vec<String> {
        let mut buffer = [0; 256];
        let mut all = Vec::new();
        while let Ok(length) = socket.recv(&mut buffer) {
            all.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
        }
        all
    }

    /// Lets time pass until `end`, waking when something is due.
    fn run(supervisor: &mut Supervisor, end: Instant) {
        while let Some(due) = supervisor.deadline().filter(|due| *due <= end) {
            supervisor.handle_timeout(due);
        }
    }

    #[test]
    fn a_daemon_is_ready_when_it_speaks_and_says_so_once() {
        let now = Instant::now();
        let (theirs, mut supervisor) = pair(None, now);

        run(&mut supervisor, now + LONGEST_START / 2);
        assert!(heard(&theirs).is_empty(), "nothing was sent yet");
        for _ in 0..3 {
            supervisor.handle_sent(now + LONGEST_START / 2);
            run(&mut supervisor, now + LONGEST_START);
        }

        assert_eq!(heard(&theirs), [SPEAKS]);
        assert_eq!(supervisor.deadline(), None);
    }

    #[test]
    fn a_radio_that_is_not_there_stops_nobody_for_long() {
        let now = Instant::now();
        let (theirs, mut supervisor) = pair(None, now);

        run(&mut supervisor, now + 2 * LONGEST_START);
        assert_eq!(heard(&theirs), [WAITS]);
        supervisor.handle_sent(now + 2 * LONGEST_START);
        run(&mut supervisor, now + 3 * LONGEST_START);

        assert_eq!(heard(&theirs), [SPEAKS_NOW]);
    }

    #[test]
    fn a_watchdog_hears_twice_as_often_as_it_wants() {
        let now = Instant::now();
        let (theirs, mut supervisor) = pair(Some(LIMIT), now);
        supervisor.handle_sent(now);

        run(&mut supervisor, now + 2 * LIMIT);

        let heard = heard(&theirs);
        let fed = heard.iter().filter(|it| *it == "WATCHDOG=1\n").count();
        assert_eq!(fed, 5, "{heard:?}");
    }

    #[test]
    fn what_was_not_taken_is_said_again() {
        let now = Instant::now();
        let (theirs, mut supervisor) = pair(Some(LIMIT), now);
        let mut filler = 0;
        while supervisor.say("X=1\n") {
            filler += 1;
        }
        supervisor.handle_sent(now);

        run(&mut supervisor, now + AGAIN);
        assert_eq!(heard(&theirs).len(), filler, "there was no room");
        run(&mut supervisor, now + 3 * AGAIN);

        assert_eq!(heard(&theirs), [SPEAKS, "WATCHDOG=1\n"]);
    }

    #[test]
    fn a_reload_is_told_with_its_time_and_ends() {
        let now = Instant::now();
        let (theirs, mut supervisor) = pair(None, now);

        supervisor.handle_reloading();
        supervisor.handle_reloaded(now);
        supervisor.handle_stopping();

        let heard = heard(&theirs);
        let (begin, rest) = heard.split_first().unwrap();
        let us = begin.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(us.trim_end().parse::<u64>().unwrap() > 0);
        assert_eq!(rest, ["READY=1\n", "STOPPING=1\n"]);
    }

    #[test]
    fn without_a_supervisor_nothing_is_due() {
        let now = Instant::now();
        let mut supervisor = Supervisor::new(None, Some(LIMIT), now);
        supervisor.handle_sent(now);
        assert_eq!(supervisor.deadline(), None);
        supervisor.handle_reloading();
        supervisor.handle_reloaded(now);
        assert_eq!(supervisor.deadline(), None);
    }

    #[test]
    fn a_socket_has_a_path_or_a_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        connect(path.as_os_str()).unwrap().send(b"by path").unwrap();
        let name = format!("meshd-test-{}", process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let abstract_listener = UnixDatagram::bind_addr(&address).unwrap();
        let named = connect(format!("@{name}").as_ref()).unwrap();
        named.send(b"by name").unwrap();
        for (listener, said) in [(listener, "by path"), (abstract_listener, "by name")] {
            listener.set_nonblocking(true).unwrap();
            assert_eq!(heard(&listener), [said]);
        }
        for wrong in ["", "notify", "vsock:2:1", "/no/such/socket"] {
            assert!(connect(wrong.as_ref()).is_err(), "{wrong}");
        }
    }
}
