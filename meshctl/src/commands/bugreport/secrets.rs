//! What must not get into a report, and is taken out wherever it stands.

use std::fmt;
use std::fs;
use std::path::Path;

use control_api::{Setting, Settings};
use meshd::config::Config;
use zeroize::Zeroizing;

/// In place of what was removed.
const REMOVED: &str = "(removed)";

/// Shorter words are none of ours, and would take pieces out of everything.
const MIN_LEN: usize = 6;

/// Settings that say in which file a secret is.
const FILES: [&str; 2] = ["identity", "network_key"];

/// What secrets are called in files and logs of programs. What stands behind it on the line is removed.
const NAMES: [&str; 22] = [
    "api_key",
    "apikey",
    "authorization",
    "key",
    "mnemonic",
    "pass",
    "passphrase",
    "passwd",
    "password",
    "preshared_key",
    "presharedkey",
    "private",
    "private_key",
    "privatekey",
    "psk",
    "sae",
    "sae_password",
    "secret",
    "seed",
    "token",
    "wpa_passphrase",
    "wpa_psk",
];

/// The values of secrets.
#[derive(Default)]
pub(super) struct Secrets(Vec<Zeroizing<String>>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    /// Those of a configuration file, and of the files that the settings in force name. What cannot be read
    /// cannot get into a report either.
    pub(super) fn of(config: &Path, settings: &Settings) -> Self {
        let mut secrets = Self::default();
        let mut files: Vec<String> = settings.settings.iter().filter_map(file).collect();
        if let Ok(text) = fs::read_to_string(config).map(Zeroizing::new) {
            // One that everybody can read is refused by meshd, and has its secrets all the same.
            match Config::parse(&text, "configuration") {
                Ok(config) => {
                    secrets.0.extend(config.passwords());
                    files.extend(config.shown().iter().filter_map(file));
                }
                Err(_) => secrets.0.extend(text.lines().filter_map(named)),
            }
        }
        for file in files {
            if let Ok(text) = fs::read_to_string(file).map(Zeroizing::new) {
                let lines = text.lines().map(str::trim);
                let lines = lines.map(|line| Zeroizing::new(line.to_owned()));
                secrets.0.extend(lines);
            }
        }
        secrets.0.retain(|secret| secret.len() >= MIN_LEN);
        // One may be part of another.
        secrets
            .0
            .sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets
    }

    /// The text without any of them, and without those of URLs.
    pub(super) fn remove(&self, text: &str) -> String {
        let known =
            |text: String, secret: &Zeroizing<String>| text.replace(secret.as_str(), REMOVED);
        self.0.iter().fold(without_logins(text), known)
    }
}

fn file(setting: &Setting) -> Option<String> {
    let names_one = FILES.contains(&setting.key.as_str());
    let path = setting.value.as_str().filter(|_| names_one)?;
    Some(path.to_owned())
}

/// `https://user:password@host` without what is before the host.
fn without_logins(text: &str) -> String {
    const BEGIN: &str = "://";
    let mut rest = text;
    let mut clean = String::with_capacity(text.len());
    while let Some((before, after)) = rest.split_once(BEGIN) {
        clean.push_str(before);
        clean.push_str(BEGIN);
        let end = after.find(|c: char| c.is_whitespace() || "/?#\"'<>".contains(c));
        let authority = after.get(..end.unwrap_or(after.len())).unwrap_or_default();
        rest = after;
        if let Some((login, _)) = authority.rsplit_once('@') {
            clean.push_str(REMOVED);
            rest = after.get(login.len()..).unwrap_or_default();
        }
    }
    clean.push_str(rest);
    clean
}

/// Each line up to a word that says that a secret follows: `password=…`, `"sae": …`.
pub(super) fn without_named(text: &str) -> String {
    let lines = text.lines().map(|line| match end_of_name(line) {
        Some(end) => format!("{} {REMOVED}\n", line.get(..end).unwrap_or_default()),
        None => format!("{line}\n"),
    });
    lines.collect()
}

