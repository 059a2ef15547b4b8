//! Lines: a flow stays with the uplink of ours that it began over.
//!
//! Another uplink would give its packets another address, and the far end would not know them. So the
//! conntrack entry of a flow gets the mark of the uplink that its first packet leaves by, in the chain
//! `translate`, which no other packet passes. What goes over the uplink in use needs no more. As long as
//! another works, a routing rule leads packets with its mark into a table with the default route over it.
//! When it does not, flows go where new ones do.

use std::collections::{BTreeMap, BTreeSet};

use mesh_proto::{Family, Mark};

use super::marks::Marked;
use super::{Base, Numbers};

/// Which uplink has which mark. Those in use come first, if there are more than marks.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    names: BTreeMap<Mark, String>,
}

impl Lines {
    /// Those that a predecessor knew.
    pub(super) const fn adopted(names: BTreeMap<Mark, String>) -> Self {
        Self { names }
    }

    /// Gives marks to uplinks that have none, if need be those of interfaces that lead out no more.
    pub(super) fn follow(&mut self, base: &Base) {
        let outside = base.outside.iter().map(String::as_str);
        let wanted: Vec<&str> = base.uplinks.names().into_iter().chain(outside).collect();
        for name in &wanted {
            if self.mark(name).is_some() {
                continue;
            }
            let is_left = |mark: &Mark| {
                let holder = self.names.get(mark);
                holder.is_none_or(|holder| !wanted.contains(&holder.as_str()))
            };
            if let Some(mark) = Mark::spare().find(is_left) {
                self.names.insert(mark, (*name).to_owned());
            }
        }
    }

    /// The mark of an uplink.
    fn mark(&self, name: &str) -> Option<Mark> {
        let mut all = self.all();
        all.find(|(_, it)| *it == name).map(|(mark, _)| mark)
    }

    /// All that have a mark.
    pub(super) fn all(&self) -> impl Iterator<Item = (Mark, &str)> {
        self.names.iter().map(|(mark, name)| (*mark, name.as_str()))
    }

    /// The marks of those that work.
    pub(super) fn working(&self, base: &Base) -> BTreeSet<Marked> {
        let used = |family| Some((self.mark(base.uplinks.of(family).name()?)?, family));
        let used = Family::BOTH.into_iter().filter_map(used);
        self.kept(base).into_iter().chain(used).collect()
    }

    /// The marks of those that work and are not in use.
    pub(super) fn kept(&self, base: &Base) -> BTreeSet<Marked> {
        let kept = base.uplinks.others.iter();
        kept.filter_map(|(name, family)| Some((self.mark(name)?, *family)))
            .collect()
    }

    /// Rules of nftables that mark a flow whose first packet leaves by one of the lines.
    pub(super) fn marking(&self, numbers: &Numbers, from: &str) -> Vec<String> {
        let others = !numbers.mark_mask();
        let marking = |(mark, name): (Mark, &str)| {
            let mark = numbers.mark(mark);
            let set = format!("ct mark set ct mark & {others:#x} | {mark:#x}");
            format!("iifname {from} oifname \"{name}\" {set}")
        };
        self.all().map(marking).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Shaping, Uplinks};

    fn base(used: &str, others: &[&str], outside: &[&str]) -> Base {
        let mut uplinks = Uplinks::over(used);
        let both = |name: &&str| Family::BOTH.map(|family| ((*name).to_owned(), family));
        uplinks.others = others.iter().flat_map(both).collect();
        Base {
            mesh: BTreeSet::new(),
            radios: BTreeMap::new(),
            lan: Vec::new(),
            uplinks,
            outside: outside.iter().map(|&name| name.to_owned()).collect(),
            mesh_ipv4: [100, 64, 0, 1].into(),
            mesh_mtu: 1500,
            shaping: Shaping::default(),
        }
    }

    #[test]
    fn an_uplink_keeps_its_mark_until_others_need_it() {
        let mut lines = Lines::default();
        lines.follow(&base("lte0", &[], &["dsl0", "lte0"]));
        let marks = |lines: &Lines, names: [&str; 2]| names.map(|name| lines.mark(name).unwrap());
        let before = marks(&lines, ["lte0", "dsl0"]);
        lines.follow(&base("dsl0", &["lte0"], &["dsl0", "lte0", "sat0"]));
        assert_eq!(marks(&lines, ["lte0", "dsl0"]), before);
        // There is none for a fourth.
        let third = lines.mark("sat0");
        lines.follow(&base("dsl0", &["lte0"], &["dsl0", "lte0", "sat0", "usb0"]));
        assert_eq!((lines.mark("sat0"), lines.mark("usb0")), (third, None));
        lines.follow(&base("usb0", &["lte0"], &["lte0", "sat0", "usb0"]));
        assert_eq!(lines.mark("dsl0"), None);
        assert_eq!(lines.mark("usb0"), Some(before[1]));
    }

    #[test]
    fn flows_are_kept_by_lines_that_work_and_are_not_in_use() {
        let mut lines = Lines::default();
        let mut base = base("dsl0", &["lte0"], &["dsl0", "lte0", "sat0"]);
        lines.follow(&base);
        let [dsl, lte] = ["dsl0", "lte0"].map(|name| lines.mark(name).unwrap());
        base.uplinks
            .others
            .remove(&("lte0".to_owned(), Family::Ipv6));
        assert_eq!(lines.kept(&base), [(lte, Family::Ipv4)].into());
        let working = [
            (dsl, Family::Ipv4),
            (dsl, Family::Ipv6),
            (lte, Family::Ipv4),
        ];
        assert_eq!(lines.working(&base), working.into());
    }
}
