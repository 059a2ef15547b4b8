//! A directory that looks like a router, as far as the scripts look at it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_yaml::Value;
use tempfile::TempDir;

/// Devices that exist while a script runs.
const DEVICES: [&str; 5] = ["mesh0", "eth2", "br-lan", "eth1", "wan"];
/// Which networks netifd knows, and where.
const NETWORKS: &str = "mesh mesh0\nlan br-lan\nwan wan\n";

/// The root directory of a router.
pub(crate) struct Router {
    root: TempDir,
}

/// A file of this repository.
pub(crate) fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

impl Router {
    /// With the package installed, ujail, and netifd's networks up.
    pub(crate) fn new() -> Self {
        let router = Self {
            root: TempDir::new().unwrap(),
        };
        for (from, to) in [
            ("tests/openwrt/stubs/functions.sh", "lib/functions.sh"),
            ("tests/openwrt/stubs/network.sh", "lib/functions/network.sh"),
            ("tests/openwrt/stubs/rc.common", "etc/rc.common"),
            ("tests/openwrt/stubs/uci", "bin/uci"),
            ("openwrt/meshd/files/render.sh", "lib/meshd/render.sh"),
            ("openwrt/meshd/files/meshd.init", "lib/meshd.init"),
            ("openwrt/meshd/files/meshd.defaults", "lib/meshd.defaults"),
            ("openwrt/meshd/files/meshd.hotplug", "lib/meshd.hotplug"),
        ] {
            router.write(to, &fs::read_to_string(source(from)).unwrap());
        }
        // What hotplug calls.
        router.program(
            "etc/init.d/meshd",
            "exec busybox ash \"$IPKG_INSTROOT/etc/rc.common\" \"$IPKG_INSTROOT/lib/meshd.init\" \"$@\"",
        );
        router.program("sbin/ujail", "exit 1");
        router.make_executable("bin/uci");
        router.write("networks", NETWORKS);
        router.write("enabled", "");
        fs::create_dir_all(router.path("usr/sbin")).unwrap();
        symlink(env!("CARGO_BIN_EXE_meshd"), router.path("usr/sbin/meshd")).unwrap();
        router
    }

    /// Where a file of the router is.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// Writes a file of the router.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn program(&self, path: &str, text: &str) {
        self.write(path, &format!("#!/bin/sh\n{text}\n"));
        self.make_executable(path);
    }

    fn make_executable(&self, path: &str) {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Reads a file of the router; empty if there is none.
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_default()
    }

    /// `/etc/config/meshd`: enabled, with a mesh, its files in this directory, and `more`.
    pub(crate) fn configure(&self, more: &str) {
        let places = [
            ("identity", "etc/meshd/identity.key"),
            ("state", "etc/meshd/state"),
            ("control", "var/run/meshd/control.sock"),
        ];
        let mut text = "config meshd 'main'\n\toption enabled '1'\n".to_owned();
        for (option, place) in places {
            text += &format!("\toption {option} '{}'\n", self.path(place).display());
        }
        if !more.contains("option network '") {
            text += "\toption network 'village'\n";
        }
        if !more.contains("config mesh ") {
            text = format!("config mesh 'mesh'\n\toption interface 'mesh'\n{text}");
        }
        self.write("etc/config/meshd", &(text + more));
    }

    /// What the service does with an action, where its devices exist.
    pub(crate) fn service(&self, action: &str) -> Output {
        self.run(&format!("\"$IPKG_INSTROOT/etc/init.d/meshd\" {action}"))
    }

    /// Runs a command in BusyBox' shell, in a network namespace of its own.
    pub(crate) fn run(&self, command: &str) -> Output {
        let devices = DEVICES.map(|name| format!("ip link add {name} type veth && "));
        let mut unshare = Command::new("unshare");
        if !nix::unistd::geteuid().is_root() {
            unshare.arg("--map-root-user");
        }
        let path = std::env::var("PATH").unwrap();
        let output = unshare
            .args(["--net", "sh", "-c"])
            .arg(devices.concat() + "exec busybox ash -c \"$0\"")
            .arg(command)
            .env("IPKG_INSTROOT", self.root.path())
            .env(
                "PATH",
                format!("{}:{path}:/usr/sbin:/sbin", self.path("bin").display()),
            )
            .output()
            .expect("unshare is of util-linux");
        assert!(output.status.success(), "{command}: {output:?}");
        output
    }

    /// The configuration that meshd runs with, if it runs.
    pub(crate) fn rendered(&self) -> Option<Value> {
        let text = self.read("var/run/meshd/meshd.yaml");
        (!text.is_empty()).then(|| serde_yaml::from_str(&text).unwrap())
    }

    /// What procd was told, line by line.
    pub(crate) fn told(&self) -> Vec<String> {
        self.read("procd").lines().map(str::to_owned).collect()
    }

    /// Whether procd was told this.
    pub(crate) fn was_told(&self, line: &str) -> bool {
        self.told().iter().any(|told| told == line)
    }
}
