//! Our mark: an interface of ours carries its settings in the kernel (`ifalias`), in one line
//! without the password.
//!
//! The kernel makes an interface and marks it with two requests, and the daemon may be killed between
//! them. So an interface is made under a name that nobody else uses, and gets its own with the mark.

use mesh_proto::IfIndex;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::{Handle, LinkUnspec};

use super::channel::{Channel, Width};
use super::interface::{WirelessInterface, width_name};
use super::settings::{MacAddress, PhyChoice, RadioMode, RadioSettings, SaeKey};
use crate::kernel::link::{Link, find};
use crate::kernel::netlink::{KernelError, ask};

/// What the lines begin with, and nobody's who writes for people.
const PREFIX: &str = "meshd-radio/1 ";

/// What an interface is called until it has its mark.
pub(in super::super) const UNFINISHED: &str = "meshd-new";

/// The line for some settings: an interface with another line, or none, is not what is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark(String);

impl Mark {
    pub(super) fn of(settings: &RadioSettings) -> Self {
        let RadioSettings {
            phy,
            mode,
            id,
            channel,
            key,
            mcast_rate_100kbps,
            rssi_threshold_dbm,
        } = settings;
        let (frequency, width) = (channel.frequency_mhz(), channel.width());
        let security = if key.is_some() { "sae" } else { "open" };
        let rate = mcast_rate_100kbps.unwrap_or_default();
        let threshold = rssi_threshold_dbm.unwrap_or_default();
        Self(format!(
            "{PREFIX}{mode} {frequency} {width} {security} {rate} {threshold} on {phy}: {id}"
        ))
    }

    /// Reads a line that is one of ours from its first to its last word.
    fn parse(line: &str) -> Option<Self> {
        let mark = Self::of(&settings(line)?);
        (mark.0 == line).then_some(mark)
    }
}

/// The settings that a line tells of, whose password may be any.
fn settings(line: &str) -> Option<RadioSettings> {
    let (words, id) = line.strip_prefix(PREFIX)?.split_once(": ")?;
    let (words, phy) = words.split_once(" on ")?;
    let mut words = words.split(' ');
    let mode = by_name(&RadioMode::NAMES, words.next()?)?;
    let frequency_mhz = words.next()?.parse().ok()?;
    let width = by_name(&Width::NAMES, words.next()?)?;
    let security = words.next()?;
    let rate = words.next()?.parse().ok()?;
    let threshold = words.next()?.parse().ok()?;
    Some(RadioSettings {
        phy: choice(phy)?,
        mode,
        id: id.to_owned(),
        channel: Channel::new(frequency_mhz, width).ok()?,
        key: (security == "sae").then(|| SaeKey::new("")),
        mcast_rate_100kbps: Some(rate),
        rssi_threshold_dbm: Some(threshold),
    })
}

fn by_name<T: Copy>(names: &[(&str, T)], word: &str) -> Option<T> {
    let found = names.iter().find(|(name, _)| *name == word);
    found.map(|(_, value)| *value)
}

fn choice(phy: &str) -> Option<PhyChoice> {
    if phy == PhyChoice::Any.to_string() {
        return Some(PhyChoice::Any);
    }
    let name = phy.strip_prefix("radio ")?;
    Some(match MacAddress::parse(name) {
        Some(mac) => PhyChoice::Address(mac.0),
        None => PhyChoice::Named(name.to_owned()),
    })
}

/// A wireless interface with our mark.
#[derive(Clone, Debug)]
pub(super) struct Marked {
    pub(super) link: Link,
    pub(super) mark: Mark,
    /// The number of its radio.
    pub(super) wiphy: u32,
    /// Its frequency, if it is joined to anything.
    pub(super) frequency_mhz: Option<u32>,
    /// How wide its channel is, if it has one and the kernel tells.
    pub(super) width: Option<&'static str>,
}

impl Marked {
    /// What a link message tells, if it is of one of these interfaces and that has our mark. Others
    /// are nobody's to remove who makes radio interfaces, whatever is written on them.
    pub(super) fn of(message: &LinkMessage, wireless: &[WirelessInterface]) -> Option<Self> {
        let link = Link::from_message(message)?;
        let interface = wireless.iter().find(|it| it.ifindex == link.ifindex)?;
        Some(Self {
            link,
            mark: Mark::parse(&alias(message)?)?,
            wiphy: interface.wiphy,
            frequency_mhz: interface.frequency_mhz,
            width: interface.width,
        })
    }

    /// Whether it has a channel that is not this one.
    pub(super) fn is_beside(&self, channel: Channel) -> bool {
        let (frequency, width) = (
            channel.frequency_mhz(),
            width_name(channel.width().number()),
        );
        let differs = |mhz| mhz != frequency || self.width.is_some() && self.width != width;
        self.frequency_mhz.is_some_and(differs)
    }

    /// Writes mark and name into the kernel, both at once.
    pub(super) async fn write(&self, handle: &Handle) -> Result<(), KernelError> {
        let message = LinkUnspec::new_with_index(self.link.ifindex.0)
            .append_extra_attribute(LinkAttribute::IfName(self.link.name.clone()))
            .append_extra_attribute(LinkAttribute::IfAlias(self.mark.0.clone()))
            .build();
        let request = handle.link().change(message).execute();
        ask(|| format!("mark {}", self.link.name), request).await
    }
}

