//! The shared radio medium: one bridge that forwards a frame only to those in range, and loses
//! as many as radio would.
//!
//! Who hears whom is a verdict map of the bridge's nftables chain, so that changing a link is one
//! small transaction. The interfaces of the routers never lose their carrier: as with radio, a
//! dead link is noticed by silence only.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::{Context, Result, bail};

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

/// The medium. Attach radios, then say who is in range of whom.
#[derive(Debug)]
pub struct Air {
    namespace: Namespace,
    radios: BTreeSet<String>,
    losses: BTreeSet<Loss>,
    /// Every direction in range, whether it is cut at the moment or not.
    ways: BTreeMap<Way, Loss>,
    /// The directions frames pass on.
    open: BTreeSet<Way>,
    silent: BTreeSet<String>,
}

impl Air {
    /// An empty medium in a namespace of its own.
    ///
    /// # Errors
    /// The kernel lacks bridges, veth or nftables for bridges; the text says which.
    pub fn new(name: &str) -> Result<Self> {
        let namespace = Namespace::new(name)?;
        // The bridge's own ports must not join the conversation.
        namespace.set("net/ipv6/conf/all/disable_ipv6", "1")?;
        namespace.set("net/ipv6/conf/default/disable_ipv6", "1")?;
        namespace
            .ip_batch(
                "link add br0 type bridge mcast_snooping 0 stp_state 0\n\
                 link set br0 up\n",
            )
            .context("a bridge (kernel module `bridge`)")?;
        namespace
            .nft(
                "table bridge air {\n\
                 map links { type ifname . ifname : verdict; }\n\
                 chain forward {\n\
                 type filter hook forward priority 0; policy drop;\n\
                 iifname . oifname vmap @links\n\
                 }\n}\n",
            )
            .context("nftables for bridges (kernel module `nf_tables`)")?;
        Ok(Self {
            namespace,
            radios: BTreeSet::new(),
            losses: BTreeSet::new(),
            ways: BTreeMap::new(),
            open: BTreeSet::new(),
            silent: BTreeSet::new(),
        })
    }

    /// The namespace the bridge lives in, for looking at it.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Puts a radio called `radio` into the air whose other end is `interface` in `node`. It is
    /// in range of nobody yet.
    ///
    /// # Errors
    /// The name is taken, or the kernel has no veth devices.
    pub fn attach(&mut self, radio: &str, node: &Namespace, interface: &str) -> Result<()> {
        if !self.radios.insert(radio.to_owned()) {
            bail!("there is a radio {radio} already");
        }
        let address = radio_address(self.radios.len());
        self.namespace
            .ip_batch(&format!(
                "link add {radio} type veth peer name {interface} address {address} netns {}\n\
                 link set {radio} master br0\n\
                 link set {radio} type bridge_slave learning off\n\
                 link set {radio} up\n",
                node.name()
            ))
            .context("a veth pair (kernel module `veth`)")?;
        node.bring_up(interface)
    }

    /// Brings two radios into range of each other, or changes how well they hear each other.
    ///
    /// # Errors
    /// One of them does not exist.
    pub fn connect(&mut self, a: &str, b: &str, loss: Loss) -> Result<()> {
        self.hear(a, b, loss)?;
        self.hear(b, a, loss)
    }

    /// Lets `to` hear what `from` sends, for links that are better in one direction.
    ///
    /// # Errors
    /// One of them does not exist.
    pub fn hear(&mut self, from: &str, to: &str, loss: Loss) -> Result<()> {
        for radio in [from, to] {
            if !self.radios.contains(radio) {
                bail!("there is no radio {radio}");
            }
        }
        let way = (from.to_owned(), to.to_owned());
        let mut script = String::new();
        if self.losses.insert(loss) {
            let _ = writeln!(script, "table bridge air {{\nchain {} {{", loss.chain());
            let _ = writeln!(script, "{}}}\n}}", loss.chain_rules());
        }
        if self.open.contains(&way) {
            script.push_str(&delete(&[&way]));
        }
        let _ = writeln!(
            script,
            "add element bridge air links {{ {} }}",
            element(&way, loss)
        );
        self.namespace.nft(&script)?;
        self.open.insert(way.clone());
        self.ways.insert(way, loss);
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
        let way = (a.to_owned(), b.to_owned());
        if !self.ways.contains_key(&way) {
            bail!("{a} was never in range of {b}");
        }
        Ok(())
    }

    fn close(&mut self, chosen: impl Fn(&Way) -> bool) -> Result<()> {
        let ways: Vec<&Way> = self.open.iter().filter(|way| chosen(way)).collect();
        if !ways.is_empty() {
            self.namespace.nft(&delete(&ways))?;
        }
        self.open.retain(|way| !chosen(way));
        Ok(())
    }

    fn reopen(&mut self, chosen: impl Fn(&Way) -> bool) -> Result<()> {
        let ways: BTreeMap<&Way, &Loss> = self
            .ways
            .iter()
            .filter(|(way, _)| chosen(way) && !self.open.contains(*way))
            .filter(|((from, to), _)| !self.silent.contains(from) && !self.silent.contains(to))
            .collect();
        if ways.is_empty() {
            return Ok(());
        }
        let elements: Vec<String> = ways
            .iter()
            .map(|(way, loss)| element(way, **loss))
            .collect();
        let script = format!(
            "add element bridge air links {{ {} }}\n",
            elements.join(", ")
        );
        self.namespace.nft(&script)?;
        let reopened: Vec<Way> = ways.into_keys().cloned().collect();
        self.open.extend(reopened);
        Ok(())
    }
}

fn element((from, to): &Way, loss: Loss) -> String {
    format!("\"{from}\" . \"{to}\" : goto {}", loss.chain())
}

fn delete(ways: &[&Way]) -> String {
    let keys: Vec<String> = ways
        .iter()
        .map(|(a, b)| format!("\"{a}\" . \"{b}\""))
        .collect();
    format!(
        "delete element bridge air links {{ {} }}\n",
        keys.join(", ")
    )
}

/// Locally administered and the same in every run, so that addresses in logs can be compared.
fn radio_address(number: usize) -> String {
    let [.., high, low] = number.to_be_bytes();
    format!("02:00:00:00:{high:02x}:{low:02x}")
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

    #[test]
    fn radio_addresses_differ_and_are_local() {
        assert_eq!(radio_address(1), "02:00:00:00:00:01");
        assert_eq!(radio_address(259), "02:00:00:00:01:03");
    }
}
