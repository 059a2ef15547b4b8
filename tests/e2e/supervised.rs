//! What meshd tells systemd: that it is ready, alive, reading its configuration, and about to end.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use control_api::Status;
use libtest_mimic::Trial;
use mesh_tests::harness::{in_lab, note};
use mesh_tests::lab::Lab;
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        in_lab(
            "supervisor_hears_when_meshd_speaks",
            || Topology::line(1),
            start,
        ),
        in_lab(
            "supervisor_hears_nothing_of_a_loop_that_is_stuck",
            || Topology::line(1),
            stuck,
        ),
        in_lab(
            "supervisor_hears_of_reloads_and_the_end",
            || Topology::line(1),
            reloads_and_end,
        ),
    ]
}

const PATIENCE: Duration = Duration::from_secs(30);
/// After this silence a supervisor would restart meshd.
const LIMIT: Duration = Duration::from_secs(2);

const LIFE: &str = "WATCHDOG=1\n";

/// A supervisor's socket, and what came there.
struct Ear {
    heard: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl Ear {
    fn listen(path: &Path) -> Result<Self> {
        let socket = UnixDatagram::bind(path).context("a socket for notices")?;
        let heard = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&heard);
        thread::spawn(move || {
            let mut buffer = [0; 512];
            // The thread ends with the test program.
            while let Ok(length) = socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
                if let Ok(mut all) = all.lock() {
                    all.push((Instant::now(), text.into_owned()));
                }
            }
        });
        Ok(Self { heard })
    }

    fn all(&self) -> Vec<(Instant, String)> {
        self.heard.lock().map(|all| all.clone()).unwrap_or_default()
    }

    /// All but the signs of life.
    fn words(&self) -> Vec<String> {
        let all = self.all().into_iter().map(|(_, text)| text);
        all.filter(|text| text != LIFE).collect()
    }

    fn life(&self) -> Vec<Instant> {
        let all = self.all().into_iter();
        all.filter(|(_, text)| text == LIFE)
            .map(|(at, _)| at)
            .collect()
    }

    fn wait_word(&self, what: &str, wanted: impl Fn(&str) -> bool) -> Result<()> {
        wait_for(what, PATIENCE, || {
            let words = self.words();
            ensure!(words.iter().any(|it| wanted(it)), "{words:?}");
            Ok(())
        })
    }
}

/// Starts r1 under a supervisor that wants signs of life.
fn supervise(lab: &mut Lab) -> Result<Ear> {
    let r1 = lab.node_mut("r1")?;
    let path = r1.files().directory().join("notify");
    let ear = Ear::listen(&path)?;
    let limit = LIMIT.as_micros().to_string();
    r1.launch_with(&[
        ("NOTIFY_SOCKET", path.as_os_str()),
        ("WATCHDOG_USEC", OsStr::new(&limit)),
    ])?;
    Ok(ear)
}

fn speaks(text: &str) -> bool {
    text.contains("READY=1\n") && text.contains("STATUS=speaks on the mesh\n")
}

fn start(lab: &mut Lab) -> Result<()> {
    let r1 = lab.node_mut("r1")?;
    // meshd switches its interfaces on by itself, but this one has no carrier while the other end is off.
    r1.config.mesh = "[{interface: mesh9}]".to_owned();
    let namespace = r1.namespace().clone();
    namespace.ip("link add mesh9 type veth peer name far9")?;
    let ear = supervise(lab)?;
    lab.node_mut("r1")?.daemon()?.wait_ready()?;
    let early = ear.words();
    ensure!(early.is_empty(), "before there was an interface: {early:?}");
    namespace.ip("link set far9 up")?;
    ear.wait_word("r1 to say that it is ready", speaks)?;
    let status: Status = lab.node("r1")?.ctl("status")?;
    ensure!(status.counters.tx_packets > 0, "{status:?}");

    wait_for("signs of life for three limits", PATIENCE, || {
        let life = ear.life();
        let time = life.first().map(Instant::elapsed).unwrap_or_default();
        ensure!(time > 3 * LIMIT, "{time:?}");
        Ok(())
    })?;
    let life = ear.life();
    let gaps = life.windows(2).filter_map(|pair| match pair {
        [before, after] => Some(*after - *before),
        _ => None,
    });
    let longest = gaps.max().unwrap_or_default();
    note(&format!(
        "{} signs of life in {:?}, at most {longest:?} apart",
        life.len(),
        3 * LIMIT
    ));
    ensure!(longest < LIMIT, "silent for {longest:?}");
    ensure!(life.len() <= 12, "{} signs of life", life.len());
    let words = ear.words();
    ensure!(words.len() == 1, "ready more than once: {words:?}");
    Ok(())
}

/// Only the thread of the loop is held; all others go on.
fn stuck(lab: &mut Lab) -> Result<()> {
    let ear = supervise(lab)?;
    ear.wait_word("r1 to say that it is ready", speaks)?;
    let alive = || {
        let before = ear.life().len();
        wait_for("signs of life", PATIENCE, || {
            let now = ear.life().len();
            ensure!(now > before + 1, "{before}, then {now}");
            Ok(())
        })
    };
    alive()?;
    let thread = Pid::from_raw(i32::try_from(lab.node_mut("r1")?.daemon()?.id())?);
    ptrace::attach(thread).context("hold the loop")?;
    waitpid(thread, Some(WaitPidFlag::__WALL))?;
    let held = Instant::now();
    let silent = wait_for("twice the limit", PATIENCE, || {
        ensure!(held.elapsed() > 2 * LIMIT);
        Ok(())
    });
    let said = ear.life().into_iter().filter(|at| *at > held).count();
    ptrace::detach(thread, None).context("let go of the loop")?;
    silent?;
    ensure!(said == 0, "{said} signs of life of a loop that is stuck");
    alive()
}

fn reloads_and_end(lab: &mut Lab) -> Result<()> {
    let ear = supervise(lab)?;
    ear.wait_word("r1 to say that it is ready", speaks)?;
    let config = lab.node("r1")?.files().config();
    let good = fs::read(&config)?;
    let contents = [
        ("right", good.as_slice()),
        ("wrong", b"network: [".as_slice()),
    ];
    for (which, content) in contents {
        fs::write(&config, content)?;
        let (before, begun) = (ear.words().len(), monotonic_us()?);
        lab.node_mut("r1")?.daemon()?.signal(Signal::SIGHUP)?;
        let what = format!("a {which} configuration to be read");
        let words = wait_for(&what, PATIENCE, || {
            let words = ear.words().split_off(before);
            ensure!(words.len() >= 2, "{words:?}");
            Ok(words)
        })?;
        let begin = words.first().map(String::as_str).unwrap_or_default();
        let us = begin.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
        let us: u64 = us.context("no begin")?.trim_end().parse()?;
        ensure!((begun..=monotonic_us()?).contains(&us), "{us}");
        let end = words.get(1).map(String::as_str);
        ensure!(end == Some("READY=1\n"), "{words:?}");
    }
    lab.node_mut("r1")?.take_daemon()?.terminate()?;
    ear.wait_word("r1 to say that it ends", |text| text == "STOPPING=1\n")
}

/// The clock that a supervisor compares with.
fn monotonic_us() -> Result<u64> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    Ok(u64::try_from(Duration::from(now).as_micros())?)
}
