//! Radios: what they can.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::channel::{Channel, Width};
use super::nl80211::attribute;
use super::settings::{MacAddress, PhyChoice, RadioMode, RadioSettings};
use crate::kernel::raw::Attributes;

/// `enum nl80211_band_attr`.
const BAND_FREQS: u16 = 1;
const BAND_HT_CAPABILITIES: u16 = 4;
const BAND_VHT_CAPABILITIES: u16 = 8;
/// Bits of the HT capabilities (IEEE 802.11-2020 §9.4.2.55.2): 40 MHz can be done, and must not be.
const HT_40_MHZ: u16 = 1 << 1;
const HT_40_MHZ_INTOLERANT: u16 = 1 << 14;
/// `enum nl80211_frequency_attr`.
const FREQUENCY_MHZ: u16 = 1;
const FREQUENCY_DISABLED: u16 = 2;
const FREQUENCY_NO_IR: u16 = 3;
const FREQUENCY_RADAR: u16 = 5;
const FREQUENCY_NO_HT40_MINUS: u16 = 9;
const FREQUENCY_NO_HT40_PLUS: u16 = 10;
const FREQUENCY_NO_80MHZ: u16 = 11;
/// `enum nl80211_feature_flags`: HT in an ad hoc network; userspace can do SAE, and manage peer links.
const FEATURE_HT_IBSS: u32 = 1 << 1;
const FEATURE_SAE: u32 = 1 << 5;
const FEATURE_USERSPACE_MPM: u32 = 1 << 16;
/// `NL80211_EXT_FEATURE_VHT_IBSS` of `enum nl80211_ext_feature_index`, in the first byte of them.
const EXT_FEATURE_VHT_IBSS: u8 = 1 << 0;

/// A radio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Phy {
    pub(super) index: u32,
    pub(super) name: String,
    /// `enum nl80211_iftype`.
    iftypes: BTreeSet<u32>,
    /// By their number (`enum nl80211_band`).
    bands: BTreeMap<u16, Band>,
    features: u32,
    /// The first of the extended ones.
    ext_features: u8,
    /// Whether its driver decides what is allowed, whatever country is set for the others.
    pub(super) is_self_managed: bool,
    /// For which country it is set: two letters, [`WORLD`] for the one that fits all; empty where that
    /// is not known.
    pub(super) country: String,
}

/// What a radio can in a part of the spectrum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Band {
    /// By their frequency in MHz.
    frequencies: BTreeMap<u32, Frequency>,
    /// Its HT capabilities, if it can do that.
    ht: Option<u16>,
    vht: bool,
}

/// What is allowed on a frequency, in the country that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Frequency {
    right: Right,
    /// Widths of which it may not be the primary frequency, or no part where they have no order.
    refused: Vec<Width>,
}

/// Who may send on a frequency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right {
    Free,
    /// Nobody may begin to send there (`no IR`): only answer.
    Passive,
    /// Weather radars come first.
    Radar,
    Disabled,
}

/// Why a radio cannot be what is wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    /// There is none.
    #[error("there is no {0}")]
    Missing(String),
    /// The driver has no such mode.
    #[error("{phy}{} cannot do {mode}", driver(.phy))]
    Mode {
        /// The radio.
        phy: String,
        /// What it lacks.
        mode: RadioMode,
    },
    /// The driver leaves encryption to nobody.
    #[error("{phy}{} cannot do encrypted 802.11s", driver(.phy))]
    Sae {
        /// The radio.
        phy: String,
    },
    /// Not a frequency of this radio.
    #[error("{phy} has no {frequency_mhz} MHz")]
    Frequency {
        /// The radio.
        phy: String,
        /// What it lacks.
        frequency_mhz: u32,
    },
    /// The radio is an older one.
    #[error("{phy} cannot do {width} at {frequency_mhz} MHz")]
    Width {
        /// The radio.
        phy: String,
        /// What it lacks.
        width: Width,
        /// Where.
        frequency_mhz: u32,
    },
    /// The driver has older ad hoc networks only.
    #[error("{phy}{} cannot do {width} in an ad hoc network", driver(.phy))]
    IbssWidth {
        /// The radio.
        phy: String,
        /// What it lacks.
        width: Width,
    },
    /// Forbidden where the radio thinks it is.
    #[error("{frequency_mhz} MHz is {why} in regulatory domain {country}")]
    Forbidden {
        /// The frequency.
        frequency_mhz: u32,
        /// How it is forbidden.
        why: &'static str,
        /// The country.
        country: String,
    },
}

