//! What happens to a mesh and when, as data.

use std::time::Duration;

use mesh_proto::router::Announcement;

use crate::{NodeIndex, Topology};

/// What a node's new daemon finds of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inheritance {
    /// Nothing: the kernel's routes are removed.
    Cold,
    /// The kernel's routes, which went on carrying traffic.
    Warm,
}

/// A change to the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A link loses everything, in both directions.
    Cut(NodeIndex, NodeIndex),
    /// A cut link works as before.
    Heal(NodeIndex, NodeIndex),
    /// A node's daemon ends. Warm: the kernel goes on with the routes it has (`kill -9`). Cold:
    /// they are gone, as after losing power.
    Stop(NodeIndex, Inheritance),
    /// A stopped node's daemon is started.
    Start(NodeIndex, Inheritance),
    /// A node's daemon ends, and at once another takes its place.
    Restart(NodeIndex, Inheritance),
    /// A node says something else about itself from now on.
    Announce(NodeIndex, Announcement),
}

/// An action and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// When, after the start of the run.
    pub at: Duration,
    /// What.
    pub action: Action,
}

impl Step {
    /// The step `action` at `at`.
    pub const fn new(at: Duration, action: Action) -> Self {
        Self { at, action }
    }

    /// The action in words, with the nodes' names.
    pub fn label(&self, topology: &Topology) -> String {
        let name = |node: &NodeIndex| topology.nodes.get(node.0).map_or("?", String::as_str);
        match &self.action {
            Action::Cut(a, b) => format!("cut {}-{}", name(a), name(b)),
            Action::Heal(a, b) => format!("heal {}-{}", name(a), name(b)),
            Action::Stop(node, how) => format!("stop {} {}", name(node), how.name()),
            Action::Start(node, how) => format!("start {} {}", name(node), how.name()),
            Action::Restart(node, how) => format!("restart {} {}", name(node), how.name()),
            Action::Announce(node, _) => format!("announcement of {}", name(node)),
        }
    }

    /// Reads `A-B@SECONDS`: a link and a time.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse_link(
        text: &str,
        topology: &Topology,
    ) -> Result<(Duration, NodeIndex, NodeIndex), String> {
        let (link, at) = split_time(text)?;
        let ends = link.match_indices('-').filter_map(|(dash, _)| {
            let (a, b) = (link.get(..dash)?, link.get(dash + 1..)?);
            Some((topology.node(a)?, topology.node(b)?))
        });
        // Names may contain dashes themselves.
        let mut linked = ends.filter(|(a, b)| {
            let mut links = topology.links.iter();
            links.any(|link| (link.a, link.b) == (*a, *b) || (link.a, link.b) == (*b, *a))
        });
        let (a, b) = linked
            .next()
            .ok_or_else(|| format!("{link:?} is not a link of this topology (A-B@SECONDS)"))?;
        Ok((at, a, b))
    }

    /// Reads `NODE@SECONDS`: a node and a time.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse_node(text: &str, topology: &Topology) -> Result<(Duration, NodeIndex), String> {
        let (node, at) = split_time(text)?;
        let index = topology
            .node(node)
            .ok_or_else(|| format!("{node:?} is not a node of this topology (NODE@SECONDS)"))?;
        Ok((at, index))
    }
}

impl Inheritance {
    const fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
        }
    }
}

fn split_time(text: &str) -> Result<(&str, Duration), String> {
    let (what, at) = text
        .rsplit_once('@')
        .ok_or_else(|| format!("{text:?}: \"@SECONDS\" is missing"))?;
    let seconds = at.parse().ok();
    let at = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let at =
        at.ok_or_else(|| format!("{text:?}: what follows \"@\" is not a number of seconds"))?;
    Ok((what, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology;

    #[test]
    fn links_and_times_are_read() {
        let mut topology = topology::line(3);
        topology.nodes[1] = "a-b".to_owned();
        let read = Step::parse_link("a-b-2@1.5", &topology);
        let at = Duration::from_millis(1500);
        assert_eq!(read, Ok((at, NodeIndex(1), NodeIndex(2))));
        assert!(Step::parse_link("0-2@1", &topology).is_err(), "no link");
        assert!(Step::parse_link("0-1", &topology).is_err(), "no time");
        assert!(Step::parse_link("0-1@-1", &topology).is_err());
        assert_eq!(
            Step::parse_node("2@3", &topology),
            Ok((Duration::from_secs(3), NodeIndex(2)))
        );
        assert!(Step::parse_node("3@3", &topology).is_err());
    }
}