/// What stands behind such a word, in a text that is not as it should be.
fn named(line: &str) -> Option<Zeroizing<String>> {
    const AROUND: [char; 6] = ['{', '}', ' ', '"', '\'', ','];
    let rest = line.get(end_of_name(line)?..)?;
    // A mapping on one line: `key: {sae: …}`.
    let rest = end_of_name(rest)
        .and_then(|end| rest.get(end..))
        .unwrap_or(rest);
    Some(Zeroizing::new(rest.trim_matches(AROUND).to_owned()))
}

/// Where the first sign is behind such a word.
fn end_of_name(line: &str) -> Option<usize> {
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    line.match_indices([':', '=']).find_map(|(at, sign)| {
        let before = line
            .get(..at)?
            .trim_end_matches(|c: char| c.is_whitespace() || "\"'".contains(c));
        let begin = before.rfind(|c| !is_of_word(c));
        let word = before.get(begin.map_or(0, |it| it + 1)..)?;
        let name = word
            .trim_start_matches('-')
            .to_ascii_lowercase()
            .replace('-', "_");
        NAMES.contains(&name.as_str()).then_some(at + sign.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_a_secret_is_removed_with_the_rest_of_its_line() {
        for (line, kept) in [
            ("key: {sae: correct horse}", "key: (removed)"),
            ("  psk=\"correct horse\"", "  psk= (removed)"),
            ("{\"sae\" : \"a\", \"b\": 1}", "{\"sae\" : (removed)"),
            (
                "wpa_supplicant[1]: mesh0: SAE-Password=abc",
                "wpa_supplicant[1]: mesh0: SAE-Password= (removed)",
            ),
            ("run --private-key=0x12", "run --private-key= (removed)"),
            (
                "network_key: /etc/meshd/network.key",
                "network_key: /etc/meshd/network.key",
            ),
            ("monkey: banana", "monkey: banana"),
            ("link/none key 0x7", "link/none key 0x7"),
        ] {
            assert_eq!(without_named(line), format!("{kept}\n"));
        }
    }

    #[test]
    fn logins_of_urls_are_removed() {
        let secrets = Secrets::default();
        for (text, clean) in [
            (
                "at https://me:p@ss@node.example/v1 and",
                "at https://(removed)@node.example/v1 and",
            ),
            ("http://node.example/a@b", "http://node.example/a@b"),
            ("x://a@b://c:d@e", "x://(removed)@b://(removed)@e"),
            ("no://", "no://"),
        ] {
            assert_eq!(secrets.remove(text), clean);
        }
    }

    #[test]
    fn a_configuration_that_is_not_right_has_secrets_as_well() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("meshd.yaml");
        let nothing = Settings {
            schema: 2,
            settings: vec![],
        };
        let radio = "radio: {id: v, frequency_mhz: 2412, key: {sae: correct horse}}";
        // Right, but for everybody to read; and wrong.
        for mesh in [
            format!("mesh: [{{interface: mesh0, {radio}}}]\n"),
            "mesh:\n  - interface: mesh0\n    radio:\n      key: {sae: \"correct horse\"}\n"
                .to_owned(),
            "mesh:\n  - key:\n      sae: 'correct horse'\n".to_owned(),
        ] {
            fs::write(&file, format!("network: village\n{mesh}")).unwrap();

            let secrets = Secrets::of(&file, &nothing);

            assert_eq!(secrets.remove("a correct horse"), "a (removed)", "{mesh}");
        }
    }

    #[test]
    fn the_longest_secret_goes_first_and_short_words_stay() {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("network.key");
        fs::write(&key, "secret-secret\n\nsecret\nab\n").unwrap();
        let settings = Settings {
            schema: 2,
            settings: vec![Setting {
                key: "network_key".into(),
                value: key.display().to_string().into(),
                is_set: true,
            }],
        };

        let secrets = Secrets::of(Path::new("/nonexistent"), &settings);

        assert_eq!(
            secrets.remove("a secret-secret, a secret, ab"),
            "a (removed), a (removed), ab"
        );
    }
}
