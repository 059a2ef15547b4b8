//! Prefixes that two nodes announce: one has them, and both know.

use ipnet::IpNet;

use super::net::{Net, ms};
use crate::router::Announcement;
use crate::{OriginatorId, Table};

fn announce(net: &mut Net, node: usize, prefixes: Vec<IpNet>) {
    let announcement = Announcement {
        prefixes,
        ..Announcement::default()
    };
    net.routers[node].announce(net.now, announcement);
    net.drain(node);
    net.run(ms(200));
}

fn conflicts(net: &Net, node: usize) -> Vec<(IpNet, OriginatorId)> {
    net.routers[node].prefix_conflicts().collect()
}

#[test]
fn the_higher_id_loses_a_prefix_and_is_told_until_it_is_its_own_again() {
    let mut net = Net::line(3);
    let prefix: IpNet = "10.1.2.0/24".parse().unwrap();
    for end in [0, 2] {
        announce(&mut net, end, vec![prefix]);
    }
    let (winner, loser) = match net.id(0) < net.id(2) {
        true => (0, 2),
        false => (2, 0),
    };
    assert_eq!(conflicts(&net, loser), [(prefix, net.id(winner))]);
    assert_eq!(conflicts(&net, winner), [(prefix, net.id(loser))]);
    let key = (Table::Mesh, prefix);
    assert!(!net.fibs[winner].contains_key(&key), "it is its own");
    assert!(net.fibs[loser].contains_key(&key), "it leads to the winner");

    announce(&mut net, winner, Vec::new());
    assert_eq!(conflicts(&net, loser), []);
    assert_eq!(conflicts(&net, winner), []);
    assert!(!net.fibs[loser].contains_key(&key));
    assert!(net.fibs[winner].contains_key(&key));

    announce(&mut net, winner, vec![prefix]);
    assert_eq!(conflicts(&net, loser), [(prefix, net.id(winner))]);
    net.give_up(1, winner);
    net.run(ms(200));
    assert_eq!(conflicts(&net, loser), [], "out of reach");
}
