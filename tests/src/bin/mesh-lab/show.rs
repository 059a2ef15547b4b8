//! How progress and figures are printed.

use std::io::{IsTerminal, stdout};
use std::time::{Duration, Instant};

/// Prints numbered steps as they happen and a table of what was measured at the end.
#[derive(Debug)]
pub(crate) struct Show {
    start: Instant,
    steps: usize,
    step: usize,
    colour: bool,
    figures: Vec<(String, String)>,
}

impl Show {
    pub(crate) fn new(steps: usize) -> Self {
        let colour = stdout().is_terminal();
        Self {
            start: Instant::now(),
            steps,
            step: 0,
            colour,
            figures: Vec::new(),
        }
    }

    /// Begins the next step.
    pub(crate) fn step(&mut self, title: &str) {
        self.step += 1;
        println!();
        let head = format!("[{}/{}] {title}", self.step, self.steps);
        println!("{}", self.paint("1", &head));
    }

    /// Something that was seen.
    pub(crate) fn say(&self, text: &str) {
        for line in text.lines() {
            println!("      {line}");
        }
    }

    /// Something that was proved.
    pub(crate) fn held(&self, text: &str) {
        println!("    {} {text}", self.paint("32", "ok"));
    }

    /// Something that was measured, for the table.
    pub(crate) fn figure(&mut self, what: &str, value: impl Into<String>) {
        self.figures.push((what.to_owned(), value.into()));
    }

    /// Something that did not hold.
    pub(crate) fn failed(&self, text: &str) {
        println!("{} {text}", self.paint("31", "FAILED"));
    }

    pub(crate) fn table(&mut self) {
        let total = self.start.elapsed();
        self.figure("the whole demonstration", seconds(total));
        let width = self
            .figures
            .iter()
            .map(|(what, _)| what.chars().count())
            .max()
            .unwrap_or(0);
        println!();
        println!("{}", self.paint("1", "Measured"));
        for (what, value) in &self.figures {
            println!("  {what:width$}  {value}");
        }
        println!();
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

pub(crate) fn bytes(count: u64) -> String {
    let mib = 1024 * 1024;
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{} KiB", count / 1024),
        _ => format!("{}.{} MiB", count / mib, count % mib * 10 / mib),
    }
}
