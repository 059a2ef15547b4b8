//! What is ours of the kernel's numbers, which everybody on a machine shares.

use mesh_proto::{Mark, Table};

/// Where our ranges begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// The first of [`Numbers::TABLES`] routing tables.
    pub tables: u32,
    /// The first of [`Numbers::RULES`] priorities of routing rules, all of them before the main
    /// table's, which is 32766.
    pub rules: u32,
    /// The priority of one more rule, after the main table's.
    pub last_rule: u32,
    /// The lowest of the four bits of packet and conntrack marks.
    pub mark_bit: u32,
}

impl Default for Numbers {
    /// Marks have the bits that mwan3 (0x3f00), pbr and Tailscale (0xff0000), and wg-quick (0xca6c)
    /// leave.
    fn default() -> Self {
        Self {
            tables: 5525,
            rules: 31000,
            last_rule: 32800,
            mark_bit: 24,
        }
    }
}

impl Numbers {
    /// How many tables are ours.
    pub const TABLES: u32 = 21;
    /// How many priorities of rules are ours.
    pub const RULES: u32 = 301;
    /// How many bits of marks are ours.
    pub const MARK_BITS: u32 = 4;

    /// The number of a table of routes.
    pub const fn table(&self, table: Table) -> u32 {
        /// One for each mark follows.
        const MARKED: u32 = 5;
        match table {
            Table::Mesh => self.tables,
            Table::Tunnel => self.tables + 1,
            Table::Marked(mark) => self.tables + MARKED + mark.number() as u32,
        }
    }

    /// The table of routes of the routing core's with a number.
    pub(super) fn table_at(&self, number: u32) -> Option<Table> {
        let marked = Mark::all().map(Table::Marked);
        let mut tables = [Table::Mesh, Table::Tunnel].into_iter().chain(marked);
        tables.find(|table| self.table(*table) == number)
    }

    /// The table of the uplink in use.
    pub(super) const fn uplink_table(&self) -> u32 {
        self.tables + 2
    }

    /// The bits of marks that are ours.
    pub(super) const fn mark_mask(&self) -> u32 {
        ((1 << Self::MARK_BITS) - 1) << self.mark_bit
    }

    /// A mark where packets have it.
    pub(super) const fn mark(&self, mark: Mark) -> u32 {
        (mark.number() as u32) << self.mark_bit
    }

    /// The mark that a packet with these bits has.
    pub(super) fn mark_of(&self, bits: u32) -> Option<Mark> {
        let mut marks = Mark::all().chain(Mark::spare());
        marks.find(|mark| self.mark(*mark) == bits)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_number_is_used_once_and_within_its_range() {
        let numbers = Numbers::default();
        let marks = || Mark::all().chain(Mark::spare());
        let marked = marks().map(|mark| numbers.table(Table::Marked(mark)));
        let others = [Table::Mesh, Table::Tunnel].map(|table| numbers.table(table));
        let tables: Vec<u32> = marked
            .chain(others)
            .chain([numbers.uplink_table()])
            .collect();
        let different: BTreeSet<&u32> = tables.iter().collect();
        assert_eq!(different.len(), tables.len());
        let range = numbers.tables..numbers.tables + Numbers::TABLES;
        assert!(
            tables.iter().all(|table| range.contains(table)),
            "{tables:?}"
        );
        let last = Mark::spare().last().unwrap();
        assert_eq!(numbers.mark(last), numbers.mark_mask());
        assert!(marks().all(|mark| numbers.mark_of(numbers.mark(mark)) == Some(mark)));
        assert_eq!(numbers.mark_of(0), None);
        assert_eq!(numbers.table_at(numbers.uplink_table()), None);
    }
}
