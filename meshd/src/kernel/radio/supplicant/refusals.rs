//! Who has another key, as far as can be told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::kernel::radio::settings::MacAddress;

/// More neighbors than a radio has. Anybody can make up addresses, and be refused under each of them.
const MAX_NEIGHBORS: usize = 64;

/// Who was not refused for so long is gone: who gets the right key is forgotten at once.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// The neighbors with whom the handshake failed since it last succeeded.
#[derive(Debug, Default)]
pub(super) struct Refusals(BTreeMap<[u8; 6], Refused>);

#[derive(Debug)]
struct Refused {
    times: u32,
    last: Instant,
}

impl Refusals {
    /// Takes in an event of wpa_supplicant, if it is about that.
    pub(super) fn note(&mut self, event: &str, now: Instant) {
        if let Some((_, rest)) = event.split_once("MESH-SAE-AUTH-FAILURE ") {
            if let Some(mac) = address(rest) {
                self.refuse(mac, now);
            }
        } else if let Some((_, rest)) = event.split_once("MESH-PEER-CONNECTED ")
            && let Some(mac) = address(rest)
        {
            self.0.remove(&mac);
        }
    }

    /// Takes the place of the one that was refused longest ago, if there are too many.
    fn refuse(&mut self, mac: [u8; 6], now: Instant) {
        if self.0.len() >= MAX_NEIGHBORS && !self.0.contains_key(&mac) {
            let oldest = self.0.iter().min_by_key(|(_, refused)| refused.last);
            if let Some(oldest) = oldest.map(|(mac, _)| *mac) {
                self.0.remove(&oldest);
            }
        }
        let refused = self.0.entry(mac).or_insert(Refused {
            times: 0,
            last: now,
        });
        refused.times = refused.times.saturating_add(1);
        refused.last = now;
    }

    /// How often each was refused, without those that are gone.
    pub(super) fn counts(&mut self, now: Instant) -> BTreeMap<[u8; 6], u32> {
        self.0
            .retain(|_, refused| now.duration_since(refused.last) < MAX_AGE);
        let counts = self.0.iter().map(|(mac, refused)| (*mac, refused.times));
        counts.collect()
    }
}

fn address(text: &str) -> Option<[u8; 6]> {
    let text = text.trim().trim_start_matches("addr=");
    MacAddress::parse(text.split(' ').next()?).map(|mac| mac.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(refusals: &mut Refusals, number: u8, now: Instant) {
        let event = format!("<3>MESH-SAE-AUTH-FAILURE addr=02:00:00:00:00:{number:02x}");
        refusals.note(&event, now);
    }

    #[test]
    fn who_has_another_key_is_remembered_until_the_keys_agree() {
        let mut refusals = Refusals::default();
        let now = Instant::now();
        for event in [
            "<3>MESH-SAE-AUTH-FAILURE addr=02:00:00:00:01:00",
            "<3>MESH-SAE-AUTH-FAILURE addr=02:00:00:00:01:00",
            "<3>MESH-SAE-AUTH-FAILURE addr=02:00:00:00:02:00",
            "<3>MESH-SAE-AUTH-FAILURE addr=what",
            "<3>MESH-PEER-CONNECTED 02:00:00:00:02:00",
        ] {
            refusals.note(event, now);
        }
        let expected = BTreeMap::from([([2, 0, 0, 0, 1, 0], 2)]);
        assert_eq!(refusals.counts(now), expected);
    }

    #[test]
    fn who_is_gone_is_forgotten() {
        let mut refusals = Refusals::default();
        let start = Instant::now();
        refuse(&mut refusals, 1, start);
        refuse(&mut refusals, 2, start);
        let later = start + MAX_AGE / 2;
        refuse(&mut refusals, 2, later);
        assert_eq!(refusals.counts(later).len(), 2);
        let counts = refusals.counts(start + MAX_AGE);
        assert_eq!(counts, BTreeMap::from([([2, 0, 0, 0, 0, 2], 2)]));
    }

    #[test]
    fn made_up_addresses_take_no_more_than_their_place() {
        let mut refusals = Refusals::default();
        let mut now = Instant::now();
        for number in 0..=u8::MAX {
            now += Duration::from_secs(1);
            // The first of them stays because it is refused time and again.
            refuse(&mut refusals, 0, now);
            refuse(&mut refusals, number, now);
        }
        let counts = refusals.counts(now);
        assert_eq!(counts.len(), MAX_NEIGHBORS);
        assert!(counts.contains_key(&[2, 0, 0, 0, 0, 0]));
        assert!(counts.contains_key(&[2, 0, 0, 0, 0, u8::MAX]));
    }
}
