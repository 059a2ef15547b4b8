//! Who hears whom.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};

/// Routers `r1`, `r2`, … and the pairs of them that hear each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    name: String,
    routers: usize,
    links: Vec<(usize, usize)>,
}

impl Topology {
    /// `count` routers in a row.
    #[must_use]
    pub fn line(count: usize) -> Self {
        let links = (1..count).map(|router| (router, router + 1)).collect();
        Self {
            name: format!("line:{count}"),
            routers: count,
            links,
        }
    }

    /// `count` routers in a circle.
    #[must_use]
    pub fn ring(count: usize) -> Self {
        let mut topology = Self::line(count);
        topology.name = format!("ring:{count}");
        if count > 2 {
            topology.links.push((1, count));
        }
        topology
    }

    /// `rows` × `columns` routers, numbered row by row; each hears those beside, above and below.
    #[must_use]
    pub fn grid(rows: usize, columns: usize) -> Self {
        let mut links = Vec::new();
        for router in 1..=rows * columns {
            if router % columns != 0 {
                links.push((router, router + 1));
            }
            if router + columns <= rows * columns {
                links.push((router, router + columns));
            }
        }
        Self {
            name: format!("grid:{rows}x{columns}"),
            routers: rows * columns,
            links,
        }
    }

    /// The names of all routers.
    pub fn routers(&self) -> impl Iterator<Item = String> {
        (1..=self.routers).map(name)
    }

    /// The names of the two ends of every link.
    pub fn links(&self) -> impl Iterator<Item = (String, String)> {
        self.links.iter().map(|(a, b)| (name(*a), name(*b)))
    }
}

fn name(router: usize) -> String {
    format!("r{router}")
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Many more would not fit the two cores of a small machine.
const MOST_ROUTERS: usize = 100;

impl FromStr for Topology {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = |text: &str| {
            text.parse::<usize>()
                .ok()
                .filter(|n| (1..=MOST_ROUTERS).contains(n))
        };
        let (kind, size) = text.split_once(':').unwrap_or((text, ""));
        let parsed = match (kind, size.split_once('x')) {
            ("line", None) => number(size).map(Self::line),
            ("ring", None) => number(size).map(Self::ring),
            ("grid", Some((rows, columns))) => number(rows)
                .zip(number(columns))
                .filter(|(rows, columns)| rows * columns <= MOST_ROUTERS)
                .map(|(rows, columns)| Self::grid(rows, columns)),
            _ => None,
        };
        match parsed {
            Some(topology) => Ok(topology),
            None => bail!(
                "`{text}` is no topology; write line:N, ring:N or grid:RxC with at most \
                 {MOST_ROUTERS} routers"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(topology: &Topology) -> Vec<String> {
        topology.links().map(|(a, b)| format!("{a}-{b}")).collect()
    }

    #[test]
    fn a_line_has_one_link_less_than_routers() {
        assert_eq!(links(&Topology::line(3)), ["r1-r2", "r2-r3"]);
        assert_eq!(Topology::line(3).routers().last().unwrap(), "r3");
    }

    #[test]
    fn a_ring_is_a_closed_line() {
        assert_eq!(links(&Topology::ring(3)), ["r1-r2", "r2-r3", "r1-r3"]);
        assert_eq!(links(&Topology::ring(2)), ["r1-r2"]);
    }

    #[test]
    fn a_grid_links_rows_and_columns() {
        let expected = ["r1-r2", "r1-r3", "r2-r4", "r3-r4"];
        assert_eq!(links(&Topology::grid(2, 2)), expected);
        assert_eq!(Topology::grid(3, 3).links().count(), 12);
    }

    #[test]
    fn topologies_are_read_as_they_are_written() {
        for text in ["line:5", "ring:4", "grid:3x2"] {
            assert_eq!(text.parse::<Topology>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "line",
            "line:0",
            "line:x",
            "line:3x3",
            "grid:9",
            "star:3",
            "grid:99x99",
        ] {
            assert!(text.parse::<Topology>().is_err(), "{text}");
        }
    }
}
