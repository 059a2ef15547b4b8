//! Interfaces and radios in the words of `control-api`.

use control_api::{Encryption, Interface, InterfaceRole, Interfaces, Radio, SCHEMA, Station};
use mesh_proto::{IfIndex, OriginatorId};

use super::View;
use super::answers::originator_id;
use crate::kernel::radio::{MacAddress, RadioState, channel_number};
use crate::kernel::{Link, SeenStation};

impl View<'_> {
    pub(super) fn interfaces(&self) -> Interfaces {
        let mesh = self.config.mesh().iter().map(|mesh| mesh.interface());
        let lan = self.config.lan().iter().map(|lan| lan.interface());
        let mesh = mesh.map(|name| self.mesh_interface(name.as_str()));
        let lan = lan.map(|name| self.described(name.as_str(), InterfaceRole::Lan, has_carrier));
        let uplinks = self.shared.into_iter();
        let uplinks = uplinks.flat_map(|shared| shared.uplink.interfaces());
        let uplinks = uplinks.map(|name| self.described(name, InterfaceRole::Uplink, |_| true));
        Interfaces {
            schema: SCHEMA,
            interfaces: mesh.chain(lan).chain(uplinks).collect(),
        }
    }

    fn mesh_interface(&self, name: &str) -> Interface {
        let is_used = |link: &Link| link.carrier && self.link_locals.contains_key(&link.ifindex);
        let mut interface = self.described(name, InterfaceRole::Mesh, is_used);
        if let Some(problem) = self.radios.report.problems.get(name) {
            interface.in_use = false;
            interface.problem = Some(problem.what.clone());
        }
        interface
    }

    /// An interface whose part is done when `is_used` says so.
    fn described(
        &self,
        name: &str,
        role: InterfaceRole,
        is_used: impl Fn(&Link) -> bool,
    ) -> Interface {
        let link = self.link_named(name);
        let in_use = link.is_some_and(is_used);
        let why_not = match link {
            None => "missing",
            Some(link) if !link.up => "switched off",
            Some(link) if !link.carrier => "no carrier",
            Some(_) => "not ready",
        };
        Interface {
            name: name.to_owned(),
            role,
            present: link.is_some(),
            up: link.is_some_and(|link| link.up),
            in_use,
            mtu: link.map(|link| link.mtu),
            mac: link.and_then(|link| link.mac).map(mac),
            speed_mbps: link.and_then(|link| link.speed_mbps),
            radio: self.radio(name).map(|state| self.described_radio(state)),
            problem: (!in_use).then(|| why_not.to_owned()),
        }
    }

    pub(super) fn link_named(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|link| link.name == name)
    }

    pub(super) fn radio(&self, name: &str) -> Option<&RadioState> {
        let mut states = self.radios.report.interfaces.iter();
        states.find(|state| state.interface.name == name)
    }

    fn described_radio(&self, state: &RadioState) -> Radio {
        let interface = &state.interface;
        let mut mesh = self.config.mesh().iter();
        let settings = mesh.find(|mesh| mesh.interface().as_str() == interface.name);
        let settings = settings.and_then(|mesh| mesh.radio());
        // The kernel does not tell the id of an 802.11s mesh.
        let id = settings.map(|settings| settings.id.clone());
        let frequency_mhz = interface.frequency_mhz;
        let mut stations: Vec<Station> = self
            .stations_at(interface.ifindex)
            .iter()
            .map(|seen| self.described_station(seen))
            .collect();
        stations.sort_by(|a, b| a.mac.cmp(&b.mac));
        Radio {
            phy: state.phy.clone(),
            driver: state.driver.clone(),
            mode: interface.kind.name().to_owned(),
            id: interface
                .ssid
                .clone()
                .or(id)
                .filter(|_| frequency_mhz.is_some()),
            frequency_mhz,
            channel: frequency_mhz.and_then(channel_number),
            width: interface.width.map(str::to_owned),
            tx_power_mbm: interface.tx_power_mbm,
            encryption: match state.encrypted {
                Some(true) => Encryption::Sae,
                Some(false) => Encryption::Open,
                None => Encryption::Unknown,
            },
            stations,
        }
    }

    pub(super) fn stations_at(&self, ifindex: IfIndex) -> &[SeenStation] {
        self.radios
            .stations
            .get(&ifindex)
            .map_or(&[], Vec::as_slice)
    }

    fn described_station(&self, seen: &SeenStation) -> Station {
        let station = &seen.station;
        Station {
            mac: mac(station.mac),
            name: self.station_name(seen),
            originator_id: self.station_node(seen).map(originator_id),
            plink: station.peer_link.map(|state| state.name().to_owned()),
            signal_dbm: station.signal_dbm,
            tx_bitrate_kbps: station.tx_bitrate_kbps,
            rx_bitrate_kbps: station.rx_bitrate_kbps,
            expected_throughput_kbps: station.expected_throughput_kbps,
            inactive_ms: station
                .inactive
                .map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            tx_failed: station.tx_failed,
            authorized: station.authorized,
        }
    }

    /// The name of the node that a station is.
    pub(super) fn station_name(&self, seen: &SeenStation) -> Option<String> {
        self.node_ref(self.station_node(seen)?).name
    }

    fn station_node(&self, seen: &SeenStation) -> Option<OriginatorId> {
        let link = self.neighbor_at(seen.ifindex, seen.address?)?;
        Some(link.neighbor)
    }
}

fn has_carrier(link: &Link) -> bool {
    link.carrier
}

fn mac(octets: [u8; 6]) -> String {
    MacAddress(octets).to_string()
}
