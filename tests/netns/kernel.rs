//! What meshd expects from a kernel, each tried with nothing but the tools of the system.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::harness::in_lab;
use mesh_tests::internet::HOST_V4;
use mesh_tests::lab::Lab;
use mesh_tests::namespace::Namespace;
use mesh_tests::probe::reachable;
use mesh_tests::topology::Topology;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        in_lab(
            "kernel_routes_ipv4_over_ipv6_neighbors",
            || Topology::line(2),
            v4_via_v6,
        ),
        in_lab(
            "kernel_tunnels_to_a_gateway_per_route",
            || Topology::line(3),
            tunnel,
        ),
        in_lab(
            "kernel_counts_bytes_per_neighbor",
            || Topology::line(2),
            counters,
        ),
    ]
}

const PATIENCE: Duration = Duration::from_secs(2);

/// fe80:: with the EUI-64 of the radio address that the laboratory gives the Nth router.
fn link_local(number: u8) -> String {
    format!("fe80::ff:fe00:{number:x}")
}

fn v4_via_v6(lab: &mut Lab) -> Result<()> {
    for (router, other) in [(1, 2), (2, 1)] {
        lab.node(&format!("r{router}"))?
            .namespace()
            .ip_batch(&format!(
                "addr add 100.64.0.{router}/32 dev lo\n\
                 route add 100.64.0.{other} via inet6 {} dev mesh0 src 100.64.0.{router}\n",
                link_local(other)
            ))
            .context("IPv4 routes with an IPv6 next hop (Linux 5.2)")?;
    }
    let other = ["100.64.0.2".parse()?];
    let answered = reachable(lab.node("r1")?.namespace(), &other, PATIENCE)?;
    ensure!(answered.len() == 1, "100.64.0.2 does not answer");
    Ok(())
}

/// One end of the gateway tunnel: an external VXLAN device whose routes carry the other end. What routes encapsulate carries no UDP checksum, which over IPv6 has to be allowed.
fn tunnel_end(node: &Namespace, own: u8, peer: u8) -> Result<()> {
    node.ip_batch(&format!(
        "addr add fd77::{own}/128 dev lo\n\
         link add meshd0 address 02:77:00:00:00:{own:02x} type vxlan external nolearning \
         dstport 5526 udp6zerocsumrx\n\
         link set meshd0 mtu 1430\n\
         addr add 100.64.0.{own}/32 dev meshd0\n\
         neigh add fe80::77:{peer} lladdr 02:77:00:00:00:{peer:02x} dev meshd0 nud permanent\n",
    ))
    .context("an external VXLAN device (kernel module `vxlan`)")?;
    node.bring_up("meshd0")?;
    node.settle()
}

fn encapsulated(prefix: &str, own: u8, peer: u8) -> String {
    format!(
        "-4 route add {prefix} table 5526 encap ip6 id 7 dst fd77::{peer} src fd77::{own} hoplimit 64 \
         via inet6 fe80::77:{peer} dev meshd0"
    )
}

fn tunnel(lab: &mut Lab) -> Result<()> {
    lab.add_phone("r1")?;
    lab.add_uplink("r3")?;
    lab.settle()?;
    let [r1, r2, r3] = ["r1", "r2", "r3"].map(|name| lab.node(name));
    let [r1, r2, r3] = [r1?, r2?, r3?].map(|node| node.namespace().clone());
    let (one, two, three) = (link_local(1), link_local(2), link_local(3));
    tunnel_end(&r1, 1, 3)?;
    tunnel_end(&r3, 3, 1)?;
    r1.ip(&format!("route add fd77::3 via {two} dev mesh0"))?;
    r3.ip(&format!("route add fd77::1 via {two} dev mesh0"))?;
    r2.ip_batch(&format!(
        "route add fd77::1 via {one} dev mesh0\nroute add fd77::3 via {three} dev mesh0\n"
    ))?;
    r2.set("net/ipv6/conf/all/forwarding", "1")?;
    for (router, routes) in [
        (&r1, encapsulated("default", 1, 3)),
        (&r3, encapsulated("100.64.0.1", 3, 1)),
    ] {
        router.set("net/ipv4/ip_forward", "1")?;
        router
            .ip(&routes)
            .context("routes with encapsulation (CONFIG_LWTUNNEL)")?;
        router.ip("rule add pref 31100 lookup 5526")?;
    }
    for (router, interface) in [(&r1, "meshd0"), (&r3, "wan0")] {
        router
            .nft(&format!(
                "table inet test {{\nchain post {{\n\
                 type nat hook postrouting priority srcnat;\noifname \"{interface}\" masquerade\n}}\n}}\n"
            ))
            .context("NAT (kernel modules `nf_nat`, `nft_masq`)")?;
    }
    // Replies to the phone must not follow the rule for what goes out.
    r1.ip("rule add pref 31000 lookup main suppress_prefixlength 0")?;
    r3.ip("rule add pref 31000 lookup main suppress_prefixlength 0")?;
    let answered = reachable(lab.node("r1")?.phone()?, &[HOST_V4], PATIENCE)?;
    ensure!(
        answered.len() == 1,
        "the Internet does not answer through the tunnel"
    );
    Ok(())
}

fn counters(lab: &mut Lab) -> Result<()> {
    let r2 = lab.node("r2")?.namespace();
    r2.nft(
        "table inet test {\n\
         set up { type ether_addr; flags dynamic; counter; size 1024; }\n\
         set down { type ipv6_addr; flags dynamic; counter; size 1024; }\n\
         chain in { type filter hook input priority 0; iifname \"mesh0\" add @up { ether saddr }\n}\n\
         chain out { type filter hook output priority 0; oifname \"mesh0\" add @down { rt ip6 nexthop }\n}\n\
         }\n",
    )
    .context("dynamic sets with counters (kernel module `nf_tables`)")?;
    let r1 = lab.node("r1")?.namespace();
    for (router, own, other) in [(r1, 1, 2), (r2, 2, 1)] {
        router.ip_batch(&format!(
            "addr add fd77::{own}/128 dev lo\n\
             route add fd77::{other} via {} dev mesh0\n",
            link_local(other)
        ))?;
        router.settle()?;
    }
    let answered = reachable(r1, &["fd77::2".parse()?], PATIENCE)?;
    ensure!(answered.len() == 1, "fd77::2 does not answer");
    let sets = r2.run("nft", "list table inet test")?;
    for expected in [
        "02:00:00:00:00:01 counter packets",
        &format!("{} counter packets", link_local(1)),
    ] {
        ensure!(sets.contains(expected), "no {expected:?} in {sets}");
    }
    Ok(())
}
