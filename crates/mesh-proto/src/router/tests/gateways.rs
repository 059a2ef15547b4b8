//! Gateways: which is chosen, and what follows.

use ipnet::IpNet;

use super::net::{Net, host, ms, network};
use crate::gateway_policy::{Allowed, Policy, Refusal};
use crate::gateway_selection::Verdict;
use crate::router::{Announcement, Event};
use crate::{
    GatewayOffer, OriginatorId, RouteChange, Table, Target, Tunnel, Tunnels, WireguardKey,
};

fn offer(down_bps: u64) -> Announcement {
    Announcement {
        gateway: Some(GatewayOffer {
            down_bps,
            up_bps: down_bps / 4,
            ipv4: true,
            ipv6: false,
            dns: Vec::new(),
        }),
        ..Announcement::default()
    }
}

fn default_route(net: &Net, node: usize) -> Option<Target> {
    let prefix: IpNet = "0.0.0.0/0".parse().unwrap();
    net.fibs[node].get(&(Table::Tunnel, prefix)).copied()
}

/// Where the default routes of both families lead.
fn default_routes(net: &Net, node: usize) -> [Option<usize>; 2] {
    ["0.0.0.0/0", "::/0"].map(|prefix| {
        let prefix: IpNet = prefix.parse().unwrap();
        let target = net.fibs[node].get(&(Table::Tunnel, prefix))?;
        (0..net.routers.len()).find(|to| *target == vxlan(net.id(*to)))
    })
}

/// The way into a tunnel of VXLAN.
fn vxlan(peer: OriginatorId) -> Target {
    Target::Tunnel {
        peer,
        tunnel: Tunnel::Vxlan,
    }
}

/// The same offer for other families.
fn carrying(ipv4: bool, ipv6: bool) -> Announcement {
    let gateway = offer(20_000_000).gateway.map(|offer| GatewayOffer {
        ipv4,
        ipv6,
        ..offer
    });
    Announcement {
        gateway,
        ..Announcement::default()
    }
}

fn announce(net: &mut Net, node: usize, announcement: Announcement) {
    net.routers[node].announce(net.now, announcement);
    net.drain(node);
    net.run(ms(200));
}

#[test]
fn the_gateway_in_reach_is_used_until_it_withdraws() {
    let mut net = Net::line(3);
    assert_eq!(net.routers[0].gateway(), None);
    announce(&mut net, 2, offer(20_000_000));
    let peer = net.id(2);
    assert_eq!(net.routers[0].gateway().map(|(id, _)| id), Some(peer));
    assert_eq!(default_route(&net, 0), Some(vxlan(peer)));
    let changed = Event::GatewayChanged {
        from: None,
        to: Some(peer),
    };
    assert!(net.events[0].contains(&changed));
    assert!(net.events[0].contains(&Event::GatewaysChanged));
    assert!(net.events[2].contains(&Event::GatewaysChanged), "its own");
    let addresses = net.routers[0].gateway_addresses();
    let addresses: Vec<_> = addresses.map(|(address, _)| address).collect();
    assert_eq!(addresses, [network().mesh_ipv6(peer)]);

    announce(&mut net, 2, Announcement::default());
    assert_eq!(net.routers[0].gateway(), None);
    assert_eq!(default_route(&net, 0), None);
    assert_eq!(net.routers[0].gateway_addresses().count(), 0);
}

#[test]
fn a_gateway_has_the_way_back_to_every_node() {
    let mut net = Net::line(3);
    announce(&mut net, 2, offer(20_000_000));
    for node in 0..2 {
        let peer = net.id(node);
        let back = net.fibs[2].get(&(Table::Tunnel, host(peer)));
        assert_eq!(back, Some(&vxlan(peer)));
    }
    assert_eq!(default_route(&net, 2), None, "it has an uplink of its own");
    announce(&mut net, 2, Announcement::default());
    let tunnels = net.fibs[2]
        .keys()
        .filter(|(table, _)| *table == Table::Tunnel);
    assert_eq!(tunnels.count(), 0);
}

