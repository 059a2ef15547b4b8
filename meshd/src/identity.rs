//! The node's key: 64 hexadecimal digits and a newline in a file that nobody else may read. And
//! the network's, if it has one: any secret in such a file.
//!
//! **Architecture invariants.** Key material is in no error and no log, and the buffers it passes
//! through are zeroed. The file is complete or not there, also after a power cut, and is never
//! written again: who loses it loses the node's address and its claims.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use nix::fcntl::OFlag;
use zeroize::Zeroizing;

/// What an identity file must be like, for error messages.
pub const ALLOWED: &str =
    "a file with 64 hex digits and a newline, owned by the user meshd runs as, mode 0600";

/// What the file of a network's key must be like, for error messages.
pub const NETWORK_KEY_ALLOWED: &str =
    "a file with a secret of 16 to 1024 bytes, owned by the user meshd runs as, mode 0600";

const NETWORK_KEY_LEN: std::ops::RangeInclusive<usize> = 16..=1024;
const SEED_LEN: usize = ed25519_dalek::SECRET_KEY_LENGTH;
const FILE_LEN: usize = 2 * SEED_LEN + 1;
const MODE: u32 = 0o600;

/// Why there is no identity. Shown as one line, without key material.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// There is no such file.
    #[error("{path} does not exist")]
    Missing {
        /// The identity file.
        path: PathShown,
    },
    /// The system refused to read or create it.
    #[error("{path} cannot be {action}: {error}")]
    Io {
        /// The identity file.
        path: PathShown,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// A directory, a device, a FIFO.
    #[error("{path} is not a regular file")]
    NotAFile {
        /// The identity file.
        path: PathShown,
    },
    /// Its owner could read and replace it.
    #[error("{path} belongs to user id {owner}, meshd runs as {us}")]
    ForeignOwner {
        /// The identity file.
        path: PathShown,
        /// Who owns it.
        owner: u32,
        /// Who reads it.
        us: u32,
    },
    /// Others than the owner could read or write it.
    #[error("{path} has mode {mode:04o}, which lets others in")]
    Mode {
        /// The identity file.
        path: PathShown,
        /// Its permission bits.
        mode: u32,
    },
    /// Shorter or longer than a key.
    #[error("{path} is {len} bytes long instead of {FILE_LEN}")]
    Length {
        /// The identity file.
        path: PathShown,
        /// Its length in bytes.
        len: u64,
    },
    /// Of the right length, but something else.
    #[error("{path} is not 64 hex digits and a newline")]
    Content {
        /// The identity file.
        path: PathShown,
    },
    /// Not a secret of a network.
    #[error("{path} holds no secret of 16 to 1024 bytes")]
    NoSecret {
        /// The file of the network's key.
        path: PathShown,
    },
    /// The system gave no random bytes.
    #[error("no random bytes for a new key: {0}")]
    Random(getrandom::Error),
}

/// A path that is shown on one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathShown(PathBuf);

impl std::fmt::Display for PathShown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.display().to_string().escape_debug().fmt(f)
    }
}

/// Reads the key at `path`, or makes one if there is none.
///
/// However many processes do this at once, they get the same key.
///
/// # Errors
/// The file is not as [`ALLOWED`] says, or cannot be created.
pub fn load_or_create(path: &Path) -> Result<SigningKey, IdentityError> {
    match load(path) {
        Err(IdentityError::Missing { .. }) => {
            create(path)?;
            // Also after creating: whoever was first, this is the key that lasts.
            load(path)
        }
        result => result,
    }
}

/// Reads the key at `path`.
///
/// # Errors
/// The file is missing or not as [`ALLOWED`] says.
pub fn load(path: &Path) -> Result<SigningKey, IdentityError> {
    let file = open(path)?;
    match check_file(path, &file)? {
        len if len == FILE_LEN as u64 => read_key(path, file),
        len => Err(IdentityError::Length {
            path: shown(path),
            len,
        }),
    }
}

/// Reads the secret that the nodes of a network share: everything in the file at `path` but
/// blanks and line ends around it, so that it may be written with an editor.
///
/// # Errors
/// The file is missing or not as [`NETWORK_KEY_ALLOWED`] says.
pub fn load_network_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
    let file = open(path)?;
    check_file(path, &file)?;
    let limit = *NETWORK_KEY_LEN.end() + 2;
    // Room for everything that may be read: growing would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit + 1));
    file.take(limit as u64)
        .read_to_end(&mut bytes)
        .map_err(|error| io_error(path, "read", error))?;
    let secret = Zeroizing::new(bytes.trim_ascii().to_vec());
    if NETWORK_KEY_LEN.contains(&secret.len()) {
        Ok(secret)
    } else {
        Err(IdentityError::NoSecret { path: shown(path) })
    }
}

