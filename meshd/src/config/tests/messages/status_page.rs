//! Where a status page may be served, and where it would be seen by strangers.

use super::*;

const LISTEN: &str = "a list of at least one, such as [\"192.168.1.1:80\"]";
const AT: &str = "ADDRESS:PORT, such as 192.168.1.1:80 or [fd12::1]:80";
const OWN: &str = "an address of loopback or of a LAN";

#[test]
fn a_status_page_is_for_this_machine_and_its_lans() {
    let routed = "lan: [{interface: lan0, mode: routed, prefixes: [\"2001:db8:1::/64\"]}]\n";
    for (at, wrong, allowed) in [
        (
            "0.0.0.0:80",
            "0.0.0.0 is every address, those of the mesh and of uplinks included",
            OWN,
        ),
        (
            "[::]:80",
            ":: is every address, those of the mesh and of uplinks included",
            OWN,
        ),
        (
            "203.0.113.7:80",
            "203.0.113.7 is neither private nor in a prefix of a lan",
            OWN,
        ),
        (
            "[2001:db8:2::1]:80",
            "2001:db8:2::1 is neither private nor in a prefix of a lan",
            OWN,
        ),
        (
            "100.70.1.2:80",
            "100.70.1.2 is in the mesh's own range",
            OWN,
        ),
        ("192.168.1.1", "is \"192.168.1.1\"", AT),
        ("192.168.1.1:0", "is \"192.168.1.1:0\"", AT),
        ("router.lan:80", "is \"router.lan:80\"", AT),
        ("[fe80::1%2]:80", "is \"[fe80::1%2]:80\"", AT),
    ] {
        let text = format!("{MINIMAL}{routed}status_page: {{listen: [\"{at}\"]}}\n");
        let expected = format!("4: status_page.listen[0]: {wrong}; allowed: {allowed}");
        assert_eq!(message(&text), expected);
    }
    for at in [
        "127.0.0.1:80",
        "[::1]:8080",
        "192.168.1.1:80",
        "[fd12::1]:80",
        "[2001:db8:1::1]:80",
    ] {
        let text = format!("{MINIMAL}{routed}status_page: {{listen: [\"{at}\"]}}\n");
        let config = parse(&text).unwrap();
        let listen = config.status_page().unwrap().listen();
        assert_eq!(listen, [at.parse().unwrap()]);
    }
}

#[test]
fn an_address_of_the_mesh_is_none_of_a_lan() {
    let prefix = Network::new("village").prefix();
    let address = std::net::Ipv6Addr::from_bits(prefix.addr().to_bits() | 1);
    let text = format!(
        "{MINIMAL}lan: [{{interface: lan0}}]\nstatus_page: {{listen: [\"[{address}]:80\"]}}\n"
    );
    let expected =
        format!("4: status_page.listen[0]: {address} is in the mesh's own range; allowed: {OWN}");
    assert_eq!(message(&text), expected);
}

#[test]
fn what_else_can_be_wrong_with_a_status_page() {
    assert_messages(&[
        (
            "status_page: {metrics: on}\n",
            "3: status_page.listen: is missing",
            LISTEN,
        ),
        (
            "status_page: {listen: []}\n",
            "3: status_page.listen: is empty",
            LISTEN,
        ),
        (
            "status_page: on\n",
            "3: status_page: is \"on\"",
            "a mapping with listen, host_names, metrics",
        ),
        (
            "status_page: {listen: [\"192.168.1.1:80\"]}\n",
            "3: status_page.listen[0]: 192.168.1.1 is not of loopback, and there is no lan",
            "an address of loopback",
        ),
        (
            "status_page: {listen: [\"127.0.0.1:80\", \"127.0.0.1:80\"]}\n",
            "3: status_page.listen[1]: 127.0.0.1:80 is given twice",
            "once",
        ),
        (
            "status_page: {listen: [\"127.0.0.1:80\"], host_names: [-a]}\n",
            "3: status_page.host_names[0]: is \"-a\"",
            "a host name: labels of letters, digits and '-' with '.' between them",
        ),
        (
            "status_page: {listen: [\"127.0.0.1:80\"], metrics: 2}\n",
            "3: status_page.metrics: is \"2\"",
            "on or off",
        ),
    ]);
}

#[test]
fn no_value_is_no_status_page() {
    assert_eq!(
        parse(&format!("{MINIMAL}status_page:\n"))
            .unwrap()
            .status_page(),
        None
    );
    assert_eq!(parse(MINIMAL).unwrap().status_page(), None);
}
