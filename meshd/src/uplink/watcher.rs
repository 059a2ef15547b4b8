//! The tasks that find out whether uplinks work, one for each interface and family, and how much they
//! carry and whether they lead out of the mesh, one for each interface.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mesh_proto::Family;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::asker::{Asker, resolver};
use super::checks::{Checks, FORGIVENESS, Fault, Health, Past, Plan};
use super::circle;
use super::loss::Loss;
use super::meter::{self, Bps, Meter, Reading};
use super::queue;
use super::resolvers;
use super::shared::Interface;
use super::target::Target;
use super::{Line, Uplink};
use crate::config;

/// News that wait to be taken up.
const CAPACITY: usize = 8;
/// Between two looks for what a provider told: whoever writes it down does so with the default route,
/// or soon after.
const TOLD_INTERVAL: Duration = Duration::from_secs(5);

/// Watches uplinks. Dropping it ends that.
#[derive(Debug)]
pub(crate) struct Watcher {
    targets: Vec<Target>,
    lines: BTreeMap<Line, Watched>,
    /// Of lines that went away: one that failed often has to prove itself when it comes again.
    gone: BTreeMap<Line, (Past, Instant)>,
    meters: BTreeMap<String, Metered>,
    /// This node's address in the mesh, to which each interface is tried to lead.
    own: Option<Ipv4Addr>,
    circles: BTreeMap<String, Circle>,
    /// What providers told others of, while there is a line.
    told: Option<Told>,
    sender: mpsc::Sender<News>,
    news: mpsc::Receiver<News>,
}

