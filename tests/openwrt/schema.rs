//! UCI against meshd's keys, in both directions.

use std::collections::BTreeSet;
use std::fs;

use serde_yaml::Value;

use crate::cases::{CASES, Case, LEFT_OUT, NO_KEYS};
use crate::router::{Router, source};

/// Every option of the file that is installed, commented out or not, with the type of its section.
fn documented() -> BTreeSet<(String, String)> {
    let text = fs::read_to_string(source("openwrt/meshd/files/meshd.config")).unwrap();
    let mut kind = String::new();
    let mut options = BTreeSet::new();
    for line in text.lines() {
        let words: Vec<&str> = line.trim_start_matches('#').split_whitespace().collect();
        match words.as_slice() {
            ["config", name, ..] => kind = (*name).to_owned(),
            ["option" | "list", name, value, ..] if value.starts_with('\'') => {
                options.insert((kind.clone(), (*name).to_owned()));
            }
            _ => {}
        }
    }
    options
}

/// Paths of all keys that hold no keys themselves.
fn keys_of(value: &Value, path: &str, keys: &mut BTreeSet<String>) {
    match value {
        Value::Mapping(entries) => {
            for (key, below) in entries {
                let key = key.as_str().unwrap();
                let dot = if path.is_empty() { "" } else { "." };
                keys_of(below, &format!("{path}{dot}{key}"), keys);
            }
        }
        Value::Sequence(items) if items.iter().all(Value::is_mapping) && !items.is_empty() => {
            for item in items {
                keys_of(item, path, keys);
            }
        }
        _ => {
            keys.insert(path.to_owned());
        }
    }
}

/// The value at a path, of lists of mappings the first, as words.
fn words_at(value: &Value, path: &str) -> Option<String> {
    let value = path.split('.').try_fold(value, |value, key| {
        let value = value
            .as_sequence()
            .map_or(Some(value), |items| items.first())?;
        value.get(key)
    })?;
    match value {
        Value::Sequence(items) => {
            let words: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            words.map(|words| words.join(" "))
        }
        value => value.as_str().map(str::to_owned),
    }
}

fn section(router: &Router, case: &Case) -> String {
    let name = match case.kind {
        "meshd" => "main",
        kind => kind,
    };
    let word = if case.values.len() > 1 {
        "list"
    } else {
        "option"
    };
    let mut text = format!("config {} '{name}'\n", case.kind);
    for value in case.values {
        let value = value.replace(
            "{root}",
            router.path("").to_str().unwrap().trim_end_matches('/'),
        );
        text += &format!("\t{word} {} '{value}'\n", case.option);
    }
    text + case.beside
}

#[test]
fn every_option_is_rendered_and_meshd_takes_it() {
    for case in CASES {
        let router = Router::new();
        let key = router.path("network.key");
        fs::write(&key, "a secret of many bytes").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&key, mode).unwrap();
        router.configure(&section(&router, case));

        router.service("start");

        let (kind, option) = (case.kind, case.option);
        assert_eq!(router.read("logged"), "", "{kind}.{option}");
        let rendered = router.rendered().unwrap();
        let root = router.path("");
        let becomes = case
            .becomes
            .replace("{root}", root.to_str().unwrap().trim_end_matches('/'));
        assert_eq!(
            words_at(&rendered, case.key),
            Some(becomes),
            "{kind}.{option}: {rendered:?}"
        );
    }
}

#[test]
fn every_option_is_documented_and_has_a_case() {
    let cases = CASES.iter().map(|case| (case.kind, case.option));
    let others = NO_KEYS.iter().map(|(kind, option, _)| (*kind, *option));
    let tested: BTreeSet<(String, String)> = cases
        .chain(others)
        .map(|(kind, option)| (kind.to_owned(), option.to_owned()))
        .collect();
    assert_eq!(documented(), tested);
}

#[test]
fn every_key_of_meshd_has_an_option_or_is_left_out_on_purpose() {
    let example = fs::read_to_string(source("config/meshd.yaml")).unwrap();
    let mut keys = BTreeSet::new();
    keys_of(&serde_yaml::from_str(&example).unwrap(), "", &mut keys);
    assert!(
        keys.contains("lan.prefixes") && keys.contains("mesh.radio.phy"),
        "{keys:?}"
    );
    for key in &keys {
        let is_rendered = CASES.iter().any(|case| case.key == key);
        let is_left_out = LEFT_OUT.iter().any(|(out, _)| match out.strip_suffix('.') {
            Some(above) => key
                .strip_prefix(above)
                .is_some_and(|rest| rest.starts_with('.')),
            None => key == out,
        });
        assert!(is_rendered != is_left_out, "{key}");
    }
}