/// The interface that a message tells of, if it is one that we were killed over.
pub(super) fn unfinished(message: &LinkMessage, wireless: &[WirelessInterface]) -> Option<IfIndex> {
    let link = Link::from_message(message)?;
    let is_wireless = is_wireless(message, wireless);
    let is_untouched = !link.up && alias(message).is_none();
    let is_it = link.name == UNFINISHED && is_wireless && is_untouched;
    is_it.then_some(link.ifindex)
}

/// Whether the interface that a message tells of is one of these.
pub(super) fn is_wireless(message: &LinkMessage, wireless: &[WirelessInterface]) -> bool {
    let ifindex = IfIndex(message.header.index);
    wireless.iter().any(|it| it.ifindex == ifindex)
}

fn alias(message: &LinkMessage) -> Option<String> {
    find(message, |attribute| {
        if let LinkAttribute::IfAlias(line) = attribute {
            Some(line.clone())
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_route::link::LinkFlags;

    use super::*;
    use crate::kernel::radio::InterfaceKind;

    const LINE: &str = "meshd-radio/1 802.11s 2412 ht40+ sae 60 -80 on radio phy0: to: all";

    #[test]
    fn a_line_of_ours_is_read() {
        for line in [
            LINE,
            "meshd-radio/1 ibss 5180 vht80 open 0 0 on radio: x",
            "meshd-radio/1 802.11s 2412 noht open 0 0 on radio 02:00:00:00:01:00: on air: x",
        ] {
            assert_eq!(Mark::parse(line), Some(Mark(line.to_owned())));
        }
    }

    #[test]
    fn what_only_begins_like_one_is_not_ours() {
        for cut in 0..LINE.len() - "to: all".len() {
            assert_eq!(Mark::parse(&LINE[..cut]), None, "{cut}");
        }
        for line in [
            "meshd-radio/1 is what I want to try",
            "meshd-radio/2 802.11s 2412 ht20 open 0 0 on radio: x",
            "meshd-radio/1 802.11s 2413 ht20 open 0 0 on radio: x",
            "meshd-radio/1 802.11s 2412 ht20 wpa 0 0 on radio: x",
            "meshd-radio/1 802.11s 2412 ht20 open 00 0 on radio: x",
            "meshd-radio/1 802.11s 2412 ht20 open 0 0 0 on radio: x",
            "meshd-radio/1 802.11s 2412 ht20 open 0 0 on radios: x",
        ] {
            assert_eq!(Mark::parse(line), None, "{line}");
        }
    }

    fn wireless(ifindex: u32) -> WirelessInterface {
        WirelessInterface {
            ifindex: IfIndex(ifindex),
            name: "mesh0".to_owned(),
            wiphy: 0,
            kind: InterfaceKind::MESH,
            ssid: None,
            frequency_mhz: Some(2412),
            width: None,
            tx_power_mbm: None,
        }
    }

    fn message(name: &str, alias: Option<&str>) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = 7;
        message.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Mtu(1500),
        ];
        let alias = alias.map(|line| LinkAttribute::IfAlias(line.to_owned()));
        message.attributes.extend(alias);
        message
    }

    #[test]
    fn an_interface_without_a_radio_is_never_ours() {
        let message = message("mesh0", Some(LINE));
        assert!(Marked::of(&message, &[]).is_none());
        assert!(Marked::of(&message, &[wireless(6)]).is_none());
        let marked = Marked::of(&message, &[wireless(6), wireless(7)]).unwrap();
        assert_eq!(marked.frequency_mhz, Some(2412));
    }

    #[test]
    fn a_channel_is_another_one_if_it_is_not_as_wide() {
        let channel = Channel::new(2412, Width::Ht40Plus).unwrap();
        for (frequency_mhz, width, is_beside) in [
            (None, None, false),
            (Some(2412), None, false),
            (Some(2412), Some("40 MHz"), false),
            (Some(2412), Some("20 MHz"), true),
            (Some(2437), Some("40 MHz"), true),
            (Some(2437), None, true),
        ] {
            let interface = WirelessInterface {
                frequency_mhz,
                width,
                ..wireless(7)
            };
            let marked = Marked::of(&message("mesh0", Some(LINE)), &[interface]).unwrap();
            let found = marked.is_beside(channel);
            assert_eq!(found, is_beside, "{frequency_mhz:?} {width:?}");
        }
    }

    #[test]
    fn only_what_nobody_has_touched_is_unfinished() {
        let ours = message(UNFINISHED, None);
        assert_eq!(unfinished(&ours, &[wireless(7)]), Some(IfIndex(7)));
        assert_eq!(unfinished(&ours, &[wireless(6)]), None, "no radio");
        let named = message("mesh0", None);
        assert_eq!(unfinished(&named, &[wireless(7)]), None);
        let described = message(UNFINISHED, Some("mine"));
        assert_eq!(unfinished(&described, &[wireless(7)]), None);
        let mut used = ours;
        used.header.flags = LinkFlags::Up;
        assert_eq!(unfinished(&used, &[wireless(7)]), None);
    }
}
