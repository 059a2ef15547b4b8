//! Which gateways this node uses.

use mesh_proto::Price;
use mesh_proto::gateway_policy::{Allowed, NodePattern, Policy};

use super::document::Node;
use super::error::quoted;
use super::fields::{Fields, Value, scalar};
use super::path::{Fault, Path};

pub(super) const KEYS: &[&str] = &["prefer", "avoid", "never", "pin", "maximum_price"];

/// More than any village has.
const MAX_NODES: usize = 32;

impl Value for NodePattern {
    const ALLOWED: &'static str =
        "a node's name of at most 32 bytes, or 8 to 20 of the first digits of its id";

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("is {}", quoted(text)))
    }
}

/// The most that is paid; `None`: whatever others ask for.
struct MaximumPrice(Option<Price>);

impl Value for MaximumPrice {
    const ALLOWED: &'static str =
        "any, or a whole number of atto-SMT per MiB, 0 to 18446744073709551615";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "any" => Ok(Self(None)),
            price => Price::from_text(price).map(|most| Self(Some(most))),
        }
    }
}

pub(super) fn read(root: &Fields<'_>) -> Result<Policy, Fault> {
    let node = root.node("gateways").unwrap_or(&Node::Null);
    let fields = Fields::of(node, root.path_of("gateways"), KEYS)?;
    let mut seen = Vec::new();
    let mut list = |key| -> Result<Vec<NodePattern>, Fault> {
        let nodes = fields.list(key, MAX_NODES, "a list such as [router-5, 1cf39c4d]")?;
        let nodes = nodes.into_iter().map(|(path, node)| {
            let node = scalar(node, path.clone())?;
            once(&mut seen, path, &node)?;
            Ok(node)
        });
        nodes.collect()
    };
    let (prefer, avoid, never) = (list("prefer")?, list("avoid")?, list("never")?);
    let pin = fields.optional("pin")?;
    if let Some(node) = &pin {
        once(&mut seen, fields.path_of("pin"), node)?;
    }
    let most = fields.optional("maximum_price")?;
    Ok(Policy {
        prefer,
        avoid,
        never,
        allowed: pin.map_or(Allowed::Any, Allowed::Only),
        maximum_price: most.map_or(Some(Price::FREE), |MaximumPrice(most)| most),
    })
}

/// A node is one thing, not two.
fn once(seen: &mut Vec<(Path, NodePattern)>, path: Path, node: &NodePattern) -> Result<(), Fault> {
    if let Some((earlier, _)) = seen.iter().find(|(_, other)| other == node) {
        let what = format!("{} is {earlier} already", quoted(&node.to_string()));
        return Err(Fault::new(path, what, "a node that is named once"));
    }
    seen.push((path, node.clone()));
    Ok(())
}
