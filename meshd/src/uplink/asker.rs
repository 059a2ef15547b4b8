//! The questions of one line: when they are asked, and how long their answers are waited for.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Line;
use super::ask::ask;
use super::checks::{ALL_LIMIT, Checks, Outcome, Plan};
use super::queue::Fastest;
use super::shared::Interface;
use super::target::Target;

/// Asks the targets of a line.
pub(super) struct Asker {
    pub(super) line: Line,
    pub(super) interface: Arc<Interface>,
    fastest: Fastest,
    /// Others have sent something while nobody was asked.
    is_used: bool,
    /// Questions without an answer. One that was asked alone may be answered beside the others.
    open: JoinSet<(usize, Outcome, Duration)>,
}

impl Asker {
    /// Asks nobody yet.
    pub(super) fn new(line: Line, interface: Arc<Interface>, targets: &[Target]) -> Self {
        Self {
            line,
            interface,
            fastest: Fastest::new(targets.len()),
            is_used: false,
            open: JoinSet::new(),
        }
    }

    /// Waits until the next questions are due.
    pub(super) async fn rest(&mut self, checks: &Checks) {
        let (begin, before) = (Instant::now(), self.interface.sent_by_others());
        let is_trusted = *checks.plan() != Plan::All;
        // What is asked at once follows from what was asked before.
        if checks.rest(Duration::ZERO, false).is_some() {
            self.is_used = false;
        }
        while let Some(left) = checks.rest(begin.elapsed(), self.is_used) {
            tokio::select! {
                () = sleep(left) => {}
                // If the line is dead, it is in both families.
                () = self.interface.doubt.notified(), if is_trusted => return,
            }
            self.is_used = self.interface.sent_by_others() > before;
        }
    }

    /// Asks whom the plan says. Returns what became of it, and of what was asked before.
    pub(super) async fn carry_out(&mut self, checks: &Checks) -> Vec<(usize, Outcome)> {
        let interface = self.interface.clone();
        let limit = checks.limit();
        let (asked, _ours) = match *checks.plan() {
            Plan::One(at) => {
                self.open = JoinSet::new();
                self.ask(checks.targets(), at..at + 1, limit + ALL_LIMIT);
                (at..at + 1, Some(interface.ask()))
            }
            // What is sent into a line that may be dead is for the other family to see.
            Plan::All => {
                let all = 0..checks.targets().len();
                self.ask(checks.targets(), all.clone(), limit);
                (all, None)
            }
        };
        let mut outcomes = Vec::new();
        // Who has not answered by then is silent.
        let _ = timeout(limit, self.collect(checks, &mut outcomes)).await;
        for at in asked {
            if outcomes.iter().all(|(it, _)| *it != at) {
                outcomes.push((at, Outcome::Silent));
            }
        }
        outcomes
    }

    async fn collect(&mut self, checks: &Checks, outcomes: &mut Vec<(usize, Outcome)>) {
        while let Some(Ok((at, outcome, took))) = self.open.join_next().await {
            if outcome == Outcome::Answered {
                let wait = self.fastest.wait(at, took, self.is_used);
                wait.into_iter().for_each(|it| self.interface.note_wait(it));
            }
            outcomes.push((at, outcome));
            if checks.is_enough(outcomes) {
                return;
            }
        }
    }

    fn ask(&mut self, targets: &[Target], asked: Range<usize>, limit: Duration) {
        let resolvers: Vec<SocketAddr> = targets.iter().filter_map(resolver).collect();
        let name = targets.iter().find_map(page_name);
        for (at, target) in targets.iter().enumerate() {
            if asked.contains(&at) {
                let (line, target) = (self.line.clone(), target.clone());
                let (resolvers, name) = (resolvers.clone(), name.map(str::to_owned));
                self.open.spawn(async move {
                    let begin = Instant::now();
                    let outcome = ask(&line, &target, &resolvers, name.as_deref(), limit).await;
                    (at, outcome, begin.elapsed())
                });
            }
        }
    }
}

/// Where it listens, if it is a resolver.
pub(super) fn resolver(target: &Target) -> Option<SocketAddr> {
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

#[cfg(test)]
mod tests {
    use mesh_proto::Family;
    use simple_dns::Packet;
    use tokio::net::UdpSocket;

    use super::super::checks::Past;
    use super::*;

    /// Asks one resolver of this machine that works, alone from now on.
    async fn asking() -> (Asker, Checks, UdpSocket) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let at = socket.local_addr().unwrap();
        let targets = vec![Target::Dns(at)];
        let line = Line {
            interface: "lo".to_owned(),
            family: Family::Ipv4,
        };
        let interface = Arc::new(Interface::new(line.interface.clone()));
        let mut checks = Checks::new(targets.clone(), Past::NONE);
        while *checks.plan() == Plan::All {
            checks.judge(Instant::now(), &[(0, Outcome::Answered)], 0);
        }
        (Asker::new(line, interface, &targets), checks, socket)
    }

    #[tokio::test]
    async fn an_answer_that_is_late_is_an_answer() {
        let (mut asker, mut checks, socket) = asking().await;
        let late = checks.limit() + Duration::from_millis(300);
        let answering = async {
            let mut buffer = [0; 512];
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            let id = Packet::parse(&buffer[..length]).unwrap().id();
            sleep(late).await;
            let answer = Packet::new_reply(id).build_bytes_vec().unwrap();
            socket.send_to(&answer, from).await.unwrap();
        };
        let asking = async {
            let alone = asker.carry_out(&checks).await;
            assert_eq!(alone, [(0, Outcome::Silent)]);
            checks.judge(Instant::now(), &alone, 0);
            assert_eq!(*checks.plan(), Plan::All);
            let all = asker.carry_out(&checks).await;
            assert!(all.contains(&(0, Outcome::Answered)), "{all:?}");
        };
        tokio::join!(answering, asking);
        assert_eq!(
            asker.interface.take_wait(),
            Some(Duration::ZERO),
            "the first"
        );
    }

    #[tokio::test]
    async fn a_doubt_in_one_family_is_one_in_the_other() {
        let (mut asker, checks, _socket) = asking().await;
        let (begin, interface) = (Instant::now(), asker.interface.clone());
        let doubt = async {
            sleep(Duration::from_millis(100)).await;
            interface.doubt.notify_waiters();
        };
        tokio::join!(asker.rest(&checks), doubt);
        assert!(begin.elapsed() < Duration::from_secs(1));
    }
}
