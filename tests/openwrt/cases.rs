//! Every option of UCI that becomes a key of meshd's configuration, and what it becomes.

/// An option, an example of it, and the key it becomes.
pub(crate) struct Case {
    /// Type of the section.
    pub(crate) kind: &'static str,
    pub(crate) option: &'static str,
    /// What is written after the option, in its section or in more of them.
    pub(crate) beside: &'static str,
    /// One value for an option, several for a list.
    pub(crate) values: &'static [&'static str],
    /// The path of the key, of lists the first item.
    pub(crate) key: &'static str,
    /// The value of the key.
    pub(crate) becomes: &'static str,
}

const fn option(
    kind: &'static str,
    option: &'static str,
    value: &'static [&'static str; 1],
    key: &'static str,
) -> Case {
    let [becomes] = value;
    Case {
        kind,
        option,
        beside: "",
        values: value,
        key,
        becomes,
    }
}

const fn list(
    kind: &'static str,
    option: &'static str,
    values: &'static [&'static str],
    key: &'static str,
    becomes: &'static str,
) -> Case {
    Case {
        kind,
        option,
        beside: "",
        values,
        key,
        becomes,
    }
}

impl Case {
    const fn becomes(mut self, value: &'static str) -> Self {
        self.becomes = value;
        self
    }

    const fn beside(mut self, beside: &'static str) -> Self {
        self.beside = beside;
        self
    }
}

/// `{root}` in a value is the directory of the router.
pub(crate) const CASES: &[Case] = &[
    option("meshd", "network", &["other"], "network"),
    option(
        "meshd",
        "network_key",
        &["{root}/network.key"],
        "network_key",
    ),
    option("meshd", "name", &["router-1"], "name"),
    option("meshd", "position", &["-1.286389, 36.817223"], "position"),
    option("meshd", "control_group", &["adm"], "control_group"),
    option("meshd", "control_read_only", &["off"], "control_read_only"),
    option("meshd", "identity", &["{root}/keys/id"], "identity"),
    option("meshd", "state", &["{root}/flash"], "state"),
    option("meshd", "control", &["{root}/control"], "control"),
    option("meshd", "tunnel", &["vxlan"], "tunnel"),
    option("mesh", "interface", &["mesh"], "mesh.interface").becomes("mesh0"),
    option("mesh", "device", &["eth2"], "mesh.interface"),
    option("mesh", "station_data", &["off"], "mesh.station_data")
        .beside("\toption interface 'mesh'\n"),
    option("lan", "interface", &["lan"], "lan.interface").becomes("br-lan"),
    option("lan", "device", &["eth1"], "lan.interface"),
    option("lan", "mode", &["masquerade"], "lan.mode").beside("\toption interface 'lan'\n"),
    list(
        "lan",
        "prefixes",
        &["10.1.2.0/24", "fd12:3456:789a:1::/64"],
        "lan.prefixes",
        "10.1.2.0/24 fd12:3456:789a:1::/64",
    )
    .beside("\toption interface 'lan'\n\toption mode 'routed'\n"),
    option("uplinks", "use", &["off"], "uplink.interface"),
    option("uplinks", "bandwidth", &["20M/5M"], "uplink.bandwidth"),
    list(
        "uplinks",
        "check",
        &["dns://9.9.9.9", "tcp://192.0.2.1:443"],
        "uplink.check",
        "dns://9.9.9.9 tcp://192.0.2.1:443",
    ),
    list(
        "uplinks",
        "resolvers",
        &["9.9.9.9", "self"],
        "uplink.resolvers",
        "9.9.9.9 self",
    ),
    option("uplink", "interface", &["wan"], "uplink.interface").beside(LISTED),
    option("uplink", "device", &["wwan0"], "uplink.interface").beside(LISTED),
    option("uplink", "bandwidth", &["50M/10M"], "uplink.bandwidth.wan")
        .beside("\toption interface 'wan'\nconfig uplinks 'uplinks'\n\toption use 'listed'\n"),
    list(
        "gateways",
        "prefer",
        &["r5", "r6"],
        "gateways.prefer",
        "r5 r6",
    ),
    list("gateways", "avoid", &["r6"], "gateways.avoid", "r6"),
    list(
        "gateways",
        "never",
        &["r7", "1cf39c4d"],
        "gateways.never",
        "r7 1cf39c4d",
    ),
    option("gateways", "pin", &["1cf39c4d"], "gateways.pin"),
    option(
        "gateways",
        "maximum_price",
        &["1000"],
        "gateways.maximum_price",
    ),
    option("sharing", "fee", &["7"], "sharing.fee"),
    option("sharing", "credit", &["16MiB"], "sharing.credit"),
    option(
        "sharing",
        "stranger_credit",
        &["2MiB"],
        "sharing.stranger_credit",
    ),
    option("sharing", "free_rate", &["128k"], "sharing.free_rate"),
    list(
        "sharing",
        "settlement",
        &["192.0.2.1", "2001:db8::1"],
        "sharing.settlement",
        "192.0.2.1 2001:db8::1",
    ),
    option(
        "sharing",
        "throughput_tests",
        &["refused"],
        "sharing.throughput_tests",
    ),
    list(
        "status_page",
        "listen",
        &["127.0.0.1:8080", "[::1]:8080"],
        "status_page.listen",
        "127.0.0.1:8080 [::1]:8080",
    ),
    list(
        "status_page",
        "host_names",
        &["router.lan"],
        "status_page.host_names",
        "router.lan",
    )
    .beside(PAGE),
    option("status_page", "metrics", &["off"], "status_page.metrics").beside(PAGE),
    option("numbers", "tables", &["6000"], "numbers.tables"),
    option("numbers", "rules", &["30000"], "numbers.rules"),
    option("numbers", "last_rule", &["32801"], "numbers.last_rule"),
    option("numbers", "mark_bit", &["26"], "numbers.mark_bit"),
];

const PAGE: &str = "\tlist listen '127.0.0.1:8080'\n";

const LISTED: &str = "config uplinks 'uplinks'\n\toption use 'listed'\n";

/// Options that become no key, and the test that shows what they do.
pub(crate) const NO_KEYS: &[(&str, &str, &str)] = &[
    ("meshd", "enabled", "service::it_runs_only_if_it_is_enabled"),
    ("meshd", "log_level", "service::procd_is_told_everything"),
    ("meshd", "jail", "service::a_jail_has_what_meshd_needs"),
    ("mesh", "enabled", "schema::sections_can_be_switched_off"),
    ("lan", "enabled", "schema::sections_can_be_switched_off"),
    ("uplink", "enabled", "schema::sections_can_be_switched_off"),
];

/// Keys of meshd's configuration that have no option, and why. One that ends with a dot: all below it.
pub(crate) const LEFT_OUT: &[(&str, &str)] = &[("mesh.radio.", "radios are netifd's")];
