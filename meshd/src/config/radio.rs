//! The radio under a mesh interface.

use super::document::Node;
use super::error::quoted;
use super::fields::{Fields, Value};
use super::path::{Fault, Path};
use super::values::{check_length, whole_number};
use crate::kernel::radio::{
    Channel, MacAddress, PhyChoice, RadioMode, RadioSettings, SaeKey, Width,
};

/// What can be said of a radio.
pub(super) const KEYS: &[&str] = &[
    "phy",
    "mode",
    "id",
    "frequency_mhz",
    "width",
    "key",
    "mcast_rate_kbps",
    "rssi_threshold_dbm",
];
const KEY_KEYS: &[&str] = &["sae"];

/// Reads what `node` says a radio should be.
pub(super) fn read(node: &Node, path: Path) -> Result<RadioSettings, Fault> {
    let fields = Fields::of(node, path, KEYS)?;
    let mode = fields.optional("mode")?.unwrap_or(RadioMode::Mesh);
    let settings = RadioSettings {
        phy: fields.optional("phy")?.unwrap_or(PhyChoice::Any),
        mode,
        id: fields.required::<Id>("id")?.0,
        channel: read_channel(&fields)?,
        key: read_key(&fields)?,
        mcast_rate_100kbps: fields.optional("mcast_rate_kbps")?.map(|Rate(rate)| rate),
        rssi_threshold_dbm: fields
            .optional("rssi_threshold_dbm")?
            .map(|Threshold(dbm)| dbm),
    };
    for (key, is_given) in [
        ("key", settings.key.is_some()),
        ("rssi_threshold_dbm", settings.rssi_threshold_dbm.is_some()),
    ] {
        if is_given && mode == RadioMode::Ibss {
            let what = "is for 802.11s only";
            return Err(Fault::new(fields.path_of(key), what, "mode: 802.11s"));
        }
    }
    if settings.key.is_some() && settings.mcast_rate_100kbps.is_some() {
        let path = fields.path_of("mcast_rate_kbps");
        let what = "cannot be set in an encrypted mesh";
        return Err(Fault::new(path, what, "the driver's own rate"));
    }
    // wpa_supplicant would make it narrower without a word (`ibss_mesh_setup_freq`).
    let width = settings.channel.width();
    let is_wide = matches!(width, Width::Ht40Plus | Width::Ht40Minus);
    if settings.key.is_some() && is_wide && settings.channel.is_at_2_4_ghz() {
        let what = format!("cannot be {width} at 2.4 GHz in an encrypted mesh");
        return Err(Fault::new(fields.path_of("width"), what, "noht or ht20"));
    }
    let rate = settings.mcast_rate_100kbps;
    let is_slow = rate.is_some_and(|rate| Rate::OF_2_4_GHZ.contains(&rate));
    if is_slow && !settings.channel.is_at_2_4_ghz() {
        let path = fields.path_of("mcast_rate_kbps");
        let allowed = "6000, 9000, 12000, 18000, 24000, 36000, 48000 or 54000 at 5 GHz";
        return Err(Fault::new(path, "is a rate of 2.4 GHz", allowed));
    }
    Ok(settings)
}

fn read_channel(fields: &Fields<'_>) -> Result<Channel, Fault> {
    let Frequency(mhz) = fields.required("frequency_mhz")?;
    let width = fields.optional("width")?.unwrap_or(Width::Ht20);
    let fault = |key, error: String, allowed| Fault::new(fields.path_of(key), error, allowed);
    // A frequency that no width makes a channel is at fault itself.
    Channel::new(mhz, Width::NoHt)
        .map_err(|error| fault("frequency_mhz", error.to_string(), Frequency::ALLOWED))?;
    Channel::new(mhz, width).map_err(|error| {
        fault(
            "width",
            error.to_string(),
            "one that its neighbors in the band allow",
        )
    })
}

fn read_key(fields: &Fields<'_>) -> Result<Option<SaeKey>, Fault> {
    let Some(node) = fields.node("key") else {
        return Ok(None);
    };
    let path = fields.path_of("key");
    // Whatever is written here instead may be the password, which no message repeats.
    let is_as_it_should = matches!(node, Node::Map(entries)
        if entries.iter().all(|(key, _)| KEY_KEYS.contains(&key.as_str())));
    if !is_as_it_should {
        let what = "is not a mapping with sae alone".to_owned();
        return Err(Fault::new(path, what, "such as {sae: PASSWORD}"));
    }
    let key = Fields::of(node, path, KEY_KEYS)?;
    key.required("sae").map(Some)
}

