//! The radio medium: who hears whom, how well, and silence at the push of a button.
//!
//! There are two kinds, and a village is in one or the other. The emulated one needs nothing of a
//! kernel but bridges and loses frames as radio would; its interfaces are there from the start.
//! The other consists of the 802.11 radios that the kernel simulates, in the virtual machine only:
//! an interface is what a router makes of its radio. Cutting and healing are the same on both.

mod bridge;
mod radios;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};

use self::bridge::Bridge;
use self::radios::Radios;
use crate::namespace::Namespace;

/// The fraction of frames that get lost, exact to one in a million.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Loss {
    per_million: u32,
}

impl Loss {
    /// A perfect link.
    pub const NONE: Self = Self { per_million: 0 };

    /// This percentage of the frames of a broadcast; 100 at most.
    #[must_use]
    pub fn percent(percent: u32) -> Self {
        Self {
            per_million: percent.min(100) * 10_000,
        }
    }

    /// What is left of it for a unicast frame: a radio repeats one that is not acknowledged, and
    /// four losses in a row lose it.
    #[must_use]
    pub fn after_retries(self) -> Self {
        let per_million = u128::from(self.per_million).pow(4) / 1_000_000_u128.pow(3);
        Self {
            per_million: u32::try_from(per_million).unwrap_or(self.per_million),
        }
    }

    /// Frames lost in a million.
    #[must_use]
    pub fn per_million(self) -> u32 {
        self.per_million
    }

    fn chain(self) -> String {
        format!("loss_{}", self.per_million)
    }

    fn chain_rules(self) -> String {
        let group = "ether daddr & 01:00:00:00:00:00 ==";
        let lose = |loss: Self| match loss.per_million {
            1_000_000.. => "drop".to_owned(),
            some => format!("numgen random mod 1000000 < {some} drop"),
        };
        format!(
            "{group} 01:00:00:00:00:00 {}\n{group} 00:00:00:00:00:00 {}\naccept\n",
            lose(self),
            lose(self.after_retries()),
        )
    }
}

/// A direction: from the first to the second.
type Way = (String, String);
/// Directions, and how much gets lost on each.
type Ways = BTreeMap<Way, Loss>;

/// The medium. Attach radios, then say who is in range of whom.
#[derive(Debug)]
pub struct Air {
    medium: Medium,
    radios: BTreeSet<String>,
    /// Every direction in range, whether it is cut at the moment or not.
    ways: Ways,
    /// The directions frames pass on.
    open: Ways,
    silent: BTreeSet<String>,
}

#[derive(Debug)]
enum Medium {
    Bridge(Bridge),
    Radios(Radios),
}

impl Air {
    /// An emulated medium that is empty, in a namespace of its own.
    ///
    /// # Errors
    /// The kernel lacks bridges, veth or nftables for bridges; the text says which.
    pub fn new(name: &str) -> Result<Self> {
        Ok(Self::of(Medium::Bridge(Bridge::new(name)?)))
    }

    /// `count` simulated 802.11 radios that wait for a router. They belong to the kernel as a
    /// whole: there is one such medium at a time.
    ///
    /// # Errors
    /// This is not the virtual machine, or its kernel has no such radios.
    pub fn with_radios(count: usize) -> Result<Self> {
        Ok(Self::of(Medium::Radios(Radios::load(count)?)))
    }

    fn of(medium: Medium) -> Self {
        Self {
            medium,
            radios: BTreeSet::new(),
            ways: Ways::new(),
            open: Ways::new(),
            silent: BTreeSet::new(),
        }
    }

    /// The namespace the bridge of an emulated medium lives in, for looking at it.
    ///
    /// # Errors
    /// The medium consists of radios.
    pub fn namespace(&self) -> Result<&Namespace> {
        match &self.medium {
            Medium::Bridge(bridge) => Ok(bridge.namespace()),
            Medium::Radios(_) => bail!("802.11 radios have no namespace in common"),
        }
    }

    /// What the kernel calls a router's 802.11 radio; nothing in an emulated medium.
    #[must_use]
    pub fn phy(&self, radio: &str) -> Option<&str> {
        match &self.medium {
            Medium::Bridge(_) => None,
            Medium::Radios(radios) => radios.phy(radio),
        }
    }

    /// The address of a router's 802.11 radio, which stays the same when it was replugged; nothing
    /// in an emulated medium.
    #[must_use]
    pub fn radio_address(&self, radio: &str) -> Option<&str> {
        match &self.medium {
            Medium::Bridge(_) => None,
            Medium::Radios(radios) => radios.address(radio),
        }
    }

    pub(crate) fn describe_radios(&self) -> String {
        match &self.medium {
            Medium::Bridge(_) => String::new(),
            Medium::Radios(radios) => radios.describe(),
        }
    }

