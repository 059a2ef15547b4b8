//! A container of our own whose first process is systemd, for what a package does on a machine.
//!
//! [`enter`] runs this program again in there, as a service of systemd's and as root, with the file system of the machine
//! outside below a layer in memory that takes what is written: packages may be installed and removed. It has its own
//! processes, network, mounts and control groups, and nothing of it is left when the calling process ends. The kernel
//! is that of the machine.
//!
//! A test in there is one of `harness::main_under_systemd`; the laboratory works as everywhere.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::geteuid;

use crate::kept;
use crate::vm::Errand;

/// In the environment of the inner program.
const MARK: &str = "MESH_LAB_CONTAINER";

const START: &str = include_str!("container/start.sh");

/// Moves the rest of the program into a container. Call it first in `main`, before any thread.
///
/// The calling process prints what the inner one printed, and ends with its exit status; only the inner one
/// returns from here.
///
/// # Errors
/// This is not root, whose users the packages make; or the container did not come up: the text has what was said
/// about it.
pub fn enter() -> Result<()> {
    if env::var_os(MARK).is_some() {
        return Ok(());
    }
    ensure!(
        geteuid().is_root(),
        "packages make users, so this has to be run as root (or with sudo)"
    );
    let work = Work::new()?;
    let said = run(&work)?;
    let outputs: [(&str, Box<dyn io::Write>); 2] = [
        ("out", Box::new(io::stdout())),
        ("err", Box::new(io::stderr())),
    ];
    for (file, mut to) in outputs {
        let text = fs::read(work.0.join(file)).unwrap_or_default();
        // Nobody may be reading any more.
        let _ = to.write_all(&text).and_then(|()| to.flush());
    }
    let status = fs::read_to_string(work.0.join("status")).unwrap_or_default();
    let Ok(status) = status.trim().parse() else {
        bail!("the container ended too early: {said}");
    };
    drop(work);
    process::exit(status);
}

/// Runs this program in a container, and returns what the container itself had to say.
fn run(work: &Work) -> Result<String> {
    let share = kept::root()?;
    let mut errand = format!("export {MARK}=1\n").into_bytes();
    errand.extend(Errand::of_this_program(&share)?.script());
    fs::write(work.0.join("errand.sh"), errand)?;
    fs::write(work.0.join("start.sh"), START)?;
    let program = env::current_exe()?;
    // The programs under test are beside it, or above; none of these need be in the file system of the root.
    let programs = program.ancestors().nth(2).unwrap_or(Path::new("/"));
    let directory = env::current_dir()?;
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig=KILL", "unshare", "--fork", "--kill-child"])
        .args(["--pid", "--mount", "--net", "--uts", "--ipc", "--cgroup"])
        .args(["--propagation", "private", "/bin/bash"])
        .arg(work.0.join("start.sh"))
        .arg(&work.0)
        .args([&*share, programs, &*directory]);
    let output = crate::command::output(&mut command, None)?;
    let said = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// A directory that goes with the value.
struct Work(PathBuf);

impl Work {
    fn new() -> Result<Self> {
        let place = env::temp_dir().join(format!("mesh-lab-container-{}", process::id()));
        fs::create_dir(&place).with_context(|| format!("create {}", place.display()))?;
        Ok(Self(place))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // What was mounted there was so in namespaces that are gone.
        let _ = fs::remove_dir_all(&self.0);
    }
}
