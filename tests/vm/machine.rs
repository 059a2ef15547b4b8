//! The virtual machine as a place to run tests in.

use std::env;
use std::fs;

use anyhow::{Result, bail, ensure};
use libtest_mimic::Trial;
use mesh_tests::harness::{in_lab, plain};
use mesh_tests::lab::Lab;
use mesh_tests::topology::Topology;
use mesh_tests::{kept, vm};
use nix::unistd::geteuid;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        plain("machine_is_one_of_its_own", own_machine),
        plain("machine_keeps_what_is_to_be_kept_only", keeps),
        in_lab(
            "machine_has_room_for_a_village_without_radios",
            || Topology::line(2),
            village,
        ),
        // For whoever wants to see that a failure in here is one outside.
        plain("machine_fails_on_purpose", || bail!("as it should")).with_ignored_flag(true),
    ]
}

fn own_machine() -> Result<()> {
    ensure!(vm::inside(), "this is not the virtual machine");
    ensure!(geteuid().is_root(), "this is not root");
    let links = fs::read_dir("/sys/class/net")?.count();
    ensure!(links == 1, "{links} network interfaces instead of one");
    Ok(())
}

fn keeps() -> Result<()> {
    let outside = |path: &str| -> Result<bool> {
        let mounts = fs::read_to_string("/proc/mounts")?;
        let mut mounts = mounts.lines().map(|line| line.split(' '));
        Ok(mounts.any(|mut words| words.nth(1) == Some(path) && words.next() == Some("9p")))
    };
    let place = kept::place("machine_keeps", "a.txt", "kept")?;
    let share = place
        .parent()
        .unwrap_or(&place)
        .to_string_lossy()
        .into_owned();
    ensure!(outside(&share)?, "{share} is in memory");
    ensure!(!outside("/")?, "the file system outside can be written");
    ensure!(fs::read_to_string(place.join("a.txt"))? == "kept");
    fs::remove_dir_all(&place)?;
    // Anywhere else goes, and is gone with the machine.
    let own = env::current_exe()?;
    fs::write(own.with_extension("mesh-lab"), "not kept")?;
    Ok(())
}

fn village(lab: &mut Lab) -> Result<()> {
    lab.add_phone("r1")?;
    lab.add_uplink("r2")?;
    lab.settle()
}
