//! Sysctls: looked at first, written only if they are wrong.
//!
//! They stay as they are when the daemon ends: others may have come to rely on forwarding, and
//! putting back what was found would undo what an operator set meanwhile.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;

use super::{Base, TUNNEL_DEVICE, Warning};

/// A sysctl is not what it should be, and can't be set.
#[derive(Debug, thiserror::Error)]
pub enum SysctlError {
    /// It can't be read: the kernel has no such setting.
    #[error("can't read sysctl {key}: {source}")]
    Unreadable {
        /// Its name.
        key: String,
        /// Why.
        source: io::Error,
    },
    /// It can't be written.
    #[error("sysctl {key} is {found} and must be {wanted}, but it can't be written: {source}")]
    ReadOnly {
        /// Its name.
        key: String,
        /// The value it should have.
        wanted: &'static str,
        /// The value it has.
        found: String,
        /// Why.
        source: io::Error,
    },
}

/// A sysctl below `net`: as a path, since the names of interfaces may have dots.
struct Sysctl(Vec<String>);

impl Sysctl {
    fn new<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        Self(parts.into_iter().map(str::to_owned).collect())
    }

    /// A setting of one interface, or of `all`.
    fn of_interface(family: &str, interface: &str, setting: &str) -> Self {
        Self::new([family, "conf", interface, setting])
    }

    fn key(&self) -> String {
        format!("net.{}", self.0.join("."))
    }

    fn path(&self) -> PathBuf {
        PathBuf::from("/proc/sys/net").join(self.0.iter().collect::<PathBuf>())
    }

    fn read(&self) -> Result<String, SysctlError> {
        match fs::read_to_string(self.path()) {
            Ok(value) => Ok(value.trim().to_owned()),
            Err(source) => Err(SysctlError::Unreadable {
                key: self.key(),
                source,
            }),
        }
    }

    fn write(&self, wanted: &'static str, found: String) -> Result<(), SysctlError> {
        fs::write(self.path(), wanted).map_err(|source| SysctlError::ReadOnly {
            key: self.key(),
            wanted,
            found,
            source,
        })
    }

    /// A host is told once a second, by default, that there is no way, so of a phone with many programs
    /// most would wait for answers. The unit is milliseconds, and 0 is no limit.
    fn tell_often(&self) -> Result<(), SysctlError> {
        const ENOUGH: u32 = 100;
        let found = self.read()?;
        match found.parse() {
            Ok(limit) if limit > ENOUGH => self.write("100", found),
            Ok(_) | Err::<u32, _>(_) => Ok(()),
        }
    }

    fn set(&self, wanted: &'static str) -> Result<(), SysctlError> {
        let found = self.read()?;
        if found == wanted {
            Ok(())
        } else {
            self.write(wanted, found)
        }
    }
}

/// Whether the settings of an interface can be looked at: it exists.
pub(super) fn has_interface(name: &str) -> bool {
    Sysctl::new(["ipv4", "conf", name]).path().is_dir()
}

/// Makes the sysctls what routing for `base` needs; interfaces that do not exist yet are left out.
pub(super) fn configure(base: &Base) -> Vec<Warning> {
    let mut results = Vec::new();
    // Before forwarding: switching that on removes default routes learnt from advertisements,
    // except on interfaces whose accept_ra is 2 (rt6_purge_dflt_routers). Also where no uplink is
    // in use yet: without its routes, or its answers, it never would be.
    let outside = base.outside.iter().map(String::as_str);
    let uplinks: BTreeSet<&str> = outside.chain(base.uplinks.names()).collect();
    for uplink in uplinks.into_iter().filter(|name| has_interface(name)) {
        results.push(accept_advertisements(uplink));
        results.push(loosen_reverse_path_filter(uplink));
    }
    results.push(Sysctl::new(["ipv4", "ip_forward"]).set("1"));
    results.push(Sysctl::of_interface("ipv6", "all", "forwarding").set("1"));
    if !base.lan.is_empty() {
        let limits = [
            ["ipv4", "icmp_ratelimit"].as_slice(),
            &["ipv6", "icmp", "ratelimit"],
        ];
        results.extend(limits.map(|limit| Sysctl::new(limit.iter().copied()).tell_often()));
    }
    let ours = base.mesh.iter().map(String::as_str).chain([TUNNEL_DEVICE]);
    for interface in ours.filter(|name| has_interface(name)) {
        results.extend(open(interface));
    }
    warnings(results)
}

/// The same for a tunnel that is new.
pub(super) fn open_tunnel(interface: &str) -> Vec<Warning> {
    warnings(open(interface))
}

/// Lets an interface of the mesh carry what comes.
fn open(interface: &str) -> [Result<(), SysctlError>; 2] {
    [
        Sysctl::of_interface("ipv6", interface, "disable_ipv6").set("0"),
        loosen_reverse_path_filter(interface),
    ]
}

fn warnings(results: impl IntoIterator<Item = Result<(), SysctlError>>) -> Vec<Warning> {
    let errors = results.into_iter().filter_map(Result::err);
    errors.map(Warning::Sysctl).collect()
}

/// A router ignores advertisements unless told not to.
fn accept_advertisements(uplink: &str) -> Result<(), SysctlError> {
    let sysctl = Sysctl::of_interface("ipv6", uplink, "accept_ra");
    let found = sysctl.read()?;
    // 0 is an operator's decision, 2 is what is wanted.
    if found == "1" {
        sysctl.write("2", found)
    } else {
        Ok(())
    }
}

/// Routes in a mesh are asymmetric, and strict filtering (1) drops what comes in where it would
/// not go out. The kernel takes the larger value of `all` and the interface, so 2 (loose) always
/// wins.
fn loosen_reverse_path_filter(interface: &str) -> Result<(), SysctlError> {
    let sysctl = Sysctl::of_interface("ipv4", interface, "rp_filter");
    let all = Sysctl::of_interface("ipv4", "all", "rp_filter").read()?;
    let found = sysctl.read()?;
    let is_strict = (found == "1" || all == "1") && found != "2" && all != "2";
    if is_strict {
        sysctl.write("2", found)
    } else {
        Ok(())
    }
}
