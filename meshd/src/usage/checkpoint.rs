//! What is accounted for, written down so that a successor can go on with it.
//!
//! The kernel's counters outlive the daemon but not the machine. So does this file, which is in the
//! directory of runtime files, in memory: it dies with what it speaks of and costs no flash. It is replaced whole.
//!
//! The file: a line with the SHA-256 of the rest in hex, then JSON. One that is not as it was written, of an
//! earlier start of the machine, or of another node is as good as none.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use mesh_proto::NodeId;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tracing::debug;

use super::meter::Meter;
use crate::kernel::CounterKey;

/// The name of the file.
const NAME: &str = "accounted";

/// Where the kernel says which start of the machine this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// How far the kernel's counters are accounted for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metered {
    pub(super) generation: Option<u64>,
    pub(super) meters: Vec<(CounterKey, Meter)>,
}

/// Which side of an account we are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Side {
    /// We carried for the other node.
    Provider,
    /// It carried for us.
    Consumer,
}

/// What was carried and is in no receipt yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsettled {
    /// The key of the other node.
    pub peer: [u8; 32],
    /// Who of the two pays.
    pub side: Side,
    /// The key of the gateway.
    pub gateway: [u8; 32],
    /// What it costs, in atto-SMT per MiB, if that is known.
    pub price: Option<u64>,
    /// Bytes towards the gateway.
    pub up_bytes: u64,
    /// Bytes from the gateway.
    pub down_bytes: u64,
}

/// A receipt that may not be on the disk yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Who of the two pays.
    pub side: Side,
    /// The receipt, in hex.
    pub receipt: String,
}

/// What is accounted for. Counters and accounts are of the same moment, or bytes would be lost or
/// doubled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// How far the counters are accounted for.
    pub metered: Metered,
    /// The newest receipt of each account.
    pub heads: Vec<Kept>,
    /// What is in no receipt.
    pub unsettled: Vec<Unsettled>,
}

/// What is in the file.
#[derive(Serialize, Deserialize)]
struct Content {
    boot: String,
    owner: [u8; 32],
    checkpoint: Checkpoint,
}

/// The file.
#[derive(Debug)]
pub struct CheckpointFile {
    path: PathBuf,
    owner: NodeId,
    boot: String,
    /// What is in it, as far as we know.
    written: Option<Checkpoint>,
}

impl CheckpointFile {
    /// The file of a node in a directory.
    ///
    /// # Errors
    /// The kernel does not say which start of the machine this is.
    pub fn within(directory: &Path, owner: NodeId) -> io::Result<Self> {
        Ok(Self {
            path: directory.join(NAME),
            owner,
            boot: fs::read_to_string(BOOT_ID)?.trim().to_owned(),
            written: None,
        })
    }

    /// What an earlier run wrote last, if it can be gone on with.
    pub fn read(&self) -> Option<Checkpoint> {
        let path = self.path.display();
        match self.try_read() {
            Ok(checkpoint) => Some(checkpoint),
            Err(error) => {
                debug!(%path, %error, "nothing to go on with");
                None
            }
        }
    }

    fn try_read(&self) -> io::Result<Checkpoint> {
        let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why);
        let text = fs::read_to_string(&self.path)?;
        let parts = text.split_once('\n');
        let (hash, json) = parts.ok_or_else(|| invalid("it has no hash"))?;
        if hash != hash_of(json) {
            return Err(invalid("it is damaged"));
        }
        let content: Content = serde_json::from_str(json)?;
        if content.boot != self.boot {
            return Err(invalid("it is of an earlier start of the machine"));
        }
        if content.owner != *self.owner.as_bytes() {
            return Err(invalid("it is of another node"));
        }
        Ok(content.checkpoint)
    }

    /// Writes down what is accounted for, unless it is written there.
    ///
    /// # Errors
    /// The file cannot be written. What was written before is removed: to go on from there would bill
    /// twice what has been accounted for since.
    pub fn write(&mut self, checkpoint: Checkpoint) -> io::Result<()> {
        if self.written.as_ref() == Some(&checkpoint) {
            return Ok(());
        }
        let written = self.replace(checkpoint);
        if written.is_err() {
            self.remove();
        }
        written
    }

    fn replace(&mut self, checkpoint: Checkpoint) -> io::Result<()> {
        let content = Content {
            boot: self.boot.clone(),
            owner: *self.owner.as_bytes(),
            checkpoint,
        };
        let json = serde_json::to_string(&content)?;
        let new = self.path.with_extension("new");
        let _ = fs::remove_file(&new);
        let mut options = OpenOptions::new();
        // Never through a link that somebody left there.
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(format!("{}\n{json}", hash_of(&json)).as_bytes())?;
        fs::rename(&new, &self.path)?;
        self.written = Some(content.checkpoint);
        Ok(())
    }

    fn remove(&mut self) {
        self.written = None;
        let _ = fs::remove_file(&self.path);
    }
}

