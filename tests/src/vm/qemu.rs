//! The virtual machine: how QEMU is called, and how what is said inside gets out.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::MARK;

const QEMU: &str = "qemu-system-x86_64";

/// How often the machine is looked after.
const CHECK: Duration = Duration::from_millis(50);

/// A machine that is not running yet.
#[derive(Debug)]
pub(super) struct Machine<'a> {
    /// The kernel's image.
    pub(super) kernel: &'a Path,
    /// A directory that is written to from inside.
    pub(super) share: &'a Path,
    /// A directory for what nobody needs afterwards.
    pub(super) files: &'a Path,
}

/// How a machine ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The errand was run, and this is its exit status.
    Done(i32),
    /// It was not, or not to its end: what happened instead.
    Lost(String),
}

impl Machine<'_> {
    /// Boots with this initramfs, and passes on what is printed inside, until the machine ends.
    pub(super) fn run(&self, initramfs: &[u8], bound: Duration) -> Result<End> {
        let image = self.files.join("initramfs");
        fs::write(&image, initramfs).with_context(|| format!("write {}", image.display()))?;
        let mut command = Command::new(QEMU);
        command
            .args(self.arguments(&image))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!("{QEMU} is not installed; `tests/deps.sh test` installs it")
            }
            Err(error) => return Err(error).with_context(|| format!("start {QEMU}")),
        };
        let out = child.stdout.take().map(|from| relay(from, io::stdout()));
        let err = child.stderr.take().map(|from| relay(from, io::stderr()));
        let ended = wait(&mut child, bound)?;
        for relay in [out, err].into_iter().flatten() {
            let _ = relay.join();
        }
        let status = fs::read_to_string(self.status()).unwrap_or_default();
        Ok(match (status.trim().parse(), ended) {
            (Ok(status), _) => End::Done(status),
            (Err(_), Some(qemu)) => End::Lost(format!("stopped too early ({QEMU}: {qemu})")),
            (Err(_), None) => End::Lost(format!("was not done after {bound:?}")),
        })
    }

    /// What the kernel said.
    pub(super) fn console(&self) -> String {
        let bytes = fs::read(self.console_file()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn console_file(&self) -> PathBuf {
        self.files.join("console")
    }

    fn status(&self) -> PathBuf {
        self.files.join("status")
    }

    fn arguments(&self, image: &Path) -> Vec<OsString> {
        // No device but those below, and an end instead of a restart. One processor: a second one
        // makes everything three times slower, as the emulator has to keep them apart.
        let machine = "-nodefaults -no-user-config -no-reboot -display none \
                       -accel tcg -cpu max -smp 1 -m 1536";
        let mut arguments: Vec<OsString> = machine.split_whitespace().map(Into::into).collect();
        // A panic, and whatever else is wrong with the kernel, ends the machine at once. Warnings
        // are shown, which `quiet` alone would not. What protects programs from each other's guesses is
        // of no use to an emulated processor, which does not guess, and slow.
        let line =
            format!("console=ttyS0 quiet loglevel=5 panic=-1 oops=panic mitigations=off {MARK}");
        let mut add = |option: &str, value: OsString| arguments.extend([option.into(), value]);
        add("-kernel", self.kernel.into());
        add("-initrd", image.into());
        add("-append", line.into());
        add("-serial", with_path("file:", &self.console_file(), ""));
        // Of several file systems outside one is made, so their inode numbers have to differ.
        let root = "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap";
        add("-virtfs", root.into());
        let share = ",mount_tag=share,security_model=none";
        add("-virtfs", with_path("local,path=", self.share, share));
        // A port is a pipe without a terminal's ideas of lines.
        add("-device", "virtio-serial-pci".into());
        for (port, path) in [
            ("1", Path::new("/dev/fd/1")),
            ("2", Path::new("/dev/fd/2")),
            ("3", &self.status()),
        ] {
            add(
                "-chardev",
                with_path(&format!("file,id=port{port},path="), path, ""),
            );
            let device = format!("virtserialport,chardev=port{port},nr={port}");
            add("-device", device.into());
        }
        arguments
    }
}

/// A value with a path in it. QEMU ends it at a comma, unless there are two.
fn with_path(before: &str, path: &Path, after: &str) -> OsString {
    let mut value = OsString::from(before);
    value.push(path.to_string_lossy().replace(',', ",,"));
    value.push(after);
    value
}

/// Waits for the end, or makes one. Nothing is returned when that was necessary.
fn wait(child: &mut Child, bound: Duration) -> Result<Option<ExitStatus>> {
    let end = Instant::now() + bound;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(CHECK);
    }
}

/// Passes on whatever comes as soon as it comes, in the middle of a line as well.
fn relay(
    mut from: impl Read + Send + 'static,
    mut to: impl Write + Send + 'static,
) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let bytes = buffer.get(..length).unwrap_or_default();
            // Nobody reads any more: the machine must not wait for them.
            let _ = to.write_all(bytes).and_then(|()| to.flush());
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_in_a_path_ends_no_option() {
        assert_eq!(with_path("path=", Path::new("/a,b"), ",x"), "path=/a,,b,x");
    }

    #[test]
    fn a_machine_that_is_not_done_in_time_is_stopped() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        assert_eq!(wait(&mut child, Duration::from_millis(10)).unwrap(), None);
    }
}