fn open(path: &Path) -> Result<File, IdentityError> {
    // Opening a FIFO would otherwise wait for a writer. Everything is asked of the open file, so
    // that it cannot be exchanged between check and use.
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path);
    match opened {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(IdentityError::Missing { path: shown(path) })
        }
        opened => opened.map_err(|error| io_error(path, "read", error)),
    }
}

/// Checks that nobody else may read the file. Returns its length.
fn check_file(path: &Path, file: &File) -> Result<u64, IdentityError> {
    let metadata = file
        .metadata()
        .map_err(|error| io_error(path, "read", error))?;
    let path = shown(path);
    let us = nix::unistd::geteuid().as_raw();
    if !metadata.is_file() {
        return Err(IdentityError::NotAFile { path });
    }
    if metadata.uid() != us {
        return Err(IdentityError::ForeignOwner {
            path,
            owner: metadata.uid(),
            us,
        });
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(IdentityError::Mode {
            path,
            mode: metadata.mode() & 0o7777,
        });
    }
    Ok(metadata.len())
}

fn read_key(path: &Path, mut file: File) -> Result<SigningKey, IdentityError> {
    let mut text = Zeroizing::new([0; FILE_LEN]);
    file.read_exact(&mut *text)
        .map_err(|error| io_error(path, "read", error))?;
    let mut seed = Zeroizing::new([0; SEED_LEN]);
    match text.split_last() {
        Some((b'\n', digits)) if hex::decode_to_slice(digits, &mut *seed).is_ok() => {
            Ok(SigningKey::from_bytes(&seed))
        }
        _ => Err(IdentityError::Content { path: shown(path) }),
    }
}

/// Makes a key at `path`, unless somebody else was faster.
fn create(path: &Path) -> Result<(), IdentityError> {
    let failed = |error| io_error(path, "created", error);
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(directory).map_err(failed)?;
    let temporary = temporary_name(path)?;
    let result = write_new_key(path, &temporary).and_then(|()| {
        // A rename would replace the key of a process that was faster; a link never does.
        match fs::hard_link(&temporary, path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(failed(error)),
            _ => Ok(()),
        }
    });
    let removed = fs::remove_file(&temporary);
    result?;
    removed.map_err(failed)?;
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(failed)
}

/// A name beside `path` that nobody else has.
fn temporary_name(path: &Path) -> Result<PathBuf, IdentityError> {
    let mut unique = [0; 8];
    getrandom::fill(&mut unique).map_err(IdentityError::Random)?;
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", hex::encode(unique)));
    Ok(path.with_file_name(name))
}

