//! An emulated medium: one bridge that forwards a frame only to those in range, and loses as many
//! as radio would.
//!
//! Who hears whom is a verdict map of the bridge's nftables chain, so that changing a link is one
//! small transaction. The interfaces of the routers never lose their carrier: as with radio, a
//! dead link is noticed by silence only.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Context, Result};

use super::{Loss, Way, Ways};
use crate::namespace::Namespace;

/// The medium, in a namespace of its own.
#[derive(Debug)]
pub(super) struct Bridge {
    namespace: Namespace,
    attached: usize,
    losses: BTreeSet<Loss>,
}

impl Bridge {
    pub(super) fn new(name: &str) -> Result<Self> {
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
            attached: 0,
            losses: BTreeSet::new(),
        })
    }

    pub(super) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// A veth pair with its end called `radio` in the bridge and the other, `interface`, in `node`.
    pub(super) fn attach(&mut self, radio: &str, node: &Namespace, interface: &str) -> Result<()> {
        self.attached += 1;
        let address = radio_address(self.attached);
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

    /// Changes what is forwarded in one transaction.
    pub(super) fn change(&mut self, before: &Ways, after: &Ways) -> Result<()> {
        let mut script = String::new();
        for loss in after.values() {
            if self.losses.insert(*loss) {
                let _ = writeln!(script, "table bridge air {{\nchain {} {{", loss.chain());
                let _ = writeln!(script, "{}}}\n}}", loss.chain_rules());
            }
        }
        let gone = only_in(before, after).map(|(way, _)| key(way));
        script.push_str(&command("delete", gone.collect()));
        let new = only_in(after, before).map(|(way, loss)| element(way, *loss));
        script.push_str(&command("add", new.collect()));
        if script.is_empty() {
            return Ok(());
        }
        self.namespace.nft(&script)
    }
}

/// Those of the first that are not the same in the second.
fn only_in<'a>(these: &'a Ways, those: &'a Ways) -> impl Iterator<Item = (&'a Way, &'a Loss)> {
    these
        .iter()
        .filter(|(way, loss)| those.get(*way) != Some(loss))
}

fn command(verb: &str, elements: Vec<String>) -> String {
    if elements.is_empty() {
        return String::new();
    }
    let elements = elements.join(", ");
    format!("{verb} element bridge air links {{ {elements} }}\n")
}

fn key((from, to): &Way) -> String {
    format!("\"{from}\" . \"{to}\"")
}

fn element(way: &Way, loss: Loss) -> String {
    format!("{} : goto {}", key(way), loss.chain())
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
    fn radio_addresses_differ_and_are_local() {
        assert_eq!(radio_address(1), "02:00:00:00:00:01");
        assert_eq!(radio_address(259), "02:00:00:00:01:03");
    }

    #[test]
    fn a_way_with_another_loss_is_replaced() {
        let way = ("a".to_owned(), "b".to_owned());
        let before = Ways::from([(way.clone(), Loss::NONE)]);
        let after = Ways::from([(way, Loss::percent(10))]);
        assert_eq!(only_in(&before, &after).count(), 1);
        assert_eq!(only_in(&after, &before).count(), 1);
        assert_eq!(only_in(&after, &after).count(), 0);
    }
}
