//! What is wrong with this node, and what to do about it.
//!
//! A check is a function in the file of its group, and a line in a table: [`KNOWN`] if the daemon knows the
//! answer, [`LOOKED_AT`] if it has to look at the machine. It says nothing while all is well. Each has a test in
//! `tests/e2e/doctor.rs` that breaks what it looks for, or says there where it is tested.
//!
//! What can be mended is what meshd needs and sets itself, and somebody changed: never a firewall of others.

mod files;
mod firewall;
mod gateways;
mod links;
mod modules;
mod networks;
mod node;
mod radios;
mod receipts;
mod rules;
mod system;
mod uplinks;

use control_api::{Doctor, Finding, SCHEMA, Severity};

use super::View;
use crate::config::Config;
use crate::kernel::Base;

/// A check of what the daemon knows.
type Check = fn(&View<'_>, &mut Findings);

/// A check of the machine, which may take its time.
type Look = fn(&Machine, &mut Findings);

/// The checks of what the daemon knows, by the names that findings carry.
const KNOWN: [(&str, Check); 22] = [
    ("interface", links::interfaces),
    ("mtu", links::mtu),
    ("neighbors", links::unheard),
    ("asymmetric", links::asymmetric),
    ("version", links::versions),
    ("country", radios::country),
    ("radio_kind", radios::kind),
    ("radio_peers", radios::peers),
    ("radio_key", radios::key),
    ("encryption", radios::open),
    ("uplink", uplinks::failing),
    ("uplink_missing", uplinks::missing),
    ("one_armed", uplinks::one_armed),
    ("marks", uplinks::without_a_mark),
    ("resolvers", uplinks::resolvers),
    ("saving", receipts::saving),
    ("kernel", node::kernel),
    ("identity", node::identity),
    ("gateways_off", gateways::switched_off),
    ("pinned", gateways::unknown),
    ("price", gateways::priced_out),
    ("prefixes", gateways::prefixes),
];

/// The checks of the machine, by the names that findings carry.
const LOOKED_AT: [(&str, Look); 10] = [
    ("sysctl", system::sysctls),
    ("table", system::table),
    ("modules", modules::missing),
    ("rules", rules::before_ours),
    ("one_armed", networks::default_on_the_mesh),
    ("firewall", firewall::in_the_way),
    ("network", networks::same_at_uplink),
    ("key_mode", files::modes),
    ("flash", files::room),
    ("clock", files::clock),
];

impl View<'_> {
    /// What the daemon knows to be wrong.
    pub(crate) fn known(&self) -> Findings {
        let mut findings = Findings::default();
        for (name, check) in KNOWN {
            findings.check = name;
            check(self, &mut findings);
        }
        findings
    }
}

/// The machine that the daemon runs on, and what has to be known of the daemon to look at it.
#[derive(Debug)]
pub(crate) struct Machine {
    /// What the kernel should be, if it was that already.
    pub(crate) base: Option<Base>,
    /// The ends of tunnels that there are.
    pub(crate) tunnels: Vec<String>,
    pub(crate) config: Config,
    /// Whether files are to be mended. What the kernel should be, the driver has it be.
    pub(crate) mend: bool,
}

impl Machine {
    /// What is wrong, beside what the daemon knows.
    pub(crate) async fn doctor(self, mut findings: Findings) -> Doctor {
        let look = move || {
            for (name, look) in LOOKED_AT {
                findings.check = name;
                look(&self, &mut findings);
            }
            findings
        };
        let found = tokio::task::spawn_blocking(look).await;
        found.unwrap_or_default().into_answer()
    }
}

/// What is wrong with a machine on which no daemon runs, by what can be looked at without one.
#[must_use]
pub fn without_daemon(config: &Config) -> Vec<Finding> {
    let machine = Machine {
        base: None,
        tunnels: Vec::new(),
        config: config.clone(),
        mend: false,
    };
    let mut findings = Findings::default();
    for (name, look) in [
        ("modules", modules::missing as Look),
        ("key_mode", files::modes),
        ("flash", files::room),
        ("clock", files::clock),
    ] {
        findings.check = name;
        look(&machine, &mut findings);
    }
    findings.into_answer().findings
}

/// What was found so far.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// The name of the check at work.
    check: &'static str,
    found: Vec<Finding>,
}

impl Findings {
    /// Something does not work.
    fn error(
        &mut self,
        subject: impl Into<String>,
        problem: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.push(Severity::Error, subject, problem, advice);
    }

    /// It works, but worse than it could, or not for long.
    fn warning(
        &mut self,
        subject: impl Into<String>,
        problem: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.push(Severity::Warning, subject, problem, advice);
    }

    /// Worth knowing.
    fn note(
        &mut self,
        subject: impl Into<String>,
        problem: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.push(Severity::Note, subject, problem, advice);
    }

    /// The last one can be mended.
    fn can_be_mended(&mut self) {
        if let Some(finding) = self.found.last_mut() {
            finding.fixable = true;
        }
    }

    fn push(
        &mut self,
        severity: Severity,
        subject: impl Into<String>,
        problem: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.found.push(Finding {
            check: self.check.to_owned(),
            severity,
            subject: subject.into(),
            problem: problem.into(),
            advice: advice.into(),
            fixable: false,
        });
    }

    /// The most severe first.
    fn into_answer(mut self) -> Doctor {
        self.found.sort_by_key(|finding| finding.severity);
        Doctor {
            schema: SCHEMA,
            findings: self.found,
        }
    }
}
