//! Everything that can happen, at random.

use std::collections::BTreeSet;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use mesh_proto::router::Announcement;

use super::named::{Draft, offering};
use super::{Action, Ends, Inheritance};
use crate::{NodeIndex, random};

/// The end of a run in which nothing happens, so that it shows what is left of the trouble.
const CALM: Duration = Duration::from_secs(20);
/// The longest time between two steps; half of it on average.
const LONGEST_PAUSE: Duration = Duration::from_millis(600);

/// What is not as it was at the start.
#[derive(Default)]
struct Trouble {
    cut: BTreeSet<Ends>,
    stopped: BTreeSet<NodeIndex>,
}

/// Plans something for somebody until the calm.
pub(super) fn steps(draft: &mut Draft<'_>) {
    let links: Vec<Ends> = draft.topology.links.iter().map(|l| (l.a, l.b)).collect();
    let calm = draft.duration.saturating_sub(CALM);
    let mut trouble = Trouble::default();
    draft.at = Duration::from_secs(2);
    while draft.at < calm {
        let action = something(draft, &links, &mut trouble);
        draft.add(0, action);
        draft.at += LONGEST_PAUSE.mul_f64(random::unit(&mut draft.rng));
    }
    draft.at = draft.at.min(draft.duration);
    draft.add(0, Action::HealAll);
    draft.add(0, Action::Clear);
    draft.add(0, Action::StartAll);
}

fn something(draft: &mut Draft<'_>, links: &[Ends], trouble: &mut Trouble) -> Action {
    let node = draft.any_node();
    let Some((a, b)) = random::choose(&mut draft.rng, links) else {
        return Action::Check;
    };
    match random::below(&mut draft.rng, 16) {
        0..=3 => {
            trouble.cut.insert((a, b));
            Action::Cut(a, b)
        }
        4..=6 => match trouble.cut.pop_first() {
            Some((a, b)) => Action::Heal(a, b),
            None => Action::Clear,
        },
        7 | 8 => Action::Fade(vec![((a, b), 0.6 * random::unit(&mut draft.rng))]),
        9 => Action::Announce(node, prefixes(draft, node)),
        10 => Action::Announce(node, offering(10_000_000)),
        kind => lives(draft, kind, node, trouble),
    }
}

/// Something happens to a node's daemon.
fn lives(draft: &mut Draft<'_>, kind: usize, node: NodeIndex, trouble: &mut Trouble) -> Action {
    use Inheritance::{Cold, Lost, Warm};
    let how = random::choose(&mut draft.rng, &[Warm, Cold, Lost]).unwrap_or(Warm);
    let many_stopped = trouble.stopped.len() * 4 > draft.topology.nodes.len();
    match kind {
        11 | 12 if !many_stopped && trouble.stopped.insert(node) => Action::Stop(node, how),
        11..=13 => match trouble.stopped.pop_first() {
            Some(node) => Action::Start(node, how),
            None => Action::Restart(node, how),
        },
        _ => match trouble.stopped.contains(&node) {
            true => Action::Check,
            false => Action::Restart(node, how),
        },
    }
}

/// A prefix of the node alone, or one that others have too, or none.
fn prefixes(draft: &mut Draft<'_>, node: NodeIndex) -> Announcement {
    let [.., high, low] = node.0.to_be_bytes();
    let [alone, shared] = [[10, high, low, 0], [192, 168, 7, 0]]
        .map(|octets| Ipv4Net::new_assert(octets.into(), 24))
        .map(IpNet::V4);
    let choices = [vec![alone], vec![alone, shared], Vec::new()];
    let prefixes = choices.into_iter().nth(random::below(&mut draft.rng, 3));
    Announcement {
        prefixes: prefixes.unwrap_or_default(),
        ..Announcement::default()
    }
}
