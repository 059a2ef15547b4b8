//! Firewalls of others: whether they surely drop what a mesh needs.
//!
//! What matters of a packet is followed through their chains of nftables, those that iptables makes included.
//! Where a rule asks for something that is not known here, it may let the packet pass, and is trusted to: a false
//! alarm would have operators take down a firewall that is right.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use mesh_proto::Family;
use serde_json::Value;

use super::program;

/// How deep chains may jump (`NFT_JUMP_STACK_SIZE`, net/netfilter/nf_tables.h).
const MAX_DEPTH: usize = 16;
/// How tables of our own begin.
const OURS: &str = "meshd";

/// The tables of nftables that are not ours.
#[derive(Debug, Default)]
pub struct Firewalls {
    chains: BTreeMap<ChainName, Chain>,
}

/// Family, table and name.
type ChainName = (String, String, String);

#[derive(Debug, Default)]
struct Chain {
    /// Where packets come in, if they do.
    hook: Option<String>,
    /// What is accepted by no rule is dropped.
    drops: bool,
    /// The statements of each rule.
    rules: Vec<Vec<Value>>,
}

/// Where a packet is in this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// It is for this machine.
    Input,
    /// It goes on.
    Forward,
}

/// What is known of a packet that begins a flow.
#[derive(Clone, Debug)]
pub struct Packet<'a> {
    /// Where it is.
    pub hook: Hook,
    /// Its family.
    pub family: Family,
    /// The interface it came in by.
    pub from: &'a str,
    /// The interface it leaves by, if it does.
    pub to: Option<&'a str>,
    /// The port, of UDP, that it is for; other packets are of any protocol.
    pub udp: Option<u16>,
}

/// What becomes of a packet in a chain, or by a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Accepted,
    Dropped,
    /// It goes on to the next rule, or to where the chain was jumped to from.
    Passes,
    /// It leaves the chain.
    Returns,
    /// That depends on what is not known.
    Unsure,
}

/// What is known of a part of a packet.
enum Fact<'a> {
    Text(&'a str),
    Number(u64),
    /// There is no such part, so no rule that asks for it applies.
    Missing,
    /// The state of its connection, which is new, or not looked after.
    Begins,
    Unknown,
}

impl Firewalls {
    /// Those of the network namespace of the calling thread; none if there is no program `nft` that says.
    ///
    /// # Errors
    /// It could not be run, or prints something else.
    pub fn read() -> io::Result<Self> {
        for candidate in program::candidates(Path::new("nft")) {
            let mut command = Command::new(candidate);
            // Without the elements of sets, of which there may be thousands.
            command.args(["--json", "--terse", "list", "ruleset"]);
            command.stdin(Stdio::null()).stderr(Stdio::null());
            match command.output() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                output => {
                    let ruleset = serde_json::from_slice(&output?.stdout)?;
                    return Ok(Self::parse(&ruleset));
                }
            }
        }
        Ok(Self::default())
    }

    fn parse(ruleset: &Value) -> Self {
        let mut all = Self::default();
        let objects = ruleset.get("nftables").and_then(Value::as_array);
        for object in objects.into_iter().flatten() {
            if let Some(chain) = object.get("chain") {
                let it = all.chains.entry(chain_name(chain, "name")).or_default();
                it.hook = chain.get("hook").and_then(Value::as_str).map(str::to_owned);
                it.drops = chain.get("policy").is_some_and(|policy| policy == "drop");
            } else if let Some(rule) = object.get("rule") {
                let statements = rule.get("expr").and_then(Value::as_array);
                let it = all.chains.entry(chain_name(rule, "chain")).or_default();
                it.rules.push(statements.cloned().unwrap_or_default());
            }
        }
        all.chains
            .retain(|(_, table, _), _| !table.starts_with(OURS));
        all
    }

    /// The chain, with family and table, that surely drops such a packet.
    pub fn dropping(&self, packet: &Packet<'_>) -> Option<String> {
        let (hook, family) = match (packet.hook, packet.family) {
            (Hook::Input, Family::Ipv4) => ("input", "ip"),
            (Hook::Input, Family::Ipv6) => ("input", "ip6"),
            (Hook::Forward, Family::Ipv4) => ("forward", "ip"),
            (Hook::Forward, Family::Ipv6) => ("forward", "ip6"),
        };
        let here = self.chains.iter().filter(|((of, ..), chain)| {
            (of == "inet" || of == family) && chain.hook.as_deref() == Some(hook)
        });
        let mut dropping = here.filter(|(name, chain)| match self.follow(name, packet, 0) {
            Fate::Dropped => true,
            Fate::Passes | Fate::Returns => chain.drops,
            Fate::Accepted | Fate::Unsure => false,
        });
        let ((family, table, name), _) = dropping.next()?;
        Some(format!("{family} {table} {name}"))
    }

    fn follow(&self, name: &ChainName, packet: &Packet<'_>, depth: usize) -> Fate {
        let Some(chain) = self.chains.get(name).filter(|_| depth < MAX_DEPTH) else {
            return Fate::Unsure;
        };
        for rule in &chain.rules {
            match self.apply(rule, name, packet, depth) {
                Fate::Passes => {}
                Fate::Returns => return Fate::Passes,
                fate @ (Fate::Accepted | Fate::Dropped | Fate::Unsure) => return fate,
            }
        }
        Fate::Passes
    }

    fn apply(&self, rule: &[Value], chain: &ChainName, packet: &Packet<'_>, depth: usize) -> Fate {
        let mut is_sure = true;
        for statement in rule {
            if let Some(fate) = self.verdict(statement, chain, packet, depth) {
                return match fate {
                    fate if is_sure => fate,
                    // It may be dropped, and is not surely.
                    Fate::Dropped | Fate::Passes => Fate::Passes,
                    Fate::Accepted | Fate::Returns | Fate::Unsure => Fate::Unsure,
                };
            }
            match applies(statement, packet) {
                Some(true) => {}
                Some(false) => return Fate::Passes,
                None => is_sure = false,
            }
        }
        Fate::Passes
    }

    /// What a statement makes of a packet, if it is one that decides.
    fn verdict(
        &self,
        statement: &Value,
        chain: &ChainName,
        packet: &Packet<'_>,
        depth: usize,
    ) -> Option<Fate> {
        let (kind, content) = statement.as_object()?.iter().next()?;
        let target = || {
            let name = content.get("target").and_then(Value::as_str);
            let name = name.unwrap_or_default().to_owned();
            let name = (chain.0.clone(), chain.1.clone(), name);
            self.follow(&name, packet, depth + 1)
        };
        match kind.as_str() {
            "accept" => Some(Fate::Accepted),
            "drop" | "reject" => Some(Fate::Dropped),
            "return" => Some(Fate::Returns),
            "queue" => Some(Fate::Unsure),
            "jump" => Some(target()),
            "goto" => Some(match target() {
                Fate::Passes => Fate::Returns,
                fate @ (Fate::Accepted | Fate::Dropped | Fate::Returns | Fate::Unsure) => fate,
            }),
            "vmap" => Some(self.looked_up(content, chain, packet, depth)),
            _ => None,
        }
    }

    /// What a map of verdicts says.
    fn looked_up(&self, map: &Value, chain: &ChainName, packet: &Packet<'_>, depth: usize) -> Fate {
        let entries = map.pointer("/data/set").and_then(Value::as_array);
        let (Some(key), Some(entries)) = (map.get("key"), entries) else {
            return Fate::Unsure;
        };
        let fact = fact_of(key, packet);
        for entry in entries {
            let (Some(value), Some(verdict)) = (entry.get(0), entry.get(1)) else {
                return Fate::Unsure;
            };
            match fact.is(value) {
                Some(true) => {
                    let fate = self.verdict(verdict, chain, packet, depth);
                    return fate.unwrap_or(Fate::Unsure);
                }
                Some(false) => {}
                None => return Fate::Unsure,
            }
        }
        Fate::Passes
    }
}

