//! What right configurations mean; the modules have the wrong ones.

mod anything;
mod machine;
mod messages;

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;

use mesh_proto::Price;
use mesh_proto::gateway_policy::{Allowed, NodePattern};

use super::*;
use crate::kernel::radio::{Channel, PhyChoice, RadioMode, Width};
use crate::uplink::{Check, Resolver, Resolvers};

const EXAMPLE: &str = include_str!("../../../config/meshd.yaml");
const MINIMAL: &str = "network: village\nmesh: [{interface: mesh0}]\n";
const NETWORK: &str = "1 to 32 of the letters a-z and A-Z, digits, '-', '_' and '.'";

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, "m.yaml")
}

/// The message for `text`, without the file's name.
#[track_caller]
fn message(text: &str) -> String {
    match parse(text) {
        Ok(_) => panic!("was accepted: {text}"),
        Err(error) => error
            .to_string()
            .strip_prefix("m.yaml:")
            .unwrap()
            .to_owned(),
    }
}

#[test]
fn two_keys_are_enough() {
    let config = parse(MINIMAL).unwrap();
    assert_eq!(config.network().as_str(), "village");
    assert_eq!(config.name(), &NodeName::of_this_host());
    assert_eq!(config.identity(), FilePath::new("/etc/meshd/identity.key"));
    assert_eq!(config.state(), FilePath::new("/var/lib/meshd"));
    assert_eq!(config.control(), FilePath::new("/run/meshd/control.sock"));
    assert_eq!(config.mesh().len(), 1);
    assert_eq!(config.mesh()[0].interface().as_str(), "mesh0");
    assert!(config.lan().is_empty());
    assert_eq!(config.uplink().interface(), &UplinkInterface::Auto);
    assert_eq!(config.uplink().bandwidth("wan"), None);
    assert_eq!(config.gateways(), &Policy::default());
    assert_eq!(config.sharing().fee(), Price::FREE);
    assert_eq!(config.sharing().credit_bytes(), 8 << 20);
    assert_eq!(config.sharing().stranger_credit_bytes(), 1 << 20);
    assert_eq!(config.sharing().free_bps(), 256_000);
    assert!(config.sharing().settlement().is_empty());
    assert!(config.sharing().throughput_tests());
}

#[test]
fn the_example_is_right_and_shows_every_key() {
    let config = Config::parse(EXAMPLE, "config/meshd.yaml").unwrap();
    assert_eq!(config.lan()[0].mode(), &LanMode::Masquerade);
    assert_eq!(config.lan()[1].prefixes().len(), 2);
    let root = document::read(EXAMPLE).unwrap();
    let known = [
        ("mesh", MESH_KEYS),
        ("lan", lan::KEYS),
        ("uplink", UPLINK_KEYS),
        ("gateways", gateways::KEYS),
        ("sharing", sharing::KEYS),
        ("status_page", status_page::KEYS),
    ];
    assert_eq!(keys_shown(&root), ROOT_KEYS);
    for (key, keys) in known {
        let node = Fields::of(&root, Path::default(), ROOT_KEYS)
            .unwrap()
            .node(key)
            .unwrap();
        assert_eq!(keys_shown(node), keys, "{key}");
    }
    let Some(Node::List(mesh)) = Fields::of(&root, Path::default(), ROOT_KEYS)
        .unwrap()
        .node("mesh")
    else {
        panic!("mesh is no list")
    };
    let Node::Map(with_radio) = &mesh[1] else {
        panic!("no mapping")
    };
    let radio = with_radio.iter().find(|(key, _)| key == "radio").unwrap();
    assert_eq!(keys_shown(&radio.1), radio::KEYS);
}

/// The keys of a mapping, or of the mapping with the most keys in a list.
fn keys_shown(node: &Node) -> Vec<&str> {
    match node {
        Node::Map(entries) => entries.iter().map(|(key, _)| key.as_str()).collect(),
        Node::List(items) => items
            .iter()
            .map(keys_shown)
            .max_by_key(Vec::len)
            .unwrap_or_default(),
        Node::Null | Node::Scalar(_) | Node::Tagged => Vec::new(),
    }
}

#[test]
fn what_the_example_shows_as_default_is_the_default() {
    let (example, minimal) = (parse(EXAMPLE).unwrap(), parse(MINIMAL).unwrap());
    assert_eq!(example.restart_keys_changed(&minimal), Vec::<&str>::new());
    assert_eq!(example.uplink().interface(), minimal.uplink().interface());
    assert_eq!(example.uplink().check(), minimal.uplink().check());
    assert_eq!(example.uplink().resolvers(), minimal.uplink().resolvers());
    assert_eq!(example.sharing(), minimal.sharing());
    assert_eq!(example.gateways(), minimal.gateways());
    assert_eq!(example.numbers(), minimal.numbers());
}