#[test]
fn both_ends_use_the_best_tunnel_that_both_know() {
    let vxlan = Tunnels::VXLAN;
    let wireguard = Tunnels::wireguard(WireguardKey::from_bytes([3; 32]));
    let both = wireguard.or_vxlan();
    for (client, gateway, expected) in [
        (both, both, Some("wireguard")),
        (vxlan, both, Some("vxlan")),
        (both, vxlan, Some("vxlan")),
        (wireguard, vxlan, None),
    ] {
        let mut net = Net::line(3);
        announce(&mut net, 2, offer(20_000_000));
        for (node, tunnels) in [(0, client), (2, gateway)] {
            net.tunnels[node] = tunnels;
            net.restart(node, true);
        }
        announce(&mut net, 2, offer(20_000_000));
        // Until what was adopted and is not confirmed is gone.
        net.run(ms(12_000));
        let target = |node: usize, key| match net.fibs[node].get(&key) {
            Some(Target::Tunnel { peer, tunnel }) => Some((*peer, tunnel.name())),
            _ => None,
        };
        let there = (Table::Tunnel, "0.0.0.0/0".parse().unwrap());
        let there = target(0, there);
        let back = target(2, (Table::Tunnel, host(net.id(0))));
        assert_eq!(there, expected.map(|it| (net.id(2), it)), "{expected:?}");
        assert_eq!(back, expected.map(|it| (net.id(0), it)), "{expected:?}");
        if expected.is_none() {
            let verdicts = net.routers[0].gateways().into_iter();
            let verdict = verdicts.map(|it| it.verdict).next_back();
            assert_eq!(verdict, Some(Verdict::Refused(Refusal::NoTunnel)));
        }
    }
}

#[test]
fn both_ends_follow_the_other_to_a_new_key() {
    let mut net = Net::line(3);
    let keys = [1, 2].map(|byte| WireguardKey::from_bytes([byte; 32]));
    announce(&mut net, 2, offer(20_000_000));
    for node in [0, 2] {
        net.tunnels[node] = Tunnels::wireguard(keys[0]);
        net.restart(node, false);
    }
    announce(&mut net, 2, offer(20_000_000));
    net.run(ms(12_000));
    let there = (Table::Tunnel, "0.0.0.0/0".parse().unwrap());
    let back = (Table::Tunnel, host(net.id(0)));
    let key = |net: &Net, node: usize, key| match net.fibs[node].get(&key) {
        Some(Target::Tunnel { tunnel, .. }) => Some(*tunnel),
        _ => None,
    };
    for (node, follows, route) in [(0, 2, back), (2, 0, there)] {
        assert_eq!(key(&net, follows, route), Some(Tunnel::Wireguard(keys[0])));
        net.tunnels[node] = Tunnels::wireguard(keys[1]);
        net.restart(node, false);
        announce(&mut net, 2, offer(20_000_000));
        net.run(ms(12_000));
        assert_eq!(key(&net, follows, route), Some(Tunnel::Wireguard(keys[1])));
    }
}

#[test]
fn a_much_better_gateway_takes_over_and_a_lost_one_is_replaced() {
    let mut net = Net::line(3);
    announce(&mut net, 0, offer(1_000_000));
    let chosen = |net: &Net| net.routers[1].gateway().map(|(id, _)| id);
    assert_eq!(chosen(&net), Some(net.id(0)));
    announce(&mut net, 2, offer(1_100_000));
    assert_eq!(chosen(&net), Some(net.id(0)), "hardly better");
    announce(&mut net, 2, offer(20_000_000));
    assert_eq!(chosen(&net), Some(net.id(2)), "much better");

    net.changes[1].clear();
    net.give_up(1, 2);
    assert_eq!(chosen(&net), Some(net.id(0)));
    let removed = |change: &&RouteChange| {
        matches!(
            change,
            RouteChange::Remove {
                table: Table::Tunnel,
                ..
            }
        )
    };
    let removals = net.changes[1].iter().filter(removed).count();
    assert_eq!(removals, 0, "replaced without a gap");
}

/// The routes of the gateway that is used next are there before it is, and it is the same one while it is no
/// worse than others.
#[test]
fn the_next_gateway_is_ready() {
    let mut net = Net::line(4);
    let marked = |net: &Net, node: usize| -> Vec<Option<usize>> {
        let routes = net.fibs[node].iter();
        let marked = routes.filter(|((table, _), _)| matches!(table, Table::Marked(_)));
        let of = |target: &Target| (0..4).find(|to| *target == vxlan(net.id(*to)));
        marked.map(|(_, target)| of(target)).collect()
    };
    announce(&mut net, 0, offer(20_000_000));
    assert_eq!(marked(&net, 1), [Some(0)]);
    announce(&mut net, 2, offer(2_000_000));
    assert_eq!(default_route(&net, 1), Some(vxlan(net.id(0))));
    assert_eq!(marked(&net, 1), [Some(0), Some(2)]);
    announce(&mut net, 3, offer(2_100_000));
    assert_eq!(marked(&net, 1), [Some(0), Some(2)], "one is enough");
    assert_eq!(marked(&net, 0), [Some(2)], "for the day its own line fails");
    announce(&mut net, 2, Announcement::default());
    assert_eq!(marked(&net, 1), [Some(0), Some(3)]);
}

