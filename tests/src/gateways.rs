//! Gateways that are left, and gateways that end, while a phone is online through them.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use control_api::{Gateways, Severity};

use crate::harness::note;
use crate::internet::{HOST_V4, Trouble, echo_at};
use crate::lab::{Lab, Node};
use crate::mesh::wait_comes_from;
use crate::probe::{Pinger, Report};
use crate::vm;
use crate::wait::wait_for;

/// How long something may take that should not take long.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long an uplink that failed may take to be trusted again.
const RECOVERY: Duration = Duration::from_secs(60);

/// In which way a gateway ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its line has a carrier still.
    Line(Trouble),
    /// Somebody pulls the plug of its line.
    Carrier,
    /// It has no power any longer.
    Power,
}

impl Ending {
    /// How long those who are online through it may be offline. In the virtual machine that is measured and
    /// not judged: four routers and the Internet share one emulated processor there.
    fn bound(self) -> Duration {
        match self {
            _ if vm::inside() => Duration::MAX,
            // One target after the other is asked, and not each would notice.
            Self::Line(
                Trouble::NoDns
                | Trouble::OnlyDns
                | Trouble::Portal
                | Trouble::NoIpv4
                | Trouble::NoIpv6
                | Trouble::Lossy,
            ) => RECOVERY,
            Self::Line(Trouble::Silent) => Duration::from_secs(5),
            Self::Carrier | Self::Power => Duration::from_secs(2),
        }
    }

    /// What the gateway's doctor says.
    const fn finding(self) -> Option<&'static str> {
        match self {
            Self::Line(Trouble::Silent | Trouble::NoIpv4 | Trouble::NoIpv6) => {
                Some("nobody on the Internet answers")
            }
            Self::Line(Trouble::NoDns) => Some("no resolver answers"),
            Self::Line(Trouble::OnlyDns) => Some("resolvers answer, and nobody else"),
            Self::Line(Trouble::Portal) => {
                Some("captive portal is in the way: http://portal.example/login")
            }
            Self::Line(Trouble::Lossy) | Self::Carrier | Self::Power => None,
        }
    }
}

/// How long a phone was offline when its router's gateway ended.
#[derive(Debug)]
pub struct Outage {
    /// The gateway.
    pub gateway: String,
    /// Until the router used another one.
    pub left: Duration,
    /// What became of the phone's probes.
    pub probes: Report,
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = self.left.as_secs_f64();
        write!(
            f,
            "{} left after {left:.1} s; {}",
            self.gateway, self.probes
        )
    }
}

/// A phone behind r1 of a circle of four, whose others are gateways: the one in use ends, in one way after
/// the other, and the phone is online again in time.
///
/// # Errors
/// It is not.
pub fn ends_in_every_way(lab: &mut Lab) -> Result<()> {
    lab.add_phone("r1")?;
    for gateway in ["r2", "r3", "r4"] {
        lab.add_uplink(gateway)?;
    }
    lab.start_all()?;
    let troubles = [
        Trouble::Silent,
        Trouble::NoDns,
        Trouble::OnlyDns,
        Trouble::Portal,
    ];
    let troubles = troubles.into_iter().map(Ending::Line);
    for ending in troubles.chain([Ending::Carrier, Ending::Power]) {
        wait_for_another(lab, "r1")?;
        let outage = end_used(lab, "r1", ending)?;
        note(&format!("{ending:?}: {outage}"));
        ensure!(outage.probes.longest_outage <= ending.bound(), "{outage}");
        if let Some(words) = ending.finding() {
            // It may have been left for another reason, before it noticed.
            wait_for("the doctor", PATIENCE, || {
                has_finding(lab.node(&outage.gateway)?, words)
            })?;
        }
        mend(lab, &outage.gateway, ending)?;
    }
    Ok(())
}

/// Waits until there is a gateway beside the one in use.
fn wait_for_another(lab: &Lab, router: &str) -> Result<()> {
    wait_for("two gateways", RECOVERY, || {
        let answer: Gateways = lab.node(router)?.ctl("gateways")?;
        ensure!(answer.gateways.len() >= 2, "{answer:?}");
        used(lab, router).map(drop)
    })
}

/// Ends the gateway that a router uses, and waits until its phone is online through another.
///
/// # Errors
/// It is not.
pub fn end_used(lab: &mut Lab, router: &str, ending: Ending) -> Result<Outage> {
    /// How many answers show that a phone is online.
    const ENOUGH: usize = 20;
    let phone = lab.node(router)?.phone()?.clone();
    let pinger = Pinger::start(&phone, echo_at(HOST_V4), Duration::from_millis(50))?;
    pinger.wait_answers(ENOUGH, PATIENCE)?;
    let gateway = used(lab, router)?;
    let since = Instant::now();
    end(lab, &gateway, ending)?;
    wait_for("another gateway", PATIENCE, || {
        let now = used(lab, router)?;
        ensure!(now != gateway, "still {now}");
        Ok(())
    })?;
    let left = since.elapsed();
    pinger.wait_answers(ENOUGH, PATIENCE)?;
    Ok(Outage {
        gateway,
        left,
        probes: pinger.stop(),
    })
}

fn end(lab: &mut Lab, gateway: &str, ending: Ending) -> Result<()> {
    let line = lab.node(gateway)?.line()?.clone();
    match ending {
        Ending::Line(trouble) => lab.internet_mut()?.trouble(&line, Some(trouble)),
        Ending::Carrier => lab.internet()?.unplug(&line),
        Ending::Power => lab.power_off(gateway),
    }
}

/// Gives a gateway back what it lacks, except for power.
fn mend(lab: &mut Lab, gateway: &str, ending: Ending) -> Result<()> {
    let line = lab.node(gateway)?.line()?.clone();
    match ending {
        Ending::Line(_) => lab.internet_mut()?.trouble(&line, None),
        Ending::Carrier => lab.internet()?.plug_in(&line),
        Ending::Power => Ok(()),
    }
}

/// The gateway that a router uses.
///
/// # Errors
/// It uses none.
pub fn used(lab: &Lab, router: &str) -> Result<String> {
    let internet = lab.node(router)?.status()?.internet;
    let via = internet.via.filter(|_| internet.online);
    via.and_then(|via| via.name).context("not online")
}

/// Has a router use a gateway, as soon as it knows it, and waits until its phone's new connections go
/// through it.
///
/// # Errors
/// They do not.
pub fn select(lab: &Lab, router: &str, gateway: &str) -> Result<()> {
    wait_for("the gateway to be known", PATIENCE, || {
        lab.node(router)?
            .ctl_text(&format!("gateways select {gateway}"))
    })?;
    let line = lab.node(gateway)?.line()?;
    wait_comes_from(lab.node(router)?.phone()?, line, line, RECOVERY)
}

/// Whether a router's doctor calls this an error, and knows what to do.
///
/// # Errors
/// It does not.
pub fn has_finding(node: &Node, words: &str) -> Result<()> {
    let doctor = node.doctor()?;
    let mut findings = doctor.findings.iter();
    let found = findings.any(|finding| {
        let is_it = finding.severity == Severity::Error && finding.problem.contains(words);
        is_it && !finding.advice.is_empty()
    });
    ensure!(found, "nothing says {words:?}: {doctor:?}");
    Ok(())
}