fn write_new_key(path: &Path, temporary: &Path) -> Result<(), IdentityError> {
    let failed = |error| io_error(path, "created", error);
    let mut seed = Zeroizing::new([0; SEED_LEN]);
    getrandom::fill(&mut *seed).map_err(IdentityError::Random)?;
    let mut text = Zeroizing::new([b'\n'; FILE_LEN]);
    if let Some(digits) = text.first_chunk_mut::<{ 2 * SEED_LEN }>() {
        // Cannot fail: there are two digits for each byte.
        let _ = hex::encode_to_slice(*seed, digits);
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(temporary)
        .map_err(failed)?;
    file.write_all(&*text)
        .and_then(|()| file.sync_all())
        .map_err(failed)
}

fn io_error(path: &Path, action: &'static str, error: io::Error) -> IdentityError {
    IdentityError::Io {
        path: shown(path),
        action,
        error,
    }
}

fn shown(path: &Path) -> PathShown {
    PathShown(path.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::sync::Barrier;

    use super::*;

    const SECRET: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";

    /// A directory with a key file of this content and mode.
    fn with_file(content: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("identity.key");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    fn files(dir: &Path) -> usize {
        fs::read_dir(dir).unwrap().count()
    }

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/identity.key");
        let key = load_or_create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::metadata(&path).unwrap().nlink(), 1);
        assert_eq!(files(&dir.path().join("new")), 1);
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            hex::encode(key.to_bytes()) + "\n"
        );
        assert_eq!(load_or_create(&path).unwrap(), key);
        assert_eq!(load(&path).unwrap(), key);
    }

    #[test]
    fn two_nodes_differ() {
        let dir = tempfile::tempdir().unwrap();
        let key = |name| load_or_create(&dir.path().join(name)).unwrap();
        assert_ne!(key("a"), key("b"));
    }

    #[test]
    fn a_file_keeps_meaning_the_same_key() {
        // RFC 8032 §7.1, test 1.
        let (_dir, path) = with_file(&format!("{SECRET}\n"), 0o400);
        assert_eq!(
            hex::encode(load(&path).unwrap().verifying_key().as_bytes()),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
    }

    #[test]
    fn creators_at_the_same_time_agree() {
        for _ in 0..50 {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("identity.key");
            let start = Barrier::new(2);
            let racer = || {
                start.wait();
                load_or_create(&path).unwrap()
            };
            let (one, other) = std::thread::scope(|scope| {
                let (one, other) = (scope.spawn(racer), scope.spawn(racer));
                (one.join().unwrap(), other.join().unwrap())
            });
            assert_eq!(one, other);
            assert_eq!(load(&path).unwrap(), one);
            assert_eq!(files(dir.path()), 1);
        }
    }

    #[test]
    fn a_creator_that_comes_late_leaves_the_key_alone() {
        let (dir, path) = with_file(&format!("{SECRET}\n"), 0o600);
        create(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{SECRET}\n"));
        assert_eq!(files(dir.path()), 1);
    }

    #[test]
    fn nobody_else_may_read_or_write_it() {
        for bit in [0o040, 0o020, 0o010, 0o004, 0o002, 0o001] {
            let (_dir, path) = with_file(&format!("{SECRET}\n"), 0o600 | bit);
            let error = load_or_create(&path).unwrap_err();
            let shown = format!(
                "{} has mode {:04o}, which lets others in",
                path.display(),
                0o600 | bit
            );
            assert_eq!(error.to_string(), shown);
        }
    }

    #[test]
    fn a_damaged_file_is_refused_kept_and_not_quoted() {
        let whole = format!("{SECRET}\n");
        let mut damaged: Vec<String> = (0..whole.len())
            .map(|len| whole[..len].to_owned())
            .collect();
        damaged.extend([
            format!("{whole}\n"),
            SECRET.to_owned() + " ",
            whole.replace('9', "g"),
            format!("0x{}\n", &SECRET[2..]),
            format!("\n{SECRET}"),
        ]);
        for content in damaged {
            let (_dir, path) = with_file(&content, 0o600);
            let error = load_or_create(&path).unwrap_err();
            for shown in [error.to_string(), format!("{error:?}")] {
                assert!(!shown.contains("61b1"), "{shown}");
                assert!(!shown.contains('\n'), "{shown}");
            }
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
    }

    #[test]
    fn only_a_regular_file_is_a_key() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [dir.path(), &fifo, Path::new("/dev/null")] {
            let error = load_or_create(path).unwrap_err();
            assert!(matches!(error, IdentityError::NotAFile { .. }), "{error}");
        }
        // A link to a real key elsewhere is fine: /etc may be what a flash image brings along.
        let (_kept, target) = with_file(&format!("{SECRET}\n"), 0o600);
        symlink(&target, dir.path().join("link")).unwrap();
        load(&dir.path().join("link")).unwrap();
    }

    #[test]
    fn a_key_that_cannot_be_made_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        symlink(
            dir.path().join("nowhere/key"),
            dir.path().join("identity.key"),
        )
        .unwrap();
        let error = load_or_create(&dir.path().join("identity.key")).unwrap_err();
        assert!(matches!(error, IdentityError::Missing { .. }), "{error}");
        assert_eq!(files(dir.path()), 1);
    }

    #[test]
    fn a_foreign_file_is_refused() {
        // The kernel's own file: whoever runs the test as another user than root is not its owner;
        // root makes one that belongs to nobody.
        let (_dir, path) = with_file(&format!("{SECRET}\n"), 0o600);
        let us = nix::unistd::geteuid();
        let (path, owner) = match us.is_root() {
            true => {
                nix::unistd::chown(&path, Some(65534.into()), None).unwrap();
                (path, 65534)
            }
            false => (PathBuf::from("/proc/version"), 0),
        };
        let error = load(&path).unwrap_err();
        let shown = format!(
            "{} belongs to user id {owner}, meshd runs as {us}",
            path.display()
        );
        assert_eq!(error.to_string(), shown);
    }

    #[test]
    fn a_networks_secret_is_what_stands_in_the_file() {
        let (_dir, path) = with_file("  a long and random one \n", 0o600);
        assert_eq!(*load_network_key(&path).unwrap(), b"a long and random one");
        for (content, mode) in [
            ("too short\n".to_owned(), 0o600),
            ("x".repeat(1025), 0o600),
            ("x".repeat(4096), 0o600),
            ("a long and random one\n".to_owned(), 0o640),
        ] {
            let (_dir, path) = with_file(&content, mode);
            let error = load_network_key(&path).unwrap_err().to_string();
            assert!(
                !error.contains("xxxx") && !error.contains("random"),
                "{error}"
            );
        }
        assert!(load_network_key(&path.with_extension("none")).is_err());
    }
}
