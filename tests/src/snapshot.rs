//! Everything a kernel was told about its network: to prove that it is as it was before.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::namespace::Namespace;

/// What changes by itself: clocks, counters and running numbers.
const VOLATILE: [&str; 11] = [
    "age",
    "bytes",
    "cacheinfo",
    "expires",
    "handle",
    "metainfo",
    "operstate",
    "packets",
    "preferred_life_time",
    "stats64",
    "valid_life_time",
];

/// Flags of an interface that say what is at the other end, not what was set.
const CARRIER: [&str; 2] = ["LOWER_UP", "NO-CARRIER"];

/// As many differences as a person reads.
const MOST_SHOWN: usize = 30;

/// The questions and how their answers are called.
const QUESTIONS: [(&str, &str, &str); 10] = [
    ("link", "ip", "-j -d link show"),
    ("address", "ip", "-j addr show"),
    ("rule", "ip", "-j -4 rule show"),
    ("rule6", "ip", "-j -6 rule show"),
    ("route", "ip", "-j -4 route show table all"),
    ("route6", "ip", "-j -6 route show table all"),
    ("nexthop", "ip", "-j nexthop show"),
    ("neighbor", "ip", "-j -4 neigh show nud permanent"),
    ("neighbor6", "ip", "-j -6 neigh show nud permanent"),
    ("nftables", "nft", "-j list ruleset"),
];

/// Links, addresses, rules, routes of all tables, next hops, permanent neighbors and nftables
/// rules of one namespace, one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    lines: BTreeSet<String>,
}

impl Snapshot {
    /// Asks the kernel.
    ///
    /// # Errors
    /// `ip` or `nft` failed.
    pub fn take(namespace: &Namespace) -> Result<Self> {
        let mut lines = BTreeSet::new();
        for (kind, program, arguments) in QUESTIONS {
            let text = namespace.run(program, arguments)?;
            if text.trim().is_empty() {
                continue;
            }
            let answer: Value = serde_json::from_str(&text)
                .with_context(|| format!("{program} {arguments} printed {text}"))?;
            let told = items(answer).into_iter().filter(|item| !is_derived(item));
            lines.extend(told.flat_map(|item| flatten(kind, item)));
        }
        Ok(Self { lines })
    }

    /// The lines that hold `text`, for looking for something in particular.
    pub fn matching(&self, text: &str) -> impl Iterator<Item = &str> {
        self.lines
            .iter()
            .map(String::as_str)
            .filter(move |line| line.contains(text))
    }

    /// Fails if anything is different now.
    ///
    /// # Errors
    /// The text lists what is gone and what is new.
    pub fn must_equal(&self, now: &Self) -> Result<()> {
        let gone = self
            .lines
            .difference(&now.lines)
            .map(|line| format!("\n  gone: {line}"));
        let new = now
            .lines
            .difference(&self.lines)
            .map(|line| format!("\n  new:  {line}"));
        let mut changes: Vec<String> = gone.chain(new).collect();
        if changes.is_empty() {
            return Ok(());
        }
        if changes.len() > MOST_SHOWN {
            let hidden = changes.len() - MOST_SHOWN;
            changes.truncate(MOST_SHOWN);
            changes.push(format!("\n  … and {hidden} more"));
        }
        bail!(
            "the kernel's network settings have changed:{}",
            changes.concat()
        )
    }
}

/// `ip` prints a list, `nft` an object that holds one.
fn items(answer: Value) -> Vec<Value> {
    match answer {
        Value::Array(items) => items,
        Value::Object(mut object) => object.remove("nftables").map(items).unwrap_or_default(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

/// The kernel adds an anycast route of its own for every prefix once it forwards.
fn is_derived(item: &Value) -> bool {
    item.get("type").is_some_and(|kind| kind == "anycast")
}

/// An interface with three addresses becomes three lines, so that a difference is short.
fn flatten(kind: &str, mut item: Value) -> Vec<String> {
    if !strip(&mut item) {
        return Vec::new();
    }
    let Some(Value::Array(addresses)) = item.get_mut("addr_info").map(Value::take) else {
        return vec![format!("{kind} {item}")];
    };
    let interface = item.get("ifname").cloned().unwrap_or_default();
    addresses
        .iter()
        .map(|address| format!("{kind} {interface} {address}"))
        .collect()
}

/// Removes what is volatile; false if nothing is left.
fn strip(value: &mut Value) -> bool {
    match value {
        Value::Object(object) => {
            // Whatever is in a set with a timeout goes by itself.
            if object.contains_key("timeout") {
                object.remove("elem");
            }
            object.retain(|key, value| !VOLATILE.contains(&key.as_str()) && strip(value));
            !object.is_empty()
        }
        Value::Array(items) => {
            items.retain_mut(|item| !CARRIER.iter().any(|flag| item == flag) && strip(item));
            true
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn volatile_keys_are_removed_at_every_depth() {
        let mut value = json!({"rule": {"handle": 3, "expr": [{"counter": {"packets": 1}}]}});
        assert!(strip(&mut value));
        assert_eq!(value, json!({"rule": {"expr": []}}));
        let mut link = json!({"flags": ["UP", "LOWER_UP"]});
        assert!(strip(&mut link));
        assert_eq!(link, json!({"flags": ["UP"]}));
        assert!(!strip(&mut json!({"metainfo": {"version": "1"}})));
    }

    #[test]
    fn addresses_become_lines_of_their_own() {
        let item = json!({"ifname": "eth0", "addr_info": [{"local": "::1"}, {"local": "::2"}]});
        let lines = flatten("address", item);
        assert_eq!(
            lines,
            [
                r#"address "eth0" {"local":"::1"}"#,
                r#"address "eth0" {"local":"::2"}"#
            ]
        );
    }

    #[test]
    fn a_difference_lists_both_sides() {
        let snapshot = |line: &str| Snapshot {
            lines: BTreeSet::from([line.to_owned()]),
        };
        let text = snapshot("a")
            .must_equal(&snapshot("b"))
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("gone: a") && text.contains("new:  b"),
            "{text}"
        );
        assert!(snapshot("a").must_equal(&snapshot("a")).is_ok());
    }
}
