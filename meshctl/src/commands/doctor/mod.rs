//! `meshctl doctor`

mod stopped;

use std::thread;
use std::time::{Duration, Instant};

use std::path::Path;

use control_api::{Client, ClientError, Doctor, Exit, Finding, Mended, SCHEMA, Severity};

use super::Daemon;
use crate::failure::Failure;
use crate::format;
use crate::output::Output;

/// The width of the severities on the left.
const SEVERITY_COLUMNS: usize = 9;

/// How often to look whether all is mended.
const LOOK: Duration = Duration::from_millis(200);

/// What was found decides how the command ends, so that a script need not read it.
pub(super) fn run(
    daemon: &Daemon,
    output: Output,
    fix: bool,
    config: &Path,
) -> Result<(), Failure> {
    let mut client = match daemon.connect() {
        Err(ClientError::NotRunning { socket, .. }) => {
            let found = Doctor {
                schema: SCHEMA,
                findings: stopped::findings(&socket, config),
            };
            output.show(&found, text)?;
            return Err(Failure::silent(Exit::NotRunning));
        }
        client => client?,
    };
    let found = client.doctor()?;
    if !fix {
        output.show(&found, text)?;
        return end(&found);
    }
    let left = mend(&mut client, &found, Instant::now() + daemon.limit)?;
    let is_left = |finding: &&Finding| {
        let mut left = left.findings.iter();
        left.any(|it| (&it.check, &it.subject) == (&finding.check, &finding.subject))
    };
    let mended = found
        .findings
        .iter()
        .filter(|it| it.fixable && !is_left(it));
    let result = Mended {
        schema: SCHEMA,
        mended: mended.cloned().collect(),
        findings: left.findings.clone(),
    };
    output.show(&result, |result| {
        let lines = result.mended.iter();
        let lines = lines.map(|it| line("mended", &it.subject, &it.problem));
        lines.collect::<String>() + &text(&left)
    })?;
    end(&left)
}

fn end(found: &Doctor) -> Result<(), Failure> {
    let exit = found.exit();
    match exit == Exit::Ok {
        true => Ok(()),
        false => Err(Failure::silent(exit)),
    }
}

/// Has all be mended that can be, and returns what is left when nothing of it is, or when time is up.
fn mend(client: &mut Client, found: &Doctor, until: Instant) -> Result<Doctor, Failure> {
    let mut left = found.clone();
    let can_be_mended = |found: &Doctor| found.findings.iter().any(|it| it.fixable);
    if can_be_mended(&left) {
        left = client.mend()?;
    }
    while can_be_mended(&left) && Instant::now() < until {
        thread::sleep(LOOK);
        left = client.doctor()?;
    }
    Ok(left)
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
    let mut text = line(severity, &finding.subject, &finding.problem);
    let advice = format::harmless(&finding.advice);
    if !advice.trim().is_empty() {
        text.push_str(&format!("{:SEVERITY_COLUMNS$}{advice}\n", ""));
    }
    text
}

fn line(begin: &str, subject: &str, problem: &str) -> String {
    let (subject, problem) = (format::harmless(subject), format::harmless(problem));
    format!("{begin:<SEVERITY_COLUMNS$}{subject}: {problem}\n")
}

const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}
