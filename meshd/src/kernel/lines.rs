//! Lines: a flow stays with the uplink of ours that it began over.
//!
//! Another uplink would give its packets another address, and the far end would not know them. So the
//! conntrack entry of a flow gets the mark of the uplink that its first packet leaves by, in the chain
//! `translate`, which no other packet passes. As long as the uplink works, a routing rule leads packets with
//! its mark into a table with the default route over it, in use or not: others may change what the main
//! table prefers at any time. When it does not, flows go where new ones do.

use std::collections::{BTreeMap, BTreeSet};

use mesh_proto::{Family, IfIndex, Mark};

use super::marks::Marked;
use super::rule::Others;
use super::uplink::Defaults;
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

    /// Gives marks to uplinks that have none: if need be those of interfaces that lead out no more, and to
    /// those that work those of others.
    pub(super) fn follow(&mut self, base: &Base) {
        let working = base.uplinks.names();
        let outside = base.outside.iter().map(String::as_str);
        let all: BTreeSet<&str> = working.iter().copied().chain(outside.clone()).collect();
        for name in working.iter().copied().chain(outside) {
            if self.mark(name).is_some() {
                continue;
            }
            let is_free = |mark: &Mark, needed: &BTreeSet<&str>| {
                let holder = self.names.get(mark);
                holder.is_none_or(|holder| !needed.contains(holder.as_str()))
            };
            let free = Mark::spare().find(|mark| is_free(mark, &all));
            let works = working.contains(name);
            let free = free.or_else(|| Mark::spare().find(|it| works && is_free(it, &working)));
            if let Some(mark) = free {
                self.names.insert(mark, name.to_owned());
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

    /// Those that have one of these marks.
    pub(super) fn names_of(&self, marked: &BTreeSet<Marked>) -> BTreeSet<(String, Family)> {
        let named = |(mark, family): &Marked| Some((self.names.get(mark)?.clone(), *family));
        marked.iter().filter_map(named).collect()
    }

    /// The marks of those that work.
    pub(super) fn working(&self, base: &Base) -> BTreeSet<Marked> {
        let others = base.uplinks.others.iter();
        let others = others.map(|(name, family)| (name.as_str(), *family));
        let used = |family| Some((base.uplinks.of(family).name()?, family));
        let all = others.chain(Family::BOTH.into_iter().filter_map(used));
        all.filter_map(|(name, family)| Some((self.mark(name)?, family)))
            .collect()
    }

    /// What is to be known of the default routes of others, besides those that are used.
    pub(super) fn others(
        &self,
        base: &Base,
        defaults: &Defaults,
        index: impl Fn(&str) -> Option<IfIndex>,
    ) -> Others {
        let apart = Family::BOTH.into_iter().flat_map(|family| {
            let is_apart = |name| index(name).is_some_and(|it| defaults.are_apart(family, it));
            let apart: Vec<(Mark, &str)> = self.all().filter(|(_, name)| is_apart(name)).collect();
            let named = move |(mark, name): (Mark, &str)| (name.to_owned(), (mark, family));
            apart.into_iter().map(named)
        });
        let is_kept = |family: &Family| {
            let vpn = defaults.taken_by(*family);
            vpn.is_some() && !base.uplinks.all.iter().any(|name| index(name) == vpn)
        };
        Others {
            apart: apart.collect(),
            taking: defaults.taking(),
            keeping: Family::BOTH.into_iter().filter(is_kept).collect(),
        }
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
        // There is none for a fourth that does not work.
        let third = lines.mark("sat0");
        let all = ["dsl0", "lte0", "sat0", "usb0"];
        lines.follow(&base("dsl0", &["lte0"], &all));
        assert_eq!((lines.mark("sat0"), lines.mark("usb0")), (third, None));
        lines.follow(&base("dsl0", &["usb0"], &all));
        assert_eq!(lines.mark("usb0"), Some(before[0]));
        lines.follow(&base("lte0", &["usb0"], &["lte0", "sat0", "usb0"]));
        assert_eq!(
            (lines.mark("lte0"), lines.mark("dsl0")),
            (Some(before[1]), None)
        );
    }

    #[test]
    fn flows_stay_with_lines_that_work() {
        let mut lines = Lines::default();
        let mut base = base("dsl0", &["lte0"], &["dsl0", "lte0", "sat0"]);
        lines.follow(&base);
        let [dsl, lte] = ["dsl0", "lte0"].map(|name| lines.mark(name).unwrap());
        base.uplinks
            .others
            .remove(&("lte0".to_owned(), Family::Ipv6));
        let working = [
            (dsl, Family::Ipv4),
            (dsl, Family::Ipv6),
            (lte, Family::Ipv4),
        ];
        assert_eq!(lines.working(&base), working.into());
        let names = lines.names_of(&lines.working(&base));
        let both = Family::BOTH.map(|family| ("dsl0".to_owned(), family));
        let one = [("lte0".to_owned(), Family::Ipv4)];
        assert_eq!(names, both.into_iter().chain(one).collect());
    }
}
