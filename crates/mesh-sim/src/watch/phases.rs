//! How the mesh recovers from each step of a scenario.

use std::time::Duration;

use super::{Histogram, Outage};

/// Of many steps in one moment, so many letters are named.
const LABEL_LETTERS: usize = 60;

/// The time from one step of the scenario to the next; the start is the first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Phase {
    /// What began it.
    pub label: String,
    /// What kind of step that was.
    pub kind: &'static str,
    /// When it began, after the start of the run.
    pub at: Duration,
    /// How long it took until all pairs were routed.
    pub routed_after: Option<Duration>,
    /// How long it took until all nodes had a way to the Internet; `None` if that never was, or
    /// if there is no gateway.
    pub online_after: Option<Duration>,
    /// How often a pair lost its path again after that.
    pub relapses: u32,
    /// For how long pairs were without a path, summed over pairs, seconds.
    pub unrouted_pair_seconds: f64,
    /// Changes to kernels' routes.
    pub route_changes: u64,
    /// Outages of pairs that began in this phase.
    pub pairs: Histogram,
    /// Those of pairs between which traffic flows.
    pub flows: Histogram,
    /// Outages of nodes' ways to the Internet that began in this phase.
    pub uplinks: Histogram,
    /// What a check in this phase found.
    pub arrival: Option<Arrival>,
}

/// What of all pairs gets through at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arrival {
    /// How long after the step.
    pub after: Duration,
    /// The share of possible pairs that are routed, 0 to 1.
    pub routed: f64,
    /// The share of packets that arrive, were one sent for each possible pair, 0 to 1.
    pub delivered: f64,
}

/// All phases of a run so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Phases {
    phases: Vec<Phase>,
    looked_at: Duration,
    unrouted: usize,
}

impl Phases {
    /// A step is taken. Steps of one moment are one phase.
    pub(crate) fn begin(&mut self, at: Duration, kind: &'static str, label: &str) {
        match self.phases.last_mut().filter(|phase| phase.at == at) {
            Some(phase) => {
                if phase.label.len() < LABEL_LETTERS {
                    phase.label.push_str(", ");
                    phase.label.push_str(label);
                }
                phase.routed_after = None;
                phase.online_after = None;
            }
            None => self.phases.push(Phase {
                label: label.to_owned(),
                kind,
                at,
                ..Phase::default()
            }),
        }
    }

    pub(crate) fn count_route_change(&mut self) {
        if let Some(phase) = self.phases.last_mut() {
            phase.route_changes += 1;
        }
    }

    /// At `at`, `unrouted` pairs have no path.
    pub(crate) fn look(&mut self, at: Duration, unrouted: usize) {
        self.add_up(at);
        let before = std::mem::replace(&mut self.unrouted, unrouted);
        let Some(phase) = self.phases.last_mut() else {
            return;
        };
        if unrouted == 0 && phase.routed_after.is_none() {
            phase.routed_after = Some(at.saturating_sub(phase.at));
        } else if before == 0 && unrouted > 0 && phase.routed_after.is_some() {
            phase.relapses += 1;
        }
    }

    /// At `at`, every node that can have a way to the Internet has one.
    pub(crate) fn note_all_online(&mut self, at: Duration) {
        if let Some(phase) = self.phases.last_mut() {
            phase
                .online_after
                .get_or_insert(at.saturating_sub(phase.at));
        }
    }

    /// Adds up the time since the last look.
    pub(crate) fn add_up(&mut self, at: Duration) {
        let passed = at.saturating_sub(self.looked_at);
        self.looked_at = self.looked_at.max(at);
        if let Some(phase) = self.phases.last_mut() {
            #[expect(clippy::cast_precision_loss, reason = "pairs are far below 2⁵²")]
            let pairs = self.unrouted as f64;
            phase.unrouted_pair_seconds += pairs * passed.as_secs_f64();
        }
    }

    /// The phase in which something happened.
    pub(crate) fn at(&mut self, at: Duration) -> Option<&mut Phase> {
        at_time(&mut self.phases, at)
    }

    /// All phases, with outages that last still counted by what they have lasted so far.
    pub(crate) fn with_open(
        &self,
        pairs: impl Iterator<Item = Outage>,
        uplinks: impl Iterator<Item = Outage>,
        flows: impl Fn(&Outage) -> bool,
    ) -> Vec<Phase> {
        let mut phases = self.phases.clone();
        for outage in pairs.chain(uplinks) {
            if let Some(phase) = at_time(&mut phases, outage.since) {
                let lasted = outage.until.saturating_sub(outage.since);
                let all = match outage.to {
                    Some(_) => &mut phase.pairs,
                    None => &mut phase.uplinks,
                };
                all.add_open(lasted);
                if flows(&outage) {
                    phase.flows.add_open(lasted);
                }
            }
        }
        phases
    }
}

impl Phase {
    /// Counts an outage that began in this phase and is over.
    pub(crate) fn count(&mut self, outage: &Outage, flows: bool) {
        let lasted = outage.until.saturating_sub(outage.since);
        match outage.to {
            Some(_) => self.pairs.add(lasted),
            None => self.uplinks.add(lasted),
        }
        if flows {
            self.flows.add(lasted);
        }
    }
}

fn at_time(phases: &mut [Phase], at: Duration) -> Option<&mut Phase> {
    let later = phases.partition_point(|phase| phase.at <= at);
    phases.get_mut(later.checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeIndex;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn phases_measure_from_their_own_start() {
        let mut phases = Phases::default();
        phases.begin(at(0), "start", "start");
        phases.look(at(0), 6);
        phases.look(at(2), 0);
        phases.look(at(5), 2);
        phases.look(at(6), 0);
        phases.add_up(at(10));
        phases.begin(at(10), "cut", "cut 1-2");
        phases.look(at(10), 4);
        phases.look(at(11), 0);
        let [start, cut] = &phases.phases[..] else {
            panic!("two phases");
        };
        assert_eq!(start.routed_after, Some(at(2)));
        assert_eq!((start.relapses, start.unrouted_pair_seconds), (1, 14.0));
        assert_eq!(cut.routed_after, Some(at(1)));
        assert_eq!((cut.relapses, cut.unrouted_pair_seconds), (0, 4.0));
    }

    #[test]
    fn outages_count_where_they_began() {
        let mut phases = Phases::default();
        phases.begin(at(0), "start", "start");
        phases.begin(at(10), "cut", "cut 1-2");
        let outage = |to, since, until| Outage {
            from: NodeIndex(0),
            to,
            since: at(since),
            until: at(until),
        };
        let ended = outage(Some(NodeIndex(1)), 9, 12);
        phases.at(ended.since).unwrap().count(&ended, true);
        let open = [outage(Some(NodeIndex(2)), 10, 14)];
        let uplinks = [outage(None, 11, 14)];
        let all = phases.with_open(open.into_iter(), uplinks.into_iter(), |o| o.to.is_none());
        let longest = |h: &Histogram| (h.percentile_ms(100), h.open());
        assert_eq!(longest(&all[0].pairs), (Some(3000), 0));
        assert_eq!(longest(&all[0].flows), (Some(3000), 0));
        assert_eq!(longest(&all[1].pairs), (Some(4000), 1));
        assert_eq!(longest(&all[1].uplinks), (Some(3000), 1));
        assert_eq!(longest(&all[1].flows), (Some(3000), 1));
    }
}
