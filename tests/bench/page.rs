//! The status page: what it costs to be asked, and what a flood of connections does to routing.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use control_api::{Neighbors, Reloaded};
use mesh_tests::crowd::allow_files;
use mesh_tests::internet::{HOST_V4, echo_at};
use mesh_tests::lab::ROUTER_ON_LAN;
use mesh_tests::mesh::wait_online_through;
use mesh_tests::namespace::Namespace;
use mesh_tests::probe::Pinger;
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;
use socket2::{Domain, Socket, Type};

use crate::bed::Bed;
use crate::idle::{cpu_ns, status_kib};
use crate::kind::Kind;
use crate::report::{Figure, Recorder};

const ROUTER: &str = "r1";
const NEIGHBOR: &str = "r2";
const GATEWAY: &str = "r3";
const PATIENCE: Duration = Duration::from_secs(30);
/// How long each way of asking lasts.
const WATCH: Duration = Duration::from_secs(20);
/// Between two requests: ten a second.
const PACE: Duration = Duration::from_millis(100);
const PATHS: [&str; 3] = ["/", "/status.json", "/metrics"];
/// Connections that are held, or tried again when they were closed.
const FLOOD: usize = 10_000;
/// Hosts that hold them: ten times as many as there are places.
const HOSTS: u16 = 320;
/// How often a second a connection that was closed is made again.
const RETRIES: u64 = 500;
/// How often a neighbor is asked when it last heard the router.
const LOOK: Duration = Duration::from_millis(250);

/// A router with a phone, two hops from the gateway.
pub(crate) fn village() -> Result<Bed> {
    Bed::with(Kind::Meshd, &Topology::line(3), 0, |bed| {
        bed.lab.add_phone(ROUTER)?;
        bed.lab.add_uplink(GATEWAY)?;
        bed.lab.settle()
    })
}

fn at() -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(192, 168, 1, 1).into(), 80)
}

/// Nobody asks, and ten requests a second, in turns; then the flood.
pub(crate) fn measure(bed: &mut Bed, recorder: &Recorder, rounds: usize) -> Result<()> {
    bed.ensure_running(PATIENCE)?;
    wait_online_through(&bed.lab, ROUTER, GATEWAY, PATIENCE)?;
    let phone = bed.lab.node(ROUTER)?.phone()?.clone();
    let process = bed.processes()?;
    let process = process.get(ROUTER).context("no meshd on r1")?;
    let process = Path::new("/proc").join(process.to_string());
    thread::sleep(PATIENCE);
    let without = status_kib(&process, "VmRSS:")?;
    configure(bed)?;
    wait_for("the page", PATIENCE, || ask(&phone, "/").map(drop))?;
    let (mut idle, mut asked, mut times) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        idle.push(cpu_of(&process, || {
            thread::sleep(WATCH);
            Ok(())
        })?);
        asked.push(cpu_of(&process, || ten_a_second(&phone, &mut times))?);
    }
    let with = status_kib(&process, "VmRSS:")?;
    let figure = Figure::values("page cpu", bed, "ms/s", idle);
    recorder.add(figure.noted("nobody asks"))?;
    let figure = Figure::values("page cpu", bed, "ms/s", asked);
    recorder.add(figure.noted("ten requests a second of /, /status.json and /metrics"))?;
    let figure = Figure::values("page answer", bed, "ms", times);
    recorder.add(figure.noted("connection, request and answer"))?;
    let figure = Figure::values("page rss", bed, "MiB", [(with - without) / 1024.0]);
    recorder.add(figure.noted(format!(
        "grown since before it was configured, from {:.2}",
        without / 1024.0
    )))?;
    flooded(bed, recorder, &phone, &process)
}

fn configure(bed: &mut Bed) -> Result<()> {
    let node = bed.lab.node_mut(ROUTER)?;
    node.config.status_page = Some(format!("{{listen: [\"{ROUTER_ON_LAN}:80\"]}}"));
    node.files().write_config(&node.config)?;
    let reloaded: Reloaded = node.ctl("reload")?;
    ensure!(reloaded.changed == ["status_page"], "{reloaded:?}");
    Ok(())
}

