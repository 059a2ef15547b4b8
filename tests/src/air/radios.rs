//! 802.11 radios without hardware: `mac80211_hwsim`, real drivers of simulated devices.
//!
//! Each router gets one. Radios hear each other when they have a group in common, and the groups
//! of a radio are the bits of a mask: every pair in range has a bit of its own, so that taking it
//! from both separates these two and nobody else. A radio without a bit is silent, beacons
//! included, and keeps its carrier. Loss is a rule where frames come in, as the driver has none.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::{Loss, Way, Ways};
use crate::namespace::Namespace;
use crate::{command, vm};

const MODULE: &str = "mac80211_hwsim";

/// Every simulated radio of the kernel.
#[derive(Debug)]
pub(super) struct Radios {
    /// Those that no router has, the next one last.
    free: Vec<Phy>,
    used: BTreeMap<String, Radio>,
    groups: Groups,
}

/// A radio, by the kernel's name for it and by the address it was made with.
#[derive(Debug)]
struct Phy {
    name: String,
    address: String,
}

/// A radio that a router has.
#[derive(Debug)]
struct Radio {
    phy: Phy,
    namespace: Namespace,
    interface: String,
    mask: u64,
    /// What gets lost of what it hears, by who sends it.
    losses: BTreeMap<String, Loss>,
    /// The interface that loses it. The rules of one do not outlive it.
    lossy: Option<u32>,
}

impl Radios {
    /// Loads the driver with `count` radios, each silent and without an interface.
    pub(super) fn load(count: usize) -> Result<Self> {
        // The radios are the kernel's, and no sandbox holds them.
        ensure!(
            vm::inside(),
            "simulated radios are for the virtual machine only"
        );
        Ok(Self {
            free: load(count)?,
            used: BTreeMap::new(),
            groups: Groups::default(),
        })
    }

    /// Moves a radio into the namespace of a router.
    pub(super) fn attach(&mut self, name: &str, node: &Namespace, interface: &str) -> Result<()> {
        let phy = self.free.pop().context("no radio is left")?;
        give(&phy, node)?;
        let radio = Radio {
            phy,
            namespace: node.clone(),
            interface: interface.to_owned(),
            mask: 0,
            losses: BTreeMap::new(),
            lossy: None,
        };
        self.used.insert(name.to_owned(), radio);
        Ok(())
    }

    /// What the kernel calls a router's radio at the moment.
    pub(super) fn phy(&self, name: &str) -> Option<&str> {
        self.used.get(name).map(|radio| radio.phy.name.as_str())
    }

    /// The address that a router's radio has, also after it was replugged.
    pub(super) fn address(&self, name: &str) -> Option<&str> {
        self.used.get(name).map(|radio| radio.phy.address.as_str())
    }

    /// Who has which radio, and its groups, for people.
    pub(super) fn describe(&self) -> String {
        let mut text = String::new();
        for (name, radio) in &self.used {
            let Phy { name: phy, address } = &radio.phy;
            let group = fs::read_to_string(group_file(phy)).unwrap_or_default();
            let _ = writeln!(text, "{name}: {phy}, {address}, group {}", group.trim());
        }
        text
    }

    /// Lets exactly these hear each other.
    pub(super) fn change(&mut self, ways: &Ways) -> Result<()> {
        if let Some((from, to)) = ways.keys().find(|way| !ways.contains_key(&back(way))) {
            bail!("{to} cannot hear {from} if {from} is out of its range: connect them first");
        }
        let pairs = ways.keys().filter(|(from, to)| from < to).cloned();
        let masks = self.groups.masks(pairs)?;
        for (name, radio) in &mut self.used {
            let mask = masks.get(name).copied().unwrap_or_default();
            if radio.mask != mask {
                set_group(&radio.phy.name, mask)?;
                radio.mask = mask;
            }
        }
        self.lose(ways)
    }