#[test]
fn nothing_is_paid_unless_the_most_is_said() {
    for (text, most) in [
        ("", Some(0)),
        ("gateways:\n  maximum_price:\n", Some(0)),
        ("gateways: {maximum_price: 0}\n", Some(0)),
        ("gateways: {maximum_price: 7}\n", Some(7)),
        ("gateways: {maximum_price: any}\n", None),
    ] {
        let config = parse(&format!("{MINIMAL}{text}")).unwrap();
        let said = config.gateways().maximum_price;
        assert_eq!(said, most.map(Price::new), "{text}");
    }
}

#[test]
fn resolvers_are_public_or_our_own() {
    let uplink = |text: &str| {
        let config = parse(&format!("{MINIMAL}uplink: {{{text}}}\n"));
        config.map(|config| config.uplink().clone())
    };
    let minimal = uplink("").unwrap();
    assert_eq!(minimal.check(), &Check::On);
    assert_eq!(uplink("check: []").unwrap().check(), &Check::Off);
    assert_eq!(minimal.resolvers(), &Resolvers::Auto);
    assert_eq!(uplink("resolvers: auto").unwrap(), minimal);
    let named = uplink("resolvers: [9.9.9.9, self, \"2620:fe::fe\"]").unwrap();
    let list = [
        Resolver::Address("9.9.9.9".parse().unwrap()),
        Resolver::Own,
        Resolver::Address("2620:fe::fe".parse().unwrap()),
    ];
    assert_eq!(named.resolvers(), &Resolvers::Named(list.to_vec()));
    for (text, words) in [
        ("resolvers: [192.168.1.1]", "uplink.resolvers[0]"),
        ("resolvers: self", "auto, or a list"),
        ("resolvers: []", "is empty"),
        (
            "resolvers: [1.1.1.1, 1.1.1.2, 1.1.1.3, 1.1.1.4, 1.1.1.5]",
            "at most 4",
        ),
    ] {
        let error = uplink(text).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn everything_can_be_said_at_once() {
    let config = parse(
        "network: village\nname: router-1\nidentity: /a/key\nstate: /b\ncontrol: /c/sock\n\
         mesh: [{interface: mesh0}, {interface: mesh1}]\n\
         lan: [{interface: br-lan}, {interface: eth1, mode: routed, prefixes: [10.1.2.0/24, fd12::/64]}]\n\
         uplink: {interface: eth0, bandwidth: 20M/500k}\n\
         gateways: {prefer: [mill, 01234567], avoid: [a b], never: [\"off\"], pin: ABCDEF0123,\n\
         \x20 maximum_price: 7}\n\
         sharing: {fee: 18446744073709551615, credit: 1GiB, stranger_credit: 64KiB,\n\
         \x20 free_rate: 1M, settlement: [203.0.113.7, \"2001:db8::7\"],\
         \x20 throughput_tests: refused}\n",
    )
    .unwrap();
    assert_eq!(config.name().as_str(), "router-1");
    assert_eq!(config.mesh()[1].interface().as_str(), "mesh1");
    assert_eq!(config.lan()[0].mode(), &LanMode::Masquerade);
    let prefixes = vec!["10.1.2.0/24".parse().unwrap(), "fd12::/64".parse().unwrap()];
    assert_eq!(config.lan()[1].mode(), &LanMode::Routed { prefixes });
    let names = config.uplink().interface().names();
    assert!(matches!(names, [name] if name.as_str() == "eth0"));
    let bandwidth = config.uplink().bandwidth("eth0").unwrap();
    assert_eq!(
        (bandwidth.down_bps(), bandwidth.up_bps()),
        (20_000_000, 500_000)
    );
    let nodes = |texts: &[&str]| -> Vec<NodePattern> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    };
    let policy = Policy {
        prefer: nodes(&["mill", "01234567"]),
        avoid: nodes(&["a b"]),
        never: nodes(&["off"]),
        allowed: Allowed::Only("abcdef0123".parse().unwrap()),
        maximum_price: Some(Price::new(7)),
    };
    assert_eq!(config.gateways(), &policy);
    assert_eq!(config.sharing().fee(), Price::new(u64::MAX));
    assert_eq!(config.sharing().credit_bytes(), 1 << 30);
    assert_eq!(config.sharing().stranger_credit_bytes(), 64 << 10);
    assert_eq!(config.sharing().free_bps(), 1_000_000);
    let settlement = ["203.0.113.7", "2001:db8::7"].map(|it| it.parse::<IpAddr>().unwrap());
    assert_eq!(config.sharing().settlement(), settlement);
    assert!(!config.sharing().throughput_tests());
}

#[test]
fn scalars_mean_what_was_written_whatever_yaml_makes_of_them() {
    for name in [
        "0123",
        "1.10",
        "1e3",
        "0x10",
        "true",
        "off",
        "No",
        "2026-11-22",
        "1_000",
        ".5",
    ] {
        let text = format!("network: {name}\nmesh: [{{interface: {name}}}]\n");
        let config = parse(&text).unwrap();
        assert_eq!(config.network().as_str(), name);
        assert_eq!(config.mesh()[0].interface().as_str(), name);
    }
    for off in ["off", "OFF", "'off'", "false", "no"] {
        let config = parse(&format!("{MINIMAL}uplink: {{interface: {off}}}\n")).unwrap();
        assert_eq!(config.uplink().interface(), &UplinkInterface::Off);
    }
}

#[test]
fn bandwidth_is_said_of_all_uplinks_or_of_each() {
    let down = |uplink: &str, interface: &str| {
        let config = parse(&format!("{MINIMAL}uplink: {{{uplink}}}\n")).unwrap();
        let bandwidth = config.uplink().bandwidth(interface);
        bandwidth.map(|it| it.down_bps() / 1_000_000)
    };
    let all = "interface: [wan, lte0], bandwidth: 20M/5M";
    assert_eq!([down(all, "wan"), down(all, "lte0")], [Some(20); 2]);
    let each = "interface: [wan, lte0], bandwidth: {wan: 50M/10M, lte0: 20M/5M}";
    assert_eq!(down(each, "wan"), Some(50));
    assert_eq!(down(each, "lte0"), Some(20));
    let one = "bandwidth: {lte0: 20M/5M}";
    assert_eq!(down(one, "lte0"), Some(20));
    assert_eq!(down(one, "wan"), None, "that is measured");
}

#[test]
fn an_empty_value_is_a_missing_one() {
    let config = parse(&format!(
        "{MINIMAL}lan:\nuplink:\n  bandwidth: ~\nsharing: null\n"
    ))
    .unwrap();
    assert!(config.lan().is_empty());
    assert_eq!(config.uplink().interface(), &UplinkInterface::Auto);
    assert_eq!(
        message("mesh: [{interface: mesh0}]\nnetwork:\n"),
        format!("2: network: has no value; allowed: {NETWORK}")
    );
}

#[test]
fn anchors_line_ends_and_a_byte_order_mark_are_yaml_too() {
    let config =
        parse("\u{feff}network: &n village\r\nname: *n\r\nmesh: [{interface: mesh0}]\r\n---\n");
    assert_eq!(
        config.unwrap_err().to_string(),
        "m.yaml:4: document: a second document begins; allowed: one document"
    );
    let config =
        parse("---\nnetwork: &n village\r\nname: *n\r\nmesh: [{interface: mesh0}]\r\n...\n");
    assert_eq!(config.unwrap().name().as_str(), "village");
}

#[test]
fn lines_are_right_wherever_the_fault_is() {
    let lines = [
        "# a comment",
        "network: village",
        "mesh:",
        "  - interface: mesh0",
        "",
        "  - interface:",
        "      mesh1",
        "lan: [ {interface: a},",
        "       {interface: b, mode: routed, prefixes: [",
        "          10.1.0.0/16,",
        "          10.2.0.0/16 ] } ]",
        "uplink:",
        "",
        "  # another",
        "  bandwidth: 1M/1M",
        "sharing: {",
        "  fee: 7,",
        "  credit: 1MiB }",
        "state: /x",
    ];
    parse(&lines.join("\n")).unwrap();
    let root = Path::default();
    let (mesh, lan) = (root.key("mesh"), root.key("lan"));
    let text = lines.join("\n");
    for (path, line) in [
        (root.clone(), 2),
        (root.key("network"), 2),
        (mesh.clone(), 3),
        (mesh.index(0), 4),
        (mesh.index(0).key("interface"), 4),
        (mesh.index(1), 6),
        (mesh.index(1).key("interface"), 6),
        (lan.clone(), 8),
        (lan.index(0).key("interface"), 8),
        (lan.index(1).key("prefixes"), 9),
        (lan.index(1).key("prefixes").index(0), 10),
        (lan.index(1).key("prefixes").index(1), 11),
        (root.key("uplink"), 12),
        (root.key("uplink").key("bandwidth"), 15),
        (root.key("sharing").key("credit"), 18),
        (root.key("state"), 19),
        // Missing: the line of what should contain it.
        (root.key("control"), 2),
        (root.key("uplink").key("interface"), 15),
        (lan.index(1).key("nothing"), 9),
        (lan.index(7), 8),
        (root.key("network").key("inside"), 2),
    ] {
        assert_eq!(document::line_of(&text, &path), line, "{path}");
        let windows = text.replace('\n', "\r\n");
        assert_eq!(document::line_of(&windows, &path), line, "{path} with CRLF");
    }
}

#[test]
fn a_reload_names_what_needs_a_restart() {
    let old = parse(MINIMAL).unwrap();
    let new = |text: &str| old.restart_keys_changed(&parse(text).unwrap());
    assert_eq!(
        new(
            "network: other\nnetwork_key: /n\nidentity: /k\nstate: /s\ncontrol: /c\n\
             control_group: a\ncontrol_read_only: b\n\
             mesh: [{interface: mesh0}]\nnumbers: {mark_bit: 0}\n"
        ),
        [
            "network",
            "network_key",
            "identity",
            "state",
            "control",
            "control_group",
            "control_read_only",
            "numbers"
        ]
    );
    assert_eq!(
        new(
            "network: village\nname: x\nmesh: [{interface: mesh1}]\nlan: [{interface: a}]\n\
             uplink: {interface: off, bandwidth: 1M/1M}\ngateways: {pin: a}\n\
             sharing: {fee: 3, credit: 1MiB}\nstatus_page: {listen: [\"127.0.0.1:80\"]}\n"
        ),
        Vec::<&str>::new()
    );
}

#[test]
fn what_needs_a_restart_stays_as_it_is_until_then() {
    let running = parse("network: village\nmesh: [{interface: mesh0}]\n").unwrap();
    let text = "network: other\nidentity: /k\nstate: /s\ncontrol: /c\nname: x\n\
                control_group: a\ncontrol_read_only: off\n\
                mesh: [{interface: mesh1}]\nnumbers: {tables: 1000}\n";
    let mut new = parse(text).unwrap();
    new.keep_restart_keys(&running);
    assert_eq!(running.restart_keys_changed(&new), Vec::<&str>::new());
    assert_eq!(new.name().as_str(), "x");
    assert_eq!(new.mesh()[0].interface().as_str(), "mesh1");
}

#[test]
fn a_radio_has_defaults_for_what_nodes_need_not_agree_upon() {
    let text = "network: v\nmesh: [{interface: mesh0, radio: {id: village, frequency_mhz: 5180}}]";
    let config = parse(text).unwrap();
    let radio = config.mesh()[0].radio().unwrap();
    assert_eq!(radio.phy, PhyChoice::Any);
    assert_eq!(radio.mode, RadioMode::Mesh);
    assert_eq!(radio.channel, Channel::new(5180, Width::Ht20).unwrap());
    assert_eq!((radio.key.as_ref(), radio.mcast_rate_100kbps), (None, None));
    assert!(config.mesh()[0].station_data());
    let text = "network: v\nmesh: [{interface: mesh0, radio: {id: village, frequency_mhz: 2437, \
                phy: 02:00:00:00:01:00, mode: ibss, width: ht40-, mcast_rate_kbps: 5500}}]";
    let config = parse(text).unwrap();
    let radio = config.mesh()[0].radio().unwrap();
    assert_eq!(radio.phy, PhyChoice::Address([2, 0, 0, 0, 1, 0]));
    assert_eq!(radio.mode, RadioMode::Ibss);
    assert_eq!(radio.mcast_rate_100kbps, Some(55));
}

#[test]
fn a_password_is_taken_only_from_a_file_that_is_its_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("meshd.yaml");
    let text = "network: v\nmesh:\n  - interface: mesh0\n    radio: {id: village, \
                frequency_mhz: 5180, key: {sae: correct horse}}\n";
    fs::write(&path, text).unwrap();
    let set = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    for mode in [0o604, 0o640, 0o620] {
        set(mode);
        let error = Config::load(&path).unwrap_err().to_string();
        let said = format!(
            ":4: mesh[0].radio.key: is in a file that is not its owner's alone (mode {mode:o}); \
             allowed: a file of mode 600"
        );
        assert!(error.ends_with(&said), "{error}");
    }
    for mode in [0o600, 0o400] {
        set(mode);
        Config::load(&path).unwrap();
    }
}

#[test]
fn a_key_in_the_wrong_place_is_not_repeated() {
    for key in [
        "hunter2",
        "{hunter2: x}",
        "[hunter2]",
        "{sae: {hunter2: x}}",
        "{sae: a, hunter2}",
    ] {
        let text = format!(
            "network: village\nmesh: [{{interface: mesh0, radio: {{id: x, frequency_mhz: 2412, \
             key: {key}}}}}]\n"
        );
        let error = Config::parse(&text, "test").unwrap_err().to_string();
        assert!(
            error.contains("key") && !error.contains("hunter2"),
            "{error}"
        );
    }
}
