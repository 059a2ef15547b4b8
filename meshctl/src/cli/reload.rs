//! `meshctl reload`

use clap::Args;
use control_api::MAX_TRIAL_S;

#[derive(Debug, Args)]
pub(crate) struct Reload {
    /// Go back to the configuration in force unless it is confirmed within so many seconds
    ///
    /// On a terminal Enter confirms it, and Ctrl-C or a terminal that hangs up takes it back at once. Elsewhere
    /// this returns, and `meshctl reload --confirmed` confirms. meshd watches the time, so it also goes back
    /// when the configuration has cut you off. The file stays as it is. If meshd ends meanwhile, the next one
    /// starts with the file.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_TRIAL_S)))]
    pub(crate) confirm: Option<u32>,
    /// Keep the configuration that is on trial; reads nothing
    #[arg(long, conflicts_with = "confirm")]
    pub(crate) confirmed: bool,
    /// Take back the configuration that is on trial; reads nothing
    #[arg(long, conflicts_with_all = ["confirm", "confirmed"])]
    pub(crate) revert: bool,
}
