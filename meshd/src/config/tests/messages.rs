//! Texts as an operator could write them, and the exact line that comes back.

use mesh_proto::Network;
use mesh_proto::record::is_announceable;

use super::*;

mod radio;
mod status_page;

const NODE: &str =
    "1 to 32 of the letters a-z and A-Z, digits and '-', which is neither first nor last";
const INTERFACE: &str =
    "a network interface: 1 to 15 ASCII characters without blanks and / : * % \" \\";
const UPLINK: &str = "the name of a network interface or a list of them, auto or off";
const BANDWIDTH: &str =
    "DOWN/UP in bit/s, each from 1 to 100G with k, M or G for thousands, such as 20M/5M";
const BANDWIDTHS: &str =
    "DOWN/UP, or a mapping of interfaces to that, such as {wan: 20M/5M, wwan0: 5M/1M}";
const CREDIT: &str = "64KiB to 1GiB, in bytes or with KiB, MiB or GiB, such as 8MiB";
const PRICE: &str = "a whole number of atto-SMT per MiB, 0 to 18446744073709551615";
const MOST: &str = "any, or a whole number of atto-SMT per MiB, 0 to 18446744073709551615";
const PREFIX: &str = "a private, unique local or global unicast prefix, from /8 (IPv6: /16) on, \
    without host bits, such as 10.1.2.0/24 or fd12::/64";
const ROOT: &str = "network, network_key, name, position, identity, state, control, control_group, control_read_only, mesh, lan, uplink, \
    gateways, sharing, status_page, tunnel, numbers";
const GATEWAY: &str = "a node's name of at most 32 bytes, or 8 to 20 of the first digits of its id";
const NODE_ONCE: &str = "a node that is named once";
const YAML: &str = "YAML as in the example configuration";
const ONE_ROLE: &str = "an interface that has no other role";

/// Each text is appended to [`MINIMAL`], whose two lines are right.
#[track_caller]
fn assert_messages(cases: &[(&str, &str, &str)]) {
    for (text, fault, allowed) in cases {
        let expected = format!("{fault}; allowed: {allowed}");
        assert_eq!(
            message(&format!("{MINIMAL}{text}")),
            expected,
            "for {text:?}"
        );
    }
}

#[test]
fn what_is_not_yaml_is_said_with_its_line() {
    for (text, expected) in [
        ("", format!("1: network: is missing; allowed: {NETWORK}")),
        (
            "# nothing\n\n",
            format!("2: network: is missing; allowed: {NETWORK}"),
        ),
        (
            "village\n",
            format!("1: document: is \"village\"; allowed: a mapping with {ROOT}"),
        ),
        (
            "\n- a\n",
            format!("2: document: is a list; allowed: a mapping with {ROOT}"),
        ),
        (
            "network: v\nmesh: [{interface: a}\nname: x\n",
            format!(
                "3: document: did not find expected ',' or ']', while parsing a flow sequence at \
                 line 2 column 7; allowed: {YAML}"
            ),
        ),
        (
            "network: v\nmesh:\n\t- interface: a\n",
            "3: document: the line is indented with a tab; allowed: spaces".to_owned(),
        ),
        (
            "network: v\nname: a: b\n",
            format!("2: document: mapping values are not allowed in this context; allowed: {YAML}"),
        ),
        (
            "network: 'v\nmesh: []\n",
            format!(
                "2: document: found unexpected end of stream, while scanning a quoted scalar at \
                 line 1 column 10; allowed: {YAML}"
            ),
        ),
        (
            "network: v\nname: a\u{7}b\n",
            "2: document: character U+0007 is a control character; allowed: printable text"
                .to_owned(),
        ),
        (
            "network: v\nname: *nobody\n",
            format!("2: document: unknown anchor; allowed: {YAML}"),
        ),
        (
            "network: v\nmesh:\n- [a]: b\n",
            format!(
                "3: document: mesh[0]: invalid type: sequence, expected a word; allowed: {YAML}"
            ),
        ),
        (
            "network: v\nmesh: &m\n- *m\n",
            format!("2: document: recursion limit exceeded; allowed: {YAML}"),
        ),
    ] {
        assert_eq!(message(text), expected, "for {text:?}");
    }
}

