//! `interfaces`: what packets come and go by, down to the radio and whom it hears.

use serde::{Deserialize, Serialize};

use crate::OriginatorId;

/// Every interface that has a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interfaces {
    /// [`crate::SCHEMA`].
    pub schema: u32,
    /// First those of the mesh, then LANs, then the uplink, each in the order of the
    /// configuration. An uplink that meshd chooses itself is listed while there is one.
    pub interfaces: Vec<Interface>,
}

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub role: InterfaceRole,
    /// Whether the kernel has an interface of that name. When not, `up` and `in_use` are `false`,
    /// and what follows them is `null` but for `problem`.
    pub present: bool,
    /// Whether it is switched on, as by `ip link set up`.
    pub up: bool,
    /// Whether it does its part. Of the mesh: routing packets are sent and heard on it. LAN: the
    /// devices behind it are served. Uplink: it is the working way to the Internet.
    pub in_use: bool,
    /// The longest packet it takes, in bytes.
    pub mtu: Option<u32>,
    /// Its hardware address, `02:00:00:00:00:01`; `null` for a kind that has none.
    pub mac: Option<String>,
    /// The speed of the wire, in 10⁶ bits per second; `null` for a radio, without a carrier, or
    /// when the driver does not say.
    pub speed_mbps: Option<u32>,
    /// The radio; `null` for what is none.
    pub radio: Option<Radio>,
    /// Why it is not in use, in a few words; `null` when it is.
    pub problem: Option<String>,
}

/// What an interface is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InterfaceRole {
    /// Other nodes are heard on it.
    Mesh,
    /// People's devices are behind it.
    Lan,
    /// The Internet is behind it.
    Uplink,
}

/// What nl80211 says of a radio interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Radio {
    /// The device it belongs to, as `iw` names it: `phy0`. Interfaces of one device share its
    /// channel.
    pub phy: String,
    /// The kernel driver of the device; `null` when not known.
    pub driver: Option<String>,
    /// `802.11s`, `IBSS`, or another type as `iw` names it: `managed`, `AP`, `monitor`.
    pub mode: String,
    /// The mesh ID, or the SSID; `null` while it has joined nothing, or when that is another
    /// program's doing and the kernel does not tell. Untrusted text.
    pub id: Option<String>,
    /// The primary channel's middle, in MHz; `null` while it has no channel.
    pub frequency_mhz: Option<u32>,
    /// The primary channel's number in IEEE 802.11. Only with the frequency it says which band:
    /// 6 GHz counts from 1 again. `null` while it has no channel.
    pub channel: Option<u32>,
    /// The channel's width as `iw` names it: `20 MHz (no HT)`, `20 MHz`, `40 MHz`; `null` while it
    /// has no channel.
    pub width: Option<String>,
    /// The power it sends with, in hundredths of dBm; `null` when not known.
    pub tx_power_mbm: Option<i32>,
    /// What protects its frames.
    pub encryption: Encryption,
    /// The stations that the driver knows, ordered by address.
    pub stations: Vec<Station>,
}

/// What protects the frames of a radio interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encryption {
    /// Nothing: everybody in reach can read along and join.
    Open,
    /// SAE: a password.
    Sae,
    /// The kernel does not say.
    Unknown,
}

/// One station, as `iw station dump` shows it. Counters begin when the driver came to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Station {
    /// Its hardware address, `02:00:00:00:00:02`.
    pub mac: String,
    /// The name of the node that it belongs to; `null` when it is not known to be a node's, or the
    /// node record has not arrived. Untrusted text.
    pub name: Option<String>,
    /// The originator id of that node; `null` when it is not known to be one.
    #[serde(default)]
    pub originator_id: Option<OriginatorId>,
    /// The state of the 802.11s peer link as `iw` names it: `LISTEN`, `OPN_SNT`, `OPN_RCVD`,
    /// `CNF_RCVD`, `ESTAB`, `HOLDING`, `BLOCKED`. `null` in other modes.
    pub plink: Option<String>,
    /// How strong its frames arrive, on average, in dBm; `null` when the driver does not say, as
    /// the numbers that follow.
    pub signal_dbm: Option<i32>,
    /// The rate of the last data frame to it, in 10³ bits per second.
    pub tx_bitrate_kbps: Option<u64>,
    /// The rate of the last data frame from it, in 10³ bits per second.
    pub rx_bitrate_kbps: Option<u64>,
    /// What the driver expects to get through to it, in 10³ bits per second.
    pub expected_throughput_kbps: Option<u64>,
    /// Milliseconds since anything was heard from it.
    pub inactive_ms: Option<u64>,
    /// Packets to it that were given up after the last retry.
    pub tx_failed: Option<u64>,
    /// Whether data may be exchanged with it: always in an open network, after the handshake in an
    /// encrypted one.
    pub authorized: bool,
}

impl Station {
    /// Whether data flows between it and this node: it is authorized and, with 802.11s, the peer
    /// link stands.
    #[must_use]
    pub fn is_peer(&self) -> bool {
        self.authorized && self.plink.as_deref().is_none_or(|state| state == "ESTAB")
    }
}
