//! What the answers of targets say about an uplink: it depends on what was heard and nothing else.
//!
//! While it works, one target after the other is asked, and earlier when somebody begins to use it. If one
//! does not answer, all are asked at once, and that decides. One that failed has to work several times in a
//! row before it counts again, and the more often it failed, the more often.

use std::mem;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::loss::{Loss, Losses};
use super::target::{DNS_PORT, Target};

/// Between two questions while somebody sends something over the uplink. With the two limits below, a
/// dead one is found within 4 s.
const BUSY_INTERVAL: Duration = Duration::from_millis(1500);
/// The same while nobody does.
const IDLE_INTERVAL: Duration = Duration::from_secs(5);
/// How often it is looked whether somebody does.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Until all are asked again after a doubt that one answer of them all does not settle.
const DOUBT_INTERVAL: Duration = Duration::from_millis(500);
/// Between the first tries of an uplink that does not work, and between the last.
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(15));
/// Between two tries of an uplink that seems to work again.
const RECOVERY_INTERVAL: Duration = Duration::from_secs(1);
/// How many tries in a row an uplink has to pass once it failed, at least and at most: it doubles
/// with each failure, and begins again after [`FORGIVENESS`].
const RECOVERY: (u32, u32) = (3, 24);
/// How long an uplink has to work until its failures are forgotten.
pub(super) const FORGIVENESS: Duration = Duration::from_secs(600);
/// Bytes that come in while all targets are silent if the uplink is not dead but full, perhaps: 10 kB/s.
/// What hosts beside it say to all is less.
const FULL_BYTES: u64 = 15_000;
/// After so long without an answer of one target the others are asked too.
const ONE_LIMIT: Duration = Duration::from_secs(1);
/// How long all of them may take.
pub(super) const ALL_LIMIT: Duration = Duration::from_millis(1500);
/// How long they may take if the uplink may be full: answers wait in the provider's buffer.
const FULL_LIMIT: Duration = Duration::from_secs(4);

/// What became of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The target answered as it should.
    Answered,
    /// Nothing came in time, or it could not be asked.
    Silent,
    /// Somebody else answered, and wants to be visited here.
    Captive(String),
}

/// Whether an uplink works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It has not been found out yet.
    Unknown,
    /// It works.
    Works,
    /// It does not.
    Fails(Fault),
}

impl Health {
    /// Whether they are the same but for details.
    pub(super) fn is_alike(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Fails(a), Self::Fails(b)) => mem::discriminant(a) == mem::discriminant(b),
            (a, b) => a == b,
        }
    }
}

/// Why an uplink does not work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nobody answers.
    #[error("nobody on the Internet answers")]
    Silent,
    /// Hosts answer, resolvers do not.
    #[error("no resolver answers")]
    NoDns,
    /// Resolvers answer, hosts do not: a provider that wants to be paid lets through just that, often.
    #[error("resolvers answer, and nobody else on the Internet")]
    OnlyDns,
    /// A portal wants something first.
    #[error("a captive portal is in the way: {0}")]
    Captive(String),
    /// What answers is reached through the mesh.
    #[error("it leads back into this mesh")]
    Circle,
}

/// Which targets to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// This one, by its number.
    One(usize),
    /// All of them.
    All,
}

/// The checks of one uplink in one family.
#[derive(Debug)]
pub(super) struct Checks {
    targets: Vec<Target>,
    /// Which of them answered when they were last asked.
    answered: Vec<bool>,
    /// Which is asked next if it answered before.
    turn: usize,
    plan: Plan,
    /// How long to wait before, unless somebody begins to use the uplink.
    pause: Duration,
    health: Health,
    /// The last failure, if it may have been an accident.
    doubt: Option<Fault>,
    passed: u32,
    /// How many tries in a row it has to pass before it counts as working.
    to_pass: u32,
    retry: Duration,
    works_since: Option<Instant>,
    /// The bytes received when the last questions were asked.
    received: u64,
    losses: Losses,
}

/// What is known of an uplink before it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Past {
    pub(super) health: Health,
    /// How many tries in a row it has to pass, if it is not known to work.
    pub(super) to_pass: u32,
    /// How much is lost while it works.
    pub(super) loss: Loss,
}

