//! What wireless drivers can, do and see (linux/nl80211.h), over generic netlink.

use std::collections::BTreeMap;
use std::io;

use mesh_proto::IfIndex;

use super::channel::Channel;
use super::interface::WirelessInterface;
use super::phy::Phy;
use super::settings::{RadioMode, RadioSettings};
use super::station::Station;
use crate::kernel::genl::{Events, Genl, NLA_F_NESTED};
use crate::kernel::netlink::KernelError;
use crate::kernel::raw::{push, push_string};

/// `enum nl80211_commands`.
pub(super) mod command {
    pub(in super::super) const GET_WIPHY: u8 = 1;
    pub(in super::super) const NEW_WIPHY: u8 = 3;
    pub(in super::super) const DEL_WIPHY: u8 = 4;
    pub(in super::super) const GET_INTERFACE: u8 = 5;
    pub(in super::super) const NEW_INTERFACE: u8 = 7;
    pub(in super::super) const DEL_INTERFACE: u8 = 8;
    pub(in super::super) const GET_STATION: u8 = 17;
    pub(in super::super) const NEW_STATION: u8 = 19;
    pub(in super::super) const GET_MESH_CONFIG: u8 = 28;
    pub(in super::super) const SET_MESH_CONFIG: u8 = 29;
    pub(in super::super) const GET_REG: u8 = 31;
    pub(in super::super) const REG_CHANGE: u8 = 36;
    pub(in super::super) const JOIN_IBSS: u8 = 43;
    pub(in super::super) const JOIN_MESH: u8 = 68;
    pub(in super::super) const LEAVE_MESH: u8 = 69;
    pub(in super::super) const CH_SWITCH_NOTIFY: u8 = 88;
    pub(in super::super) const WIPHY_REG_CHANGE: u8 = 113;
}

/// `enum nl80211_attrs`.
pub(super) mod attribute {
    pub(in super::super) const WIPHY: u16 = 1;
    pub(in super::super) const WIPHY_NAME: u16 = 2;
    pub(in super::super) const IFINDEX: u16 = 3;
    pub(in super::super) const IFNAME: u16 = 4;
    pub(in super::super) const IFTYPE: u16 = 5;
    pub(in super::super) const MAC: u16 = 6;
    pub(in super::super) const STA_INFO: u16 = 21;
    pub(in super::super) const WIPHY_BANDS: u16 = 22;
    pub(in super::super) const MESH_ID: u16 = 24;
    pub(in super::super) const SUPPORTED_IFTYPES: u16 = 32;
    pub(in super::super) const REG_ALPHA2: u16 = 33;
    pub(in super::super) const MESH_CONFIG: u16 = 35;
    pub(in super::super) const WIPHY_FREQ: u16 = 38;
    pub(in super::super) const SSID: u16 = 52;
    pub(in super::super) const FREQ_FIXED: u16 = 60;
    pub(in super::super) const WIPHY_TX_POWER_LEVEL: u16 = 98;
    pub(in super::super) const MCAST_RATE: u16 = 107;
    pub(in super::super) const FEATURE_FLAGS: u16 = 143;
    pub(in super::super) const CHANNEL_WIDTH: u16 = 159;
    pub(in super::super) const CENTER_FREQ1: u16 = 160;
    pub(in super::super) const SPLIT_WIPHY_DUMP: u16 = 174;
    pub(in super::super) const WIPHY_SELF_MANAGED_REG: u16 = 216;
    pub(in super::super) const EXT_FEATURES: u16 = 217;
}

/// `enum nl80211_meshconf_params`.
const MESHCONF_HWMP_ROOTMODE: u16 = 14;
const MESHCONF_GATE_ANNOUNCEMENTS: u16 = 17;
const MESHCONF_FORWARDING: u16 = 19;
const MESHCONF_RSSI_THRESHOLD: u16 = 20;
/// Linux 5.1 and newer.
const MESHCONF_NOLEARN: u16 = 30;

/// Groups of messages that come without being asked for.
const GROUPS: [&str; 3] = ["config", "mlme", "regulatory"];

