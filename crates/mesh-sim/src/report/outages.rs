//! How long outages lasted.

use serde::Serialize;

use crate::watch::{Histogram, Phase};

/// How long outages lasted: of `count` outages, `p50_ms` is what half of them did not exceed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Outages {
    /// Outages.
    pub count: u64,
    /// Those that were not over when the run was; they count with what they had lasted.
    pub open: u64,
    /// What half of them did not exceed, ms.
    pub p50_ms: Option<u32>,
    /// What 90 % of them did not exceed, ms.
    pub p90_ms: Option<u32>,
    /// What 99 % of them did not exceed, ms.
    pub p99_ms: Option<u32>,
    /// The longest, ms.
    pub max_ms: Option<u32>,
    #[serde(skip)]
    histogram: Histogram,
}

/// The outages after all steps of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Kind {
    /// The kind of step.
    pub kind: String,
    /// Steps of that kind.
    pub steps: u64,
    /// Those after which all pairs were routed, before the next step.
    pub recovered: u64,
    /// The longest time from a step until all pairs were routed, s.
    pub longest_routed_after_s: Option<f64>,
    /// The longest time from a step until all nodes had a way to the Internet, s.
    pub longest_online_after_s: Option<f64>,
    /// Outages of pairs.
    pub pairs: Outages,
    /// Those of pairs between which traffic flows.
    pub flows: Outages,
    /// Outages of nodes' ways to the Internet.
    pub uplinks: Outages,
}

impl Outages {
    pub(super) fn new(histogram: &Histogram) -> Self {
        Self {
            count: histogram.count(),
            open: histogram.open(),
            p50_ms: histogram.percentile_ms(50),
            p90_ms: histogram.percentile_ms(90),
            p99_ms: histogram.percentile_ms(99),
            max_ms: histogram.percentile_ms(100),
            histogram: histogram.clone(),
        }
    }

    fn merge(&mut self, other: &Histogram) {
        self.histogram.merge(other);
        *self = Self::new(&self.histogram);
    }
}

impl Kind {
    /// The start and every kind of step, in the order in which they first came.
    pub(super) fn all(phases: &[Phase]) -> Vec<Self> {
        let mut kinds: Vec<Self> = Vec::new();
        for phase in phases {
            let kind = Self::entry(&mut kinds, phase.kind);
            kind.steps += 1;
            kind.recovered += u64::from(phase.routed_after.is_some());
            let routed = phase.routed_after.map(|d| d.as_secs_f64());
            let online = phase.online_after.map(|d| d.as_secs_f64());
            kind.longest_routed_after_s = longer(kind.longest_routed_after_s, routed);
            kind.longest_online_after_s = longer(kind.longest_online_after_s, online);
            kind.pairs.merge(&phase.pairs);
            kind.flows.merge(&phase.flows);
            kind.uplinks.merge(&phase.uplinks);
        }
        kinds
    }

    /// Adds the same kinds of another run to these.
    pub(super) fn merge_all(kinds: &mut Vec<Self>, others: &[Self]) {
        for other in others {
            let kind = Self::entry(kinds, &other.kind);
            kind.steps += other.steps;
            kind.recovered += other.recovered;
            kind.longest_routed_after_s =
                longer(kind.longest_routed_after_s, other.longest_routed_after_s);
            kind.longest_online_after_s =
                longer(kind.longest_online_after_s, other.longest_online_after_s);
            kind.pairs.merge(&other.pairs.histogram);
            kind.flows.merge(&other.flows.histogram);
            kind.uplinks.merge(&other.uplinks.histogram);
        }
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "the place was found, or is that of what was pushed"
    )]
    fn entry<'a>(kinds: &'a mut Vec<Self>, name: &str) -> &'a mut Self {
        let place = kinds.iter().position(|kind| kind.kind == name);
        let place = place.unwrap_or_else(|| {
            kinds.push(Self {
                kind: name.to_owned(),
                steps: 0,
                recovered: 0,
                longest_routed_after_s: None,
                longest_online_after_s: None,
                pairs: Outages::default(),
                flows: Outages::default(),
                uplinks: Outages::default(),
            });
            kinds.len() - 1
        });
        &mut kinds[place]
    }
}

fn longer(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (one, other) => one.or(other),
    }
}
