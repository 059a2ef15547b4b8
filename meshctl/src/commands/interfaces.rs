//! `meshctl interfaces`: first the interfaces, then the stations that their radios know.

use control_api::{Encryption, Interface, InterfaceRole, Interfaces, Radio, Station};

use super::Daemon;
use crate::failure::Failure;
use crate::format;
use crate::output::{Column, Output, left, right, table};
use crate::tsv::Layout;

/// The longest problem in a table.
const PROBLEM_CHARS: usize = 40;

const COLUMNS: [Column; 11] = [
    left("NAME"),
    left("ROLE"),
    left("STATE"),
    left("TYPE"),
    left("SSID"),
    left("CHANNEL"),
    left("WIDTH"),
    right("TXPOWER"),
    left("ENCRYPTION"),
    right("PEERS"),
    right("SIGNAL"),
];

const STATION_COLUMNS: [Column; 10] = [
    left("INTERFACE"),
    left("NEIGHBOR"),
    left("MAC"),
    right("SIGNAL"),
    right("TX RATE"),
    right("RX RATE"),
    right("EXPECTED"),
    right("INACTIVE"),
    right("FAILED"),
    left("PLINK"),
];

const LAYOUT: Layout = Layout {
    list: "interfaces",
    columns: &[
        "name",
        "role",
        "present",
        "up",
        "in_use",
        "mtu",
        "mac",
        "speed_mbps",
        "problem",
        "radio.phy",
        "radio.driver",
        "radio.mode",
        "radio.id",
        "radio.frequency_mhz",
        "radio.channel",
        "radio.width",
        "radio.tx_power_mbm",
        "radio.encryption",
        "radio.stations",
    ],
};

pub(super) fn run(daemon: &Daemon, output: Output) -> Result<(), Failure> {
    output.show_list(&daemon.connect()?.interfaces()?, LAYOUT, text)
}

pub(super) fn text(result: &Interfaces) -> String {
    let interfaces = &result.interfaces;
    let mut text = table(
        COLUMNS,
        interfaces.iter().map(row),
        "No interface has a role.",
    );
    let stations: Vec<_> = interfaces.iter().flat_map(station_rows).collect();
    if !stations.is_empty() {
        text.push('\n');
        text.push_str(&table(STATION_COLUMNS, stations, ""));
    }
    text
}

fn row(interface: &Interface) -> [String; COLUMNS.len()] {
    let radio = interface.radio.as_ref();
    [
        format::name(Some(&interface.name)),
        role(interface.role).to_owned(),
        state(interface),
        kind(interface),
        format::name(radio.and_then(|radio| radio.id.as_deref())),
        format::or_dash(radio, channel),
        format::name(radio.and_then(|radio| radio.width.as_deref())),
        format::or_dash(radio.and_then(|radio| radio.tx_power_mbm), format::tx_power),
        format::or_dash(radio, |radio| encryption(radio.encryption).to_owned()),
        format::or_dash(radio, |radio| peers(radio).count().to_string()),
        format::or_dash(radio.and_then(best_signal_dbm), format::signal),
    ]
}

const fn role(role: InterfaceRole) -> &'static str {
    match role {
        InterfaceRole::Mesh => "mesh",
        InterfaceRole::Lan => "lan",
        InterfaceRole::Uplink => "uplink",
    }
}

fn state(interface: &Interface) -> String {
    if interface.in_use {
        return "in use".to_owned();
    }
    if !interface.present {
        return "missing".to_owned();
    }
    if !interface.up {
        return "down".to_owned();
    }
    interface.problem.as_ref().map_or_else(
        || "not used".to_owned(),
        |problem| format::cut(problem, PROBLEM_CHARS),
    )
}

/// The mode of a radio, or the speed of a wire.
fn kind(interface: &Interface) -> String {
    if let Some(radio) = &interface.radio {
        return format::name(Some(&radio.mode));
    }
    format::or_dash(interface.speed_mbps, |mbps| {
        format!("wire {}", format::bit_rate(u64::from(mbps) * 1_000_000))
    })
}

fn channel(radio: &Radio) -> String {
    match (radio.channel, radio.frequency_mhz) {
        (Some(number), Some(mhz)) => format!("{number} ({mhz} MHz)"),
        (Some(number), None) => number.to_string(),
        (None, Some(mhz)) => format!("{mhz} MHz"),
        (None, None) => format::UNKNOWN.to_owned(),
    }
}

const fn encryption(encryption: Encryption) -> &'static str {
    match encryption {
        Encryption::Open => "open",
        Encryption::Sae => "SAE",
        Encryption::Unknown => format::UNKNOWN,
    }
}

fn peers(radio: &Radio) -> impl Iterator<Item = &Station> {
    radio.stations.iter().filter(|station| station.is_peer())
}

fn best_signal_dbm(radio: &Radio) -> Option<i32> {
    peers(radio).filter_map(|station| station.signal_dbm).max()
}

fn station_rows(interface: &Interface) -> Vec<[String; STATION_COLUMNS.len()]> {
    let stations = interface.radio.iter().flat_map(|radio| &radio.stations);
    stations
        .map(|station| station_row(&interface.name, station))
        .collect()
}

fn station_row(interface: &str, station: &Station) -> [String; STATION_COLUMNS.len()] {
    [
        format::name(Some(interface)),
        format::name(station.name.as_deref()),
        format::name(Some(&station.mac)),
        format::or_dash(station.signal_dbm, format::signal),
        rate(station.tx_bitrate_kbps),
        rate(station.rx_bitrate_kbps),
        rate(station.expected_throughput_kbps),
        format::or_dash(station.inactive_ms, format::milliseconds),
        format::or_dash(station.tx_failed, |packets| packets.to_string()),
        peer_link(station),
    ]
}

fn rate(kbps: Option<u64>) -> String {
    format::or_dash(kbps, |kbps| format::bit_rate(kbps.saturating_mul(1000)))
}

/// The state of the link. In an encrypted mesh it stays at `LISTEN, unauthorized` with a station
/// that has another password.
fn peer_link(station: &Station) -> String {
    let state = format::name(station.plink.as_deref());
    match (station.authorized, &station.plink) {
        (true, _) => state,
        (false, None) => "unauthorized".to_owned(),
        (false, Some(_)) => format!("{state}, unauthorized"),
    }
}
