//! A whole village behind one router: what its packets cost the daemons, which is nothing if the kernel
//! carries them alone.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use mesh_tests::crowd::Crowd;
use mesh_tests::internet::{HOST_V4, echo_at};
use mesh_tests::iperf::{self, Direction, Ends};
use mesh_tests::mesh::wait_online_through;
use mesh_tests::topology::Topology;

use crate::bed::Bed;
use crate::idle::cpu_ns;
use crate::kind::Kind;
use crate::report::{Figure, Recorder};

const CLIENT: &str = "r1";
const GATEWAY: &str = "r3";
/// How long each volume of traffic lasts.
const WATCH: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(30);
/// Of TCP, in Mbit/s; the last is as much as there can be.
const VOLUMES: [Option<u32>; 4] = [Some(1), Some(10), Some(100), None];
/// Of each of the 64 hosts: together more than 10,000.
const FLOWS: usize = 157;

/// The village.
pub(crate) fn village() -> Result<Bed> {
    Bed::with(Kind::Meshd, &Topology::line(3), 0, |bed| {
        bed.lab.add_phone(CLIENT)?;
        bed.lab.add_uplink(GATEWAY)?;
        bed.lab.settle()
    })
}

/// No traffic, 10,000 flows, and more and more TCP beside them.
pub(crate) fn measure(bed: &mut Bed, recorder: &Recorder) -> Result<()> {
    bed.ensure_running(PATIENCE)?;
    wait_online_through(&bed.lab, CLIENT, GATEWAY, PATIENCE)?;
    thread::sleep(PATIENCE);
    let processes = bed.processes()?;
    let cost = Cost::begin(&processes)?;
    thread::sleep(WATCH);
    cost.record(recorder, bed, "no traffic".to_owned())?;

    let phone = bed.lab.node(CLIENT)?.phone()?.clone();
    let hosts: Vec<Ipv4Addr> = (101..165)
        .map(|host| Ipv4Addr::new(192, 168, 1, host))
        .collect();
    let crowd = Crowd::gather(&phone, "eth0", &hosts, FLOWS, echo_at(HOST_V4))?;
    let flows = crowd.flows();
    ensure!(crowd.unanswered() == 0, "flows without answer");
    let cost = Cost::begin(&processes)?;
    let (mut rounds, mut lost) = (0, 0);
    while cost.since.elapsed() < WATCH {
        lost += crowd.unanswered();
        rounds += 1;
    }
    let note = format!("{flows} flows, each used {rounds} times, {lost} without answer");
    cost.record(recorder, bed, note)?;

    for most_mbps in VOLUMES {
        let ends = Ends {
            client: &phone,
            server: bed.lab.internet()?.host(),
            address: HOST_V4,
            port: iperf::PORT,
            most_mbps,
        };
        let cost = Cost::begin(&processes)?;
        let tcp = iperf::transfer(&ends, Direction::Down, WATCH)?;
        let note = format!("{:.0} Mbit/s of TCP beside them", tcp.mbps);
        cost.record(recorder, bed, note)?;
    }
    let lost = crowd.unanswered();
    ensure!(lost == 0, "{lost} of {flows} flows are lost after that");
    Ok(())
}

/// What the daemons take from a moment on.
#[derive(Debug)]
struct Cost<'a> {
    processes: &'a BTreeMap<String, u32>,
    since: Instant,
    cpu_ns: Vec<f64>,
}

impl<'a> Cost<'a> {
    fn begin(processes: &'a BTreeMap<String, u32>) -> Result<Self> {
        Ok(Self {
            processes,
            since: Instant::now(),
            cpu_ns: all_cpu_ns(processes)?,
        })
    }

    fn record(&self, recorder: &Recorder, bed: &Bed, note: String) -> Result<()> {
        let ms = self.since.elapsed().as_secs_f64() * 1e6;
        let now = all_cpu_ns(self.processes)?;
        let grown = now.iter().zip(&self.cpu_ns).map(|(now, then)| now - then);
        let figure = Figure::values("clients cpu", bed, "ms/s", grown.map(|ns| ns / ms));
        recorder.add(figure.noted(note))
    }
}

fn all_cpu_ns(processes: &BTreeMap<String, u32>) -> Result<Vec<f64>> {
    let processes = processes.values();
    processes
        .map(|process| cpu_ns(&Path::new("/proc").join(process.to_string())))
        .collect()
}
