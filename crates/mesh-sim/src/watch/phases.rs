//! How the mesh recovers from each step of a scenario.

use std::time::Duration;

/// The time from one step of the scenario to the next; the start is the first.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    /// What began it.
    pub label: String,
    /// When it began, after the start of the run.
    pub at: Duration,
    /// How long it took until all pairs were routed.
    pub routed_after: Option<Duration>,
    /// How often a pair lost its path again after that.
    pub relapses: u32,
    /// For how long pairs were without a path, summed over pairs, seconds.
    pub unrouted_pair_seconds: f64,
    /// Changes to kernels' routes.
    pub route_changes: u64,
}

/// All phases of a run so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Phases {
    phases: Vec<Phase>,
    looked_at: Duration,
    unrouted: usize,
}

impl Phases {
    /// A step was taken; `unrouted` is what it left. Steps of one moment are one phase.
    pub(crate) fn begin(&mut self, at: Duration, label: String) {
        match self.phases.last_mut().filter(|phase| phase.at == at) {
            Some(phase) => {
                phase.label.push_str(", ");
                phase.label.push_str(&label);
                phase.routed_after = None;
            }
            None => self.phases.push(Phase {
                label,
                at,
                routed_after: None,
                relapses: 0,
                unrouted_pair_seconds: 0.0,
                route_changes: 0,
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

    pub(crate) fn all(&self) -> &[Phase] {
        &self.phases
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_measure_from_their_own_start() {
        let at = Duration::from_secs;
        let mut phases = Phases::default();
        phases.begin(at(0), "start".to_owned());
        phases.look(at(0), 6);
        phases.look(at(2), 0);
        phases.look(at(5), 2);
        phases.look(at(6), 0);
        phases.add_up(at(10));
        phases.begin(at(10), "cut".to_owned());
        phases.look(at(10), 4);
        phases.look(at(11), 0);
        let [start, cut] = phases.all() else {
            panic!("two phases");
        };
        assert_eq!(start.routed_after, Some(at(2)));
        assert_eq!((start.relapses, start.unrouted_pair_seconds), (1, 14.0));
        assert_eq!(cut.routed_after, Some(at(1)));
        assert_eq!((cut.relapses, cut.unrouted_pair_seconds), (0, 4.0));
    }
}
