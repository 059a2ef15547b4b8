//! What the kernel of the virtual machine must have, each tried with the tools of the system.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::air::Air;
use mesh_tests::harness::plain;
use mesh_tests::namespace::Namespace;

pub(crate) fn tests() -> Vec<Trial> {
    vec![plain("kernel_has_what_the_laboratory_needs", needs)]
}

/// Modules, each with what uses it.
const NEEDS: [(&str, &str, &str); 6] = [
    ("wireguard", "ip", "link add wg0 type wireguard"),
    ("batman_adv", "ip", "link add bat0 type batadv"),
    ("sch_netem", "tc", "qdisc add dev lo root netem delay 1ms"),
    (
        "vxlan",
        "ip",
        "link add vxlan0 type vxlan external dstport 5526",
    ),
    ("bridge", "ip", "link add br0 type bridge"),
    ("veth", "ip", "link add veth0 type veth peer name veth1"),
];

/// Where frames come in, between ports of a bridge, and where packets leave.
const RULES: &str = "
table netdev test {
    chain in { type filter hook ingress device lo priority 0; numgen random mod 100 < 30 drop; }
}
table bridge test {
    map links { type ifname . ifname : verdict; }
    chain between { type filter hook forward priority 0; iifname . oifname vmap @links; }
}
table inet test {
    set up { type ether_addr; flags dynamic; counter; size 1024; }
    chain in { type filter hook input priority 0; add @up { ether saddr }; }
    chain out { type nat hook postrouting priority srcnat; masquerade; }
}
";

fn needs() -> Result<()> {
    let namespace = Namespace::new("needs")?;
    let mut missing = Vec::new();
    let mut note = |what: &str, result: Result<()>| {
        if let Err(error) = result {
            missing.push(format!("{what}: {error:#}"));
        }
    };
    // Whatever else is missing is to be known as well.
    for (module, program, arguments) in NEEDS {
        note(module, namespace.run(program, arguments).map(drop));
    }
    note("nf_tables", namespace.nft(RULES));
    note("mac80211_hwsim", Air::with_radios(1).map(drop));
    ensure!(missing.is_empty(), "{}", missing.join("\n"));
    Ok(())
}
