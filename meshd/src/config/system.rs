//! The configuration against the machine it is meant for. Nothing here changes anything.

use std::net::IpAddr;
use std::path::Path as FilePath;

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::if_nameindex;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{AccessFlags, faccessat};

use crate::kernel::TUNNEL_DEVICES;

use super::error::one_line;
use super::path::{Fault, Path};
use super::values::InterfaceName;
use super::{Config, ConfigError, GroupName};
use crate::identity::{self, IdentityError};

impl Config {
    /// Checks what parsing cannot know: that mesh and LAN interfaces exist, that the identity can
    /// be used or created, that there is a place for state and control socket.
    ///
    /// Mesh and LAN interfaces must exist, unless they are to be made on a radio, because an operator who misspelt one must be told so.
    /// An uplink may come later, as a modem does that has to dial first, and a router goes on without
    /// saving anything: a missing uplink and a read-only file system are warnings, of which each is
    /// one line like those of [`ConfigError`].
    ///
    /// # Errors
    /// The first thing that keeps meshd from starting.
    pub fn check_system(&self) -> Result<Vec<String>, ConfigError> {
        self.check_system_with(&existing_interfaces())
    }

    pub(super) fn check_system_with(
        &self,
        existing: &[String],
    ) -> Result<Vec<String>, ConfigError> {
        self.check_interfaces(existing)
            .and_then(|()| self.check_page(&assigned_addresses()))
            .and_then(|()| self.check_files())
            .map_err(|fault| self.source.error(&fault))?;
        let warnings = self.missing_uplink(existing).into_iter();
        Ok(warnings.chain(self.read_only_state()).collect())
    }

    fn check_interfaces(&self, existing: &[String]) -> Result<(), Fault> {
        let mesh = self.mesh().iter().map(|mesh| mesh.interface());
        let lan = self.lan().iter().map(|lan| lan.interface());
        let with_paths = |list: &str| {
            let list = Path::default().key(list);
            move |(index, name)| (list.index(index).key("interface"), name)
        };
        let radios = self.mesh().iter().filter(|mesh| mesh.radio().is_some());
        let made: Vec<_> = radios.map(|mesh| mesh.interface()).collect();
        mesh.enumerate()
            .filter(|(_, name)| !made.contains(name))
            .map(with_paths("mesh"))
            .chain(lan.enumerate().map(with_paths("lan")))
            .try_for_each(|(path, name)| check_interface(path, name, existing))
    }

    /// An address that something else than a LAN has is not for the status page. One that nothing has may come.
    fn check_page(&self, assigned: &[(String, IpAddr)]) -> Result<(), Fault> {
        let listen = self.status_page().map_or(&[][..], |page| page.listen());
        let list = Path::default().key("status_page").key("listen");
        let lan = |name: &str| (self.lan().iter()).any(|lan| lan.interface().as_str() == name);
        for (index, at) in listen.iter().enumerate() {
            let holder = assigned
                .iter()
                .find(|(name, address)| *address == at.ip() && !lan(name));
            if let Some((name, address)) = holder.filter(|_| !at.ip().is_loopback()) {
                let what = format!("{address} is an address of {name}, which is no lan");
                let allowed = "an address of loopback or of a LAN";
                return Err(Fault::new(list.index(index), what, allowed));
            }
        }
        Ok(())
    }

    fn missing_uplink(&self, existing: &[String]) -> Option<String> {
        let names = self.uplink().interface().names();
        let path = Path::default().key("uplink").key("interface");
        let missing = |name| check_interface(path.clone(), name, existing).err();
        // One that is there is enough.
        let faults: Option<Vec<Fault>> = names.iter().map(missing).collect();
        let fault = faults?.into_iter().next()?;
        Some(self.source.error(&fault).to_string())
    }

    fn check_state(&self) -> Result<(), Fault> {
        check_place(Path::default().key("state"), Some(self.state()))
    }

    fn read_only_state(&self) -> Option<String> {
        let fault = self.check_state().err()?;
        Some(self.source.error(&fault).to_string())
    }

