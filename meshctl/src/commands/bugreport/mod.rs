//! `meshctl bugreport`: one text that a helper far away can read, without secrets.
//!
//! | room | what lives there |
//! |---|---|
//! | this file | what is in the report, and in which order |
//! | `daemon` | what meshd says |
//! | `machine` | what kernel and system say |
//! | `program` | other programs, which may be missing, hang, or never end |
//! | `secrets` | what is taken out of all that |
//!
//! **Invariant: no key and no password gets into the report.** Files that have some are read only to know what to
//! take out; what meshd answers has none; from the text of others their known values are removed, and whatever
//! stands behind a word such as `password:`.

mod daemon;
mod machine;
mod program;
mod secrets;

use std::path::{Path, PathBuf};

use control_api::{Exit, SCHEMA};
use serde::Serialize;

use super::Daemon;
use crate::cli::BugReport;
use crate::failure::Failure;
use crate::format;
use crate::output::{self, Output};
use crate::private_file;
use secrets::Secrets;

/// The most that one section has: all that is known of some 100 nodes.
const SECTION_BYTES: usize = 64 * 1024;
/// The most that the whole has: what a mail takes.
const REPORT_BYTES: usize = 1024 * 1024;

/// Part of a report.
#[derive(Debug)]
struct Section {
    title: String,
    text: String,
    keep: Keep,
}

/// What is kept of a section that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    /// The first lines.
    Head,
    /// The last lines, as of a log.
    Tail,
}

impl Section {
    fn new(title: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            text: text.into(),
            keep: Keep::Head,
        }
    }
}

/// What `bugreport` wrote.
#[derive(Debug, Serialize)]
struct Written {
    schema: u32,
    file: String,
    bytes: usize,
    /// Whether meshd answered.
    daemon: bool,
}

/// Without the daemon something is missing, which the exit code says, too.
pub(super) fn run(daemon: &Daemon, output: Output, options: &BugReport) -> Result<(), Failure> {
    let (report, has_daemon) = report(daemon, &options.config);
    let to_stdout = options.output_file == Path::new("-");
    if to_stdout {
        output::write_all(&report)?;
    } else {
        let file = PathBuf::from(&options.output_file);
        private_file::replace(&file, report.as_bytes())
            .map_err(|error| Failure::file(&file, &error))?;
        let written = Written {
            schema: SCHEMA,
            file: file.display().to_string(),
            bytes: report.len(),
            daemon: has_daemon,
        };
        output.show(&written, text)?;
    }
    match has_daemon {
        true => Ok(()),
        false => Err(Failure::silent(Exit::Degraded)),
    }
}

fn text(written: &Written) -> String {
    let file = format::harmless(&written.file);
    let without = match written.daemon {
        true => "",
        false => "meshd did not answer: what it knows is missing.\n",
    };
    format!(
        "{file}: {} bytes, without keys and passwords. It names nodes, addresses and interfaces: read it \
         before you send it.\n{without}",
        written.bytes
    )
}

/// The report, and whether meshd answered.
fn report(daemon: &Daemon, config: &Path) -> (String, bool) {
    let answers = daemon::ask(daemon, config);
    let secrets = Secrets::of(config, &answers.settings);
    let mut sections = vec![Section::new("meshctl", about(daemon, config, &answers))];
    sections.extend(answers.sections);
    let machine = machine::sections(daemon.limit).into_iter();
    // What others wrote may have words that look like secrets, and be some.
    sections.extend(machine.map(|section| Section {
        text: secrets::without_named(&section.text),
        ..section
    }));
    (assemble(&sections, &secrets), answers.is_there)
}

fn about(daemon: &Daemon, config: &Path, answers: &daemon::Answers) -> String {
    let state = match &answers.failure {
        None => "answers".to_owned(),
        Some(failure) => format!("DOES NOT ANSWER: {failure}"),
    };
    format!(
        "meshctl {}\nmeshd at {}: {state}\nconfiguration file {}\n",
        env!("CARGO_PKG_VERSION"),
        daemon.socket().display(),
        config.display()
    )
}

/// One text of all sections, as long as there is room.
fn assemble(sections: &[Section], secrets: &Secrets) -> String {
    let mut report = String::from("Report about meshd. Keys and passwords were removed.\n");
    for section in sections {
        let body = cut(&secrets.remove(&section.text), section.keep);
        let heading = format!("\n===== {} =====\n", format::harmless(&section.title));
        if report.len() + heading.len() + body.len() > REPORT_BYTES {
            report.push_str(&heading);
            report.push_str("(left out: the report is full)\n");
            continue;
        }
        report.push_str(&heading);
        report.push_str(&body);
    }
    report
}

/// Whole lines, as many as there is room for, each without what acts on a terminal.
fn cut(text: &str, keep: Keep) -> String {
    let mut room = SECTION_BYTES;
    let mut fits = |line: &String| match room.checked_sub(line.len() + 1) {
        Some(rest) => {
            room = rest;
            true
        }
        None => false,
    };
    let lines = text.trim_end().lines();
    let lines: Vec<String> = lines
        .map(|line| format::harmless(&line.replace('\t', "    ")))
        .collect();
    let mut kept: Vec<&str> = match keep {
        Keep::Head => lines
            .iter()
            .take_while(|line| fits(line))
            .map(String::as_str)
            .collect(),
        Keep::Tail => {
            let last = lines.iter().rev().take_while(|line| fits(line));
            let mut last: Vec<&str> = last.map(String::as_str).collect();
            last.reverse();
            last
        }
    };
    let left_out = lines.len() - kept.len();
    let note = format!("(left out: {left_out} lines)");
    match keep {
        _ if left_out == 0 => {}
        Keep::Head => kept.push(&note),
        Keep::Tail => kept.insert(0, &note),
    }
    kept.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_keeps_the_end_that_matters_and_says_what_is_left_out() {
        let lines: Vec<String> = (0..20_000).map(|number| format!("line {number}")).collect();
        let text = lines.join("\n");

        let head = cut(&text, Keep::Head);
        let tail = cut(&text, Keep::Tail);

        assert!(head.starts_with("line 0\n") && head.ends_with(" lines)\n"));
        assert!(tail.starts_with("(left out: ") && tail.ends_with("line 19999\n"));
        assert!(head.len().max(tail.len()) < SECTION_BYTES + 100);
        assert_eq!(cut("a\tb\u{1b}[31m\n", Keep::Head), "a    b[31m\n");
    }

    #[test]
    fn the_whole_is_bounded_however_much_there_is() {
        let long = "word ".repeat(8).trim_end().to_owned() + "\n";
        let section = || Section::new("long", long.repeat(10_000));
        let sections: Vec<Section> = (0..40).map(|_| section()).collect();

        let report = assemble(&sections, &Secrets::default());

        assert!(report.len() < REPORT_BYTES + 4096, "{}", report.len());
        assert!(report.ends_with("(left out: the report is full)\n"));
    }
}
