//! Whether a village runs from one gateway to the other: what gateways say of their load is minutes old when
//! others have followed it.

use std::time::{Duration, Instant};

use mesh_proto::gateway_policy::{Class, Standing, uplink_cost};
use mesh_proto::gateway_selection::{Candidate, Selection, select};
use mesh_proto::{GatewayOffer, Metric, OriginatorId};

use super::meter::{Bps, Counters, INTERVAL, Meter, Reading};

const NODES: u8 = 20;
const LINE: Bps = Bps {
    down: 20_000_000,
    up: 4_000_000,
};
/// What a flow wants for as long as it lasts.
const FLOW_BPS: u64 = 1_000_000;
/// All gateways are as near as this to all nodes: nothing but their load tells them apart.
const PATH: Metric = Metric::from_us(1400);
const SECOND: Duration = Duration::from_secs(1);

/// SplitMix64.
struct Random(u64);

impl Random {
    /// Is true once in so many times.
    fn once_in(&mut self, times: u64) -> bool {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).is_multiple_of(times)
    }
}

struct Gateway {
    id: OriginatorId,
    meter: Meter,
    counters: Counters,
    told: Reading,
}

impl Gateway {
    fn candidate(&self) -> Candidate {
        let Bps { down, up } = self.told.offer(Some(LINE));
        let offer = GatewayOffer {
            down_bps: down,
            up_bps: up,
            ipv4: true,
            ipv6: true,
            dns: Vec::new(),
        };
        let standing = Standing {
            class: Class::Ordinary,
            cost: PATH.plus(uplink_cost(&offer)),
        };
        Candidate {
            id: self.id,
            ipv4: true,
            ipv6: true,
            standing: Ok(standing),
        }
    }
}

/// What became of a village.
#[derive(Debug)]
struct Outcome {
    /// How much of what flows wanted they did not get, in percent.
    lacking: u64,
    /// How often a node changed its gateway in an hour.
    switches: u64,
}

/// Two hours of a village whose flows last for about `lasting` seconds and want `demand` together.
fn village(seed: u64, lasting: u64, demand: u64) -> Outcome {
    const BEGIN: u64 = 900;
    const END: u64 = BEGIN + 2 * 3600;
    let mut random = Random(seed);
    let mut now = Instant::now();
    let id = |byte| OriginatorId::from_bytes([byte; OriginatorId::LEN]);
    let mut gateways = [1, 2].map(|byte| Gateway {
        id: id(byte),
        meter: Meter::new(now, Counters::default()),
        counters: Counters::default(),
        told: Reading::default(),
    });
    let mut selected = vec![Selection::default(); NODES.into()];
    let mut flows: Vec<OriginatorId> = Vec::new();
    let (mut wanted, mut lacking, mut switches) = (0, 0, 0);
    for second in 0..END {
        now += SECOND;
        let is_judged = second >= BEGIN;
        let candidates: Vec<Candidate> = gateways.iter().map(Gateway::candidate).collect();
        for (node, selection) in (100..).zip(&mut selected) {
            let before = std::mem::replace(selection, select(id(node), &candidates, *selection));
            switches += u64::from(is_judged && *selection != before);
            // So many flows at a time that they want the demand.
            if random.once_in(u64::from(NODES) * lasting * FLOW_BPS / demand) {
                flows.extend(selection.main());
            }
        }
        flows.retain(|_| !random.once_in(lasting));
        for (gateway, offset) in gateways.iter_mut().zip([0, 3]) {
            let of_it = flows.iter().filter(|to| **to == gateway.id).count() as u64;
            let rate = (of_it * FLOW_BPS).min(LINE.down);
            gateway.counters.received += rate / 8;
            gateway.counters.sent += rate / 8 / 40;
            if is_judged {
                wanted += of_it * FLOW_BPS;
                lacking += of_it * FLOW_BPS - rate;
            }
            if second % INTERVAL.as_secs() == offset {
                let told = gateway.meter.read(now, gateway.counters, false);
                gateway.told = told.unwrap_or(gateway.told);
            }
        }
    }
    Outcome {
        lacking: lacking * 100 / wanted,
        switches: switches * 3600 / (END - BEGIN) / u64::from(NODES),
    }
}

#[test]
fn a_village_spreads_over_busy_gateways() {
    for seed in 1..=3 {
        for lasting in [5, 20, 60] {
            // Four fifths of what one line carries, and more than one carries.
            for demand in [16, 24] {
                let outcome = village(seed, lasting, demand * FLOW_BPS);
                println!("seed {seed}, {lasting} s, {demand} flows: {outcome:?}");
                assert!(outcome.lacking <= 2, "{outcome:?}");
                assert!(outcome.switches <= 8, "{outcome:?}");
            }
        }
    }
}
