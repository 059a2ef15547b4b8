//! What a daemon costs when nothing happens: bytes on the air, processor time, memory.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mesh_tests::namespace::Namespace;
use mesh_tests::probe::Pinger;

use crate::bed::Bed;
use crate::report::{Figure, Recorder};
use crate::watch::{PROBE, Probed};

/// Of an Ethernet frame, without the checksum that a veth does not have.
const ETHERNET_BYTES: f64 = 14.0;

/// Measures for `time`, once everybody has reached everybody and some time has passed.
pub(crate) fn measure(
    bed: &mut Bed,
    recorder: &Recorder,
    settle: Duration,
    time: Duration,
) -> Result<()> {
    thread::sleep(settle);
    count_routing(bed)?;
    let processes = bed.processes()?;
    let (begin, before) = (Instant::now(), Counted::now(bed, &processes)?);
    thread::sleep(time);
    let seconds = begin.elapsed().as_secs_f64();
    let after = Counted::now(bed, &processes)?;
    let grown = |value: &dyn Fn(&Counted) -> Vec<f64>| -> Vec<f64> {
        let pairs = value(&after).into_iter().zip(value(&before));
        pairs
            .map(|(after, before)| (after - before) / seconds)
            .collect()
    };
    let packets = grown(&|c| c.sent.iter().map(|(_, packets)| *packets).collect());
    let bytes = grown(&|c| c.sent.iter().map(|(bytes, _)| *bytes).collect());
    let network = bytes
        .iter()
        .zip(&packets)
        .map(|(b, p)| b - p * ETHERNET_BYTES);
    recorder.add(
        Figure::values("idle bytes", bed, "B/s", network.collect::<Vec<_>>())
            .noted("sent per router, without Ethernet headers"),
    )?;
    recorder.add(
        Figure::values("idle ethernet", bed, "B/s", bytes).noted("the same with Ethernet headers"),
    )?;
    recorder.add(Figure::values("idle packets", bed, "1/s", packets))?;
    let cpu = grown(&|c| c.cpu_ns.iter().map(|ns| ns / 1e6).collect());
    recorder.add(Figure::values("idle cpu", bed, "ms/s", cpu))?;
    let rss = after.rss_kib.iter().map(|kib| kib / 1024.0);
    recorder.add(Figure::values(
        "idle rss",
        bed,
        "MiB",
        rss.collect::<Vec<_>>(),
    ))?;
    one_flow(bed, recorder, time / 3)
}

/// One flow from corner to corner: what it adds to the routing packets, and to which.
fn one_flow(bed: &mut Bed, recorder: &Recorder, time: Duration) -> Result<()> {
    let routers = bed.routers();
    let count = f64::from(u32::try_from(routers.len())?);
    let (from, to) = ("r1".to_owned(), format!("r{}", routers.len()));
    let idle = rates(bed, time)?;
    let probed = Probed::pair(bed, &from, &to)?;
    let hops = bed.village.path(&from, bed.address(&to)?)?.len() - 1;
    let pinger = Pinger::start(&probed.from, probed.target, PROBE)?;
    thread::sleep(Duration::from_secs(3));
    let busy = rates(bed, time)?;
    drop(pinger);
    for (group, at) in [("multicast", 0), ("unicast", 1)] {
        let (idle, busy) = (idle.get(at).copied(), busy.get(at).copied());
        let figure = Figure::values("routing", bed, "B/s", idle.map(|idle| idle / count));
        recorder.add(figure.noted(format!("{group}, idle, per router")))?;
        let figure = Figure::values("routing", bed, "B/s", busy.map(|busy| busy / count));
        recorder.add(figure.noted(format!(
            "{group}, with one flow over {hops} hops both ways, per router"
        )))?;
    }
    Ok(())
}

/// Bytes of routing packets a second of the whole village, multicast and unicast, without
/// Ethernet headers.
fn rates(bed: &Bed, time: Duration) -> Result<Vec<f64>> {
    let (begin, before) = (Instant::now(), routing_bytes(bed)?);
    thread::sleep(time);
    let seconds = begin.elapsed().as_secs_f64();
    let after = routing_bytes(bed)?;
    let both = after.iter().zip(before);
    Ok(both
        .map(|(after, before)| (after - before) / seconds)
        .collect())
}

const COUNTERS: [&str; 2] = ["multicast", "unicast"];

/// Counts at the medium what every router sends: meshd on port 5525, Babel on 6696, batmand on
/// 4305.
fn count_routing(bed: &Bed) -> Result<()> {
    bed.air.nft(
        "table bridge routing {\n\
         counter multicast { }\n counter unicast { }\n\
         chain count {\n type filter hook prerouting priority 0; policy accept;\n\
         udp dport { 5525, 6696, 4305 } goto routing\n}\n\
         chain routing {\n\
         ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00 counter name multicast return\n\
         counter name unicast\n}\n}\n",
    )
}

fn routing_bytes(bed: &Bed) -> Result<Vec<f64>> {
    COUNTERS
        .iter()
        .map(|name| {
            let text = bed
                .air
                .run("nft", &format!("list counter bridge routing {name}"))?;
            let bytes = text.split_once("bytes ").map(|(_, rest)| rest);
            let bytes = bytes.and_then(|rest| rest.split_whitespace().next());
            let bytes = bytes.with_context(|| format!("no bytes in {text}"))?;
            bytes.parse().context("a count of bytes")
        })
        .collect()
}

/// The counters of all routers, in the same order every time.
#[derive(Debug)]
struct Counted {
    sent: Vec<(f64, f64)>,
    cpu_ns: Vec<f64>,
    rss_kib: Vec<f64>,
}

impl Counted {
    fn now(bed: &Bed, processes: &BTreeMap<String, u32>) -> Result<Self> {
        let mut counted = Self {
            sent: Vec::new(),
            cpu_ns: Vec::new(),
            rss_kib: Vec::new(),
        };
        for (router, process) in processes {
            counted.sent.push(sent(bed.lab.node(router)?.namespace())?);
            let at = Path::new("/proc").join(process.to_string());
            counted.cpu_ns.push(cpu_ns(&at)?);
            counted.rss_kib.push(status_kib(&at, "VmRSS:")?);
        }
        Ok(counted)
    }
}

/// Bytes with Ethernet headers, and packets, that a router has sent into the air.
fn sent(namespace: &Namespace) -> Result<(f64, f64)> {
    let text = namespace.within(|| Ok(fs::read_to_string("/proc/thread-self/net/dev")?))?;
    let line = text.lines().find_map(|l| l.trim().strip_prefix("mesh0:"));
    let mut values = line.context("no mesh0")?.split_whitespace().skip(8);
    let mut value = || -> Result<f64> {
        values
            .next()
            .context("a short line")?
            .parse()
            .context("a count")
    };
    Ok((value()?, value()?))
}

/// Processor time of all threads. Threads that have ended are left out; none of these daemons
/// has any when idle.
pub(crate) fn cpu_ns(process: &Path) -> Result<f64> {
    let mut sum = 0.0;
    for task in fs::read_dir(process.join("task")).context("a daemon has ended")? {
        let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        let ns: Option<f64> = text.split(' ').next().and_then(|ns| ns.parse().ok());
        sum += ns.unwrap_or_default();
    }
    Ok(sum)
}

/// A size that the kernel tells of a process, for example `VmRSS:`, its resident memory.
pub(crate) fn status_kib(process: &Path, field: &str) -> Result<f64> {
    let text = fs::read_to_string(process.join("status")).context("a daemon has ended")?;
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.with_context(|| format!("no {field}"))?
        .parse()
        .context("a size")
}