#[test]
fn a_gateway_that_is_forgotten_is_reported() {
    let mut net = Net::line(2);
    announce(&mut net, 1, offer(20_000_000));
    net.cut(0, 1);
    net.run(ms(30_000));
    net.events[0].clear();
    net.run(ms(70_000));
    assert_eq!(net.events[0], [Event::GatewaysChanged]);
    assert_eq!(net.routers[0].gateway_addresses().count(), 0);
}

/// Nothing is sent to a gateway before it is chosen, so nobody has looked at the way to it.
#[test]
fn the_way_to_a_new_gateway_is_watched() {
    let mut net = Net::line(3);
    net.routers[2].announce(net.now, offer(20_000_000));
    net.drain(2);
    net.run_until(ms(300), |net| {
        let watched = |node: usize| net.routers[node].neighbors(net.now).all(|it| it.watched);
        net.routers[0].gateway().is_some() && watched(0) && watched(1)
    });
}

#[test]
fn each_family_goes_through_a_gateway_that_carries_it() {
    let mut net = Net::line(3);
    announce(&mut net, 0, carrying(true, false));
    assert_eq!(default_routes(&net, 1), [Some(0), None]);
    announce(&mut net, 2, carrying(true, true));
    assert_eq!(default_routes(&net, 1), [Some(0), Some(2)]);
    assert_eq!(net.routers[1].gateway().map(|(id, _)| id), Some(net.id(0)));

    net.events[1].clear();
    announce(&mut net, 2, carrying(false, true));
    assert_eq!(default_routes(&net, 1), [Some(0), Some(2)]);
    announce(&mut net, 0, carrying(true, true));
    assert_eq!(default_routes(&net, 1), [Some(0), Some(0)], "both one way");
    assert_eq!(
        net.events[1],
        [Event::NodeChanged(net.id(2)), Event::NodeChanged(net.id(0))]
    );

    let (from, to) = (Some(net.id(0)), Some(net.id(2)));
    announce(&mut net, 0, Announcement::default());
    assert_eq!(default_routes(&net, 1), [None, Some(2)]);
    assert!(net.events[1].contains(&Event::GatewayChanged { from, to }));
}

#[test]
fn a_gateway_uses_others_for_what_it_does_not_carry() {
    let mut net = Net::line(2);
    announce(&mut net, 0, carrying(true, false));
    announce(&mut net, 1, carrying(true, true));
    assert_eq!(default_routes(&net, 0), [None, Some(1)]);
    assert_eq!(default_routes(&net, 1), [None, None]);
    announce(&mut net, 0, carrying(true, true));
    assert_eq!(default_routes(&net, 0), [None, None]);
    announce(&mut net, 0, carrying(false, true));
    assert_eq!(default_routes(&net, 0), [Some(1), None]);
}

#[test]
fn the_policy_is_followed_at_once() {
    let mut net = Net::line(3);
    let named = |name: &str| Announcement {
        name: name.to_owned(),
        ..carrying(true, true)
    };
    announce(&mut net, 0, named("mill"));
    announce(&mut net, 2, named("school"));
    assert_eq!(default_routes(&net, 1), [Some(0), Some(0)]);
    let school = || "school".parse().unwrap();
    let follow = |net: &mut Net, policy: Policy| {
        net.routers[1].set_gateway_policy(net.now, policy);
        net.drain(1);
    };
    let preferring = Policy {
        prefer: vec![school()],
        ..Policy::default()
    };
    follow(&mut net, preferring.clone());
    assert_eq!(default_routes(&net, 1), [Some(2), Some(2)]);
    announce(&mut net, 0, named("school"));
    announce(&mut net, 2, named("mill"));
    assert_eq!(default_routes(&net, 1), [Some(0), Some(0)], "renamed");

    follow(
        &mut net,
        Policy {
            never: vec![school()],
            ..preferring
        },
    );
    assert_eq!(default_routes(&net, 1), [Some(2), Some(2)]);
    let views = net.routers[1].gateways();
    let verdicts: Vec<_> = views.iter().map(|it| (it.id, it.verdict)).collect();
    let refused = Verdict::Refused(Refusal::Never);
    assert_eq!(verdicts, [(net.id(2), Verdict::Best), (net.id(0), refused)]);

    follow(
        &mut net,
        Policy {
            allowed: Allowed::Nobody,
            ..Policy::default()
        },
    );
    assert_eq!(default_routes(&net, 1), [None, None]);
}