#[test]
fn unknown_and_repeated_keys_are_said_with_their_own_line() {
    assert_messages(&[
        (
            "netwrok: a\n",
            "3: netwrok: unknown key, did you mean network?",
            ROOT,
        ),
        (
            "Uplink: {}\n",
            "3: Uplink: unknown key, did you mean uplink?",
            ROOT,
        ),
        ("colour: red\n", "3: colour: unknown key", ROOT),
        ("my-mesh: []\n", "3: my-mesh: unknown key", ROOT),
        (
            "uplinkks: {}\n",
            "3: uplinkks: unknown key, did you mean uplink?",
            ROOT,
        ),
        (
            "uplink:\n  interface: eth0\n  bandwith: 1M/1M\n",
            "5: uplink.bandwith: unknown key, did you mean bandwidth?",
            "interface, bandwidth, check, resolvers",
        ),
        (
            "lan:\n- interface: a\n- interface: b\n  prefix: []\n",
            "6: lan[1].prefix: unknown key, did you mean prefixes?",
            "interface, mode, prefixes",
        ),
        (
            "sharing: {fee: 1,\n  fee: 2}\n",
            "4: sharing.fee: is given twice",
            "once",
        ),
        ("name: a\nname: a\n", "4: name: is given twice", "once"),
        ("<<: {name: a}\n", "3: <<: unknown key", ROOT),
        (
            "\"a\\nb\\e[2J\": 1\n",
            "3: a\\nb\\u{1b}[2J: unknown key",
            ROOT,
        ),
        (
            "? name\n: a\n? \"name\"\n: b\n",
            "5: name: is given twice",
            "once",
        ),
    ]);
}

#[test]
fn the_root_keys_take_only_what_they_say() {
    for (text, expected) in [
        (
            "mesh: [{interface: a}]\n",
            format!("1: network: is missing; allowed: {NETWORK}"),
        ),
        (
            "\nnetwork: v\n",
            format!("2: mesh: is missing; allowed: {MESH_ALLOWED}"),
        ),
        (
            "network: v\nmesh: []\n",
            format!("2: mesh: is empty; allowed: {MESH_ALLOWED}"),
        ),
        (
            "network: v\nmesh: a\n",
            format!("2: mesh: is \"a\"; allowed: {MESH_ALLOWED}"),
        ),
        (
            "network: v\nmesh: {interface: a}\n",
            format!("2: mesh: is a mapping; allowed: {MESH_ALLOWED}"),
        ),
        (
            "network: v\nmesh:\n- a\n",
            "3: mesh[0]: is \"a\"; allowed: a mapping with interface, station_data, radio"
                .to_owned(),
        ),
        (
            "network: v\nmesh:\n- interface: a\n-\n",
            format!("4: mesh[1].interface: is missing; allowed: {INTERFACE}"),
        ),
        (
            "network: ''\n",
            format!("1: network: is empty; allowed: {NETWORK}"),
        ),
        (
            "network: my village\n",
            format!("1: network: \"my village\" contains ' '; allowed: {NETWORK}"),
        ),
        (
            "network: [a]\n",
            format!("1: network: is a list; allowed: {NETWORK}"),
        ),
        ("network: !!str a\n", "accepted".to_owned()),
        (
            "network: !secret a\n",
            format!("1: network: has a YAML tag; allowed: {NETWORK}"),
        ),
        (
            "network: a23456789012345678901234567890123\n",
            format!(
                "1: network: \"a23456789012345678901234567890123\" is 33 bytes long; allowed: \
                 {NETWORK}"
            ),
        ),
    ] {
        if expected == "accepted" {
            parse(&format!("{text}mesh: [{{interface: a}}]\n")).unwrap();
        } else {
            assert_eq!(message(text), expected, "for {text:?}");
        }
    }
    assert_messages(&[
        (
            "name: -a\n",
            "3: name: \"-a\" begins or ends with '-'",
            NODE,
        ),
        ("name: a.b\n", "3: name: \"a.b\" contains '.'", NODE),
        (
            "identity: key\n",
            "3: identity: \"key\" does not begin with /",
            "an absolute path",
        ),
        (
            "state: \"/a\\0b\"\n",
            "3: state: \"/a\\u{0}b\" has control characters",
            "an absolute path",
        ),
        ("state: {}\n", "3: state: is a mapping", "an absolute path"),
        (
            "control: /etc/meshd/identity.key\n",
            "3: control: is the same path as identity",
            "another path",
        ),
        (
            "state: /x/\nidentity: /x\n",
            "3: state: is the same path as identity",
            "another path",
        ),
        (
            "state: /x\ncontrol: //x\n",
            "4: control: is the same path as state",
            "another path",
        ),
    ]);
    let long = format!("/{}", "x".repeat(107));
    assert_messages(&[(
        &format!("control: {long}\n"),
        "3: control: is 108 bytes long",
        "an absolute path of at most 104 bytes",
    )]);
}

