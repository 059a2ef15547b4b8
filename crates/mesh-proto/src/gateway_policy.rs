//! What the operator of a node thinks of gateways: which may be used, which come first, and how
//! price compares with time.

use std::fmt;
use std::str::FromStr;

use crate::record::MAX_NAME_LEN;
use crate::{GatewayOffer, Metric, OriginatorId, Price};

/// So many digits are taken for the beginning of an id. Nodes with shorter or longer names of
/// digits can be named by them.
const ID_DIGITS: std::ops::RangeInclusive<usize> = 8..=2 * OriginatorId::LEN;

/// A node as an operator writes it: the name in its record, which several may bear, or the first
/// eight or more digits of its originator id. Eight digits are never a name, as any node may call
/// itself by the digits of another's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePattern(String);

/// A text that can be neither a name nor the digits of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a node's name or 8 to 20 of the first digits of its id")]
pub struct NodePatternError;

impl NodePattern {
    /// Whether it means the node of this id, whose record has this name.
    pub fn matches(&self, id: OriginatorId, name: &str) -> bool {
        match is_id(&self.0) {
            true => id.to_string().starts_with(&self.0),
            false => self.0 == name,
        }
    }
}

impl FromStr for NodePattern {
    type Err = NodePatternError;

    fn from_str(text: &str) -> Result<Self, NodePatternError> {
        if text.is_empty() || text.len() > MAX_NAME_LEN || text.chars().any(char::is_control) {
            return Err(NodePatternError);
        }
        Ok(Self(match is_id(text) {
            true => text.to_ascii_lowercase(),
            false => text.to_owned(),
        }))
    }
}

impl fmt::Display for NodePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_id(text: &str) -> bool {
    ID_DIGITS.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Which gateways a node uses. By default any that costs nothing on the way to it, the nearest first:
/// nobody pays without having said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Used before all others, in this order.
    pub prefer: Vec<NodePattern>,
    /// Used when nothing else is left.
    pub avoid: Vec<NodePattern>,
    /// Not used.
    pub never: Vec<NodePattern>,
    /// Which may be used at all.
    pub allowed: Allowed,
    /// Dearer ways are not taken to the Internet. `None`: whatever they cost.
    pub maximum_price: Option<Price>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            prefer: Vec::new(),
            avoid: Vec::new(),
            never: Vec::new(),
            allowed: Allowed::Any,
            maximum_price: Some(Price::FREE),
        }
    }
}

/// Which gateways may be used at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Allowed {
    /// All of them.
    #[default]
    Any,
    /// This one.
    Only(NodePattern),
    /// None.
    Nobody,
}

/// How a gateway that can be used compares with others: by class, then by cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Standing {
    /// What the policy says of it.
    pub class: Class,
    /// What the way to the Internet through it costs.
    pub cost: Metric,
}

/// What a policy says of a gateway, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// It is preferred, with this place in the list.
    Preferred(usize),
    /// Nothing.
    Ordinary,
    /// It is avoided.
    Avoided,
}

/// Why a gateway cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// No route leads to it, or nothing goes through its uplink.
    Unreachable,
    /// It ends no tunnel of a kind that we can end.
    NoTunnel,
    /// It is one of [`Policy::never`].
    Never,
    /// It is not [`Policy::allowed`].
    NotAllowed,
    /// The way to it costs more than [`Policy::maximum_price`], ours or that of a node on the way.
    TooDear,
}

impl Policy {
    /// Where a gateway stands. `name` is that in its record; the way to it has this length and this
    /// price.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn judge(
        &self,
        id: OriginatorId,
        name: &str,
        offer: &GatewayOffer,
        (path, price): (Metric, Price),
    ) -> Result<Standing, Refusal> {
        let is_among = |nodes: &[NodePattern]| nodes.iter().any(|node| node.matches(id, name));
        let time = path.plus(uplink_cost(offer));
        if !time.is_finite() {
            return Err(Refusal::Unreachable);
        }
        if is_among(&self.never) {
            return Err(Refusal::Never);
        }
        if !self.allowed.contains(id, name) {
            return Err(Refusal::NotAllowed);
        }
        if self.is_too_dear(price) {
            return Err(Refusal::TooDear);
        }
        let place = self.prefer.iter().position(|node| node.matches(id, name));
        let class = match place {
            Some(place) => Class::Preferred(place),
            None if is_among(&self.avoid) => Class::Avoided,
            None => Class::Ordinary,
        };
        Ok(Standing {
            class,
            cost: self.cost(time, price),
        })
    }

    /// Whether a way to the Internet that costs so much is not taken.
    pub fn is_too_dear(&self, price: Price) -> bool {
        !price.is_payable() || self.maximum_price.is_some_and(|most| price > most)
    }

    /// Time and price as one number: the time is stretched by the share of the highest price that
    /// is asked, so at that price a gateway has to be twice as fast as one that is free. Without a
    /// highest price, or with 0, there is nothing to compare a price with.
    fn cost(&self, time: Metric, price: Price) -> Metric {
        let Some(most @ 1..) = self.maximum_price.map(Price::atto_smt_per_mib) else {
            return time;
        };
        let us = u128::from(time.as_us());
        let stretched = us + us * u128::from(price.atto_smt_per_mib()) / u128::from(most);
        u32::try_from(stretched).map_or(Metric::INFINITE, Metric::from_us)
    }
}

impl Allowed {
    fn contains(&self, id: OriginatorId, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Only(node) => node.matches(id, name),
            Self::Nobody => false,
        }
    }
}

