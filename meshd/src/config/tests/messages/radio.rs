//! What is said of radios, and what is not: passwords.

use super::*;

/// A configuration whose only mesh interface is made on a radio with these settings.
fn with_radio(settings: &str) -> String {
    format!("network: village\nmesh:\n  - interface: mesh0\n    radio: {{{settings}}}\n")
}

#[test]
fn a_radio_is_what_its_driver_can_be_told() {
    const FREQUENCY: &str = "the frequency of a channel, such as 2412 or 5180";
    const BAND: &str = "one that its neighbors in the band allow";
    const SAE: &str = "a password of 8 to 128 bytes without control characters";
    const RADIO: &str =
        "phy, mode, id, frequency_mhz, width, key, mcast_rate_kbps, rssi_threshold_dbm";
    for (settings, fault, allowed) in [
        (
            "mode: 802.11s",
            "id: is missing",
            "1 to 32 bytes without control characters",
        ),
        ("id: v", "frequency_mhz: is missing", FREQUENCY),
        (
            "id: v, frequency_mhz: 2413",
            "frequency_mhz: 2413 MHz is no channel",
            FREQUENCY,
        ),
        (
            "id: v, frequency_mhz: 5e3",
            "frequency_mhz: is \"5e3\"",
            FREQUENCY,
        ),
        (
            "id: v, frequency_mhz: -1",
            "frequency_mhz: is \"-1\"",
            FREQUENCY,
        ),
        (
            "id: v, frequency_mhz: 2472, width: ht40+",
            "width: 2472 MHz cannot be ht40+",
            BAND,
        ),
        (
            "id: v, frequency_mhz: 2412, width: vht80",
            "width: 2412 MHz cannot be vht80",
            BAND,
        ),
        (
            "id: v, frequency_mhz: 2412, width: 20",
            "width: is \"20\"",
            "noht, ht20, ht40+, ht40- or vht80",
        ),
        (
            "id: v, frequency_mhz: 2412, mode: ap",
            "mode: is \"ap\"",
            "802.11s or ibss",
        ),
        ("ssid: v", "ssid: unknown key", RADIO),
        (
            "id: v, frequency_mhz: 2412, phy: ../x",
            "phy: is \"../x\"",
            "a radio such as phy0, its Ethernet address such as 02:00:00:00:01:00, or any",
        ),
        (
            "id: v, frequency_mhz: 2412, rssi_threshold_dbm: 80",
            "rssi_threshold_dbm: is \"80\"",
            "-100 to -20, such as -80",
        ),
        (
            "id: v, frequency_mhz: 2412, mcast_rate_kbps: 12",
            "mcast_rate_kbps: is \"12\"",
            "1000, 2000, 5500, 6000, 9000, 11000, 12000, 18000, 24000, 36000, 48000 or 54000",
        ),
        (
            "id: v, frequency_mhz: 5180, mcast_rate_kbps: 1000",
            "mcast_rate_kbps: is a rate of 2.4 GHz",
            "6000, 9000, 12000, 18000, 24000, 36000, 48000 or 54000 at 5 GHz",
        ),
        (
            "id: v, frequency_mhz: 5180, mcast_rate_kbps: 11000",
            "mcast_rate_kbps: is a rate of 2.4 GHz",
            "6000, 9000, 12000, 18000, 24000, 36000, 48000 or 54000 at 5 GHz",
        ),
        (
            "id: v, frequency_mhz: 2412, mode: ibss, key: {sae: 12345678}",
            "key: is for 802.11s only",
            "mode: 802.11s",
        ),
        (
            "id: v, frequency_mhz: 2412, mcast_rate_kbps: 12000, key: {sae: 12345678}",
            "mcast_rate_kbps: cannot be set in an encrypted mesh",
            "the driver's own rate",
        ),
        (
            "id: v, frequency_mhz: 2412, width: ht40+, key: {sae: 12345678}",
            "width: cannot be ht40+ at 2.4 GHz in an encrypted mesh",
            "noht or ht20",
        ),
        (
            "id: v, frequency_mhz: 2412, key: {sae: horse}",
            "key.sae: is 5 bytes long",
            SAE,
        ),
        (
            "id: v, frequency_mhz: 2412, key: {sae: }",
            "key.sae: has no value",
            SAE,
        ),
        (
            "id: v, frequency_mhz: 2412, key: horse",
            "key: is not a mapping with sae alone",
            "such as {sae: PASSWORD}",
        ),
    ] {
        let said = message(&with_radio(settings));
        assert_eq!(
            said,
            format!("4: mesh[0].radio.{fault}; allowed: {allowed}"),
            "{settings}"
        );
    }
}

#[test]
fn an_encrypted_mesh_is_wide_at_5_ghz_only() {
    let key = "key: {sae: 12345678}";
    for channel in [
        format!("frequency_mhz: 2412, width: ht20, {key}"),
        format!("frequency_mhz: 5180, width: ht40+, {key}"),
        "frequency_mhz: 2412, width: ht40+".to_owned(),
    ] {
        let settings = format!("id: v, {channel}");
        assert!(parse(&with_radio(&settings)).is_ok(), "{settings}");
    }
}

#[test]
fn station_data_counts_or_not() {
    let said = message("network: v\nmesh: [{interface: a, station_data: maybe}]\n");
    assert_eq!(
        said,
        "2: mesh[0].station_data: is \"maybe\"; allowed: on or off"
    );
}

#[test]
fn a_password_is_in_no_message() {
    for settings in [
        "id: v, frequency_mhz: 2412, key: {sae: [correct horse]}",
        "id: v, frequency_mhz: 2412, key: {sae: \"correct\\u0007horse\"}",
        "id: v, frequency_mhz: 2413, key: {sae: correct horse}",
        // The blank after a colon makes a key of what is before it.
        "id: v, frequency_mhz: 2412, key:horse",
        "id: v, frequency_mhz: 2412, sae:horse",
        "id: v, frequency_mhz: 2412, sae:horse: x",
    ] {
        let said = message(&with_radio(settings));
        assert!(!said.contains("horse"), "{said}");
    }
    let said = message(&with_radio("id: v, key:horse"));
    assert!(
        said.starts_with("4: mesh[0].radio.key:…: unknown key, did you mean key?"),
        "{said}"
    );
    let said = message("network: v\nmesh: [{interface: mesh0, radio: key:horse}]\n");
    assert!(
        said.starts_with("2: mesh[0].radio: is \"key:…\"; allowed"),
        "{said}"
    );
    let config = parse(&with_radio(
        "id: v, frequency_mhz: 2412, key: {sae: correct horse}",
    ));
    let shown = format!("{config:?}");
    assert!(!shown.contains("horse"), "{shown}");
}
