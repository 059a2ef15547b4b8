//! Stations: what a driver knows of those whom an interface hears.

use std::time::Duration;

use super::nl80211::attribute;
use crate::kernel::raw::Attributes;

// `enum nl80211_sta_info`.
const INACTIVE_TIME: u16 = 1;
const PLINK_STATE: u16 = 6;
const SIGNAL: u16 = 7;
const TX_BITRATE: u16 = 8;
const TX_PACKETS: u16 = 10;
const TX_FAILED: u16 = 12;
const SIGNAL_AVG: u16 = 13;
const RX_BITRATE: u16 = 14;
const STA_FLAGS: u16 = 17;
const EXPECTED_THROUGHPUT: u16 = 27;
// `enum nl80211_rate_info`, in units of 100 kbit/s.
const RATE_BITRATE: u16 = 1;
const RATE_BITRATE32: u16 = 5;
/// `NL80211_STA_FLAG_AUTHORIZED`, in the second word of `struct nl80211_sta_flag_update`.
const FLAG_AUTHORIZED: u32 = 1 << 1;
/// `NL80211_STA_FLAG_MFP`: management frames are protected, as they are where SAE is required.
const FLAG_MFP: u32 = 1 << 4;

/// The state of an 802.11s peer link (`enum nl80211_plink_state`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerLink(u8);

impl PeerLink {
    /// Established: frames pass.
    pub const ESTABLISHED: Self = Self(4);
    /// Somebody told the kernel to refuse this neighbor.
    pub const BLOCKED: Self = Self(6);

    /// What `iw` calls it.
    pub const fn name(self) -> &'static str {
        match self.0 {
            0 => "LISTEN",
            1 => "OPN_SNT",
            2 => "OPN_RCVD",
            3 => "CNF_RCVD",
            4 => "ESTAB",
            5 => "HOLDING",
            6 => "BLOCKED",
            _ => "UNKNOWN",
        }
    }
}

/// A neighbor as the driver sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Station {
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// How long no frame of it was heard, acknowledgements and beacons included.
    pub inactive: Option<Duration>,
    /// How strong it is heard, in dBm.
    pub signal_dbm: Option<i32>,
    /// At what rate the last frame to it was sent, in kbit/s.
    pub tx_bitrate_kbps: Option<u64>,
    /// At what rate its last frame was received, in kbit/s.
    pub rx_bitrate_kbps: Option<u64>,
    /// What the driver expects to get through to it, in kbit/s; `None` where it does not know.
    pub expected_throughput_kbps: Option<u64>,
    /// Frames that were sent to it.
    pub tx_frames: Option<u64>,
    /// Frames to it that were given up.
    pub tx_failed: Option<u64>,
    /// The peer link with it, in 802.11s.
    pub peer_link: Option<PeerLink>,
    /// Whether data may pass.
    pub authorized: bool,
    /// Whether frames are protected by keys.
    pub protected: bool,
}

impl Station {
    pub(super) fn of(attributes: Attributes<'_>) -> Option<Self> {
        let mac = attributes.bytes(attribute::MAC)?.try_into().ok()?;
        let info = attributes.nested(attribute::STA_INFO)?;
        let signal = info.u8(SIGNAL_AVG).or_else(|| info.u8(SIGNAL));
        let inactive = info.u32(INACTIVE_TIME);
        let expected = info.u32(EXPECTED_THROUGHPUT).map(u64::from);
        let flags = flags(info);
        Some(Self {
            mac,
            inactive: inactive.map(|ms| Duration::from_millis(u64::from(ms))),
            signal_dbm: signal.map(|dbm| i32::from(dbm.cast_signed())),
            tx_bitrate_kbps: info.nested(TX_BITRATE).and_then(bitrate_kbps),
            rx_bitrate_kbps: info.nested(RX_BITRATE).and_then(bitrate_kbps),
            expected_throughput_kbps: expected.filter(|&kbps| kbps > 0),
            tx_frames: info.u32(TX_PACKETS).map(u64::from),
            tx_failed: info.u32(TX_FAILED).map(u64::from),
            peer_link: info.u8(PLINK_STATE).map(PeerLink),
            authorized: flags & FLAG_AUTHORIZED != 0,
            protected: flags & FLAG_MFP != 0,
        })
    }
}

fn bitrate_kbps(rate: Attributes<'_>) -> Option<u64> {
    let wide = rate.u32(RATE_BITRATE32).map(u64::from);
    let units = wide.or_else(|| rate.u16(RATE_BITRATE).map(u64::from))?;
    (units > 0).then_some(units * 100)
}

fn flags(info: Attributes<'_>) -> u32 {
    // `struct nl80211_sta_flag_update`: which flags are told, and which of them are set.
    let set = info.bytes(STA_FLAGS).and_then(|flags| flags.get(4..8));
    let set = set.and_then(|bytes| bytes.try_into().ok());
    set.map_or(0, u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::raw::push;

    #[test]
    fn what_a_driver_says_is_read() {
        let mut rate = Vec::new();
        push(&mut rate, RATE_BITRATE, &540_u16.to_ne_bytes());
        let mut info = Vec::new();
        push(&mut info, INACTIVE_TIME, &120_u32.to_ne_bytes());
        push(&mut info, SIGNAL, &[(-49_i8).cast_unsigned()]);
        push(&mut info, TX_BITRATE, &rate);
        push(&mut info, TX_PACKETS, &70_u32.to_ne_bytes());
        push(&mut info, TX_FAILED, &3_u32.to_ne_bytes());
        push(&mut info, EXPECTED_THROUGHPUT, &18_126_u32.to_ne_bytes());
        push(&mut info, PLINK_STATE, &[4]);
        let flags = [u32::MAX.to_ne_bytes(), FLAG_AUTHORIZED.to_ne_bytes()].concat();
        push(&mut info, STA_FLAGS, &flags);
        let mut message = Vec::new();
        push(&mut message, attribute::MAC, &[2, 0, 0, 0, 1, 0]);
        push(&mut message, attribute::STA_INFO, &info);
        let station = Station::of(Attributes::of(&message, 0)).unwrap();
        assert_eq!(
            station,
            Station {
                mac: [2, 0, 0, 0, 1, 0],
                inactive: Some(Duration::from_millis(120)),
                signal_dbm: Some(-49),
                tx_bitrate_kbps: Some(54_000),
                rx_bitrate_kbps: None,
                expected_throughput_kbps: Some(18_126),
                tx_frames: Some(70),
                tx_failed: Some(3),
                peer_link: Some(PeerLink::ESTABLISHED),
                authorized: true,
                protected: false,
            }
        );
    }

    #[test]
    fn a_driver_that_does_not_know_says_nothing() {
        let mut info = Vec::new();
        push(&mut info, EXPECTED_THROUGHPUT, &0_u32.to_ne_bytes());
        let mut message = Vec::new();
        push(&mut message, attribute::MAC, &[2, 0, 0, 0, 1, 0]);
        push(&mut message, attribute::STA_INFO, &info);
        let station = Station::of(Attributes::of(&message, 0)).unwrap();
        assert_eq!(station.expected_throughput_kbps, None);
        assert!(!station.authorized && station.inactive.is_none());
    }
}
