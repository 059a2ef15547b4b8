//! Figures for Prometheus.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use redeem_api::ClaimAnswer;

use crate::chain::{Condition, NodeStanding};

/// Upper bounds of the durations of requests, in seconds.
const SECONDS: [f64; 10] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 60.0];

/// What is counted.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    requests: Family<Request, Counter>,
    seconds: Family<Route, Histogram>,
    receipts: Family<Receipts, Counter>,
    chain_up: Gauge,
    chain_block: Gauge,
    chain_block_timestamp: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Receipts {
    kind: &'static str,
}

fn histogram() -> Histogram {
    Histogram::new(SECONDS)
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("redeemd");
        let requests = Family::default();
        let seconds = Family::new_with_constructor(histogram as fn() -> Histogram);
        let receipts = Family::default();
        let help = "Requests answered, by route and status";
        registry.register("requests", help, requests.clone());
        let help = "How long requests took, in seconds";
        registry.register("request_seconds", help, Family::clone(&seconds));
        let help = "Receipts brought: new ones, and ones that add nothing";
        registry.register("receipts", help, receipts.clone());
        let (chain_up, chain_block, chain_block_timestamp) =
            (Gauge::default(), Gauge::default(), Gauge::default());
        let help = "Whether the chain's node follows the chain, as of when it was last asked";
        registry.register("chain_up", help, chain_up.clone());
        let help = "The number of the newest block it has shown, 0 if none";
        registry.register("chain_block", help, chain_block.clone());
        let help = "When that block was made, in seconds since 1970";
        registry.register(
            "chain_block_timestamp_seconds",
            help,
            chain_block_timestamp.clone(),
        );
        Self {
            registry: Arc::new(registry),
            requests,
            seconds,
            receipts,
            chain_up,
            chain_block,
            chain_block_timestamp,
        }
    }

    /// A request was answered.
    pub fn request(&self, route: String, status: u16, took: Duration) {
        let known = self.seconds.get_or_create(&Route {
            route: route.clone(),
        });
        known.observe(took.as_secs_f64());
        drop(known);
        self.requests
            .get_or_create(&Request { route, status })
            .inc();
    }

    /// A claim was taken.
    pub fn claim(&self, answer: &ClaimAnswer) {
        for (kind, count) in [("new", answer.new), ("known", answer.known)] {
            self.receipts
                .get_or_create(&Receipts { kind })
                .inc_by(count);
        }
    }

    /// This is what the chain's node is like.
    pub fn chain(&self, condition: Condition) {
        let follows = condition.standing == NodeStanding::Follows;
        self.chain_up.set(i64::from(follows));
        if let Some(newest) = condition.newest {
            let gauges = [
                (&self.chain_block, newest.number),
                (&self.chain_block_timestamp, newest.timestamp),
            ];
            for (gauge, value) in gauges {
                gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            }
        }
    }

    /// All of it, as text (OpenMetrics 1.0).
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing into a string does not fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}