fn chain_name(object: &Value, name: &str) -> ChainName {
    let text = |key: &str| {
        let text = object.get(key).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    (text("family"), text("table"), text(name))
}

/// Whether a packet gets past a statement that decides nothing.
fn applies(statement: &Value, packet: &Packet<'_>) -> Option<bool> {
    /// Statements that every packet passes.
    const HARMLESS: [&str; 7] = ["counter", "log", "mangle", "notrack", "flow", "set", "map"];
    let (kind, content) = statement.as_object()?.iter().next()?;
    if HARMLESS.contains(&kind.as_str()) {
        return Some(true);
    }
    if kind != "match" {
        return None;
    }
    let fact = fact_of(content.get("left")?, packet);
    if matches!(fact, Fact::Missing) {
        return Some(false);
    }
    let is = fact.is(content.get("right")?)?;
    match content.get("op")?.as_str()? {
        "==" | "in" => Some(is),
        "!=" => Some(!is),
        _ => None,
    }
}

fn fact_of<'a>(expression: &Value, packet: &Packet<'a>) -> Fact<'a> {
    // Of bits of it no more is known than whether it is there.
    if let Some(operand) = expression.pointer("/&/0") {
        let is_missing = matches!(fact_of(operand, packet), Fact::Missing);
        return match is_missing {
            true => Fact::Missing,
            false => Fact::Unknown,
        };
    }
    let is_ipv6 = packet.family == Family::Ipv6;
    let key = |kind: &str| expression.get(kind)?.get("key")?.as_str();
    match key("meta") {
        Some("iifname" | "iif") => return Fact::Text(packet.from),
        Some("oifname" | "oif") => return packet.to.map_or(Fact::Unknown, Fact::Text),
        Some("nfproto") => return Fact::Text(if is_ipv6 { "ipv6" } else { "ipv4" }),
        Some("protocol") => return Fact::Text(if is_ipv6 { "ip6" } else { "ip" }),
        Some("l4proto") => return packet.udp.map_or(Fact::Unknown, |_| Fact::Text("udp")),
        Some(_) | None => {}
    }
    if key("ct") == Some("state") {
        return Fact::Begins;
    }
    let part = |name: &str| expression.pointer(name).and_then(Value::as_str);
    let protocol = part("/payload/protocol");
    match (protocol, packet.udp) {
        (Some("ip"), _) if is_ipv6 => Fact::Missing,
        (Some("ip6"), _) if !is_ipv6 => Fact::Missing,
        (Some("udp"), Some(port)) if part("/payload/field") == Some("dport") => {
            Fact::Number(port.into())
        }
        (Some("tcp" | "icmp" | "icmpv6" | "sctp" | "dccp"), Some(_)) => Fact::Missing,
        (Some(_) | None, _) => Fact::Unknown,
    }
}

