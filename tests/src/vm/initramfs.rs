//! What the kernel of the virtual machine starts with: a shell, the modules that reach the file
//! system outside, and an errand.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::kernel::Kernel;
use crate::kept;

/// The bus, the files outside and their transport, the layer above, and the ports for output.
const MODULES: [&str; 5] = [
    "virtio_pci",
    "9pnet_virtio",
    "9p",
    "overlay",
    "virtio_console",
];

/// Where things are mounted and found before there is a file system.
const DIRECTORIES: [&str; 8] = [
    "bin", "modules", "proc", "sys", "dev", "outside", "layer", "inside",
];

/// What is to be run in the virtual machine, or in a container.
#[derive(Debug)]
pub(crate) struct Errand {
    program: PathBuf,
    arguments: Vec<OsString>,
    directory: PathBuf,
    environment: Vec<(OsString, OsString)>,
    share: PathBuf,
}

impl Errand {
    /// This very program, as it was started. What it writes below `share` is written here.
    pub(crate) fn of_this_program(share: &Path) -> Result<Self> {
        Ok(Self {
            program: env::current_exe().context("where this program is")?,
            arguments: env::args_os().skip(1).collect(),
            directory: env::current_dir().context("the working directory")?,
            environment: env::vars_os().collect(),
            share: share.to_owned(),
        })
    }

    /// The same as a script for sh.
    pub(crate) fn script(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for (name, value) in &self.environment {
            // A shell has no other variables.
            if is_identifier(name) {
                set(&mut text, &format!("export {}", name.display()), value);
            }
        }
        set(&mut text, &format!("export {}", kept::ONLY), &self.share);
        // Not on everybody's path, but root needs what is there.
        text.extend(b"PATH=\"$PATH:/usr/sbin:/sbin\"\n");
        text.extend([b"cd ", &*quoted(&self.directory), b" || exit\nexec"].concat());
        let arguments = self.arguments.iter().map(OsString::as_os_str);
        for word in [self.program.as_os_str()].into_iter().chain(arguments) {
            text.push(b' ');
            text.extend(quoted(word));
        }
        text.push(b'\n');
        text
    }
}

/// The archive, as a kernel takes it.
pub(super) fn build(kernel: &Kernel, errand: &Errand) -> Result<Vec<u8>> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("read {}", path.display()));
    let mut archive = Archive::default();
    for directory in DIRECTORIES {
        archive.directory(directory);
    }
    archive.file("bin/busybox", &read(&busybox()?)?);
    archive.file("init", include_bytes!("init.sh"));
    archive.file("main.sh", include_bytes!("main.sh"));
    archive.file("errand.sh", &errand.script());

    let mut modules = OsString::new();
    for path in kernel.files_of(&MODULES)? {
        let name = path.file_name().unwrap_or_default();
        archive.file(&format!("modules/{}", name.display()), &read(&path)?);
        modules.push(name);
        modules.push(" ");
    }
    let mut settings = Vec::new();
    set(&mut settings, "kernel", kernel.modules());
    set(&mut settings, "version", kernel.version());
    set(&mut settings, "share", &errand.share);
    set(&mut settings, "modules", modules);
    archive.file("settings", &settings);
    Ok(archive.finish())
}

/// A shell that needs no library.
fn busybox() -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([PathBuf::from("/bin")])
        .map(|directory| directory.join("busybox"))
        .find(|file| file.is_file())
        .context("busybox is not installed; `tests/deps.sh test` installs it")
}

fn set(text: &mut Vec<u8>, name: &str, value: impl AsRef<OsStr>) {
    text.extend([name.as_bytes(), b"=", &quoted(value), b"\n"].concat());
}

/// A word that a shell takes as it is.
fn quoted(word: impl AsRef<OsStr>) -> Vec<u8> {
    let mut text = vec![b'\''];
    for byte in word.as_ref().as_bytes() {
        match byte {
            b'\'' => text.extend(br"'\''"),
            other => text.push(*other),
        }
    }
    text.push(b'\'');
    text
}

fn is_identifier(name: &OsStr) -> bool {
    let name = name.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    name.first().is_some_and(|first| !first.is_ascii_digit()) && name.iter().all(plain)
}

/// An archive in the "newc" format of cpio, see `driver-api/early-userspace/buffer-format.rst` of
/// the kernel's documentation.
#[derive(Debug, Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn directory(&mut self, name: &str) {
        self.entry(name, 0o040_755, &[]);
    }

    /// Every file may be executed: it does no harm where it makes no sense.
    fn file(&mut self, name: &str, content: &[u8]) {
        self.entry(name, 0o100_755, content);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let (size, name_size) = (number(content.len()), number(name.len() + 1));
        self.bytes.extend(b"070701");
        // Number, mode, user, group, links, time, size, four device numbers, name, checksum.
        for field in [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            0,
            0,
            name_size,
            0,
        ] {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        let length = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(length, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command;

    #[test]
    fn an_archive_is_as_the_format_says() {
        let mut archive = Archive::default();
        archive.directory("bin");
        archive.file("a", b"hello");
        let text = String::from_utf8(archive.finish()).unwrap();
        let directory = "0707010000000100\
                         0041ed000000000000000000000001000000000000000000000000000000000000000000\
                         0000000000000400000000bin\0\0\0";
        let file = "0707010000000200\
                    0081ed000000000000000000000001000000000000000500000000000000000000000000\
                    0000000000000200000000a\0hello\0\0\0";
        assert_eq!(text.get(..directory.len()), Some(directory));
        let rest = &text[directory.len()..];
        assert_eq!(rest.get(..file.len()), Some(file));
        assert!(rest.ends_with("TRAILER!!!\0\0\0\0") && text.len().is_multiple_of(4));
    }

    #[test]
    fn a_shell_gets_words_as_they_are() {
        for word in ["", "plain", "two words", "it's", "$(false) \\ \"\n*"] {
            let script = [b"printf %s ".as_slice(), &quoted(word)].concat();
            let script = String::from_utf8(script).unwrap();
            assert_eq!(command::run_with("sh", "", Some(&script)).unwrap(), word);
        }
    }

    #[test]
    fn an_errand_is_run_where_and_as_it_was_started() {
        let script = Errand {
            program: "/bin/echo".into(),
            arguments: vec!["a b".into(), "--c".into()],
            directory: "/tmp/x".into(),
            environment: vec![
                ("A".into(), "1".into()),
                ("BASH_FUNC_x%%".into(), "() { :; }".into()),
            ],
            share: "/out".into(),
        }
        .script();
        assert_eq!(
            String::from_utf8(script).unwrap(),
            "export A='1'\n\
             export MESH_LAB_KEPT='/out'\n\
             PATH=\"$PATH:/usr/sbin:/sbin\"\n\
             cd '/tmp/x' || exit\n\
             exec '/bin/echo' 'a b' '--c'\n"
        );
    }
}
