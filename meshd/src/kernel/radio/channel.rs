//! Where in the spectrum a radio works (IEEE 802.11-2020, annex E).

use std::fmt;

/// How much of the spectrum a radio takes, as its neighbors must as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 20 MHz without high throughput: what the oldest radios can.
    NoHt,
    /// 20 MHz.
    Ht20,
    /// 40 MHz: the channel and the one above it.
    Ht40Plus,
    /// 40 MHz: the channel and the one below it.
    Ht40Minus,
    /// 80 MHz, at 5 GHz.
    Vht80,
}

impl Width {
    /// All of them, by the names they have in configurations and in `iw`.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("noht", Self::NoHt),
        ("ht20", Self::Ht20),
        ("ht40+", Self::Ht40Plus),
        ("ht40-", Self::Ht40Minus),
        ("vht80", Self::Vht80),
    ];

    /// `enum nl80211_chan_width`.
    pub(super) const fn number(self) -> u32 {
        match self {
            Self::NoHt => 0,
            Self::Ht20 => 1,
            Self::Ht40Plus | Self::Ht40Minus => 2,
            Self::Vht80 => 3,
        }
    }
}

impl fmt::Display for Width {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(_, width)| width == self);
        f.write_str(name.map_or("?", |(name, _)| name))
    }
}

/// A channel: a valid frequency, and how much around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channel {
    frequency_mhz: u32,
    width: Width,
}

/// No such channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// No channel has this frequency.
    #[error("{0} MHz is no channel")]
    Frequency(u32),
    /// The channel is not part of one so wide.
    #[error("{0} MHz cannot be {1}")]
    Width(u32, Width),
}

impl Channel {
    /// A channel by its (primary) frequency in MHz.
    ///
    /// # Errors
    /// There is none at this frequency, or none so wide.
    pub fn new(frequency_mhz: u32, width: Width) -> Result<Self, ChannelError> {
        let channel = Self {
            frequency_mhz,
            width,
        };
        number(frequency_mhz).ok_or(ChannelError::Frequency(frequency_mhz))?;
        let refused = ChannelError::Width(frequency_mhz, width);
        channel.center_mhz().map(|_| channel).ok_or(refused)
    }

    /// Its primary frequency, in MHz.
    pub const fn frequency_mhz(self) -> u32 {
        self.frequency_mhz
    }

    /// How wide it is.
    pub const fn width(self) -> Width {
        self.width
    }

    /// Whether it is in the lower of the two bands.
    pub const fn is_at_2_4_ghz(self) -> bool {
        self.frequency_mhz < FIRST_AT_5_GHZ
    }

    /// The 20 MHz wide channels that it consists of, by their frequencies in MHz.
    pub(super) fn parts_mhz(self) -> Vec<u32> {
        let frequency = self.frequency_mhz;
        match (self.width, self.center_mhz()) {
            (Width::NoHt | Width::Ht20, _) | (_, None) => vec![frequency],
            (Width::Ht40Plus | Width::Ht40Minus, Some(center)) => vec![center - 10, center + 10],
            (Width::Vht80, Some(center)) => {
                vec![center - 30, center - 10, center + 10, center + 30]
            }
        }
    }

    /// The middle of it, in MHz.
    pub(super) fn center_mhz(self) -> Option<u32> {
        let frequency = self.frequency_mhz;
        let is_5_ghz = frequency >= FIRST_AT_5_GHZ;
        match self.width {
            Width::NoHt | Width::Ht20 => Some(frequency),
            Width::Ht40Plus => ht40_partner_is(is_5_ghz, frequency, 20).then(|| frequency + 10),
            Width::Ht40Minus => ht40_partner_is(is_5_ghz, frequency, -20).then(|| frequency - 10),
            Width::Vht80 => {
                let mut centers = VHT80_CENTERS_MHZ.into_iter();
                centers.find(|center| frequency.abs_diff(*center) <= 30)
            }
        }
    }
}