impl Unfit {
    /// What an operator can do about it.
    pub(super) fn advice(&self) -> String {
        match self {
            Self::Missing(_) => "plug the radio in; `iw phy` lists those there are".to_owned(),
            Self::Mode {
                mode: RadioMode::Mesh,
                phy,
            } => instead_of_mesh(driver_of(phy).as_deref()),
            Self::Mode {
                mode: RadioMode::Ibss,
                ..
            } => "use another radio, or mode: 802.11s".to_owned(),
            Self::Sae { .. } => "use a radio whose driver leaves SAE to wpa_supplicant".to_owned(),
            Self::Frequency { phy, .. } => {
                format!("choose one of those that `iw phy {phy} info` lists")
            }
            Self::Width { phy, .. } => {
                format!("use a narrower `width` on all nodes; `iw phy {phy} info` says what it can")
            }
            Self::IbssWidth { .. } => "use `width: noht` on all nodes, or mode: 802.11s".to_owned(),
            Self::Forbidden { country, .. } if country == WORLD => {
                "set the country: iw reg set, and its two letters".to_owned()
            }
            Self::Forbidden { .. } => {
                "choose a frequency that is free there (`iw reg get`)".to_owned()
            }
        }
    }
}

/// The regulatory domain that fits all countries, set until somebody says where we are.
pub(crate) const WORLD: &str = "00";

/// What to do with a radio of this driver that cannot do 802.11s.
fn instead_of_mesh(driver: Option<&str>) -> String {
    let radio = "use a USB radio whose driver has mesh mode (ath9k_htc, mt76)";
    match driver {
        // It says that it can do IBSS, and makes no such interface (`brcmf_cfg80211_add_iface`).
        Some("brcmfmac") => radio.to_owned(),
        _ => format!("{radio}, or mode: ibss"),
    }
}

fn driver(phy: &str) -> String {
    driver_of(phy).map_or_else(String::new, |driver| format!(" ({driver})"))
}

impl Phy {
    pub(super) fn new(index: u32) -> Self {
        Self {
            index,
            name: format!("phy{index}"),
            iftypes: BTreeSet::new(),
            bands: BTreeMap::new(),
            features: 0,
            ext_features: 0,
            is_self_managed: false,
            country: String::new(),
        }
    }

    /// Takes in one of the messages that tell of it.
    pub(super) fn take_in(&mut self, attributes: Attributes<'_>) {
        if let Some(name) = attributes.string(attribute::WIPHY_NAME) {
            name.clone_into(&mut self.name);
        }
        let iftypes = attributes.nested(attribute::SUPPORTED_IFTYPES);
        let iftypes = iftypes.into_iter().flatten();
        self.iftypes
            .extend(iftypes.map(|(iftype, _)| u32::from(iftype)));
        self.features |= attributes.u32(attribute::FEATURE_FLAGS).unwrap_or_default();
        self.ext_features |= attributes.u8(attribute::EXT_FEATURES).unwrap_or_default();
        self.is_self_managed |= attributes.flag(attribute::WIPHY_SELF_MANAGED_REG);
        let bands = attributes.nested(attribute::WIPHY_BANDS).into_iter();
        for (number, band) in bands.flatten() {
            let known = self.bands.entry(number).or_default();
            known.take_in(Attributes::of(band, 0));
        }
    }

    /// Whether it is one that `choice` means.
    pub(super) fn is(&self, choice: &PhyChoice) -> bool {
        match choice {
            PhyChoice::Any => true,
            PhyChoice::Named(name) => *name == self.name,
            PhyChoice::Address(mac) => address_of(&self.name) == Some(MacAddress(*mac)),
        }
    }

    /// Whether it can be what is wanted, in the country it is set to.
    ///
    /// # Errors
    /// The first thing that it cannot.
    pub(super) fn check(&self, settings: &RadioSettings) -> Result<(), Unfit> {
        let phy = || self.name.clone();
        let mode = settings.mode;
        if !self.iftypes.contains(&mode.iftype()) {
            return Err(Unfit::Mode { phy: phy(), mode });
        }
        let width = settings.channel.width();
        if mode == RadioMode::Ibss && !self.has_ibss_of(width) {
            return Err(Unfit::IbssWidth { phy: phy(), width });
        }
        let needed = FEATURE_SAE | FEATURE_USERSPACE_MPM;
        if settings.key.is_some() && self.features & needed != needed {
            return Err(Unfit::Sae { phy: phy() });
        }
        let mut parts = settings.channel.parts_mhz().into_iter();
        parts.try_for_each(|part| self.check_frequency(settings.channel, part))
    }