#[derive(Debug)]
struct Watched {
    past: Past,
    resolvers: Vec<IpAddr>,
    /// `None` if there is nobody to ask in its family.
    task: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Metered {
    interface: Arc<Interface>,
    reading: Reading,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Circle {
    leads_back: bool,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Told {
    resolvers: Vec<IpAddr>,
    task: JoinHandle<()>,
}

impl Drop for Told {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Drop for Circle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// What a task has found out.
#[derive(Debug)]
pub(crate) struct News(Found);

#[derive(Debug)]
enum Found {
    /// How a line is now.
    Line {
        line: Line,
        past: Past,
        resolvers: Vec<IpAddr>,
    },
    /// What an interface carries.
    Interface { name: String, reading: Reading },
    /// Whether an interface leads back into the mesh.
    Circle { name: String, leads_back: bool },
    /// Which resolvers providers tell of.
    Told(Vec<IpAddr>),
}

impl Watcher {
    /// Watches nothing yet.
    pub(crate) fn new() -> Self {
        let (sender, news) = mpsc::channel(CAPACITY);
        Self {
            targets: Vec::new(),
            lines: BTreeMap::new(),
            gone: BTreeMap::new(),
            meters: BTreeMap::new(),
            own: None,
            circles: BTreeMap::new(),
            told: None,
            sender,
            news,
        }
    }

    /// Watches these lines and no others, by asking whom the configuration says. `own` is this node's
    /// address in the mesh. Must be called within a tokio runtime.
    pub(crate) fn watch(
        &mut self,
        now: Instant,
        lines: &[Line],
        config: &config::Uplink,
        own: Option<Ipv4Addr>,
    ) {
        self.listen(!lines.is_empty());
        let targets = config.resolvers().targets(config.check(), self.told());
        let is_asked = |target: &Target| self.targets.contains(target);
        let asks_others = targets.len() != self.targets.len() || !targets.iter().all(is_asked);
        if asks_others {
            self.targets = targets;
        }
        let mut before = std::mem::take(&mut self.lines);
        let mut meters = std::mem::take(&mut self.meters);
        for line in lines {
            let interface = self.meter(&line.interface, &mut meters);
            let watched = match before.remove(line) {
                // Until others say something else.
                Some(watched) if asks_others => {
                    let told = (watched.past.clone(), watched.resolvers.clone());
                    self.begin(line, interface, told)
                }
                Some(watched) => watched,
                None => {
                    let past = self.gone.remove(line).map_or(Past::NONE, |(past, _)| past);
                    self.begin(line, interface, (past, Vec::new()))
                }
            };
            self.lines.insert(line.clone(), watched);
        }
        for (line, watched) in before {
            let past = Past {
                health: Health::Unknown,
                ..watched.past.clone()
            };
            self.gone.insert(line, (past, now));
        }
        self.gone
            .retain(|_, (_, since)| now.saturating_duration_since(*since) < FORGIVENESS);
        self.watch_circles(now, own);
    }

    /// Looks for what providers tell, or does not.
    fn listen(&mut self, is_wanted: bool) {
        match (&self.told, is_wanted) {
            (None, true) => {
                let resolvers = resolvers::told();
                let listening = keep_listening(resolvers.clone(), self.sender.clone());
                let task = tokio::spawn(listening);
                self.told = Some(Told { resolvers, task });
            }
            (Some(_), false) => self.told = None,
            (None, false) | (Some(_), true) => {}
        }
    }

    /// Tries whether the interfaces that are watched lead to this address.
    fn watch_circles(&mut self, now: Instant, own: Option<Ipv4Addr>) {
        if self.own != own {
            self.own = own;
            self.circles.clear();
        }
        let meters = &self.meters;
        self.circles.retain(|name, _| meters.contains_key(name));
        for (name, metered) in meters {
            if let Some(own) = own
                && !self.circles.contains_key(name)
            {
                let sender = circle::Sender::new(now, metered.interface.clone(), own);
                let sending = keep_sending(name.clone(), sender, self.sender.clone());
                let circle = Circle {
                    leads_back: false,
                    task: tokio::spawn(sending),
                };
                self.circles.insert(name.clone(), circle);
            }
        }
    }

    /// The resolvers that providers tell of.
    pub(crate) fn told(&self) -> &[IpAddr] {
        self.told.as_ref().map_or(&[], |told| &told.resolvers)
    }

    /// Has a meter at an interface: that of `before`, if there is one.
    fn meter(&mut self, name: &str, before: &mut BTreeMap<String, Metered>) -> Arc<Interface> {
        let begin = || {
            let interface = Arc::new(Interface::new(name.to_owned()));
            let reading = keep_reading(name.to_owned(), interface.clone(), self.sender.clone());
            Metered {
                interface,
                reading: Reading::default(),
                task: tokio::spawn(reading),
            }
        };
        let meter = self.meters.entry(name.to_owned());
        let meter = meter.or_insert_with(|| before.remove(name).unwrap_or_else(begin));
        meter.interface.clone()
    }

    /// `told` is what is known of the line already.
    fn begin(&self, line: &Line, interface: Arc<Interface>, told: (Past, Vec<IpAddr>)) -> Watched {
        let targets = targets_for(line.family, &self.targets);
        let ask = || {
            let asker = Asker::new(line.clone(), interface, &targets);
            let checks = Checks::new(targets.clone(), told.0.clone());
            keep_asking(asker, checks, told.clone(), self.sender.clone())
        };
        let task = (!targets.is_empty()).then(|| tokio::spawn(ask()));
        let (past, resolvers) = told;
        Watched {
            task,
            past,
            resolvers,
        }
    }

    /// Waits until a line is another than it was. [`Watcher::take_in`] has to follow.
    pub(crate) async fn changed(&mut self) -> News {
        match self.news.recv().await {
            Some(news) => news,
            // There is always a sender: ours.
            None => std::future::pending().await,
        }
    }

    /// Takes in what is new. Returns whether it is about what is watched.
    pub(crate) fn take_in(&mut self, news: News) -> bool {
        match news.0 {
            Found::Told(resolvers) => {
                let told = self.told.as_mut();
                told.map(|told| told.resolvers = resolvers).is_some()
            }
            Found::Interface { name, reading } => {
                let metered = self.meters.get_mut(&name);
                metered.map(|metered| metered.reading = reading).is_some()
            }
            Found::Circle { name, leads_back } => {
                let Some(circle) = self.circles.get_mut(&name) else {
                    return false;
                };
                tracing::info!(interface = name, leads_back, "uplink into the mesh");
                circle.leads_back = leads_back;
                true
            }
            Found::Line {
                line,
                past,
                resolvers,
            } => {
                let Some(watched) = self.lines.get_mut(&line) else {
                    return false;
                };
                // A portal may show another address each time.
                if !watched.past.health.is_alike(&past.health) {
                    let Line { interface, family } = &line;
                    tracing::info!(interface, %family, health = %past.health, "uplink");
                }
                watched.past = past;
                watched.resolvers = resolvers;
                true
            }
        }
    }

    /// What others may count on of an uplink. `stated` is what an interface carries, if that is known.
    pub(crate) fn bandwidth(&self, uplink: &Uplink, stated: impl Fn(&str) -> Option<Bps>) -> Bps {
        let main = uplink.interfaces().next();
        let metered = main.and_then(|name| self.meters.get(name));
        let reading = metered.map_or_else(Reading::default, |it| it.reading);
        // One that carries nothing, or is not used, loses nothing either.
        let of_main = Family::BOTH.into_iter().filter_map(|family| {
            let interface = uplink
                .carries(family)
                .filter(|it| Some(it.as_str()) == main)?;
            let line = Line {
                interface: interface.clone(),
                family,
            };
            self.lines.get(&line).map(|watched| watched.past.loss)
        });
        let loss = of_main.max().unwrap_or(Loss::NONE);
        reading.offer_with(main.and_then(stated), loss)
    }

    /// How a line is. Where nobody can be asked in its family, it is as the other family is there;
    /// without any targets it is taken to work. One that leads back into the mesh does not, whoever
    /// answers.
    pub(crate) fn health(&self, line: &Line) -> &Health {
        let circle = self.circles.get(&line.interface);
        if circle.is_some_and(|circle| circle.leads_back) {
            return &Health::Fails(Fault::Circle);
        }
        let is_asked = |line: &Line| self.lines.get(line).filter(|it| it.task.is_some());
        match (is_asked(line), is_asked(&line.other_family())) {
            (Some(watched), _) | (None, Some(watched)) => &watched.past.health,
            (None, None) if self.lines.contains_key(line) => &Health::Works,
            (None, None) => &Health::Unknown,
        }
    }

    /// The resolvers that answer over an uplink, those of IPv4 first.
    pub(crate) fn resolvers(&self, uplink: &Uplink) -> Vec<IpAddr> {
        let of = |family| {
            let interface = uplink.carries(family)?.clone();
            self.lines.get(&Line { interface, family })
        };
        let lines = Family::BOTH.into_iter().filter_map(of);
        lines
            .flat_map(|watched| watched.resolvers.iter().copied())
            .collect()
    }

    /// All lines.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&Line, &Health)> {
        self.lines.keys().map(|line| (line, self.health(line)))
    }
}

/// Those that can be asked in a family: a page with a name only if there is a resolver to find it.
fn targets_for(family: Family, targets: &[Target]) -> Vec<Target> {
    let is_for = |target: &&Target| target.family().is_none_or(|only| only == family);
    let can_find = targets
        .iter()
        .filter(is_for)
        .any(|it| resolver(it).is_some());
    let of_it = targets.iter().filter(is_for);
    let askable = of_it.filter(|target| can_find || target.family().is_some());
    askable.cloned().collect()
}

/// `told` is what the other end of `news` knows already.
async fn keep_asking(
    mut asker: Asker,
    mut checks: Checks,
    mut told: (Past, Vec<IpAddr>),
    news: mpsc::Sender<News>,
) {
    loop {
        asker.rest(&checks).await;
        let is_whole = *checks.plan() == Plan::All;
        checks.ask(asker.interface.counters().received);
        let outcomes = asker.carry_out(&checks).await;
        checks.judge(
            Instant::now(),
            &outcomes,
            asker.interface.counters().received,
        );
        if !is_whole && *checks.plan() == Plan::All {
            asker.interface.doubt.notify_waiters();
        }
        // One question alone may have been lost.
        let resolvers = match is_whole && !checks.is_in_doubt() {
            true => checks.resolvers(),
            false => told.1.clone(),
        };
        let now = (checks.past(), resolvers);
        if now != told {
            told.clone_from(&now);
            let (past, resolvers) = now;
            let it = Found::Line {
                line: asker.line.clone(),
                past,
                resolvers,
            };
            if news.send(News(it)).await.is_err() {
                return;
            }
        }
    }
}

async fn keep_listening(mut told: Vec<IpAddr>, news: mpsc::Sender<News>) {
    let mut before = told.clone();
    loop {
        sleep(TOLD_INTERVAL).await;
        let now = resolvers::told();
        // A file may be read while it is written: what is gone is looked for again.
        let is_sure = told.iter().all(|it| now.contains(it)) || now == before;
        before.clone_from(&now);
        if is_sure && now != told {
            told.clone_from(&now);
            if news.send(News(Found::Told(now))).await.is_err() {
                return;
            }
        }
    }
}

async fn keep_reading(name: String, interface: Arc<Interface>, news: mpsc::Sender<News>) {
    let mut meter = Meter::new(Instant::now(), interface.counters());
    loop {
        sleep(meter::INTERVAL).await;
        let is_full = interface
            .take_wait()
            .is_some_and(|wait| wait >= queue::FULL);
        if let Some(reading) = meter.read(Instant::now(), interface.counters(), is_full) {
            let name = name.clone();
            let found = Found::Interface { name, reading };
            if news.send(News(found)).await.is_err() {
                return;
            }
        }
    }
}

async fn keep_sending(name: String, mut sender: circle::Sender, news: mpsc::Sender<News>) {
    loop {
        let leads_back = sender.changed().await;
        let name = name.clone();
        let found = Found::Circle { name, leads_back };
        if news.send(News(found)).await.is_err() {
            return;
        }
    }
}
