//! The tasks that find out whether uplinks work, one for each interface and family.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use super::Line;
use super::ask::ask;
use super::checks::{Checks, Health, Outcome, Plan};
use super::target::Target;

/// How long one target may take to answer; there are others.
const ONE_LIMIT: Duration = Duration::from_secs(1);
/// How long all of them may take.
const ALL_LIMIT: Duration = Duration::from_millis(1500);
/// News that wait to be taken up.
const CAPACITY: usize = 8;

/// Watches uplinks. Dropping it ends that.
#[derive(Debug)]
pub(crate) struct Watcher {
    targets: Vec<Target>,
    lines: BTreeMap<Line, Watched>,
    sender: mpsc::Sender<News>,
    news: mpsc::Receiver<News>,
}

#[derive(Debug)]
struct Watched {
    health: Health,
    resolvers: Vec<IpAddr>,
    task: JoinHandle<()>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How a line is now.
#[derive(Debug)]
pub(crate) struct News {
    line: Line,
    health: Health,
    resolvers: Vec<IpAddr>,
}

impl Watcher {
    /// Watches nothing yet.
    pub(crate) fn new() -> Self {
        let (sender, news) = mpsc::channel(CAPACITY);
        Self {
            targets: Vec::new(),
            lines: BTreeMap::new(),
            sender,
            news,
        }
    }

    /// Watches these lines and no others, by asking these targets. Without targets for its family
    /// a line is taken to work. Must be called within a tokio runtime.
    pub(crate) fn watch(&mut self, lines: impl IntoIterator<Item = Line>, targets: &[Target]) {
        if self.targets != targets {
            self.targets = targets.to_vec();
            self.lines.clear();
        }
        let mut before = std::mem::take(&mut self.lines);
        for line in lines {
            let watched = before.remove(&line).unwrap_or_else(|| self.begin(&line));
            self.lines.insert(line, watched);
        }
    }

    fn begin(&self, line: &Line) -> Watched {
        let is_for = |target: &&Target| target.family().is_none_or(|family| family == line.family);
        let targets: Vec<Target> = self.targets.iter().filter(is_for).cloned().collect();
        let health = match targets.is_empty() {
            true => Health::Works,
            false => Health::Unknown,
        };
        let task = tokio::spawn(keep_asking(line.clone(), targets, self.sender.clone()));
        Watched {
            health,
            resolvers: Vec::new(),
            task,
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

    /// Takes in how a line is now. Returns whether it is one that is watched.
    pub(crate) fn take_in(&mut self, news: News) -> bool {
        let watched = self.lines.get_mut(&news.line);
        let is_watched = watched.is_some();
        if let Some(watched) = watched {
            if watched.health != news.health {
                tracing::info!(
                    interface = news.line.interface,
                    family = %news.line.family,
                    health = %news.health,
                    "uplink"
                );
            }
            watched.health = news.health;
            watched.resolvers = news.resolvers;
        }
        is_watched
    }

    /// How a line is.
    pub(crate) fn health(&self, line: &Line) -> &Health {
        self.lines
            .get(line)
            .map_or(&Health::Unknown, |watched| &watched.health)
    }

    /// The resolvers that answer over an interface, those of IPv4 first.
    pub(crate) fn resolvers(&self, interface: &str) -> Vec<IpAddr> {
        let lines = self.lines.iter();
        let of_it = lines.filter(|(line, _)| line.interface == interface);
        of_it
            .flat_map(|(_, watched)| watched.resolvers.iter().copied())
            .collect()
    }

    /// All lines.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&Line, &Health)> {
        self.lines
            .iter()
            .map(|(line, watched)| (line, &watched.health))
    }
}

async fn keep_asking(line: Line, targets: Vec<Target>, news: mpsc::Sender<News>) {
    if targets.is_empty() {
        return;
    }
    let mut checks = Checks::new(targets, received_bytes(&line));
    let mut told = Vec::new();
    loop {
        tokio::time::sleep(checks.pause()).await;
        let is_whole = *checks.plan() == Plan::All;
        let outcomes = carry_out(&line, &checks).await;
        let changed = checks.judge(Instant::now(), &outcomes, received_bytes(&line));
        // One question alone may have been lost.
        let resolvers = match is_whole {
            true => checks.resolvers(),
            false => told.clone(),
        };
        if changed.is_some() || resolvers != told {
            told.clone_from(&resolvers);
            let (line, health) = (line.clone(), checks.health().clone());
            let it = News {
                line,
                health,
                resolvers,
            };
            if news.send(it).await.is_err() {
                return;
            }
        }
    }
}

async fn carry_out(line: &Line, checks: &Checks) -> Vec<(usize, Outcome)> {
    let targets = checks.targets();
    let resolvers: Vec<SocketAddr> = targets.iter().filter_map(resolver).collect();
    let name = targets.iter().find_map(page_name);
    let (asked, limit) = match *checks.plan() {
        Plan::One(at) => (at..at + 1, ONE_LIMIT),
        Plan::All => (0..targets.len(), ALL_LIMIT),
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

/// What an interface has received since it is there; 0 when it has gone.
fn received_bytes(line: &Line) -> u64 {
    let text = fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    let of_it = text.lines().find_map(|row| {
        let (name, rest) = row.trim().split_once(':')?;
        (name == line.interface).then_some(rest)
    });
    let bytes = of_it.and_then(|rest| rest.split_whitespace().next());
    bytes.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}
