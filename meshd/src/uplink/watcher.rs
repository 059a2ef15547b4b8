//! The tasks that find out whether uplinks work, one for each interface and family, and how much they
//! carry, one for each interface.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use mesh_proto::Family;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use super::ask::ask;
use super::checks::{Checks, FORGIVENESS, Health, Outcome, Past, Plan};
use super::meter::{self, Bps, Counters, Meter, Reading};
use super::resolvers;
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
    reading: Reading,
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
            told: None,
            sender,
            news,
        }
    }

    /// Watches these lines and no others, by asking whom the configuration says. Must be called within
    /// a tokio runtime.
    pub(crate) fn watch(&mut self, now: Instant, lines: &[Line], config: &config::Uplink) {
        self.listen(!lines.is_empty());
        let targets = config.resolvers().targets(config.check(), self.told());
        let asks_others = self.targets != targets;
        self.targets = targets;
        let mut before = std::mem::take(&mut self.lines);
        for line in lines {
            let watched = match before.remove(line) {
                // Until others say something else.
                Some(watched) if asks_others => {
                    self.begin(line, watched.past.clone(), watched.resolvers.clone())
                }
                Some(watched) => watched,
                None => {
                    let past = self.gone.remove(line).map_or(Past::NONE, |(past, _)| past);
                    self.begin(line, past, Vec::new())
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
        self.meter();
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

    /// The resolvers that providers tell of.
    pub(crate) fn told(&self) -> &[IpAddr] {
        self.told.as_ref().map_or(&[], |told| &told.resolvers)
    }

    /// Has a meter at each interface that is watched.
    fn meter(&mut self) {
        let mut before = std::mem::take(&mut self.meters);
        for Line { interface, .. } in self.lines.keys() {
            if self.meters.contains_key(interface) {
                continue;
            }
            let begin = || Metered {
                reading: Reading::default(),
                task: tokio::spawn(keep_reading(interface.clone(), self.sender.clone())),
            };
            let metered = before.remove(interface).unwrap_or_else(begin);
            self.meters.insert(interface.clone(), metered);
        }
    }

    fn begin(&self, line: &Line, past: Past, resolvers: Vec<IpAddr>) -> Watched {
        let targets = targets_for(line.family, &self.targets);
        let ask = || {
            let told = (past.clone(), resolvers.clone());
            keep_asking(line.clone(), targets.clone(), told, self.sender.clone())
        };
        let task = (!targets.is_empty()).then(|| tokio::spawn(ask()));
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
        reading.offer(main.and_then(stated))
    }

    /// How a line is. Where nobody can be asked in its family, it is as the other family is there;
    /// without any targets it is taken to work.
    pub(crate) fn health(&self, line: &Line) -> &Health {
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
    line: Line,
    targets: Vec<Target>,
    mut told: (Past, Vec<IpAddr>),
    news: mpsc::Sender<News>,
) {
    let mut checks = Checks::new(targets, received_bytes(&line), told.0.clone());
    loop {
        rest(&line, &checks).await;
        let is_whole = *checks.plan() == Plan::All;
        checks.ask(received_bytes(&line));
        let outcomes = carry_out(&line, &checks).await;
        checks.judge(Instant::now(), &outcomes, received_bytes(&line));
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
                line: line.clone(),
                past,
                resolvers,
            };
            if news.send(News(it)).await.is_err() {
                return;
            }
        }
    }
}

/// Waits until the next questions are due.
async fn rest(line: &Line, checks: &Checks) {
    let (begin, before) = (Instant::now(), counters(&line.interface));
    let mut carried = 0;
    while let Some(left) = checks.rest(begin.elapsed(), carried) {
        tokio::time::sleep(left).await;
        carried = counters(&line.interface).most_since(before);
    }
}

async fn keep_listening(mut told: Vec<IpAddr>, news: mpsc::Sender<News>) {
    loop {
        tokio::time::sleep(TOLD_INTERVAL).await;
        let now = resolvers::told();
        if now != told {
            told.clone_from(&now);
            if news.send(News(Found::Told(now))).await.is_err() {
                return;
            }
        }
    }
}

async fn keep_reading(name: String, news: mpsc::Sender<News>) {
    let mut meter = Meter::new(Instant::now(), counters(&name));
    loop {
        tokio::time::sleep(meter::INTERVAL).await;
        if let Some(reading) = meter.read(Instant::now(), counters(&name)) {
            let name = name.clone();
            let found = Found::Interface { name, reading };
            if news.send(News(found)).await.is_err() {
                return;
            }
        }
    }
}

async fn carry_out(line: &Line, checks: &Checks) -> Vec<(usize, Outcome)> {
    let targets = checks.targets();
    let resolvers: Vec<SocketAddr> = targets.iter().filter_map(resolver).collect();
    let name = targets.iter().find_map(page_name);
    let limit = checks.limit();
    let asked = match *checks.plan() {
        Plan::One(at) => at..at + 1,
        Plan::All => 0..targets.len(),
    };
    let mut asking = JoinSet::new();
    for (at, target) in targets.iter().enumerate() {
        if asked.contains(&at) {
            let (line, target) = (line.clone(), target.clone());
            let (resolvers, name) = (resolvers.clone(), name.map(str::to_owned));
            asking.spawn(async move {
                let outcome = ask(&line, &target, &resolvers, name.as_deref(), limit).await;
                (at, outcome)
            });
        }
    }
    let mut outcomes = Vec::new();
    while let Some(Ok(outcome)) = asking.join_next().await {
        outcomes.push(outcome);
        if checks.is_enough(&outcomes) {
            break;
        }
    }
    outcomes
}

fn resolver(target: &Target) -> Option<SocketAddr> {
    match target {
        Target::Dns(at) => Some(*at),
        Target::Icmp(_) | Target::Tcp(_) | Target::Http(_) => None,
    }
}

/// A name that a page makes known to be in use.
fn page_name(target: &Target) -> Option<&str> {
    match target {
        Target::Http(page) if target.family().is_none() => Some(&page.host),
        Target::Http(_) | Target::Icmp(_) | Target::Tcp(_) | Target::Dns(_) => None,
    }
}

fn received_bytes(line: &Line) -> u64 {
    counters(&line.interface).received
}

/// What an interface has received and sent since it is there; nothing when it has gone.
fn counters(interface: &str) -> Counters {
    /// Of sent bytes, counted from that of received ones (proc_pid_net(5)).
    const SENT: usize = 8;
    let text = fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    let of_it = text.lines().find_map(|row| {
        let (name, rest) = row.trim().split_once(':')?;
        (name == interface).then_some(rest)
    });
    let fields: Vec<&str> = of_it.unwrap_or_default().split_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|it| it.parse().ok()).unwrap_or(0);
    Counters {
        received: number(0),
        sent: number(SENT),
    }
}