    /// Whether the kernel lets it join an ad hoc network so wide (`nl80211_join_ibss` in
    /// net/wireless/nl80211.c).
    const fn has_ibss_of(&self, width: Width) -> bool {
        let ht = self.features & FEATURE_HT_IBSS != 0;
        let vht = self.ext_features & EXT_FEATURE_VHT_IBSS != 0;
        match width {
            Width::NoHt => true,
            Width::Ht20 | Width::Ht40Plus | Width::Ht40Minus => ht,
            Width::Vht80 => ht && vht,
        }
    }

    /// Whether a part of a channel is one of the radio's, and allowed.
    fn check_frequency(&self, channel: Channel, frequency_mhz: u32) -> Result<(), Unfit> {
        let mut bands = self.bands.values();
        let found = bands.find_map(|band| Some((band, band.frequencies.get(&frequency_mhz)?)));
        let Some((band, frequency)) = found else {
            return Err(Unfit::Frequency {
                phy: self.name.clone(),
                frequency_mhz,
            });
        };
        let width = channel.width();
        if !band.can_do(width) {
            return Err(Unfit::Width {
                phy: self.name.clone(),
                width,
                frequency_mhz,
            });
        }
        let decides = frequency_mhz == channel.frequency_mhz() || width == Width::Vht80;
        let why = match frequency.right {
            Right::Disabled => "forbidden",
            Right::Passive => "for listening only",
            Right::Radar => "shared with radars, for which meshd cannot wait,",
            Right::Free if decides && frequency.refused.contains(&width) => "not so wide",
            Right::Free => return Ok(()),
        };
        Err(Unfit::Forbidden {
            frequency_mhz,
            why,
            country: self.country.clone(),
        })
    }
}

impl Band {
    /// Takes in one of the messages that tell of it.
    fn take_in(&mut self, attributes: Attributes<'_>) {
        let frequencies = attributes.nested(BAND_FREQS).into_iter();
        let frequencies = frequencies.flat_map(Attributes::each);
        self.frequencies
            .extend(frequencies.filter_map(Frequency::of));
        self.ht = self.ht.or(attributes.u16(BAND_HT_CAPABILITIES));
        self.vht |= attributes.flag(BAND_VHT_CAPABILITIES);
    }

    /// Whether the kernel lets a radio with these capabilities use so much (`_cfg80211_chandef_usable`
    /// in net/wireless/chan.c): what it refuses for this it refuses without a word.
    fn can_do(&self, width: Width) -> bool {
        match width {
            Width::NoHt => true,
            Width::Ht20 => self.ht.is_some(),
            Width::Ht40Plus | Width::Ht40Minus => self
                .ht
                .is_some_and(|ht| ht & (HT_40_MHZ | HT_40_MHZ_INTOLERANT) == HT_40_MHZ),
            Width::Vht80 => self.vht,
        }
    }
}

impl Frequency {
    fn of(attributes: Attributes<'_>) -> Option<(u32, Self)> {
        let mhz = attributes.u32(FREQUENCY_MHZ)?;
        let right = if attributes.flag(FREQUENCY_DISABLED) {
            Right::Disabled
        } else if attributes.flag(FREQUENCY_RADAR) {
            Right::Radar
        } else if attributes.flag(FREQUENCY_NO_IR) {
            Right::Passive
        } else {
            Right::Free
        };
        let refused = [
            (FREQUENCY_NO_HT40_PLUS, Width::Ht40Plus),
            (FREQUENCY_NO_HT40_MINUS, Width::Ht40Minus),
            (FREQUENCY_NO_80MHZ, Width::Vht80),
        ];
        let refused = refused.into_iter();
        let refused = refused.filter(|(flag, _)| attributes.flag(*flag));
        let refused = refused.map(|(_, width)| width).collect();
        Some((mhz, Self { right, refused }))
    }
}

/// The radio to take: of those that are meant the first that can do it.
///
/// # Errors
/// There is none, or the reason why the first of them cannot.
pub(super) fn choose<'a>(phys: &'a [Phy], settings: &RadioSettings) -> Result<&'a Phy, Unfit> {
    let mut first = None;
    for phy in phys.iter().filter(|phy| phy.is(&settings.phy)) {
        match phy.check(settings) {
            Ok(()) => return Ok(phy),
            Err(unfit) => first = first.or(Some(unfit)),
        }
    }
    Err(first.unwrap_or_else(|| Unfit::Missing(settings.phy.to_string())))
}

