//! What a radio of ours is to be, as data.

use std::fmt;

use zeroize::Zeroizing;

use super::channel::Channel;

/// How nodes find each other by radio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RadioMode {
    /// An 802.11s mesh, without its own routing.
    Mesh,
    /// An ad hoc network (IBSS): for radios that cannot do 802.11s.
    Ibss,
}

impl RadioMode {
    /// Both, by the names they have in configurations.
    pub const NAMES: [(&'static str, Self); 2] = [("802.11s", Self::Mesh), ("ibss", Self::Ibss)];

    /// `enum nl80211_iftype`.
    pub(super) const fn iftype(self) -> u32 {
        match self {
            Self::Ibss => 1,
            Self::Mesh => 7,
        }
    }
}

impl fmt::Display for RadioMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(_, mode)| mode == self);
        f.write_str(name.map_or("?", |(name, _)| name))
    }
}

/// Which radio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PhyChoice {
    /// The first that can do it.
    Any,
    /// By its name. Numbers in the names that the kernel gives change when a radio is unplugged
    /// and comes back.
    Named(String),
    /// By its own Ethernet address.
    Address([u8; 6]),
}

impl fmt::Display for PhyChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("radio"),
            Self::Named(name) => write!(f, "radio {name}"),
            Self::Address(mac) => write!(f, "radio {}", MacAddress(*mac)),
        }
    }
}

/// An Ethernet address as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// Reads six pairs of hex digits with colons between them.
    pub fn parse(text: &str) -> Option<Self> {
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let digits = parts.next()?;
            let is_pair = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit());
            *octet = u8::from_str_radix(digits, 16).ok().filter(|_| is_pair)?;
        }
        parts.next().is_none().then_some(Self(octets))
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The password of a mesh (SAE, IEEE 802.11-2020 §12.4), which it never shows.
#[derive(Clone, PartialEq, Eq)]
pub struct SaeKey(Zeroizing<String>);

impl SaeKey {
    /// A password.
    pub fn new(password: &str) -> Self {
        Self(Zeroizing::new(password.to_owned()))
    }

    /// The password, for the program that needs it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SaeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SaeKey(…)")
    }
}

/// A radio interface that is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RadioSettings {
    /// Which radio.
    pub phy: PhyChoice,
    /// How nodes find each other.
    pub mode: RadioMode,
    /// The name of the mesh (mesh id) or of the cell (SSID): 1 to 32 bytes.
    pub id: String,
    /// Where.
    pub channel: Channel,
    /// The password, if the mesh is encrypted. 802.11s only.
    pub key: Option<SaeKey>,
    /// At what rate broadcasts are sent, in units of 100 kbit/s; the driver's lowest without it.
    pub mcast_rate_100kbps: Option<u32>,
    /// From how weak a neighbor no peer link is opened, in dBm. 802.11s only.
    pub rssi_threshold_dbm: Option<i8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        let key = SaeKey::new("correct horse");
        assert!(!format!("{key:?}").contains("horse"));
        assert_eq!(key.reveal(), "correct horse");
    }

    #[test]
    fn ethernet_addresses_are_read_as_they_are_written() {
        let mac = MacAddress::parse("02:0a:fF:00:01:7e").unwrap();
        assert_eq!(mac.to_string(), "02:0a:ff:00:01:7e");
        for bad in [
            "",
            "02:0a:ff:00:01",
            "02:0a:ff:00:01:7e:00",
            "2:a:f:0:1:7",
            "02:0a:ff:00:01:+e",
        ] {
            assert_eq!(MacAddress::parse(bad), None, "{bad}");
        }
    }
}
