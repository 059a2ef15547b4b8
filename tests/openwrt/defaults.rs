//! What happens once after installation.

use crate::router::Router;

fn install(router: &Router) -> String {
    router.run("busybox ash \"$IPKG_INSTROOT/lib/meshd.defaults\"");
    router.read("uci")
}

#[test]
fn a_fresh_router_gets_a_zone_and_a_network_once() {
    let router = Router::new();
    router.write("uci", "firewall.other=zone\n");
    let first = install(&router);
    for line in [
        "firewall.other=zone",
        "firewall.mesh=zone",
        "firewall.mesh.forward=ACCEPT",
        "firewall.mesh.input=REJECT",
        "firewall.mesh.device=meshd+",
        "firewall.lan_to_mesh.dest=mesh",
        "firewall.mesh_to_wan.dest=wan",
        "firewall.mesh_protocol.dest_port=5525-5543",
        "network.mesh=interface",
        "meshd.main.schema=2",
    ] {
        assert!(first.lines().any(|found| found == line), "{line}: {first}");
    }
    assert_eq!(install(&router), first);
}

#[test]
fn what_was_removed_stays_removed() {
    let router = Router::new();
    let kept = "meshd.main.schema=2\n";
    router.write("uci", kept);
    assert_eq!(install(&router), kept);
}

#[test]
fn what_somebody_made_stays_as_it_is() {
    let router = Router::new();
    router.write(
        "uci",
        "firewall.mesh=zone\nfirewall.mesh.input=ACCEPT\nnetwork.mesh=interface\n",
    );
    let after = install(&router);
    assert!(
        !after.contains("firewall.mesh.input=REJECT") && !after.contains("proto=none"),
        "{after}"
    );
}

#[test]
fn the_step_that_was_missing_is_taken() {
    let router = Router::new();
    router.write("uci", "meshd.main.schema=1\n");
    let after = install(&router);
    assert!(
        after.contains("network.mesh.proto=none") && !after.contains("firewall"),
        "{after}"
    );
    assert!(after.contains("meshd.main.schema=2"));
}
