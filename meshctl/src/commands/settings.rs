//! `meshctl config show`

use control_api::{Setting, Settings};
use serde_json::Value;

use super::Daemon;
use crate::failure::Failure;
use crate::format;
use crate::output::Output;
use crate::tsv::Layout;

const LAYOUT: Layout = Layout {
    list: "settings",
    columns: &["key", "value", "is_set"],
};

/// Where comments begin, unless the line is longer.
const COMMENT_COLUMN: usize = 40;

pub(super) fn run(daemon: &Daemon, output: Output, only_set: bool) -> Result<(), Failure> {
    let mut result = daemon.connect()?.config()?;
    result
        .settings
        .retain(|setting| setting.is_set || !only_set);
    output.show_list(&result, LAYOUT, yaml)
}

/// A configuration file that says the same; what it need not say is marked.
pub(super) fn yaml(result: &Settings) -> String {
    let mut text = String::new();
    let mut before: Vec<Step<'_>> = Vec::new();
    for setting in &result.settings {
        let steps = steps(&setting.key);
        let same = steps
            .iter()
            .zip(&before)
            .take_while(|(a, b)| a == b)
            .count();
        text.push_str(&lines(setting, &steps, same));
        before = steps;
    }
    text
}

/// One step of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step<'a> {
    Key(&'a str),
    Item(&'a str),
}

/// `lan[1].mode`: `lan`, the second, `mode`.
fn steps(key: &str) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    for part in key.split('.') {
        let mut words = part.split(['[', ']']).filter(|word| !word.is_empty());
        steps.extend(words.next().map(Step::Key));
        steps.extend(words.map(Step::Item));
    }
    steps
}

/// The lines of a setting whose first steps are there already.
fn lines(setting: &Setting, steps: &[Step<'_>], same: usize) -> String {
    let mut text = String::new();
    let mut is_first_of_item = false;
    let last = steps.len().saturating_sub(1);
    for (depth, step) in steps.iter().enumerate().skip(same) {
        let Step::Key(key) = step else {
            is_first_of_item = true;
            continue;
        };
        let indent = if std::mem::take(&mut is_first_of_item) {
            format!("{}- ", "  ".repeat(depth.saturating_sub(1)))
        } else {
            "  ".repeat(depth)
        };
        let line = format!("{indent}{}:", format::harmless(key));
        match depth == last {
            true => text.push_str(&commented(&format!("{line} {}", value(setting)), setting)),
            false => text.push_str(&format!("{line}\n")),
        }
    }
    text
}

fn commented(line: &str, setting: &Setting) -> String {
    let line = line.trim_end();
    match setting.is_set {
        true => format!("{line}\n"),
        false => format!("{line:<COMMENT_COLUMN$}  # default\n"),
    }
}

fn value(setting: &Setting) -> String {
    let value = Some(&setting.value).filter(|value| !value.is_null());
    value.map(inline).unwrap_or_default()
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) => {
            let field =
                |(key, value): (&String, &Value)| format!("{}: {}", scalar(key), inline(value));
            let fields: Vec<String> = fields.iter().map(field).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// Between quotes unless it is the same without.
fn scalar(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
    match begins && text.chars().all(is_plain) && !is_null(text) {
        true => text.to_owned(),
        false => Value::from(format::harmless(text)).to_string(),
    }
}

fn is_null(text: &str) -> bool {
    text.eq_ignore_ascii_case("null")
}

#[cfg(test)]
mod tests {
    use control_api::SCHEMA;
    use meshd::config::Config;

    use super::*;

    const EXAMPLE: &str = include_str!("../../../config/meshd.yaml");

    fn shown(text: &str) -> Settings {
        Settings {
            schema: SCHEMA,
            settings: Config::parse(text, "m.yaml").unwrap().shown(),
        }
    }

    /// But that everything is set then.
    #[test]
    fn what_is_shown_is_a_configuration_that_says_the_same() {
        let odd = "network: \"null\"\nname: \"0x1f\"\n\
            mesh: [{interface: mesh0}, {interface: mesh1, radio: {id: \"a: [b] # 'c' \\\"d\\\"\", \
            frequency_mhz: 2412, phy: \"02:00:00:00:01:00\", rssi_threshold_dbm: -80}}]\n\
            lan: [{interface: lan0}, {interface: lan1, mode: routed, prefixes: [\"fd12::/64\", 10.0.0.0/8]}]\n\
            uplink: {interface: [wan, eth0.2], bandwidth: {wan: 1M/1M, eth0.2: 20M/5M}, \
            check: [\"dns://192.0.2.1\", \"http://[2001:db8::1]/a?b#c\"]}\n\
            gateways: {prefer: [\"~\", \"- x\", \"*y\"], pin: \"{\"}\n";
        for text in [EXAMPLE, odd] {
            let settings = shown(text);
            let yaml = yaml(&settings);

            let mut again = shown(&yaml);

            for (again, before) in again.settings.iter_mut().zip(&settings.settings) {
                again.is_set = before.is_set;
            }
            assert_eq!(again, settings, "{yaml}");
        }
    }

    #[test]
    fn defaults_are_marked_and_lists_have_their_places() {
        let settings = shown(
            "network: village\nname: mill\nmesh: [{interface: mesh0}]\nlan: [{interface: lan0}]\n",
        );

        let yaml = yaml(&settings);

        assert!(yaml.starts_with(
            "network: village\nnetwork_key:                              # default\nname: mill\n"
        ), "{yaml}");
        assert!(
            yaml.contains(
                "mesh:\n  - interface: mesh0\n    station_data: on                      # default\n"
            ),
            "{yaml}"
        );
        assert!(
            yaml.contains("lan:\n  - interface: lan0\n    mode: masquerade  "),
            "{yaml}"
        );
    }

    #[test]
    fn a_password_that_is_not_shown_cannot_be_taken_for_one() {
        let settings = shown(
            "network: village\nmesh: [{interface: mesh0, radio: {id: v, frequency_mhz: 2412, \
             key: {sae: correct horse}}}]\n",
        );

        let yaml = yaml(&settings);

        assert!(!yaml.contains("horse"));
        let error = Config::parse(&yaml, "m.yaml").unwrap_err().to_string();
        assert!(error.contains("mesh[0].radio.key"), "{error}");
    }
}
