//! What wpa_supplicant is told.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use crate::kernel::radio::channel::Width;
use crate::kernel::radio::settings::RadioSettings;

/// When an SAE frame without an answer is sent again, in milliseconds. A repeated commit makes a
/// neighbor derive everything anew: where that takes longer than the usual second, because the
/// router is slow or has many new neighbors, no handshake would ever be done.
const SAE_RETRANSMIT_MS: u32 = 4000;
/// How long a neighbor may take to open a peer link once SAE is done. The usual 40 ms (IEEE
/// 802.11-2020 annex C) are not enough for a slow router that has to check and encrypt each of
/// these frames: links would be closed half open, and begin again with SAE.
const PEERING: Peering = Peering {
    retries: 8,
    retry_ms: 400,
    confirm_ms: 2000,
};
struct Peering {
    retries: u32,
    retry_ms: u32,
    confirm_ms: u32,
}

/// The text of it. Names and passwords are written as hex digits, so that nothing in them can
/// mean anything else.
pub(super) fn configuration(control: &Path, settings: &RadioSettings) -> Zeroizing<String> {
    let hex = |text: &str| Zeroizing::new(hex::encode(text));
    let key = settings.key.as_ref().map_or("", |key| key.reveal());
    let mut lines = vec![
        ("ssid", hex(&settings.id)),
        ("mode", number(5)),
        ("key_mgmt", Zeroizing::new("SAE".to_owned())),
        ("sae_password", hex(key)),
        ("ieee80211w", number(2)),
        ("frequency", number(settings.channel.frequency_mhz())),
        ("mesh_fwding", number(0)),
        ("dot11MeshMaxRetries", number(PEERING.retries)),
        ("dot11MeshRetryTimeout", number(PEERING.retry_ms)),
        ("dot11MeshConfirmTimeout", number(PEERING.confirm_ms)),
    ];
    let width = settings.channel.width();
    for (key, narrower) in [
        ("disable_ht", width == Width::NoHt),
        ("disable_ht40", matches!(width, Width::NoHt | Width::Ht20)),
        ("disable_vht", width != Width::Vht80),
    ] {
        if narrower {
            lines.push((key, number(1)));
        }
    }
    if let Some(threshold) = settings.rssi_threshold_dbm {
        let threshold = Zeroizing::new(threshold.to_string());
        lines.push(("mesh_rssi_threshold", threshold));
    }
    let mut text = Zeroizing::new(String::new());
    let globals = [
        ("update_config", 0),
        ("user_mpm", 1),
        ("p2p_disabled", 1),
        // Where the mesh is, is known: looking for it on all channels would only take time.
        ("ap_scan", 2),
        ("dot11RSNASAERetransPeriod", SAE_RETRANSMIT_MS),
    ];
    // Writing into a string does not fail.
    let _ = writeln!(text, "ctrl_interface={}", control.display());
    for (key, value) in globals {
        let _ = writeln!(text, "{key}={value}");
    }
    text.push_str("network={\n");
    for (key, value) in lines {
        let _ = writeln!(text, "\t{key}={}", *value);
    }
    text.push_str("}\n");
    text
}

fn number(number: u32) -> Zeroizing<String> {
    Zeroizing::new(number.to_string())
}

/// Writes a file that only we can read, whole or not at all.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(bytes)?;
    fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::kernel::radio::channel::Channel;
    use crate::kernel::radio::settings::{PhyChoice, RadioMode, SaeKey};

    fn settings(width: Width) -> RadioSettings {
        RadioSettings {
            phy: PhyChoice::Any,
            mode: RadioMode::Mesh,
            id: "village\"}".to_owned(),
            channel: Channel::new(5180, width).unwrap(),
            key: Some(SaeKey::new("correct\nhorse")),
            mcast_rate_100kbps: None,
            rssi_threshold_dbm: Some(-80),
        }
    }

    #[test]
    fn nothing_in_a_name_or_password_is_taken_for_a_setting() {
        let text = configuration(Path::new("/run/x"), &settings(Width::Ht20));
        assert_eq!(
            *text,
            "ctrl_interface=/run/x\nupdate_config=0\nuser_mpm=1\np2p_disabled=1\n\
             ap_scan=2\ndot11RSNASAERetransPeriod=4000\nnetwork={\n\
             \tssid=76696c6c616765227d\n\tmode=5\n\tkey_mgmt=SAE\n\
             \tsae_password=636f72726563740a686f727365\n\tieee80211w=2\n\tfrequency=5180\n\
             \tmesh_fwding=0\n\tdot11MeshMaxRetries=8\n\tdot11MeshRetryTimeout=400\n\
             \tdot11MeshConfirmTimeout=2000\n\tdisable_ht40=1\n\tdisable_vht=1\n\
             \tmesh_rssi_threshold=-80\n}\n"
        );
        let wide = configuration(Path::new("/run/x"), &settings(Width::Vht80));
        assert!(!wide.contains("\tdisable"));
    }

    #[test]
    fn what_is_written_only_we_can_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.conf");
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