/// The time a 1500-byte packet takes through the uplink at its announced bandwidth, in the unit of
/// route metrics, so that the two add up. That is its download bandwidth, as far as the upload
/// bandwidth keeps pace.
pub fn uplink_cost(offer: &GatewayOffer) -> Metric {
    const BITS: u64 = 1500 * 8;
    /// So many times as much as they send, people download.
    const DOWN_PER_UP: u64 = 8;
    let bps = offer.down_bps.min(offer.up_bps.saturating_mul(DOWN_PER_UP));
    let us = BITS * 1_000_000 / bps.max(1);
    u32::try_from(us).map_or(Metric::INFINITE, Metric::from_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: OriginatorId = OriginatorId::from_bytes([0xab; 10]);
    const PATH: Metric = Metric::from_us(1400);

    fn node(text: &str) -> NodePattern {
        text.parse().unwrap()
    }

    /// An uplink of 600 µs.
    fn offer() -> GatewayOffer {
        GatewayOffer {
            down_bps: 20_000_000,
            up_bps: 5_000_000,
            ipv4: true,
            ipv6: true,
            dns: Vec::new(),
        }
    }

    fn judge(policy: &Policy, price: u64) -> Result<Standing, Refusal> {
        let way = (PATH, Price::new(price));
        policy.judge(ID, "mill", &offer(), way)
    }

    #[test]
    fn a_node_is_named_by_its_name_or_the_beginning_of_its_id() {
        for (text, expected) in [
            ("mill", true),
            ("Mill", false),
            ("mil", false),
            ("abababab", true),
            ("ABABABABAB", true),
            ("abababababababababab", true),
            ("ababababac", false),
            ("abababa", false),
        ] {
            assert_eq!(node(text).matches(ID, "mill"), expected, "{text}");
        }
        assert!(
            !node("01234567").matches(ID, "01234567"),
            "digits are an id, whatever a node calls itself"
        );
        assert!(node("0123456").matches(ID, "0123456"));
        let long = "x".repeat(MAX_NAME_LEN + 1);
        for bad in ["", "a\nb", &long] {
            assert_eq!(bad.parse::<NodePattern>(), Err(NodePatternError), "{bad}");
        }
    }

    #[test]
    fn the_policy_says_which_may_be_used_and_which_come_first() {
        let mill = || vec![node("mill")];
        let class = |policy: &Policy| judge(policy, 0).map(|standing| standing.class);
        let mut policy = Policy::default();
        assert_eq!(class(&policy), Ok(Class::Ordinary));
        policy.avoid = mill();
        assert_eq!(class(&policy), Ok(Class::Avoided));
        policy.prefer = vec![node("school"), node("abababab")];
        assert_eq!(class(&policy), Ok(Class::Preferred(1)));
        for (allowed, expected) in [
            (Allowed::Only(node("mill")), Ok(Class::Preferred(1))),
            (Allowed::Only(node("school")), Err(Refusal::NotAllowed)),
            (Allowed::Nobody, Err(Refusal::NotAllowed)),
        ] {
            policy.allowed = allowed;
            assert_eq!(class(&policy), expected);
        }
        policy.never = mill();
        assert_eq!(class(&policy), Err(Refusal::Never));
    }

    #[test]
    fn who_is_out_of_reach_cannot_be_used() {
        let policy = Policy::default();
        let judge = |offer, path| policy.judge(ID, "mill", &offer, (path, Price::FREE));
        assert_eq!(judge(offer(), Metric::INFINITE), Err(Refusal::Unreachable));
        for (down_bps, up_bps) in [(0, 5_000_000), (20_000_000, 0)] {
            let nothing = GatewayOffer {
                down_bps,
                up_bps,
                ..offer()
            };
            assert_eq!(judge(nothing, PATH), Err(Refusal::Unreachable));
        }
    }

    #[test]
    fn an_uplink_is_as_fast_as_the_slower_of_its_directions() {
        let cost = |down_bps, up_bps| {
            let offer = GatewayOffer {
                down_bps,
                up_bps,
                ..offer()
            };
            uplink_cost(&offer).as_us()
        };
        assert_eq!(cost(20_000_000, 20_000_000), 600);
        assert_eq!(cost(20_000_000, 2_500_000), 600, "what people send");
        assert_eq!(cost(20_000_000, 1_000_000), 1500);
        assert_eq!(cost(20_000_000, 100_000), 15_000);
        assert_eq!(cost(1_000_000, 20_000_000), 12_000);
        assert_eq!(cost(u64::MAX, u64::MAX), 0, "no overflow");
    }

    #[test]
    fn by_default_nothing_is_paid() {
        let policy = Policy::default();
        assert!(judge(&policy, 0).is_ok());
        assert_eq!(judge(&policy, 1), Err(Refusal::TooDear));
    }

    #[test]
    fn a_price_counts_by_its_share_of_the_highest() {
        let cost = |maximum_price: Option<u64>, price| {
            let policy = Policy {
                maximum_price: maximum_price.map(Price::new),
                ..Policy::default()
            };
            judge(&policy, price).map(|standing| standing.cost.as_us())
        };
        assert_eq!(cost(None, u64::MAX - 1), Ok(2000), "path and uplink alone");
        assert_eq!(cost(None, u64::MAX), Err(Refusal::TooDear), "not for sale");
        assert_eq!(cost(Some(1000), 0), Ok(2000));
        assert_eq!(cost(Some(1000), 500), Ok(3000));
        assert_eq!(cost(Some(1000), 1000), Ok(4000));
        assert_eq!(cost(Some(1000), u64::MAX), Err(Refusal::TooDear));
        assert_eq!(cost(Some(0), 0), Ok(2000));
        assert_eq!(cost(Some(0), 1), Err(Refusal::TooDear));
        let most = u64::MAX - 1;
        assert_eq!(cost(Some(most), most), Ok(4000), "no overflow");
    }
}
