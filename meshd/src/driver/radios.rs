//! What is known of radios, and what it means for routing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mesh_proto::IfIndex;
use mesh_proto::router::StationReport;

use super::Driver;
use crate::config::MeshInterface;
use crate::kernel::radio::RadioReport;
use crate::kernel::{KernelRequest, SeenStation};

/// How often the drivers of radios are asked whom they hear: links that carry traffic are probed,
/// which is cheaper than asking often.
const STATION_INTERVAL: Duration = Duration::from_secs(2);

/// What is known of the radios under mesh interfaces.
#[derive(Debug, Default)]
pub(crate) struct Radios {
    pub(crate) report: RadioReport,
    /// Whom each interface heard when its driver was last asked.
    pub(crate) stations: BTreeMap<IfIndex, Vec<SeenStation>>,
    /// When the drivers are asked next; never while there are no radios.
    pub(super) due: Option<Instant>,
}

impl Driver {
    pub(super) fn handle_radios(&mut self, now: Instant, report: RadioReport) {
        let radios = &mut self.radios;
        let is_there = |ifindex| {
            let mut interfaces = report.interfaces.iter();
            interfaces.any(|state| state.interface.ifindex == ifindex)
        };
        radios.stations.retain(|&ifindex, _| is_there(ifindex));
        radios.due = (!report.interfaces.is_empty()).then_some(now);
        radios.report = report;
    }

    /// Asks the drivers of radios whom they hear, when it is time to and there are any.
    pub(super) fn ask_radios(&mut self, now: Instant) {
        if self.radios.due.is_none_or(|at| now < at) {
            return;
        }
        self.radios.due = Some(now + STATION_INTERVAL);
        self.kernel.request(KernelRequest::ReadStations);
    }

    /// Does so at once, as one of them may know why a neighbor does not answer.
    pub(super) fn ask_radios_soon(&mut self, now: Instant) {
        if let Some(due) = &mut self.radios.due {
            *due = now;
        }
    }

    fn uses_station_data(&self, ifindex: IfIndex) -> bool {
        let name = self.name_of(ifindex);
        let mut mesh = self.config.mesh().iter();
        mesh.find(|mesh| mesh.interface().as_str() == name)
            .is_some_and(MeshInterface::station_data)
    }

    pub(super) fn handle_stations(&mut self, now: Instant, seen: Vec<SeenStation>) {
        for SeenStation {
            ifindex,
            address,
            station,
        } in &seen
        {
            let bps = |kbps: Option<u64>| kbps.map(|kbps| kbps.saturating_mul(1000));
            let report = StationReport {
                expected_throughput_bps: bps(station.expected_throughput_kbps),
                tx_bitrate_bps: bps(station.tx_bitrate_kbps),
                tx_frames: station.tx_frames,
                tx_failed: station.tx_failed,
                inactive: station.inactive,
            };
            if let Some(address) = address.filter(|_| self.uses_station_data(*ifindex)) {
                self.router.handle_station(now, *ifindex, address, report);
            }
        }
        self.radios.stations.clear();
        for seen in seen {
            let of_interface = self.radios.stations.entry(seen.ifindex);
            of_interface.or_default().push(seen);
        }
    }
}
