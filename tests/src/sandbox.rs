//! Namespaces of our own for everything the laboratory does.
//!
//! The process runs itself again inside fresh user, mount, network and process namespaces. In
//! there it is root over nothing but the laboratory, whoever started it outside.

use std::env;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{self, Command, ExitStatus};

use anyhow::{Context, Result, anyhow, bail};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{getegid, geteuid, getpid};

/// Where the laboratory keeps its files: on a tmpfs that exists in the sandbox only.
pub const FILES: &str = "/run/mesh-lab";

/// Where meshd looks, among others, for the resolvers that a provider told of: an empty file.
pub const TOLD: &str = "/run/systemd/resolve/resolv.conf";

/// Tells the inner process who started it. Meaningful to process 1 of a namespace only, so that
/// programs started by the laboratory, which inherit it, are not misled.
const OUTER_PROCESS: &str = "MESH_LAB_OUTER_PROCESS";

/// Moves the rest of the program into the sandbox. Call it first in `main`, before any thread.
///
/// The calling process becomes a guard that waits for the inner one and ends with its exit
/// status; only the inner one returns from here. If either dies, so does the other, and with the
/// inner one every process and namespace of the laboratory.
///
/// # Errors
/// The kernel forbids one of the namespaces: the text says which setting is in the way.
pub fn enter() -> Result<()> {
    match env::var(OUTER_PROCESS) {
        Ok(outer) if getpid().as_raw() == 1 => settle_in(&outer),
        _ => guard(),
    }
}

fn guard() -> Result<()> {
    // Read before a user namespace shows limits of its own.
    let hint = hint();
    let (uid, gid) = (geteuid(), getegid());
    match unshare(CloneFlags::CLONE_NEWUSER) {
        // The kernel wants group changes given up before an ordinary user may map a group.
        Ok(()) => [
            ("/proc/self/setgroups", "deny".to_owned()),
            ("/proc/self/uid_map", format!("0 {uid} 1")),
            ("/proc/self/gid_map", format!("0 {gid} 1")),
        ]
        .iter()
        .try_for_each(|(path, text)| {
            fs::write(path, text).map_err(|error| forbidden(path, &error, &hint))
        })?,
        // Root needs no user namespace to create the others.
        Err(_) if uid.is_root() => (),
        Err(errno) => return Err(forbidden("a user namespace", &errno.into(), &hint)),
    }
    let flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWPID;
    unshare(flags).map_err(|errno| {
        forbidden(
            "network, mount and process namespaces",
            &errno.into(),
            &hint,
        )
    })?;

    let program = env::current_exe().context("where this program is")?;
    let status = Command::new(&program)
        .args(env::args_os().skip(1))
        .env(OUTER_PROCESS, process::id().to_string())
        .status()
        .with_context(|| format!("run {} inside the sandbox", program.display()))?;
    process::exit(exit_code(status));
}

fn exit_code(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

fn settle_in(outer: &str) -> Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL).context("ask the kernel to end this with its parent")?;
    // The parent may have died before that took effect. The /proc of the outside, still mounted
    // at this point, knows.
    if !Path::new("/proc").join(outer).exists() {
        bail!("the process that started the sandbox is gone");
    }
    mount_tmpfs().map_err(|errno| forbidden("a tmpfs on /run", &errno.into(), &hint()))?;
    // Best effort: a container that hides parts of its own /proc may not mount a new one, and
    // the old one serves as well, only with the process numbers of the outside.
    let _ = mount(
        Some("proc"),
        "/proc",
        Some("proc"),
        MsFlags::empty(),
        None::<&str>,
    );
    for directory in ["/run/netns", FILES] {
        fs::create_dir_all(directory).with_context(|| format!("create {directory}"))?;
    }
    hide_resolvers().context("hide the resolvers of the machine")
}

/// The provider of the machine's is none of the laboratory's.
fn hide_resolvers() -> Result<()> {
    let told = Path::new(TOLD);
    fs::create_dir_all(told.parent().unwrap_or(told))?;
    fs::write(told, "")?;
    let own = "/etc/resolv.conf";
    match Path::new(own).exists() {
        true => Ok(mount(
            Some(told),
            own,
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )?),
        false => Ok(()),
    }
}

fn mount_tmpfs() -> nix::Result<()> {
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
    mount(
        Some("mesh-lab"),
        "/run",
        Some("tmpfs"),
        MsFlags::empty(),
        Some("mode=755"),
    )
}

fn forbidden(what: &str, error: &io::Error, hint: &str) -> anyhow::Error {
    anyhow!("the kernel refuses {what}: {error}{hint}")
}

/// What is in the way of the sandbox, as far as the kernel's settings tell, and how to allow it.
fn hint() -> String {
    let settings = [
        ("kernel.unprivileged_userns_clone", "0", "1"),
        ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
        ("user.max_user_namespaces", "0", "10000"),
        ("user.max_net_namespaces", "0", "10000"),
        ("user.max_pid_namespaces", "0", "10000"),
        ("user.max_mnt_namespaces", "0", "10000"),
    ];
    let mut text = String::new();
    for (key, forbids, allows) in settings {
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        if fs::read_to_string(path).is_ok_and(|value| value.trim() == forbids) {
            text.push_str(&format!(
                "\n  {key} is {forbids}; to allow it: sudo sysctl -w {key}={allows}"
            ));
        }
    }
    if text.is_empty() {
        text.push_str(
            "\n  no sysctl forbids it, so a container's policy probably does; run this outside \
             of the container, or start the container privileged",
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_do() {
        let refused = io::Error::from_raw_os_error(1);
        let text = forbidden("a user namespace", &refused, &hint()).to_string();
        assert!(
            text.starts_with("the kernel refuses a user namespace: "),
            "{text}"
        );
        assert!(text.lines().count() > 1, "{text}");
    }

    #[test]
    fn the_exit_status_of_the_inner_process_is_passed_on() {
        assert_eq!(exit_code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(exit_code(ExitStatus::from_raw(9)), 137);
    }
}