impl Past {
    /// Nothing.
    pub(super) const NONE: Self = Self {
        health: Health::Unknown,
        to_pass: 1,
        loss: Loss::NONE,
    };
}

impl Checks {
    pub(super) fn new(targets: Vec<Target>, past: Past) -> Self {
        Self {
            answered: vec![false; targets.len()],
            targets,
            turn: 0,
            plan: Plan::All,
            pause: Duration::ZERO,
            health: past.health,
            doubt: None,
            passed: 0,
            to_pass: past.to_pass,
            retry: RETRY.0,
            works_since: None,
            received: 0,
            losses: Losses::new(past.loss),
        }
    }

    pub(super) fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Whom to ask next, after [`Checks::rest`].
    pub(super) const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// How long they may take to answer.
    pub(super) fn limit(&self) -> Duration {
        match self.plan {
            Plan::One(_) => ONE_LIMIT,
            Plan::All if self.doubt == Some(Fault::Silent) => FULL_LIMIT,
            Plan::All => ALL_LIMIT,
        }
    }

    /// What should be known if the uplink goes and comes again.
    pub(super) fn past(&self) -> Past {
        Past {
            health: self.health.clone(),
            to_pass: self.to_pass,
            loss: self.losses.told(),
        }
    }

    /// Whether the last answers may be too few by accident.
    pub(super) const fn is_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    /// How long to go on waiting after `waited`, in which somebody else sent something over the uplink or
    /// did not, until this is to be asked again. `None` if the plan is due.
    pub(super) fn rest(&self, waited: Duration, is_used: bool) -> Option<Duration> {
        let (pause, look) = match self.health {
            Health::Works if is_used => (self.pause.min(BUSY_INTERVAL), LOOK_INTERVAL),
            Health::Works => (self.pause, LOOK_INTERVAL),
            Health::Unknown | Health::Fails(_) => (self.pause, self.pause),
        };
        let left = pause.saturating_sub(waited).min(look);
        (!left.is_zero()).then_some(left)
    }

    /// The resolvers that answered when they were last asked, at the port where everybody asks.
    pub(super) fn resolvers(&self) -> Vec<IpAddr> {
        let targets = self.targets.iter().zip(&self.answered);
        let answering = targets.filter_map(|(target, answered)| match target {
            Target::Dns(at) if *answered && at.port() == DNS_PORT => Some(at.ip()),
            Target::Dns(_) | Target::Icmp(_) | Target::Tcp(_) | Target::Http(_) => None,
        });
        answering.collect()
    }

    /// Whether what is known so far of all targets is enough to say that a new uplink works. The
    /// others are asked soon after.
    pub(super) fn is_enough(&self, outcomes: &[(usize, Outcome)]) -> bool {
        if self.health != Health::Unknown {
            return false;
        }
        let is_page = |at: usize| matches!(self.targets.get(at), Some(Target::Http(_)));
        let is_seen =
            |(at, outcome): &(usize, Outcome)| is_page(*at) && *outcome == Outcome::Answered;
        let no_portal = outcomes.iter().any(is_seen) || !(0..self.targets.len()).any(is_page);
        no_portal && self.verdict(outcomes).is_ok()
    }

    /// The plan is carried out now. `received` counts the bytes that the interface has received.
    pub(super) const fn ask(&mut self, received: u64) {
        self.received = received;
    }

    /// Takes in what became of the plan. Returns how the uplink is, if that changed.
    pub(super) fn judge(
        &mut self,
        now: Instant,
        outcomes: &[(usize, Outcome)],
        received: u64,
    ) -> Option<Health> {
        let meanwhile = received.saturating_sub(self.received);
        for (at, outcome) in outcomes {
            if let Some(answered) = self.answered.get_mut(*at) {
                *answered = *outcome == Outcome::Answered;
            }
        }
        let before = self.health.clone();
        if self.health == Health::Works {
            let since = *self.works_since.get_or_insert(now);
            if now.saturating_duration_since(since) >= FORGIVENESS {
                self.to_pass = Past::NONE.to_pass;
            }
        }
        match (&self.plan, &self.health) {
            (Plan::One(_), _) => self.judge_one(outcomes),
            (Plan::All, Health::Works) => self.judge_all(outcomes, meanwhile),
            (Plan::All, Health::Unknown) => match self.verdict(outcomes) {
                Ok(()) => self.pass(now),
                Err(fault) => self.fail(fault),
            },
            (Plan::All, Health::Fails(_)) => self.judge_failed(now, outcomes),
        }
        (self.health != before).then(|| self.health.clone())
    }

