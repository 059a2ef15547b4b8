//! Three gateways, of which the one in use fails in one way after the other: until a phone is online
//! again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use control_api::Gateways;
use mesh_tests::http::{GREETING, fetch};
use mesh_tests::internet::{HOST_V4, HOST_V6, Trouble, resolve, web_at};
use mesh_tests::lab::Node;
use mesh_tests::namespace::Namespace;
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;

use crate::bed::Bed;
use crate::kind::Kind;
use crate::report::{Figure, Recorder};

/// In a village of three times three: a corner to go online from, and the others as gateways.
const CLIENT: &str = "r1";
const GATEWAYS: [&str; 3] = ["r3", "r7", "r9"];

/// Nothing is waited for longer.
const BOUND: Duration = Duration::from_secs(60);
/// Between two visits.
const INTERVAL: Duration = Duration::from_millis(100);
/// What a visit may take, each of its parts; all of them take some milliseconds when all is well.
const PART: Duration = Duration::from_millis(500);
/// Longer than a visit takes that fails in its last part.
const VISIT: Duration = Duration::from_secs(2);
/// Online is who has been for so long.
const STEADY: Duration = Duration::from_secs(2);

/// How a gateway fails.
#[derive(Clone, Copy, Debug)]
enum Failure {
    /// The router loses its power.
    Power,
    /// The line loses its carrier.
    Carrier,
    /// The line has a carrier, and something else.
    Line(Trouble),
}

const FAILURES: [(&str, Failure); 5] = [
    ("online: power", Failure::Power),
    ("online: carrier", Failure::Carrier),
    ("online: silent", Failure::Line(Trouble::Silent)),
    ("online: no DNS", Failure::Line(Trouble::NoDns)),
    ("online: portal", Failure::Line(Trouble::Portal)),
];

/// The village.
pub(crate) fn with_three_gateways() -> Result<Bed> {
    Bed::with(Kind::Meshd, &Topology::grid(3, 3), 0, |bed| {
        bed.lab.add_phone(CLIENT)?;
        for gateway in GATEWAYS {
            bed.lab.add_uplink(gateway)?;
            bed.gateways.insert(gateway.to_owned());
        }
        bed.lab.settle()
    })
}

/// Each failure so many times.
pub(crate) fn measure(bed: &mut Bed, recorder: &Recorder, rounds: usize) -> Result<()> {
    bed.ensure_running(BOUND)?;
    let mut series = vec![Vec::new(); FAILURES.len()];
    for _ in 0..rounds {
        for ((name, failure), samples) in FAILURES.iter().zip(&mut series) {
            let gateway = wait_ready(bed)?;
            let outage = outage(bed, &gateway, *failure)?;
            recorder.say(&format!("{name} of {gateway}: {outage:.2?}"));
            samples.push(outage);
            mend(bed, &gateway, *failure)?;
        }
    }
    for ((name, _), samples) in FAILURES.iter().zip(series) {
        recorder.add(Figure::times(name, bed, BOUND, samples))?;
    }
    Ok(())
}

/// Waits until all gateways are offered and the phone is online through one. Returns that one.
fn wait_ready(bed: &Bed) -> Result<String> {
    let router = bed.lab.node(CLIENT)?;
    wait_for("three gateways and a phone online", BOUND, || {
        let answer: Gateways = router.ctl("gateways")?;
        let count = answer.gateways.len();
        ensure!(count == GATEWAYS.len(), "{count} gateways");
        visit(router.phone()?)?;
        let via = router.status()?.internet.via;
        via.and_then(|via| via.name).context("no gateway")
    })
}

/// How long the phone is not online after this; nothing if that lasts too long.
fn outage(bed: &mut Bed, gateway: &str, failure: Failure) -> Result<Option<Duration>> {
    let visitor = Visitor::start(bed.lab.node(CLIENT)?.phone()?);
    thread::sleep(STEADY);
    let since = Instant::now();
    let line = bed.lab.node(gateway)?.line()?.clone();
    match failure {
        Failure::Power => bed.power_off(gateway)?,
        Failure::Carrier => bed.lab.internet()?.unplug(&line)?,
        Failure::Line(trouble) => bed.lab.internet_mut()?.trouble(&line, Some(trouble))?,
    }
    loop {
        thread::sleep(INTERVAL);
        match visitor.outage(since, Instant::now()) {
            Some(outage) => return Ok(Some(outage)),
            None if since.elapsed() > BOUND => return Ok(None),
            None => {}
        }
    }
}

/// Makes the gateway what it was. Its daemon begins anew, or it would trust the line less each time.
fn mend(bed: &mut Bed, gateway: &str, failure: Failure) -> Result<()> {
    let line = bed.lab.node(gateway)?.line()?.clone();
    let name = [gateway.to_owned()];
    match failure {
        Failure::Power => {
            bed.power_on(gateway)?;
            return default_routes(bed.lab.node(gateway)?);
        }
        Failure::Carrier => {
            bed.stop(&name)?;
            bed.lab.internet()?.plug_in(&line)?;
            default_routes(bed.lab.node(gateway)?)?;
        }
        Failure::Line(_) => {
            bed.stop(&name)?;
            bed.lab.internet_mut()?.trouble(&line, None)?;
        }
    }
    bed.launch(&name)
}