fn hash_of(json: &str) -> String {
    hex::encode(Sha256::digest(json))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;
    use std::os::unix::fs::PermissionsExt as _;

    use mesh_proto::IfIndex;
    use tempfile::TempDir;

    use super::*;
    use crate::kernel::{Flow, Neighbor};

    const OWNER: NodeId = NodeId::from_bytes([1; 32]);

    fn checkpoint(bytes: u64) -> Checkpoint {
        let key = |neighbor| CounterKey {
            flow: Flow::DownRx,
            ifindex: IfIndex(3),
            neighbor,
            gateway: Ipv6Addr::LOCALHOST,
        };
        let neighbors = [
            Neighbor::Mac([2; 6]),
            Neighbor::LinkLocal(Ipv6Addr::UNSPECIFIED),
        ];
        let meters = neighbors.map(|it| (key(it), Meter::default()));
        Checkpoint {
            metered: Metered {
                generation: Some(u64::MAX),
                meters: meters.to_vec(),
            },
            heads: vec![Kept {
                side: Side::Consumer,
                receipt: "00ff".to_owned(),
            }],
            unsettled: vec![Unsettled {
                peer: [7; 32],
                side: Side::Provider,
                gateway: [9; 32],
                price: Some(u64::MAX),
                up_bytes: bytes,
                down_bytes: 1,
            }],
        }
    }

    fn file(directory: &TempDir) -> CheckpointFile {
        CheckpointFile::within(directory.path(), OWNER).unwrap()
    }

    #[test]
    fn what_was_written_last_is_read() {
        let directory = TempDir::new().unwrap();
        let mut file = file(&directory);
        assert_eq!(file.read(), None, "there is none");
        for bytes in [5, 6] {
            file.write(checkpoint(bytes)).unwrap();
        }
        assert_eq!(file.read(), Some(checkpoint(6)));
        let mode = fs::metadata(&file.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        file.remove();
        assert_eq!(file.read(), None);
        file.write(checkpoint(6)).unwrap();
        assert_eq!(file.read(), Some(checkpoint(6)), "it is written again");
    }

    #[test]
    fn one_that_cannot_be_replaced_is_removed() {
        let directory = TempDir::new().unwrap();
        let mut file = file(&directory);
        file.write(checkpoint(5)).unwrap();
        let in_the_way = file.path.with_extension("new");
        fs::create_dir(&in_the_way).unwrap();
        file.write(checkpoint(6)).unwrap_err();
        assert_eq!(file.read(), None, "what came since would be billed again");
        fs::remove_dir(&in_the_way).unwrap();
        file.write(checkpoint(6)).unwrap();
        assert_eq!(file.read(), Some(checkpoint(6)));
    }

    #[test]
    fn a_damaged_one_is_as_good_as_none() {
        let directory = TempDir::new().unwrap();
        let mut file = file(&directory);
        file.write(checkpoint(5)).unwrap();
        let whole = fs::read(&file.path).unwrap();
        for place in 0..whole.len() {
            fs::write(&file.path, &whole[..place]).unwrap();
            assert_eq!(file.read(), None, "cut at {place}");
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            fs::write(&file.path, &damaged).unwrap();
            assert_eq!(file.read(), None, "damaged at {place}");
        }
    }

    #[test]
    fn one_of_another_start_or_node_is_as_good_as_none() {
        let directory = TempDir::new().unwrap();
        file(&directory).write(checkpoint(5)).unwrap();
        let other_start = CheckpointFile {
            boot: "another".to_owned(),
            ..file(&directory)
        };
        let other_node = CheckpointFile {
            owner: NodeId::from_bytes([2; 32]),
            ..file(&directory)
        };
        for other in [other_start, other_node] {
            assert_eq!(other.read(), None, "{other:?}");
        }
        assert_eq!(file(&directory).read(), Some(checkpoint(5)));
    }

    #[test]
    fn nobody_leads_it_elsewhere() {
        let directory = TempDir::new().unwrap();
        let victim = directory.path().join("victim");
        fs::write(&victim, "dear").unwrap();
        let mut file = file(&directory);
        std::os::unix::fs::symlink(&victim, file.path.with_extension("new")).unwrap();
        file.write(checkpoint(5)).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "dear");
        assert_eq!(file.read(), Some(checkpoint(5)));
    }
}
