//! Radios: what they can.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::nl80211::attribute;
use super::settings::{MacAddress, PhyChoice, RadioMode, RadioSettings};
use crate::kernel::raw::Attributes;

/// `enum nl80211_band_attr`.
const BAND_FREQS: u16 = 1;
/// `enum nl80211_frequency_attr`.
const FREQUENCY_MHZ: u16 = 1;
const FREQUENCY_DISABLED: u16 = 2;
const FREQUENCY_NO_IR: u16 = 3;
const FREQUENCY_RADAR: u16 = 5;
/// `enum nl80211_feature_flags`: userspace can do SAE, and manage peer links.
const FEATURE_SAE: u32 = 1 << 5;
const FEATURE_USERSPACE_MPM: u32 = 1 << 16;

/// A radio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Phy {
    pub(super) index: u32,
    pub(super) name: String,
    /// `enum nl80211_iftype`.
    iftypes: BTreeSet<u32>,
    frequencies: BTreeMap<u32, Frequency>,
    features: u32,
}

/// What is allowed on a frequency, in the country that is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frequency {
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
                ..
            } => "use a USB radio whose driver has mesh mode (ath9k_htc, mt76), or mode: ibss"
                .to_owned(),
            Self::Mode {
                mode: RadioMode::Ibss,
                ..
            } => "use another radio, or mode: 802.11s".to_owned(),
            Self::Sae { .. } => "use a radio whose driver leaves SAE to wpa_supplicant".to_owned(),
            Self::Frequency { phy, .. } => {
                format!("choose one of those that `iw phy {phy} info` lists")
            }
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

fn driver(phy: &str) -> String {
    driver_of(phy).map_or_else(String::new, |driver| format!(" ({driver})"))
}

impl Phy {
    pub(super) fn new(index: u32) -> Self {
        Self {
            index,
            name: format!("phy{index}"),
            iftypes: BTreeSet::new(),
            frequencies: BTreeMap::new(),
            features: 0,
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
        let bands = attributes.nested(attribute::WIPHY_BANDS).into_iter();
        let frequencies = bands
            .flat_map(Attributes::each)
            .filter_map(|band| band.nested(BAND_FREQS))
            .flat_map(Attributes::each);
        self.frequencies
            .extend(frequencies.filter_map(Frequency::of));
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
    pub(super) fn check(&self, settings: &RadioSettings, country: &str) -> Result<(), Unfit> {
        let phy = || self.name.clone();
        let (mode, frequency_mhz) = (settings.mode, settings.channel.frequency_mhz());
        if !self.iftypes.contains(&mode.iftype()) {
            return Err(Unfit::Mode { phy: phy(), mode });
        }
        let needed = FEATURE_SAE | FEATURE_USERSPACE_MPM;
        if settings.key.is_some() && self.features & needed == 0 {
            return Err(Unfit::Sae { phy: phy() });
        }
        let forbidden = |why| {
            Err(Unfit::Forbidden {
                frequency_mhz,
                why,
                country: country.to_owned(),
            })
        };
        match self.frequencies.get(&frequency_mhz) {
            None => Err(Unfit::Frequency {
                phy: phy(),
                frequency_mhz,
            }),
            Some(Frequency::Free) => Ok(()),
            Some(Frequency::Disabled) => forbidden("forbidden"),
            Some(Frequency::Passive) => forbidden("for listening only"),
            Some(Frequency::Radar) => forbidden("shared with radars, for which meshd cannot wait,"),
        }
    }
}

impl Frequency {
    fn of(attributes: Attributes<'_>) -> Option<(u32, Self)> {
        let mhz = attributes.u32(FREQUENCY_MHZ)?;
        let frequency = if attributes.flag(FREQUENCY_DISABLED) {
            Self::Disabled
        } else if attributes.flag(FREQUENCY_RADAR) {
            Self::Radar
        } else if attributes.flag(FREQUENCY_NO_IR) {
            Self::Passive
        } else {
            Self::Free
        };
        Some((mhz, frequency))
    }
}

/// The radio to take: of those that are meant the first that can do it.
///
/// # Errors
/// There is none, or the reason why the first of them cannot.
pub(super) fn choose<'a>(
    phys: &'a [Phy],
    settings: &RadioSettings,
    country: &str,
) -> Result<&'a Phy, Unfit> {
    let mut first = None;
    for phy in phys.iter().filter(|phy| phy.is(&settings.phy)) {
        match phy.check(settings, country) {
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