#[test]
fn interfaces_have_one_role() {
    assert_messages(&[
        (
            "lan: [{interface: mesh0}]\n",
            "3: lan[0].interface: mesh0 is mesh[0].interface already",
            ONE_ROLE,
        ),
        (
            "lan:\n- interface: a\n\n-\n  mode: masquerade\n  interface: a\n",
            "8: lan[1].interface: a is lan[0].interface already",
            ONE_ROLE,
        ),
        (
            "uplink:\n  interface: mesh0\n",
            "4: uplink.interface: mesh0 is mesh[0].interface already",
            ONE_ROLE,
        ),
        (
            "lan: [{interface: a}]\nuplink: {interface: a}\n",
            "4: uplink.interface: a is lan[0].interface already",
            ONE_ROLE,
        ),
        (
            "lan: [{interface: a/b}]\n",
            "3: lan[0].interface: \"a/b\" contains '/'",
            INTERFACE,
        ),
        (
            "lan: [{interface: a b}]\n",
            "3: lan[0].interface: \"a b\" contains ' '",
            INTERFACE,
        ),
        (
            "lan: [{interface: \"a\\tb\"}]\n",
            "3: lan[0].interface: \"a\\tb\" contains '\\t'",
            INTERFACE,
        ),
        (
            "lan: [{interface: wlan*}]\n",
            "3: lan[0].interface: \"wlan*\" contains '*'",
            INTERFACE,
        ),
        (
            "lan: [{interface: a234567890123456}]\n",
            "3: lan[0].interface: \"a234567890123456\" is 16 bytes long",
            INTERFACE,
        ),
        (
            "lan: [{interface: ..}]\n",
            "3: lan[0].interface: \"..\" is not an interface name",
            INTERFACE,
        ),
        (
            "lan: [{interface: lo}]\n",
            "3: lan[0].interface: \"lo\" is the loopback interface",
            INTERFACE,
        ),
        (
            "lan: [{interface: meshd0}]\n",
            "3: lan[0].interface: \"meshd0\" is meshd's own tunnel device",
            INTERFACE,
        ),
        (
            "uplink: {interface: on}\n",
            "3: uplink.interface: \"on\" does not say which interface",
            UPLINK,
        ),
        (
            "uplink: {interface: {a: b}}\n",
            "3: uplink.interface: is a mapping",
            UPLINK,
        ),
        (
            "uplink: off\n",
            "3: uplink: is \"off\"",
            "a mapping with interface, bandwidth, check, resolvers",
        ),
    ]);
    assert_eq!(
        message("network: v\nmesh:\n- {interface: a}\n- {interface: b}\n- {interface: a}\n"),
        format!("5: mesh[2].interface: a is mesh[0].interface already; allowed: {ONE_ROLE}")
    );
    let many: String = (0..17).map(|i| format!("- interface: a{i}\n")).collect();
    assert_messages(&[(
        &format!("lan:\n{many}"),
        "3: lan: has 17 items",
        "at most 16",
    )]);
}

