//! meshd on radios that are not as they should be: what it says of them, and that it goes on.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use control_api::{Finding, Severity};
use libtest_mimic::Trial;
use mesh_tests::daemon::{Mode, Radio};
use mesh_tests::harness::{in_radio_lab, note};
use mesh_tests::lab::{Lab, MESH};
use mesh_tests::mesh::{Addresses, path, wait_all_pairs};
use mesh_tests::namespace::Namespace;
use mesh_tests::probe::{self, Pinger};
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;
use nix::sys::ptrace;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::hwsim;
use crate::village::{PATIENCE, wait_problem};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        in_radio_lab(
            "trouble_with_a_silent_radio_and_one_that_hangs",
            || Topology::ring(4),
            silent,
        ),
        in_radio_lab(
            "trouble_is_found_by_the_doctor",
            || Topology::line(1),
            found_by_the_doctor,
        ),
    ]
}

/// How long traffic may be out when the radio link that it takes falls silent and there is another
/// way. Elsewhere it is half a second; here, where four routers share an emulated processor that is
/// not alone either, it was 1.6 s at the longest, and 2.8 s and more where traffic was no reason to
/// watch a link.
const OUTAGE: Duration = Duration::from_millis(2500);

/// A circle of four: one of the two ways from r1 to r3 falls silent, and the other one later, when r1
/// has no answer any more from the driver of its radio.
fn silent(lab: &mut Lab) -> Result<()> {
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    let relay = falls_silent(lab, OUTAGE)?;
    ensure!(
        lab.node("r1")?.namespace().has_carrier(MESH)?,
        "silence is no loss of carrier"
    );
    lab.air().heal("r1", &relay)?;
    wait_for("the healed link", PATIENCE, || {
        let answer: control_api::Neighbors = lab.node("r1")?.ctl("neighbors")?;
        ensure!(answer.neighbors.len() == 2, "{answer:?}");
        Ok(())
    })?;

    let hanging = Hanging::thread_of(lab.node_mut("r1")?.daemon()?.id())?;
    wait_problem(lab, "r1", &["driver has not answered"])?;
    // Nobody tells that the radio is silent; what counts here is that it goes on at all.
    falls_silent(lab, OUTAGE * 2)?;
    drop(hanging);
    wait_for("the driver to answer", PATIENCE, || {
        let doctor = lab.node("r1")?.doctor()?;
        ensure!(!doctor.has_errors(), "{doctor:?}");
        Ok(())
    })
}

/// Cuts the way that r1's packets to r3 take, for which they may be out so long, and returns the relay
/// that they took.
fn falls_silent(lab: &mut Lab, bound: Duration) -> Result<String> {
    let addresses = Addresses::ask(lab)?;
    let before = wait_for("a way", PATIENCE, || path(lab, "r1", "r3"))?;
    let [_, relay, _] = before.as_slice() else {
        bail!("r1 reaches r3 over {before:?}");
    };
    let target = (addresses.v6("r3")?, probe::PORT).into();
    let namespace = lab.node("r1")?.namespace().clone();
    let pinger = Pinger::start(&namespace, target, Duration::from_millis(50))?;
    pinger.wait_answers(40, PATIENCE)?;
    let cut = Instant::now();
    lab.air().cut("r1", relay)?;
    // Whoever asks for the path meanwhile, again and again, takes the processor from those who look for it.
    pinger.wait_answers(40, PATIENCE)?;
    wait_for("another way", PATIENCE, || {
        let now = path(lab, "r1", "r3")?;
        ensure!(now.len() == 3 && now != before, "{now:?}");
        Ok(())
    })?;
    let report = pinger.report_since(cut);
    note(&format!("link r1-{relay} cut: {report}"));
    ensure!(report.lost > 0, "nothing was cut");
    ensure!(report.longest_outage <= bound, "{report}");
    Ok(relay.clone())
}

/// A daemon's thread for radios that does not go on, as when a driver does not answer. It does when
/// this is dropped.
struct Hanging(Pid);

impl Hanging {
    fn thread_of(daemon: u32) -> Result<Self> {
        for thread in fs::read_dir(format!("/proc/{daemon}/task"))?.flatten() {
            if fs::read_to_string(thread.path().join("comm"))?.trim() == "radios" {
                let thread: i32 = thread.file_name().to_string_lossy().parse()?;
                return Self::stop(Pid::from_raw(thread));
            }
        }
        bail!("meshd has no thread for radios")
    }

