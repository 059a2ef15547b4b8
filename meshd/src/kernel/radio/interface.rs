//! Wireless interfaces: what they are at the moment.

use mesh_proto::IfIndex;

use super::nl80211::attribute;
use crate::kernel::raw::Attributes;

/// A wireless interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WirelessInterface {
    /// Its index.
    pub ifindex: IfIndex,
    /// Its name.
    pub name: String,
    /// The number of its radio.
    pub(super) wiphy: u32,
    /// What it is.
    pub kind: InterfaceKind,
    /// The name of the network it is part of, where the kernel tells.
    pub ssid: Option<String>,
    /// Its (primary) frequency in MHz, while it has one.
    pub frequency_mhz: Option<u32>,
    /// How wide its channel is.
    pub width: Option<&'static str>,
    /// How strong it sends, in 1/100 dBm.
    pub tx_power_mbm: Option<i32>,
}

/// `enum nl80211_iftype`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceKind(pub(super) u32);

impl InterfaceKind {
    /// An 802.11s mesh.
    pub const MESH: Self = Self(7);
    /// An ad hoc network.
    pub const IBSS: Self = Self(1);

    /// What `iw` and people call it.
    pub const fn name(self) -> &'static str {
        match self.0 {
            1 => "IBSS",
            2 => "managed",
            3 => "AP",
            4 => "AP/VLAN",
            6 => "monitor",
            7 => "802.11s",
            8 => "P2P-client",
            9 => "P2P-GO",
            11 => "OCB",
            _ => "unknown",
        }
    }
}

impl WirelessInterface {
    pub(super) fn of(attributes: Attributes<'_>) -> Option<Self> {
        Some(Self {
            ifindex: IfIndex(attributes.u32(attribute::IFINDEX)?),
            name: attributes.string(attribute::IFNAME)?.to_owned(),
            wiphy: attributes.u32(attribute::WIPHY)?,
            kind: InterfaceKind(attributes.u32(attribute::IFTYPE)?),
            ssid: attributes
                .bytes(attribute::SSID)
                .map(|ssid| String::from_utf8_lossy(ssid).into_owned()),
            frequency_mhz: attributes.u32(attribute::WIPHY_FREQ),
            width: attributes
                .u32(attribute::CHANNEL_WIDTH)
                .and_then(width_name),
            tx_power_mbm: attributes
                .bytes(attribute::WIPHY_TX_POWER_LEVEL)
                .and_then(|bytes| bytes.try_into().ok())
                .map(i32::from_ne_bytes),
        })
    }
}

/// `enum nl80211_chan_width`, in the words of `iw`.
pub(super) const fn width_name(number: u32) -> Option<&'static str> {
    Some(match number {
        0 => "20 MHz (no HT)",
        1 => "20 MHz",
        2 => "40 MHz",
        3 => "80 MHz",
        4 => "80+80 MHz",
        5 => "160 MHz",
        6 => "5 MHz",
        7 => "10 MHz",
        13 => "320 MHz",
        _ => return None,
    })
}
