//! The way to the radios' thread: drivers are asked on a thread of their own.
//!
//! The kernel carries out an nl80211 request while it is sent, in the thread that sends it, and a
//! driver may ask its firmware meanwhile. If that hangs, so does the thread, and nothing helps it: no
//! time-out, no signal. Routing must not be on that thread.
//!
//! What is wanted goes there as one piece of data that replaces the one before, so nothing piles
//! up before a thread that hangs. What it found comes back as [`News`].

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mesh_proto::IfIndex;
use tokio::runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::{Problem, RadioReport, RadioSettings, Radios, Station};
use crate::alarm::Alarm;
use crate::kernel::Base;
use crate::kernel::netlink::{self, KernelError};

/// What the thread is called in process lists.
const NAME: &str = "radios";

/// How long the thread may take for what it was asked for: longer than a radio on USB takes to load
/// its firmware, which is when its interface is switched on.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a thread that takes longer is looked after.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// News that may wait for the task: each answers an order, and orders do not pile up.
const NEWS_CAPACITY: usize = 4;

/// What the thread found, or did.
#[derive(Debug)]
pub(in super::super) enum News {
    /// What is known of the radios changed.
    Report(RadioReport),
    /// Whom they hear.
    Stations(Result<Vec<(IfIndex, Station)>, KernelError>),
    /// Everything of ours was removed: the last news.
    Removed(Result<(), KernelError>),
}

/// What is wanted of the thread, all in all.
#[derive(Clone, Debug, Default)]
struct Orders {
    /// What there should be, once that is known.
    wanted: Option<Arc<Wanted>>,
    /// How often that was to be seen to: at once, and soon.
    configurations: u64,
    looks: u64,
    /// How often drivers were to be asked for stations.
    readings: u64,
    /// Whether everything is to be removed, and the thread to end.
    end: bool,
}

impl Orders {
    /// Rises with each order.
    const fn number(&self) -> u64 {
        self.configurations + self.looks + self.readings
    }
}

/// What there should be.
#[derive(Debug)]
struct Wanted {
    radios: BTreeMap<String, RadioSettings>,
    /// Those and others that the mesh is reached through.
    mesh: BTreeSet<String>,
}

/// What the thread is at.
#[derive(Clone, Debug, Default)]
pub(super) struct Whereabouts {
    /// The number of the last orders that were carried out.
    done: u64,
    /// The interface that is worked on, if it is one alone.
    at: Option<String>,
}

impl Whereabouts {
    pub(super) fn go_to(&mut self, interface: Option<&str>) {
        self.at = interface.map(str::to_owned);
    }
}

/// An order whose end is waited for.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    number: u64,
    /// When to look whether it was carried out.
    look_at: Instant,
}

/// The task's end.
pub(in super::super) struct RadioPort {
    orders: watch::Sender<Orders>,
    news: mpsc::Receiver<News>,
    whereabouts: watch::Receiver<Whereabouts>,
    awaited: Option<Awaited>,
    hangs: bool,
    /// What the thread reported last.
    reported: RadioReport,
}

impl RadioPort {
    /// Starts the thread, in the network namespace of the calling one. Files of programs will go into
    /// `directory`.
    pub(in super::super) fn open(directory: PathBuf) -> io::Result<Self> {
        let (orders, wanted) = watch::channel(Orders::default());
        let (news, receiver) = mpsc::channel(NEWS_CAPACITY);
        let (whereabouts, done) = watch::channel(Whereabouts::default());
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let work = move || {
            let ended = runtime.block_on(work(directory, wanted, news, whereabouts));
            if let Err(error) = ended {
                tracing::error!(%error, "radios");
            }
        };
        thread::Builder::new().name(NAME.to_owned()).spawn(work)?;
        Ok(Self::new(orders, receiver, done))
    }

    fn new(
        orders: watch::Sender<Orders>,
        news: mpsc::Receiver<News>,
        whereabouts: watch::Receiver<Whereabouts>,
    ) -> Self {
        Self {
            orders,
            news,
            whereabouts,
            awaited: None,
            hangs: false,
            reported: RadioReport::default(),
        }
    }

    /// Has the radios be what they should.
    pub(in super::super) fn configure(&mut self, base: &Base) {
        let wanted = Arc::new(Wanted {
            radios: base.radios.clone(),
            mesh: base.mesh.clone(),
        });
        self.order(|orders| {
            orders.wanted = Some(wanted);
            orders.configurations += 1;
        });
    }

    /// There may be something to do.
    pub(in super::super) fn look(&mut self) {
        self.order(|orders| orders.looks += 1);
    }

    /// Has the drivers asked whom they hear.
    pub(in super::super) fn read_stations(&mut self) {
        self.order(|orders| orders.readings += 1);
    }

