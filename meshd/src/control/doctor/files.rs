//! The daemon's files, the flash they are on, and the clock that they tell of.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::sys::statvfs::{FsFlags, statvfs};

use super::{Findings, Machine};

/// Others may neither read nor write.
const PRIVATE: u32 = 0o077;
/// What receipts need, and a compaction of their log.
const ROOM_BYTES: u64 = 128 * 1024;
/// How far clocks of a machine may be apart that files were copied from.
const FAR: Duration = Duration::from_hours(24);

/// Keys that others can read. meshd would not start with them.
pub(super) fn modes(machine: &Machine, findings: &mut Findings) {
    let keys = [
        Some(machine.config.identity()),
        machine.config.network_key(),
    ];
    for key in keys.into_iter().flatten() {
        let Ok(metadata) = fs::metadata(key) else {
            continue;
        };
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & PRIVATE == 0 {
            continue;
        }
        if machine.mend && fs::set_permissions(key, Permissions::from_mode(0o600)).is_ok() {
            continue;
        }
        let shown = key.display();
        let problem = format!(
            "its mode {mode:04o} lets others read this key, and meshd will not start with it"
        );
        let advice = format!(
            "meshctl doctor --fix, or chmod 0600 {shown}; whoever has read it can be this node"
        );
        findings.error(shown.to_string(), problem, advice);
        findings.can_be_mended();
    }
}

/// Hardly any room is left for receipts.
pub(super) fn room(machine: &Machine, findings: &mut Findings) {
    let state = machine.config.state();
    let Ok(system) = statvfs(state) else {
        return;
    };
    #[allow(clippy::useless_conversion, reason = "of 32 bits on small machines")]
    let free = u64::from(system.blocks_available()) * u64::from(system.fragment_size());
    // What cannot be written at all is told by whoever tries.
    if free < ROOM_BYTES && !system.flags().contains(FsFlags::ST_RDONLY) {
        let problem = format!(
            "{} KiB are free: receipts will soon not be saved",
            free / 1024
        );
        let advice = format!(
            "make room: df {0} says where, du -x there what takes it; receipts of other nodes in {0}/carried may be \
             taken away with meshctl receipts export --carried",
            state.display()
        );
        findings.warning(state.display().to_string(), problem, advice);
    }
}

/// The clock is behind what has happened already.
pub(super) fn clock(machine: &Machine, findings: &mut Findings) {
    let state = fs::read_dir(machine.config.state())
        .into_iter()
        .flatten()
        .flatten();
    let program = Path::new("/proc/self/exe").to_owned();
    let files = state.map(|entry| entry.path()).chain([program]);
    let written = files.filter_map(|file| fs::metadata(file).ok()?.modified().ok());
    let ahead = written
        .max()
        .and_then(|last| last.duration_since(SystemTime::now()).ok());
    if let Some(ahead) = ahead.filter(|ahead| *ahead > FAR) {
        let days = ahead.as_secs() / (24 * 60 * 60);
        let problem = format!(
            "it is at least {days} days slow, as files of meshd are newer: certificates and dates in logs are wrong"
        );
        let advice = "ntpd -n -q -p pool.ntp.org (OpenWrt), timedatectl set-ntp true (Debian), or by hand date -s";
        findings.warning("clock", problem, advice);
    }
}