    fn judge_one(&mut self, outcomes: &[(usize, Outcome)]) {
        let is_lost = outcomes.iter().any(|(_, it)| *it == Outcome::Silent);
        self.losses.note(is_lost);
        let is_fine = outcomes.iter().all(|(_, it)| *it == Outcome::Answered);
        if is_fine {
            self.go_on();
        } else {
            (self.plan, self.pause) = (Plan::All, Duration::ZERO);
        }
    }

    fn judge_all(&mut self, outcomes: &[(usize, Outcome)], meanwhile: u64) {
        match self.verdict(outcomes) {
            Ok(()) => self.go_on(),
            Err(Fault::Silent) if self.doubt.is_none() && meanwhile > FULL_BYTES => {
                self.doubt = Some(Fault::Silent);
                self.pause = Duration::ZERO;
            }
            // A few lost datagrams look the same.
            Err(fault @ (Fault::NoDns | Fault::OnlyDns)) if self.doubt.is_none() => {
                self.doubt = Some(fault);
                self.pause = DOUBT_INTERVAL;
            }
            Err(fault) => self.fail(fault),
        }
    }

    fn judge_failed(&mut self, now: Instant, outcomes: &[(usize, Outcome)]) {
        match self.verdict(outcomes) {
            Ok(()) => self.pass(now),
            Err(fault) => {
                self.health = Health::Fails(fault);
                self.passed = 0;
                self.pause = self.retry;
                self.retry = (self.retry * 3 / 2).min(RETRY.1);
            }
        }
    }

    /// One try went well.
    fn pass(&mut self, now: Instant) {
        self.passed += 1;
        self.pause = RECOVERY_INTERVAL;
        if self.passed >= self.to_pass {
            self.work(now);
        }
    }

    /// What all targets together say. A page that is as it should be shows that no portal is in the
    /// way, whatever became of the others.
    fn verdict(&self, outcomes: &[(usize, Outcome)]) -> Result<(), Fault> {
        let is_resolver = |target: &Target| matches!(target, Target::Dns(_));
        let resolvers = self.targets.iter().any(is_resolver);
        let hosts = !self.targets.iter().all(is_resolver);
        let (mut reached, mut resolved) = (false, false);
        let (mut page_seen, mut portal) = (false, None);
        for (at, outcome) in outcomes {
            let target = self.targets.get(*at);
            match outcome {
                Outcome::Answered => {
                    let is_resolver = target.is_some_and(is_resolver);
                    resolved |= is_resolver;
                    reached |= !is_resolver;
                    page_seen |= matches!(target, Some(Target::Http(_)));
                }
                Outcome::Silent => {}
                Outcome::Captive(by) => portal = Some(by),
            }
        }
        if let Some(by) = portal.filter(|_| !page_seen) {
            return Err(Fault::Captive(by.clone()));
        }
        match (reached || !hosts, resolved || !resolvers) {
            _ if !reached && !resolved => Err(Fault::Silent),
            (true, true) => Ok(()),
            (true, false) => Err(Fault::NoDns),
            (false, _) => Err(Fault::OnlyDns),
        }
    }

    fn work(&mut self, now: Instant) {
        let is_new = mem::replace(&mut self.health, Health::Works) == Health::Unknown;
        self.works_since = Some(now);
        self.go_on();
        if is_new {
            // Perhaps not all were waited for.
            (self.plan, self.pause) = (Plan::All, BUSY_INTERVAL);
        }
    }

    fn fail(&mut self, fault: Fault) {
        self.works_since = None;
        self.to_pass = (self.to_pass * 2).clamp(RECOVERY.0, RECOVERY.1);
        self.health = Health::Fails(fault);
        self.doubt = None;
        self.passed = 0;
        self.retry = RETRY.0;
        (self.plan, self.pause) = (Plan::All, self.retry);
    }

