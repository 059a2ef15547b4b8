//! What kernel and system say.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::program::{self, Output};
use super::{Keep, Section};

/// As many lines of a log as are read.
const LOG_LINES: &str = "300";

/// What is asked of other programs. Each is missing somewhere.
const PROGRAMS: [(&str, &[&str]); 11] = [
    ("ip", &["-d", "link"]),
    ("ip", &["address"]),
    ("ip", &["rule"]),
    ("ip", &["-6", "rule"]),
    ("ip", &["route", "show", "table", "all"]),
    ("ip", &["-6", "route", "show", "table", "all"]),
    ("ip", &["nexthop"]),
    ("nft", &["list", "table", "inet", "meshd"]),
    ("iw", &["dev"]),
    ("iw", &["reg", "get"]),
    ("df", &["-h"]),
];

/// Files that say what kind of machine it is, and how it is doing.
const FILES: [&str; 8] = [
    "/proc/version",
    "/etc/openwrt_release",
    "/etc/os-release",
    "/proc/cpuinfo",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/modules",
];

/// Words of lines of the kernel's log that are about radios, or that explain an end.
const OF_RADIOS: [&str; 15] = [
    "80211",
    "ath",
    "brcm",
    "carl9170",
    "firmware",
    "iwl",
    "mt76",
    "mwl",
    "oom",
    "out of memory",
    "phy",
    "rtl",
    "rtw",
    "wlan",
    "regulatory",
];

/// Settings of the kernel that routing depends on, below `/proc/sys/net`. `*`: of each interface.
const SYSCTLS: [&str; 11] = [
    "ipv4/ip_forward",
    "ipv4/conf/*/rp_filter",
    "ipv4/conf/*/forwarding",
    "ipv4/icmp_ratelimit",
    "ipv6/icmp/ratelimit",
    "ipv6/conf/*/disable_ipv6",
    "ipv6/conf/*/forwarding",
    "ipv6/conf/*/accept_ra",
    "ipv6/conf/*/addr_gen_mode",
    "netfilter/nf_conntrack_count",
    "netfilter/nf_conntrack_max",
];

/// Everything, each program within `limit`.
pub(super) fn sections(limit: Duration) -> Vec<Section> {
    let files = FILES.iter().filter_map(|path| {
        let text = fs::read_to_string(path).ok()?;
        Some(Section::new(*path, text))
    });
    let mut sections: Vec<Section> = files.collect();
    sections.push(Section::new("sysctl", sysctls()));
    for (name, arguments) in PROGRAMS {
        let title = format!("{name} {}", arguments.join(" "));
        let Output { text, .. } = program::run(name, arguments, limit);
        sections.push(Section::new(title, text));
    }
    sections.push(kernel_log(limit));
    sections.push(daemon_log(limit));
    sections
}

fn kernel_log(limit: Duration) -> Section {
    let Output { text, is_done } = program::run("dmesg", &[], limit);
    let lines = text.lines().filter(|line| !is_done || is_of_radios(line));
    let lines: Vec<&str> = lines.collect();
    Section {
        keep: Keep::Tail,
        ..Section::new("dmesg, of radios", lines.join("\n"))
    }
}

fn is_of_radios(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    OF_RADIOS.iter().any(|word| line.contains(word))
}

/// As systemd keeps it, or OpenWrt.
fn daemon_log(limit: Duration) -> Section {
    let journal = [
        "-u",
        "meshd",
        "-n",
        LOG_LINES,
        "--no-pager",
        "-o",
        "short-monotonic",
    ];
    let openwrt = ["-e", "meshd", "-l", LOG_LINES];
    let from_journal = program::run("journalctl", &journal, limit);
    let (title, log) = match from_journal.is_done {
        true => ("journalctl -u meshd", from_journal),
        false => ("logread -e meshd", program::run("logread", &openwrt, limit)),
    };
    Section {
        keep: Keep::Tail,
        ..Section::new(title, log.text)
    }
}

fn sysctls() -> String {
    let mut lines = String::new();
    for pattern in SYSCTLS {
        for path in matching(pattern) {
            if let Ok(value) = fs::read_to_string(Path::new("/proc/sys/net").join(&path)) {
                lines.push_str(&format!("net/{} = {}\n", path.display(), value.trim()));
            }
        }
    }
    lines
}

fn matching(pattern: &str) -> Vec<PathBuf> {
    let Some((directory, setting)) = pattern.split_once("/*/") else {
        return vec![pattern.into()];
    };
    let entries = fs::read_dir(Path::new("/proc/sys/net").join(directory));
    let entries = entries.into_iter().flatten().flatten();
    let of = |name: std::ffi::OsString| Path::new(directory).join(name).join(setting);
    let mut paths: Vec<PathBuf> = entries.map(|entry| of(entry.file_name())).collect();
    paths.sort();
    paths
}
