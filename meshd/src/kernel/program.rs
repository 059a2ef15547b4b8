//! Where other programs are.

use std::path::{Path, PathBuf};

/// Where system programs are when `PATH` does not lead to them, as is usual for daemons.
const SYSTEM_DIRECTORIES: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/bin"];

/// The places to look for a program, first to last. A path is looked for nowhere else.
pub(super) fn candidates(program: &Path) -> Vec<PathBuf> {
    let is_bare_name = program.components().count() == 1;
    let elsewhere = SYSTEM_DIRECTORIES.iter().filter(|_| is_bare_name);
    let elsewhere = elsewhere.map(|directory| Path::new(directory).join(program));
    [program.to_owned()].into_iter().chain(elsewhere).collect()
}