/// Milliseconds of processor time a second while something is done.
fn cpu_of(process: &Path, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let (begin, before) = (Instant::now(), cpu_ns(process)?);
    work()?;
    Ok((cpu_ns(process)? - before) / 1e6 / begin.elapsed().as_secs_f64())
}

fn ten_a_second(phone: &Namespace, times: &mut Vec<f64>) -> Result<()> {
    let begin = Instant::now();
    for (number, path) in (0_u32..).zip(PATHS.iter().cycle()) {
        let due = begin + PACE * number;
        if due > begin + WATCH {
            return Ok(());
        }
        thread::sleep(due.saturating_duration_since(Instant::now()));
        times.push(ask(phone, path)?.as_secs_f64() * 1e3);
    }
    Ok(())
}

/// How long one request takes on a connection of its own.
fn ask(phone: &Namespace, path: &str) -> Result<Duration> {
    let begin = Instant::now();
    phone.within(|| {
        let mut stream = TcpStream::connect_timeout(&at(), PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {ROUTER_ON_LAN}\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        ensure!(answer.starts_with(b"HTTP/1.1 200 "), "{path} is not answered");
        Ok(())
    })?;
    Ok(begin.elapsed())
}

/// What is seen of routing, and by a browser, for a while.
#[derive(Debug, Default)]
struct Seen {
    silent_ms: Vec<f64>,
    least_heard: f64,
    answers_ms: Vec<f64>,
    unanswered: usize,
    most_kib: f64,
}

fn flooded(bed: &Bed, recorder: &Recorder, phone: &Namespace, process: &Path) -> Result<()> {
    let lines = (0..HOSTS).map(|host| format!("addr add {}/16 dev eth0\n", address(host)));
    phone.ip_batch(&lines.collect::<String>())?;
    let router = bed.lab.node(ROUTER)?;
    // They are all on the LAN.
    router.namespace().ip("addr add 192.168.1.1/16 dev lan0")?;
    let quiet = watch(bed, phone, process)?;
    record(bed, recorder, &quiet, "without a flood")?;
    let rss = status_kib(process, "VmRSS:")?;
    let uptime = router.status()?.uptime_s;

    let pinger = Pinger::start(phone, echo_at(HOST_V4), Duration::from_millis(50))?;
    let stop = AtomicBool::new(false);
    let (seen, cost, made) = thread::scope(|scope| -> Result<_> {
        let flood = scope.spawn(|| flood(phone, &stop));
        let mut seen = None;
        let cost = cpu_of(process, || {
            seen = Some(watch(bed, phone, process)?);
            Ok(())
        });
        stop.store(true, Ordering::Relaxed);
        let made = flood.join().ok().context("the flood panicked")??;
        Ok((seen.context("nothing seen")?, cost?, made))
    })?;
    let probed = pinger.stop();
    let note = format!("{FLOOD} connections of {HOSTS} hosts, {made} made in all");
    record(bed, recorder, &seen, &note)?;
    let figure = Figure::values("page cpu", bed, "ms/s", [cost]);
    recorder.add(figure.noted(format!("{note}, and ten requests a second beside them")))?;
    let grown = (seen.most_kib - rss) / 1024.0;
    let figure = Figure::values("page rss", bed, "MiB", [grown]);
    recorder.add(figure.noted("grown at most during the flood"))?;
    recorder.say(&format!(
        "the phone through r1, r2 and r3 meanwhile: {probed}"
    ));
    ensure!(
        router.status()?.uptime_s >= uptime,
        "meshd was started anew"
    );
    Ok(())
}

fn record(bed: &Bed, recorder: &Recorder, seen: &Seen, note: &str) -> Result<()> {
    let figure = Figure::values("page heard", bed, "ms", seen.silent_ms.clone());
    recorder.add(figure.noted(format!(
        "since r2 last heard r1, {note}; at least {:.0} % of its hellos came",
        seen.least_heard * 100.0
    )))?;
    let figure = Figure::values("page answer", bed, "ms", seen.answers_ms.clone());
    recorder.add(figure.noted(format!("{note}; {} unanswered", seen.unanswered)))
}

/// Ten requests a second, and how r2 hears r1, until [`WATCH`] is over.
fn watch(bed: &Bed, phone: &Namespace, process: &Path) -> Result<Seen> {
    let neighbor = bed.lab.node(NEIGHBOR)?;
    let begin = Instant::now();
    let mut seen = Seen {
        least_heard: 1.0,
        ..Seen::default()
    };
    let (mut look, mut paths) = (begin, PATHS.iter().cycle());
    while begin.elapsed() < WATCH {
        let next = Instant::now() + PACE;
        match ask(phone, paths.next().unwrap_or(&"/")) {
            Ok(took) => seen.answers_ms.push(took.as_secs_f64() * 1e3),
            Err(_) => seen.unanswered += 1,
        }
        seen.most_kib = seen.most_kib.max(status_kib(process, "VmRSS:")?);
        if Instant::now() >= look {
            look = Instant::now() + LOOK;
            let neighbors: Neighbors = neighbor.ctl("neighbors")?;
            let of_router = neighbors.neighbors.iter();
            let mut of_router = of_router.filter(|it| it.name.as_deref() == Some(ROUTER));
            let it = of_router.next().context("r2 has lost r1")?;
            ensure!(it.cost_us.is_some(), "r2 has no route to r1");
            seen.silent_ms
                .push(f64::from(u32::try_from(it.last_heard_ms)?));
            seen.least_heard = seen.least_heard.min(it.rx_quality.share());
        }
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(seen)
}

fn address(host: u16) -> Ipv4Addr {
    let [high, low] = (host + 0x0200).to_be_bytes();
    Ipv4Addr::new(192, 168, high, low)
}

/// Opens connections, of which every other says something that is no request and the others half of one, and opens
/// those again that are closed. Returns how often it connected.
fn flood(phone: &Namespace, stop: &AtomicBool) -> Result<u64> {
    allow_files(FLOOD)?;
    phone.within(|| {
        let mut made = 0;
        let mut held: Vec<Option<TcpStream>> = (0..FLOOD).map(|_| None).collect();
        let mut begin: Option<(Instant, u64)> = None;
        while !stop.load(Ordering::Relaxed) {
            for (number, slot) in held.iter_mut().enumerate() {
                if stop.load(Ordering::Relaxed) {
                    return Ok(made);
                }
                if slot.as_ref().is_some_and(is_open) {
                    continue;
                }
                *slot = connect(number);
                made += 1;
                // The first round is as fast as can be.
                if let Some((begin, before)) = begin {
                    let due = Duration::from_micros((made - before) * 1_000_000 / RETRIES);
                    thread::sleep(due.saturating_sub(begin.elapsed()));
                }
            }
            begin.get_or_insert((Instant::now(), made));
        }
        Ok(made)
    })
}

fn is_open(stream: &TcpStream) -> bool {
    let peeked = stream.peek(&mut [0]);
    peeked.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

/// Nothing if the router does not take it.
fn connect(number: usize) -> Option<TcpStream> {
    let host = address(u16::try_from(number).ok()? % HOSTS);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
    socket.bind(&SocketAddr::new(host.into(), 0).into()).ok()?;
    let soon = Duration::from_millis(200);
    socket.connect_timeout(&at().into(), soon).ok()?;
    socket.set_nonblocking(true).ok()?;
    let mut stream = TcpStream::from(socket);
    let said: &[u8] = match number % 2 {
        0 => b"GET / HTTP/1.1\r\nX: ",
        _ => b"\x16\x03\x01\x02\x00\x01\x00",
    };
    stream.write_all(said).ok()?;
    Some(stream)
}