    /// Stops one thread and no other: of a stopped thread nobody can tell where it was stopped.
    fn stop(thread: Pid) -> Result<Self> {
        ptrace::attach(thread).context("attach")?;
        let stopped = Self(thread);
        waitpid(thread, Some(nix::sys::wait::WaitPidFlag::__WALL))?;
        Ok(stopped)
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        // Of a thread that is gone there is nothing to let go.
        let _ = ptrace::detach(self.0, None);
    }
}

fn found_by_the_doctor(lab: &mut Lab) -> Result<()> {
    finishes_what_a_killed_one_began(lab)?;
    let router = lab.node("r1")?.namespace().clone();

    wait_finding(lab, "regulatory domain", "is not set", true)?;
    router.run("iw", "reg set DE")?;
    let set = wait_finding(lab, "regulatory domain", "is not set", false);
    router.run("iw", "reg set 00")?;
    set?;

    router.ip(&format!("link set {MESH} mtu 1300"))?;
    wait_finding(lab, MESH, "MTU of 1300 is too small", true)?;
    router.ip(&format!("link set {MESH} mtu 1500"))?;
    wait_finding(lab, MESH, "is too small", false)?;

    lab.node_mut("r1")?.take_daemon()?.terminate()?;
    leaves_nothing_unmarked(lab)?;

    hwsim::add_without_mesh(&router, "brcm")?;
    lab.node_mut("r1")?.config.mesh = Radio::open(Mode::Mesh).to_yaml(MESH, "brcm");
    lab.start("r1")?;
    wait_problem(lab, "r1", &["brcm (mac80211_hwsim) cannot do 802.11s"])
}

/// Waits until the doctor says so, or does not.
fn wait_finding(lab: &Lab, subject: &str, words: &str, wanted: bool) -> Result<()> {
    let what = format!("the doctor on {subject}: {words}: {wanted}");
    wait_for(&what, PATIENCE, || {
        let doctor = lab.node("r1")?.doctor()?;
        let is_it = |it: &&Finding| it.subject == subject && it.problem.contains(words);
        let found = doctor.findings.iter().find(is_it);
        ensure!(found.is_some() == wanted, "{doctor:?}");
        let useless = found.filter(|it| it.advice.is_empty() || it.severity == Severity::Note);
        ensure!(useless.is_none(), "{useless:?}");
        Ok(())
    })
}

/// What is there when a daemon is killed after it made an interface and before it marked it.
fn finishes_what_a_killed_one_began(lab: &mut Lab) -> Result<()> {
    let index = lab.phy("r1")?.trim_start_matches("phy").to_owned();
    let router = lab.node("r1")?.namespace().clone();
    router.run(
        "iw",
        &format!("phy#{index} interface add meshd-new type mp"),
    )?;
    lab.start("r1")?;
    wait_for("one interface", PATIENCE, || {
        ensure!(
            radio_interfaces(&router)? == [MESH],
            "{:?}",
            radio_interfaces(&router)?
        );
        Ok(())
    })
}

/// An interface cannot get its name: another one has it as a second name.
fn leaves_nothing_unmarked(lab: &mut Lab) -> Result<()> {
    let router = lab.node("r1")?.namespace().clone();
    router.ip("link add other type dummy")?;
    router.ip(&format!("link property add dev other altname {MESH}"))?;
    lab.start("r1")?;
    wait_problem(lab, "r1", &["mark mesh0", "File exists"])?;
    // It is tried again every two seconds, or when an interface comes or goes, as these do.
    let (start, first) = (Instant::now(), next_index(&router)?);
    let mut clean = 0;
    for _ in 0..4 {
        thread::sleep(Duration::from_secs(1));
        clean += u32::from(radio_interfaces(&router)?.is_empty());
    }
    ensure!(clean >= 3, "{:?}", radio_interfaces(&router)?);
    let made = u64::from(next_index(&router)? - first - 1);
    let time = start.elapsed();
    ensure!(
        (1..=time.as_secs() / 2 + 3).contains(&made),
        "made {made} times in {time:?}"
    );
    lab.node_mut("r1")?.take_daemon()?.terminate()?;
    router.ip("link del other").map(drop)
}

/// The number that the kernel gives to the next interface of a router.
fn next_index(router: &Namespace) -> Result<u32> {
    router.ip("link add counter type dummy")?;
    let index = router.interface_index("counter")?;
    router.ip("link del counter")?;
    Ok(index)
}

/// The names of a router's wireless interfaces.
fn radio_interfaces(router: &Namespace) -> Result<Vec<String>> {
    let text = router.run("iw", "dev")?;
    let names = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Interface "));
    Ok(names.map(str::to_owned).collect())
}
