//! What resolvers on this machine should know: the resolvers of the gateway in use, and the names
//! of the nodes. Two files beside the control socket, for dnsmasq or its like; both are replaced
//! whole, and only when something is another.
//!
//! dnsmasq is told of changes in the directories of its resolv files and in those of `hostsdir`, by
//! inotify. It reads every file that appears in the latter, and watches none that took the place of
//! one it knew. So names have a directory that holds nothing else and stays.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use mesh_proto::OriginatorId;
use mesh_proto::record::MAX_DNS;

/// How a file of ours begins.
pub(crate) const HEADER: &str = "# Written by meshd.";
/// How a line of it begins that names a resolver.
const NAMESERVER: &str = "nameserver ";
/// The domain of nodes' names.
const DOMAIN: &str = "mesh";
/// How many digits of an id name a node whose name another has too.
const ID_DIGITS: usize = 10;

/// A node and its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) id: OriginatorId,
    pub(crate) name: String,
    pub(crate) ipv4: Ipv4Addr,
    pub(crate) ipv6: Ipv6Addr,
}

/// The two files.
#[derive(Debug)]
pub(crate) struct NameFiles {
    resolvers: File,
    hosts: File,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    /// Where it is written before it takes its place: in the same file system, and not where whoever
    /// reads it looks.
    new: PathBuf,
    /// What is in it, as far as we know.
    content: Option<String>,
}

impl NameFiles {
    /// `resolv.conf` and `hosts.d/mesh` in a directory.
    pub(crate) fn within(directory: &Path) -> Self {
        let file = |name, new| File {
            path: directory.join(name),
            new: directory.join(new),
            content: None,
        };
        Self {
            resolvers: file("resolv.conf", "resolv.new"),
            hosts: file("hosts.d/mesh", "hosts.new"),
        }
    }

    /// The resolvers that a predecessor wrote down, if there is such a file.
    pub(crate) fn left_resolvers(&self) -> Vec<IpAddr> {
        let text = fs::read_to_string(&self.resolvers.path).unwrap_or_default();
        let ours = text.strip_prefix(HEADER).unwrap_or_default().lines();
        let addresses = ours.filter_map(|line| line.strip_prefix(NAMESERVER)?.parse().ok());
        addresses.take(MAX_DNS).collect()
    }

    /// Writes down whom to ask.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn set_resolvers(&mut self, resolvers: &[IpAddr]) -> io::Result<()> {
        let lines = resolvers.iter().map(|it| format!("{NAMESERVER}{it}\n"));
        self.resolvers.set(&lines.collect::<String>())
    }

    /// Writes down who is where.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn set_nodes(&mut self, nodes: &[Named]) -> io::Result<()> {
        self.hosts.set(&hosts(nodes))
    }

    /// Removes both. Whoever watches the directory goes on.
    pub(crate) fn remove(&mut self) {
        for file in [&mut self.resolvers, &mut self.hosts] {
            if file.content.take().is_some() {
                let _ = fs::remove_file(&file.path);
            }
        }
    }
}

impl File {
    fn set(&mut self, lines: &str) -> io::Result<()> {
        let content = format!("{HEADER}\n{lines}");
        if self.content.as_ref() == Some(&content) {
            return Ok(());
        }
        self.check_owner()?;
        self.make_directory()?;
        let _ = fs::remove_file(&self.new);
        // Never through a link that somebody left there.
        fs::File::create_new(&self.new)?.write_all(content.as_bytes())?;
        // Whoever resolves names is another user, whatever is usual for ours.
        fs::set_permissions(&self.new, Permissions::from_mode(0o644))?;
        fs::rename(&self.new, &self.path)?;
        self.content = Some(content);
        Ok(())
    }

    fn make_directory(&self) -> io::Result<()> {
        let Some(directory) = self.path.parent().filter(|it| !it.exists()) else {
            return Ok(());
        };
        fs::create_dir(directory)?;
        fs::set_permissions(directory, Permissions::from_mode(0o755))
    }

    /// What somebody else wrote stays. OpenWrt makes an empty file for dnsmasq where there is none.
    fn check_owner(&self) -> io::Result<()> {
        match fs::read_to_string(&self.path) {
            Ok(found) if !found.is_empty() && !found.starts_with(HEADER) => {
                let text = format!("{} is not meshd's", self.path.display());
                Err(io::Error::new(io::ErrorKind::AlreadyExists, text))
            }
            _ => Ok(()),
        }
    }
}

