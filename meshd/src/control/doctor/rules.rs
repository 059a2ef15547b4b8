//! Routing rules of others that take packets before ours can.

use std::process::Command;

use super::{Findings, Machine};
use crate::kernel::Numbers;

/// Rules that lead everything into a table with a default route, as those of VPN clients do, and leave no room for
/// ours before them.
pub(super) fn before_ours(_: &Machine, findings: &mut Findings) {
    for family in ["-4", "-6"] {
        let Some(rules) = ip(&[family, "rule", "show"]) else {
            continue;
        };
        for (priority, table) in rules.lines().filter_map(taking_all) {
            let routes = ip(&[family, "route", "show", "table", table, "default"]);
            if priority > Numbers::RULES || routes.is_none_or(|it| it.trim().is_empty()) {
                continue;
            }
            let problem = format!(
                "ip {family} rule {priority} leads everything into table {table}, and leaves no room before it: \
                 what is for the mesh goes there too"
            );
            let least = Numbers::RULES + 1;
            let advice = format!(
                "give it a priority of {least} or more where it comes from, a VPN client's configuration for \
                 example: meshd puts its rules before it then"
            );
            findings.error("rules", problem, advice);
        }
    }
}

/// What `ip` of iproute2 or busybox prints; nothing if it is not there or fails, as for a table without routes.
fn ip(arguments: &[&str]) -> Option<String> {
    let output = Command::new("ip").args(arguments).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Priority and table of a rule that all packets ask, or all but those that a VPN client has marked: not the
/// kernel's own, nor ours (protocol 155), which look for more than that.
fn taking_all(line: &str) -> Option<(u32, &str)> {
    let (priority, rule) = line.split_once(':')?;
    let priority: u32 = priority.trim().parse().ok()?;
    let words: Vec<&str> = rule.split_whitespace().collect();
    let (words, is_ours) = match words.as_slice() {
        [words @ .., "proto", protocol] => (words, *protocol == "155"),
        words => (words, false),
    };
    let table = match words {
        ["from", "all", "lookup", table] => *table,
        ["not", "from", "all", "fwmark", _, "lookup", table] => *table,
        _ => return None,
    };
    let is_kernels = ["local", "main", "default"].contains(&table);
    (!is_ours && !is_kernels).then_some((priority, table))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_take_everything_are_told_from_others() {
        for (line, found) in [
            ("0:\tfrom all lookup local", None),
            ("32766:\tfrom all lookup main", None),
            ("99:\tfrom all lookup 42 ", Some((99, "42"))),
            ("99:\tfrom all lookup vpn proto static", Some((99, "vpn"))),
            (
                "5209:\tnot from all fwmark 0xca6c lookup 51820",
                Some((5209, "51820")),
            ),
            ("32764:\tfrom all lookup main suppress_prefixlength 0", None),
            ("31100:\tfrom all lookup 5525 proto 155", None),
            ("100:\tfrom 10.0.0.0/8 lookup 42", None),
            ("100:\tfrom all iif lan0 lookup 42", None),
            ("100:\tfrom all fwmark 0x1 lookup 42", None),
            ("nonsense", None),
        ] {
            assert_eq!(taking_all(line), found, "{line}");
        }
    }
}
