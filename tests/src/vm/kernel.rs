//! The kernel of the virtual machine, as `tests/deps.sh` left it.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// A kernel with its modules: `vmlinuz` and `lib/modules/VERSION` in one directory.
#[derive(Debug)]
pub(super) struct Kernel {
    directory: PathBuf,
    version: String,
}

impl Kernel {
    /// The newest one there is. Directories are named after versions, and appear when complete.
    pub(super) fn find() -> Result<Self> {
        let home = cache(env::var_os("XDG_CACHE_HOME"), env::var_os("HOME"))?;
        let names = fs::read_dir(&home).into_iter().flatten().flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        let newest = names
            .filter(|name| home.join(name).join("vmlinuz").is_file())
            .max_by_key(|name| numbers(name));
        let Some(version) = newest else {
            bail!(
                "no kernel for the virtual machine in {}; `tests/deps.sh test` brings one",
                home.display()
            );
        };
        Ok(Self {
            directory: home.join(&version),
            version,
        })
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }

    pub(super) fn image(&self) -> PathBuf {
        self.directory.join("vmlinuz")
    }

    /// What belongs at `/lib/modules/VERSION`.
    pub(super) fn modules(&self) -> PathBuf {
        self.directory.join("lib/modules").join(&self.version)
    }

    /// The files of these modules and of all they need, in the order they have to be loaded.
    pub(super) fn files_of(&self, modules: &[&str]) -> Result<Vec<PathBuf>> {
        let directory = self.modules();
        let path = directory.join("modules.dep");
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let files = load_order(&text, modules)
            .with_context(|| format!("the kernel in {}", self.directory.display()))?;
        Ok(files.into_iter().map(|file| directory.join(file)).collect())
    }
}

/// Where `tests/deps.sh` puts kernels, from the environment.
fn cache(xdg: Option<OsString>, home: Option<OsString>) -> Result<PathBuf> {
    let home = home.map(|home| Path::new(&home).join(".cache"));
    let cache = xdg.filter(|path| !path.is_empty()).map(PathBuf::from);
    let cache = cache.or(home).context("HOME is not set")?;
    Ok(cache.join("meshd/vm"))
}

/// Versions in the order of their numbers: 6.1.0-9 is older than 6.1.0-56.
fn numbers(version: &str) -> Vec<u64> {
    let numbers = version.split(|c: char| !c.is_ascii_digit());
    numbers.filter_map(|number| number.parse().ok()).collect()
}

/// What `modules.dep` says about these modules: each after those it needs.
fn load_order<'a>(text: &'a str, modules: &[&str]) -> Result<Vec<&'a str>> {
    let needs: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .collect();
    let mut order = Vec::new();
    for module in modules {
        let file = needs.keys().find(|file| name(file) == *module);
        let file = file.with_context(|| format!("has no module {module}"))?;
        add(file, &needs, &mut order);
    }
    Ok(order)
}

fn add<'a>(file: &'a str, needs: &BTreeMap<&'a str, &'a str>, order: &mut Vec<&'a str>) {
    if order.contains(&file) {
        return;
    }
    let others = needs.get(file).copied().unwrap_or_default();
    for other in others.split_whitespace() {
        add(other, needs, order);
    }
    order.push(file);
}

/// The module in a file. In names, both kinds of dashes are the same.
fn name(file: &str) -> String {
    let file = file.rsplit('/').next().unwrap_or(file);
    file.trim_end_matches(".ko").replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "\
kernel/net/9p/9pnet.ko:
kernel/fs/netfs/netfs.ko:
kernel/fs/9p/9p.ko: kernel/fs/netfs/netfs.ko kernel/net/9p/9pnet.ko
kernel/drivers/virtio/virtio_ring.ko: kernel/drivers/virtio/virtio.ko
kernel/drivers/virtio/virtio.ko:
kernel/drivers/char/virtio-console.ko: kernel/drivers/virtio/virtio_ring.ko
";

    #[test]
    fn a_module_comes_after_those_it_needs() {
        let order = load_order(DEP, &["virtio_console", "9p"]).unwrap();
        let names: Vec<String> = order.into_iter().map(name).collect();
        assert_eq!(
            names,
            [
                "virtio",
                "virtio_ring",
                "virtio_console",
                "netfs",
                "9pnet",
                "9p"
            ]
        );
        let order = load_order(DEP, &["9p", "netfs"]).unwrap();
        assert_eq!(order.len(), 3, "a module is loaded once");
    }

    #[test]
    fn a_module_that_is_missing_is_named() {
        let text = load_order(DEP, &["overlay"]).unwrap_err().to_string();
        assert!(text.contains("overlay"), "{text}");
    }

    #[test]
    fn the_cache_is_where_the_environment_says() {
        let cache = |xdg: Option<&str>, home: Option<&str>| {
            cache(xdg.map(OsString::from), home.map(OsString::from))
        };
        let default = Path::new("/h/.cache/meshd/vm");
        assert_eq!(cache(None, Some("/h")).unwrap(), default);
        assert_eq!(cache(Some(""), Some("/h")).unwrap(), default);
        assert_eq!(
            cache(Some("/c"), Some("/h")).unwrap(),
            Path::new("/c/meshd/vm")
        );
        assert!(cache(None, None).is_err());
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(numbers("6.1.0-56-amd64") > numbers("6.1.0-9-amd64"));
        assert!(numbers("6.12.1-1-amd64") > numbers("6.1.0-56-amd64"));
    }
}
