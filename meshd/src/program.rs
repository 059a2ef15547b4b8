//! The program, from the command line to the exit code.
//!
//! Exit codes: 0 ended by a signal, or `--check` found nothing wrong; 1 failed while running or
//! could not start; 2 the command line or the configuration is wrong.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use tracing::{error, warn};

use crate::arguments::Arguments;
use crate::config::Config;
use crate::log::Log;
use crate::{driver, identity};

const FAILURE: u8 = 1;
const BAD_CONFIGURATION: u8 = 2;

/// The program, with its name as the first of `arguments`.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = Arguments::parse_from(arguments);
    let log = Log::start();
    let (config, warnings) = match load(&arguments) {
        Ok(loaded) => loaded,
        Err(line) => {
            eprintln!("{line}");
            return BAD_CONFIGURATION.into();
        }
    };
    for warning in warnings {
        warn!("{warning}");
    }
    if arguments.check {
        return ExitCode::SUCCESS;
    }
    if let Err(error) = driver::require_capabilities() {
        error!("{error:#}");
        return FAILURE.into();
    }
    let key = match identity::load_or_create(config.identity()) {
        Ok(key) => key,
        Err(error) => {
            eprintln!("{error}");
            return BAD_CONFIGURATION.into();
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let outcome = runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(driver::run(config, arguments.config, key, log)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error:#}");
            FAILURE.into()
        }
    }
}

fn load(arguments: &Arguments) -> Result<(Config, Vec<String>), String> {
    let config = Config::load(&arguments.config).map_err(|error| error.to_string())?;
    let warnings = config.check_system().map_err(|error| error.to_string())?;
    Ok((config, warnings))
}
