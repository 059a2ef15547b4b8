//! Finding the programs under test: they were built into the directory this program came from. In the virtual
//! machine they are those that are shipped: others leave its processor no time.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::vm;

/// The path of `meshd` or `meshctl` that belongs to this build.
///
/// # Errors
/// It has not been built. Nothing is built here: a test must not change what it tests.
pub fn find(name: &str) -> Result<PathBuf> {
    let own = env::current_exe().context("where this program is")?;
    let directory = directory(&own);
    let (path, option) = match vm::inside() {
        true => (directory.with_file_name("release").join(name), " --release"),
        false => (directory.join(name), ""),
    };
    if !path.is_file() {
        bail!(
            "{} is missing: build it first with `cargo build --workspace --bins{option}`",
            path.display()
        );
    }
    Ok(path)
}

/// Test programs are in `deps`, one level below the programs.
fn directory(own: &Path) -> PathBuf {
    let parent = own.parent().unwrap_or(Path::new("."));
    match parent.file_name() {
        Some(name) if name == "deps" => parent.parent().unwrap_or(parent).to_owned(),
        _ => parent.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_for_beside_the_tests_that_use_them() {
        assert_eq!(
            directory(Path::new("/t/debug/deps/e2e-1f")),
            Path::new("/t/debug")
        );
        assert_eq!(
            directory(Path::new("/t/release/mesh-lab")),
            Path::new("/t/release")
        );
    }

    #[test]
    fn a_missing_program_says_how_to_build_it() {
        let text = find("no-such-program").unwrap_err().to_string();
        assert!(text.contains("cargo build"), "{text}");
    }
}