#[test]
fn what_is_installed_is_complete_but_disabled() {
    let router = Router::new();
    let installed = fs::read_to_string(source("openwrt/meshd/files/meshd.config")).unwrap();
    router.write("etc/config/meshd", &installed);
    let rendered = router.run(
        ". $IPKG_INSTROOT/lib/functions.sh; . $IPKG_INSTROOT/lib/functions/network.sh
        . $IPKG_INSTROOT/lib/meshd/render.sh; meshd_render",
    );
    let rendered: Value = serde_yaml::from_slice(&rendered.stdout).unwrap();
    for (key, value) in [
        ("network", "village"),
        ("identity", "/etc/meshd/identity.key"),
        ("state", "/etc/meshd/state"),
        ("control", "/var/run/meshd/control.sock"),
        ("mesh.interface", "mesh0"),
        ("lan.interface", "br-lan"),
        ("uplink.interface", "auto"),
    ] {
        assert_eq!(words_at(&rendered, key).as_deref(), Some(value), "{key}");
    }
    assert!(installed.contains("\toption enabled '0'\n"));
}

#[test]
fn sections_can_be_switched_off() {
    let router = Router::new();
    router.configure(
        "config mesh 'a'\n\toption device 'eth2'\n\toption enabled '0'\n\
         config mesh 'b'\n\toption interface 'mesh'\n\
         config lan 'c'\n\toption device 'eth1'\n\toption enabled '0'\n\
         config uplinks 'uplinks'\n\toption use 'listed'\n\
         config uplink 'd'\n\toption device 'eth1'\n\toption enabled '0'\n\
         config uplink 'e'\n\toption interface 'wan'\n",
    );
    router.service("start");
    let rendered = router.rendered().unwrap();
    assert_eq!(rendered["mesh"].as_sequence().unwrap().len(), 1);
    assert_eq!(
        words_at(&rendered, "mesh.interface").as_deref(),
        Some("mesh0")
    );
    assert!(rendered.get("lan").is_none());
    assert_eq!(
        words_at(&rendered, "uplink.interface").as_deref(),
        Some("wan")
    );
}

#[test]
fn several_of_a_kind_keep_their_order() {
    let router = Router::new();
    router.configure(
        "config uplinks 'uplinks'\n\toption use 'listed'\n\
         config uplink 'a'\n\toption interface 'wan'\n\toption bandwidth '50M/10M'\n\
         config uplink 'b'\n\toption device 'eth1'\n\
         config uplink 'c'\n\toption device 'wwan0'\n\toption bandwidth '5M/1M'\n\
         config mesh 'd'\n\toption interface 'mesh'\n\
         config mesh 'e'\n\toption device 'eth2'\n",
    );
    router.service("start");
    assert_eq!(router.read("logged"), "");
    let rendered = router.rendered().unwrap();
    assert_eq!(
        words_at(&rendered, "uplink.interface").as_deref(),
        Some("wan eth1 wwan0")
    );
    assert_eq!(
        words_at(&rendered, "uplink.bandwidth.wwan0").as_deref(),
        Some("5M/1M")
    );
    assert_eq!(rendered["mesh"][1]["interface"].as_str(), Some("eth2"));
}

#[test]
fn listed_uplinks_that_are_not_there_share_nothing() {
    let router = Router::new();
    router.configure(
        "config uplinks 'uplinks'\n\toption use 'listed'\n\
         config uplink 'a'\n\toption interface 'lte'\n",
    );
    router.service("start");
    let rendered = router.rendered().unwrap();
    assert_eq!(
        words_at(&rendered, "uplink.interface").as_deref(),
        Some("off")
    );
}

#[test]
fn a_value_stays_a_value() {
    let router = Router::new();
    router.configure("config gateways 'gateways'\n\toption pin 'x: [y'\n");
    router.service("start");
    let rendered = router.rendered().unwrap();
    assert_eq!(
        words_at(&rendered, "gateways.pin").as_deref(),
        Some("x: [y")
    );

    let router = Router::new();
    router.configure("config meshd 'main'\n\toption network_key \"/a'b #c\"\n");
    let rendered = router.run(
        ". $IPKG_INSTROOT/lib/functions.sh; . $IPKG_INSTROOT/lib/functions/network.sh
        . $IPKG_INSTROOT/lib/meshd/render.sh; meshd_render",
    );
    let rendered: Value = serde_yaml::from_slice(&rendered.stdout).unwrap();
    assert_eq!(
        words_at(&rendered, "network_key").as_deref(),
        Some("/a'b #c")
    );
}

/// What LuCI's page of settings offers: lists of options named like the types of sections.
fn offered() -> BTreeSet<(String, String)> {
    let path = "openwrt/luci-app-meshd/htdocs/luci-static/resources/view/meshd/settings.js";
    let text = fs::read_to_string(source(path)).unwrap();
    let mut kind = String::new();
    let mut options = BTreeSet::new();
    for line in text.lines() {
        if let Some(name) = line
            .strip_prefix("const ")
            .and_then(|rest| rest.strip_suffix(" = ["))
        {
            kind = name.to_lowercase().replace("main", "meshd");
        } else if let Some(option) = line.strip_prefix("\t[ ") {
            let name = option.split('\'').nth(1).unwrap();
            options.insert((kind.clone(), name.to_owned()));
        }
    }
    options
}

#[test]
fn luci_offers_every_option() {
    assert_eq!(offered(), documented());
}
