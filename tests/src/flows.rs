//! Long transfers of a phone through several gateways at once.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::gateways::select;
use crate::harness::note;
use crate::internet::{HOST_V4, HOST_V6};
use crate::lab::Lab;
use crate::namespace::Namespace;
use crate::transfer::{Report, Source, Transfer, wait_all_go_on};

/// Far more than a switch takes, far less than a connection that was lost and came back.
const STALL: Duration = Duration::from_millis(500);

/// As long as a machine may stand still before routers suffer.
const STILL: Duration = Duration::from_millis(250);

/// How often transfers are tried on a machine that stands still.
const TRIES: u32 = 4;

/// How much is transferred.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// So many transfers through each gateway.
    pub through_each: usize,
    /// Between two blocks of each transfer.
    pub interval: Duration,
    /// Each goes on when so many bytes more have come.
    pub bytes: u64,
}

/// Transfers under way.
#[derive(Debug)]
pub struct Flows {
    router: &'static str,
    phone: Namespace,
    load: Load,
    transfers: Vec<(&'static str, Transfer)>,
    /// One that is no business of any router: what it stands still, the machine does.
    yardstick: Transfer,
    _source: Source,
}

impl Flows {
    /// None yet, of a router's phone.
    ///
    /// # Errors
    /// The port of transfers is taken.
    pub fn new(lab: &Lab, router: &'static str, load: Load) -> Result<Self> {
        let source = Source::every(lab.internet()?.host(), load.interval)?;
        Ok(Self {
            router,
            phone: lab.node(router)?.phone()?.clone(),
            load,
            transfers: Vec::new(),
            yardstick: Transfer::start(lab.internet()?.provider(), HOST_V4)?,
            _source: source,
        })
    }

    /// Begins some through a gateway, which is used from now on.
    ///
    /// # Errors
    /// It can't be, or one of all stands still.
    pub fn begin(&mut self, lab: &Lab, gateway: &'static str) -> Result<()> {
        select(lab, self.router, gateway)?;
        let hosts = [HOST_V4, HOST_V6].into_iter().cycle();
        for host in hosts.take(self.load.through_each) {
            self.transfers
                .push((gateway, Transfer::start(&self.phone, host)?));
        }
        self.go_on()
    }

    /// Uses another gateway, to which they do not move.
    ///
    /// # Errors
    /// It can't be used, or one stands still.
    pub fn switch(&self, lab: &Lab, gateway: &str) -> Result<()> {
        select(lab, self.router, gateway)?;
        self.go_on()
    }

    /// Waits until all of them go on.
    ///
    /// # Errors
    /// One does not.
    pub fn go_on(&self) -> Result<()> {
        wait_all_go_on(self.transfers.iter().map(|(_, it)| it), self.load.bytes)
    }

    /// Ends them. None must have ended before, or stood still longer than the machine did anyway.
    ///
    /// # Errors
    /// One has.
    pub fn stop(self) -> Result<()> {
        self.judge().1
    }

    /// The same, with how long the machine stood still.
    fn judge(self) -> (Duration, Result<()>) {
        let still = self.yardstick.stop().longest_stall;
        let reports = self.transfers.into_iter();
        let reports = reports.map(|(gateway, transfer)| (gateway, transfer.stop()));
        (still, judge(reports.collect(), still))
    }
}

fn judge(reports: Vec<(&str, Report)>, still: Duration) -> Result<()> {
    let mut longest = Duration::ZERO;
    for (gateway, report) in &reports {
        ensure!(report.ended.is_none(), "through {gateway}: {report:?}");
        longest = longest.max(report.longest_stall);
    }
    let count = reports.len();
    note(&format!(
        "{count} of {count} transfers survive, longest stall {} ms, of one without routers {} ms",
        longest.as_millis(),
        still.as_millis()
    ));
    ensure!(longest <= STALL + still, "a stall of {longest:?}");
    Ok(())
}

/// Has transfers survive a course of events, on a machine where time does not stand still: routers that were
/// given no processor for long take their neighbors for dead, and what becomes of transfers then tells nothing
/// of the course. So it is run again, a few times at most.
///
/// # Errors
/// They do not, or the machine stands still each time.
pub fn survive(
    lab: &Lab,
    router: &'static str,
    load: Load,
    course: impl Fn(&mut Flows) -> Result<()>,
) -> Result<()> {
    let mut tries = 0;
    loop {
        let mut flows = Flows::new(lab, router, load)?;
        let gone_well = course(&mut flows);
        let (still, judged) = flows.judge();
        tries += 1;
        match gone_well.and(judged) {
            Err(error) if still > STILL && tries < TRIES => note(&format!(
                "once more, as the machine stood still for {} ms: {error:#}",
                still.as_millis()
            )),
            outcome => return outcome,
        }
    }
}