/// A mesh id or SSID.
struct Id(String);

/// In MHz.
struct Frequency(u32);

/// In units of 100 kbit/s.
struct Rate(u32);

/// In dBm.
struct Threshold(i8);

impl Value for RadioMode {
    const ALLOWED: &'static str = "802.11s or ibss";

    fn from_text(text: &str) -> Result<Self, String> {
        by_name(&Self::NAMES, text)
    }
}

impl Value for Width {
    const ALLOWED: &'static str = "noht, ht20, ht40+, ht40- or vht80";

    fn from_text(text: &str) -> Result<Self, String> {
        by_name(&Self::NAMES, text)
    }
}

impl Value for PhyChoice {
    const ALLOWED: &'static str =
        "a radio such as phy0, its Ethernet address such as 02:00:00:00:01:00, or any";

    fn from_text(text: &str) -> Result<Self, String> {
        /// More than the kernel needs.
        const MAX_LEN: usize = 32;
        if text == "any" {
            return Ok(Self::Any);
        }
        if let Some(mac) = MacAddress::parse(text) {
            return Ok(Self::Address(mac.0));
        }
        check_length(text, MAX_LEN)?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        // It becomes part of a path.
        match text.chars().all(is_plain) && !text.starts_with('.') {
            true => Ok(Self::Named(text.to_owned())),
            false => Err(format!("is {}", quoted(text))),
        }
    }
}

impl Value for Id {
    const ALLOWED: &'static str = "1 to 32 bytes without control characters";

    fn from_text(text: &str) -> Result<Self, String> {
        const MAX_LEN: usize = 32;
        check_length(text, MAX_LEN)?;
        match text.chars().any(char::is_control) {
            true => Err(format!("{} has control characters", quoted(text))),
            false => Ok(Self(text.to_owned())),
        }
    }
}

impl Value for Frequency {
    const ALLOWED: &'static str = "the frequency of a channel, such as 2412 or 5180";

    fn from_text(text: &str) -> Result<Self, String> {
        let mhz = whole_number(text).and_then(|mhz| u32::try_from(mhz).ok());
        mhz.map(Self).ok_or_else(|| format!("is {}", quoted(text)))
    }
}

impl Rate {
    /// Of 802.11b, a and g, in units of 100 kbit/s.
    const ALL: [u32; 12] = [10, 20, 55, 60, 90, 110, 120, 180, 240, 360, 480, 540];
    /// Those of 802.11b, which 5 GHz does not have.
    const OF_2_4_GHZ: [u32; 4] = [10, 20, 55, 110];
}

impl Value for Rate {
    const ALLOWED: &'static str =
        "1000, 2000, 5500, 6000, 9000, 11000, 12000, 18000, 24000, 36000, 48000 or 54000";

    fn from_text(text: &str) -> Result<Self, String> {
        let kbps = whole_number(text).and_then(|kbps| u32::try_from(kbps).ok());
        let rate = kbps.filter(|kbps| kbps.is_multiple_of(100));
        rate.map(|kbps| kbps / 100)
            .filter(|rate| Self::ALL.contains(rate))
            .map(Self)
            .ok_or_else(|| format!("is {}", quoted(text)))
    }
}

impl Value for Threshold {
    const ALLOWED: &'static str = "-100 to -20, such as -80";

    fn from_text(text: &str) -> Result<Self, String> {
        let dbm = text.strip_prefix('-').and_then(whole_number);
        let dbm = dbm.and_then(|dbm| i8::try_from(dbm).ok()).map(|dbm| -dbm);
        dbm.filter(|dbm| (-100..=-20).contains(dbm))
            .map(Self)
            .ok_or_else(|| format!("is {}", quoted(text)))
    }
}

/// What is wrong with a password never shows it.
impl Value for SaeKey {
    const ALLOWED: &'static str = "a password of 8 to 128 bytes without control characters";

    fn from_text(text: &str) -> Result<Self, String> {
        if !(8..=128).contains(&text.len()) {
            return Err(format!("is {} bytes long", text.len()));
        }
        match text.chars().any(char::is_control) {
            true => Err("has control characters".to_owned()),
            false => Ok(Self::new(text)),
        }
    }
}

fn by_name<T: Copy>(names: &[(&str, T)], text: &str) -> Result<T, String> {
    let lower = text.to_ascii_lowercase();
    let found = names.iter().find(|(name, _)| *name == lower);
    found
        .map(|(_, value)| *value)
        .ok_or_else(|| format!("is {}", quoted(text)))
}
