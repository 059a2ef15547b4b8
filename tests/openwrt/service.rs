//! The service: what procd is told, and when.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::router::Router;

const LISTED: &str = "config uplinks 'uplinks'\n\toption use 'listed'\n\
                      config uplink 'wan'\n\toption interface 'wan'\n";

#[test]
fn it_runs_only_if_it_is_enabled() {
    let router = Router::new();
    router.configure("config meshd 'main'\n\toption enabled '0'\n");
    router.service("start");
    assert_eq!(router.rendered(), None);
    assert!(!router.was_told("open_instance"));
    // Who enables it later is heard.
    assert!(router.was_told("add_reload_trigger meshd"));

    router.configure("");
    router.service("reload");
    assert!(router.was_told("open_instance"));
}

#[test]
fn procd_is_told_everything() {
    let router = Router::new();
    router.configure("config meshd 'main'\n\toption log_level 'debug'\nconfig lan 'lan'\n\toption interface 'lan'\n");

    router.service("start");

    let root = router.path("");
    let root = root.to_str().unwrap().trim_end_matches('/');
    let yaml = format!("{root}/var/run/meshd/meshd.yaml");
    for line in [
        "open_instance",
        &format!("set_param command {root}/usr/sbin/meshd --config {yaml}"),
        "set_param env RUST_LOG=debug",
        &format!("set_param file {yaml}"),
        "set_param reload_signal HUP",
        // No threshold, a second, and no end.
        "set_param respawn 0 1 0",
        "set_param stdout 1",
        "set_param stderr 1",
        &format!("set_param capabilities {root}/etc/capabilities/meshd.json"),
        "set_param no_new_privs 1",
        "close_instance",
        "add_reload_trigger meshd",
        "add_reload_interface_trigger mesh",
        "add_reload_interface_trigger lan",
    ] {
        assert!(router.was_told(line), "{line}: {:?}", router.told());
    }
    assert!(
        router
            .told()
            .iter()
            .all(|line| !line.starts_with("add_jail"))
    );
    let mode = |path: &str| {
        fs::metadata(router.path(path))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode("var/run/meshd/meshd.yaml"), 0o600);
    assert_eq!(mode("etc/meshd/state"), 0o700);
    // For dnsmasq.
    assert_eq!(mode("var/run/meshd/hosts.d"), 0o755);
}

#[test]
fn a_jail_has_what_meshd_needs() {
    let router = Router::new();
    router.configure("config meshd 'main'\n\toption jail '1'\n");
    router.service("start");
    let root = router.path("");
    let root = root.to_str().unwrap().trim_end_matches('/');
    assert!(router.was_told("add_jail meshd log procfs sysfs"));
    assert!(router.was_told(&format!(
        "add_jail_mount_rw {root}/var/run/meshd {root}/etc/meshd/state {root}/etc/meshd /proc/sys/net"
    )));
}

#[test]
fn without_ujail_it_runs_without() {
    let router = Router::new();
    fs::remove_file(router.path("sbin/ujail")).unwrap();
    router.configure("");
    router.service("start");
    assert!(router.was_told("open_instance"));
    assert!(
        router
            .told()
            .iter()
            .all(|line| !line.contains("capabilities"))
    );
}

#[test]
fn it_waits_for_a_mesh_interface() {
    let router = Router::new();
    router.configure("");
    router.write("networks", "lan br-lan\n");

    router.service("start");

    assert!(!router.was_told("open_instance"));
    assert!(router.was_told("add_reload_interface_trigger mesh"));
    let logged = router.read("logged");
    assert!(logged.contains("no mesh interface is up yet"), "{logged}");

    router.write("networks", "mesh mesh0\n");
    router.service("reload");
    assert!(router.was_told("open_instance"));
}

#[test]
fn a_mesh_interface_that_goes_leaves_meshd_as_it_is() {
    let router = Router::new();
    router.configure("");
    router.service("start");
    let before = router.read("var/run/meshd/meshd.yaml");
    router.write("networks", "lan br-lan\n");
    router.write("procd", "");

    router.service("reload");

    assert!(router.was_told("open_instance"));
    assert_eq!(router.read("var/run/meshd/meshd.yaml"), before);
}

#[test]
fn what_is_wrong_never_replaces_what_is_right() {
    let router = Router::new();
    router.configure("");
    router.service("start");
    let before = router.read("var/run/meshd/meshd.yaml");
    router.configure("config sharing 'sharing'\n\toption credit 'much'\n");
    router.write("procd", "");

    router.service("reload");

    assert!(router.was_told("open_instance"));
    assert_eq!(router.read("var/run/meshd/meshd.yaml"), before);
    assert!(!router.path("var/run/meshd/meshd.yaml.new").exists());
    let logged = router.read("logged");
    assert!(logged.contains("sharing.credit"), "{logged}");
}

#[test]
fn a_restart_hands_over_and_a_stop_ends() {
    let router = Router::new();
    router.configure("");
    router.service("restart");
    assert!(router.was_told("open_instance"));
    assert!(
        router
            .told()
            .iter()
            .all(|line| !line.starts_with("send_signal"))
    );

    router.write("running", "");
    router.write("procd", "");
    router.service("restart");
    assert!(router.was_told("send_signal meshd * USR1"));
    assert!(!router.was_told("kill"));

    router.service("stop");
    assert!(router.was_told("kill"));
    assert_eq!(router.rendered(), None);
}

#[test]
fn listed_uplinks_are_rendered_anew_when_they_come() {
    let router = Router::new();
    router.configure(LISTED);
    let hotplug = |environment: &str| {
        router.write("procd", "");
        router.run(&format!(
            "{environment} busybox ash \"$IPKG_INSTROOT/lib/meshd.hotplug\""
        ));
        router.was_told("open_instance")
    };
    assert!(hotplug("ACTION=ifup INTERFACE=wan"));
    assert!(hotplug("ACTION=ifdown INTERFACE=wan"));
    assert!(!hotplug("ACTION=ifupdate INTERFACE=wan"));
    assert!(!hotplug("ACTION=ifup INTERFACE=guest"));
    // Found by itself.
    router.configure("config uplink 'wan'\n\toption interface 'wan'\n");
    assert!(!hotplug("ACTION=ifup INTERFACE=wan"));
    router.configure(LISTED);
    fs::remove_file(router.path("enabled")).unwrap();
    assert!(!hotplug("ACTION=ifup INTERFACE=wan"));
}
