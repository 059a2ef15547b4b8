//! What of the kernel is missing.

use std::fs;
use std::path::Path;

use super::{Findings, Machine};
use crate::config::TunnelChoice;

/// A part of the kernel that can be a module, the package of it on OpenWrt, and what does not work without.
struct Part {
    module: &'static str,
    package: &'static str,
    without: &'static str,
}

const WIREGUARD: Part = Part {
    module: "wireguard",
    package: "kmod-wireguard",
    without: "`tunnel: wireguard` is configured, and there is no tunnel to any gateway",
};
const VXLAN: Part = Part {
    module: "vxlan",
    package: "kmod-vxlan",
    without: "there is no tunnel to gateways without WireGuard, and no device for the mesh addresses",
};
const ALWAYS: [Part; 4] = [
    Part {
        module: "nf_tables",
        package: "kmod-nft-core",
        without: "nothing is translated, filtered or counted",
    },
    Part {
        module: "nf_conntrack",
        package: "kmod-nf-conntrack",
        without: "flows do not stay with their gateway, and nothing is translated",
    },
    Part {
        module: "nf_nat",
        package: "kmod-nft-nat",
        without: "phones and gateways have no way out: nothing is translated",
    },
    Part {
        module: "udp_tunnel",
        package: "kmod-udptunnel4 kmod-udptunnel6",
        without: "there is no tunnel to gateways",
    },
];

/// Modules that this kernel has not, neither loaded, nor built in, nor to be loaded.
pub(super) fn missing(machine: &Machine, findings: &mut Findings) {
    let Ok(release) = fs::read_to_string("/proc/sys/kernel/osrelease") else {
        return;
    };
    let kernel = Kernel::at(Path::new("/"), release.trim());
    for part in needed(machine.config.tunnel()) {
        if kernel.lacks(part.module) {
            let problem = format!(
                "this kernel has no module {}: {}",
                part.module, part.without
            );
            let advice = format!(
                "opkg install {} (OpenWrt), or a kernel with it; then modprobe {}",
                part.package, part.module
            );
            findings.error("kernel", problem, advice);
        }
    }
}

fn needed(tunnel: TunnelChoice) -> impl Iterator<Item = &'static Part> {
    const WIREGUARD_ONLY: &[&Part] = &[&WIREGUARD];
    const VXLAN_TOO: &[&Part] = &[&VXLAN];
    let tunnels = match tunnel {
        TunnelChoice::Wireguard => WIREGUARD_ONLY,
        TunnelChoice::Auto | TunnelChoice::Vxlan => VXLAN_TOO,
    };
    ALWAYS.iter().chain(tunnels.iter().copied())
}

/// What is known of the modules of a kernel.
struct Kernel {
    /// Names of those that are built in or can be loaded; `None` if nobody says.
    listed: Option<Vec<String>>,
    loaded: Vec<String>,
}

impl Kernel {
    fn at(root: &Path, release: &str) -> Self {
        let modules = root.join("lib/modules").join(release);
        let lists =
            ["modules.builtin", "modules.dep"].map(|it| fs::read_to_string(modules.join(it)).ok());
        let lines = lists.iter().flatten().flat_map(|text| text.lines());
        let lines = lines.filter_map(|line| {
            line.split(':')
                .next()?
                .rsplit('/')
                .next()
                .map(str::to_owned)
        });
        // OpenWrt has no lists, but all modules beside each other.
        let files = names(&modules).into_iter().chain(lines);
        let listed: Vec<String> = files.filter_map(|file| module(&file)).collect();
        Self {
            listed: (!listed.is_empty()).then_some(listed),
            loaded: names(&root.join("sys/module")),
        }
    }

    /// Whether it is sure that there is none: a kernel of which nobody says what is built in may have it.
    fn lacks(&self, module: &str) -> bool {
        let is_it = |name: &String| name == module;
        let listed = self.listed.as_ref();
        !self.loaded.iter().any(is_it) && listed.is_some_and(|all| !all.iter().any(is_it))
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.map(|it| it.file_name().to_string_lossy().into_owned());
    names.collect()
}

/// The name of the module in a file, as the kernel writes it.
fn module(file: &str) -> Option<String> {
    let (name, end) = file.split_once('.')?;
    end.starts_with("ko").then(|| name.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lacking(kernel: &Kernel) -> Vec<&'static str> {
        let needed = needed(TunnelChoice::Auto).chain([&WIREGUARD]);
        let lacking = needed.filter(|part| kernel.lacks(part.module));
        lacking.map(|part| part.module).collect()
    }

    fn root(modules: &[(&str, &str)], loaded: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("lib/modules/6.1.0");
        if !modules.is_empty() {
            fs::create_dir_all(&directory).unwrap();
        }
        for (file, text) in modules {
            fs::write(directory.join(file), text).unwrap();
        }
        for name in loaded {
            fs::create_dir_all(root.path().join("sys/module").join(name)).unwrap();
        }
        root
    }

    #[test]
    fn debian_lists_its_modules() {
        let builtin = "kernel/net/ipv4/udp_tunnel.ko\nkernel/net/netfilter/nf_conntrack.ko\n";
        let loadable = "kernel/net/netfilter/nf_tables.ko.xz: kernel/lib/crc.ko.xz\n\
                        kernel/net/netfilter/nf_nat.ko: kernel/net/netfilter/nf_conntrack.ko\n\
                        kernel/drivers/net/wireguard/wireguard.ko:\n";
        let lists = [("modules.builtin", builtin), ("modules.dep", loadable)];
        let machine = root(&lists, &[]);
        assert_eq!(lacking(&Kernel::at(machine.path(), "6.1.0")), ["vxlan"]);
        let loaded = root(&lists, &["vxlan"]);
        assert!(lacking(&Kernel::at(loaded.path(), "6.1.0")).is_empty());
        let another = Kernel::at(machine.path(), "6.2.0");
        assert!(
            lacking(&another).is_empty(),
            "of another kernel nothing is known"
        );
    }

    #[test]
    fn openwrt_has_its_modules_beside_each_other() {
        let files = [
            "nf-tables.ko",
            "nf_conntrack.ko",
            "nf_nat.ko",
            "udp_tunnel.ko",
            "vxlan.ko",
        ];
        let machine = root(&files.map(|file| (file, "")), &[]);
        assert_eq!(lacking(&Kernel::at(machine.path(), "6.1.0")), ["wireguard"]);
    }

    #[test]
    fn a_kernel_of_which_nothing_is_known_lacks_nothing() {
        let machine = root(&[], &["nf_conntrack"]);
        assert!(lacking(&Kernel::at(machine.path(), "6.1.0")).is_empty());
    }
}
