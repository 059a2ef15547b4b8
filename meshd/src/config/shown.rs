//! The configuration in force, as an operator may show it to others.

use std::path::Path as FilePath;

use control_api::Setting;
use mesh_proto::gateway_policy::{Allowed, NodePattern};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::document::{self, Node};
use super::path::{Path, Step};
use super::position;
use super::{
    Config, GroupName, Lan, LanMode, MeshInterface, StatedBandwidth, StatusPage, TunnelChoice,
    Uplink, UplinkInterface,
};
use crate::kernel::radio::{MacAddress, PhyChoice, RadioSettings};
use crate::uplink::{Check, Resolver, Resolvers};

/// Largest first, as `values` reads them.
const SIZES: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
/// Largest first, as `values` reads them.
const RATES: [(&str, u64); 3] = [("G", 1_000_000_000), ("M", 1_000_000), ("k", 1_000)];

impl Config {
    /// Every setting, defaults included, in the order of the example configuration. Of passwords only that there
    /// is one.
    pub fn shown(&self) -> Vec<Setting> {
        let written = document::read(&self.source.text).unwrap_or(Node::Null);
        let mut list = List {
            written: &written,
            settings: Vec::new(),
        };
        let root = Path::default();
        let mut add = |key: &str, value| list.add(&root.key(key), value);
        add("network", self.network().as_str().into());
        add("network_key", self.network_key().map(path).into());
        add("name", self.name().as_str().into());
        add("position", self.position().map(position::written).into());
        add("identity", path(self.identity()).into());
        add("state", path(self.state()).into());
        add("control", path(self.control()).into());
        let group = self.control_group().map(GroupName::as_str);
        add("control_group", group.into());
        add(
            "control_read_only",
            self.control_read_only().as_str().into(),
        );
        list.add_mesh(self.mesh());
        list.add_lan(self.lan());
        list.add_uplink(self.uplink());
        list.add_gateways(self);
        list.add_sharing(self);
        list.add_status_page(self.status_page());
        list.add(&root.key("tunnel"), tunnel(self.tunnel()).into());
        let numbers = self.numbers();
        for (key, value) in [
            ("tables", numbers.tables),
            ("rules", numbers.rules),
            ("last_rule", numbers.last_rule),
            ("mark_bit", numbers.mark_bit),
        ] {
            list.add(&root.key("numbers").key(key), value.into());
        }
        list.settings
    }
}

impl Config {
    /// The passwords in the file: what must not be shown.
    pub fn passwords(&self) -> Vec<Zeroizing<String>> {
        let radios = self.mesh().iter().filter_map(MeshInterface::radio);
        let keys = radios.filter_map(|radio| radio.key.as_ref());
        keys.map(|key| Zeroizing::new(key.reveal().to_owned()))
            .collect()
    }
}

struct List<'a> {
    written: &'a Node,
    settings: Vec<Setting>,
}

