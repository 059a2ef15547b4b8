//! What meshd says; without it, what its configuration file says.

use std::path::Path;

use control_api::{Client, ClientError, SCHEMA, Settings};
use meshd::config::Config;
use serde::Serialize;

use super::Section;
use crate::commands::{
    Daemon, doctor, gateways, interfaces, neighbors, originators, routes, settings, status,
};

/// Everything that was asked.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) is_there: bool,
    /// Why it did not answer.
    pub(super) failure: Option<String>,
    pub(super) sections: Vec<Section>,
    pub(super) settings: Settings,
}

/// A question, for its table and for its JSON.
type Question = (&'static str, fn(&mut Client) -> Result<String, ClientError>);

const QUESTIONS: [Question; 7] = [
    ("status", |client| Ok(both(&client.status()?, status::text))),
    ("doctor", |client| Ok(both(&client.doctor()?, doctor::text))),
    ("interfaces", |client| {
        Ok(both(&client.interfaces()?, interfaces::text))
    }),
    ("neighbors", |client| {
        Ok(both(&client.neighbors()?, neighbors::text))
    }),
    ("gateways", |client| {
        Ok(both(&client.gateways()?, gateways::text))
    }),
    ("originators", |client| {
        Ok(both(&client.originators()?, originators::text))
    }),
    ("routes", |client| {
        Ok(both(&client.routes(None)?, routes::text))
    }),
];

/// Asks everything; one question that fails leaves the others. `config` is the file to read instead.
pub(super) fn ask(daemon: &Daemon, config: &Path) -> Answers {
    let mut client = match daemon.connect() {
        Ok(client) => client,
        Err(error) => return without(&error, config),
    };
    // Who does not take one question will not take the next: waiting once is enough.
    let settings = match client.config() {
        Ok(settings) => settings,
        Err(error) => return without(&error, config),
    };
    let mut sections = Vec::new();
    for (name, question) in QUESTIONS {
        let answer = question(&mut client).unwrap_or_else(|error| format!("{error}\n"));
        sections.push(Section::new(format!("meshctl {name}"), answer));
    }
    sections.push(Section::new(
        "meshctl config show",
        settings::yaml(&settings),
    ));
    Answers {
        is_there: true,
        failure: None,
        sections,
        settings,
    }
}

fn without(error: &ClientError, config: &Path) -> Answers {
    let nothing = Settings {
        schema: SCHEMA,
        settings: Vec::new(),
    };
    let (settings, text) = match Config::load(config) {
        Ok(config) => {
            let settings = Settings {
                settings: config.shown(),
                ..nothing
            };
            let text = settings::yaml(&settings);
            (settings, text)
        }
        Err(error) => (nothing, format!("{error}\n")),
    };
    Answers {
        is_there: false,
        failure: Some(error.to_string()),
        sections: vec![Section::new("configuration file", text)],
        settings,
    }
}

/// For people, and in one line for programs.
fn both<T: Serialize>(result: &T, text: fn(&T) -> String) -> String {
    let json = serde_json::to_string(result).unwrap_or_else(|error| error.to_string());
    format!("{}\n{json}\n", text(result))
}