    fn lose(&mut self, ways: &Ways) -> Result<()> {
        let mut wanted: BTreeMap<&str, BTreeMap<String, Loss>> = BTreeMap::new();
        for ((from, to), loss) in ways.iter().filter(|(_, loss)| **loss != Loss::NONE) {
            wanted.entry(to).or_default().insert(from.clone(), *loss);
        }
        let mut changes = Vec::new();
        for (name, radio) in &self.used {
            let losses = wanted.remove(name.as_str()).unwrap_or_default();
            if losses.is_empty() && radio.losses.is_empty() {
                continue;
            }
            let index = radio.namespace.interface_index(&radio.interface).ok();
            // Rules that were lost with their interface come back with the next one.
            if losses == radio.losses && (index.is_none() || index == radio.lossy) {
                continue;
            }
            radio.namespace.nft(&self.rules(radio, &losses)?)?;
            changes.push((name.clone(), losses, index));
        }
        for (name, losses, index) in changes {
            if let Some(radio) = self.used.get_mut(&name) {
                (radio.losses, radio.lossy) = (losses, index);
            }
        }
        Ok(())
    }

    /// The rules of a radio that hears less than all.
    fn rules(&self, radio: &Radio, losses: &BTreeMap<String, Loss>) -> Result<String> {
        let mut text = "table netdev radio\ndelete table netdev radio\n".to_owned();
        if losses.is_empty() {
            return Ok(text);
        }
        text.push_str("table netdev radio {\n");
        // Chains exist before they are gone to.
        let mut chains: Vec<&Loss> = losses.values().collect();
        chains.sort_unstable();
        chains.dedup();
        for loss in chains {
            let _ = writeln!(text, "chain {} {{\n{}}}", loss.chain(), loss.chain_rules());
        }
        let _ = writeln!(
            text,
            "chain hear {{\ntype filter hook ingress device \"{}\" priority 0; policy accept;",
            radio.interface
        );
        for (from, loss) in losses {
            let sender = self.used.get(from).context("a sender without a radio")?;
            let address = sender.namespace.hardware_address(&sender.interface)?;
            let _ = writeln!(text, "ether saddr {address} goto {}", loss.chain());
        }
        text.push_str("}\n}\n");
        Ok(text)
    }

    /// Takes the driver away and brings it back, each router with a new radio that is silent.
    pub(super) fn replug(&mut self) -> Result<()> {
        self.free = load(self.free.len() + self.used.len())?;
        // The driver gives out its addresses in order, and each router has its own again.
        let mut radios: Vec<&mut Radio> = self.used.values_mut().collect();
        radios.sort_by_key(|radio| number(&radio.phy.name));
        for radio in radios {
            radio.phy = self.free.pop().context("the kernel has fewer radios now")?;
            radio.mask = 0;
            give(&radio.phy, &radio.namespace)?;
        }
        Ok(())
    }
}

impl Drop for Radios {
    fn drop(&mut self) {
        // Whoever loads it next sees whether it is gone.
        let _ = unload();
    }
}

fn back((from, to): &Way) -> Way {
    (to.clone(), from.clone())
}

/// Loads the driver and returns its radios, the first one last.
fn load(count: usize) -> Result<Vec<Phy>> {
    unload()?;
    command::run("modprobe", &format!("{MODULE} radios={count}"))
        .with_context(|| format!("simulated radios (kernel module `{MODULE}`)"))?;
    let phys = phys()?;
    ensure!(
        phys.len() == count,
        "{count} radios wanted, the kernel has {phys:?}"
    );
    for phy in &phys {
        remove_interfaces(&phy.name)?;
        set_group(&phy.name, 0)?;
    }
    Ok(phys)
}

fn unload() -> Result<()> {
    if Path::new("/sys/module").join(MODULE).exists() {
        // What it needs stays, or loading it would take a second more.
        command::run("rmmod", MODULE)?;
    }
    Ok(())
}

/// The radios outside of all namespaces of routers, the first one last.
fn phys() -> Result<Vec<Phy>> {
    let mut names = names("/sys/class/ieee80211")?;
    names.sort_by_key(|name| Reverse(number(name)));
    names
        .into_iter()
        .map(|name| {
            let file = format!("/sys/class/ieee80211/{name}/macaddress");
            let address = fs::read_to_string(&file).with_context(|| format!("read {file}"))?;
            let address = address.trim().to_owned();
            Ok(Phy { name, address })
        })
        .collect()
}

