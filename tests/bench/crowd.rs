//! A thousand originators in one daemon: memory, processor time and instructions.
//!
//! r1 runs meshd; r2 runs no daemon. In its place the bench plays one neighbor that has heard of
//! a crowd of other nodes, and replays their OGMs: in each round the sequence number of every
//! member rises by one, with its proof. A round is over when the neighbor has heard r1 pass on
//! every one of these numbers, which it does with its next hello: so an OGM is only counted when
//! it was taken, proven, routed and said again, and r1 is never asked through its control socket
//! while its work is being measured.
//!
//! | module | what it holds |
//! |---|---|
//! | `members` | the crowd: records, hash chains, and what was said of whom since when |
//! | `neighbor` | who speaks for it: hellos, probes, requests, OGMs |
//! | `inbox` | how full the router's socket is |
//! | `subject` | r1's meshd, as it is or counted by callgrind |

mod inbox;
mod members;
mod neighbor;
mod subject;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use control_api::Originators;
use mesh_tests::command;
use mesh_tests::lab::Node;
use mesh_tests::wait::wait_for;

use crate::bed::Bed;
use crate::idle::{cpu_ns, status_kib};
use crate::report::{Figure, Recorder};
use neighbor::Neighbor;
use subject::{Subject, Tool};

/// How many nodes the neighbor speaks of beside itself.
const CROWD: u16 = 1000;
/// Rounds of the two runs that are counted: what both do alike is not an OGM's. Two runs of a kind
/// differ by some million instructions, so the difference has to be many OGMs.
const COUNTED_ROUNDS: [usize; 2] = [2, 12];
/// Of a router with 64 MB; `VmRSS` is in KiB.
const RSS_TARGET_MB: f64 = 10.0;
/// Bytes of a KiB, in MB.
const MB_PER_KIB: f64 = 1024.0 / 1e6;

/// Until r1 has learned, verified and passed on the whole crowd. What it may say is rationed, so
/// this takes seconds on any machine.
const LEARNING_BOUND: Duration = Duration::from_secs(60);
/// Until all of a round is passed on: a few hellos.
const ROUND_BOUND: Duration = Duration::from_secs(20);
/// Until meshd has removed the routes to the crowd and ended.
const END_BOUND: Duration = Duration::from_secs(20);
/// How long what should be so already may take to be said on the control socket.
const ANSWER_BOUND: Duration = Duration::from_secs(10);

/// Measures r1, which nobody else talks to, with `rounds` rounds.
pub(crate) fn measure(bed: &Bed, recorder: &Recorder, rounds: usize) -> Result<()> {
    let measured = memory_and_time(bed, recorder, rounds);
    let measured = measured.and_then(|()| instructions(bed, recorder));
    measured.map_err(|error| match bed.lab.node("r1") {
        Ok(router) => anyhow!("{error:#}; r1's log ends with: {}", log_tail(router)),
        Err(_) => error,
    })
}

fn memory_and_time(bed: &Bed, recorder: &Recorder, rounds: usize) -> Result<()> {
    let router = bed.lab.node("r1")?;
    let mut neighbor = Neighbor::new(bed.lab.node("r2")?, router, CROWD)?;
    let mut subject = Subject::start(router, &Tool::None)?;
    neighbor.teach(&mut subject, LEARNING_BOUND)?;
    wait_for("r1 to say that it knows the crowd", ANSWER_BOUND, || {
        let known = router.status()?.originators;
        ensure!(known == u32::from(CROWD) + 1, "it knows {known}");
        Ok(())
    })?;
    // The first comes amid the echoes of what was news.
    neighbor.replay(&mut subject, ROUND_BOUND)?;
    let (mut times, mut before) = (Vec::new(), cpu_ns(subject.process())?);
    for _ in 0..rounds {
        neighbor.replay(&mut subject, ROUND_BOUND)?;
        let now = cpu_ns(subject.process())?;
        times.push((now - before) / 1e3 / ogms(1)?);
        before = now;
    }
    let memory = memory(bed, subject.process())?;
    all_is_known(router, &neighbor)?;
    subject.end(END_BOUND)?;
    recorder.add(memory)?;
    recorder.add(
        Figure::values("crowd cpu", bed, "µs/OGM", times).noted(format!(
            "{rounds} rounds of {} OGMs, taken, proven, routed and passed on",
            ogms(1)?
        )),
    )
}

fn memory(bed: &Bed, process: &Path) -> Result<Figure> {
    let [now, most] = ["VmRSS:", "VmHWM:"].map(|field| status_kib(process, field));
    let (now, most) = (now?, most?);
    let over = now * MB_PER_KIB - RSS_TARGET_MB;
    let verdict = match over > 0.0 {
        true => format!("{over:.1} MB over"),
        false => format!("{:.1} MB below", -over),
    };
    let figure = Figure::values("crowd rss", bed, "MiB", [now / 1024.0]);
    Ok(figure.noted(format!(
        "with {} originators, {verdict} the target of {RSS_TARGET_MB} MB; {:.2} MiB at most",
        CROWD + 1,
        most / 1024.0
    )))
}

/// How many OGMs so many rounds are: one of each member, and one of the neighbor itself.
fn ogms(rounds: usize) -> Result<f64> {
    Ok(f64::from(u32::try_from(rounds)?) * f64::from(CROWD + 1))
}

/// Asks r1 whether the newest number of every member is the one it uses.
fn all_is_known(router: &Node, neighbor: &Neighbor) -> Result<()> {
    let known: Originators = router.ctl("originators")?;
    let newest = neighbor.newest();
    let current = known.originators.iter().filter(|it| {
        let seqno = newest.get(it.originator_id.as_bytes()).copied();
        it.metric_us.is_some() && seqno == Some(it.seqno)
    });
    let (current, all) = (current.count(), newest.len());
    ensure!(
        current == all,
        "r1 has the newest number of {current} of {all} nodes"
    );
    Ok(())
}

fn instructions(bed: &Bed, recorder: &Recorder) -> Result<()> {
    if let Err(error) = command::output(Command::new("valgrind").arg("--version"), None) {
        let why = format!("{error:#}");
        return recorder.add(Figure::missing("crowd instructions", bed, &why));
    }
    let [few, many] = COUNTED_ROUNDS;
    let (base, all) = (counted(bed, few)?, counted(bed, many)?);
    let each = (all - base) / ogms(many - few)?;
    recorder.add(
        Figure::values("crowd instructions", bed, "1/OGM", [each]).noted(format!(
            "callgrind: {:.0} million in a run of {many} rounds, {:.0} million in one of {few}",
            all / 1e6,
            base / 1e6
        )),
    )
}

/// What meshd executes from its start to its end, with so many rounds between.
fn counted(bed: &Bed, rounds: usize) -> Result<f64> {
    let router = bed.lab.node("r1")?;
    let file = router.files().directory().join("callgrind.out");
    let tool = Tool::Callgrind(file.clone());
    let mut neighbor = Neighbor::new(bed.lab.node("r2")?, router, CROWD)?;
    let mut subject = Subject::start(router, &tool)?;
    neighbor.teach(&mut subject, LEARNING_BOUND * tool.slowness())?;
    // And one as above.
    for _ in 0..=rounds {
        neighbor.replay(&mut subject, ROUND_BOUND * tool.slowness())?;
    }
    subject.end(END_BOUND * tool.slowness())?;
    subject::take_total(&file)
}

fn log_tail(router: &Node) -> String {
    let log = router.files().log_text();
    let lines: Vec<&str> = log.lines().collect();
    let last = lines.get(lines.len().saturating_sub(5)..);
    last.unwrap_or_default().join(" | ")
}