/// A socket for wireless drivers.
pub(super) struct Nl80211 {
    genl: Genl,
}

impl Nl80211 {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self {
            genl: Genl::open("nl80211")?,
        })
    }

    /// Whether the kernel has anything to do with wireless by now.
    pub(super) fn is_there(&mut self) -> bool {
        self.genl.is_there()
    }

    /// What happens, from now on. Must be called within a tokio runtime.
    pub(super) fn events(&mut self) -> Result<Events, KernelError> {
        self.genl.events(&GROUPS)
    }

    /// Whether these are what happens, still: not after the modules were loaded anew.
    pub(super) fn is_source_of(&self, events: &Events) -> bool {
        self.genl.is_source_of(events)
    }

    /// All radios of the network namespace.
    pub(super) fn phys(&mut self) -> Result<Vec<Phy>, KernelError> {
        let mut request = Vec::new();
        // Otherwise the kernel leaves out what does not fit into one message.
        push(&mut request, attribute::SPLIT_WIPHY_DUMP, &[]);
        let messages = self
            .genl
            .dump("list radios", command::GET_WIPHY, &request)?;
        let mut phys: BTreeMap<u32, Phy> = BTreeMap::new();
        for message in &messages {
            let attributes = message.attributes();
            if let Some(index) = attributes.u32(attribute::WIPHY) {
                let phy = phys.entry(index).or_insert_with(|| Phy::new(index));
                phy.take_in(attributes);
            }
        }
        let mut phys: Vec<Phy> = phys.into_values().collect();
        set_countries(&mut phys, |wiphy| self.country(wiphy));
        Ok(phys)
    }

    /// All wireless interfaces of the network namespace.
    pub(super) fn interfaces(&mut self) -> Result<Vec<WirelessInterface>, KernelError> {
        let action = "list wireless interfaces";
        let messages = self.genl.dump(action, command::GET_INTERFACE, &[])?;
        let interfaces = messages.iter();
        Ok(interfaces
            .filter_map(|message| WirelessInterface::of(message.attributes()))
            .collect())
    }

    /// Whom an interface hears.
    pub(super) fn stations(&mut self, ifindex: IfIndex) -> Result<Vec<Station>, KernelError> {
        let request = of_interface(ifindex);
        let messages = self
            .genl
            .dump("list stations", command::GET_STATION, &request)?;
        let stations = messages.iter();
        Ok(stations
            .filter_map(|message| Station::of(message.attributes()))
            .collect())
    }

    /// For which country a radio that decides for itself is set, or all others.
    fn country(&mut self, wiphy: Option<u32>) -> Result<String, KernelError> {
        let mut request = Vec::new();
        if let Some(wiphy) = wiphy {
            push(&mut request, attribute::WIPHY, &wiphy.to_ne_bytes());
        }
        let action = "read the regulatory domain";
        let message = self.genl.get(action, command::GET_REG, &request)?;
        let country = message.attributes().string(attribute::REG_ALPHA2);
        Ok(country.unwrap_or_default().to_owned())
    }

    /// Whether the radios of a mesh forward for each other, as far as the kernel says.
    pub(super) fn forwards(&mut self, ifindex: IfIndex) -> bool {
        self.mesh_config(ifindex, MESHCONF_FORWARDING) == Some(1)
    }

    /// One byte of the configuration of a mesh, if the kernel has it.
    fn mesh_config(&mut self, ifindex: IfIndex, key: u16) -> Option<u8> {
        let action = "read the configuration of a mesh";
        let request = of_interface(ifindex);
        let answer = self.genl.get(action, command::GET_MESH_CONFIG, &request);
        let message = answer.ok()?;
        let config = message.attributes().nested(attribute::MESH_CONFIG)?;
        config.u8(key)
    }

    /// Has the radios of a mesh leave routing to us, if they don't yet: what joined them may not
    /// know of all there is to switch off.
    pub(super) fn leave_paths_to_us(&mut self, ifindex: IfIndex) -> Result<(), KernelError> {
        if self.mesh_config(ifindex, MESHCONF_NOLEARN) != Some(0) {
            return Ok(());
        }
        let mut request = of_interface(ifindex);
        push(
            &mut request,
            attribute::MESH_CONFIG | NLA_F_NESTED,
            &no_paths(),
        );
        let action = "configure a mesh";
        self.genl.change(action, command::SET_MESH_CONFIG, &request)
    }

    /// Makes an interface.
    pub(super) fn create(
        &mut self,
        phy: &Phy,
        name: &str,
        mode: RadioMode,
    ) -> Result<(), KernelError> {
        let mut request = Vec::new();
        push(&mut request, attribute::WIPHY, &phy.index.to_ne_bytes());
        push_string(&mut request, attribute::IFNAME, name);
        push(
            &mut request,
            attribute::IFTYPE,
            &mode.iftype().to_ne_bytes(),
        );
        let action = format!("make an interface on {}", phy.name);
        self.genl.change(&action, command::NEW_INTERFACE, &request)
    }

    /// Removes an interface.
    pub(super) fn delete(&mut self, ifindex: IfIndex) -> Result<(), KernelError> {
        let action = "remove a radio interface";
        self.genl
            .change(action, command::DEL_INTERFACE, &of_interface(ifindex))
    }

    /// Joins an open mesh.
    pub(super) fn join_mesh(
        &mut self,
        ifindex: IfIndex,
        settings: &RadioSettings,
    ) -> Result<(), KernelError> {
        let request = mesh_request(ifindex, settings);
        let action = format!("join the mesh {}", settings.id);
        self.genl.change(&action, command::JOIN_MESH, &request)
    }

    /// Joins an ad hoc cell, which is the same for all who know its name and frequency: without a
    /// BSSID of its own each node would begin a cell that has to merge with the others later.
    pub(super) fn join_ibss(
        &mut self,
        ifindex: IfIndex,
        settings: &RadioSettings,
        bssid: [u8; 6],
    ) -> Result<(), KernelError> {
        let mut request = of_interface(ifindex);
        push(&mut request, attribute::SSID, settings.id.as_bytes());
        push_channel(&mut request, settings.channel);
        push(&mut request, attribute::FREQ_FIXED, &[]);
        push(&mut request, attribute::MAC, &bssid);
        push_mcast_rate(&mut request, settings);
        let action = format!("join the cell {}", settings.id);
        self.genl.change(&action, command::JOIN_IBSS, &request)
    }
}