/// The number in a name like `phy12`.
fn number(phy: &str) -> Option<u32> {
    phy.trim_start_matches(char::is_alphabetic).parse().ok()
}

/// The driver makes a station interface on each radio, which no router asked for.
fn remove_interfaces(phy: &str) -> Result<()> {
    for interface in names(&format!("/sys/class/ieee80211/{phy}/device/net"))? {
        command::run("iw", &format!("dev {interface} del"))?;
    }
    Ok(())
}

fn names(directory: &str) -> Result<Vec<String>> {
    fs::read_dir(directory)
        .with_context(|| format!("read {directory}"))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

fn give(phy: &Phy, node: &Namespace) -> Result<()> {
    let arguments = format!("phy {} set netns name {}", phy.name, node.name());
    command::run("iw", &arguments).map(drop)
}

fn group_file(phy: &str) -> String {
    format!("/sys/kernel/debug/ieee80211/{phy}/hwsim/group")
}

fn set_group(phy: &str, mask: u64) -> Result<()> {
    let file = group_file(phy);
    fs::write(&file, format!("{mask:#x}")).with_context(|| format!("write {mask:#x} to {file}"))
}

/// Which pairs of radios have which bit. A pair keeps its bit, or a change that takes more than
/// one write would let two hear each other for a moment that never should.
#[derive(Debug, Default)]
struct Groups {
    bits: BTreeMap<(String, String), u32>,
}

impl Groups {
    /// The masks that let exactly these pairs hear each other. A radio in no pair has none.
    /// There can be 64 pairs in all.
    fn masks(
        &mut self,
        pairs: impl IntoIterator<Item = (String, String)>,
    ) -> Result<BTreeMap<String, u64>> {
        let mut masks: BTreeMap<String, u64> = BTreeMap::new();
        for pair in pairs {
            let next = u32::try_from(self.bits.len())?;
            let bit = *self.bits.entry(pair.clone()).or_insert(next);
            let mask = 1_u64.checked_shl(bit);
            let mask = mask.context("more than 64 pairs of radios in range of each other")?;
            for radio in [pair.0, pair.1] {
                *masks.entry(radio).or_default() |= mask;
            }
        }
        Ok(masks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Topology;

    fn masks(topology: &Topology) -> BTreeMap<String, u64> {
        Groups::default().masks(topology.links()).unwrap()
    }

    /// What the driver does with them.
    fn in_range(masks: &BTreeMap<String, u64>) -> Vec<(String, String)> {
        let all = || masks.iter();
        all()
            .flat_map(|a| all().map(move |b| (a, b)))
            .filter(|((a, mask), (b, other))| a < b && *mask & *other != 0)
            .map(|((a, _), (b, _))| (a.clone(), b.clone()))
            .collect()
    }

    #[test]
    fn radios_in_a_line_share_a_group_with_those_beside() {
        let masks = masks(&Topology::line(3));
        assert_eq!(masks.into_values().collect::<Vec<_>>(), [1, 3, 2]);
    }

    #[test]
    fn exactly_the_links_of_a_topology_are_in_range() {
        for topology in [
            Topology::line(5),
            Topology::ring(4),
            Topology::ring(3),
            Topology::grid(3, 3),
        ] {
            let mut links: Vec<_> = topology.links().collect();
            links.sort();
            assert_eq!(in_range(&masks(&topology)), links, "{topology}");
        }
    }

    #[test]
    fn a_pair_keeps_its_bit() {
        let links: Vec<_> = Topology::line(3).links().collect();
        let mut groups = Groups::default();
        let whole = groups.masks(links.clone()).unwrap();
        let cut = groups.masks(links.into_iter().skip(1)).unwrap();
        assert_eq!(cut.get("r1"), None, "a radio without a link is silent");
        assert_eq!(cut.get("r3"), whole.get("r3"));
    }

    #[test]
    fn a_mask_has_64_bits() {
        assert!(Groups::default().masks(Topology::line(65).links()).is_ok());
        let text = Groups::default()
            .masks(Topology::line(66).links())
            .unwrap_err()
            .to_string();
        assert!(text.contains("64 pairs"), "{text}");
    }
}