impl List<'_> {
    fn add(&mut self, path: &Path, value: Value) {
        self.settings.push(Setting {
            key: path.to_string(),
            value,
            is_set: is_written(self.written, path.steps()),
        });
    }

    fn add_mesh(&mut self, mesh: &[MeshInterface]) {
        for (index, mesh) in mesh.iter().enumerate() {
            let place = Path::default().key("mesh").index(index);
            self.add(&place.key("interface"), mesh.interface().as_str().into());
            self.add(&place.key("station_data"), switch(mesh.station_data()));
            match mesh.radio() {
                Some(radio) => self.add_radio(&place.key("radio"), radio),
                None => self.add(&place.key("radio"), Value::Null),
            }
        }
    }

    fn add_radio(&mut self, place: &Path, radio: &RadioSettings) {
        let mcast_rate_kbps = radio.mcast_rate_100kbps.map(|rate| rate * 100);
        for (key, value) in [
            ("phy", json!(phy(&radio.phy))),
            ("mode", json!(radio.mode.to_string())),
            ("id", json!(radio.id)),
            ("frequency_mhz", json!(radio.channel.frequency_mhz())),
            ("width", json!(radio.channel.width().to_string())),
            ("key", radio.key.as_ref().map(|_| Setting::HIDDEN).into()),
            ("mcast_rate_kbps", mcast_rate_kbps.into()),
            ("rssi_threshold_dbm", radio.rssi_threshold_dbm.into()),
        ] {
            self.add(&place.key(key), value);
        }
    }

    fn add_lan(&mut self, lans: &[Lan]) {
        let list = Path::default().key("lan");
        if lans.is_empty() {
            self.add(&list, json!([]));
        }
        for (index, lan) in lans.iter().enumerate() {
            let place = list.index(index);
            self.add(&place.key("interface"), lan.interface().as_str().into());
            match lan.mode() {
                LanMode::Masquerade => self.add(&place.key("mode"), "masquerade".into()),
                LanMode::Routed { prefixes } => {
                    self.add(&place.key("mode"), "routed".into());
                    self.add(&place.key("prefixes"), texts(prefixes));
                }
            }
        }
    }

    fn add_uplink(&mut self, uplink: &Uplink) {
        let place = Path::default().key("uplink");
        let interface = match &uplink.interface {
            UplinkInterface::Auto => json!("auto"),
            UplinkInterface::Off => json!("off"),
            UplinkInterface::Named(names) => texts(names),
        };
        let bandwidth = match &uplink.bandwidth {
            StatedBandwidth::All(bandwidth) => bandwidth.map(rates).into(),
            StatedBandwidth::Each(each) => each
                .iter()
                .map(|(name, bandwidth)| (name.to_string(), rates(*bandwidth).into()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        };
        let check = match &uplink.check {
            Check::Off => json!("off"),
            Check::On => json!("on"),
            Check::Of(targets) => texts(targets),
        };
        let resolvers = match &uplink.resolvers {
            Resolvers::Auto => json!("auto"),
            Resolvers::Named(named) => named.iter().map(resolver).collect(),
        };
        self.add(&place.key("interface"), interface);
        self.add(&place.key("bandwidth"), bandwidth);
        self.add(&place.key("check"), check);
        self.add(&place.key("resolvers"), resolvers);
    }

    fn add_gateways(&mut self, config: &Config) {
        let place = Path::default().key("gateways");
        let policy = config.gateways();
        let pin = match &policy.allowed {
            Allowed::Only(node) => Some(node),
            Allowed::Any | Allowed::Nobody => None,
        };
        let most = policy.maximum_price.map(|it| it.atto_smt_per_mib());
        let most = most.map_or("any".to_owned(), |most| most.to_string());
        self.add(&place.key("prefer"), texts(&policy.prefer));
        self.add(&place.key("avoid"), texts(&policy.avoid));
        self.add(&place.key("never"), texts(&policy.never));
        self.add(&place.key("pin"), pin.map(NodePattern::to_string).into());
        self.add(&place.key("maximum_price"), most.into());
    }

    fn add_sharing(&mut self, config: &Config) {
        let place = Path::default().key("sharing");
        let sharing = config.sharing();
        let fee = sharing.fee().atto_smt_per_mib().to_string();
        let credit = with_unit(sharing.credit_bytes(), &SIZES);
        let stranger_credit = with_unit(sharing.stranger_credit_bytes(), &SIZES);
        let free_rate = with_unit(sharing.free_bps(), &RATES);
        self.add(&place.key("fee"), fee.into());
        self.add(&place.key("credit"), credit.into());
        self.add(&place.key("stranger_credit"), stranger_credit.into());
        self.add(&place.key("free_rate"), free_rate.into());
        self.add(&place.key("settlement"), texts(sharing.settlement()));
        let tests = match sharing.throughput_tests() {
            true => "allowed",
            false => "refused",
        };
        self.add(&place.key("throughput_tests"), tests.into());
    }

    fn add_status_page(&mut self, page: Option<&StatusPage>) {
        let place = Path::default().key("status_page");
        let Some(page) = page else {
            return self.add(&place, Value::Null);
        };
        self.add(&place.key("listen"), texts(page.listen()));
        self.add(&place.key("host_names"), texts(page.host_names()));
        self.add(&place.key("metrics"), switch(page.metrics()));
    }
}

/// Whether there is something at a path. A key without a value is as none.
fn is_written(node: &Node, steps: &[Step]) -> bool {
    let Some((step, rest)) = steps.split_first() else {
        return *node != Node::Null;
    };
    let inner = match node {
        Node::Map(entries) => {
            let mut entries = entries.iter();
            let found = entries.find(|(key, _)| *step == Step::Key(key.clone()));
            found.map(|(_, node)| node)
        }
        Node::List(items) => {
            let mut items = items.iter().enumerate();
            let found = items.find(|(index, _)| *step == Step::Index(*index));
            found.map(|(_, node)| node)
        }
        Node::Null | Node::Scalar(_) | Node::Tagged => None,
    };
    inner.is_some_and(|inner| is_written(inner, rest))
}

fn path(path: &FilePath) -> String {
    path.display().to_string()
}

fn texts(items: &[impl ToString]) -> Value {
    items.iter().map(ToString::to_string).collect()
}

fn switch(is_on: bool) -> Value {
    if is_on { "on".into() } else { "off".into() }
}

fn phy(choice: &PhyChoice) -> String {
    match choice {
        PhyChoice::Any => "any".to_owned(),
        PhyChoice::Named(name) => name.clone(),
        PhyChoice::Address(octets) => MacAddress(*octets).to_string(),
    }
}

const fn tunnel(choice: TunnelChoice) -> &'static str {
    match choice {
        TunnelChoice::Auto => "auto",
        TunnelChoice::Wireguard => "wireguard",
        TunnelChoice::Vxlan => "vxlan",
    }
}

