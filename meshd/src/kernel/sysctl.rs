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
}

/// A sysctl, and what routing needs of it.
struct Setting {
    sysctl: Sysctl,
    need: Need,
}

enum Need {
    /// This value.
    Exactly(&'static str),
    /// A host is told once a second, by default, that there is no way, so of a phone with many programs
    /// most would wait for answers. The unit is milliseconds, and 0 is no limit.
    ToldOften,
    /// A router ignores advertisements unless told not to: 0 is an operator's decision, 2 is what is wanted.
    Advertisements,
    /// Routes in a mesh are asymmetric, and strict filtering (1) drops what comes in where it would
    /// not go out. The kernel takes the larger value of `all` and the interface, so 2 (loose) always
    /// wins.
    LooseReversePath,
}

impl Setting {
    const fn exactly(sysctl: Sysctl, value: &'static str) -> Self {
        let need = Need::Exactly(value);
        Self { sysctl, need }
    }

    fn loose_reverse_path(interface: &str) -> Self {
        Self {
            sysctl: Sysctl::of_interface("ipv4", interface, "rp_filter"),
            need: Need::LooseReversePath,
        }
    }

    /// What is wrong with it, if anything is.
    fn amiss(&self) -> Result<Option<Amiss>, SysctlError> {
        const OFTEN_MS: u32 = 100;
        let found = self.sysctl.read()?;
        let wanted = match self.need {
            Need::Exactly(value) => (found != value).then_some(value),
            Need::ToldOften => {
                let limit: u32 = found.parse().unwrap_or_default();
                (limit > OFTEN_MS).then_some("100")
            }
            Need::Advertisements => (found == "1").then_some("2"),
            Need::LooseReversePath => {
                let all = Sysctl::of_interface("ipv4", "all", "rp_filter").read()?;
                let is_strict = (found == "1" || all == "1") && found != "2" && all != "2";
                is_strict.then_some("2")
            }
        };
        Ok(wanted.map(|wanted| Amiss {
            key: self.sysctl.key(),
            path: self.sysctl.path(),
            found,
            wanted,
        }))
    }
}

/// A sysctl that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amiss {
    /// Its name.
    pub key: String,
    path: PathBuf,
    /// The value it has.
    pub found: String,
    /// The value it should have.
    pub wanted: &'static str,
}

impl Amiss {
    fn mend(self) -> Result<(), SysctlError> {
        fs::write(&self.path, self.wanted).map_err(|source| SysctlError::ReadOnly {
            key: self.key,
            wanted: self.wanted,
            found: self.found,
            source,
        })
    }
}

/// Whether the settings of an interface can be looked at: it exists.
pub(super) fn has_interface(name: &str) -> bool {
    Sysctl::new(["ipv4", "conf", name]).path().is_dir()
}

/// Makes the sysctls what routing for `base` needs; interfaces that do not exist yet are left out.
pub(super) fn configure(base: &Base) -> Vec<Warning> {
    mend(needed(base))
}

/// The same for a tunnel that is new.
pub(super) fn open_tunnel(interface: &str) -> Vec<Warning> {
    mend(open(interface))
}

/// Those that are not what routing for `base` needs, as far as they can be read.
pub fn amiss(base: &Base) -> Vec<Amiss> {
    let found = needed(base).into_iter();
    found
        .filter_map(|setting| setting.amiss().ok().flatten())
        .collect()
}

/// Looks at each only after those before it were written: one may change another.
fn mend(settings: impl IntoIterator<Item = Setting>) -> Vec<Warning> {
    let mend = |setting: Setting| setting.amiss()?.map_or(Ok(()), Amiss::mend);
    let errors = settings.into_iter().filter_map(|it| mend(it).err());
    errors.map(Warning::Sysctl).collect()
}

/// What routing for `base` needs, in the order in which it is to be written.
fn needed(base: &Base) -> Vec<Setting> {
    let mut settings = Vec::new();
    // Before forwarding: switching that on removes default routes learnt from advertisements,
    // except on interfaces whose accept_ra is 2 (rt6_purge_dflt_routers). Also where no uplink is
    // in use yet: without its routes, or its answers, it never would be.
    let outside = base.outside.iter().map(String::as_str);
    let uplinks: BTreeSet<&str> = outside.chain(base.uplinks.names()).collect();
    for uplink in uplinks.into_iter().filter(|name| has_interface(name)) {
        settings.push(Setting {
            sysctl: Sysctl::of_interface("ipv6", uplink, "accept_ra"),
            need: Need::Advertisements,
        });
        settings.push(Setting::loose_reverse_path(uplink));
    }
    let forwarding = [
        Sysctl::new(["ipv4", "ip_forward"]),
        Sysctl::of_interface("ipv6", "all", "forwarding"),
    ];
    settings.extend(forwarding.map(|it| Setting::exactly(it, "1")));
    if !base.lan.is_empty() {
        let limits = [
            Sysctl::new(["ipv4", "icmp_ratelimit"]),
            Sysctl::new(["ipv6", "icmp", "ratelimit"]),
        ];
        settings.extend(limits.map(|sysctl| Setting {
            sysctl,
            need: Need::ToldOften,
        }));
    }
    let ours = base.mesh.iter().map(String::as_str).chain([TUNNEL_DEVICE]);
    settings.extend(ours.filter(|name| has_interface(name)).flat_map(open));
    settings
}

/// Lets an interface of the mesh carry what comes.
fn open(interface: &str) -> [Setting; 2] {
    let disabled = Sysctl::of_interface("ipv6", interface, "disable_ipv6");
    [
        Setting::exactly(disabled, "0"),
        Setting::loose_reverse_path(interface),
    ]
}
