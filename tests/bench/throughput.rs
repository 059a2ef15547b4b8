//! What the whole way of a phone's packets carries, and what it costs: phone, router, three relays,
//! gateway, a host on the Internet. Beside it the same way without a daemon: routes made by hand and
//! one translation, at the gateway.
//!
//! The ways take turns, one transfer each, so that all of them have the same machine; a share is of the
//! two transfers next to each other. What the processors do is counted on the whole machine, whoever
//! else is busy on it; the time of soft interrupts, in which the kernel forwards, is hardly anybody
//! else's.
//!
//! | module | what it holds |
//! |---|---|
//! | `way` | the villages |
//! | `work` | what the daemons of relays do meanwhile |

mod way;
mod work;

use std::mem;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use mesh_tests::internet::{HOST_V4, HOST_V6};
use mesh_tests::iperf::{self, Direction, Ends};

pub(crate) use self::way::Tunnel;
use self::way::{Frames, Village};
use self::work::Work;
use crate::report::{Load, Recorder};

/// How long a transfer takes.
const TRANSFER: Duration = Duration::from_secs(4);
/// How long daemons are watched while nothing happens.
const IDLE: Duration = Duration::from_secs(20);
/// How long a village is left alone once the phone is online.
const SETTLE: Duration = Duration::from_secs(5);
const GIGABYTE: f64 = 1e9;

/// A kind of transfer.
#[derive(Clone, Copy, Debug)]
struct Course {
    name: &'static str,
    direction: Direction,
    is_ipv4: bool,
}

const COURSES: [Course; 3] = [
    Course {
        name: "down",
        direction: Direction::Down,
        is_ipv4: true,
    },
    Course {
        name: "up",
        direction: Direction::Up,
        is_ipv4: true,
    },
    Course {
        name: "down, IPv6",
        direction: Direction::Down,
        is_ipv4: false,
    },
];

/// One transfer and what it took.
#[derive(Clone, Copy, Debug)]
struct Sample {
    mbps: f64,
    /// Seconds of soft interrupts for each gigabyte of payload.
    softirq: f64,
    /// Seconds of all processors, the programs at both ends included.
    processors: f64,
}

/// Compares these tunnels with forwarding alone, each course `rounds` times.
pub(crate) fn measure(recorder: &Recorder, tunnels: &[Tunnel], rounds: usize) -> Result<()> {
    let mut villages = vec![Village::by_hand()?];
    for tunnel in tunnels {
        villages.push(Village::of_meshd(*tunnel)?);
    }
    thread::sleep(SETTLE);
    for village in villages.iter().filter(|it| !it.relays.is_empty()) {
        let before = Work::so_far(village)?;
        thread::sleep(IDLE);
        let work = Work::so_far(village)?.since(&before);
        work.record(recorder, village, "idle")?;
    }
    for frames in [Frames::Large, Frames::Single] {
        for village in &villages {
            village.set_frames(frames)?;
        }
        for course in COURSES {
            compare(recorder, &villages, course, frames, rounds)?;
        }
    }
    Ok(())
}

/// The villages take turns.
fn compare(
    recorder: &Recorder,
    villages: &[Village],
    course: Course,
    frames: Frames,
    rounds: usize,
) -> Result<()> {
    let mut series = vec![Series::default(); villages.len()];
    for _ in 0..rounds {
        let turns = villages.iter().map(|village| turn(village, course));
        match turns.collect::<Result<Vec<_>>>() {
            Ok(turns) => {
                for (series, (sample, work)) in series.iter_mut().zip(turns) {
                    series.samples.push(sample);
                    series.work = mem::take(&mut series.work).and(work);
                }
            }
            // Those that have had their turn have nothing to be compared with.
            Err(error) => recorder.say(&format!("a round of {} is lost: {error:#}", course.name)),
        }
    }
    let plain = series.first().map(|it| it.samples.clone());
    let plain = plain.unwrap_or_default();
    for (village, series) in villages.iter().zip(series) {
        record(recorder, village, course, frames, &series.samples, &plain)?;
        if !village.relays.is_empty() {
            let when = format!("{}, {frames}", course.name);
            series.work.record(recorder, village, &when)?;
        }
    }
    Ok(())
}

/// What one village did in its turns.
#[derive(Clone, Debug, Default)]
struct Series {
    samples: Vec<Sample>,
    work: Work,
}

fn turn(village: &Village, course: Course) -> Result<(Sample, Work)> {
    let before = Work::so_far(village)?;
    let sample = transfer(village, course).with_context(|| village.name())?;
    Ok((sample, Work::so_far(village)?.since(&before)))
}

fn transfer(village: &Village, course: Course) -> Result<Sample> {
    let ends = Ends {
        client: village.lab.node("r1")?.phone()?,
        server: village.lab.internet()?.host(),
        address: if course.is_ipv4 { HOST_V4 } else { HOST_V6 },
        port: iperf::PORT,
        most_mbps: None,
    };
    let before = Load::now();
    let transferred = iperf::transfer(&ends, course.direction, TRANSFER)?;
    let spent = before.spent();
    let gigabytes = transferred.bytes / GIGABYTE;
    Ok(Sample {
        mbps: transferred.mbps,
        softirq: spent.softirq.as_secs_f64() / gigabytes,
        processors: spent.all.as_secs_f64() / gigabytes,
    })
}

fn record(
    recorder: &Recorder,
    village: &Village,
    course: Course,
    frames: Frames,
    samples: &[Sample],
    plain: &[Sample],
) -> Result<()> {
    let add = |measure: &str, unit: &str, values: Vec<f64>| {
        let mut figure = village.figure(&format!("{measure}, {}", course.name), unit);
        figure.samples = values.into_iter().map(Some).collect();
        recorder.add(figure.noted(frames.to_string()))
    };
    let of = |value: fn(&Sample) -> f64| samples.iter().map(value).collect();
    add("TCP", "Mbit/s", of(|it| it.mbps))?;
    add("softirq", "s/GB", of(|it| it.softirq))?;
    add("processors", "s/GB", of(|it| it.processors))?;
    if village.relays.is_empty() {
        return Ok(());
    }
    let pairs = samples.iter().zip(plain);
    let shares = pairs.map(|(ours, plain)| ours.mbps / plain.mbps);
    add("share", "of plain", shares.collect())
}