    /// Gives a radio called `radio` to `node`, where `interface` is its interface. It is in range
    /// of nobody yet. An 802.11 radio has no interface before somebody makes one.
    ///
    /// # Errors
    /// The name is taken, the kernel has no veth devices, or there are no more 802.11 radios.
    pub fn attach(&mut self, radio: &str, node: &Namespace, interface: &str) -> Result<()> {
        if !self.radios.insert(radio.to_owned()) {
            bail!("there is a radio {radio} already");
        }
        match &mut self.medium {
            Medium::Bridge(bridge) => bridge.attach(radio, node, interface),
            Medium::Radios(radios) => radios.attach(radio, node, interface),
        }
    }

    /// Brings two radios into range of each other, or changes how well they hear each other.
    ///
    /// # Errors
    /// One of them does not exist. Between 802.11 radios, loss happens where frames come in: both
    /// interfaces have to be there.
    pub fn connect(&mut self, a: &str, b: &str, loss: Loss) -> Result<()> {
        self.put([(way(a, b), loss), (way(b, a), loss)])
    }

    /// Lets `to` hear what `from` sends, for links that are better in one direction.
    ///
    /// # Errors
    /// As for [`Self::connect`]. Two 802.11 radios are in range of each other or not, so they
    /// have to be connected first.
    pub fn hear(&mut self, from: &str, to: &str, loss: Loss) -> Result<()> {
        self.put([(way(from, to), loss)])
    }

    fn put<const N: usize>(&mut self, ways: [(Way, Loss); N]) -> Result<()> {
        for radio in ways.iter().flat_map(|((from, to), _)| [from, to]) {
            if !self.radios.contains(radio) {
                bail!("there is no radio {radio}");
            }
        }
        let mut open = self.open.clone();
        open.extend(ways.clone());
        self.change(open)?;
        self.ways.extend(ways);
        Ok(())
    }

    /// Takes two radios out of range of each other, both directions at once. Nothing tells them.
    ///
    /// # Errors
    /// They were never in range.
    pub fn cut(&mut self, a: &str, b: &str) -> Result<()> {
        self.known(a, b)?;
        self.close(|(from, to)| (from == a && to == b) || (from == b && to == a))
    }

    /// Brings two radios that were cut back into range, as they were before.
    ///
    /// # Errors
    /// They were never in range.
    pub fn heal(&mut self, a: &str, b: &str) -> Result<()> {
        self.known(a, b)?;
        self.reopen(|(from, to)| (from == a && to == b) || (from == b && to == a))
    }

    /// Silences a radio altogether, as when its router loses power.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn power_off(&mut self, radio: &str) -> Result<()> {
        self.silent.insert(radio.to_owned());
        self.close(|(from, to)| from == radio || to == radio)
    }

    /// Brings a silenced radio back; links that were cut meanwhile come back as well.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn power_on(&mut self, radio: &str) -> Result<()> {
        self.silent.remove(radio);
        self.reopen(|(from, to)| from == radio || to == radio)
    }

    fn known(&self, a: &str, b: &str) -> Result<()> {
        if !self.ways.contains_key(&way(a, b)) {
            bail!("{a} was never in range of {b}");
        }
        Ok(())
    }

    fn close(&mut self, chosen: impl Fn(&Way) -> bool) -> Result<()> {
        let mut open = self.open.clone();
        open.retain(|way, _| !chosen(way));
        self.change(open)
    }

    fn reopen(&mut self, chosen: impl Fn(&Way) -> bool) -> Result<()> {
        let mut open = self.open.clone();
        for (way, loss) in &self.ways {
            let (from, to) = way;
            if chosen(way) && !self.silent.contains(from) && !self.silent.contains(to) {
                open.insert(way.clone(), *loss);
            }
        }
        self.change(open)
    }

    fn change(&mut self, open: Ways) -> Result<()> {
        match &mut self.medium {
            Medium::Bridge(bridge) => bridge.change(&self.open, &open)?,
            Medium::Radios(radios) => radios.change(&open)?,
        }
        self.open = open;
        Ok(())
    }

    /// Takes the driver away with all its 802.11 radios, and brings it back: interfaces are gone,
    /// and the same routers have radios of other names, in range of the same neighbors.
    ///
    /// # Errors
    /// The medium is emulated, or the kernel refuses.
    pub fn replug(&mut self) -> Result<()> {
        match &mut self.medium {
            Medium::Bridge(_) => bail!("there are no 802.11 radios in an emulated medium"),
            Medium::Radios(radios) => radios.replug()?,
        }
        self.change(self.open.clone())
    }
}

fn way(from: &str, to: &str) -> Way {
    (from.to_owned(), to.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unicast_frame_is_lost_when_four_attempts_are() {
        assert_eq!(Loss::percent(30).after_retries().per_million(), 8_100);
        assert_eq!(Loss::percent(10).after_retries().per_million(), 100);
        assert_eq!(Loss::percent(100).after_retries().per_million(), 1_000_000);
        assert_eq!(Loss::NONE.after_retries(), Loss::NONE);
    }
}