    fn order(&mut self, change: impl FnOnce(&mut Orders)) {
        self.orders.send_modify(change);
        self.await_from(Instant::now());
    }

    /// Waits for what was ordered until now, unless something before is still waited for.
    fn await_from(&mut self, now: Instant) {
        let number = self.orders.borrow().number();
        self.awaited.get_or_insert(Awaited {
            number,
            look_at: now + PATIENCE,
        });
    }

    /// Waits for news; there are none any more when the thread has ended.
    pub(in super::super) async fn news(&mut self) -> Option<News> {
        let mut news = self.news.recv().await;
        if let Some(News::Report(report)) = &mut news {
            self.reported = report.clone();
            *report = self.report();
        }
        news
    }

    /// When to call [`RadioPort::look_after`].
    pub(in super::super) fn deadline(&self) -> Option<Instant> {
        self.awaited.map(|awaited| awaited.look_at)
    }

    /// Looks whether the thread hangs. Returns a new report if that has changed.
    pub(in super::super) fn look_after(&mut self, now: Instant) -> Option<RadioReport> {
        let awaited = self.awaited.filter(|awaited| now >= awaited.look_at)?;
        let hangs = self.whereabouts.borrow().done < awaited.number;
        if hangs {
            let look_at = now + LOOK_AFTER;
            self.awaited = Some(Awaited { look_at, ..awaited });
        } else {
            self.awaited = None;
            if self.whereabouts.borrow().done < self.orders.borrow().number() {
                self.await_from(now);
            }
        }
        (std::mem::replace(&mut self.hangs, hangs) != hangs).then(|| {
            let interface = self.whereabouts.borrow().at.clone();
            if hangs {
                tracing::error!(interface, "a radio's driver does not answer");
            } else {
                tracing::info!("the radio's driver answers again");
            }
            self.report()
        })
    }

    /// What is known, with what is wrong with the thread.
    fn report(&self) -> RadioReport {
        let mut report = self.reported.clone();
        if self.hangs {
            let at = self.whereabouts.borrow().at.clone();
            let in_doubt = at.map_or_else(|| self.radios(), |it| BTreeSet::from([it]));
            let problems = in_doubt.into_iter().map(|name| (name, hanging()));
            report.problems.extend(problems);
        }
        report
    }

    /// The names of the interfaces that are on radios, or should be.
    fn radios(&self) -> BTreeSet<String> {
        let orders = self.orders.borrow();
        let wanted = orders.wanted.iter().flat_map(|wanted| wanted.radios.keys());
        let found = self.reported.interfaces.iter();
        let found = found.map(|state| &state.interface.name);
        wanted.chain(found).cloned().collect()
    }

    /// Removes what we made on radios. The thread ends with that.
    pub(in super::super) async fn remove_everything(&mut self) -> Result<(), KernelError> {
        self.orders.send_modify(|orders| orders.end = true);
        let removed = async {
            while let Some(news) = self.news.recv().await {
                if let News::Removed(outcome) = news {
                    return Some(outcome);
                }
            }
            None
        };
        let no_answer = || KernelError::NoAnswer("remove radio interfaces".to_owned());
        let outcome = timeout(super::END_LIMIT * 2, removed).await.ok().flatten();
        outcome.unwrap_or_else(|| Err(no_answer()))
    }
}

fn hanging() -> Problem {
    Problem {
        what: format!("its driver has not answered for {} s", PATIENCE.as_secs()),
        advice: "look into the kernel's log (dmesg); plug the radio out and in, or reboot"
            .to_owned(),
    }
}

/// What the thread does, until everything was removed or nobody is left to give orders.
async fn work(
    directory: PathBuf,
    mut orders: watch::Receiver<Orders>,
    news: mpsc::Sender<News>,
    whereabouts: watch::Sender<Whereabouts>,
) -> io::Result<()> {
    let handle = netlink::open()?;
    let mut radios = Radios::open(directory, handle, whereabouts.clone())?;
    let mut alarm = Alarm::new()?;
    let mut done = Orders::default();
    loop {
        // Before it is known what should be there is nothing to do.
        let due = done.wanted.as_ref().and_then(|_| radios.deadline());
        tokio::select! {
            changed = orders.changed() => if changed.is_err() {
                return Ok(());
            },
            () = radios.changed() => radios.ensure_soon(),
            waited = alarm.wait_until(due) => waited?,
        }
        let now = orders.borrow_and_update().clone();
        for news_item in carry_out(&mut radios, &done, &now).await {
            if news.send(news_item).await.is_err() {
                return Ok(());
            }
        }
        if now.end {
            return Ok(());
        }
        whereabouts.send_replace(Whereabouts {
            done: now.number(),
            at: None,
        });
        done = now;
    }
}