impl Fact<'_> {
    /// Whether it is this, or in this set.
    fn is(&self, value: &Value) -> Option<bool> {
        if let Some(within) = value.get("elem").and_then(|elem| elem.get("val")) {
            return self.is(within);
        }
        let set = value.get("set").unwrap_or(value);
        if let Some(set) = set.as_array() {
            let mut found = Some(false);
            for value in set {
                match self.is(value) {
                    Some(true) => return Some(true),
                    Some(false) => {}
                    None => found = None,
                }
            }
            return found;
        }
        match self {
            Self::Text(text) => {
                let value = value.as_str().filter(|it| !it.starts_with('@'))?;
                Some(match value.strip_suffix('*') {
                    Some(begin) => text.starts_with(begin),
                    None => *text == value,
                })
            }
            Self::Number(number) => {
                let bound = |index: usize| value.get("range")?.get(index)?.as_u64();
                match (bound(0), bound(1)) {
                    (Some(first), Some(last)) => Some((first..=last).contains(number)),
                    _ => Some(value.as_u64()? == *number),
                }
            }
            Self::Begins => match value.as_str()? {
                "established" | "related" | "invalid" => Some(false),
                _ => None,
            },
            Self::Missing | Self::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `nft` printed of a ruleset.
    fn recorded(text: &str) -> Firewalls {
        Firewalls::parse(&serde_json::from_str(text).unwrap())
    }

    fn forwarded<'a>(family: Family, from: &'a str, to: &'a str) -> Packet<'a> {
        Packet {
            hook: Hook::Forward,
            family,
            from,
            to: Some(to),
            udp: None,
        }
    }

    fn received(from: &str, port: u16) -> Packet<'_> {
        Packet {
            hook: Hook::Input,
            family: Family::Ipv6,
            from,
            to: None,
            udp: Some(port),
        }
    }

    /// OpenWrt's firewall, which knows nothing of the mesh, and has a rule that lets it in at `wan`.
    #[test]
    fn a_firewall_of_zones_drops_what_is_in_no_zone() {
        let fw4 = recorded(include_str!("firewall/fw4.json"));
        let dropping = |packet| fw4.dropping(&packet);
        let (input, forward) = ("inet fw4 input", "inet fw4 forward");
        assert_eq!(dropping(received("mesh0", 5525)).as_deref(), Some(input));
        assert_eq!(dropping(received("br-lan", 5525)), None);
        assert_eq!(dropping(received("wan", 5525)), None);
        assert_eq!(dropping(received("wan", 5524)).as_deref(), Some(input));
        for family in Family::BOTH {
            let forwarded = |from, to| dropping(forwarded(family, from, to));
            assert_eq!(forwarded("br-lan", "wan"), None);
            assert_eq!(forwarded("br-lan", "meshd0").as_deref(), Some(forward));
            assert_eq!(forwarded("meshd0", "wan").as_deref(), Some(forward));
        }
    }

    /// What Docker makes of iptables, which concerns IPv4 alone.
    #[test]
    fn a_policy_drops_what_no_rule_accepts() {
        let docker = recorded(include_str!("firewall/docker.json"));
        let dropping = |family, from, to| docker.dropping(&forwarded(family, from, to));
        let filter = Some("ip filter FORWARD".to_owned());
        assert_eq!(dropping(Family::Ipv4, "lan0", "meshd0"), filter);
        assert_eq!(dropping(Family::Ipv4, "docker0", "meshd0"), None);
        assert_eq!(dropping(Family::Ipv6, "lan0", "meshd0"), None);
    }

    #[test]
    fn only_what_surely_drops_counts() {
        let mixed = recorded(include_str!("firewall/docker.json"));
        let dropping = |from, to| mixed.dropping(&forwarded(Family::Ipv6, from, to));
        let is_dropped = |from, to| dropping(from, to).as_deref() == Some("inet mixed forward");
        assert!(is_dropped("bad0", "meshd0"));
        assert!(is_dropped("odd0", "wan0") && !is_dropped("odd0", "wan1"));
        assert!(is_dropped("lan1", "wan0") && !is_dropped("lan1", "meshd3"));
        // Some of it, too much of it, and what is in a set: that depends.
        assert!(
            ["lan2", "lan3", "lan4"]
                .iter()
                .all(|lan| dropping(lan, "meshd0").is_none())
        );
        // Those of IPv4 alone have no such addresses.
        let ipv4 = forwarded(Family::Ipv4, "lan1", "wan0");
        assert_eq!(mixed.dropping(&ipv4).as_deref(), Some("ip filter FORWARD"));
    }
}