    /// The uplink works: one target is asked a while later, another one each time.
    fn go_on(&mut self) {
        self.doubt = None;
        let count = self.targets.len().max(1);
        let turns = (0..count).map(|step| (self.turn + step) % count);
        let mut able = turns.filter(|at| self.answered.get(*at) == Some(&true));
        self.plan = able.next().map_or(Plan::All, |at| {
            self.turn = at + 1;
            Plan::One(at)
        });
        self.pause = IDLE_INTERVAL;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: u64 = 0;

    /// Two resolvers, a host, and a page.
    fn checks() -> Checks {
        let targets = [
            "dns://192.0.2.1",
            "dns://192.0.2.2",
            "icmp://192.0.2.3",
            "http://example.com/",
        ];
        let targets = targets.map(|text| Target::parse(text).unwrap());
        Checks::new(targets.to_vec(), Past::NONE)
    }

    struct Line {
        checks: Checks,
        now: Instant,
        received: u64,
        /// What each target would say.
        outcomes: [Outcome; 4],
    }

    impl Line {
        fn new() -> Self {
            Self {
                checks: checks(),
                now: Instant::now(),
                received: 0,
                outcomes: [const { Outcome::Answered }; 4],
            }
        }

        fn silent(&mut self, targets: &[usize]) {
            for at in 0..4 {
                self.outcomes[at] = match targets.contains(&at) {
                    true => Outcome::Silent,
                    false => Outcome::Answered,
                };
            }
        }

        /// Does what is planned, while so many bytes come in.
        fn step(&mut self, bytes: u64) -> Option<Health> {
            self.now += self.checks.pause;
            self.checks.ask(self.received);
            self.received += bytes;
            let outcomes: Vec<_> = match *self.checks.plan() {
                Plan::One(at) => vec![(at, self.outcomes[at].clone())],
                Plan::All => (0..4).zip(self.outcomes.clone()).collect(),
            };
            self.checks.judge(self.now, &outcomes, self.received)
        }

        fn until_change(&mut self, bytes: u64) -> (Health, Duration) {
            let begin = self.now;
            for _ in 0..100 {
                if let Some(health) = self.step(bytes) {
                    return (health, self.now - begin);
                }
            }
            panic!("nothing changed");
        }
    }

    #[test]
    fn a_new_line_is_judged_by_one_round() {
        let mut line = Line::new();
        assert_eq!(line.step(QUIET), Some(Health::Works));
        let mut line = Line::new();
        line.silent(&[0, 1, 2, 3]);
        assert_eq!(line.step(QUIET), Some(Health::Fails(Fault::Silent)));
    }

    #[test]
    fn one_that_works_is_asked_one_question_at_a_time() {
        let mut line = Line::new();
        line.step(QUIET);
        assert_eq!(
            *line.checks.plan(),
            Plan::All,
            "some may not have been waited for"
        );
        line.step(QUIET);
        for at in [1, 2, 3, 0, 1] {
            assert_eq!(*line.checks.plan(), Plan::One(at));
            assert_eq!(line.checks.pause, IDLE_INTERVAL);
            assert_eq!(line.step(QUIET), None);
        }
    }

    #[test]
    fn whoever_begins_to_use_a_line_does_not_wait_for_its_idle_turn() {
        let mut line = Line::new();
        line.step(QUIET);
        line.step(QUIET);
        let rest = |line: &Line, waited, is_used| line.checks.rest(waited, is_used);
        let (start, look) = (Duration::ZERO, Some(LOOK_INTERVAL));
        assert_eq!(rest(&line, start, false), look);
        assert_eq!(rest(&line, BUSY_INTERVAL, false), look);
        assert_eq!(rest(&line, BUSY_INTERVAL, true), None);
        assert_eq!(rest(&line, start, true), look, "not at once");
        let last = Duration::from_millis(10);
        assert_eq!(rest(&line, IDLE_INTERVAL - last, false), Some(last));
        assert_eq!(rest(&line, IDLE_INTERVAL, false), None);
        line.silent(&[0, 1, 2, 3]);
        line.until_change(QUIET);
        let tries = rest(&line, start, true);
        assert_eq!(tries, Some(RETRY.0), "one that fails is tried in its time");
    }

    /// How long it takes from the first packet into a dead line until it is known to be dead, if the packet
    /// comes so long after the last answer, and so many bytes a second come in from hosts beside it.
    fn until_known(begin: Duration, noise: u64) -> Duration {
        let mut line = Line::new();
        line.step(QUIET);
        line.step(QUIET);
        line.silent(&[0, 1, 2, 3]);
        let mut now = Duration::ZERO;
        while line.checks.health == Health::Works {
            let mut waited = Duration::ZERO;
            while let Some(left) = line.checks.rest(waited, now + waited > begin) {
                waited += left;
            }
            let limit = line.checks.limit();
            line.step(noise * u64::try_from(limit.as_millis()).unwrap() / 1000);
            now += waited + limit;
        }
        now.saturating_sub(begin)
    }

    #[test]
    fn a_dead_line_is_found_in_time_whenever_somebody_begins_to_use_it() {
        const IN_TIME: Duration = Duration::from_secs(4);
        // What hosts beside the uplink say to all, in bytes per second.
        for noise in [QUIET, 3_000, 9_000] {
            for ms in (0..IDLE_INTERVAL.as_millis()).step_by(10) {
                let begin = Duration::from_millis(u64::try_from(ms).unwrap());
                let time = until_known(begin, noise);
                assert!(time <= IN_TIME, "{time:?} after {begin:?} with {noise}");
            }
        }
    }

    #[test]
    fn a_target_that_never_answers_is_not_asked_alone() {
        let mut line = Line::new();
        line.silent(&[1]);
        line.step(QUIET);
        line.step(QUIET);
        let resolver: IpAddr = "192.0.2.1".parse().unwrap();
        assert_eq!(line.checks.resolvers(), [resolver]);
        for at in [2, 3, 0, 2, 3] {
            assert_eq!(*line.checks.plan(), Plan::One(at));
            assert_eq!(line.step(QUIET), None);
        }
    }

    #[test]
    fn one_target_that_dies_is_no_failure() {
        let mut line = Line::new();
        line.step(QUIET);
        line.silent(&[2]);
        for _ in 0..20 {
            assert_eq!(line.step(QUIET), None);
        }
    }

    #[test]
    fn questions_that_are_lost_now_and_then_are_no_failure_and_are_counted() {
        const RATE: u64 = 1_000_000;
        let mut line = Line::new();
        line.step(QUIET);
        line.step(QUIET);
        assert_eq!(line.checks.past().loss.left_of(RATE), RATE);
        for at in 0..60 {
            // Whoever is asked alone this time.
            match *line.checks.plan() {
                Plan::One(asked) if at % 3 == 0 => line.silent(&[asked]),
                Plan::One(_) | Plan::All => line.silent(&[]),
            }
            assert_eq!(line.step(QUIET), None);
        }
        let left = line.checks.past().loss.left_of(RATE);
        assert!(left < RATE * 3 / 4, "{left}");
    }

    #[test]
    fn silence_of_all_is_found_with_the_next_question() {
        let mut line = Line::new();
        line.step(QUIET);
        line.step(QUIET);
        line.silent(&[0, 1, 2, 3]);
        let (health, time) = line.until_change(QUIET);
        assert_eq!(health, Health::Fails(Fault::Silent));
        assert_eq!(time, IDLE_INTERVAL);
    }

    #[test]
    fn a_full_line_has_more_time_to_answer() {
        let mut line = Line::new();
        line.step(QUIET);
        assert_eq!(line.checks.limit(), ALL_LIMIT);
        line.step(FULL_BYTES + 1);
        for _ in 0..20 {
            line.silent(&[0, 1, 2, 3]);
            while line.checks.limit() != FULL_LIMIT {
                assert_eq!(line.step(FULL_BYTES + 1), None);
            }
            assert_eq!(line.checks.pause, Duration::ZERO);
            line.silent(&[]);
            assert_eq!(line.step(FULL_BYTES + 1), None, "late, but there");
        }
        line.silent(&[0, 1, 2, 3]);
        let (health, _) = line.until_change(FULL_BYTES + 1);
        assert_eq!(health, Health::Fails(Fault::Silent), "noise is no answer");
    }

    #[test]
    fn without_resolvers_it_does_not_work() {
        let mut line = Line::new();
        line.step(QUIET);
        line.step(QUIET);
        line.silent(&[0, 1]);
        let (health, time) = line.until_change(QUIET);
        assert_eq!(health, Health::Fails(Fault::NoDns));
        assert!(time <= IDLE_INTERVAL + DOUBT_INTERVAL, "{time:?}");
    }

    #[test]
    fn with_resolvers_alone_it_does_not_work() {
        let mut line = Line::new();
        line.step(QUIET);
        line.step(QUIET);
        line.silent(&[2, 3]);
        let (health, time) = line.until_change(QUIET);
        assert_eq!(health, Health::Fails(Fault::OnlyDns));
        assert!(time <= 4 * IDLE_INTERVAL + DOUBT_INTERVAL, "{time:?}");
        // Nor does one that is new.
        let mut line = Line::new();
        line.silent(&[2, 3]);
        let fails = Health::Fails(Fault::OnlyDns);
        assert_eq!(line.step(QUIET), Some(fails));
    }

    #[test]
    fn a_portal_is_in_the_way_whatever_else_answers() {
        let mut line = Line::new();
        line.outcomes[3] = Outcome::Captive("http://portal/".to_owned());
        let fails = Health::Fails(Fault::Captive("http://portal/".to_owned()));
        assert_eq!(line.step(QUIET), Some(fails.clone()));
        let mut line = Line::new();
        line.step(QUIET);
        line.outcomes[3] = Outcome::Captive("http://portal/".to_owned());
        assert_eq!(line.until_change(QUIET).0, fails);
    }

    #[test]
    fn one_page_as_it_should_be_is_enough() {
        let mut checks = checks();
        checks
            .targets
            .push(Target::parse("http://example.org/").unwrap());
        let portal = || Outcome::Captive("http://portal/".to_owned());
        let outcomes = [
            (0, Outcome::Answered),
            (3, portal()),
            (4, Outcome::Answered),
        ];
        assert_eq!(checks.verdict(&outcomes), Ok(()));
        assert!(checks.is_enough(&outcomes) && !checks.is_enough(&outcomes[..2]));
        let outcomes = [(0, Outcome::Answered), (3, portal()), (4, Outcome::Silent)];
        assert!(matches!(checks.verdict(&outcomes), Err(Fault::Captive(_))));
    }

    #[test]
    fn what_a_line_did_before_it_went_is_not_forgotten() {
        let mut line = Line::new();
        line.step(QUIET);
        line.silent(&[0, 1, 2, 3]);
        line.until_change(QUIET);
        let past = line.checks.past();
        assert_eq!(past.to_pass, RECOVERY.0);
        let unknown = Past {
            health: Health::Unknown,
            ..past
        };
        line.checks = Checks::new(line.checks.targets.clone(), unknown);
        line.silent(&[]);
        for _ in 1..RECOVERY.0 {
            assert_eq!(line.step(QUIET), None);
        }
        assert_eq!(line.step(QUIET), Some(Health::Works));
    }

    #[test]
    fn a_line_that_failed_has_to_prove_itself() {
        let mut line = Line::new();
        let mut times = Vec::new();
        line.step(QUIET);
        for _ in 0..6 {
            line.silent(&[0, 1, 2, 3]);
            line.until_change(QUIET);
            line.silent(&[]);
            let begin = line.now;
            line.step(QUIET);
            assert_ne!(line.checks.health, Health::Works, "once is not enough");
            assert_eq!(line.until_change(QUIET).0, Health::Works);
            times.push((line.now - begin).as_secs());
        }
        assert!(times.is_sorted() && times[0] < times[3], "{times:?}");
        assert!(times[5] <= 30, "{times:?}");
        // Long after, it is a new line.
        line.now += FORGIVENESS;
        line.silent(&[0, 1, 2, 3]);
        line.until_change(QUIET);
        line.silent(&[]);
        let begin = line.now;
        line.until_change(QUIET);
        assert_eq!((line.now - begin).as_secs(), times[0]);
    }

    #[test]
    fn not_everybody_has_to_answer_before_it_is_known_to_work() {
        let checks = checks();
        let answered = |at: usize| (at, Outcome::Answered);
        assert!(!checks.is_enough(&[answered(0), answered(2)]), "a portal?");
        assert!(!checks.is_enough(&[answered(2), answered(3)]), "resolvers?");
        assert!(checks.is_enough(&[answered(0), answered(3)]));
        assert!(!checks.is_enough(&[answered(0), (3, Outcome::Captive(String::new()))]));
    }
}