    fn check_files(&self) -> Result<(), Fault> {
        let root = Path::default();
        match identity::load(self.identity()) {
            Ok(_) => {}
            Err(IdentityError::Missing { .. }) => {
                check_place(root.key("identity"), self.identity().parent())?;
            }
            Err(error) => {
                let (what, allowed) = (one_line(&error.to_string()), identity::ALLOWED);
                return Err(Fault::new(root.key("identity"), what, allowed));
            }
        }
        if let Some(path) = self.network_key()
            && let Err(error) = identity::load_network_key(path)
        {
            let what = one_line(&error.to_string());
            let key = root.key("network_key");
            return Err(Fault::new(key, what, identity::NETWORK_KEY_ALLOWED));
        }
        if !is_read_only(self.state()) {
            self.check_state()?;
        }
        check_place(root.key("control"), self.control().parent())?;
        check_group(root.key("control_group"), self.control_group())?;
        let reading = self.control_read_only().group();
        check_group(root.key("control_read_only"), reading)
    }
}

fn check_group(path: Path, group: Option<&GroupName>) -> Result<(), Fault> {
    match group.filter(|group| group.gid().is_none()) {
        Some(missing) => {
            let what = format!("there is no group {}", missing.as_str());
            Err(Fault::new(path, what, "a group of this machine"))
        }
        None => Ok(()),
    }
}

/// An empty list if the kernel will not tell: then every interface is reported missing, which is
/// what opening it would say too.
fn existing_interfaces() -> Vec<String> {
    let Ok(interfaces) = if_nameindex() else {
        return Vec::new();
    };
    interfaces
        .iter()
        .map(|interface| interface.name().to_string_lossy().into_owned())
        .collect()
}

/// What addresses interfaces have; nothing if the kernel will not tell.
fn assigned_addresses() -> Vec<(String, IpAddr)> {
    let found = getifaddrs().into_iter().flatten();
    let address = |found: InterfaceAddress| {
        let storage = found.address?;
        let ipv4 = storage.as_sockaddr_in().map(|at| IpAddr::from(at.ip()));
        let ipv6 = storage.as_sockaddr_in6().map(|at| IpAddr::from(at.ip()));
        Some((found.interface_name, ipv4.or(ipv6)?))
    };
    found.filter_map(address).collect()
}

fn check_interface(path: Path, name: &InterfaceName, existing: &[String]) -> Result<(), Fault> {
    if existing.iter().any(|candidate| candidate == name.as_str()) {
        return Ok(());
    }
    let others: Vec<&str> = existing
        .iter()
        .map(String::as_str)
        .filter(|name| *name != "lo" && !TUNNEL_DEVICES.contains(name))
        .collect();
    let allowed = match others.is_empty() {
        true => "an existing network interface (there is none)".to_owned(),
        false => one_line(&format!(
            "an existing network interface ({})",
            others.join(", ")
        )),
    };
    Err(Fault::new(
        path,
        format!("there is no interface {name}"),
        allowed,
    ))
}

fn existing_part(place: &FilePath) -> Option<&FilePath> {
    place.ancestors().find(|dir| dir.exists())
}

/// Whether nobody can write there now.
fn is_read_only(place: &FilePath) -> bool {
    let system = existing_part(place).and_then(|dir| statvfs(dir).ok());
    system.is_some_and(|system| system.flags().contains(FsFlags::ST_RDONLY))
}

/// Checks that the directory `place` is there and can be written, or can be made.
fn check_place(path: Path, place: Option<&FilePath>) -> Result<(), Fault> {
    let allowed = "a place in a directory that meshd may write";
    let Some(existing) = place.and_then(existing_part) else {
        return Err(Fault::new(path, "is the root directory", allowed));
    };
    let shown = one_line(&existing.display().to_string());
    if !existing.is_dir() {
        return Err(Fault::new(
            path,
            format!("{shown} is not a directory"),
            allowed,
        ));
    }
    let mode = AccessFlags::W_OK | AccessFlags::X_OK;
    faccessat(AT_FDCWD, existing, mode, AtFlags::AT_EACCESS).map_err(|errno| {
        Fault::new(
            path,
            format!("{shown} cannot be written: {}", errno.desc()),
            allowed,
        )
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use nix::unistd::{Uid, setfsuid};

    use super::*;

    #[test]
    fn a_directory_that_meshd_may_not_write_is_no_place() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("state/of/meshd");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o555)).unwrap();
        let check = || check_place(Path::default().key("state"), Some(&place));
        // root may write everything; this thread is nobody, if it is allowed to.
        let fault = std::thread::scope(|scope| {
            let nobody = scope.spawn(|| {
                setfsuid(Uid::from_raw(65534));
                check()
            });
            nobody.join().unwrap().unwrap_err()
        });
        let shown = format!(
            "{} cannot be written: Permission denied",
            dir.path().display()
        );
        assert_eq!(fault.what, shown);
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        check().unwrap();
    }
}