/// Lines of hosts(5). Whatever a node calls itself, it gets no name but one below [`DOMAIN`], and
/// none that another has: those have only the beginning of their id.
fn hosts(nodes: &[Named]) -> String {
    let mut bearers: BTreeMap<String, usize> = BTreeMap::new();
    for node in nodes {
        *bearers.entry(node.name.to_ascii_lowercase()).or_default() += 1;
    }
    let mut text = String::new();
    for node in nodes {
        let id: String = node.id.to_string().chars().take(ID_DIGITS).collect();
        let is_label = |name: &str| {
            let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            !name.is_empty() && name.bytes().all(is_part)
        };
        let lower = node.name.to_ascii_lowercase();
        let is_digit = |byte: u8| byte.is_ascii_hexdigit();
        let is_id = lower.len() == ID_DIGITS && lower.bytes().all(is_digit);
        let is_alone = bearers.get(&lower) == Some(&1) && is_label(&lower) && !is_id;
        let name = match is_alone {
            true => format!("{lower}.{DOMAIN} "),
            false => String::new(),
        };
        for address in [IpAddr::V6(node.ipv6), IpAddr::V4(node.ipv4)] {
            // Writing into a string does not fail.
            let _ = writeln!(text, "{address} {name}{id}.{DOMAIN}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(byte: u8, name: &str) -> Named {
        Named {
            id: OriginatorId::from_bytes([byte; 10]),
            name: name.to_owned(),
            ipv4: Ipv4Addr::new(100, 64, 0, byte),
            ipv6: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, byte.into()),
        }
    }

    #[test]
    fn nobody_gets_the_name_of_another() {
        let nodes = [
            node(1, "school"),
            node(2, "shop"),
            node(3, "shop"),
            node(4, "a b"),
            node(5, "evil.example\n127.0.0.1 bank"),
            node(6, ""),
            node(7, "Case"),
            node(8, "cASE"),
            node(9, "0101010101"),
            node(10, "Mill"),
        ];
        let text = hosts(&nodes);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            &lines[..4],
            [
                "fd00::1 school.mesh 0101010101.mesh",
                "100.64.0.1 school.mesh 0101010101.mesh",
                "fd00::2 0202020202.mesh",
                "100.64.0.2 0202020202.mesh",
            ]
        );
        assert_eq!(lines.len(), 20);
        let (others, last) = lines[2..].split_at(16);
        assert!(
            others.iter().all(|line| line.split(' ').count() == 2),
            "{text}"
        );
        assert!(
            last.iter().all(|line| line.contains(" mill.mesh ")),
            "{text}"
        );
    }

    #[test]
    fn files_are_replaced_whole_and_only_when_they_change() {
        use std::os::unix::fs::MetadataExt as _;
        let directory = tempfile::tempdir().unwrap();
        let mut files = NameFiles::within(directory.path());
        let path = directory.path().join("resolv.conf");
        let inode = || fs::metadata(&path).unwrap().ino();
        files
            .set_resolvers(&[Ipv4Addr::new(192, 0, 2, 1).into()])
            .unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!("{HEADER}\nnameserver 192.0.2.1\n")
        );
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        let before = inode();
        files
            .set_resolvers(&[Ipv4Addr::new(192, 0, 2, 1).into()])
            .unwrap();
        assert_eq!(inode(), before);
        files.set_resolvers(&[]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{HEADER}\n"));
        files.set_nodes(&[node(1, "school")]).unwrap();
        let hosts = directory.path().join("hosts.d");
        let mode = fs::metadata(&hosts).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        let names = |directory: &Path| -> Vec<_> {
            let entries = fs::read_dir(directory).unwrap();
            entries.map(|entry| entry.unwrap().file_name()).collect()
        };
        assert_eq!(names(&hosts), ["mesh"]);
        let apart = files.hosts.new.parent() != files.hosts.path.parent();
        assert!(apart, "what is written is read in halves");
        files.remove();
        assert!(!path.exists());
        assert_eq!(names(directory.path()), ["hosts.d"], "who watches goes on");
        assert!(names(&hosts).is_empty());

        fs::write(&path, "").unwrap();
        files.set_resolvers(&[]).unwrap();
        files.remove();
        fs::write(&path, "nameserver 192.0.2.9\n").unwrap();
        assert!(files.set_resolvers(&[]).is_err());
        files.remove();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "nameserver 192.0.2.9\n",
            "what is not ours"
        );
    }
}
