//! `meshctl doctor`

use control_api::{Doctor, Exit, Finding, Severity};

use super::Daemon;
use crate::failure::Failure;
use crate::format;
use crate::output::Output;

/// The width of the severities on the left.
const SEVERITY_COLUMNS: usize = 9;

/// With an error among the findings the command fails, so that a script need not read them.
pub(super) fn run(daemon: &Daemon, output: Output) -> Result<(), Failure> {
    let result = daemon.connect()?.doctor()?;
    output.show(&result, text)?;
    if result.has_errors() {
        return Err(Failure::silent(Exit::Failure));
    }
    Ok(())
}

pub(super) fn text(result: &Doctor) -> String {
    if result.findings.is_empty() {
        return "No problems found.\n".to_owned();
    }
    result.findings.iter().map(paragraph).collect()
}

/// Lines are not broken: advice may be a command to copy.
fn paragraph(finding: &Finding) -> String {
    let severity = severity(finding.severity);
    let subject = format::harmless(&finding.subject);
    let problem = format::harmless(&finding.problem);
    let advice = format::harmless(&finding.advice);
    let mut text = format!("{severity:<SEVERITY_COLUMNS$}{subject}: {problem}\n");
    if !advice.trim().is_empty() {
        text.push_str(&format!("{:SEVERITY_COLUMNS$}{advice}\n", ""));
    }
    text
}

const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}
