//! One counter, and how many bytes were on the wire of what it counted.
//!
//! Frames that the kernel has merged have the headers of one: 44 frames of TCP are counted 9 % short. The
//! other end of the hop may have seen them one by one, and both write down what they counted. How many
//! they were follows from their length, as all but the last of a packet are full. What options TCP has is
//! not known, so what was merged is told to within half of 1 %; to 1.4 % where the far end has an MTU of 1280
//! and fills no frame.

use serde::{Deserialize, Serialize};

use crate::kernel::{Counted, CounterSample};

/// What each frame has for itself, by what is inside of the tunnel: the outer headers (VXLAN's, as packets
/// of WireGuard are never merged), those of IPv4 or IPv6, and TCP's: 20 bytes, or 32 with timestamps.
const HEADERS: [u64; 2] = [70 + 20 + 26, 70 + 40 + 26];

/// A counter as last read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meter {
    all: Counted,
    merged: [Merged; 2],
}

/// The part of it that counts merged frames of one family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Merged {
    counted: Counted,
    /// Payload that did not fill a frame: the next reading goes on from it, so that it does not matter
    /// when a counter is read.
    rest: u64,
}

impl Meter {
    /// Bytes on the wire since it was last read, if a frame holds a packet of `frame` bytes.
    pub(super) fn advance(&mut self, sample: &CounterSample, frame: u16) -> u64 {
        let mut bytes = since(sample.all, self.all).bytes;
        self.all = sample.all;
        let merged = self.merged.iter_mut().zip(sample.merged).zip(HEADERS);
        for ((merged, counted), headers) in merged {
            bytes = bytes.saturating_add(merged.advance(counted, headers, frame));
        }
        bytes
    }
}

impl Merged {
    /// The bytes of headers that the kernel left away.
    fn advance(&mut self, counted: Counted, headers: u64, frame: u16) -> u64 {
        let Counted { bytes, packets } = since(counted, self.counted);
        let payload = bytes.saturating_sub(packets.saturating_mul(headers));
        let payload = payload.saturating_add(self.rest);
        let capacity = u64::from(frame).saturating_sub(headers).max(1);
        *self = Self {
            counted,
            rest: payload % capacity,
        };
        let further = (payload / capacity).saturating_sub(packets);
        further.saturating_mul(headers)
    }
}

/// What was counted since. A value below the one before means that counting began anew.
fn since(now: Counted, before: Counted) -> Counted {
    let bytes = now.bytes.checked_sub(before.bytes);
    let packets = now.packets.checked_sub(before.packets);
    let both = bytes.zip(packets);
    both.map_or(now, |(bytes, packets)| Counted { bytes, packets })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use mesh_proto::IfIndex;
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::{CounterKey, Flow, Neighbor};

    const FRAME: u16 = 1500;
    const NONE: [Counted; 2] = [Counted {
        bytes: 0,
        packets: 0,
    }; 2];

    fn sample(all: Counted, merged: [Counted; 2]) -> CounterSample {
        CounterSample {
            key: CounterKey {
                flow: Flow::UpTx,
                ifindex: IfIndex(1),
                neighbor: Neighbor::LinkLocal(Ipv6Addr::UNSPECIFIED),
                gateway: Ipv6Addr::UNSPECIFIED,
            },
            address: None,
            all,
            merged,
        }
    }

    /// Packets of so many full frames each, with these headers in each frame.
    fn merged(packets: u64, frames: u64, headers: u64) -> Counted {
        let payload = u64::from(FRAME) - headers;
        Counted {
            bytes: packets * (headers + frames * payload),
            packets,
        }
    }

    #[test]
    fn merged_frames_are_told_to_within_half_of_a_hundredth() {
        for (family, headers) in [(0, 70 + 40), (0, 70 + 52), (1, 70 + 60), (1, 70 + 72)] {
            for frames in [2, 3, 10, 44] {
                let counted = merged(1000, frames, headers);
                let mut by_family = NONE;
                by_family[family] = counted;
                let bytes = Meter::default().advance(&sample(counted, by_family), FRAME);
                let wire = 1000 * frames * u64::from(FRAME);
                let off = bytes.abs_diff(wire);
                assert!(off * 200 <= wire, "{bytes} of {wire}: {headers}, {frames}");
            }
        }
    }

    #[test]
    fn packets_of_one_frame_are_counted_as_they_are() {
        let counted = Counted {
            bytes: 123_456,
            packets: 100,
        };
        let mut meter = Meter::default();
        assert_eq!(meter.advance(&sample(counted, NONE), FRAME), 123_456);
        let later = Counted {
            bytes: 123_500,
            packets: 101,
        };
        assert_eq!(meter.advance(&sample(later, NONE), FRAME), 44);
    }

    proptest! {
        /// However often a counter is read, the sum is the same.
        #[test]
        fn slicing_changes_nothing(lengths in prop::collection::vec(1501_u64..65_000, 1..60), every in 1_usize..10) {
            let (mut often, mut total) = (Meter::default(), 0);
            let mut counted = Counted::default();
            for (number, length) in lengths.iter().enumerate() {
                counted.bytes += length;
                counted.packets += 1;
                if number % every == 0 {
                    total += often.advance(&sample(counted, [NONE[0], counted]), FRAME);
                }
            }
            total += often.advance(&sample(counted, [NONE[0], counted]), FRAME);
            let once = Meter::default().advance(&sample(counted, [NONE[0], counted]), FRAME);
            prop_assert_eq!(total, once);
        }
    }
}