/// Asks for which countries radios are set. One whose driver does not say is a radio all the same.
fn set_countries(
    phys: &mut [Phy],
    mut ask: impl FnMut(Option<u32>) -> Result<String, KernelError>,
) {
    let mut known = BTreeMap::new();
    for phy in phys {
        let whose = phy.is_self_managed.then_some(phy.index);
        let country = known.entry(whose).or_insert_with(|| {
            let answer = ask(whose).inspect_err(|error| tracing::debug!(phy = phy.name, %error));
            answer.unwrap_or_default()
        });
        phy.country.clone_from(country);
    }
}

/// What an open mesh is joined with. The radios do not forward for each other: routing is our
/// business, and each of their hops would be invisible to it.
fn mesh_request(ifindex: IfIndex, settings: &RadioSettings) -> Vec<u8> {
    let mut config = no_paths();
    let threshold = i32::from(settings.rssi_threshold_dbm.unwrap_or_default());
    push(
        &mut config,
        MESHCONF_RSSI_THRESHOLD,
        &threshold.to_ne_bytes(),
    );

    let mut request = of_interface(ifindex);
    push(&mut request, attribute::MESH_ID, settings.id.as_bytes());
    push(&mut request, attribute::MESH_CONFIG | NLA_F_NESTED, &config);
    push_channel(&mut request, settings.channel);
    push_mcast_rate(&mut request, settings);
    request
}

