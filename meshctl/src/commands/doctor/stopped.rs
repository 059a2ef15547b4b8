//! What can be found out while no daemon runs: why it does not start, first of all.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::process::Command;

use control_api::{Finding, Severity};
use meshd::config::{Config, ConfigError};

/// The daemon that does not run, and what is wrong with its configuration and the machine.
pub(super) fn findings(socket: &Path, file: &Path) -> Vec<Finding> {
    let config = Config::load(file);
    let daemon = Service::find().finding(socket, file);
    let mut findings = vec![daemon];
    let unfit = |error: &ConfigError| Finding {
        check: "config".to_owned(),
        severity: Severity::Error,
        subject: "configuration".to_owned(),
        problem: error.to_string(),
        advice: format!(
            "put that right; meshd --check --config {} looks again",
            file.display()
        ),
        fixable: false,
    };
    match config {
        Ok(config) => {
            findings.extend(config.check_system().err().as_ref().map(unfit));
            findings.extend(other_socket(socket, &config));
            findings.extend(meshd::control::without_daemon(&config));
        }
        Err(error) => findings.push(unfit(&error)),
    }
    findings
}

/// The daemon may run, and listen elsewhere.
fn other_socket(socket: &Path, config: &Config) -> Option<Finding> {
    let configured = config.control();
    let is_socket = fs::metadata(configured).is_ok_and(|it| it.file_type().is_socket());
    (configured != socket && is_socket).then(|| Finding {
        check: "socket".to_owned(),
        severity: Severity::Error,
        subject: socket.display().to_string(),
        problem: format!("the configuration has it at {}", configured.display()),
        advice: format!("meshctl --socket {} doctor", configured.display()),
        fixable: false,
    })
}

/// Who starts the daemon on this machine.
#[derive(Debug, PartialEq, Eq)]
enum Service {
    /// systemd, with what it says of the unit.
    Systemd(String),
    /// procd of OpenWrt, and whether it starts it with the machine.
    Procd { is_enabled: bool },
    /// Nobody that is known.
    None,
}

impl Service {
    fn find() -> Self {
        let script = "/etc/init.d/meshd";
        if Path::new("/run/systemd/system").exists() {
            let mut command = Command::new("systemctl");
            let command =
                command.args(["show", "meshd", "-p", "LoadState,ActiveState,UnitFileState"]);
            let shown = command
                .output()
                .map(|it| String::from_utf8_lossy(&it.stdout).into_owned());
            return shown.map_or(Self::None, Self::Systemd);
        }
        if !Path::new(script).exists() {
            return Self::None;
        }
        let enabled = Command::new(script).arg("enabled").status();
        Self::Procd {
            is_enabled: enabled.is_ok_and(|it| it.success()),
        }
    }

    fn finding(&self, socket: &Path, file: &Path) -> Finding {
        let (state, advice) = self.state(file);
        Finding {
            check: "daemon".to_owned(),
            severity: Severity::Error,
            subject: "meshd".to_owned(),
            problem: format!(
                "it is not running: nobody answers at {}{state}",
                socket.display()
            ),
            advice,
            fixable: false,
        }
    }

    /// What is known of it, and what to do next.
    fn state(&self, file: &Path) -> (&'static str, String) {
        let by_hand = format!("meshd --config {} says what is in its way", file.display());
        match self {
            Self::Systemd(shown) => {
                let has = |line: &str| shown.lines().any(|it| it == line);
                let start = "systemctl start meshd; journalctl -u meshd -e says why it ended";
                if has("LoadState=not-found") {
                    (", and systemd knows no unit meshd", by_hand)
                } else if has("ActiveState=failed") {
                    (", its unit has failed", start.to_owned())
                } else if has("UnitFileState=disabled") {
                    (
                        ", and it does not start with the machine",
                        "systemctl enable --now meshd".to_owned(),
                    )
                } else {
                    ("", start.to_owned())
                }
            }
            Self::Procd { is_enabled: true } => (
                "",
                "/etc/init.d/meshd start; logread -e meshd says why it ended".to_owned(),
            ),
            Self::Procd { is_enabled: false } => (
                ", and it does not start with the machine",
                "/etc/init.d/meshd enable; /etc/init.d/meshd start".to_owned(),
            ),
            Self::None => ("", by_hand),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_step_is_that_of_who_starts_the_daemon() {
        let file = Path::new("/etc/meshd/meshd.yaml");
        let systemd = |text: &str| Service::Systemd(text.to_owned());
        for (service, step) in [
            (
                systemd("LoadState=loaded\nActiveState=failed\nUnitFileState=enabled\n"),
                "journalctl -u meshd",
            ),
            (
                systemd("LoadState=loaded\nActiveState=inactive\nUnitFileState=disabled\n"),
                "systemctl enable --now",
            ),
            (
                systemd("LoadState=not-found\n"),
                "meshd --config /etc/meshd",
            ),
            (Service::Procd { is_enabled: false }, "init.d/meshd enable"),
            (Service::Procd { is_enabled: true }, "logread"),
            (Service::None, "meshd --config /etc/meshd"),
        ] {
            let finding = service.finding(Path::new("/run/meshd/control.sock"), file);
            assert!(finding.advice.contains(step), "{finding:?}");
            assert!(
                finding.problem.contains("/run/meshd/control.sock"),
                "{finding:?}"
            );
        }
    }
}
