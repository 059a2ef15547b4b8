//! A state directory that cannot be written to: routers go on, and say so.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use control_api::{Accounts, Role, Severity};
use libtest_mimic::Trial;
use mesh_tests::harness::in_lab;
use mesh_tests::http::fetch;
use mesh_tests::internet::{HOST_V4, web_at};
use mesh_tests::lab::{Lab, Node};
use mesh_tests::mesh::wait_online_through;
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        in_lab(
            "full_disk_stops_no_service_and_saving_goes_on_when_there_is_room",
            || Topology::line(2),
            full,
        ),
        in_lab(
            "read_only_disk_stops_no_service",
            || Topology::line(2),
            read_only,
        ),
    ]
}

const PATIENCE: Duration = Duration::from_secs(30);
/// Saving is tried again each minute.
const RETRY: Duration = Duration::from_secs(90);
const FETCH: Duration = Duration::from_secs(5);
/// More than two receipts are due for it.
const DOWNLOAD: &str = "/bytes/5000000";

/// A file system over a directory, until this is dropped.
struct Mounted(PathBuf);

impl Mounted {
    /// Room for a few pages.
    fn small(directory: &Path) -> Result<Self> {
        let options = Some("size=64k,mode=700");
        mount(
            Some("state"),
            directory,
            Some("tmpfs"),
            MsFlags::empty(),
            options,
        )?;
        Ok(Self(directory.to_owned()))
    }

    /// The directory itself, to be read only.
    fn read_only(directory: &Path) -> Result<Self> {
        let none = None::<&str>;
        mount(Some(directory), directory, none, MsFlags::MS_BIND, none)?;
        let mounted = Self(directory.to_owned());
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(none, directory, none, flags, none)?;
        Ok(mounted)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

fn village(lab: &mut Lab) -> Result<()> {
    lab.add_phone("r1")?;
    lab.add_uplink("r2")?;
    lab.start_all()?;
    wait_online_through(lab, "r1", "r2", PATIENCE)?;
    download(lab)
}

fn download(lab: &Lab) -> Result<()> {
    let phone = lab.node("r1")?.phone()?;
    wait_for("a page", PATIENCE, || {
        fetch(phone, web_at(HOST_V4), DOWNLOAD, FETCH).map(drop)
    })
}

/// Waits until a router says that it cannot save receipts, and why.
fn says(node: &Node, why: &str) -> Result<()> {
    wait_for("the router to say it", PATIENCE, || {
        let warnings = node.status()?.warnings;
        let warned = warnings
            .iter()
            .any(|line| line.starts_with("receipts cannot be saved: ") && line.contains(why));
        let findings = node.doctor()?.findings;
        let found = findings
            .iter()
            .any(|finding| finding.subject == "receipts" && finding.severity == Severity::Error);
        ensure!(warned && found, "{warnings:?} {findings:?}");
        Ok(())
    })
}

/// Whether the gateway has made an offer.
fn has_offer(lab: &Lab) -> Result<bool> {
    let accounts: Accounts = lab.node("r1")?.ctl("receipts list")?;
    let mut consumed = accounts
        .accounts
        .iter()
        .filter(|it| it.role == Role::Consumer);
    Ok(consumed.any(|account| account.epoch > 0))
}

fn full(lab: &mut Lab) -> Result<()> {
    let state = lab.node("r2")?.files().state();
    let _mounted = Mounted::small(&state)?;
    let ballast = state.join("ballast");
    fs::write(&ballast, vec![0; 1 << 20])
        .err()
        .context("it is not full")?;

    village(lab)?;
    says(lab.node("r2")?, "No space left on device")?;
    download(lab)?;
    ensure!(!has_offer(lab)?, "an epoch that is not saved");

    fs::remove_file(&ballast)?;
    wait_for("receipts to be saved again", RETRY, || {
        download(lab)?;
        let status = lab.node("r2")?.status()?;
        ensure!(status.warnings.is_empty(), "{:?}", status.warnings);
        ensure!(has_offer(lab)?, "no epoch was begun");
        Ok(())
    })
}

fn read_only(lab: &mut Lab) -> Result<()> {
    let state = lab.node("r2")?.files().state();
    let _mounted = Mounted::read_only(&state)?;
    lab.node_mut("r2")?.config.sharing = Some("{fee: 1000}".to_owned());
    lab.node_mut("r1")?.config.pay_any_price();
    village(lab)?;
    says(lab.node("r2")?, "Read-only file system")?;
    // More than may be unpaid, of which nobody could sign anything; at the free rate one takes minutes.
    for _ in 0..3 {
        download(lab)?;
    }
    ensure!(!has_offer(lab)?, "an epoch that is not saved");
    // The other one has a disk, and nothing to save.
    let warnings = lab.node("r1")?.status()?.warnings;
    ensure!(warnings.is_empty(), "{warnings:?}");
    Ok(())
}