/// The configuration of a mesh whose paths are not the radios' business. Without the last, each
/// neighbor that was not sent to for a while is looked for first (HWMP), which takes time and, when
/// a frame of that is lost, seconds.
fn no_paths() -> Vec<u8> {
    let mut config = Vec::new();
    push(&mut config, MESHCONF_FORWARDING, &[0]);
    push(&mut config, MESHCONF_HWMP_ROOTMODE, &[0]);
    push(&mut config, MESHCONF_GATE_ANNOUNCEMENTS, &[0]);
    push(&mut config, MESHCONF_NOLEARN, &[1]);
    config
}

fn of_interface(ifindex: IfIndex) -> Vec<u8> {
    let mut request = Vec::new();
    push(&mut request, attribute::IFINDEX, &ifindex.0.to_ne_bytes());
    request
}

fn push_channel(request: &mut Vec<u8>, channel: Channel) {
    let center = channel.center_mhz().unwrap_or(channel.frequency_mhz());
    for (kind, value) in [
        (attribute::WIPHY_FREQ, channel.frequency_mhz()),
        (attribute::CHANNEL_WIDTH, channel.width().number()),
        (attribute::CENTER_FREQ1, center),
    ] {
        push(request, kind, &value.to_ne_bytes());
    }
}

fn push_mcast_rate(request: &mut Vec<u8>, settings: &RadioSettings) {
    if let Some(rate) = settings.mcast_rate_100kbps {
        push(request, attribute::MCAST_RATE, &rate.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::radio::channel::Width;
    use crate::kernel::radio::settings::PhyChoice;
    use crate::kernel::raw::Attributes;

    fn settings() -> RadioSettings {
        RadioSettings {
            phy: PhyChoice::Any,
            mode: RadioMode::Mesh,
            id: "village".to_owned(),
            channel: Channel::new(2412, Width::Ht40Plus).unwrap(),
            key: None,
            mcast_rate_100kbps: Some(60),
            rssi_threshold_dbm: Some(-80),
        }
    }

    #[test]
    fn a_country_that_is_not_known_keeps_no_other() {
        let mut phys = [0, 1, 2, 3].map(Phy::new);
        phys[1].is_self_managed = true;
        phys[2].is_self_managed = true;
        let mut asked = Vec::new();
        set_countries(&mut phys, |wiphy| {
            asked.push(wiphy);
            match wiphy {
                None => Ok("DE".to_owned()),
                Some(1) => Err(KernelError::NoAnswer("read".to_owned())),
                Some(_) => Ok("FR".to_owned()),
            }
        });
        let countries = phys.each_ref().map(|phy| phy.country.as_str());
        assert_eq!(countries, ["DE", "", "FR", "DE"]);
        assert_eq!(asked, [None, Some(1), Some(2)]);
    }

    #[test]
    fn a_mesh_is_joined_as_the_settings_say() {
        let request = mesh_request(IfIndex(7), &settings());
        let request = Attributes::of(&request, 0);
        let config = request.nested(attribute::MESH_CONFIG).unwrap();
        assert_eq!(
            config.u32(MESHCONF_RSSI_THRESHOLD).map(u32::cast_signed),
            Some(-80)
        );
        assert_eq!(config.u8(MESHCONF_FORWARDING), Some(0));
        assert_eq!(request.bytes(attribute::MESH_ID), Some(&b"village"[..]));
        for (kind, value) in [
            (attribute::IFINDEX, 7),
            (attribute::WIPHY_FREQ, 2412),
            (attribute::CHANNEL_WIDTH, 2),
            (attribute::CENTER_FREQ1, 2422),
            (attribute::MCAST_RATE, 60),
        ] {
            assert_eq!(request.u32(kind), Some(value), "{kind}");
        }
    }

    #[test]
    fn without_settings_the_driver_decides() {
        let settings = RadioSettings {
            mcast_rate_100kbps: None,
            rssi_threshold_dbm: None,
            ..settings()
        };
        let request = mesh_request(IfIndex(7), &settings);
        let request = Attributes::of(&request, 0);
        let config = request.nested(attribute::MESH_CONFIG).unwrap();
        assert_eq!(request.u32(attribute::MCAST_RATE), None);
        assert_eq!(config.u32(MESHCONF_RSSI_THRESHOLD), Some(0));
    }
}
