//! Writes the manual pages of meshctl, of each of its commands, and of meshd into a directory: `make man`.
//!
//! An example, so that what makes the pages is in no program that is installed.

#[allow(dead_code, reason = "only the shape of the command line is used")]
#[path = "../src/cli/mod.rs"]
mod cli;

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use clap::CommandFactory as _;
use clap_mangen::Man;
use meshd::arguments::Arguments;

fn main() -> io::Result<()> {
    let directory = env::args_os().nth(1).map(PathBuf::from);
    let directory = directory.unwrap_or_else(|| PathBuf::from("target/man"));
    fs::create_dir_all(&directory)?;
    write_pages(&directory)
}

fn write_pages(directory: &Path) -> io::Result<()> {
    clap_mangen::generate_to(cli::Cli::command(), directory)?;
    Man::new(Arguments::command())
        .section("8")
        .generate_to(directory)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_of_both_programs_has_a_page() {
        let directory = tempfile::tempdir().unwrap();

        write_pages(directory.path()).unwrap();

        let page = |name| fs::read_to_string(directory.path().join(name)).unwrap();
        for command in ["status", "receipts", "gateways-select", "completions"] {
            let page = page(format!("meshctl-{command}.1"));
            assert!(page.contains(".SH SYNOPSIS"), "{page}");
        }
        assert!(page("meshctl.1".into()).contains("6  no answer in time"));
        assert!(page("meshctl-receipts-export.1".into()).contains("mode 0600"));
        assert!(page("meshd.8".into()).contains("SIGHUP"));
    }
}
