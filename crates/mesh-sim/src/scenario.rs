//! What happens to a mesh and when, as data.

mod churn;
mod named;

use std::time::Duration;

use mesh_proto::router::Announcement;

use crate::{Flow, NodeIndex, Topology};
pub use named::{Named, SCENARIOS};

/// What a node's new daemon finds of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inheritance {
    /// The disk, but no routes: what losing power leaves.
    Cold,
    /// The disk and the kernel's routes, which went on carrying traffic.
    Warm,
    /// Neither: the node forgot how often it was started before.
    Lost,
}

/// Both ends of a link.
pub type Ends = (NodeIndex, NodeIndex);

/// A change to the mesh.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A link loses everything, in both directions.
    Cut(NodeIndex, NodeIndex),
    /// A cut link works as before.
    Heal(NodeIndex, NodeIndex),
    /// A link that a flow uses is cut, one whose ends stay connected; if there is none, any link
    /// of which that is true.
    CutInUse,
    /// All these links are cut.
    Partition(Vec<Ends>),
    /// Links that were cut work as before, all of them.
    HealAll,
    /// Each of these links loses this share of broadcasts.
    Fade(Vec<(Ends, f64)>),
    /// All links lose what they lost at the start.
    Clear,
    /// The first links are cut, and the second are new.
    Rewire(Vec<Ends>, Vec<Ends>),
    /// A node's daemon ends. Warm: the kernel goes on with the routes it has (`kill -9`). Else
    /// they are gone, as after losing power.
    Stop(NodeIndex, Inheritance),
    /// A node in the middle of a flow's path loses power, one without which the flow's ends stay
    /// connected; if there is none, any node without which all others stay connected.
    StopInUse,
    /// A stopped node's daemon is started.
    Start(NodeIndex, Inheritance),
    /// All stopped nodes are switched on.
    StartAll,
    /// A node's daemon ends, and at once another takes its place.
    Restart(NodeIndex, Inheritance),
    /// A node says something else about itself from now on.
    Announce(NodeIndex, Announcement),
    /// Nothing happens, but it is counted what gets through.
    Check,
}

/// An action and its time.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// When, after the start of the run.
    pub at: Duration,
    /// What.
    pub action: Action,
}

/// A scenario for one topology: all that happens, and to whom.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What happens, in order of time.
    pub steps: Vec<Step>,
    /// Between whom traffic flows.
    pub flows: Vec<Flow>,
    /// Nodes that are not switched on with the others.
    pub late: Vec<NodeIndex>,
}

impl Action {
    /// What kind of step this is, in one word.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Cut(..) | Self::CutInUse => "cut",
            Self::Heal(..) | Self::HealAll => "heal",
            Self::Partition(_) => "partition",
            Self::Fade(_) => "fade",
            Self::Clear => "clear",
            Self::Rewire(..) => "rewire",
            Self::Stop(..) | Self::StopInUse => "stop",
            Self::Start(..) | Self::StartAll => "start",
            Self::Restart(..) => "restart",
            Self::Announce(..) => "announce",
            Self::Check => "check",
        }
    }

    /// In words, with the nodes' names.
    pub fn label(&self, topology: &Topology) -> String {
        let name = |node: &NodeIndex| topology.nodes.get(node.0).map_or("?", String::as_str);
        let kind = self.kind();
        match self {
            Self::Cut(a, b) | Self::Heal(a, b) => format!("{kind} {}-{}", name(a), name(b)),
            Self::Stop(node, how) | Self::Start(node, how) | Self::Restart(node, how) => {
                format!("{kind} {} {}", name(node), how.name())
            }
            Self::Announce(node, _) => format!("announcement of {}", name(node)),
            Self::Partition(links) => format!("partition: {} links", links.len()),
            Self::Fade(links) => format!("fade: {} links", links.len()),
            Self::Rewire(links, _) => format!("rewire: {} links", links.len()),
            Self::CutInUse | Self::StopInUse => format!("{kind}: nothing to"),
            Self::HealAll | Self::StartAll => format!("{kind} all"),
            Self::Clear | Self::Check => kind.to_owned(),
        }
    }
}

impl Step {
    /// The step `action` at `at`.
    pub const fn new(at: Duration, action: Action) -> Self {
        Self { at, action }
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
            Self::Lost => "lost",
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
