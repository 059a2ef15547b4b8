//! Nodes and links.

mod file;
mod generate;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::NodeIndex;
pub use generate::{geometric, grid, line, ring};

/// Why a topology cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// The name of a generated topology is not understood.
    #[error(
        "topology {0:?} is not understood: use grid:WxH, line:N, ring:N, geometric:N or file:PATH"
    )]
    Spec(String),
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is not JSON, or not of the expected form.
    #[error("{path}: {reason}")]
    Form {
        /// The file.
        path: String,
        /// What is wrong, and where.
        reason: String,
    },
}

/// A link between two nodes. Each direction loses its own share of packets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// One end.
    pub a: NodeIndex,
    /// The other end.
    pub b: NodeIndex,
    /// The share of broadcasts lost from `a` to `b`, 0 to 1; `None` is the run's default.
    pub loss_ab: Option<f64>,
    /// The share of broadcasts lost from `b` to `a`; `None` is the run's default.
    pub loss_ba: Option<f64>,
}

impl Link {
    /// A link that loses what the run's default says.
    pub const fn new(a: NodeIndex, b: NodeIndex) -> Self {
        Self {
            a,
            b,
            loss_ab: None,
            loss_ba: None,
        }
    }
}

/// Nodes by name, and the links between them.
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    /// The nodes' names; a node's index is its place here.
    pub nodes: Vec<String>,
    /// The links; at most one between two nodes.
    pub links: Vec<Link>,
}

impl Topology {
    /// The topology that `spec` names: `grid:7x7`, `line:9`, `ring:12`, `geometric:100` or
    /// `file:mesh.json`. `seed` places the nodes of a geometric one.
    ///
    /// # Errors
    /// If the name is not understood, or the file is not usable.
    pub fn from_spec(spec: &str, seed: u64) -> Result<Self, TopologyError> {
        let not_understood = || TopologyError::Spec(spec.to_owned());
        let (kind, rest) = spec.split_once(':').ok_or_else(not_understood)?;
        let count = || count(rest, 2).ok_or_else(not_understood);
        match kind {
            "file" => Self::from_file(Path::new(rest)),
            "line" => Ok(line(count()?)),
            "ring" => Ok(ring(self::count(rest, 3).ok_or_else(not_understood)?)),
            "geometric" => Ok(geometric(count()?, seed)),
            "grid" => {
                let (width, height) = rest.split_once('x').ok_or_else(not_understood)?;
                let side = |text| self::count(text, 1).ok_or_else(not_understood);
                let (width, height) = (side(width)?, side(height)?);
                // Each side is bounded, so the product fits.
                match width * height <= MOST_NODES {
                    true => Ok(grid(width, height)),
                    false => Err(not_understood()),
                }
            }
            _ => Err(not_understood()),
        }
    }

    /// Reads NetJSON `NetworkGraph`, or any JSON object with
    /// `"links": [{"source": …, "target": …}]`; `loss` (0 to 1) or `cost` of a link are optional.
    /// A link listed in both directions may lose differently in each.
    ///
    /// # Errors
    /// If the file cannot be read, or says something else.
    pub fn from_file(path: &Path) -> Result<Self, TopologyError> {
        file::read(path)
    }

    /// The same from the text of such a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_json(text: &str) -> Result<Self, String> {
        file::parse(text)
    }

    /// The node called `name`, or with that index.
    pub fn node(&self, name: &str) -> Option<NodeIndex> {
        let by_name = self.nodes.iter().position(|node| node == name);
        let index = by_name.or_else(|| name.parse().ok().filter(|i| *i < self.nodes.len()))?;
        Some(NodeIndex(index))
    }

    /// Whether every node can be reached from every other.
    pub fn is_connected(&self) -> bool {
        self.reached_from(NodeIndex(0)).len() == self.nodes.len()
    }

    /// The nodes that can be reached from `start`, which is among them.
    pub(crate) fn reached_from(&self, start: NodeIndex) -> BTreeSet<NodeIndex> {
        let mut neighbors: BTreeMap<NodeIndex, Vec<NodeIndex>> = BTreeMap::new();
        for link in &self.links {
            neighbors.entry(link.a).or_default().push(link.b);
            neighbors.entry(link.b).or_default().push(link.a);
        }
        let mut reached = BTreeSet::from([start]);
        let mut open = vec![start];
        while let Some(node) = open.pop() {
            let next = neighbors.get(&node).into_iter().flatten();
            open.extend(next.filter(|next| reached.insert(**next)));
        }
        reached
    }
}

/// Far beyond what one machine simulates; catches a slip of the finger.
const MOST_NODES: usize = 100_000;

fn count(text: &str, least: usize) -> Option<usize> {
    text.parse()
        .ok()
        .filter(|n| (least..=MOST_NODES).contains(n))
}