/// Whether a radio is switched off, by a key or by a program (`/dev/rfkill`).
pub(super) fn is_blocked(phy: &str) -> bool {
    let Ok(switches) = fs::read_dir("/sys/class/rfkill") else {
        return false;
    };
    let is = |path: &Path, file: &str, value: &str| {
        fs::read_to_string(path.join(file)).is_ok_and(|text| text.trim() == value)
    };
    switches.flatten().any(|switch| {
        let path = switch.path();
        is(&path, "name", phy) && (is(&path, "soft", "1") || is(&path, "hard", "1"))
    })
}

/// The driver of a radio, as far as the file system of the kernel tells.
pub(crate) fn driver_of(phy: &str) -> Option<String> {
    let driver = fs::read_link(directory(phy).join("device/driver")).ok()?;
    Some(driver.file_name()?.to_str()?.to_owned())
}

fn address_of(phy: &str) -> Option<MacAddress> {
    let text = fs::read_to_string(directory(phy).join("macaddress")).ok()?;
    MacAddress::parse(text.trim())
}

fn directory(phy: &str) -> PathBuf {
    Path::new("/sys/class/ieee80211").join(phy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::radio::SaeKey;
    use crate::kernel::raw::push;

    /// A radio with 802.11s as the kernel tells of it, with these flags on some frequencies.
    fn phy(features: u32, flags: &[(u32, u16)]) -> Phy {
        phy_with(Some(HT_40_MHZ), true, features, flags)
    }

    /// The same, with HT if it has such capabilities, and with or without VHT.
    fn phy_with(ht: Option<u16>, vht: bool, features: u32, flags: &[(u32, u16)]) -> Phy {
        let mut frequencies = Vec::new();
        for mhz in [2412, 2432, 5180, 5200, 5220, 5240] {
            let mut frequency = Vec::new();
            push(&mut frequency, FREQUENCY_MHZ, &u32::to_ne_bytes(mhz));
            for (_, flag) in flags.iter().filter(|(flagged, _)| *flagged == mhz) {
                push(&mut frequency, *flag, &[]);
            }
            push(&mut frequencies, 0, &frequency);
        }
        let nested = |kind, value: &[u8]| {
            let mut bytes = Vec::new();
            push(&mut bytes, kind, value);
            bytes
        };
        let mut band = nested(BAND_FREQS, &frequencies);
        if let Some(ht) = ht {
            push(&mut band, BAND_HT_CAPABILITIES, &ht.to_ne_bytes());
        }
        if vht {
            push(&mut band, BAND_VHT_CAPABILITIES, &[0; 4]);
        }
        let bands = nested(0, &band);
        let mut message = nested(attribute::WIPHY_BANDS, &bands);
        let mut iftypes = Vec::new();
        for (_, mode) in RadioMode::NAMES {
            push(&mut iftypes, u16::try_from(mode.iftype()).unwrap(), &[]);
        }
        push(&mut message, attribute::SUPPORTED_IFTYPES, &iftypes);
        let features = features.to_ne_bytes();
        push(&mut message, attribute::FEATURE_FLAGS, &features);
        let mut phy = Phy::new(0);
        phy.take_in(Attributes::of(&message, 0));
        phy.country = "DE".to_owned();
        phy
    }

    fn settings(frequency_mhz: u32, width: Width) -> RadioSettings {
        RadioSettings {
            phy: PhyChoice::Any,
            mode: RadioMode::Mesh,
            id: "x".to_owned(),
            channel: Channel::new(frequency_mhz, width).unwrap(),
            key: None,
            mcast_rate_100kbps: None,
            rssi_threshold_dbm: None,
        }
    }

    #[test]
    fn an_encrypted_mesh_needs_all_it_consists_of() {
        let open = settings(2412, Width::Ht20);
        let encrypted = RadioSettings {
            key: Some(SaeKey::new("correct horse")),
            ..open.clone()
        };
        for features in [0, FEATURE_SAE, FEATURE_USERSPACE_MPM] {
            let phy = phy(features, &[]);
            assert_eq!(phy.check(&open), Ok(()));
            let refused = phy.check(&encrypted);
            assert!(matches!(refused, Err(Unfit::Sae { .. })), "{features:x}");
        }
        let all = phy(FEATURE_SAE | FEATURE_USERSPACE_MPM, &[]);
        assert_eq!(all.check(&encrypted), Ok(()));
    }

    #[test]
    fn an_ad_hoc_network_is_as_wide_as_the_driver_can_make_it() {
        use Width::{Ht20, Ht40Plus, NoHt, Vht80};
        for (features, ext_features, can) in [
            (0, EXT_FEATURE_VHT_IBSS, &[NoHt][..]),
            (FEATURE_HT_IBSS, 0, &[NoHt, Ht20, Ht40Plus]),
            (
                FEATURE_HT_IBSS,
                EXT_FEATURE_VHT_IBSS,
                &[NoHt, Ht20, Ht40Plus, Vht80],
            ),
        ] {
            let mut phy = phy(features, &[]);
            let mut more = Vec::new();
            // There are more than fit into one byte.
            push(&mut more, attribute::EXT_FEATURES, &[ext_features, 0, 0]);
            phy.take_in(Attributes::of(&more, 0));
            for width in [NoHt, Ht20, Ht40Plus, Vht80] {
                let mesh = settings(5180, width);
                assert_eq!(phy.check(&mesh), Ok(()), "{width}");
                let ibss = RadioSettings {
                    mode: RadioMode::Ibss,
                    ..mesh
                };
                let refused = Unfit::IbssWidth {
                    phy: "phy0".to_owned(),
                    width,
                };
                let expected = can.contains(&width).then_some(()).ok_or(refused);
                assert_eq!(phy.check(&ibss), expected, "{features:x} {width}");
            }
        }
    }

    #[test]
    fn ibss_is_no_way_out_where_the_driver_has_none() {
        for (driver, is_hint) in [
            (None, true),
            (Some("mt7601u"), true),
            (Some("brcmfmac"), false),
        ] {
            let advice = instead_of_mesh(driver);
            assert_eq!(advice.contains("ibss"), is_hint, "{advice}");
        }
    }

    #[test]
    fn what_is_forbidden_on_a_part_is_forbidden_on_the_whole() {
        for flag in [FREQUENCY_DISABLED, FREQUENCY_NO_IR, FREQUENCY_RADAR] {
            let phy = phy(0, &[(2432, flag), (5240, flag)]);
            for (mhz, width, forbidden) in [
                (2412, Width::Ht20, None),
                (2412, Width::Ht40Plus, Some(2432)),
                (2432, Width::Ht40Minus, Some(2432)),
                (5180, Width::Ht40Plus, None),
                (5180, Width::Vht80, Some(5240)),
            ] {
                let found = match phy.check(&settings(mhz, width)) {
                    Err(Unfit::Forbidden { frequency_mhz, .. }) => Some(frequency_mhz),
                    _ => None,
                };
                assert_eq!(found, forbidden, "{flag}: {mhz} MHz, {width}");
            }
        }
    }

    #[test]
    fn a_channel_must_be_one_of_the_radio_as_a_whole() {
        let refused = phy(0, &[]).check(&settings(2432, Width::Ht40Plus));
        let missing = Unfit::Frequency {
            phy: "phy0".to_owned(),
            frequency_mhz: 2452,
        };
        assert_eq!(refused, Err(missing));
    }

    #[test]
    fn a_channel_may_be_too_wide_for_a_country() {
        let phy = phy(
            0,
            &[
                (5180, FREQUENCY_NO_HT40_PLUS),
                (5220, FREQUENCY_NO_HT40_MINUS),
                (5240, FREQUENCY_NO_80MHZ),
            ],
        );
        for (mhz, width, allowed) in [
            (5180, Width::Ht20, true),
            (5180, Width::Ht40Plus, false),
            // That its other half may not be the primary one is no matter.
            (5200, Width::Ht40Minus, true),
            (5220, Width::Ht40Plus, true),
            (5180, Width::Vht80, false),
        ] {
            let found = phy.check(&settings(mhz, width));
            assert_eq!(found.is_ok(), allowed, "{mhz} MHz, {width}: {found:?}");
        }
    }

    #[test]
    fn a_radio_may_be_too_old_for_a_width() {
        use Width::{Ht20, Ht40Minus, Ht40Plus, NoHt, Vht80};
        for (ht, vht, can) in [
            (None, false, &[NoHt][..]),
            (Some(0), false, &[NoHt, Ht20]),
            (Some(HT_40_MHZ | HT_40_MHZ_INTOLERANT), false, &[NoHt, Ht20]),
            (Some(HT_40_MHZ), false, &[NoHt, Ht20, Ht40Plus, Ht40Minus]),
            (
                Some(HT_40_MHZ),
                true,
                &[NoHt, Ht20, Ht40Plus, Ht40Minus, Vht80],
            ),
        ] {
            let phy = phy_with(ht, vht, 0, &[]);
            for (_, width) in Width::NAMES {
                let frequency_mhz = if width == Ht40Minus { 5200 } else { 5180 };
                let found = phy.check(&settings(frequency_mhz, width));
                match can.contains(&width) {
                    true => assert_eq!(found, Ok(()), "{ht:?} {width}"),
                    false => assert!(
                        matches!(found, Err(Unfit::Width { .. })),
                        "{ht:?} {width}: {found:?}"
                    ),
                }
            }
        }
    }
}