#[test]
fn bandwidth_fee_and_credit_are_in_range() {
    assert_messages(&[
        (
            "uplink: {bandwidth: 20M}\n",
            "3: uplink.bandwidth: \"20M\" is not two rates",
            BANDWIDTH,
        ),
        (
            "uplink: {bandwidth: 20m/5M}\n",
            "3: uplink.bandwidth: download rate is \"20m\"",
            BANDWIDTH,
        ),
        (
            "uplink: {bandwidth: 20M/0}\n",
            "3: uplink.bandwidth: upload rate is \"0\"",
            BANDWIDTH,
        ),
        (
            "uplink: {bandwidth: 101G/1}\n",
            "3: uplink.bandwidth: download rate is \"101G\"",
            BANDWIDTH,
        ),
        (
            "uplink: {bandwidth: [1M/1M]}\n",
            "3: uplink.bandwidth: is a list",
            BANDWIDTHS,
        ),
        (
            "uplink: {bandwidth: {}}\n",
            "3: uplink.bandwidth: is empty",
            BANDWIDTHS,
        ),
        (
            "uplink:\n  bandwidth:\n    wan: 1M/1M\n    lte0: 1M\n",
            "6: uplink.bandwidth.lte0: \"1M\" is not two rates",
            BANDWIDTH,
        ),
        (
            "uplink: {bandwidth: {wan: 1M/1M, lte0: }}\n",
            "3: uplink.bandwidth.lte0: has no value",
            BANDWIDTH,
        ),
        (
            "uplink: {bandwidth: {lo: 1M/1M}}\n",
            "3: uplink.bandwidth.lo: \"lo\" is the loopback interface",
            INTERFACE,
        ),
        (
            "uplink: {bandwidth: {wan: 1M/1M, wan: 1M/1M}}\n",
            "3: uplink.bandwidth.wan: is given twice",
            "once",
        ),
        (
            "uplink: {interface: [wan, lte0], bandwidth: {lte1: 1M/1M}}\n",
            "3: uplink.bandwidth.lte1: lte1 is not in uplink.interface",
            "wan, lte0",
        ),
        ("sharing: {fee: -1}\n", "3: sharing.fee: is \"-1\"", PRICE),
        ("sharing: {fee: 1e3}\n", "3: sharing.fee: is \"1e3\"", PRICE),
        (
            "sharing: {fee: 18446744073709551616}\n",
            "3: sharing.fee: is \"18446744073709551616\"",
            PRICE,
        ),
        (
            "sharing: {free_rate: 7k}\n",
            "3: sharing.free_rate: is \"7k\"",
            "8k to 1G bit/s, with k, M or G for thousands, such as 256k",
        ),
        (
            "sharing:\n  settlement: [203.0.113.7,\n   smt.example]\n",
            "5: sharing.settlement[1]: is \"smt.example\"",
            "an address of IPv4 or IPv6",
        ),
        (
            "sharing:\n  credit: 8MB\n",
            "4: sharing.credit: is \"8MB\"",
            CREDIT,
        ),
        (
            "sharing:\n  credit: 63KiB\n",
            "4: sharing.credit: is \"63KiB\"",
            CREDIT,
        ),
        (
            "sharing: 5\n",
            "3: sharing: is \"5\"",
            "a mapping with fee, credit, stranger_credit, free_rate, settlement, throughput_tests",
        ),
    ]);
}

#[test]
fn a_gateway_is_named_once_and_as_it_is_called() {
    assert_messages(&[
        (
            "gateways: {prefers: []}\n",
            "3: gateways.prefers: unknown key, did you mean prefer?",
            "prefer, avoid, never, pin, maximum_price",
        ),
        (
            "gateways: {prefer: mill}\n",
            "3: gateways.prefer: is \"mill\"",
            "a list such as [router-5, 1cf39c4d]",
        ),
        (
            "gateways:\n  never: [mill,\n    \"\"]\n",
            "5: gateways.never[1]: is \"\"",
            GATEWAY,
        ),
        (
            "gateways: {pin: [mill]}\n",
            "3: gateways.pin: is a list",
            GATEWAY,
        ),
        (
            "gateways:\n  prefer: [ABABABAB]\n  never: [mill, abababab]\n",
            "5: gateways.never[1]: \"abababab\" is gateways.prefer[0] already",
            NODE_ONCE,
        ),
        (
            "gateways: {avoid: [mill], pin: mill}\n",
            "3: gateways.pin: \"mill\" is gateways.avoid[0] already",
            NODE_ONCE,
        ),
        (
            "gateways: {maximum_price: low}\n",
            "3: gateways.maximum_price: is \"low\"",
            MOST,
        ),
        (
            "gateways: {maximum_price: -1}\n",
            "3: gateways.maximum_price: is \"-1\"",
            MOST,
        ),
    ]);
}