/// Does what was ordered since, and what is due.
async fn carry_out(radios: &mut Radios, before: &Orders, orders: &Orders) -> Vec<News> {
    if orders.end {
        return vec![News::Removed(radios.remove_everything().await)];
    }
    let mut news = Vec::new();
    if orders.looks != before.looks {
        radios.ensure_soon();
    }
    let is_due = radios.deadline().is_some_and(|at| Instant::now() >= at);
    if let Some(wanted) = &orders.wanted
        && (is_due || orders.configurations != before.configurations)
    {
        radios.ensure(&wanted.radios).await;
        let report = radios.news(|name| wanted.mesh.contains(name));
        news.extend(report.map(News::Report));
    }
    if orders.readings != before.readings {
        news.push(News::Stations(radios.stations()));
    }
    news
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::kernel::radio::{Channel, PhyChoice, RadioMode, Width};
    use crate::kernel::{Shaping, Uplinks};

    /// In the place of the thread: takes orders, and does nothing by itself.
    struct Idler {
        orders: watch::Receiver<Orders>,
        whereabouts: watch::Sender<Whereabouts>,
        _news: mpsc::Sender<News>,
    }

    impl Idler {
        fn open() -> (RadioPort, Self) {
            let (orders, wanted) = watch::channel(Orders::default());
            let (news, receiver) = mpsc::channel(NEWS_CAPACITY);
            let (whereabouts, done) = watch::channel(Whereabouts::default());
            let idler = Self {
                orders: wanted,
                whereabouts,
                _news: news,
            };
            (RadioPort::new(orders, receiver, done), idler)
        }

        fn carry_out(&mut self) {
            let done = self.orders.borrow_and_update().number();
            self.whereabouts
                .send_replace(Whereabouts { done, at: None });
        }
    }

    /// Two radios and a cable.
    fn base() -> Base {
        let settings = RadioSettings {
            phy: PhyChoice::Any,
            mode: RadioMode::Mesh,
            id: "village".to_owned(),
            channel: Channel::new(2412, Width::Ht20).unwrap(),
            key: None,
            mcast_rate_100kbps: None,
            rssi_threshold_dbm: None,
        };
        let radios = ["mesh0", "mesh1"];
        Base {
            mesh: radios
                .iter()
                .chain(&["eth0"])
                .map(ToString::to_string)
                .collect(),
            radios: radios
                .iter()
                .map(|it| (it.to_string(), settings.clone()))
                .collect(),
            lan: Vec::new(),
            uplinks: Uplinks::default(),
            outside: BTreeSet::new(),
            mesh_ipv4: Ipv4Addr::LOCALHOST,
            mesh_mtu: 1500,
            shaping: Shaping::default(),
        }
    }

    fn troubled(report: &RadioReport) -> Vec<&str> {
        report.problems.keys().map(String::as_str).collect()
    }

    #[test]
    fn a_driver_that_hangs_is_a_problem_until_it_answers() {
        let (mut port, mut idler) = Idler::open();
        port.configure(&base());
        let ordered = Instant::now();
        idler.whereabouts.send_modify(|it| it.go_to(Some("mesh1")));
        let early = ordered + PATIENCE - LOOK_AFTER;
        assert_eq!(port.look_after(early), None);
        let late = ordered + PATIENCE;
        let report = port.look_after(late).unwrap();
        assert_eq!(troubled(&report), ["mesh1"]);
        assert_eq!(port.look_after(late + LOOK_AFTER), None, "it is said once");
        idler.carry_out();
        let report = port.look_after(late + LOOK_AFTER * 2).unwrap();
        assert!(troubled(&report).is_empty());
        assert_eq!(port.deadline(), None);
    }

    #[test]
    fn where_it_is_not_known_which_all_radios_are_in_doubt() {
        let (mut port, _idler) = Idler::open();
        port.configure(&base());
        let late = Instant::now() + PATIENCE;
        let report = port.look_after(late).unwrap();
        assert_eq!(troubled(&report), ["mesh0", "mesh1"]);
    }

    #[test]
    fn orders_do_not_pile_up_and_each_has_its_time() {
        let (mut port, mut idler) = Idler::open();
        port.look();
        idler.carry_out();
        for _ in 0..10_000 {
            port.read_stations();
        }
        let late = Instant::now() + PATIENCE;
        assert_eq!(port.look_after(late), None, "the first was carried out");
        assert_eq!(port.deadline(), Some(late + PATIENCE));
        assert!(port.look_after(late + PATIENCE).is_some());
        idler.carry_out();
        assert_eq!(idler.orders.borrow().readings, 10_000);
        assert!(!idler.orders.has_changed().unwrap(), "all of them in one");
    }
}