const FIRST_AT_5_GHZ: u32 = 5180;

/// 80 MHz wide channels; each is four narrow ones.
const VHT80_CENTERS_MHZ: [u32; 6] = [5210, 5290, 5530, 5610, 5690, 5775];

/// Whether the other half of 40 MHz, `offset` MHz away, is a channel, and at 5 GHz belongs to the
/// same pair: pairs do not overlap there.
fn ht40_partner_is(is_5_ghz: bool, frequency: u32, offset: i32) -> bool {
    let Some(partner) = frequency.checked_add_signed(offset) else {
        return false;
    };
    if !is_5_ghz {
        return frequency < 2484 && (2412..=2472).contains(&partner);
    }
    // Channels 36, 44, 52 and so on, and 149 and so on, are the lower halves.
    let lower = frequency.min(partner);
    let base = if lower < 5745 { 5180 } else { 5745 };
    number(partner).is_some() && (lower - base).is_multiple_of(40)
}

/// The number of the channel with this frequency, if there is one at 2.4 or 5 GHz.
pub fn number(frequency_mhz: u32) -> Option<u32> {
    match frequency_mhz {
        2484 => Some(14),
        2412..=2472 if (frequency_mhz - 2412).is_multiple_of(5) => Some((frequency_mhz - 2407) / 5),
        5180..=5340 | 5500..=5720 if (frequency_mhz - 5180).is_multiple_of(20) => {
            Some((frequency_mhz - 5000) / 5)
        }
        5745..=5885 if (frequency_mhz - 5745).is_multiple_of(20) => {
            Some((frequency_mhz - 5000) / 5)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_have_their_numbers() {
        for (frequency, channel) in [
            (2412, 1),
            (2437, 6),
            (2472, 13),
            (2484, 14),
            (5180, 36),
            (5320, 64),
            (5500, 100),
            (5720, 144),
            (5745, 149),
            (5825, 165),
        ] {
            assert_eq!(number(frequency), Some(channel), "{frequency}");
        }
        for none in [
            0,
            2407,
            2413,
            2477,
            2485,
            5175,
            5190,
            5360,
            5730,
            5890,
            u32::MAX,
        ] {
            assert_eq!(number(none), None, "{none}");
        }
    }

    #[test]
    fn wide_channels_consist_of_narrow_ones() {
        for (frequency, width, parts) in [
            (5200, Width::Ht20, &[5200][..]),
            (2412, Width::Ht40Plus, &[2412, 2432]),
            (5200, Width::Ht40Minus, &[5180, 5200]),
            (5260, Width::Vht80, &[5260, 5280, 5300, 5320]),
        ] {
            let channel = Channel::new(frequency, width).unwrap();
            assert_eq!(channel.parts_mhz(), parts, "{frequency} {width}");
            let numbered = parts.iter().all(|part| number(*part).is_some());
            assert!(numbered, "{frequency} {width}");
        }
    }

    #[test]
    fn wide_channels_have_their_middle() {
        for (frequency, width, center) in [
            (2412, Width::Ht40Plus, Some(2422)),
            (2412, Width::Ht40Minus, None),
            (2472, Width::Ht40Plus, None),
            (2484, Width::Ht40Minus, None),
            (5180, Width::Ht40Plus, Some(5190)),
            (5180, Width::Ht40Minus, None),
            (5200, Width::Ht40Minus, Some(5190)),
            (5200, Width::Ht40Plus, None),
            (5745, Width::Ht40Plus, Some(5755)),
            (5720, Width::Ht40Minus, Some(5710)),
            (5180, Width::Vht80, Some(5210)),
            (5240, Width::Vht80, Some(5210)),
            (5260, Width::Vht80, Some(5290)),
            (5825, Width::Vht80, None),
            (2412, Width::Vht80, None),
        ] {
            let made = Channel::new(frequency, width);
            assert_eq!(
                made.ok().and_then(Channel::center_mhz),
                center,
                "{frequency} {width}"
            );
        }
    }
}
