//! Where files survive the laboratory.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use nix::unistd::{AccessFlags, access};

/// The only place there is, if set: in a virtual machine every other is in its memory.
pub(crate) const ONLY: &str = "MESH_LAB_KEPT";

/// An empty directory called `name` that holds nothing but `file` with this text.
///
/// # Errors
/// Neither the checkout nor the temporary directory can be written.
pub fn place(name: &str, file: &str, text: &str) -> Result<PathBuf> {
    let mut refused = None;
    for place in places() {
        let place = place.join(name);
        let _ = fs::remove_dir_all(&place);
        // A directory may be there from another user's run, and closed to this one.
        match fs::create_dir_all(&place).and_then(|()| fs::write(place.join(file), text)) {
            Ok(()) => return Ok(place),
            Err(error) => refused = Some(anyhow!("write to {}: {error}", place.display())),
        }
    }
    Err(refused.unwrap_or_else(|| anyhow!("no place to keep them")))
}

/// The directory that [`place`] would take first.
///
/// # Errors
/// As for [`place`].
pub(crate) fn root() -> Result<PathBuf> {
    let writable = |place: &PathBuf| {
        fs::create_dir_all(place).is_ok() && access(place, AccessFlags::W_OK).is_ok()
    };
    let places = places();
    places
        .iter()
        .find(|place| writable(place))
        .cloned()
        .ok_or_else(|| anyhow!("none of {places:?} can be written"))
}

fn places() -> Vec<PathBuf> {
    match env::var_os(ONLY) {
        Some(only) => vec![PathBuf::from(only)],
        None => vec![
            Path::new(env!("CARGO_MANIFEST_DIR")).join("out"),
            env::temp_dir().join("mesh-tests"),
        ],
    }
}