/// Those that went with the carrier, and that nobody announces here.
fn default_routes(gateway: &Node) -> Result<()> {
    let routers = gateway.line()?.routers().into_iter();
    let lines = routers.map(|it| format!("route replace default via {it} dev wan0\n"));
    gateway.namespace().ip_batch(&lines.collect::<String>())
}

/// What a phone does that is online: it asks a resolver and opens pages, over both families.
fn visit(phone: &Namespace) -> Result<()> {
    resolve(phone, PART)?;
    for host in [HOST_V4, HOST_V6] {
        let page = fetch(phone, web_at(host), "/", PART)?;
        ensure!(page.text().starts_with(GREETING), "{}", page.text());
    }
    Ok(())
}

/// A phone that tries again and again, with new connections each time, and does not wait for one
/// before it begins the next.
#[derive(Debug)]
struct Visitor {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stopped: AtomicBool,
    visits: Mutex<Vec<Visit>>,
}

#[derive(Clone, Copy, Debug)]
struct Visit {
    begun: Instant,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    UnderWay,
    Done(Instant),
    Failed,
}

impl Visitor {
    fn start(phone: &Namespace) -> Self {
        let shared = Arc::new(Shared::default());
        let (told, phone) = (Arc::clone(&shared), phone.clone());
        let thread = thread::spawn(move || {
            while !told.stopped.load(Ordering::Relaxed) {
                told.begin(&phone);
                thread::sleep(INTERVAL);
            }
        });
        Self {
            shared,
            thread: Some(thread),
        }
    }

    fn outage(&self, since: Instant, now: Instant) -> Option<Duration> {
        outage_in(&self.shared.visits(), since, now)
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn visits(&self) -> MutexGuard<'_, Vec<Visit>> {
        self.visits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(self: &Arc<Self>, phone: &Namespace) {
        let number = {
            let mut visits = self.visits();
            visits.push(Visit {
                begun: Instant::now(),
                outcome: Outcome::UnderWay,
            });
            visits.len() - 1
        };
        let (told, phone) = (Arc::clone(self), phone.clone());
        thread::spawn(move || {
            let outcome = match visit(&phone) {
                Ok(()) => Outcome::Done(Instant::now()),
                Err(_) => Outcome::Failed,
            };
            if let Some(visit) = told.visits().get_mut(number) {
                visit.outcome = outcome;
            }
        });
    }
}

/// From `since` to the end of the first visit after the last that failed, once all have gone well for
/// long enough.
fn outage_in(visits: &[Visit], since: Instant, now: Instant) -> Option<Duration> {
    let is_good = |visit: &&Visit| match visit.outcome {
        Outcome::Done(_) => true,
        Outcome::Failed => false,
        Outcome::UnderWay => now.saturating_duration_since(visit.begun) < VISIT,
    };
    let later = visits.iter().skip_while(|visit| visit.begun < since);
    let later: Vec<&Visit> = later.collect();
    let bad = later.iter().rposition(|visit| !is_good(visit));
    let good = later.get(bad.map_or(0, |bad| bad + 1)..)?;
    let first = good.iter().find_map(|visit| match visit.outcome {
        Outcome::Done(at) => Some((visit.begun, at)),
        Outcome::UnderWay | Outcome::Failed => None,
    });
    let (begun, at) = first?;
    let is_steady = now.saturating_duration_since(begun) >= STEADY + VISIT;
    let nothing = bad.is_none().then_some(Duration::ZERO);
    is_steady.then(|| nothing.unwrap_or_else(|| at.saturating_duration_since(since)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A visit every 100 ms: done at once, failed, or under way.
    fn outage_of(pattern: &str, after_ms: u64) -> Option<u128> {
        let start = Instant::now();
        let visits: Vec<Visit> = pattern
            .chars()
            .zip(0..)
            .map(|(kind, number)| {
                let begun = start + Duration::from_millis(100 * number);
                let outcome = match kind {
                    '!' => Outcome::Done(begun),
                    '.' => Outcome::Failed,
                    _ => Outcome::UnderWay,
                };
                Visit { begun, outcome }
            })
            .collect();
        let now = start + Duration::from_millis(after_ms);
        outage_in(&visits, start, now).map(|it| it.as_millis())
    }

    #[test]
    fn an_outage_ends_with_the_first_of_many_good_visits() {
        let steady = "!".repeat(50);
        assert_eq!(outage_of(&steady, 5_000), Some(0));
        assert_eq!(outage_of(&format!("!!..!.{steady}"), 5_600), Some(600));
        assert_eq!(outage_of(&format!("!!..!.{}", "!".repeat(9)), 1_500), None);
        assert_eq!(outage_of(&"!.".repeat(50), 10_000), None);
        // One that takes as long as this will not end well.
        assert_eq!(outage_of(&format!("!?{steady}"), 5_200), Some(200));
    }
}