fn resolver(resolver: &Resolver) -> String {
    match resolver {
        Resolver::Address(address) => address.to_string(),
        Resolver::Own => "self".to_owned(),
    }
}

fn rates(bandwidth: super::Bandwidth) -> String {
    let down = with_unit(bandwidth.down_bps(), &RATES);
    let up = with_unit(bandwidth.up_bps(), &RATES);
    format!("{down}/{up}")
}

/// With the largest unit that says it exactly.
fn with_unit(number: u64, units: &[(&str, u64)]) -> String {
    let exact = |(_, factor): &&(&str, u64)| number > 0 && number.is_multiple_of(*factor);
    match units.iter().find(exact) {
        Some((unit, factor)) => format!("{}{unit}", number / factor),
        None => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const EXAMPLE: &str = include_str!("../../../config/meshd.yaml");

    fn parse(text: &str) -> Config {
        Config::parse(text, "m.yaml").unwrap()
    }

    fn keys(settings: &[Setting]) -> BTreeSet<&str> {
        settings.iter().map(|it| it.key.as_str()).collect()
    }

    /// What the file says is shown as it says it, whatever kind of value it is.
    #[test]
    fn a_setting_is_shown_as_it_was_written() {
        let config = parse(
            "network: village\nname: mill\nnetwork_key: /etc/meshd/network.key\n\
             mesh: [{interface: mesh0, station_data: off, radio: {id: v, frequency_mhz: 2412, \
             mcast_rate_kbps: 5500}}]\n\
             lan: [{interface: lan0, mode: routed, prefixes: [10.1.2.0/24]}]\n\
             uplink: {interface: [wan, eth0.2], bandwidth: {eth0.2: 1500k/1G}, \
             check: [\"dns://192.0.2.1\"], resolvers: [self]}\n\
             gateways: {prefer: [r5], pin: 1cf39c4d, maximum_price: any}\n\
             sharing: {fee: 18446744073709551615, credit: 100000, free_rate: 64k}\n\
             status_page: {listen: [\"192.168.1.1:80\"], host_names: [Router.lan]}\n\
             tunnel: vxlan\nnumbers: {mark_bit: 20}\n",
        );
        let shown = config.shown();
        let written: Vec<(&str, &Value)> = shown
            .iter()
            .filter(|it| it.is_set)
            .map(|it| (it.key.as_str(), &it.value))
            .collect();
        let expected = [
            ("network", json!("village")),
            ("network_key", json!("/etc/meshd/network.key")),
            ("name", json!("mill")),
            ("mesh[0].interface", json!("mesh0")),
            ("mesh[0].station_data", json!("off")),
            ("mesh[0].radio.id", json!("v")),
            ("mesh[0].radio.frequency_mhz", json!(2412)),
            ("mesh[0].radio.mcast_rate_kbps", json!(5500)),
            ("lan[0].interface", json!("lan0")),
            ("lan[0].mode", json!("routed")),
            ("lan[0].prefixes", json!(["10.1.2.0/24"])),
            ("uplink.interface", json!(["wan", "eth0.2"])),
            ("uplink.bandwidth", json!({"eth0.2": "1500k/1G"})),
            ("uplink.check", json!(["dns://192.0.2.1:53"])),
            ("uplink.resolvers", json!(["self"])),
            ("gateways.prefer", json!(["r5"])),
            ("gateways.pin", json!("1cf39c4d")),
            ("gateways.maximum_price", json!("any")),
            ("sharing.fee", json!("18446744073709551615")),
            ("sharing.credit", json!("100000")),
            ("sharing.free_rate", json!("64k")),
            ("status_page.listen", json!(["192.168.1.1:80"])),
            ("status_page.host_names", json!(["router.lan"])),
            ("tunnel", json!("vxlan")),
            ("numbers.mark_bit", json!(20)),
        ];
        let expected: Vec<(&str, &Value)> = expected.iter().map(|(key, it)| (*key, it)).collect();
        assert_eq!(written, expected);
    }

    /// A new key has to be shown as well.
    #[test]
    fn every_key_of_the_example_is_shown() {
        let shown = parse(EXAMPLE).shown();
        let keys = keys(&shown);
        let root = document::read(EXAMPLE).unwrap();
        let mut places = vec![(Path::default(), &root)];
        while let Some((place, node)) = places.pop() {
            match node {
                _ if keys.contains(place.to_string().as_str()) => {}
                Node::Map(entries) => {
                    places.extend(entries.iter().map(|(key, node)| (place.key(key), node)));
                }
                Node::List(items) => {
                    let items = items.iter().enumerate();
                    places.extend(items.map(|(index, node)| (place.index(index), node)));
                }
                Node::Null | Node::Scalar(_) | Node::Tagged => panic!("{place} is not shown"),
            }
        }
    }

    #[test]
    fn two_keys_are_set_and_the_rest_is_default() {
        let config = parse("network: village\nname:\nmesh: [{interface: mesh0}]\n");
        let shown = config.shown();
        let set: Vec<&str> = shown
            .iter()
            .filter(|it| it.is_set)
            .map(|it| it.key.as_str())
            .collect();
        assert_eq!(set, ["network", "mesh[0].interface"]);
        let value = |key: &str| &shown.iter().find(|it| it.key == key).unwrap().value;
        assert_eq!(value("sharing.credit"), "8MiB");
        assert_eq!(value("sharing.free_rate"), "256k");
        assert_eq!(value("gateways.maximum_price"), "0");
        assert_eq!(value("lan"), &json!([]));
        assert_eq!(value("mesh[0].radio"), &Value::Null);
    }

    #[test]
    fn passwords_stay_where_they_are() {
        let config = parse(
            "network: village\nmesh: [{interface: mesh0, radio: {id: v, frequency_mhz: 2412, \
             key: {sae: correct horse}}}]\n",
        );
        let shown = config.shown();
        assert!(!format!("{shown:?}").contains("horse"));
        let key = shown.iter().find(|it| it.key == "mesh[0].radio.key");
        assert_eq!(key.unwrap().value, Setting::HIDDEN);
        assert!(key.unwrap().is_set);
    }
}
