//! The number of the present start, in a file of its own.

use std::io;

use tracing::warn;

use super::disk::Disk;

/// How often the node was started: decimal digits and a newline.
pub const EPOCH_FILE: &str = "epoch";
const TEMPORARY: &str = ".epoch";
/// Ten digits and a newline.
const MAX_BYTES: u64 = 16;

/// The number of the last start; 0 if there was none. What cannot be read is as good as none:
/// neighbors who remember more will tell.
pub(super) fn read(disk: &impl Disk) -> u32 {
    let bytes = match disk.read(EPOCH_FILE, 0, MAX_BYTES) {
        Ok(bytes) => bytes,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                warn!(%error, "number of starts cannot be read, counting begins anew");
            }
            return 0;
        }
    };
    let digits = String::from_utf8_lossy(&bytes);
    digits.trim_end().parse().unwrap_or_else(|_| {
        warn!(
            file = EPOCH_FILE,
            "not a number of starts, counting begins anew"
        );
        0
    })
}

/// Keeps a number. The file is complete or the one before.
pub(super) fn save(disk: &mut impl Disk, epoch: u32) -> io::Result<()> {
    disk.write(TEMPORARY, 0, format!("{epoch}\n").as_bytes())?;
    disk.rename(TEMPORARY, EPOCH_FILE)?;
    disk.sync()
}
