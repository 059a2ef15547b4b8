//! What is known of radios, and what it means for routing.

use std::collections::BTreeMap;
use std::time::Instant;

use mesh_proto::IfIndex;
use mesh_proto::router::StationReport;

use super::Driver;
use crate::config::MeshInterface;
use crate::kernel::SeenStation;
use crate::kernel::radio::RadioReport;

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
            let throughput = station.expected_throughput_kbps;
            let report = StationReport {
                expected_throughput_bps: throughput.map(|kbps| kbps.saturating_mul(1000)),
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