#[test]
fn only_what_may_be_announced_is_a_prefix() {
    let case = |prefix: &str| {
        let text =
            format!("{MINIMAL}lan:\n- interface: a\n  mode: routed\n  prefixes: [{prefix}]\n");
        let message = message(&text);
        let rest = message
            .strip_prefix("6: lan[0].prefixes[0]: ")
            .unwrap_or(&message);
        rest.strip_suffix(&format!("; allowed: {PREFIX}"))
            .unwrap_or(rest)
            .to_owned()
    };
    for (prefix, what) in [
        (
            "10.1.2.3/24",
            "10.1.2.3/24 has host bits, did you mean 10.1.2.0/24?",
        ),
        (
            "'fd12::1/64'",
            "fd12::1/64 has host bits, did you mean fd12::/64?",
        ),
        ("10.1.2.0", "\"10.1.2.0\" is not a prefix"),
        ("10.1.2.0/33", "\"10.1.2.0/33\" is not a prefix"),
        ("010.1.2.0/24", "\"010.1.2.0/24\" is not a prefix"),
        ("10.1.2.0/024", "\"10.1.2.0/024\" is not a prefix"),
        ("0.0.0.0/0", "0.0.0.0/0 is too large"),
        ("128.0.0.0/1", "128.0.0.0/1 is too large"),
        ("'::/0'", "::/0 is too large"),
        ("'2000::/3'", "2000::/3 is too large"),
        ("127.0.0.0/24", "127.0.0.0/24 is in the loopback range"),
        (
            "169.254.3.0/24",
            "169.254.3.0/24 is in the link-local range",
        ),
        ("239.0.0.0/8", "239.0.0.0/8 is in the multicast range"),
        (
            "255.255.255.255/32",
            "255.255.255.255/32 is in a reserved range",
        ),
        ("0.1.0.0/16", "0.1.0.0/16 is in \"this network\" (RFC 1122)"),
        ("100.64.0.0/10", "100.64.0.0/10 is in the mesh's own range"),
        (
            "100.100.1.0/24",
            "100.100.1.0/24 is in the mesh's own range",
        ),
        (
            "'fe80::/64'",
            "fe80::/64 is neither unique local nor global unicast",
        ),
        (
            "'ff05::/16'",
            "ff05::/16 is neither unique local nor global unicast",
        ),
        (
            "'::ffff:10.0.0.0/104'",
            "::ffff:10.0.0.0/104 is neither unique local nor global unicast",
        ),
        ("[a]", "is a list"),
        ("~", "has no value"),
    ] {
        assert_eq!(case(prefix), what, "for {prefix}");
    }
    let mesh = Network::new("village").prefix().to_string();
    assert_eq!(
        case(&format!("'{mesh}'")),
        format!("{mesh} overlaps the mesh's own addresses, {mesh}; allowed: another prefix")
    );
}

#[test]
fn whatever_is_accepted_other_nodes_accept() {
    let network = Network::new("village");
    for bits in 0..=u16::MAX {
        let address = std::net::Ipv4Addr::from(u32::from(bits) << 16);
        for len in [8, 10, 16] {
            let Ok(prefix) = ipnet::Ipv4Net::new(address, len) else {
                continue;
            };
            let text = prefix.to_string();
            if <ipnet::IpNet as fields::Value>::from_text(&text).is_ok() {
                assert!(is_announceable(&network, &prefix.into()), "{text}");
            }
        }
    }
}

