//! What the package brings.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::router::source;

fn makefile() -> String {
    fs::read_to_string(source("openwrt/meshd/Makefile")).unwrap()
}

#[test]
fn every_file_is_installed_and_every_installed_file_is_there() {
    let makefile = makefile();
    let installed: BTreeSet<String> = makefile
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("./files/"))
        .map(str::to_owned)
        .collect();
    let there: BTreeSet<String> = fs::read_dir(source("openwrt/meshd/files"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(installed, there);
}

#[test]
fn the_version_is_that_of_the_program() {
    let line = format!("PKG_VERSION:={}", env!("CARGO_PKG_VERSION"));
    assert!(makefile().lines().any(|found| found == line), "{line}");
}

#[test]
fn what_a_node_earns_by_survives_an_upgrade_of_the_system() {
    let kept = fs::read_to_string(source("openwrt/meshd/files/meshd.keep")).unwrap();
    let rendered = fs::read_to_string(source("openwrt/meshd/files/render.sh")).unwrap();
    for option in ["identity", "state"] {
        let default = rendered
            .lines()
            .find_map(|line| {
                line.trim()
                    .strip_prefix(&format!("yaml_option '' main {option} "))
            })
            .unwrap();
        assert!(
            kept.lines().any(|path| default.starts_with(path)),
            "{option}: {default}"
        );
    }
}

#[test]
fn meshd_may_what_it_may_under_systemd() {
    let json = fs::read_to_string(source("openwrt/meshd/files/meshd.capabilities.json")).unwrap();
    let sets: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&json).unwrap();
    let unit = fs::read_to_string(source("systemd/meshd.service")).unwrap();
    let may = unit
        .lines()
        .find_map(|line| line.strip_prefix("CapabilityBoundingSet="))
        .unwrap();
    for (name, set) in &sets {
        let set: Vec<&str> = set
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|it| it.as_str())
            .collect();
        assert_eq!(set.join(" "), may, "{name}");
    }
    assert_eq!(sets.len(), 5);
}

/// The standard output of a command that succeeds.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_package_without_the_sdk_has_all_files_and_is_always_the_same() {
    let pack = || {
        let directory = tempfile::tempdir().unwrap();
        let mut ipk = Command::new(source("openwrt/ipk.sh"));
        let ipk = ipk.args([env!("CARGO_BIN_EXE_meshd"), "tiny", "mipsel_24kc"]);
        let file = run(ipk.arg(directory.path()));
        let bytes = fs::read(file.trim_end()).unwrap();
        (directory, file, bytes)
    };
    let (directory, file, bytes) = pack();
    assert!(
        file.ends_with("/meshd-tiny_0.1.0-1_mipsel_24kc.ipk\n"),
        "{file}"
    );
    assert!(bytes == pack().2, "two runs give two packages");

    let unpack = |archive: &str| {
        let mut tar = Command::new("tar");
        run(tar.args(["xzvf", archive]).current_dir(directory.path()))
    };
    unpack(file.trim_end());
    let mut files = unpack("data.tar.gz");
    files += &unpack("control.tar.gz");
    for path in [
        "usr/libexec/meshd-tiny",
        "etc/config/meshd",
        "etc/init.d/meshd",
        "etc/uci-defaults/80-meshd",
        "etc/hotplug.d/iface/50-meshd",
        "etc/capabilities/meshd.json",
        "lib/meshd/render.sh",
        "lib/upgrade/keep.d/meshd",
        "conffiles",
        "postinst",
        "prerm",
    ] {
        assert!(
            files.lines().any(|file| file == format!("./{path}")),
            "{path}: {files}"
        );
    }
    let control = fs::read_to_string(directory.path().join("control")).unwrap();
    let makefile = makefile();
    let depends = control
        .lines()
        .find_map(|line| line.strip_prefix("Depends: "))
        .unwrap();
    for package in depends.split(", ").filter(|package| *package != "libc") {
        assert!(makefile.contains(&format!("+{package}")), "{package}");
    }
}
