//! The user namespace all tests run in.

use std::fs;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

/// Moves this program, which has no threads yet, into user and mount namespaces of its own, as
/// their root.
pub(crate) fn enter() {
    let (user, group) = (geteuid(), getegid());
    match unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS) {
        Ok(()) => {
            fs::write("/proc/self/setgroups", "deny").expect("give up setgroups");
            fs::write("/proc/self/uid_map", format!("0 {user} 1")).expect("map the user");
            fs::write("/proc/self/gid_map", format!("0 {group} 1")).expect("map the group");
        }
        // Where there are no user namespaces, root can do without.
        Err(Errno::EPERM | Errno::ENOSPC | Errno::EINVAL) if user.is_root() => {
            unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
        }
        Err(error) => {
            panic!("this kernel gives no user namespace, which these tests need: {error}")
        }
    }
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("private mounts");
}