#[test]
fn routed_lans_have_prefixes_and_none_overlap() {
    const DISJOINT: &str = "prefixes that do not overlap";
    assert_messages(&[
        (
            "lan:\n- interface: a\n  mode: nat\n",
            "5: lan[0].mode: is \"nat\"",
            "masquerade or routed",
        ),
        (
            "lan:\n- interface: a\n  mode: routed\n",
            "4: lan[0].prefixes: is missing",
            "at least one prefix where mode is routed",
        ),
        (
            "lan:\n- interface: a\n  prefixes: []\n  mode: routed\n",
            "5: lan[0].prefixes: is empty",
            "at least one prefix where mode is routed",
        ),
        (
            "lan:\n- interface: a\n  prefixes: [10.0.0.0/8]\n",
            "5: lan[0].prefixes: are not announced for a masqueraded LAN",
            "only with mode: routed",
        ),
        (
            "lan:\n- interface: a\n  mode: routed\n  prefixes:\n  - 10.1.0.0/16\n  - fd12::/64\n  - 10.1.2.0/24\n",
            "9: lan[0].prefixes[2]: 10.1.2.0/24 overlaps 10.1.0.0/16 of lan[0].prefixes[0]",
            DISJOINT,
        ),
        (
            "lan:\n- {interface: a, mode: routed, prefixes: [10.1.2.0/24]}\n\
          # between\n- {interface: b, mode: routed,\n   prefixes: [fd12::/64, 10.0.0.0/8]}\n",
            "7: lan[1].prefixes[1]: 10.0.0.0/8 overlaps 10.1.2.0/24 of lan[0].prefixes[0]",
            DISJOINT,
        ),
        (
            "lan:\n- {interface: a, mode: routed, prefixes: [10.1.2.0/24, 10.1.2.0/24]}\n",
            "4: lan[0].prefixes[1]: 10.1.2.0/24 overlaps 10.1.2.0/24 of lan[0].prefixes[0]",
            DISJOINT,
        ),
        (
            "lan: [{interface: a, mode: routed, prefixes: 10.1.2.0/24}]\n",
            "3: lan[0].prefixes: is \"10.1.2.0/24\"",
            "a list such as [10.1.2.0/24, fd12::/64]",
        ),
    ]);
    let list = |from: u8, to: u8| {
        (from..to)
            .map(|i| format!("10.{i}.0.0/16"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let lans = |split: u8, end: u8| {
        format!(
            "lan:\n- {{interface: a, mode: routed, prefixes: [{}]}}\n\
             - {{interface: b, mode: routed, prefixes: [{}]}}\n",
            list(0, split),
            list(split, end)
        )
    };
    parse(&format!("{MINIMAL}{}", lans(8, 16))).unwrap();
    assert_messages(&[
        (
            &lans(8, 17),
            "5: lan[1].prefixes: with it 17 prefixes are announced",
            "at most 16 on one node",
        ),
        (
            &lans(17, 18),
            "4: lan[0].prefixes: has 17 items",
            "at most 16",
        ),
    ]);
}

#[test]
fn bombs_are_defused() {
    let mut bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (from, to) in ('a'..'i').zip('b'..='i') {
        let reference = format!("*{from},").repeat(10);
        bomb.push_str(&format!("{to}: &{to} [{reference}]\n"));
    }
    assert!(
        message(&bomb).contains("more than 4096 values"),
        "{}",
        message(&bomb)
    );
    let deep = "[".repeat(10_000);
    assert!(message(&deep).starts_with("1: document: "));
    let large = "#".repeat(MAX_FILE_BYTES + 1);
    assert_eq!(
        parse(&large).unwrap_err().to_string(),
        "m.yaml: is larger than 64 KiB; allowed: a readable file of at most 64 KiB"
    );
}

#[test]
fn numbers_of_the_kernels_own_are_refused() {
    const TABLES: &str =
        "a number from 1 to 4294967274, with none of 253, 254 and 255 among it and the 20 after it";
    const RULES: &str = "a number from 1 to 32465";
    const LAST: &str = "a number from 32768 to 4294967295";
    const BIT: &str = "a number from 0 to 28";
    let fault = |key: &str, value: &str| format!("3: numbers.{key}: is \"{value}\"");
    for (key, allowed, values) in [
        ("tables", TABLES, ["0", "240", "4294967275"]),
        ("rules", RULES, ["0", "32466", "-1"]),
        ("last_rule", LAST, ["32767", "4294967296", "x"]),
        ("mark_bit", BIT, ["29", "-1", "0x1"]),
    ] {
        for value in values {
            let text = format!("numbers: {{{key}: {value}}}\n");
            assert_messages(&[(&text, &fault(key, value), allowed)]);
        }
    }
    let most = "numbers: {tables: 4294967274, rules: 32465, last_rule: 4294967295, mark_bit: 28}";
    let numbers = *parse(&format!("{MINIMAL}{most}")).unwrap().numbers();
    assert_eq!((numbers.tables, numbers.mark_bit), (4_294_967_274, 28));
}
