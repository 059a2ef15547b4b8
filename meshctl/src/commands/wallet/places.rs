//! Where files are when nobody says (XDG Base Directory Specification).

use std::env;
use std::path::PathBuf;

/// The directory that a variable names, or the one below the home directory.
fn directory(variable: &str, below_home: &str) -> Option<PathBuf> {
    let absolute = |name: &str| {
        let path = env::var_os(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    let directory = absolute(variable).or_else(|| Some(absolute("HOME")?.join(below_home)));
    directory.map(|directory| directory.join("meshd"))
}

pub(super) fn keystore() -> Option<PathBuf> {
    directory("XDG_DATA_HOME", ".local/share").map(|it| it.join("wallet.json"))
}

pub(super) fn config() -> Option<PathBuf> {
    directory("XDG_CONFIG_HOME", ".config").map(|it| it.join("wallet.yaml"))
}
