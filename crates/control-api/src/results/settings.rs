//! `config.show`: the configuration in force.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Everything that is configured, defaults included, without secrets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// [`crate::SCHEMA`].
    pub schema: u32,
    /// In the order of the example configuration.
    pub settings: Vec<Setting>,
}

/// One value of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// Where it stands: `uplink.check`, `lan[1].prefixes`.
    pub key: String,
    /// As it would be written: a text, a number, a list or a mapping of these; `null` when there is none.
    /// A secret is [`Setting::HIDDEN`].
    pub value: Value,
    /// Whether the file says so; else it is the default.
    pub is_set: bool,
}

impl Setting {
    /// In place of a secret. As a value of the configuration it would be refused.
    pub const HIDDEN: &'static str = "(not shown)";
}
